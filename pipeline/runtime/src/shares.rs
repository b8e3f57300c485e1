//! What each camera costs: processor time and energy, shared out.
//!
//! What the threads of one camera and its detections have used is the camera's. What is left of the process (the release
//! stage, the uplink, threads of decoders that have no name) is shared out in proportion to that. The energy of the
//! processor package goes to cameras in proportion to their part of the whole machine's busy time, the energy of an idle
//! processor included: what is told is what would be saved if nothing ran at all, and an estimate.

use std::collections::BTreeMap;

use crate::machine;

/// What is known of a camera's threads.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Processor time of each thread when it was last read, in seconds.
    threads: BTreeMap<u32, f64>,
    inference: f64,
}

/// What one camera used between two readings, in seconds of processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    /// Of detection, part of `all`.
    pub(crate) inference: f64,
    pub(crate) all: f64,
}

impl Share {
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
