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
        write!(f, "{}:{}:{}: ", self.file.display(), self.position.line, self.position.column)?;
        if !self.key_path.is_empty() {
            write!(f, "{}: ", self.key_path)?;
        }
        write!(f, "{}; {}", self.what, self.allowed)
    }
}

/// Collects the problems of one file while it is read. Shared by reference, so that readers of
/// different keys can report side by side.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    list: RefCell<Vec<Problem>>,
}

impl Problems {
    /// No problems yet in `file`.
    pub fn in_file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), list: RefCell::default() }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Adds one.
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
            key_path: key_path.into(),
            what: what.into(),
            allowed: allowed.into(),
        });
    }

    /// How many there are so far: compare before and after a step to learn whether the step was clean.
    pub fn count(&self) -> usize {
        self.list.borrow().len()
    }

    /// All of them, sorted by place.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut list = self.list.into_inner();
        list.sort();
        list.dedup();
        list
    }
}
