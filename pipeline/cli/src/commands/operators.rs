//! `kerbside operators`: the table of operators, and each one's manual.

use std::fmt::Write as _;

use clap::Args;

use crate::Outcome;
use crate::output::{Refusal, say};

/// Lists the operators, or prints one's manual with its options and an example.
#[derive(Args)]
pub(crate) struct Operators {
    /// The operator whose manual to print
    name: Option<String>,
}

impl Operators {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let table = kerbside_operators::TABLE;
        let mut text = String::new();
        match self.name {
            None => {
                let width = table.iter().map(|spec| spec.name.len()).max().unwrap_or(0);
                for spec in table {
                    writeln!(text, "{:width$}  {}", spec.name, spec.summary)?;
                }
            }
            Some(name) => {
                let Some(spec) = table.iter().find(|spec| spec.name == name) else {
                    let known: Vec<&str> = table.iter().map(|spec| spec.name).collect();
                    return Err(
                        Refusal(format!("there is no operator '{name}'; there are {}", known.join(", "))).into()
                    );
                };
                writeln!(text, "{}", spec.manual.trim_end())?;
            }
        }
        say(&text)?;
        Ok(Outcome::Done)
    }
}
