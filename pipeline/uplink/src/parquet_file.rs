//! Files of a gateway's landing: a released table as Parquet, its words as plain text.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_schema::{DataType, SchemaRef};
use kerbside_release::Table;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::disk;
use crate::error::{Damage, ReadError};
use crate::read::Item;

/// What every such file begins and ends with.
pub(crate) const MAGIC: &[u8] = b"PAR1";
const EXTENSION: &str = "parquet";
/// How deep files may lie below a table's folder: in folders by day.
const DEPTH: usize = 2;

/// One file, batch by batch.
pub(crate) struct ParquetFile {
    path: PathBuf,
    state: State,
}

enum State {
    Rows(Table, Box<ParquetRecordBatchReader>),
    Damaged(&'static str),
    Done,
}

impl ParquetFile {
    /// Opens a file. One that is damaged is no error: it has one item that says so.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::io(path))?;
        let damaged = |what| Ok(Self { path: path.to_owned(), state: State::Damaged(what) });
        let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(file) else {
            return damaged("the footer cannot be decoded");
        };
        let Some(table) = table_of(builder.schema()) else {
            let found = "it is a Parquet file, but of no released table".to_owned();
            return Err(ReadError::Unknown { path: path.to_owned(), found });
        };
        match builder.build() {
            Ok(reader) => Ok(Self { path: path.to_owned(), state: State::Rows(table, Box::new(reader)) }),
            Err(_) => damaged("the rows cannot be decoded"),
        }
    }

    pub(crate) fn next_item(&mut self) -> Option<Item> {
        let damage = |what| {
            let bytes = fs::metadata(&self.path).map_or(0, |file| file.len());
            Some(Item::Damage(Damage { file: self.path.clone(), offset: 0, bytes, what }))
        };
        match std::mem::replace(&mut self.state, State::Done) {
            State::Done => None,
            State::Damaged(what) => damage(what),
            State::Rows(table, mut reader) => match reader.next()? {
                Ok(batch) => {
                    self.state = State::Rows(table, reader);
                    Some(Item::Batch { table, batch })
                }
                Err(_) => damage("the rows cannot be decoded"),
            },
        }
    }
}

/// The released table with these columns, where words may be plain text.
fn table_of(schema: &SchemaRef) -> Option<Table> {
    Table::ALL.into_iter().find(|table| {
        let columns = table.columns();
        columns.len() == schema.fields().len()
            && columns.iter().zip(schema.fields()).all(|(column, found)| {
                let is_word = matches!(column.data_type(), DataType::Dictionary(..));
                let is_same = found.data_type() == column.data_type();
                column.name() == found.name() && (is_same || (is_word && found.data_type() == &DataType::Utf8))
            })
    })
}

/// The files below a table's folder, in the order of their names.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut files = Vec::new();
    collect(folder, DEPTH, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    for name in disk::names_in(folder).map_err(ReadError::io(folder))? {
        let path = folder.join(name);
        if disk::is_folder(&path).unwrap_or(false) {
            if depth > 1 {
                collect(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    Ok(())
}
