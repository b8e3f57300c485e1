//! What is wrong, in sentences, gravest first; and the one that says how all is.

use std::time::Duration;

use kerbside_core::camera::CameraState;

use super::words;
use crate::status::snapshot::{CameraView, MachineView, Snapshot, SpoolView, UplinkView};

/// A node that runs for less than this is given time to connect.
const START: Duration = Duration::from_secs(30);
/// From here on it is said that a certificate ends.
const CERTIFICATE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Rows that wait for longer than this wait for something.
const LAG: Duration = Duration::from_secs(600);
/// The share of the frames that may be analysed, below which the machine is too slow.
const ENOUGH: f64 = 0.8;
/// Processors slow down not far above.
const HOT_CELSIUS: f32 = 90.0;

/// One thing that is wrong.
#[derive(Debug, PartialEq)]
pub(super) struct Problem {
    /// Whether rows are lost, late or missing for it; else it only wants a look.
    pub(super) is_grave: bool,
    /// A sentence.
    pub(super) text: String,
    /// The part of the page that says more.
    pub(super) place: String,
}

/// All of them, grave ones first.
pub(super) fn problems(snapshot: &Snapshot) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    for camera in &snapshot.cameras {
        found.camera(camera, snapshot.uptime);
    }
    found.spool(&snapshot.spool);
    if let Some(uplink) = &snapshot.uplink {
        found.uplink(uplink, snapshot.uptime);
    }
    for stage in &snapshot.hung {
        found.grave("machine", format!("The stage {stage} makes no progress."));
    }
    found.machine(&snapshot.machine);
    if !snapshot.config.refused.is_empty() {
        let count = snapshot.config.refused.len() as u64;
        let problems = words::number_of(count, "problem", "problems");
        found.grave(
            "configuration",
            format!("The configuration on the disk is refused for {problems}; the one before it goes on."),
        );
    }
    // What keeps the node from being ready has mostly been said above, where there is room for more.
    if found.0.is_empty() && !snapshot.not_ready.is_empty() {
        found
            .grave("machine", format!("The node is not ready: {}.", without_stop(&snapshot.not_ready.join("; "))));
    }
    found.0.sort_by_key(|problem| !problem.is_grave);
    found.0
}

/// One sentence or two for the whole node.
pub(super) fn summary(snapshot: &Snapshot, problems: &[Problem]) -> String {
    let Some((first, rest)) = problems.split_first() else { return well(snapshot) };
    match (first.is_grave, rest.len() as u64) {
        (true, 0) => first.text.clone(),
        (true, more) => {
            format!("{} There is more: {}.", first.text, words::number_of(more, "problem", "problems"))
        }
        (false, 0) => format!("{} One thing wants a look.", well(snapshot)),
        (false, more) => format!("{} {} things want a look.", well(snapshot), more + 1),
    }
}

fn well(snapshot: &Snapshot) -> String {
    let seen = snapshot.cameras.iter().filter(|camera| camera.state == CameraState::Up).count();
    let cameras = match (seen, snapshot.cameras.len()) {
        (_, 0) => return "No camera is configured.".to_owned(),
        (0, _) => return "No camera is seen yet.".to_owned(),
        (1, 1) => "The camera is seen".to_owned(),
        (2, 2) => "Both cameras are seen".to_owned(),
        (seen, all) if seen == all => format!("All {all} cameras are seen"),
        (seen, all) => format!("{seen} of {all} cameras are seen"),
    };
    match &snapshot.uplink {
        Some(_) => format!("{cameras} and rows reach the city."),
        None => format!("{cameras}; rows stay here, since no gateway is configured."),
    }
}

struct Found(Vec<Problem>);

impl Found {
    fn grave(&mut self, place: &str, text: String) {
        self.0.push(Problem { is_grave: true, text, place: place.to_owned() });
    }

    fn look(&mut self, place: &str, text: String) {
        self.0.push(Problem { is_grave: false, text, place: place.to_owned() });
    }

    fn camera(&mut self, camera: &CameraView, uptime: Duration) {
        let (name, place) = (&camera.name, format!("camera-{}", camera.name));
        if is_connecting(camera) && uptime < START {
            return self.look(&place, format!("{name} is being connected."));
        }
        if let Some(trouble) = state_of(camera) {
            return self.grave(&place, format!("{name} {trouble}."));
        }
        if let (Some(arriving), Some(analysed)) = (camera.fps_in, camera.fps_analysed) {
            let wanted = arriving.min(camera.analyse_fps);
            // A frame more or less within ten seconds is no lack.
            if analysed < ENOUGH * wanted && wanted - analysed > 0.2 {
                self.look(
                    &place,
                    format!("Of {name} only {analysed:.1} of {wanted:.1} frames a second are analysed."),
                );
            }
        }
        if let Some(coverage) = camera.coverage.filter(|share| *share < 0.9) {
            self.look(
                &place,
                format!("{name} was seen for {} of the last minute.", words::percent(coverage.into())),
            );
        }
    }

