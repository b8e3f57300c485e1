//! What a camera's counters would release in a day: how much, and what of it the privacy profile keeps back.

use std::time::Duration;

use kerbside_core::finding::{Cell, Measure};
use kerbside_core::operator::Configured;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_core::tree::{Field, show_duration};

const SECS_PER_DAY: u64 = 24 * 60 * 60;
/// How much a released number tells at most: it is a whole number of 32 bits.
pub const BYTES_PER_NUMBER: u64 = 4;
/// Rule PC-18 of the privacy contract: the counters of a site of 67, each by the minute.
const MOST_NUMBERS_PER_DAY: u64 = 67 * 24 * 60;
/// Noise of less than so many objects in a mean number of objects is not worth a word.
const LOUD: f64 = 1.0;

/// One entry under `operators`, with what was made of it.
pub(crate) struct Entry<'a, 'b> {
    pub(crate) field: &'b Field<'a>,
    pub(crate) configured: &'b Configured,
}

impl Entry<'_, '_> {
    /// The counters that leave.
    fn cells<'c>(&'c self, privacy: &'c Privacy) -> impl Iterator<Item = &'c Cell> {
        self.configured.cells.iter().filter(|cell| privacy.profile.releases(cell))
    }
}

/// Refuses a camera that would release too much, and notes what would not leave or would say little. `operators` is the
/// whole block.
pub(crate) fn judge(operators: &Field<'_>, entries: &[Entry<'_, '_>], privacy: &Privacy) {
    let numbers = numbers_per_day(entries.iter().flat_map(|entry| entry.cells(privacy)), privacy);
    if numbers > MOST_NUMBERS_PER_DAY {
        let bytes = BYTES_PER_NUMBER * numbers;
        let most_bytes = BYTES_PER_NUMBER * MOST_NUMBERS_PER_DAY;
        operators.key_problem(
            format!("the camera would release {numbers} numbers of {BYTES_PER_NUMBER} bytes a day, {bytes} bytes"),
            format!(
                "at most {MOST_NUMBERS_PER_DAY} numbers, {most_bytes} bytes, are allowed: longer privacy.bins, fewer \
                 classes, or fewer lines and zones"
            ),
        );
    }
    let families = presence_measures(entries, privacy);
    for entry in entries {
        note_kept_back(entry, privacy.profile);
        note_loud_presence(entry, families, privacy);
        note_blind(entry, privacy.profile);
    }
    note_alerts(entries, privacy);
}

/// How many numbers these counters give in a day.
pub(crate) fn numbers_per_day<'c>(cells: impl Iterator<Item = &'c Cell>, privacy: &Privacy) -> u64 {
    cells.map(|cell| SECS_PER_DAY / privacy.bins.of(cell.class).as_secs().max(1)).sum()
}

fn note_kept_back(entry: &Entry<'_, '_>, profile: Profile) {
    let kept = entry.configured.cells.iter().filter(|cell| !profile.releases(cell));
    let Some(names) = names(kept) else { return };
    let why = match profile {
        Profile::StrictWorstcase => "it releases plain counts alone",
        Profile::Strict | Profile::Standard => "one vehicle can change them without bound",
    };
    let other = Profile::ALL.into_iter().find(|it| entry.configured.cells.iter().all(|cell| it.releases(cell)));
    let other = other.map(|it| format!("; '{}' does", it.name())).unwrap_or_default();
    entry.field.note(format!("the profile '{}' does not release {names}, because {why}{other}", profile.name()));
}

/// An operator over released numbers that will not see all of them.
fn note_blind(entry: &Entry<'_, '_>, profile: Profile) {
    let unseen = entry.configured.watches.iter().filter(|cell| !profile.releases(cell));
    if let Some(names) = names(unseen) {
        let profile = profile.name();
        entry.field.note(format!("it looks at {names}, which the profile '{profile}' does not release"));
    }
}

