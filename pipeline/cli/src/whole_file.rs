//! Output files that appear under their names only when they are whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::output::Refusal;

/// A file that is being written beside its name and takes it at the end. Where the name is that of a device or a
/// pipe, that is written to as it goes and stays what it is; where it is a link, what it leads to is replaced.
pub(crate) struct WholeFile {
    shown: PathBuf,
    path: PathBuf,
    partial: Option<PathBuf>,
    file: File,
}

impl WholeFile {
    /// Begins a file at `path`; refuses where that is one of the `others`, which would be lost.
    pub(crate) fn create(path: &Path, others: &[&Path]) -> anyhow::Result<Self> {
        refuse_same(path, others)?;
        let shown = path.to_owned();
        let cannot = || format!("{} cannot be written", path.display());
        let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (partial, file) = match fs::metadata(&resolved) {
            Ok(found) if !found.is_file() => {
                (None, fs::OpenOptions::new().write(true).open(&resolved).with_context(cannot)?)
            }
            _ => {
                let partial = beside(&resolved);
                let file = File::create(&partial).with_context(cannot)?;
                (Some(partial), file)
            }
        };
        Ok(Self { shown, path: resolved, partial, file })
    }

    /// What is written into.
    pub(crate) fn out(&self) -> impl Write {
        &self.file
    }

    /// It is whole: it takes its name.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        match self.partial.take() {
            Some(partial) => fs::rename(&partial, &self.path).with_context(|| {
                let _ = fs::remove_file(&partial);
                format!("{} cannot be written", self.shown.display())
            }),
            None => Ok(()),
        }
    }
}

impl Drop for WholeFile {
    /// Leaves no half-written file behind.
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = fs::remove_file(partial);
        }
    }
}

/// Refuses an output that is an input or another output.
pub(crate) fn refuse_same(path: &Path, others: &[&Path]) -> Result<(), Refusal> {
    let place = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    let known = place(path);
    match others.iter().find(|other| known.is_some() && place(other) == known) {
        Some(other) => {
            Err(Refusal(format!("{} would replace {}: another name is needed", path.display(), other.display())))
        }
        None => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(".partial");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_its_name_when_it_is_whole_and_an_input_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let dropped = WholeFile::create(&path, &[]).unwrap();
        dropped.out().write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let whole = WholeFile::create(&path, &[]).unwrap();
        whole.out().write_all(b"whole").unwrap();
        whole.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let again = folder.path().join("./out.csv");
        assert!(WholeFile::create(&again, &[&path]).is_err());
        let new = folder.path().join("new.csv");
        assert!(WholeFile::create(&new, &[&folder.path().join("new.csv")]).is_err(), "two outputs of one name");
    }

    #[test]
    fn a_link_is_followed_and_a_device_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let whole = WholeFile::create(&link, &[]).unwrap();
        whole.out().write_all(b"new").unwrap();
        whole.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        let null = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        WholeFile::create(&null, &[]).unwrap().finish().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
