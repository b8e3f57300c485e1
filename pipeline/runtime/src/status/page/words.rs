//! Numbers, times and the closed vocabularies in words.

use std::time::Duration;

use kerbside_core::camera::CameraState;
use kerbside_core::finding::Measure;
use kerbside_core::time::WallTime;
use maud::{Markup, html};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long, as one says it.
pub(in crate::status) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => "less than a second".to_owned(),
        1..MINUTE => format!("{secs} s"),
        MINUTE..HOUR => format!("{} min", secs / MINUTE),
        HOUR..DAY if secs % HOUR < MINUTE => format!("{} h", secs / HOUR),
        HOUR..DAY => format!("{} h {} min", secs / HOUR, secs % HOUR / MINUTE),
        _ => number_of(secs / DAY, "day", "days"),
    }
}

/// A time that is measured on the way of a frame.
pub(super) fn delay(delay: Duration) -> String {
    let millis = delay.as_millis();
    match millis {
        0..1000 => format!("{millis}\u{a0}ms"),
        1000..10_000 => format!("{:.1}\u{a0}s", delay.as_secs_f64()),
        _ => span(delay),
    }
}

/// "1 row", "2 rows".
pub(super) fn number_of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Digits in groups of three, which do not break over lines.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit that leaves at least one. Number and unit stay in one line.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => {
            let number = bytes as f64 / size as f64;
            if number < 10.0 { format!("{number:.1}\u{a0}{unit}") } else { format!("{number:.0}\u{a0}{unit}") }
        }
        None => format!("{bytes} bytes"),
    }
}

/// A share from 0 to 1. Only all of it is 100 %, and only none of it 0 %.
pub(in crate::status) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let shown = percent.round();
    match shown {
        _ if percent <= 0.0 => "0 %".to_owned(),
        _ if shown < 1.0 => "under 1 %".to_owned(),
        _ if shown >= 100.0 && percent < 100.0 => "over 99 %".to_owned(),
        _ => format!("{shown:.0} %"),
    }
}

/// How much of a bin was seen, where that was not nearly all of it.
pub(super) fn coverage(share: f32) -> Option<&'static str> {
    match share {
        share if share >= 0.9 => None,
        share if share >= 0.5 => Some("partly seen"),
        share if share > 0.0 => Some("hardly seen"),
        _ => Some("not seen"),
    }
}

/// How a moment is written; the script of the page writes it again, in the browser's own time.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    /// Day and time of day.
    Full,
    /// The time of day.
    Minutes,
    /// The time of day, to the second.
    Seconds,
}

/// A moment in UTC.
pub(super) fn time(at: WallTime, shown: Shown, zone: &str) -> Markup {
    let text = at.to_string();
    // RFC 3339 of a year below 10 000: date, T, time, as in 2026-01-31T08:00:00.000Z.
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let (kind, words) = match shown {
        Shown::Full => ("full", format!("{} {}", part(0, 10), part(11, 19))),
        Shown::Minutes => ("minutes", part(11, 16).to_owned()),
        Shown::Seconds => ("seconds", part(11, 19).to_owned()),
    };
    html! { time datetime=(text) data-show=(kind) { (words) (zone) } }
}

/// From when until when.
pub(super) fn bin(from: WallTime, to: WallTime) -> Markup {
    let is_whole = |at: WallTime| at.bin_start(Duration::from_secs(MINUTE)) == at;
    let shown = if is_whole(from) && is_whole(to) { Shown::Minutes } else { Shown::Seconds };
    html! { (time(from, shown, "")) "–" (time(to, shown, " UTC")) }
}

/// A camera's state in one or two words.
pub(super) fn state(state: CameraState) -> &'static str {
    match state {
        CameraState::Up => "seen",
        CameraState::Connecting => "not connected",
        CameraState::AuthFailed => "refuses the password",
        CameraState::CodecUnsupported => "cannot be analysed",
        CameraState::Stalled => "sends no pictures",
        CameraState::Tampered => "not trusted",
        CameraState::Disabled => "off",
    }
}

/// What a guard says of the picture.
pub(super) fn tamper(word: &str) -> &str {
    match word {
        "covered" => "it is covered",
        "defocus" => "it is out of focus",
        "moved" => "the camera was moved",
        "frozen" => "it is frozen",
        "dark" => "it is too dark",
        "bright" => "it is too bright",
        other => other,
    }
}

