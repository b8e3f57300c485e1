//! `kerbside backtest`: what `detect_unusual_flow` would have said about a recorded series.

use std::fs;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kerbside_operators::seasonal::{SeasonalBaseline, SeasonalSettings};

use super::replay::bin;
use crate::Outcome;
use crate::output::{Refusal, complain, say};
use crate::whole_file::WholeFile;

/// More problems of one file than this are counted only.
const PROBLEMS_SHOWN: usize = 20;
/// Moments from the year 10000 on are milliseconds by mistake.
const LAST_SECOND: i64 = 253_402_300_799;
/// From 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;

/// Judges a recorded series row by row, as the node would have done, and writes a score for each.
///
/// Every score depends on earlier rows only. It is 0 where nothing begins; from 0.5 on the row is unusual. To
/// try another threshold, compare the scores with another number: higher is quieter. One setting serves all
/// series: counts, speeds, occupancies and travel times, in steps of a minute to an hour.
#[derive(Args)]
pub(crate) struct Backtest {
    /// A CSV file with a head that names the columns `timestamp` and `value`; others are ignored. Times such as
    /// 2015-09-01 11:25:00 or 2015-09-01T11:25:00Z are taken as the site's own clock, whatever their zone;
    /// Unix seconds are allowed too. A row without a value is a gap
    series: PathBuf,
    /// Takes the mean over steps of this length, such as 5m, and judges that: a row for each step that has
    /// values, with the time of its first row
    #[arg(long, value_name = "TIME", value_parser = bin)]
    every: Option<Duration>,
    /// Where to write timestamp,value,score,unusual [default: standard output]
    #[arg(long, value_name = "CSV")]
    out: Option<PathBuf>,
}

impl Backtest {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let name = self.series.display().to_string();
        let file =
            fs::File::open(&self.series).map_err(|error| Refusal(format!("{name} cannot be read: {error}")))?;
        let series = match read(&name, file) {
            Ok(series) => series,
            Err(problems) => {
                for problem in problems.iter().take(PROBLEMS_SHOWN) {
                    complain(problem);
                }
                if problems.len() > PROBLEMS_SHOWN {
                    complain(&format!("{name}: {} more problems", problems.len() - PROBLEMS_SHOWN));
                }
                return Ok(Outcome::Refused);
            }
        };
        if series.backwards > 0 {
            complain(&format!(
                "{name}: {} rows are not later than the row before, as where a clock is put back; each counts \
                 as one step later",
                series.backwards
            ));
        }
        let rows = match self.every {
            Some(every) => resample(&series.rows, i64::try_from(every.as_secs())?),
            None => series.rows,
        };
        let judged = judge(&rows);
        let text = table(&rows, &judged)?;
        match &self.out {
            Some(out) => {
                let whole = WholeFile::create(out, &[&self.series])?;
                let written = whole.out().write_all(text.as_bytes());
                written.with_context(|| format!("{} cannot be written", out.display()))?;
                whole.finish()?;
            }
            None => say(&text)?,
        }
        let gaps = rows.iter().filter(|row| row.value.is_none()).count();
        let unusual = judged.iter().filter(|judgement| judgement.unusual).count();
        complain(&format!("{} rows, {gaps} without a value, {unusual} unusual", rows.len()));
        Ok(Outcome::Done)
    }
}

/// One row of a series.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    /// The time as it was written.
    timestamp: String,
    /// The same in seconds of the site's own clock.
    at: i64,
    value: Option<f64>,
}

#[derive(Debug)]
struct Series {
    rows: Vec<Row>,
    /// Rows that are not later than the row before.
    backwards: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Judgement {
    score: f64,
    unusual: bool,
}

/// Reads a series, or says all that is wrong with it.
fn read(name: &str, input: impl Read) -> Result<Series, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let head = reader.headers().map_err(|error| vec![unreadable(name, &error)])?;
    let column = |wanted: &str| head.iter().position(|title| title.eq_ignore_ascii_case(wanted));
    let (Some(timestamp), Some(value)) = (column("timestamp"), column("value")) else {
        return Err(vec![format!("{name}:1: the head is wrong; it has to name the columns timestamp and value")]);
    };
    let mut series = Series { rows: Vec::new(), backwards: 0 };
    let mut problems = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                problems.push(unreadable(name, &error));
                if matches!(error.kind(), csv::ErrorKind::Io(_)) {
                    break;
                }
                continue;
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        let (timestamp, value) = (&record[timestamp], &record[value]);
        let Some(at) = civil_seconds(timestamp) else {
            problems.push(format!(
                "{name}:{line}: timestamp: '{timestamp}' is no time; 2015-09-01 11:25:00, \
                 2015-09-01T11:25:00Z and Unix seconds are allowed"
            ));
            continue;
        };
        let Some(value) = number(value) else {
            problems.push(format!(
                "{name}:{line}: value: '{value}' is not a number; a number is expected, or nothing for a gap"
            ));
            continue;
        };
        if series.rows.last().is_some_and(|last| at <= last.at) {
            series.backwards += 1;
        }
        series.rows.push(Row { timestamp: timestamp.to_owned(), at, value });
    }
    if problems.is_empty() { Ok(series) } else { Err(problems) }
}

