//! The analytics of a street: the tracker, and one file per operator.
//!
//! Everything here is pure logic over [`kerbside_core`]'s types: no clock, no I/O, no threads, no pixels.
//! The same observations give the same findings, bit for bit.
//!
//! An operator is a file of its own with its manual beside it, and one row in [`TABLE`]. Files that are no
//! operators are listed in the test at the end of this file, which fails when an operator has no row.

#![forbid(unsafe_code)]

pub mod count_line;
pub mod detect_object_left;
pub mod detect_tamper;
pub mod measure_occupancy;
pub mod tracker;

mod course;
mod options;
mod per_track;
mod stillness;
mod view;

use kerbside_core::operator::OperatorSpec;

/// Every operator, sorted by name.
pub const TABLE: &[OperatorSpec] =
    &[count_line::SPEC, detect_object_left::SPEC, detect_tamper::SPEC, measure_occupancy::SPEC];

/// The operator of that name.
pub fn find(name: &str) -> Option<&'static OperatorSpec> {
    TABLE.iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Source files that are no operators.
    const HELPERS: [&str; 7] =
        ["course.rs", "lib.rs", "options.rs", "per_track.rs", "stillness.rs", "tracker", "view.rs"];

    #[test]
    fn every_operator_file_has_its_row_in_the_sorted_table() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !HELPERS.contains(&name.as_str()) && !name.ends_with(".md"))
            .collect();
        files.sort();
        let rows: Vec<String> = TABLE.iter().map(|spec| format!("{}.rs", spec.name)).collect();
        assert_eq!(files, rows);
    }

    #[test]
    fn every_manual_has_the_fixed_headings_and_names_every_option() {
        let headings = ["What it measures", "Inputs", "Findings", "Options", "Accuracy and limits", "Example"];
        for spec in TABLE {
            let found: Vec<&str> = spec.manual.lines().filter_map(|line| line.strip_prefix("# ")).collect();
            assert_eq!(found, headings, "{}", spec.name);
            let (_, options) = spec.manual.split_once("# Options").unwrap();
            let (options, _) = options.split_once("\n# ").unwrap();
            for option in spec.options {
                assert!(options.contains(&format!("`{}`", option.name)), "{}: {}", spec.name, option.name);
            }
            let (_, example) = spec.manual.split_once("```yaml\n").expect("an example block");
            let (example, _) = example.split_once("```").expect("the block ends");
            assert_eq!(example, spec.example, "{}: the manual's example is the one that is run", spec.name);
            assert!(spec.summary.ends_with('.') && !spec.summary.contains('\n'), "{}", spec.name);
        }
    }

    #[test]
    fn an_operator_is_found_by_its_name_only() {
        assert_eq!(find("count_line").map(|spec| spec.name), Some("count_line"));
        assert!(find("count").is_none());
    }
}
