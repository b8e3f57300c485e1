//! Teams: every part once, every member before the next step, panics and all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use crate::int8::kernels::Team;
use crate::int8::kernels::team::Part;

const STEPS: usize = 50;

fn count_steps(team: &mut Team) {
    let done: [AtomicUsize; STEPS] = std::array::from_fn(|_| AtomicUsize::new(0));
    let members = team.threads();
    let mut finished = Vec::new();
    team.run(
        STEPS,
        &|step, part| {
            assert_eq!(part.of, members);
            if step > 0 {
                assert_eq!(done[step - 1].load(Ordering::Relaxed), members, "step {step} came too early");
            }
            done[step].fetch_add(1, Ordering::Relaxed);
        },
        &mut |step| finished.push(step),
    );
    assert_eq!(finished, (0..STEPS).collect::<Vec<_>>());
    assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == members));
}

#[test]
fn steps_come_one_after_the_other() {
    for threads in 1..=4 {
        let mut team = Team::new(threads).unwrap();
        assert_eq!(team.threads(), threads);
        for _ in 0..20 {
            count_steps(&mut team);
        }
    }
}

#[test]
fn no_threads_are_the_calling_one() {
    assert_eq!(Team::new(0).unwrap().threads(), 1);
}

#[test]
fn a_panic_ends_the_run_and_not_the_team() {
    for threads in 1..=3 {
        let mut team = Team::new(threads).unwrap();
        for culprit in 0..threads {
            for at in [0, 7, STEPS - 1] {
                let run = catch_unwind(AssertUnwindSafe(|| {
                    let work =
                        |step: usize, part: Part| assert!((step, part.index) != (at, culprit), "on purpose");
                    team.run(STEPS, &work, &mut |step| assert!(step < at, "step {step} did not finish"));
                }));
                assert!(run.is_err(), "member {culprit} of {threads} panicked in step {at}");
                count_steps(&mut team);
            }
        }
    }
}

#[test]
fn a_panic_of_the_listener_ends_the_run_and_not_the_team() {
    let mut team = Team::new(2).unwrap();
    let run = catch_unwind(AssertUnwindSafe(|| {
        team.run(STEPS, &|_, _| (), &mut |step| assert!(step < 3, "on purpose"));
    }));
    assert!(run.is_err());
    count_steps(&mut team);
}

proptest! {
    #[test]
    fn parts_are_everything_once(total in 0..500_usize, unit in 1..20_usize, of in 1..9_usize) {
        let mut next = 0;
        for index in 0..of {
            let share = Part { index, of }.share(total, unit);
            prop_assert_eq!(share.start, next);
            prop_assert!(share.start.is_multiple_of(unit) || share.is_empty());
            next = share.end;
        }
        prop_assert_eq!(next, total);
    }
}
