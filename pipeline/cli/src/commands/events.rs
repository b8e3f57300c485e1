//! `kerbside events`: released rows, for people and for programs.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use comfy_table::Table as Grid;
use comfy_table::presets::NOTHING;
use kerbside_uplink::{Follower, Item, Reader, Value, column_names, rows};
use serde_json::{Map, Number};

use crate::Outcome;
use crate::output::complain;
use crate::signals::StopRequest;

/// How often `--follow` looks for new rows.
const GLANCE: Duration = Duration::from_millis(250);
/// Rows that share one table's column widths; longer outputs begin a new table with its head.
const ROWS_A_TABLE: usize = 500;
/// Columns that the table leaves out, because they are the same in nearly every row or serve machines.
const NOT_IN_TABLE: [&str; 7] = ["node", "epoch", "clock_q", "model", "cfg_rev", "suppressed", "sw"];
/// Which the table shows where any row has more than 0 in it: the buckets of histograms, and the scale of noise.
const IN_TABLE_UNLESS_ZERO: [&str; 2] = ["bucket", "noise_b"];

/// Prints the released rows of a spool, a segment, or what `replay --out` wrote.
///
/// Damage is reported on standard error and never printed as data; the exit code is then 1. A path with
/// nothing readable in it ends with 2.
#[derive(Args)]
pub(crate) struct Events {
    /// A spool folder, one of its segments, a replay's output folder or one of its files
    path: PathBuf,
    /// How to print: a table for people (with the columns that people ask for), or all columns as CSV or as
    /// one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Prints the rows of one table only, such as agg.v1: a CSV file then has one head
    #[arg(long, value_name = "TABLE", value_parser = ["agg.v1", "health.v1", "incident.v1"])]
    table: Option<String>,
    /// Goes on printing rows as they are released, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

impl Events {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let mut printer = Printer::new(self.format, self.table, io::stdout().lock());
        if self.follow {
            let stop = StopRequest::listen()?;
            let mut follower = Follower::open(&self.path)?;
            while !stop.is_asked() {
                let items = follower.poll()?;
                let anything = !items.is_empty();
                for item in items {
                    printer.item(item)?;
                }
                printer.flush()?;
                if !anything {
                    std::thread::sleep(GLANCE);
                }
            }
        } else {
            for item in Reader::open(&self.path)? {
                match item {
                    Ok(item) => printer.item(item)?,
                    Err(error) => {
                        // What was read before is whole, and is shown first.
                        printer.flush()?;
                        return Err(error.into());
                    }
                }
            }
            printer.flush()?;
        }
        if printer.rows == 0 && !printer.flawed {
            complain(&format!("{}: no row has been released yet", self.path.display()));
        }
        Ok(if printer.flawed { Outcome::Flawed } else { Outcome::Done })
    }
}

/// Prints batches that are in memory, as a table.
pub(crate) fn print_batches(batches: &[kerbside_uplink::ReleasedBatch]) -> anyhow::Result<()> {
    let mut printer = Printer::new(Format::Table, None, io::stdout().lock());
    for batch in batches {
        printer.rows_of(batch.table().name(), column_names(batch.get()), rows(batch.get()))?;
    }
    printer.flush()
}

struct Printer<W: Write> {
    format: Format,
    /// The only table to print, where one was asked for.
    only: Option<String>,
    out: BufWriter<W>,
    /// The rows of one table that wait to be printed together.
    waiting: Option<Waiting>,
    /// The columns of the CSV head that was printed last.
    head: Vec<String>,
    rows: u64,
    flawed: bool,
}

