//! What an attack answers, and the one table of all of them.

use std::cmp::Reverse;
use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Value, json};

/// How much an attack tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A few seconds at most: in the gate.
    Ci,
    /// As much as the audit's table states.
    Audit,
}

impl Size {
    /// One of two numbers.
    pub const fn pick(self, ci: usize, audit: usize) -> usize {
        match self {
            Self::Ci => ci,
            Self::Audit => audit,
        }
    }
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The attack's id, such as `A8`.
    pub attack: String,
    /// Whether what was attacked is broken on purpose.
    pub is_control: bool,
    /// What was tried.
    pub tried: String,
    /// What came out.
    pub figure: String,
    /// What it may be.
    pub limit: String,
    /// Whether the limit was kept. A control must not keep it.
    pub pass: bool,
}

impl Outcome {
    /// A row about the real thing.
    pub fn real(
        attack: &str,
        tried: impl Into<String>,
        figure: impl Into<String>,
        limit: impl Into<String>,
        pass: bool,
    ) -> Self {
        Self {
            attack: attack.to_owned(),
            is_control: false,
            tried: tried.into(),
            figure: figure.into(),
            limit: limit.into(),
            pass,
        }
    }

    /// The same row about something that is broken on purpose.
    #[must_use]
    pub fn control(self) -> Self {
        Self { is_control: true, ..self }
    }

    /// Whether the row is as it should be: a limit kept, or a broken variant caught.
    pub fn is_right(&self) -> bool {
        self.pass != self.is_control
    }

    /// The row as one line of JSON.
    pub fn to_json(&self) -> String {
        let Self { attack, is_control, tried, figure, limit, pass } = self;
        json!({
            "attack": attack, "control": is_control, "tried": tried, "figure": figure, "limit": limit, "pass": pass
        })
        .to_string()
    }

    /// Reads [`Outcome::to_json`]; what is wrong with the line otherwise.
    pub fn from_json(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = |key: &str| {
            let text = value.get(key).and_then(Value::as_str).ok_or_else(|| format!("'{key}' is no text"))?;
            Ok::<_, String>(text.to_owned())
        };
        let truth = |key: &str| {
            value.get(key).and_then(Value::as_bool).ok_or_else(|| format!("'{key}' is not true or false"))
        };
        Ok(Self {
            attack: text("attack")?,
            is_control: truth("control")?,
            tried: text("tried")?,
            figure: text("figure")?,
            limit: text("limit")?,
            pass: truth("pass")?,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attack, is_control, tried, figure, limit, pass } = self;
        let control = if *is_control { " (control)" } else { "" };
        write!(f, "{attack}{control}: {tried}: {figure}; limit {limit}; {}", if *pass { "kept" } else { "broken" })
    }
}

/// Sorts rows by their attack's number; the order of rows of one attack stays.
pub fn sort(rows: &mut [Outcome]) {
    rows.sort_by_key(|row| match row.attack.get(1..).and_then(|number| number.parse::<u32>().ok()) {
        Some(number) => (Reverse(true), number),
        None => (Reverse(false), 0),
    });
}

/// The table as text, in the order of `rows`.
pub fn render(rows: &[Outcome]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(160);
    table.set_header(["attack", "what was tried", "figure", "limit", "pass"]);
    for row in rows {
        let verdict = match (row.is_control, row.pass) {
            (false, true) => "pass",
            (false, false) => "FAIL",
            (true, false) => "fails, as it must",
            (true, true) => "NOT CAUGHT",
        };
        let attack =
            if row.is_control { format!("control of {}: must fail", row.attack) } else { row.attack.clone() };
        table.add_row([attack.as_str(), &row.tried, &row.figure, &row.limit, verdict]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_json_and_are_sorted_by_number() {
        let row = Outcome::real("A8", "x", "0.6", "0.66", true);
        assert_eq!(Outcome::from_json(&row.to_json()), Ok(row.clone()));
        let control = row.clone().control();
        assert_eq!(Outcome::from_json(&control.to_json()), Ok(control.clone()));
        assert!(row.is_right() && !control.is_right());
        assert!(Outcome::from_json("{\"attack\": 8}").is_err());
        let named = |attack: &str| Outcome::real(attack, "", "", "", true);
        let mut rows = vec![named("A12"), named("B"), named("A2"), row];
        sort(&mut rows);
        assert_eq!(rows.iter().map(|row| row.attack.as_str()).collect::<Vec<_>>(), ["A2", "A8", "A12", "B"]);
    }
}
