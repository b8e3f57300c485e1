//! Threads that work on the steps of a program together.
//!
//! A team of `n` is the calling thread and `n - 1` helpers. Every member does its [`Part`] of a step, then all
//! meet at a barrier before the next. Members spin at the barrier, since steps take microseconds, and yield when
//! the others take long; between runs the helpers sleep. A team of one has neither threads nor barriers.
//!
//! Invariants: no helper touches the work after [`Team::run`] has returned or unwound; a panic in any member ends
//! the run on all of them and comes out of `run` on the calling thread, after which the team is as good as new.
//! What it does not do: balance. Parts are of equal size, and a member whose core is busy holds the others up.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Rounds of spinning before a waiting member lets others have its core.
const SPINS: usize = 4000;

/// Which part of a step is a member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) index: usize,
    pub(super) of: usize,
}

impl Part {
    /// All of it.
    pub(super) const WHOLE: Self = Self { index: 0, of: 1 };

    /// This part of `total` things that are shared out in groups of `unit`.
    pub(super) fn share(self, total: usize, unit: usize) -> std::ops::Range<usize> {
        let units = total.div_ceil(unit);
        let bound = |index: usize| (units * index / self.of * unit).min(total);
        bound(self.index)..bound(self.index + 1)
    }
}

/// What members do: the step's number and the part.
type Work<'a> = dyn Fn(usize, Part) + Sync + 'a;

/// The calling thread and its helpers.
pub(crate) struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

impl Team {
    /// A team of `threads` members, at least one.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let mut team = Self { shared: Arc::new(Shared::new(threads)), helpers: Vec::new() };
        for index in 1..threads {
            let shared = Arc::clone(&team.shared);
            let helper = std::thread::Builder::new()
                .name("detect-part".to_owned())
                .spawn(move || shared.help(Part { index, of: threads }))?;
            team.helpers.push(helper);
        }
        Ok(team)
    }

    /// The number of members.
    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        self.shared.barrier.members
    }

    /// Does steps `0..steps`, each in parts; `finished` is called here after each.
    ///
    /// # Panics
    /// When a member's work panics.
    pub(super) fn run(&mut self, steps: usize, work: &Work<'_>, finished: &mut dyn FnMut(usize)) {
        if self.helpers.is_empty() {
            for step in 0..steps {
                work(step, Part::WHOLE);
                finished(step);
            }
            return;
        }
        let mut visit = Visit::open(&self.shared, self.helpers.len(), work, steps);
        for step in 0..steps {
            work(step, Part { index: 0, of: self.shared.barrier.members });
            assert!(self.shared.barrier.wait(), "a helper of the team panicked in step {step}");
            finished(step);
        }
        visit.complete = true;
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.door().closed = true;
        self.shared.opened.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper catches what its work throws; it has nothing more to say.
            let _ = helper.join();
        }
    }
}

/// The time in which helpers may touch the work. Its end waits until they are out.
struct Visit<'a> {
    shared: &'a Shared,
    complete: bool,
}

impl<'a> Visit<'a> {
    fn open(shared: &'a Shared, helpers: usize, work: &Work<'_>, steps: usize) -> Self {
        // Nobody is at the barrier: the visit before has waited for all to leave.
        shared.barrier.reset();
        shared.inside.0.store(helpers, Ordering::Relaxed);
        // SAFETY: only the lifetime changes. Helpers use the reference between here and their leaving, and the drop of
        // this visit, which the caller's frame outlives, waits for that.
        let work = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        let mut door = shared.door();
        door.round = door.round.wrapping_add(1);
        door.job = Some(Job { work, steps });
        drop(door);
        shared.opened.notify_all();
        Self { shared, complete: false }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.shared.barrier.broken.store(true, Ordering::Release);
        }
        spin_until(|| self.shared.inside.0.load(Ordering::Acquire) == 0);
    }
}

/// What the helpers are called in for.
#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    steps: usize,
}

// SAFETY: the work is Sync, and the pointer is used only while the visit that made it lasts.
unsafe impl Send for Job {}

struct Door {
    /// Counts the runs; a helper goes in once a round.
    round: u64,
    job: Option<Job>,
    closed: bool,
}

struct Shared {
    door: Mutex<Door>,
    opened: Condvar,
    barrier: Barrier,
    /// How many helpers have not left the current run.
    inside: Apart<AtomicUsize>,
}

impl Shared {
    fn new(members: usize) -> Self {
        Self {
            door: Mutex::new(Door { round: 0, job: None, closed: false }),
            opened: Condvar::new(),
            barrier: Barrier {
                members,
                arrived: Apart(AtomicUsize::new(0)),
                generation: Apart(AtomicUsize::new(0)),
                broken: AtomicBool::new(false),
            },
            inside: Apart(AtomicUsize::new(0)),
        }
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        // What is behind the lock is whole at every moment: nothing panics while it is held.
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A helper's life.
    fn help(&self, part: Part) {
        let mut round = 0;
        loop {
            let job = {
                let mut door = self.door();
                while door.round == round && !door.closed {
                    door = self.opened.wait(door).unwrap_or_else(PoisonError::into_inner);
                }
                if door.closed {
                    return;
                }
                round = door.round;
                door.job
            };
            if let Some(job) = job {
                self.work(job, part);
            }
            self.inside.0.fetch_sub(1, Ordering::Release);
        }
    }

    fn work(&self, job: Job, part: Part) {
        // SAFETY: the visit that made the job waits until `inside` says that this helper has left.
        let work = unsafe { &*job.work };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for step in 0..job.steps {
                work(step, part);
                if !self.barrier.wait() {
                    break;
                }
            }
        }));
        if outcome.is_err() {
            self.barrier.broken.store(true, Ordering::Release);
        }
    }
}

/// On cache lines of its own, so that those who wait for one number do not slow down the others.
#[repr(align(128))]
struct Apart<T>(T);

struct Barrier {
    members: usize,
    arrived: Apart<AtomicUsize>,
    generation: Apart<AtomicUsize>,
    /// A member will not come any more.
    broken: AtomicBool,
}

impl Barrier {
    /// Nobody may be waiting.
    fn reset(&self) {
        self.arrived.0.store(0, Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
    }

    /// Waits for all members; false when one of them will not come.
    fn wait(&self) -> bool {
        let generation = self.generation.0.load(Ordering::Relaxed);
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.arrived.0.store(0, Ordering::Relaxed);
            self.generation.0.store(generation.wrapping_add(1), Ordering::Release);
        } else {
            spin_until(|| {
                self.generation.0.load(Ordering::Acquire) != generation || self.broken.load(Ordering::Acquire)
            });
        }
        !self.broken.load(Ordering::Acquire)
    }
}

fn spin_until(done: impl Fn() -> bool) {
    let mut rounds = 0;
    while !done() {
        if rounds < SPINS {
            rounds += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}
