//! The released tables of a replay as Arrow IPC files, which any Arrow program reads.
//!
//! The same batches give the same bytes. A file appears under its name only when it is whole. Arrow's
//! format has no checksum, so the footer's metadata hold one over all bytes before the footer, and
//! nothing is decoded that does not fit it.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::root_as_footer;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, Schema};
use kerbside_release::{ReleasedBatch, Table};

use crate::codec::{BUFFER_ALIGN, options, table_of};
use crate::disk::{self, ReadAt as _};
use crate::error::{Damage, ReadError, SpoolError};
use crate::read::Item;

/// What an Arrow IPC file begins and ends with.
pub(crate) const MAGIC: &[u8] = b"ARROW1";
/// Bytes of the magic at the file's start with its padding, which follows the alignment of buffers.
const START: u64 = BUFFER_ALIGN as u64;
/// Length of the footer and the magic.
const TRAILER: u64 = 10;
/// The largest footer that is read, in bytes.
const MAX_FOOTER: u64 = 16 << 20;
/// The footer's key for the checksum: `<bytes>:<crc32c in hex>`.
const CHECKSUM_KEY: &str = "crc32c";

/// The file of a table in a replay's output.
pub(crate) fn path_of(folder: &Path, table: Table) -> PathBuf {
    folder.join(format!("{}.arrow", table.name()))
}

/// Writes `agg.v1.arrow` and `health.v1.arrow` into the folder, which is made if need be. A table
/// without rows becomes a file without rows.
pub fn write_tables(folder: impl AsRef<Path>, batches: &[ReleasedBatch]) -> Result<(), SpoolError> {
    let folder = folder.as_ref();
    disk::create_folder(folder).map_err(|source| SpoolError::Folder { folder: folder.to_owned(), source })?;
    for table in Table::ALL {
        let path = path_of(folder, table);
        let temporary = path.with_extension("arrow.tmp");
        let rows: Vec<&ReleasedBatch> = batches.iter().filter(|batch| batch.table() == table).collect();
        if let Err(error) = write(&temporary, table, &rows) {
            // What is left of it is of no use; the error that led here says more than a second one.
            let _ = fs::remove_file(&temporary);
            return Err(match error {
                ArrowError::IoError(_, source) => SpoolError::Io { action: "written", path: temporary, source },
                source => SpoolError::Encode { table, source },
            });
        }
        fs::rename(&temporary, &path).map_err(SpoolError::io("written", &path))?;
    }
    disk::sync_folder(folder).map_err(SpoolError::io("synced", folder))
}

fn write(path: &Path, table: Table, batches: &[&ReleasedBatch]) -> Result<(), ArrowError> {
    let schema = match batches.first() {
        Some(first) => first.get().schema(),
        None => {
            let name = [("table".to_owned(), table.name().to_owned())];
            Arc::new(Schema::new(table.columns()).with_metadata(std::collections::HashMap::from(name)))
        }
    };
    let summing = Summing { inner: BufWriter::new(File::create(path)?), bytes: 0, crc: 0 };
    let mut writer = FileWriter::try_new_with_options(summing, &schema, options()?)?;
    for batch in batches {
        writer.write(batch.get())?;
    }
    let Summing { bytes, crc, .. } = *writer.get_ref();
    writer.write_metadata(CHECKSUM_KEY, format!("{bytes}:{crc:08x}"));
    writer.finish()?;
    let file = writer.into_inner()?.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}

