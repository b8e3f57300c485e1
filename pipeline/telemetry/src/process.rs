//! What the operating system says of the process itself: a node and a gateway tell the same.

use std::time::{SystemTime, UNIX_EPOCH};

use procfs::WithCurrentSystemInfo as _;
use procfs::process::Process;

use crate::{Counter, Gauge, Metric, Telemetry};

/// A reading of this process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Processor time so far, user and system, seconds.
    pub cpu_secs: f64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Reads `/proc/self`; `None` where the host does not offer it.
    pub fn read() -> Option<Self> {
        let stat = Process::myself().ok()?.stat().ok()?;
        let ticks = (stat.utime + stat.stime) as f64;
        Some(Self {
            resident_bytes: stat.rss_bytes().get(),
            cpu_secs: ticks / procfs::ticks_per_second() as f64,
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        })
    }
}

/// What is measured about the process.
#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    resident_bytes: Gauge,
    cpu_seconds: Counter,
    threads: Gauge,
    open_files: Gauge,
}

impl ProcessMetrics {
    /// The handles; says when the process started, which is now, and its version.
    pub fn new(telemetry: &Telemetry, version: &str) -> Self {
        telemetry.gauge(Metric::BuildInfo, &[version]).set(1.0);
        // A clock before 1970 was never set.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        telemetry.gauge(Metric::ProcessStarted, &[]).set(now.as_secs_f64());
        Self {
            resident_bytes: telemetry.gauge(Metric::ProcessResidentBytes, &[]),
            cpu_seconds: telemetry.counter(Metric::ProcessCpuSeconds, &[]),
            threads: telemetry.gauge(Metric::ProcessThreads, &[]),
            open_files: telemetry.gauge(Metric::ProcessOpenFiles, &[]),
        }
    }

    /// Takes a reading. What the host does not offer stays as it was.
    pub fn read(&self) -> Option<Usage> {
        if let Ok(files) = Process::myself().and_then(|process| process.fd_count()) {
            self.open_files.set(files as f64);
        }
        let usage = Usage::read()?;
        self.resident_bytes.set(usage.resident_bytes as f64);
        self.cpu_seconds.follow(usage.cpu_secs);
        self.threads.set(usage.threads as f64);
        Some(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_what_it_uses_and_which_version_it_is() {
        let telemetry = Telemetry::new();
        let usage = ProcessMetrics::new(&telemetry, "1.2.3").read().unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.threads >= 1, "{usage:?}");
        let text = telemetry.render();
        assert!(text.contains("kerbside_build_info{version=\"1.2.3\"} 1\n"), "{text}");
        for name in ["resident_bytes", "threads", "open_files", "start_timestamp_seconds"] {
            let line = text.lines().find(|line| line.starts_with(&format!("kerbside_process_{name} "))).unwrap();
            assert!(line.split(' ').nth(1).unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
        }
    }
}
