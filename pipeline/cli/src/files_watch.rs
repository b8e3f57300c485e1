//! Notices that the configuration's files have changed.
//!
//! The files are looked at every two seconds, by what the file system says of them; that works as well for folders that
//! are mounted into a container and for links that are turned to another folder, where change notices of the kernel do
//! not. An editor or a copy that takes its time is waited for: a change counts once two looks agree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// What the file system says of a file: number, size, and when it and what is known of it were changed last.
type Mark = (u64, u64, (i64, i64), (i64, i64));

/// Watches the files of a configuration.
pub(crate) struct FilesWatch {
    folder: PathBuf,
    next: Instant,
    /// As of the last look.
    last: BTreeMap<PathBuf, Mark>,
    /// As they were when the configuration was read.
    read: BTreeMap<PathBuf, Mark>,
}

impl FilesWatch {
    /// The files in `folder` are about to be read.
    pub(crate) fn new(folder: &Path, now: Instant) -> Self {
        let marks = marks(folder);
        Self { folder: folder.to_owned(), next: now + EVERY, last: marks.clone(), read: marks }
    }

    /// Whether the files have changed since they were read, and no longer change. It is said once.
    pub(crate) fn has_changed(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + EVERY;
        let marks = marks(&self.folder);
        let is_still = marks == self.last;
        self.last = marks;
        let has_changed = is_still && self.last != self.read;
        if has_changed {
            self.read.clone_from(&self.last);
        }
        has_changed
    }

    /// The files are about to be read for another reason.
    pub(crate) fn are_read(&mut self) {
        self.last = marks(&self.folder);
        self.read.clone_from(&self.last);
    }
}

/// What cannot be looked at is as if it were not there: whoever reads it next says why.
fn marks(folder: &Path) -> BTreeMap<PathBuf, Mark> {
    let cameras = fs::read_dir(folder.join("cameras")).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_yaml =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let files = cameras.filter(is_yaml).chain([folder.join("node.yaml")]);
    let marked = files.filter_map(|path| {
        let data = fs::metadata(&path).ok()?;
        let mark = (data.ino(), data.len(), (data.mtime(), data.mtime_nsec()), (data.ctime(), data.ctime_nsec()));
        Some((path, mark))
    });
    marked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_only_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        fs::create_dir(folder.path().join("cameras")).unwrap();
        write("node.yaml", "name: a");
        write("cameras/plaza.yaml", "source: x");
        let mut now = Instant::now();
        let mut watch = FilesWatch::new(folder.path(), now);
        let mut look = |watch: &mut FilesWatch| {
            now += EVERY;
            watch.has_changed(now)
        };
        assert!(!look(&mut watch));
        write("cameras/plaza.yaml", "source: xy");
        assert!(!look(&mut watch), "it may be written still");
        write("cameras/plaza.yaml", "source: xyz");
        assert!(!look(&mut watch));
        assert!(look(&mut watch));
        assert!(!look(&mut watch), "once");
        write("cameras/.plaza.yaml.swp", "an editor's own");
        write("cameras/notes.txt", "of a person");
        assert!(!look(&mut watch) && !look(&mut watch));
        write("cameras/bridge.yaml", "source: y");
        assert!(!look(&mut watch) && look(&mut watch), "a new camera");
        fs::remove_file(folder.path().join("cameras/bridge.yaml")).unwrap();
        assert!(!look(&mut watch) && look(&mut watch), "and one that is gone");
        write("node.yaml", "name: b");
        watch.are_read();
        assert!(!look(&mut watch) && !look(&mut watch), "it was read meanwhile");
    }
}