    fn spool(&mut self, spool: &SpoolView) {
        if !spool.is_healthy {
            self.grave("delivery", "Rows cannot be written to the disk.".to_owned());
        }
        if !spool.ledger_is_healthy {
            self.grave(
                "delivery",
                "The privacy ledger lets no number with noise through; kerbside ledger says why.".to_owned(),
            );
        }
        if spool.dropped_rows > 0 {
            let rows = words::number_of(spool.dropped_rows, "row was", "rows were");
            self.grave("delivery", format!("{rows} lost since the node started."));
        }
        if spool.max_bytes > 0 && spool.bytes as f64 > 0.9 * spool.max_bytes as f64 {
            let full = words::percent(spool.bytes as f64 / spool.max_bytes as f64);
            self.look("delivery", format!("The spool is {full} full; the oldest rows will give way."));
        }
        if let (Some(free), Some(size)) = (spool.disk_free, spool.disk_size)
            && (free as f64) < 0.05 * size as f64
        {
            self.look("delivery", format!("Only {} of the disk are free.", words::bytes(free)));
        }
    }

    fn uplink(&mut self, uplink: &UplinkView, uptime: Duration) {
        let waiting = words::number_of(uplink.waiting_rows, "row waits", "rows wait");
        if !uplink.is_connected && uptime < START {
            self.look("delivery", format!("The gateway {} is being connected.", uplink.gateway));
        } else if !uplink.is_connected {
            let since = match uplink.lag {
                lag if lag < Duration::from_secs(1) => String::new(),
                lag => format!(", the oldest for {}", words::span(lag)),
            };
            let text = format!("The gateway {} is not reachable; {waiting} here{since}.", uplink.gateway);
            self.grave("delivery", text);
        } else if uplink.lag >= LAG {
            self.look("delivery", format!("The city lags behind by {}; {waiting}.", words::span(uplink.lag)));
        }
        match uplink.certificate_left {
            Some(Duration::ZERO) => {
                self.grave("delivery", "The node's certificate is no longer valid.".to_owned());
            }
            Some(left) if left < CERTIFICATE => {
                self.look("delivery", format!("The node's certificate ends in {}.", words::span(left)));
            }
            _ => {}
        }
    }

    fn machine(&mut self, machine: &MachineView) {
        if !machine.clock_is_synchronised {
            self.look("machine", "The clock is not synchronised; each row says so.".to_owned());
        }
        if let Some(celsius) = machine.temperature_celsius.filter(|celsius| *celsius >= HOT_CELSIUS) {
            self.look("machine", format!("The processor is at {celsius:.0} °C."));
        }
        if let (Some(available), Some(total)) = (machine.memory_available, machine.memory_total)
            && (available as f64) < 0.05 * total as f64
        {
            self.look("machine", format!("Only {} of memory are left.", words::bytes(available)));
        }
    }
}

/// Whether a camera is being connected for the first time, and nothing speaks against it so far.
pub(super) fn is_connecting(camera: &CameraView) -> bool {
    camera.state == CameraState::Connecting && camera.trouble.is_none() && camera.last_frame_age.is_none()
}

/// What a camera's state says after its name; `None` where frames arrive and can be trusted.
pub(super) fn state_of(camera: &CameraView) -> Option<String> {
    // Below a minute it would be another sentence every few seconds, which a reader of the screen says each time.
    let since = camera.last_frame_age.filter(|age| *age >= Duration::from_secs(60)).map(words::span);
    let never = camera.last_frame_age.is_none();
    let trouble = camera.trouble.as_ref().map(|(text, _)| format!(": {}", without_stop(text))).unwrap_or_default();
    let text = match camera.state {
        CameraState::Up => return None,
        CameraState::Connecting => match since {
            Some(since) => format!("has not been connected for {since}{trouble}"),
            None if never => format!("has not been connected yet{trouble}"),
            None => format!("is not connected{trouble}"),
        },
        CameraState::AuthFailed => "refuses the user name or the password".to_owned(),
        CameraState::CodecUnsupported => format!("sends nothing that can be analysed{trouble}"),
        CameraState::Stalled => match since {
            Some(since) => format!("is connected and has sent no picture for {since}"),
            None if never => "is connected and has sent no picture yet".to_owned(),
            None => "is connected and sends no picture".to_owned(),
        },
        CameraState::Tampered => {
            let said: Vec<&str> = camera.tampered.iter().map(|word| words::tamper(word)).collect();
            let said = if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) };
            format!("has a picture that cannot be trusted, and nothing is counted{said}")
        }
        CameraState::Disabled => format!("is off or was given up{trouble}"),
    };
    Some(text)
}

fn without_stop(text: &str) -> &str {
    text.trim_end_matches(['.', ' '])
}
