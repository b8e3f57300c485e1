//! What a town's clocks show: schedules and daily patterns follow them, not UTC.

use kerbside_core::time::{LocalTime, WallTime};
use kerbside_core::tree::Field;

/// A time zone of the IANA database, with its changes of clocks. The database is part of the program, so that the
/// same configuration means the same on every machine.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeZone(jiff::tz::TimeZone);

impl TimeZone {
    /// Where clocks show UTC.
    pub const UTC: Self = Self(jiff::tz::TimeZone::UTC);

    /// What clocks show at a moment.
    pub fn local(&self, at: WallTime) -> LocalTime {
        let seconds = i64::try_from(at.as_unix_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
        let Ok(moment) = jiff::Timestamp::from_second(seconds) else { return LocalTime::utc(at) };
        let shown = seconds + i64::from(self.0.to_offset(moment).seconds());
        LocalTime {
            day: i32::try_from(shown.div_euclid(86_400)).unwrap_or(i32::MAX),
            second_of_day: shown.rem_euclid(86_400) as u32,
        }
    }

    /// The zone's name in the IANA database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

pub(crate) fn read(field: &Field<'_>) -> Option<TimeZone> {
    let name = field.text()?;
    match jiff::tz::TimeZone::get(name) {
        Ok(zone) => Some(TimeZone(zone)),
        Err(_) => {
            field.problem(
                format!("there is no time zone '{name}'"),
                "a name of the IANA database is expected, such as Europe/Zurich or UTC",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_follow_summer_and_winter() {
        let zurich = TimeZone(jiff::tz::TimeZone::get("Europe/Zurich").unwrap());
        let shown = |text: &str| {
            let LocalTime { day, second_of_day } = zurich.local(WallTime::parse_rfc3339(text).unwrap());
            (day - LocalTime::utc(WallTime::parse_rfc3339(text).unwrap()).day, second_of_day / 60)
        };
        assert_eq!(shown("2026-01-15T12:30:00Z"), (0, 13 * 60 + 30));
        assert_eq!(shown("2026-07-15T12:30:00Z"), (0, 14 * 60 + 30));
        assert_eq!(shown("2026-07-15T23:30:00Z"), (1, 90));
        assert_eq!(TimeZone::UTC.local(WallTime::UNIX_EPOCH), LocalTime::default());
        assert_eq!((zurich.name(), TimeZone::UTC.name()), ("Europe/Zurich", "UTC"));
    }
}