/// What is measured, of whom and in which direction.
pub(super) fn counted(measure: &str, class: &str, direction: &str) -> String {
    let measure = match measure {
        "crossing_count" => "crossings",
        "occupancy_time" => "time occupied",
        "presence_mean" => "mean presence",
        "dwell_hist" => "stays",
        "speed_hist" => "speeds",
        "queue_len" => "longest queue",
        "stopped_count" => "stops",
        "density_level" => "mean density",
        "turn_count" => "turns",
        "headway_hist" => "headways",
        "queue_reach" => "reach of the longest queue",
        "loitering_count" => "long stays",
        "flow_score" => "how unusual",
        other => other,
    };
    let class = match class {
        "person" => "people",
        "bicycle" => "bicycles",
        "motorcycle" => "motorcycles",
        "car" => "cars",
        "bus" => "buses",
        "truck" => "trucks",
        "other" => "others",
        other => other,
    };
    match direction {
        "none" => format!("{measure}: {class}"),
        direction => format!("{measure}: {class}, {direction}"),
    }
}

/// What a bucket of a histogram holds; nothing where the measure has none.
pub(super) fn bucket(measure: &str, place: u8) -> Option<String> {
    let known = Measure::ALL.into_iter().find(|known| known.name() == measure)?;
    let (edges, unit) = (known.edges(), if known == Measure::SpeedHist { "km/h" } else { "s" });
    let place = usize::from(place);
    let below = place.checked_sub(1).and_then(|place| edges.get(place));
    match (below, edges.get(place)) {
        (None, Some(to)) => Some(format!("below {to} {unit}")),
        (Some(from), Some(to)) => Some(format!("{from}–{to} {unit}")),
        (Some(from), None) => Some(format!("{from} {unit} or more")),
        (None, None) => None,
    }
}

/// A unit as it stands behind a number.
pub(super) fn unit(unit: &str) -> &str {
    match unit {
        "count" => "",
        "permille" => "\u{202f}‰",
        "s" => "\u{202f}s",
        "m" => "\u{202f}m",
        "dm/s" => "\u{202f}dm/s",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_one_says_them() {
        let cases = [
            (0, "less than a second"),
            (59, "59 s"),
            (60, "1 min"),
            (3 * HOUR + 30, "3 h"),
            (3 * HOUR + 61, "3 h 1 min"),
            (DAY, "1 day"),
            (3 * DAY - 1, "2 days"),
        ];
        for (secs, said) in cases {
            assert_eq!(span(Duration::from_secs(secs)), said);
        }
        assert_eq!(delay(Duration::from_millis(38)), "38\u{a0}ms");
        assert_eq!(delay(Duration::from_millis(1250)), "1.2\u{a0}s");
    }

    #[test]
    fn numbers_are_rounded_to_no_other_end() {
        assert_eq!(grouped(12_345_678), "12\u{202f}345\u{202f}678");
        assert_eq!((grouped(0), grouped(999)), ("0".to_owned(), "999".to_owned()));
        assert_eq!([bytes(1023), bytes(1536), bytes(512 << 20)], ["1023 bytes", "1.5\u{a0}KiB", "512\u{a0}MiB"]);
        let shares = [0.0, 0.001, 0.006, 0.5, 0.996, 1.0].map(percent);
        assert_eq!(shares, ["0 %", "under 1 %", "1 %", "50 %", "over 99 %", "100 %"]);
        let seen = [1.0, 0.9, 0.89, 0.5, 0.49, 0.0].map(coverage);
        let (partly, hardly) = (Some("partly seen"), Some("hardly seen"));
        assert_eq!(seen, [None, None, partly, partly, hardly, Some("not seen")]);
    }

    #[test]
    fn moments_are_utc_until_a_browser_knows_better() {
        let at = WallTime::parse_rfc3339("2026-01-31T08:15:00Z").unwrap();
        assert_eq!(
            time(at, Shown::Full, " UTC").into_string(),
            "<time datetime=\"2026-01-31T08:15:00.000Z\" data-show=\"full\">2026-01-31 08:15:00 UTC</time>"
        );
        assert!(bin(at - Duration::from_secs(900), at).into_string().contains(">08:00</time>–<time"));
        assert!(bin(at, at + Duration::from_secs(5)).into_string().contains(">08:15:05 UTC</time>"));
    }

    #[test]
    fn every_word_of_the_tables_has_one_on_the_page() {
        for measure in Measure::ALL {
            let said = counted(measure.name(), "person", "none");
            assert!(!said.contains('_'), "{said}");
            let places = measure.buckets().map(|place| bucket(measure.name(), place));
            assert_eq!(
                places.flatten().count(),
                if measure.edges().is_empty() { 0 } else { measure.edges().len() + 1 }
            );
        }
        assert_eq!(counted("crossing_count", "person", "forward"), "crossings: people, forward");
        let stays = [0, 1, 4].map(|place| bucket("dwell_hist", place).unwrap());
        assert_eq!(stays, ["below 5 s", "5–15 s", "300 s or more"]);
    }
}
