//! Every kind of kernels gives the bytes of the reference, with any number of threads.

use proptest::prelude::*;

use super::cases::{Case, case};
use crate::int8::kernels::{Kernels, Team};

fn compare(case: &Case, teams: &mut [Team]) -> Result<(), TestCaseError> {
    let expected = case.scenes(Kernels::REFERENCE).map(|scene| scene.run(Kernels::REFERENCE, &mut teams[0]));
    // Alone, and with one or two others.
    let (alone, others) = teams.split_at_mut(1);
    let several = &mut others[case.slack % 2];
    for kernels in Kernels::available() {
        for (scene, expected) in case.scenes(kernels).iter().zip(&expected) {
            for team in [&mut alone[0], &mut *several] {
                let found = scene.run(kernels, team);
                let differ = found.iter().zip(expected).position(|(found, expected)| found != expected);
                prop_assert_eq!(
                    differ,
                    None,
                    "{} with {} threads: {:?}",
                    kernels.name(),
                    team.threads(),
                    scene.step
                );
            }
        }
    }
    Ok(())
}

#[test]
fn all_kernels_agree_with_the_reference() {
    let teams = std::cell::RefCell::new([1, 2, 3].map(|threads| Team::new(threads).unwrap()));
    // A case is seven steps, run ten times and more.
    let cases = ProptestConfig::default().cases / 2;
    proptest!(ProptestConfig { cases, ..Default::default() }, |(case in case())| compare(&case, &mut *teams.borrow_mut())?);
}

#[test]
fn the_reference_is_never_the_best() {
    assert_ne!(Kernels::best(), Kernels::REFERENCE);
    assert_eq!(Kernels::available().first(), Some(&Kernels::best()));
    assert_eq!(Kernels::available().last(), Some(&Kernels::REFERENCE));
}

#[test]
fn kernels_are_found_by_name() {
    for kernels in Kernels::available() {
        assert_eq!(Kernels::named(kernels.name()), Some(kernels));
        assert!(Kernels::NAMES.contains(&kernels.name()));
    }
    assert_eq!(Kernels::named("mmx"), None);
}

#[test]
fn the_peak_loop_counts_what_it_multiplies() {
    for kernels in Kernels::available() {
        let (one, three) = (kernels.peak_loop(1), kernels.peak_loop(3));
        assert_eq!(three, one.map(|one| 3 * one), "{}", kernels.name());
        assert_ne!(one, Some(0));
    }
}
