//! Which stages make progress: fed by the stages' own beats. The uplink and the status server, which wait for many things
//! at once on one thread, show by theirs that this thread is not held up.
//!
//! A stage that waits for work is well. One that has worked on the same thing for longer than its limit hangs: it is named
//! in the log, in `kerbside_thread_hung`, in `/livez` and on the status page, and the service manager is no longer told
//! that the node is alive; where none listens, the node ends by itself after a minute. That holds for the stages of one camera as well: a thread that hangs cannot be ended, and only
//! a new process brings its camera back. A camera that does not answer, or a stage that has ended, hangs nothing.

use std::time::{Duration, Instant};

use kerbside_telemetry::{Beat, Gauge, Metric, Telemetry};
use tracing::{error, warn};

/// The stages that are watched.
#[derive(Default)]
pub(crate) struct Watchdog {
    stages: Vec<Stage>,
}

struct Stage {
    name: String,
    beat: Beat,
    limit: Duration,
    gauge: Gauge,
    hangs: bool,
}

impl Watchdog {
    /// Watches one more, which may work on one thing for `limit`.
    pub(crate) fn watch(&mut self, telemetry: &Telemetry, name: String, beat: Beat, limit: Duration) {
        let gauge = telemetry.gauge(Metric::ThreadHung, &[&name]);
        gauge.set(0.0);
        self.stages.push(Stage { name, beat, limit, gauge, hangs: false });
    }

    /// Watches the stages of a camera no more.
    pub(crate) fn forget_camera(&mut self, camera: &str) {
        self.stages.retain(|stage| !stage.name.strip_prefix(camera).is_some_and(|rest| rest.starts_with('/')));
    }

    /// Looks at all of them; the names of those that hang.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<String> {
        let mut hung = Vec::new();
        for Stage { name, beat, limit, gauge, hangs } in &mut self.stages {
            let working = beat.working_for(now);
            let hangs_now = working.is_some_and(|working| working > *limit);
            if hangs_now && !*hangs {
                let seconds = working.unwrap_or_default().as_secs();
                error!(stage = name, seconds, "a stage makes no progress");
            } else if *hangs && !hangs_now {
                warn!(stage = name, "a stage that made no progress goes on");
            }
            *hangs = hangs_now;
            gauge.set(if hangs_now { 1.0 } else { 0.0 });
            if hangs_now {
                hung.push(name.clone());
            }
        }
        hung
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_hangs_is_named_until_it_goes_on_and_one_that_waits_is_well() {
        let telemetry = Telemetry::new();
        let mut watchdog = Watchdog::default();
        let limit = Duration::from_secs(20);
        let (lane, pool) = (Beat::default(), Beat::default());
        watchdog.watch(&telemetry, "plaza/lane".to_owned(), lane.clone(), limit);
        watchdog.watch(&telemetry, "detect-0".to_owned(), pool.clone(), limit);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(watchdog.look(later(1000)).is_empty(), "both wait for work");
        lane.work();
        assert!(watchdog.look(later(19)).is_empty());
        assert_eq!(watchdog.look(later(30)), ["plaza/lane"]);
        let hung = |thread: &str, value: u8| format!("kerbside_thread_hung{{thread=\"{thread}\"}} {value}\n");
        let text = telemetry.render();
        assert!(text.contains(&hung("plaza/lane", 1)) && text.contains(&hung("detect-0", 0)), "{text}");
        lane.rest();
        assert!(watchdog.look(later(1000)).is_empty());
        pool.work();
        lane.work();
        watchdog.forget_camera("plaza");
        assert_eq!(watchdog.look(later(30)), ["detect-0"]);
    }
}