/// Counts and sums what goes through.
struct Summing<W> {
    inner: W,
    bytes: u64,
    crc: u32,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.bytes += count as u64;
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A table file that is being read.
pub(crate) struct TableFile {
    path: PathBuf,
    state: State,
}

enum State {
    Rows(Table, StreamReader<BufReader<io::Take<File>>>),
    Damaged(Damage),
    Done,
}

impl TableFile {
    /// Opens a table file and reads all of it once for the checksum.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |source| ReadError::io(path)(source);
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let damaged = |what| {
            let damage = Damage { file: path.to_owned(), offset: 0, bytes: len, what };
            Ok(Self { path: path.to_owned(), state: State::Damaged(damage) })
        };
        let footer = match footer(&file, len).map_err(failed)? {
            Ok(footer) => footer,
            Err(what) => return damaged(what),
        };
        let Some(checksum) = footer else {
            let found = "it is an Arrow file, but has no checksum of ours".to_owned();
            return Err(ReadError::Unknown { path: path.to_owned(), found });
        };
        if crc_of(&file, checksum.bytes).map_err(failed)? != checksum.crc {
            return damaged("the checksum is wrong");
        }
        file.seek(SeekFrom::Start(START)).map_err(failed)?;
        let rows = file.take(checksum.bytes.saturating_sub(START));
        let Ok(reader) = StreamReader::try_new(BufReader::new(rows), None) else {
            return damaged("the schema cannot be decoded");
        };
        let Some(table) = table_of(&reader.schema()) else {
            let found = "it is an Arrow file, but of no released table".to_owned();
            return Err(ReadError::Unknown { path: path.to_owned(), found });
        };
        Ok(Self { path: path.to_owned(), state: State::Rows(table, reader) })
    }

    pub(crate) fn next_item(&mut self) -> Result<Option<Item>, ReadError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Done => Ok(None),
            State::Damaged(damage) => Ok(Some(Item::Damage(damage))),
            State::Rows(table, mut reader) => match reader.next() {
                None => Ok(None),
                Some(Ok(batch)) => {
                    self.state = State::Rows(table, reader);
                    Ok(Some(Item::Batch { table, batch }))
                }
                Some(Err(ArrowError::IoError(_, source))) => Err(ReadError::io(&self.path)(source)),
                Some(Err(_)) => {
                    let what = "the rows cannot be decoded";
                    Ok(Some(Item::Damage(Damage { file: self.path.clone(), offset: 0, bytes: 0, what })))
                }
            },
        }
    }
}

struct Checksum {
    bytes: u64,
    crc: u32,
}

/// The checksum in the footer: `None` when there is no such key, a message when there is no footer.
fn footer(file: &File, len: u64) -> io::Result<Result<Option<Checksum>, &'static str>> {
    let mut trailer = [0; TRAILER as usize];
    let Some(trailer_at) = len.checked_sub(TRAILER).filter(|at| *at >= START) else {
        return Ok(Err("the file is cut off"));
    };
    file.read_at(trailer_at, &mut trailer)?;
    if !trailer.ends_with(MAGIC) {
        return Ok(Err("the file is cut off: its end is missing"));
    }
    let [a, b, c, d, ..] = trailer;
    let footer_len = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(footer_at) = trailer_at.checked_sub(footer_len).filter(|at| *at >= START && footer_len <= MAX_FOOTER)
    else {
        return Ok(Err("the footer is damaged"));
    };
    let mut bytes = vec![0; footer_len as usize];
    file.read_at(footer_at, &mut bytes)?;
    let Ok(footer) = root_as_footer(&bytes) else { return Ok(Err("the footer is damaged")) };
    let metadata = footer.custom_metadata();
    let entry = metadata.iter().flatten().find(|entry| entry.key() == Some(CHECKSUM_KEY));
    let Some(entry) = entry else { return Ok(Ok(None)) };
    let parsed = entry.value().and_then(|text| {
        let (bytes, crc) = text.split_once(':')?;
        Some(Checksum { bytes: bytes.parse().ok()?, crc: u32::from_str_radix(crc, 16).ok()? })
    });
    Ok(match parsed {
        Some(checksum) if checksum.bytes <= footer_at => Ok(Some(checksum)),
        _ => Err("the footer is damaged"),
    })
}

fn crc_of(file: &File, bytes: u64) -> io::Result<u32> {
    let mut block = vec![0; 64 << 10];
    let (mut at, mut crc) = (0, 0);
    while at < bytes {
        let wanted = block.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        let found = file.read_at(at, &mut block[..wanted])?;
        if found == 0 {
            break;
        }
        crc = crc32c::crc32c_append(crc, &block[..found]);
        at += found as u64;
    }
    Ok(crc)
}
