//! A configuration file as a tree in which every value knows its place, and typed readers over it.
//!
//! Readers do not stop at the first problem: each reports what it finds and answers `None`, so that one
//! run shows all problems of a file. [`Reader::finish`] reports the keys that nobody asked for.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::diagnostics::{Position, Problems, allowed_words};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of values.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// A word, number or text.
    Scalar {
        /// As written, without quotes.
        text: String,
        /// Whether it stood in quotes: then it is text, never a number or a truth value.
        quoted: bool,
    },
    /// A list.
    List(Vec<Value>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

impl Kind {
    /// What it is, in words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar { .. } => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map of keys",
        }
    }
}

/// One key of a map and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub key_at: Position,
    /// The value.
    pub value: Value,
}

/// Reads the keys of one map.
#[derive(Debug)]
pub struct Reader<'a> {
    entries: &'a [Entry],
    at: Position,
    path: String,
    problems: &'a Problems,
    asked: RefCell<Vec<&'static str>>,
    refused: RefCell<Vec<Position>>,
}

impl<'a> Reader<'a> {
    /// Reads the file's outermost value, which must be a map.
    pub fn root(value: &'a Value, problems: &'a Problems) -> Option<Self> {
        Field { value, key_at: value.at, path: String::new(), problems }.map()
    }

    /// Where the map begins.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The key path of the map itself.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The key's value, if it is there.
    pub fn optional(&self, key: &'static str) -> Option<Field<'a>> {
        self.asked.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.field(entry))
    }

    /// The key's value; a problem if it is not there.
    pub fn required(&self, key: &'static str) -> Option<Field<'a>> {
        let field = self.optional(key);
        if field.is_none() {
            self.problem(format!("the key '{key}' is missing"), "it is required");
        }
        field
    }

    /// Makes keys known to [`Reader::finish`] that may not be asked for, since reading may end early.
    pub fn declare(&self, keys: impl IntoIterator<Item = &'static str>) {
        self.asked.borrow_mut().extend(keys);
    }

    /// Reports the key, if it is there, as one whose absence has a reason of its own; [`Reader::finish`] is then silent
    /// about it, and never names it among what is allowed.
    pub fn refuse(&self, key: &str, what: &str, allowed: &str) {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            self.field(entry).key_problem(what, allowed);
            self.refused.borrow_mut().push(entry.key_at);
        }
    }

    /// Every key with its value, for maps whose keys are the user's own names.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + use<'a, '_> {
        self.entries.iter().map(|entry| (entry.key.as_str(), self.field(entry)))
    }

    /// Reports every key that was not asked for. Call it when all keys have been read.
    pub fn finish(&self) {
        let (asked, refused) = (self.asked.borrow(), self.refused.borrow());
        let unknown = |entry: &&Entry| !asked.contains(&entry.key.as_str()) && !refused.contains(&entry.key_at);
        for entry in self.entries.iter().filter(unknown) {
            let mut keys = asked.clone();
            keys.sort_unstable();
            keys.dedup();
            let allowed = match keys.as_slice() {
                [] => "no key is allowed here".to_owned(),
                keys => allowed_words(&entry.key, keys),
            };
            self.problems.report(entry.key_at, join(&self.path, &entry.key), "unknown key", allowed);
        }
    }

    /// Reports a problem with the map as a whole.
    pub fn problem(&self, what: impl Into<String>, allowed: impl Into<String>) {
        self.problems.report(self.at, self.path.clone(), what, allowed);
    }

    fn field(&self, entry: &'a Entry) -> Field<'a> {
        Field {
            value: &entry.value,
            key_at: entry.key_at,
            path: join(&self.path, &entry.key),
            problems: self.problems,
        }
    }
}

/// One value to be read as some type.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    value: &'a Value,
    key_at: Position,
    path: String,
    problems: &'a Problems,
}

impl<'a> Field<'a> {
    /// Where the value begins.
    pub fn position(&self) -> Position {
        self.value.at
    }

    /// Where its key begins; for an item of a list, where the item begins.
    pub fn key_position(&self) -> Position {
        self.key_at
    }

