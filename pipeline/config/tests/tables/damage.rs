//! Camera files with damage in them.

use std::path::Path;

use kerbside_config::parse_camera;
use proptest::prelude::*;

use super::with_catalogue;

proptest! {
    /// A damaged file never ends the program, and every problem lies within it.
    #[test]
    fn any_damage_to_a_file_gives_problems_within_it(at in 0usize..5900, cut in 0usize..40, new in "[a-z0-9:,.{}\\[\\]\\-\"'#&*!| \t\n]{0,6}") {
        let whole = include_str!("../../../../deploy/config/examples/campus-path.yaml");
        let mut letters: Vec<char> = whole.chars().collect();
        let from = at.min(letters.len());
        let to = (from + cut).min(letters.len());
        letters.splice(from..to, new.chars());
        let text: String = letters.into_iter().collect();
        let read = with_catalogue(|catalogue| parse_camera("plaza", Path::new("plaza.yaml"), &text, catalogue));
        if let Err(error) = read {
            let count = text.lines().count();
            prop_assert!(!error.problems().is_empty());
            for problem in error.problems() {
                prop_assert!((1..=count + 1).contains(&problem.position.line), "{problem}");
                prop_assert!(!problem.what.is_empty() && !problem.allowed.is_empty() && !problem.to_string().contains('\n'), "{problem}");
            }
        }
    }
}