fn unreadable(name: &str, error: &csv::Error) -> String {
    let line = error.position().map_or_else(String::new, |position| format!("{}:", position.line()));
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{name}:{line} {len} columns; the head has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => format!("{name}:{line} this is not text in UTF-8"),
        _ => format!("{name}:{line} {error}"),
    }
}

/// A number, or nothing where there is none; `None` for what is neither.
fn number(text: &str) -> Option<Option<f64>> {
    if text.is_empty() || text.eq_ignore_ascii_case("nan") {
        return Some(None);
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some)
}

/// Seconds since 1970-01-01T00:00 of the clock that wrote the text. A zone is read over, and so are fractions.
fn civil_seconds(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let is_sensible = seconds.is_finite() && seconds.abs() <= LAST_SECOND as f64;
        return is_sensible.then_some(seconds.floor() as i64);
    }
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, without_zone(time.trim_start())?),
        None => (text, "00:00"),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let mut clock = time.split(':');
    let (hour, minute) = (digits(clock.next()?, 2)?, digits(clock.next()?, 2)?);
    let second = match clock.next() {
        Some(second) => {
            let (whole, fraction) = second.split_once('.').unwrap_or((second, "0"));
            if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            digits(whole, 2)?
        }
        None => 0,
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    let is_valid = (1..=days_of_month).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if parts.next().is_some() || clock.next().is_some() || !is_valid {
        return None;
    }
    // Days of a year that begins in March: the leap day is its last, so months have fixed places.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = shifted_year.div_euclid(4) - shifted_year.div_euclid(100) + shifted_year.div_euclid(400);
    let days = 365 * shifted_year + leap_days + (153 * shifted_month + 2) / 5 + day - 1 - DAYS_BEFORE_1970;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// The time of day without `Z`, `+02:00` or `-0500` behind it.
fn without_zone(time: &str) -> Option<&str> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some(time.trim_end());
    }
    let Some(sign) = time.find(['+', '-']) else { return Some(time) };
    let (time, zone) = (&time[..sign], &time[sign + 1..]);
    let is_zone = match zone.split_once(':') {
        Some((hours, minutes)) => digits(hours, 2).is_some() && digits(minutes, 2).is_some(),
        None => digits(zone, 2).is_some() || digits(zone, 4).is_some(),
    };
    is_zone.then(|| time.trim_end())
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// The mean of the values in each step, steps being aligned to midnight. A step without any row is left out.
fn resample(rows: &[Row], step_secs: i64) -> Vec<Row> {
    rows.chunk_by(|row, next| row.at.div_euclid(step_secs) == next.at.div_euclid(step_secs))
        .filter_map(|step| {
            let first = step.first()?;
            let values = || step.iter().filter_map(|row| row.value);
            let count = values().count();
            let value = (count > 0).then(|| values().map(|value| value / count as f64).sum());
            let at = first.at.div_euclid(step_secs) * step_secs;
            Some(Row { timestamp: first.timestamp.clone(), at, value })
        })
        .collect()
}

/// Judges each row by those before it.
fn judge(rows: &[Row]) -> Vec<Judgement> {
    let mut baseline = SeasonalBaseline::new(SeasonalSettings::DEFAULT);
    rows.iter()
        .map(|row| {
            let verdict = row.value.and_then(|value| baseline.observe(row.at, value));
            verdict.map_or_else(Judgement::default, |verdict| Judgement {
                score: verdict.score,
                unusual: verdict.unusual,
            })
        })
        .collect()
}

