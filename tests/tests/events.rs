//! `kerbside events` on what is no spool: clear words, an exit code, no panic.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;

use common::{kerbside, stderr, stdout};

#[test]
fn what_is_no_spool_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let garbage = folder.path().join("garbage.seg");
    fs::write(&garbage, (0..5000u32).map(|n| (n * 7919 % 251) as u8).collect::<Vec<_>>()).unwrap();
    let nothing = folder.path().join("nothing.seg");
    fs::write(&nothing, "").unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a spool").unwrap();
    let arrow = folder.path().join("garbage.arrow");
    fs::write(&arrow, "ARROW1 but not really").unwrap();
    for path in [&empty, &garbage, &nothing, &text, &arrow, &folder.path().join("missing")] {
        for format in ["table", "csv", "json"] {
            let output = kerbside(["events".as_ref(), path.as_os_str(), "--format".as_ref(), format.as_ref()]);
            let said = stderr(&output);
            assert!(matches!(output.status.code(), Some(1 | 2)), "{path:?} {:?}: {said}", output.status);
            assert!(said.contains(path.to_str().unwrap()), "{path:?}: {said}");
            assert!(!said.contains("panicked"), "{path:?}: {said}");
            assert!(!stdout(&output).contains("agg"), "{path:?}: {}", stdout(&output));
        }
    }
}
