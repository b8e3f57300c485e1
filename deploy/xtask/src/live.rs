//! How the node is doing, from its metrics page.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One reading of the metrics page.
pub(crate) struct Reading {
    page: String,
}

impl Reading {
    /// Asks the node. `None` while it does not answer.
    pub(crate) fn take(address: SocketAddr) -> Option<Self> {
        let limit = Duration::from_secs(1);
        let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        page.starts_with("HTTP/1.1 200").then_some(Self { page })
    }

    /// The value of the line that begins with `series`, such as `kerbside_frames_in_total{camera="north"}`.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let line = self.page.lines().find_map(|line| line.strip_prefix(series))?;
        line.trim().parse().ok()
    }

    /// The state that the camera is in.
    pub(crate) fn state(&self, camera: &str) -> String {
        let prefix = format!("kerbside_camera_state{{camera=\"{camera}\",state=\"");
        self.page
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "))
            .find(|(_, value)| *value == "1")
            .map_or_else(|| "unknown".to_owned(), |(state, _)| state.to_owned())
    }

    /// Frames analysed so far.
    pub(crate) fn analysed(&self, camera: &str) -> f64 {
        self.value(&format!("kerbside_frames_analysed_total{{camera=\"{camera}\"}}")).unwrap_or_default()
    }

    /// Mean time from capture to release so far, in seconds.
    pub(crate) fn latency_secs(&self, camera: &str) -> f64 {
        let part = |suffix: &str| {
            self.value(&format!("kerbside_capture_to_release_seconds_{suffix}{{camera=\"{camera}\"}}"))
                .unwrap_or_default()
        };
        part("sum") / part("count").max(1.0)
    }
}
