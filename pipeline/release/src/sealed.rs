//! The seal: proof in the type that a value came through the release stage.

use arrow_array::RecordBatch;

use crate::contract::check_contract;
use crate::error::ReleaseError;
use crate::plan::StreamPosition;
use crate::table::Table;

/// A value that may leave the node. Only this crate makes one, so whatever takes it can be sure.
///
/// ```compile_fail
/// # fn forge(batch: arrow_array::RecordBatch) -> kerbside_release::Released<arrow_array::RecordBatch> {
/// kerbside_release::Released { inner: batch, table: kerbside_release::Table::Agg, epoch: 0, first_seq: 0 }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Released<T> {
    inner: T,
    table: Table,
    epoch: u32,
    first_seq: u64,
}

/// Sealed rows of one table.
pub type ReleasedBatch = Released<RecordBatch>;

impl<T> Released<T> {
    /// The value.
    pub fn get(&self) -> &T {
        &self.inner
    }

    /// The table that its rows belong to.
    pub fn table(&self) -> Table {
        self.table
    }

    /// The incarnation of the spool that numbered its rows.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The number of its first row.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }
}

impl ReleasedBatch {
    /// Seals a batch of at least one row, numbered from `at.next_seq`. The only constructor.
    pub(crate) fn seal(table: Table, batch: RecordBatch, at: StreamPosition) -> Result<Self, ReleaseError> {
        let schema = batch.schema();
        check_contract(table, &schema)?;
        if !table.is_published(schema.fields()) || batch.num_rows() == 0 {
            return Err(ReleaseError::Contract {
                table,
                column: String::new(),
                why: "the batch has other columns than the table, or no row".to_owned(),
            });
        }
        Ok(Self { inner: batch, table, epoch: at.epoch, first_seq: at.next_seq })
    }

    /// How many rows it has; at least one.
    pub fn rows(&self) -> u64 {
        self.inner.num_rows() as u64
    }

    /// The number of its last row.
    pub fn last_seq(&self) -> u64 {
        self.first_seq + self.rows() - 1
    }
}