    /// The key path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it is, unread.
    pub fn kind(&self) -> &'a Kind {
        &self.value.kind
    }

    /// Reports a problem with this value.
    pub fn problem(&self, what: impl Into<String>, allowed: impl Into<String>) {
        self.problems.report(self.value.at, self.path.clone(), what, allowed);
    }

    /// Reports a problem that stands at another place, under this value's path: where the path of what
    /// stands there must not be shown.
    pub fn problem_at(&self, position: Position, what: impl Into<String>, allowed: impl Into<String>) {
        self.problems.report(position, self.path.clone(), what, allowed);
    }

    /// Reports a problem with this value's key.
    pub fn key_problem(&self, what: impl Into<String>, allowed: impl Into<String>) {
        self.problems.report(self.key_at, self.path.clone(), what, allowed);
    }

    /// Notes something on this value that is allowed and may surprise.
    pub fn note(&self, text: impl Into<String>) {
        self.problems.note(self.value.at, self.path.clone(), text);
    }

    /// A map.
    pub fn map(&self) -> Option<Reader<'a>> {
        match &self.value.kind {
            Kind::Map(entries) => Some(Reader {
                entries,
                at: self.value.at,
                path: self.path.clone(),
                problems: self.problems,
                asked: RefCell::default(),
                refused: RefCell::default(),
            }),
            other => {
                self.problem(format!("{} was found", other.name()), "a map of keys is expected");
                None
            }
        }
    }

    /// A list.
    pub fn list(&self) -> Option<Vec<Self>> {
        match &self.value.kind {
            Kind::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, value)| Field {
                        value,
                        key_at: value.at,
                        path: format!("{}[{index}]", self.path),
                        problems: self.problems,
                    })
                    .collect(),
            ),
            other => {
                self.problem(format!("{} was found", other.name()), "a list is expected");
                None
            }
        }
    }

    /// Any text.
    pub fn text(&self) -> Option<&'a str> {
        self.scalar("text").map(|(text, _)| text)
    }

    /// A name that may appear in the released tables: lower-case letters, digits, `-` and `_`,
    /// beginning with a letter, at most 32 characters.
    pub fn name(&self) -> Option<&'a str> {
        let text = self.text()?;
        if is_name(text) {
            return Some(text);
        }
        self.problem(format!("'{text}' is not a name"), NAME_RULE);
        None
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match self.scalar("true or false")? {
            ("true", false) => Some(true),
            ("false", false) => Some(false),
            (text, _) => {
                self.problem(format!("'{text}' is not a truth value"), "true or false is expected");
                None
            }
        }
    }

    /// A whole number in `range`. `unit` names what it counts, for the message: "pixels", "threads".
    pub fn integer(&self, range: RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let allowed = || format!("a whole number of {unit} from {} to {} is expected", range.start(), range.end());
        let (text, quoted) = self.scalar_or(&allowed)?;
        match text.parse::<u64>() {
            Ok(number) if !quoted && range.contains(&number) => Some(number),
            _ => {
                let what = match (quoted, text.parse::<i128>().is_ok(), text.parse::<f64>()) {
                    (false, true, _) => format!("{text} is out of range"),
                    (false, _, Ok(number)) if number.is_finite() => format!("{text} is not a whole number"),
                    _ => not_a_number(text, quoted),
                };
                self.problem(what, allowed());
                None
            }
        }
    }

    /// A number in `range`. `unit` as in [`Field::integer`].
    pub fn number(&self, range: RangeInclusive<f64>, unit: &str) -> Option<f64> {
        let of = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
        let allowed = || format!("a number{of} from {} to {} is expected", range.start(), range.end());
        let (text, quoted) = self.scalar_or(&allowed)?;
        match text.parse::<f64>() {
            Ok(number) if !quoted && number.is_finite() && range.contains(&number) => Some(number),
            Ok(number) if !quoted && number.is_finite() => {
                self.problem(format!("{text} is out of range"), allowed());
                None
            }
            _ => {
                self.problem(not_a_number(text, quoted), allowed());
                None
            }
        }
    }

    /// A span of time with its unit, such as `500ms`, `10s`, `15m` or `1h`, in `range`.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let allowed = || {
            format!(
                "a time with its unit (ms, s, m, h, d) from {} to {} is expected, such as 500ms or 15m",
                show_duration(*range.start()),
                show_duration(*range.end())
            )
        };
        let (text, _) = self.scalar_or(&allowed)?;
        // humantime knows more units than we name, and takes 15M for fifteen months.
        let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
        let strange = units.find(|unit| !["ms", "s", "m", "h", "d"].contains(unit));
        match humantime::parse_duration(text) {
            Ok(_) | Err(humantime::DurationError::UnknownUnit { .. }) if strange.is_some() => {
                let unit = strange.unwrap_or_default();
                self.problem(format!("'{text}' has the unknown unit '{unit}'"), allowed());
                None
            }
            Ok(span) if range.contains(&span) => Some(span),
            Ok(_) => {
                self.problem(format!("{text} is out of range"), allowed());
                None
            }
            Err(_) if text.parse::<f64>().is_ok() => {
                self.problem(format!("'{text}' has no unit"), allowed());
                None
            }
            Err(_) => {
                self.problem(format!("'{text}' is not a time"), allowed());
                None
            }
        }
    }

    /// A number of bytes with its unit, such as `512MiB`, in `range`.
    pub fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = || {
            format!(
                "a whole number with its unit (KiB, MiB, GiB, TiB) from {} to {} is expected, such as 512MiB",
                show_size(*range.start()),
                show_size(*range.end())
            )
        };
        let (text, _) = self.scalar_or(&allowed)?;
        let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let (number, unit) = (&text[..text.len() - digits.len()], digits.trim_start());
        let what = match (number.parse::<u64>(), UNITS_OF_SIZE.iter().find(|(name, _)| *name == unit)) {
            (Ok(number), Some((_, factor))) => match number.checked_mul(*factor) {
                Some(bytes) if range.contains(&bytes) => return Some(bytes),
                _ => format!("{text} is out of range"),
            },
            (Ok(_), None) if unit.is_empty() => format!("'{text}' has no unit"),
            (Ok(_), None) if unit.chars().all(char::is_alphabetic) => {
                format!("'{text}' has the unknown unit '{unit}'")
            }
            _ => format!("'{text}' is not a size"),
        };
        self.problem(what, allowed());
        None
    }

    /// One of a closed set of words.
    pub fn one_of<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let (text, _) = self.scalar_or(&|| allowed_words("", &names))?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.problem(format!("'{text}' is unknown"), allowed_words(text, &names));
        }
        found
    }

    fn scalar(&self, expected: &str) -> Option<(&'a str, bool)> {
        self.scalar_or(&|| format!("{expected} is expected"))
    }

    fn scalar_or(&self, allowed: &dyn Fn() -> String) -> Option<(&'a str, bool)> {
        match &self.value.kind {
            Kind::Scalar { text, quoted } => Some((text, *quoted)),
            other => {
                self.problem(format!("{} was found", other.name()), allowed());
                None
            }
        }
    }
}

