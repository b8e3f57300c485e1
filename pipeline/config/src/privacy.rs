//! The `privacy` block and the floors below which no bin may go.

use std::time::Duration;

use kerbside_core::diagnostics::allowed_words;
use kerbside_core::tree::{Field, Kind, Reader, show_duration};

use crate::settings::{Bins, PrivacySettings, Profile};

const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What holds where nothing is written.
pub(crate) const DEFAULT: PrivacySettings =
    PrivacySettings { profile: Profile::Strict, bins: floors(Profile::Strict) };

/// The shortest bins that a profile allows, which are also its defaults (rule PC-6 of the privacy contract).
const fn floors(profile: Profile) -> Bins {
    match profile {
        Profile::Strict => Bins { person: QUARTER, bicycle: QUARTER, vehicle: QUARTER },
        Profile::Standard => Bins { person: QUARTER, bicycle: QUARTER, vehicle: MINUTE },
    }
}

/// Reads the block. What it does not say comes from `base`, with one exception: who names a profile gets
/// that profile's bins, since bins chosen under another profile may not suit it.
pub(crate) fn read(field: &Field<'_>, base: PrivacySettings) -> PrivacySettings {
    let Some(reader) = field.map() else { return base };
    let mut settings = base;
    if let Some(profile) = reader.optional("profile").as_ref().and_then(profile) {
        settings = PrivacySettings { profile, bins: floors(profile) };
    }
    if let Some(bins) = reader.optional("bins").as_ref().and_then(Field::map) {
        let floors = floors(settings.profile);
        bin(&bins, "person", floors.person, &mut settings.bins.person);
        bin(&bins, "bicycle", floors.bicycle, &mut settings.bins.bicycle);
        bin(&bins, "vehicle", floors.vehicle, &mut settings.bins.vehicle);
        bins.finish();
    }
    reader.finish();
    settings
}

fn profile(field: &Field<'_>) -> Option<Profile> {
    const PROFILES: [(&str, Profile); 2] = [("strict", Profile::Strict), ("standard", Profile::Standard)];
    if let Kind::Scalar { text, .. } = field.kind()
        && text == "strict-worstcase"
    {
        field.problem(
            "this version does not have the profile 'strict-worstcase'",
            allowed_words("", &PROFILES.map(|(name, _)| name)),
        );
        return None;
    }
    field.one_of(&PROFILES)
}

fn bin(bins: &Reader<'_>, key: &'static str, floor: Duration, target: &mut Duration) {
    let Some(field) = bins.optional(key) else { return };
    let Some(span) = field.duration(floor..=DAY) else { return };
    if DAY.as_nanos().is_multiple_of(span.as_nanos()) {
        *target = span;
    } else {
        field.problem(
            format!("bins of {} do not divide a day evenly", show_duration(span)),
            "a bin that fits into 24h without a rest is expected, such as 15m, 20m, 30m or 1h",
        );
    }
}
