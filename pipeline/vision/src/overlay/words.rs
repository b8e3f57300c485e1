//! What an overlay says in words. The words are those of the camera's file and of the released tables.

use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Finding, FindingKind, Measure};
use kerbside_core::geometry::{Geometry, SiteId};
use kerbside_core::incident::{Incident, IncidentUnit, Phase};
use kerbside_core::time::MediaTime;

use super::board::{Subject, Tally, TallyKey};

/// What happened, in a few words; `None` for what goes on from frame to frame.
pub(super) fn event(operator: &str, geometry: &Geometry, finding: &Finding) -> Option<String> {
    let class = finding.class.map_or("", Class::name);
    let words: Vec<&str> = match &finding.kind {
        FindingKind::Crossing { direction } => vec![operator, "crossing", direction.name(), class],
        FindingKind::Turn { toward } => {
            vec![operator, site(geometry, finding.site), "to", site(geometry, *toward), class]
        }
        FindingKind::Counted { measure, direction, bucket } => {
            let bucket = bucket_name(*measure, *bucket);
            let text = joined(&[operator, measure.name(), directed(*direction), &bucket, class]);
            return Some(text);
        }
        FindingKind::Incident(Incident { kind, phase, .. }) if *phase != Phase::Update => {
            vec![operator, kind.name(), phase.name(), class]
        }
        FindingKind::Presence { .. }
        | FindingKind::Peak { .. }
        | FindingKind::Level { .. }
        | FindingKind::Incident(_) => return None,
    };
    Some(joined(&words))
}

/// A situation, in a line.
pub(super) fn situation(operator: &str, geometry: &Geometry, finding: &Finding, incident: &Incident) -> String {
    let value = match incident.unit {
        IncidentUnit::None => String::new(),
        unit => format!("{} {}", incident.value, unit.name()),
    };
    let place = if finding.site == SiteId::PICTURE { "" } else { site(geometry, finding.site) };
    let class = finding.class.map_or("", Class::name);
    let reason = incident.reason.map_or("", |reason| reason.name());
    let since = format!("since {}", clock(incident.since));
    let ended = if incident.phase == Phase::End { "ended" } else { "" };
    joined(&[operator, incident.kind.name(), place, class, &value, reason, &since, ended])
}

/// A running number, in a line, as of `now`.
pub(super) fn tally(geometry: &Geometry, key: &TallyKey, tally: &Tally, now: MediaTime) -> String {
    let class = key.class.map_or("all", Class::name);
    let level = if tally.at == Some(now) { tally.level } else { 0 };
    match key.subject {
        Subject::Crossings => format!("{class} {}", counts(tally)),
        Subject::Presence => format!("{class} {level} now, {:.1} s", tally.occupied.as_secs_f64()),
        Subject::Turns(toward) => format!("{class} to {} {}", site(geometry, toward), counts(tally)),
        Subject::Counted(measure) => {
            let last = bucket_name(measure, tally.bucket);
            let last = if last.is_empty() { last } else { format!(", last {last}") };
            format!("{} {class} {}{last}", measure.name(), counts(tally))
        }
        Subject::Peak(measure) => format!("{} {class} {level}, highest {}", measure.name(), tally.highest),
        Subject::Level(measure) => format!("{} {class} {:.2}", measure.name(), f64::from(level) / 1e6),
    }
}

/// A moment of the clip, such as 01:02.345.
pub(super) fn clock(at: MediaTime) -> String {
    let millis = at.as_nanos() / 1_000_000;
    format!("{:02}:{:02}.{:03}", millis / 60_000, millis / 1000 % 60, millis % 1000)
}

/// The site's name.
pub(super) fn site(geometry: &Geometry, id: SiteId) -> &str {
    geometry.name(id).unwrap_or("picture")
}

fn counts(tally: &Tally) -> String {
    match tally.counts {
        [all, 0, 0] => all.to_string(),
        [_, forward, backward] => format!("{forward} forward {backward} backward"),
    }
}

fn directed(direction: Direction) -> &'static str {
    if direction == Direction::None { "" } else { direction.name() }
}

/// From where to where a bucket reaches, such as 30-40; nothing where the measure has no buckets.
fn bucket_name(measure: Measure, bucket: u8) -> String {
    let edges = measure.edges();
    let bucket = usize::from(bucket);
    let lower = bucket.checked_sub(1).and_then(|below| edges.get(below));
    match (lower, edges.get(bucket)) {
        (None, None) => String::new(),
        (lower, Some(upper)) => format!("{}-{upper}", lower.unwrap_or(&0)),
        (Some(lower), None) => format!("{lower}+"),
    }
}

fn joined(words: &[&str]) -> String {
    let mut text = String::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_by_their_edges() {
        for (measure, bucket, name) in [
            (Measure::SpeedHist, 0, "0-10"),
            (Measure::SpeedHist, 4, "40-50"),
            (Measure::SpeedHist, 12, "120+"),
            (Measure::StoppedCount, 0, ""),
        ] {
            assert_eq!(bucket_name(measure, bucket), name);
        }
    }

    #[test]
    fn events_say_what_an_operator_counted() {
        let finding =
            |kind| Finding { at: MediaTime::ZERO, site: SiteId(0), class: Some(Class::Person), track: None, kind };
        let crossing = finding(FindingKind::Crossing { direction: Direction::Forward });
        let text = event("count_line", &Geometry::default(), &crossing);
        assert_eq!(text.as_deref(), Some("count_line crossing forward person"));
        let bucket = Measure::SpeedHist.bucket_of(47.0);
        let kind = FindingKind::Counted { measure: Measure::SpeedHist, direction: Direction::None, bucket };
        let text = event("measure_speed", &Geometry::default(), &finding(kind));
        assert_eq!(text.as_deref(), Some("measure_speed speed_hist 40-50 person"));
        let presence = finding(FindingKind::Presence { lasted: std::time::Duration::from_millis(40) });
        assert_eq!(event("measure_occupancy", &Geometry::default(), &presence), None);
    }

    #[test]
    fn moments_have_minutes_and_thousandths() {
        assert_eq!(clock(MediaTime::from_millis(62_345)), "01:02.345");
    }
}
