//! How often bins are closed never changes a row, and nothing is lost or made up on the way.

use kerbside_core::detection::Class;
use kerbside_core::finding::Direction;
use kerbside_release::{FrameReport, ReleaseCounts, ReleasedBatch};
use proptest::prelude::{Strategy, any};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{crossing, frame, presence, release, rows, values, wall};

/// One step of a camera's life: the time to the next frame and what is found in it.
#[derive(Clone, Debug)]
struct Step {
    millis: u64,
    people: u8,
    cars: u8,
    crossed: bool,
    trusted: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u64..20_000, 0u8..3, 0u8..3, any::<bool>(), any::<bool>());
    let step =
        step.prop_map(|(millis, people, cars, crossed, trusted)| Step { millis, people, cars, crossed, trusted });
    proptest::collection::vec(step, 1..120)
}

/// Feeds the steps to two cameras in turn and calls `advance` after those that `cut` names.
fn run(steps: &[Step], cut: impl Fn(usize) -> bool) -> (Vec<ReleasedBatch>, ReleaseCounts) {
    let mut release = release(&["north", "south"], 0);
    let mut out = Vec::new();
    let mut now = 0;
    let mut last = [0; 2];
    for (index, step) in steps.iter().enumerate() {
        now += step.millis;
        let camera = index % 2;
        let span = now - last[camera];
        last[camera] = now;
        let mut findings = Vec::new();
        findings.extend(std::iter::repeat_n(presence(now, span, Class::Person), usize::from(step.people)));
        findings.extend(std::iter::repeat_n(presence(now, span, Class::Car), usize::from(step.cars)));
        if step.crossed {
            findings.push(crossing(now, Class::Car, Direction::Backward));
        }
        release.observe(camera, &FrameReport { trusted: step.trusted, ..frame(now, span) }, &findings);
        if cut(index) {
            // Spans reach back to the frame before of either camera.
            release.advance(wall(last[0].min(last[1])), &mut out).unwrap();
        }
    }
    release.finish(wall(now), &mut out).unwrap();
    (out, release.counts())
}

proptest! {
    #[test]
    fn how_often_bins_are_closed_never_changes_the_rows(steps in steps(), cuts in any::<u128>()) {
        let (often, counts) = run(&steps, |_| true);
        prop_assert_eq!(counts, ReleaseCounts::default());
        let (once, _) = run(&steps, |_| false);
        prop_assert_eq!(&often, &once);
        let (sometimes, _) = run(&steps, |index| cuts >> (index % 128) & 1 == 1);
        prop_assert_eq!(&often, &sometimes);
    }

    #[test]
    fn nothing_is_lost_or_made_up_between_findings_and_rows(steps in steps()) {
        let (out, _) = run(&steps, |index| index % 7 == 0);
        let rows = rows(&out);
        let total = |cell: &str| values(&rows, cell).iter().map(|(_, value)| i64::from(*value)).sum::<i64>();
        let crossed = steps.iter().filter(|step| step.crossed).count();
        prop_assert_eq!(total("crossing crossing_count car backward"), crossed as i64);
        prop_assert!(rows.iter().all(|row| (0.0..=1.0).contains(&row.coverage)));
        let frames: u32 = rows.iter().filter(|row| row.cell == "square presence_mean car none").map(|row| row.frames).sum();
        prop_assert_eq!(frames as usize, steps.len());
        for row in rows.iter().filter(|row| row.unit == "s") {
            prop_assert!(i64::from(row.value) * 1000 <= row.t1 - row.t0);
        }
        let numbers: Vec<u64> = rows.iter().map(|row| row.seq).collect();
        prop_assert_eq!(numbers, (100..100 + rows.len() as u64).collect::<Vec<_>>());
    }
}