fn table(rows: &[Row], judged: &[Judgement]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["timestamp", "value", "score", "unusual"])?;
    for (row, Judgement { score, unusual }) in rows.iter().zip(judged) {
        let value = row.value.map_or_else(String::new, |value| value.to_string());
        writer.write_record([&row.timestamp, &value, &format!("{score:.6}"), &unusual.to_string()])?;
    }
    Ok(String::from_utf8(writer.into_inner().context("memory")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        read("s.csv", text.as_bytes()).unwrap().rows
    }

    fn problems(text: &[u8]) -> Vec<String> {
        read("s.csv", text).unwrap_err()
    }

    #[test]
    fn times_are_read_as_they_stand_on_the_clock() {
        let moment = Some(1_441_106_700);
        for text in [
            "2015-09-01 11:25:00",
            "2015-09-01T11:25:00",
            "2015-09-01T11:25:00Z",
            "2015-09-01T11:25:00.250+02:00",
            "2015-09-01 11:25:00 -0500",
            "2015-09-01 11:25",
            "1441106700",
            "1441106700.5",
        ] {
            assert_eq!(civil_seconds(text), moment, "{text}");
        }
        assert_eq!(civil_seconds("1970-01-01"), Some(0));
        assert_eq!(civil_seconds("1969-12-31 23:59:59"), Some(-1));
        assert_eq!(civil_seconds("2000-02-29 00:00:00"), Some(951_782_400));
        assert_eq!(civil_seconds("2100-03-01 00:00:00"), Some(4_107_542_400));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "noon",
            "2015-13-01 00:00:00",
            "2015-02-29 00:00:00",
            "2015-09-01 24:00:00",
            "2015-09-01 11:60:00",
            "2015-9-1 11:25:00",
            "01/09/2015 11:25",
            "2015-09-01 11:25:00 CET",
            "2015-09-01T",
            "1441106700000",
            "2015-09-01 11:25:00.",
            "2015-09-01-02 11:25:00",
            "NaN",
            "inf",
            "2015-09-01 11:25:00+",
        ] {
            assert_eq!(civil_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn columns_are_found_by_name_and_gaps_are_kept() {
        let found = rows(
            "id,Value,timestamp\n7,12.5,2015-09-01 11:25:00\n8,,2015-09-01 11:30:00\n9,NaN,2015-09-01 11:35:00\n",
        );
        let values: Vec<Option<f64>> = found.iter().map(|row| row.value).collect();
        assert_eq!(values, [Some(12.5), None, None]);
        assert_eq!(found[1].timestamp, "2015-09-01 11:30:00");
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let told =
            problems(b"timestamp,value\n2015-09-01 11:25:00,x\nyesterday,1\n2015-09-01 11:30:00,inf\n1,2,3\n");
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[0], "s.csv:2: value: 'x' is not a number; a number is expected, or nothing for a gap");
        assert!(told[1].starts_with("s.csv:3: timestamp: 'yesterday' is no time; "), "{}", told[1]);
        assert!(told[2].starts_with("s.csv:4: value: 'inf' is not a number; "), "{}", told[2]);
        assert_eq!(told[3], "s.csv:5: 3 columns; the head has 2");
        assert_eq!(problems(b"timestamp,value\n\xff,1\n"), ["s.csv:2: this is not text in UTF-8"]);
        for text in ["", "2015-09-01 11:25:00,1\n", "time,value\n"] {
            assert_eq!(
                problems(text.as_bytes()),
                ["s.csv:1: the head is wrong; it has to name the columns timestamp and value"]
            );
        }
    }

    #[test]
    fn rows_that_go_back_are_kept_and_counted() {
        let series = read("s.csv", "timestamp,value\n100,1\n100,2\n50,3\n200,4\n".as_bytes()).unwrap();
        assert_eq!((series.rows.len(), series.backwards), (4, 2));
    }

    #[test]
    fn a_step_is_the_mean_of_its_rows_and_keeps_the_time_of_the_first() {
        let found = resample(&rows("timestamp,value\n610,1\n700,3\n890,\n900,5\n1500,\n3000,7\n"), 300);
        let steps: Vec<(&str, i64, Option<f64>)> =
            found.iter().map(|row| (row.timestamp.as_str(), row.at, row.value)).collect();
        assert_eq!(
            steps,
            [("610", 600, Some(2.0)), ("900", 900, Some(5.0)), ("1500", 1500, None), ("3000", 3000, Some(7.0))]
        );
    }

    #[test]
    fn a_spike_is_written_as_unusual_and_rows_to_come_change_nothing() {
        let mut text = String::from("timestamp,value\n");
        for row in 0..2000 {
            let value = if row == 1500 { 400 } else { 50 + row % 7 };
            text += &format!("{},{value}\n", 300 * row);
        }
        let all = rows(&text);
        let judged = judge(&all);
        assert!(judged[1500].unusual && judged[1500].score >= 0.5);
        assert_eq!(judge(&all[..1600]), judged[..1600]);
        let written = table(&all, &judged).unwrap();
        assert_eq!(written.lines().next(), Some("timestamp,value,score,unusual"));
        assert_eq!(written.lines().count(), 2001);
        assert!(written.lines().nth(1501).unwrap().starts_with("450000,400,"));
        assert!(written.lines().nth(1501).unwrap().ends_with(",true"));
        assert_eq!(
            table(&rows("timestamp,value\n5,\n"), &[Judgement::default()]).unwrap().lines().last(),
            Some("5,,0.000000,false")
        );
    }
}
