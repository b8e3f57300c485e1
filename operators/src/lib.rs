//! The analytics of a street: the tracker, and one file per operator.
//!
//! Everything here is pure logic over [`kerbside_core`]'s types: no clock, no I/O, no threads, no pixels.
//! The same observations give the same findings, bit for bit.
//!
//! An operator is a file of its own with its manual beside it, and one row in [`TABLE`]; a test fails when one has
//! no row. Files whose names do not begin with a verb (`count_`, `detect_`, `measure_`) are what operators share.

#![forbid(unsafe_code)]

pub mod count_line;
pub mod count_turns;
pub mod detect_crowd;
pub mod detect_intrusion;
pub mod detect_loitering;
pub mod detect_near_miss;
pub mod detect_object_left;
pub mod detect_stopped;
pub mod detect_tamper;
pub mod detect_unusual_flow;
pub mod detect_unusual_motion;
pub mod detect_wrong_way;
pub mod measure_dwell;
pub mod measure_headway;
pub mod measure_occupancy;
pub mod measure_queue;
pub mod measure_speed;
pub mod seasonal;
pub mod tracker;

mod classes;
mod course;
mod crossing;
mod episodes;
mod normal_motion;
mod options;
mod pace;
mod per_object;
mod per_track;
mod schedule;
mod seen;
mod standing;
mod stillness;
mod trail;
mod view;
mod zone;

use kerbside_core::operator::OperatorSpec;

/// Every operator, sorted by name.
pub const TABLE: &[OperatorSpec] = &[
    count_line::SPEC,
    count_turns::SPEC,
    detect_crowd::SPEC,
    detect_intrusion::SPEC,
    detect_loitering::SPEC,
    detect_near_miss::SPEC,
    detect_object_left::SPEC,
    detect_stopped::SPEC,
    detect_tamper::SPEC,
    detect_unusual_flow::SPEC,
    detect_unusual_motion::SPEC,
    detect_wrong_way::SPEC,
    measure_dwell::SPEC,
    measure_headway::SPEC,
    measure_occupancy::SPEC,
    measure_queue::SPEC,
    measure_speed::SPEC,
];

/// The operator of that name.
pub fn find(name: &str) -> Option<&'static OperatorSpec> {
    TABLE.iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What operators do: a file whose name begins so is one.
    const VERBS: [&str; 3] = ["count_", "detect_", "measure_"];

    #[test]
    fn every_operator_file_has_its_row_in_the_sorted_table() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| VERBS.iter().any(|verb| name.starts_with(verb)) && !name.ends_with(".md"))
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
