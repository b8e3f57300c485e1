//! What each camera costs: processor time and energy, shared out.
//!
//! What the threads of one camera and its detections have used is the camera's. What is left of the process (the release
//! stage, the uplink, threads of decoders that have no name) is shared out in proportion to that. The energy of the
//! processor package goes to cameras in proportion to their part of the whole machine's busy time, the energy of an idle
//! processor included: what is told is what would be saved if nothing ran at all, and an estimate.

use std::collections::BTreeMap;

use crate::machine;

/// What is known of a camera's threads, and what it has cost so far.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Processor time of each thread when it was last read, in seconds.
    threads: BTreeMap<u32, f64>,
    inference: f64,
    total: Used,
    joules: Used,
}

/// What one camera used: seconds of processor time, or joules.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// Of detection, part of `all`.
    pub(crate) inference: f64,
    pub(crate) all: f64,
}

impl Used {
    fn plus(self, other: Self, times: f64) -> Self {
        Self { inference: self.inference + other.inference * times, all: self.all + other.all * times }
    }

    fn in_steps_of(self, step: f64) -> Self {
        let whole = |value: f64| (value / step).floor() * step;
        Self { inference: whole(self.inference), all: whole(self.all) }
    }
}

impl Share {
    /// Adds what was used; with the joules of a second of processor time, where they are known.
    pub(crate) fn add(&mut self, used: Used, joules_of_second: Option<f64>) {
        self.total = self.total.plus(used, 1.0);
        self.joules = self.joules.plus(used, joules_of_second.unwrap_or_default());
    }

    /// Processor time so far, in whole seconds, which many frames fill: what a frame costs depends a little on what it
    /// shows (rule PC-12 of the privacy contract). Over hours it still tells how busy a street is on average, as the
    /// processor time of the whole process does.
    pub(crate) fn seconds(&self) -> Used {
        self.total.in_steps_of(1.0)
    }

    /// Energy so far, in joules, in steps of about as much work.
    pub(crate) fn joules(&self) -> Used {
        self.joules.in_steps_of(10.0)
    }

    /// What the camera has used since the last call by itself. `threads` are those that work for it now, `inference` all
    /// that its detections have used so far.
    pub(crate) fn used(&mut self, threads: &[u32], inference: f64) -> Used {
        self.used_by(threads, inference, machine::thread_cpu_secs)
    }

    fn used_by(&mut self, threads: &[u32], inference: f64, read: impl Fn(u32) -> Option<f64>) -> Used {
        let before = std::mem::take(&mut self.threads);
        let mut all = 0.0;
        for thread in threads {
            let Some(now) = read(*thread) else { continue };
            // One that is new has used all of it since; a number that is used again begins below.
            let then = before.get(thread).copied().filter(|then| *then <= now).unwrap_or_default();
            all += now - then;
            self.threads.insert(*thread, now);
        }
        let of_inference = (inference - self.inference).max(0.0);
        self.inference = inference;
        Used { inference: of_inference, all: all + of_inference }
    }
}

/// Adds what no camera used by itself to what each did, so that all together used `total`.
pub(crate) fn share_out(used: &mut [Used], total: f64) {
    let direct: f64 = used.iter().map(|used| used.all).sum();
    let left = total - direct;
    if left <= 0.0 {
        return;
    }
    let count = used.len() as f64;
    for used in used {
        let part = if direct > 0.0 { used.all / direct } else { 1.0 / count };
        used.all += left * part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_has_what_its_threads_and_detections_used() {
        let mut share = Share::default();
        let clock = |times: [f64; 2]| move |thread: u32| times.get(thread as usize).copied();
        assert_eq!(share.used_by(&[0, 1], 2.0, clock([1.0, 0.5])), Used { inference: 2.0, all: 3.5 });
        assert_eq!(share.used_by(&[0, 1], 2.5, clock([1.25, 0.5])), Used { inference: 0.5, all: 0.75 });
        // One thread has ended, the number of the other is used again by a new one.
        assert_eq!(share.used_by(&[1, 7], 2.5, clock([0.0, 0.25])), Used { inference: 0.0, all: 0.25 });
    }

    #[test]
    fn pc_12_costs_add_up_and_are_told_in_steps() {
        let mut share = Share::default();
        for _ in 0..7 {
            share.add(Used { inference: 0.3, all: 0.6 }, Some(10.0));
        }
        assert_eq!(share.seconds(), Used { inference: 2.0, all: 4.0 });
        assert_eq!(share.joules(), Used { inference: 20.0, all: 40.0 });
        share.add(Used { inference: 0.9, all: 0.9 }, None);
        assert_eq!((share.seconds().all, share.joules().all), (5.0, 40.0));
    }

    #[test]
    fn what_no_camera_used_by_itself_is_shared_out_and_nothing_is_made_up() {
        let used = |all| Used { inference: 0.25, all };
        let mut cameras = [used(1.0), used(3.0)];
        share_out(&mut cameras, 6.0);
        assert_eq!(cameras, [used(1.5), used(4.5)]);
        share_out(&mut cameras, 5.0);
        assert_eq!(cameras, [used(1.5), used(4.5)], "the clocks of threads are a little ahead");
        let mut idle = [Used::default(); 2];
        share_out(&mut idle, 1.0);
        assert_eq!(idle[0].all + idle[1].all, 1.0);
        share_out(&mut [], 1.0);
    }
}
