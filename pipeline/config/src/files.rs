//! Opening and reading files that a person named.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use kerbside_core::diagnostics::{Position, Problems};
use kerbside_core::yaml;
use rustix::fs::{Mode, OFlags};

/// Opens an existing regular file for reading, or says in one sentence why that cannot be.
/// Named pipes and devices are refused without waiting for their other end.
pub(crate) fn open_regular(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::NOENT) => return Err(format!("there is no file {shown}")),
        Err(error) => return Err(format!("{shown} cannot be opened: {}", std::io::Error::from(error))),
    };
    match file.metadata() {
        Ok(facts) if facts.is_file() => Ok(file),
        Ok(facts) if facts.is_dir() => Err(format!("{shown} is a folder")),
        Ok(_) => Err(format!("{shown} is not a regular file")),
        Err(error) => Err(format!("{shown} cannot be read: {error}")),
    }
}

/// The text of a YAML file; reports and answers `None` when there is none to be had.
pub fn read_text(path: &Path, problems: &Problems) -> Option<String> {
    let report = |at, what: String, allowed: &str| problems.report(at, "", what, allowed);
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(what) => {
            report(Position::START, what, "a readable YAML file is expected");
            return None;
        }
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes) {
        report(
            Position::START,
            format!("{} cannot be read: {error}", path.display()),
            "a readable file is expected",
        );
        return None;
    }
    if bytes.len() > yaml::MAX_BYTES {
        let allowed = format!("at most {} bytes are allowed", yaml::MAX_BYTES);
        report(Position::START, "the file is too large".to_owned(), &allowed);
        return None;
    }
    decode(bytes, &report)
}

fn decode(bytes: Vec<u8>, report: &dyn Fn(Position, String, &str)) -> Option<String> {
    const SAVE_AS_UTF8: &str = "save it as UTF-8";
    // The byte order marks of both kinds of UTF-16; without one, every other byte of a plain text is zero.
    let marked = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    if marked || bytes.iter().take(2).any(|byte| *byte == 0) {
        report(Position::START, "the file is not UTF-8 but looks like UTF-16".to_owned(), SAVE_AS_UTF8);
        return None;
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
            report(end_of(&before), "a byte here is not UTF-8".to_owned(), SAVE_AS_UTF8);
            return None;
        }
    };
    if let Some(at) = text.find('\0') {
        let before = text.get(..at).unwrap_or_default();
        report(end_of(before), "a zero byte is in the text".to_owned(), "a YAML file is plain text");
        return None;
    }
    // Some editors begin UTF-8 with a byte order mark; it means nothing.
    Some(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text))
}

/// The place right after `text`.
fn end_of(text: &str) -> Position {
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    Position { line: 1 + text.matches('\n').count(), column: 1 + last_line.chars().count() }
}

/// `path` as seen from the folder of `file`; an absolute path stays what it is.
pub(crate) fn beside(file: &Path, path: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) => folder.join(path),
        None => path.to_owned(),
    }
}

/// CRC-32C over texts, in order; where one ends and the next begins matters too.
pub(crate) fn checksum<'a>(texts: impl IntoIterator<Item = &'a str>) -> u32 {
    texts.into_iter().fold(0, |sum, text| {
        let length = (text.len() as u64).to_le_bytes();
        crc32c::crc32c_append(crc32c::crc32c_append(sum, &length), text.as_bytes())
    })
}
