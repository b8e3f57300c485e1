//! Hours of the week, as an installer writes them: `22:00-05:00`, `Mon-Fri 07:00-19:00`, `Sun 00:00-24:00`.
//!
//! They are local time. A span that ends before it begins reaches into the next day and belongs to the day
//! on which it begins. A span holds its first second and not its last. Where clocks are changed, the hour
//! that is skipped or repeated is judged by what the clocks show.

use kerbside_core::time::LocalTime;
use kerbside_core::tree::Field;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const EXPECTED: &str = "a span such as '22:00-05:00', 'Mon-Fri 07:00-19:00' or 'Sun 00:00-24:00' is expected";

/// When something applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Any of them; none means always.
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// On which days it begins, from Monday.
    days: [bool; 7],
    /// Seconds of the day; `to` is not after `from` where the span reaches into the next day.
    from: u32,
    to: u32,
}

impl Schedule {
    /// At all times.
    pub(crate) const ALWAYS: Self = Self { spans: Vec::new() };

    /// A list of spans. Each that cannot be read is a problem at its own place.
    pub(crate) fn read(field: &Field<'_>) -> Option<Self> {
        let items = field.list()?;
        if items.is_empty() {
            field.problem("no span is listed", EXPECTED);
            return None;
        }
        let spans: Vec<Option<Span>> = items.iter().map(read_span).collect();
        spans.into_iter().collect::<Option<_>>().map(|spans| Self { spans })
    }

    /// Whether it applies at that moment.
    pub(crate) fn applies(&self, at: LocalTime) -> bool {
        let (second, today) = (at.second_of_day, at.weekday() as usize % 7);
        let yesterday = (today + 6) % 7;
        self.spans.is_empty()
            || self.spans.iter().any(|span| {
                if span.from < span.to {
                    span.days[today] && (span.from..span.to).contains(&second)
                } else {
                    (span.days[today] && second >= span.from) || (span.days[yesterday] && second < span.to)
                }
            })
    }
}

fn read_span(item: &Field<'_>) -> Option<Span> {
    let text = item.text()?;
    let span = parse(text);
    if let Err(what) = &span {
        item.problem(what.clone(), EXPECTED);
    }
    span.ok()
}

fn parse(text: &str) -> Result<Span, String> {
    let mut words = text.split_whitespace();
    let (days, hours) = match (words.next(), words.next(), words.next()) {
        (Some(hours), None, None) => ([true; 7], hours),
        (Some(days), Some(hours), None) => (parse_days(days)?, hours),
        _ => return Err(format!("'{text}' is not a span of hours")),
    };
    let (from, to) = hours.split_once('-').ok_or_else(|| format!("'{hours}' is not a span of hours"))?;
    let (from, to) = (parse_time(from)?, parse_time(to)?);
    if from == to || from == 24 * 3600 {
        return Err(format!("'{hours}' is empty"));
    }
    Ok(Span { days, from, to })
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let day = |name: &str| {
        DAYS.iter()
            .position(|day| *day == name)
            .ok_or_else(|| format!("'{name}' is not a day; days are {}", DAYS.join(", ")))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let mut days = [false; 7];
    let length = (last + 7 - first) % 7;
    (0..=length).for_each(|step| days[(first + step) % 7] = true);
    Ok(days)
}

/// Seconds since midnight, up to 24:00.
fn parse_time(text: &str) -> Result<u32, String> {
    let two_digits = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok()).flatten()
    };
    text.split_once(':')
        .and_then(|(hours, minutes)| Some((two_digits(hours)?, two_digits(minutes)?)))
        .filter(|&(hours, minutes)| (hours < 24 && minutes < 60) || (hours, minutes) == (24, 0))
        .map(|(hours, minutes)| 3600 * hours + 60 * minutes)
        .ok_or_else(|| format!("'{text}' is not a time of day from 00:00 to 24:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1970-01-05 was a Monday.
    fn at(weekday: i32, hours: u32, minutes: u32) -> LocalTime {
        LocalTime { day: 4 + weekday, second_of_day: 3600 * hours + 60 * minutes }
    }

    #[test]
    fn a_span_holds_its_beginning_and_reaches_over_midnight() {
        type Case = (&'static str, &'static [((i32, u32, u32), bool)]);
        let cases: [Case; 5] = [
            ("08:00-17:30", &[((0, 7, 59), false), ((0, 8, 0), true), ((6, 17, 29), true), ((2, 17, 30), false)]),
            ("22:00-05:00", &[((3, 21, 59), false), ((3, 22, 0), true), ((4, 4, 59), true), ((4, 5, 0), false)]),
            ("Fri 22:00-05:00", &[((4, 23, 0), true), ((5, 4, 0), true), ((4, 4, 0), false), ((5, 23, 0), false)]),
            (
                "Sat-Mon 00:00-24:00",
                &[((5, 0, 0), true), ((6, 23, 59), true), ((0, 12, 0), true), ((1, 0, 0), false)],
            ),
            ("Sun 20:00-02:00", &[((6, 21, 0), true), ((0, 1, 0), true), ((1, 1, 0), false)]),
        ];
        for (text, moments) in cases {
            let schedule = Schedule { spans: vec![parse(text).unwrap()] };
            for &((day, hours, minutes), applies) in moments {
                assert_eq!(schedule.applies(at(day, hours, minutes)), applies, "{text}: {day} {hours}:{minutes}");
            }
        }
        assert!(Schedule::ALWAYS.applies(at(3, 4, 5)));
    }

    #[test]
    fn what_is_no_span_is_named() {
        for (text, what) in [
            ("", "'' is not a span of hours"),
            ("22:00", "'22:00' is not a span of hours"),
            ("22:00-25:00", "'25:00' is not a time of day from 00:00 to 24:00"),
            ("7:00-8:00", "'7:00' is not a time of day from 00:00 to 24:00"),
            ("+1:00-08:00", "'+1:00' is not a time of day from 00:00 to 24:00"),
            ("Sat-Sum 00:00-24:00", "'Sum' is not a day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
            ("08:00-08:00", "'08:00-08:00' is empty"),
            ("24:00-08:00", "'24:00-08:00' is empty"),
            ("Mon Tue 08:00-09:00", "'Mon Tue 08:00-09:00' is not a span of hours"),
        ] {
            assert_eq!(parse(text).unwrap_err(), what);
        }
    }
}