struct Waiting {
    table: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl<W: Write> Printer<W> {
    fn new(format: Format, only: Option<String>, out: W) -> Self {
        Self { format, only, out: BufWriter::new(out), waiting: None, head: Vec::new(), rows: 0, flawed: false }
    }

    fn item(&mut self, item: Item) -> anyhow::Result<()> {
        match item {
            Item::Batch { table, .. } if self.only.as_deref().is_some_and(|only| only != table.name()) => Ok(()),
            Item::Batch { table, batch } => self.rows_of(table.name(), column_names(&batch), rows(&batch)),
            Item::Damage(damage) => {
                self.flawed = true;
                complain(&format!("damaged: {damage}"));
                Ok(())
            }
            Item::Gap(gap) => {
                self.flawed = true;
                complain(&format!("missing: {gap}"));
                Ok(())
            }
        }
    }

    fn rows_of(&mut self, table: &str, columns: Vec<String>, rows: Vec<Vec<Value>>) -> anyhow::Result<()> {
        self.rows += rows.len() as u64;
        match self.format {
            Format::Table => self.wait(table, columns, rows),
            Format::Csv => self.csv(table, &columns, &rows),
            Format::Json => self.json(table, &columns, rows),
        }
    }

    /// One object a line, `table` first.
    fn json(&mut self, table: &str, columns: &[String], rows: Vec<Vec<Value>>) -> anyhow::Result<()> {
        for row in rows {
            let mut object = Map::new();
            object.insert("table".to_owned(), table.into());
            object.extend(columns.iter().cloned().zip(row.into_iter().map(json)));
            serde_json::to_writer(&mut self.out, &object)?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    /// RFC 4180; where the table changes, an empty line and a new head.
    fn csv(&mut self, table: &str, columns: &[String], rows: &[Vec<Value>]) -> anyhow::Result<()> {
        let mut head = vec!["table".to_owned()];
        head.extend_from_slice(columns);
        let new_head = head != self.head;
        if new_head && !self.head.is_empty() {
            writeln!(self.out)?;
        }
        let mut writer = csv::WriterBuilder::new().from_writer(&mut self.out);
        if new_head {
            writer.write_record(&head)?;
            self.head = head;
        }
        for row in rows {
            writer.write_record(std::iter::once(table.to_owned()).chain(row.iter().map(text)))?;
        }
        writer.flush()?;
        Ok(())
    }

    fn wait(&mut self, table: &str, columns: Vec<String>, rows: Vec<Vec<Value>>) -> anyhow::Result<()> {
        let fits = self
            .waiting
            .as_ref()
            .is_none_or(|waiting| waiting.table == table && waiting.rows.len() < ROWS_A_TABLE);
        if !fits {
            self.print_waiting()?;
        }
        self.waiting
            .get_or_insert_with(|| Waiting { table: table.to_owned(), columns, rows: Vec::new() })
            .rows
            .extend(rows);
        Ok(())
    }

    fn print_waiting(&mut self) -> anyhow::Result<()> {
        let Some(Waiting { table, columns, rows }) = self.waiting.take() else { return Ok(()) };
        let is_shown = |index: usize| {
            let column = columns[index].as_str();
            let empty = |value: &Value| {
                let is_zero = *value == Value::Unsigned(0) || *value == Value::Number(0.0);
                *value == Value::Null || (is_zero && IN_TABLE_UNLESS_ZERO.contains(&column))
            };
            !NOT_IN_TABLE.contains(&column) && rows.iter().any(|row| !empty(&row[index]))
        };
        let shown: Vec<usize> = (0..columns.len()).filter(|index| is_shown(*index)).collect();
        let mut grid = Grid::new();
        grid.load_style(NOTHING);
        grid.set_header(shown.iter().map(|index| columns[*index].as_str()));
        for row in &rows {
            grid.add_row(shown.iter().map(|index| text(&row[*index])));
        }
        writeln!(self.out, "{table}")?;
        for line in grid.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        writeln!(self.out)?;
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.print_waiting()?;
        self.out.flush().context("standard output")
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Truth(truth) => truth.to_string(),
        Value::Moment(moment) => moment.to_string(),
    }
}

fn json(value: Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Text(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Unsigned(number) => number.into(),
        // By way of the shortest text: 0.1 stays 0.1 instead of its neighbour in 64 bits.
        Value::Number(number) => number
            .to_string()
            .parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
            .map_or(serde_json::Value::Null, Into::into),
        Value::Truth(truth) => truth.into(),
        Value::Moment(moment) => moment.to_string().into(),
    }
}