/// What [`is_name`] asks for, in words.
pub const NAME_RULE: &str = "a name has 1 to 32 lower-case letters, digits, '-' and '_' and begins with a letter";

/// Whether a text may name a camera, line or zone, and so appear in the released tables.
pub fn is_name(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

const UNITS_OF_SIZE: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A span of time as [`Field::duration`] reads it: `15m`, `1h 30m`, `24h`.
pub fn show_duration(span: Duration) -> String {
    let secs = span.as_secs();
    let parts =
        [(secs / 3600, "h"), (secs / 60 % 60, "m"), (secs % 60, "s"), (u64::from(span.subsec_millis()), "ms")];
    let words: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// In the largest unit that leaves a whole number.
fn show_size(bytes: u64) -> String {
    match UNITS_OF_SIZE.iter().rev().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes} bytes"),
    }
}

fn not_a_number(text: &str, quoted: bool) -> String {
    if quoted { format!("'{text}' is in quotes, so it is text") } else { format!("'{text}' is not a number") }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn a_shown_duration_reads_back() {
        for (millis, shown) in
            [(0, "0s"), (500, "500ms"), (5_400_000, "1h 30m"), (86_400_000, "24h"), (61_001, "1m 1s 1ms")]
        {
            let span = Duration::from_millis(millis);
            assert_eq!(show_duration(span), shown);
            assert_eq!(humantime::parse_duration(shown), Ok(span));
        }
    }

    #[test]
    fn each_kind_of_mistake_has_its_own_message_and_place() {
        let text = "fps: fast\nspan: 15\nlate: 3d\nscore: '0.5'\nratio: 1.5\nmode: udpp\nsite: Big Square\nextra: 1\nlist: 4\nunit: 15M\nroom: 2\nmore: 512MB\nlots: 9TiB\nmuch: 1.5GiB\nhalf: 1.5\nless: -1\n";
        let problems = Problems::in_file("c.yaml");
        let value = yaml::parse(text, &problems).unwrap();
        let reader = Reader::root(&value, &problems).unwrap();
        assert_eq!(reader.required("fps").unwrap().integer(1..=60, "frames per second"), None);
        let minute = Duration::from_secs(60);
        assert_eq!(reader.required("span").unwrap().duration(Duration::ZERO..=minute), None);
        assert_eq!(reader.required("late").unwrap().duration(Duration::ZERO..=minute), None);
        assert_eq!(reader.required("score").unwrap().number(0.0..=1.0, ""), None);
        assert_eq!(reader.required("ratio").unwrap().number(0.0..=1.0, ""), None);
        assert_eq!(reader.required("mode").unwrap().one_of(&[("tcp", 1), ("udp", 2)]), None);
        assert_eq!(reader.required("site").unwrap().name(), None);
        assert!(reader.required("list").unwrap().list().is_none());
        assert_eq!(reader.required("unit").unwrap().duration(Duration::ZERO..=minute), None);
        for key in ["half", "less"] {
            assert_eq!(reader.required(key).unwrap().integer(0..=9, "threads"), None);
        }
        for key in ["room", "more", "lots", "much"] {
            assert_eq!(reader.required(key).unwrap().size(1 << 20..=1 << 40), None);
        }
        assert!(reader.required("gone").is_none());
        reader.finish();
        let found: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
        let size =
            "a whole number with its unit (KiB, MiB, GiB, TiB) from 1MiB to 1TiB is expected, such as 512MiB";
        let time = "a time with its unit (ms, s, m, h, d) from 0s to 1m is expected, such as 500ms or 15m";
        assert_eq!(
            found,
            [
                "c.yaml:1:1: the key 'gone' is missing; it is required".to_owned(),
                "c.yaml:1:6: fps: 'fast' is not a number; a whole number of frames per second from 1 to 60 is expected".to_owned(),
                format!("c.yaml:2:7: span: '15' has no unit; {time}"),
                format!("c.yaml:3:7: late: 3d is out of range; {time}"),
                "c.yaml:4:8: score: '0.5' is in quotes, so it is text; a number from 0 to 1 is expected".to_owned(),
                "c.yaml:5:8: ratio: 1.5 is out of range; a number from 0 to 1 is expected".to_owned(),
                "c.yaml:6:7: mode: 'udpp' is unknown; did you mean 'udp'? allowed are tcp, udp".to_owned(),
                format!("c.yaml:7:7: site: 'Big Square' is not a name; {NAME_RULE}"),
                "c.yaml:8:1: extra: unknown key; allowed are fps, gone, half, late, less, list, lots, mode, more, much, ratio, room, score, site, span, unit".to_owned(),
                "c.yaml:9:7: list: a single value was found; a list is expected".to_owned(),
                format!("c.yaml:10:7: unit: '15M' has the unknown unit 'M'; {time}"),
                format!("c.yaml:11:7: room: '2' has no unit; {size}"),
                format!("c.yaml:12:7: more: '512MB' has the unknown unit 'MB'; {size}"),
                format!("c.yaml:13:7: lots: 9TiB is out of range; {size}"),
                format!("c.yaml:14:7: much: '1.5GiB' is not a size; {size}"),
                "c.yaml:15:7: half: 1.5 is not a whole number; a whole number of threads from 0 to 9 is expected".to_owned(),
                "c.yaml:16:7: less: -1 is out of range; a whole number of threads from 0 to 9 is expected".to_owned(),
            ]
        );
    }
}
