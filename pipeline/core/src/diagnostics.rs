//! Problems with what a person wrote, each with its place and what is allowed instead.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a text file; both count from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The first character of a file, for problems with the file as a whole.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// In which file.
    pub file: PathBuf,
    /// Where in it.
    pub position: Position,
    /// Under which key, such as `geometry.zones.square.polygon[2]`; empty for the file as a whole.
    pub key_path: String,
    /// What is wrong.
    pub what: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for Problem {
    /// `file:line:col: key.path: what is wrong; what is allowed`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.to_string_lossy();
        write!(f, "{}:{}:{}: ", OneLine(&file), self.position.line, self.position.column)?;
        if !self.key_path.is_empty() {
            write!(f, "{}: ", Short(&self.key_path))?;
        }
        write!(f, "{}; {}", Short(&self.what), OneLine(&self.allowed))
    }
}

/// Text that cannot break a report into more lines than it has: names of files hold any character but '/'.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// The same, cut where it is longer than anybody writes: reports go to the log, and what a file says must not get
/// there by being wrong. A word counts as such from one blank, '/' or '.' to the next.
struct Short<'a>(&'a str);

/// Characters of a word that are shown.
const SHOWN_OF_A_WORD: usize = 80;
/// Characters that are shown in all.
const SHOWN: usize = 600;

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word = 0;
        for c in self.0.chars().take(SHOWN) {
            word = if c.is_whitespace() || matches!(c, '/' | '.') { 0 } else { word + 1 };
            if word <= SHOWN_OF_A_WORD {
                write!(f, "{}", OneLine(c.encode_utf8(&mut [0; 4])))?;
            } else if word == SHOWN_OF_A_WORD + 1 {
                f.write_str("…")?;
            }
        }
        if word <= SHOWN_OF_A_WORD && self.0.chars().nth(SHOWN).is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// Something that is allowed and may surprise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// In which file.
    pub file: PathBuf,
    /// Where in it.
    pub position: Position,
    /// Under which key.
    pub key_path: String,
    /// What the writer of the file should know.
    pub text: String,
}

impl fmt::Display for Note {
    /// `file:line:col: key.path: note: text`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, position: Position { line, column }, key_path, text } = self;
        write!(f, "{}:{line}:{column}: {key_path}: note: {text}", file.display())
    }
}

/// What is allowed where one of the `known` words is expected and `given` is none of them:
/// the word that was probably meant, if one is near, then all of them.
pub fn allowed_words(given: &str, known: &[&str]) -> String {
    let all = match known {
        [] => return "nothing is known here".to_owned(),
        [one] => format!("only {one} is allowed"),
        many => format!("allowed are {}", many.join(", ")),
    };
    match nearest(given, known) {
        Some(word) => format!("did you mean '{word}'? {all}"),
        None => all,
    }
}

/// The known word that `given` most likely is a slip of: a few letters off, or a part of it.
fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    const NEAR_ENOUGH: f64 = 0.6;
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let given = given.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|word| {
            let plain = word.to_lowercase().replace('-', "_");
            let part = given.len() >= 3 && plain.len() >= 3 && (plain.contains(&given) || given.contains(&plain));
            let likeness = strsim::normalized_damerau_levenshtein(&given, &plain);
            (if part { likeness.max(NEAR_ENOUGH) } else { likeness }, *word)
        })
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

fn one_line(text: String) -> String {
    const LONGEST: usize = 4000;
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut short: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

/// Collects the problems of one file while it is read, and notes on what is no problem. Shared by reference, so that readers of
/// different keys can report side by side.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    list: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Note>>,
}

impl Problems {
    /// No problems yet in `file`.
    pub fn in_file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), list: RefCell::default(), notes: RefCell::default() }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Adds one. Control characters, which the texts may repeat from the file, are replaced, and very long texts
    /// cut: a report is one line a problem and must not steer the terminal it is shown on.
    pub fn report(
        &self,
        position: Position,
        key_path: impl Into<String>,
        what: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        self.list.borrow_mut().push(Problem {
            file: self.file.clone(),
            position,
            key_path: one_line(key_path.into()),
            what: one_line(what.into()),
            allowed: one_line(allowed.into()),
        });
    }

    /// Adds a note, one line like a problem.
    pub fn note(&self, position: Position, key_path: impl Into<String>, text: impl Into<String>) {
        let (file, key_path, text) = (self.file.clone(), one_line(key_path.into()), one_line(text.into()));
        self.notes.borrow_mut().push(Note { file, position, key_path, text });
    }

    /// The notes, sorted by place; none are left.
    pub fn take_notes(&self) -> Vec<Note> {
        let mut notes = self.notes.take();
        notes.sort();
        notes.dedup();
        notes
    }

    /// How many problems there are so far: compare before and after a step to learn whether the step was clean.
    pub fn count(&self) -> usize {
        self.list.borrow().len()
    }

    /// All problems, sorted by place.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut list = self.list.into_inner();
        list.sort();
        list.dedup();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_2_a_report_repeats_no_long_text_and_keeps_to_its_line() {
        let problems = Problems::in_file("cameras/a\nb.yaml");
        let long = "x".repeat(1024);
        problems.report(Position::START, &long, format!("there is no class '{long}'\u{1b}[2J"), "only car");
        let report = problems.into_sorted().remove(0).to_string();
        let (head, tail) = ("x".repeat(SHOWN_OF_A_WORD), "x".repeat(SHOWN_OF_A_WORD - 1));
        assert_eq!(report, format!("cameras/a\\nb.yaml:1:1: {head}…: there is no class '{tail}…; only car"));
        let many = format!("{}", Short(&"y ".repeat(1000)));
        assert_eq!(many.chars().count(), SHOWN + 1);
    }

    #[test]
    fn a_problem_is_one_line_of_bounded_length_whatever_the_file_holds() {
        let problems = Problems::in_file("f.yaml");
        problems.report(Position::START, "a\nb", "\u{1b}[2J", "x".repeat(5000));
        problems.report(Position { line: 2, column: 1 }, "ä", "é\t", "");
        let found: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(found[0], format!("f.yaml:1:1: a\u{FFFD}b: \u{FFFD}[2J; {}…", "x".repeat(4000)));
        assert_eq!(found[1], "f.yaml:2:1: ä: é\u{FFFD}; ");
    }

    #[test]
    fn a_slip_of_the_pen_gets_the_word_that_was_meant() {
        let keys = ["analyse_fps", "classes", "credentials", "detector", "source"];
        let meant = |given| allowed_words(given, &keys);
        let all = "allowed are analyse_fps, classes, credentials, detector, source";
        for (given, word) in [
            ("analyze_fps", "analyse_fps"),
            ("Source", "source"),
            ("souce", "source"),
            ("sourec", "source"),
            ("class", "classes"),
            ("analyse-fps", "analyse_fps"),
            ("cred", "credentials"),
            ("fps", "analyse_fps"),
        ] {
            assert_eq!(meant(given), format!("did you mean '{word}'? {all}"));
        }
        for given in ["colour", "", "se", &"source".repeat(100)] {
            assert_eq!(meant(given), all, "{given:?}");
        }
        assert_eq!(allowed_words("x", &["file"]), "only file is allowed");
    }
}