/// Alerts on a number of people, which are decided by a noisy number or not at all.
fn note_alerts(entries: &[Entry<'_, '_>], privacy: &Privacy) {
    const WINDOWS_PER_DAY: f64 = 1440.0;
    let alerts = |entry: &Entry<'_, '_>| {
        let noised = entry.configured.alerts.iter().filter(|alert| privacy.profile.has_noise(Some(alert.class)));
        noised.copied().collect::<Vec<_>>()
    };
    // They share their budget. The scales are those of a sum of person-minutes over a minute, against its threshold:
    // for words alone.
    let share = entries.iter().map(|entry| alerts(entry).len()).sum::<usize>() as f64 * 1000.0
        / f64::from(privacy.epsilon.alert);
    let (of_threshold, of_sum) = (2.0 * share, 4.0 * share);
    let deviation = std::f64::consts::SQRT_2 * of_threshold.hypot(of_sum);
    // Where an empty zone is expected to look like a crowd once a day; half of the noise is above zero.
    let sure = (of_sum * (WINDOWS_PER_DAY / 2.0).ln()).ceil();
    for entry in entries {
        for alert in alerts(entry) {
            let (kind, profile, from) = (alert.kind.name(), privacy.profile, f64::from(alert.from_milli) / 1000.0);
            if profile == Profile::StrictWorstcase {
                let (profile, other) = (profile.name(), Profile::Strict.name());
                entry.field.note(format!(
                    "the profile '{profile}' does not tell {kind}, because it releases plain counts alone; '{other}' does"
                ));
            } else if from < sure {
                entry.field.note(format!(
                    "{kind} begins at {from} people, and a number decides on it whose noise has a standard deviation of \
                     {deviation:.1}: below {sure} people an empty zone looks like a crowd once a day or more"
                ));
            }
        }
    }
}

/// The measures' names, each once: `queue_len and queue_reach`.
fn names<'c>(cells: impl Iterator<Item = &'c Cell>) -> Option<String> {
    let mut measures: Vec<Measure> = cells.map(|cell| cell.measure).collect();
    measures.sort_unstable();
    measures.dedup();
    let (last, others) = measures.split_last()?;
    let others: Vec<&str> = others.iter().map(|measure| measure.name()).collect();
    Some(if others.is_empty() {
        last.name().to_owned()
    } else {
        format!("{} and {}", others.join(", "), last.name())
    })
}

/// How many measures of presence share the budget's part of the camera.
fn presence_measures(entries: &[Entry<'_, '_>], privacy: &Privacy) -> usize {
    let mut measures: Vec<Measure> = entries
        .iter()
        .flat_map(|entry| entry.cells(privacy))
        .filter(|cell| cell.measure.is_presence() && privacy.profile.has_noise(cell.class))
        .map(|cell| cell.measure)
        .collect();
    measures.sort_unstable();
    measures.dedup();
    measures.len()
}

/// The noise of a mean number of objects where it is larger than most such numbers.
fn note_loud_presence(entry: &Entry<'_, '_>, measures: usize, privacy: &Privacy) {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const LONGER: [Duration; 4] = [HOUR, HOUR.saturating_mul(4), HOUR.saturating_mul(12), HOUR.saturating_mul(24)];
    let noised = |cell: &&Cell| cell.measure == Measure::PresenceMean && privacy.profile.has_noise(cell.class);
    let bins = entry.cells(privacy).filter(noised).map(|cell| privacy.bins.of(cell.class));
    let Some(bin) = bins.min() else { return };
    // The standard deviation of a Laplace distribution is √2 times its scale. For words alone: no noise is drawn by it.
    let scale_secs = measures as f64 * privacy.bounds.presence_max.as_secs_f64() * 1000.0
        / f64::from(privacy.epsilon.occupancy);
    let deviation = |bin: Duration| std::f64::consts::SQRT_2 * scale_secs / bin.as_secs_f64();
    if deviation(bin) < LOUD {
        return;
    }
    let longer = LONGER.into_iter().find(|longer| *longer >= 2 * bin);
    let longer = longer.map(|longer| format!(", such as {:.1} at {}", deviation(longer), show_duration(longer)));
    entry.field.note(format!(
        "in a bin of {} the noise of presence_mean has a standard deviation of {:.1} objects; longer bins make it \
         smaller{}",
        show_duration(bin),
        deviation(bin),
        longer.unwrap_or_default(),
    ));
}
