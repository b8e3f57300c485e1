//! The words of the text columns, for whoever receives the tables and trusts nobody.

use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Measure};
use kerbside_core::incident::{IncidentKind, IncidentUnit, Phase};
use kerbside_core::tree::is_name;

use crate::table::{ClockQuality, Rule, Table, Unit};
use crate::vocabulary::{ALL_CLASSES, TOWARD, WHOLE_PICTURE, is_version};

impl Table {
    /// Every word that may stand in a text column, where the list is closed; `None` for a column whose words a
    /// configuration gives, and for one that is no text.
    pub fn words(self, column: &str) -> Option<Vec<&'static str>> {
        let words = match (self, column) {
            (_, "clock_q") => ClockQuality::ALL.map(ClockQuality::name).to_vec(),
            (_, "release") => Rule::WORDS.to_vec(),
            (Self::Agg | Self::Incident, "class") => {
                let mut words = Class::ALL.map(Class::name).to_vec();
                words.push(ALL_CLASSES);
                words
            }
            (Self::Agg, "measure") => Measure::ALL.map(Measure::name).to_vec(),
            (Self::Agg, "dir") => Direction::ALL.map(Direction::name).to_vec(),
            (Self::Agg, "unit") => Unit::WORDS.to_vec(),
            (Self::Incident, "kind") => IncidentKind::ALL.map(IncidentKind::name).to_vec(),
            (Self::Incident, "phase") => Phase::ALL.map(Phase::name).to_vec(),
            (Self::Incident, "unit") => IncidentUnit::ALL.map(IncidentUnit::name).to_vec(),
            (Self::Health, "state") => CameraState::ALL.map(CameraState::name).to_vec(),
            _ => return None,
        };
        Some(words)
    }

    /// Whether a word may stand in a text column: one of [`Table::words`], or one that follows the rule of the names
    /// that a configuration gives. `false` for a column that the table has not, or that is no text.
    pub fn is_word(self, column: &str, word: &str) -> bool {
        match (self, column) {
            (_, "node" | "camera") => is_name(word),
            (_, "model") | (Self::Health, "sw") => is_version(word),
            (Self::Agg | Self::Incident, "site") => word == WHOLE_PICTURE || is_name(word) || is_turn(word),
            _ => self.words(column).is_some_and(|words| words.contains(&word)),
        }
    }
}

/// The word of the `unit` column of `agg.v1` that goes with a measure.
pub fn unit_of(measure: Measure) -> &'static str {
    Unit::WORDS.get(usize::from(Unit::of(measure).key())).copied().unwrap_or_default()
}

fn is_turn(word: &str) -> bool {
    word.split_once(TOWARD).is_some_and(|(from, to)| is_name(from) && is_name(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::DataType;

    #[test]
    fn pc_3_every_text_column_has_a_closed_list_or_a_rule() {
        for table in Table::ALL {
            for field in table.columns() {
                let is_text = matches!(field.data_type(), DataType::Dictionary(..));
                for word in ["no such word!", "", "Ärger", "a\nb", &"x".repeat(66)] {
                    assert!(!table.is_word(field.name(), word), "{table} {}: {word:?}", field.name());
                }
                let words = table.words(field.name()).unwrap_or(vec!["plaza-north"]);
                assert!(words.iter().all(|word| table.is_word(field.name(), word) == is_text), "{}", field.name());
            }
        }
        for (site, right) in [("*", true), ("a>b", true), ("a>b>c", false), (">b", false), ("a>", false)] {
            assert_eq!(Table::Agg.is_word("site", site), right, "{site}");
        }
        assert_eq!(unit_of(Measure::QueueReach), "m");
    }
}
