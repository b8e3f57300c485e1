//! The tables of a replay.

use std::fs;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::{ReadError, write_tables};

fn batches() -> Vec<ReleasedBatch> {
    let at = StreamPosition { epoch: 0, next_seq: 0 };
    let mut node = Node::at(at, at);
    vec![node.agg(), node.health(), node.agg(), node.health(), node.agg()]
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tables(a.path(), &batches()).unwrap();
    write_tables(b.path(), &[]).unwrap();
    write_tables(b.path(), &batches()).unwrap();
    let files = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(files(a.path()), ["agg.v1.arrow", "health.v1.arrow", "incident.v1.arrow"]);
    assert_eq!(files(a.path()), files(b.path()));
    for name in files(a.path()) {
        assert_eq!(fs::read(a.path().join(&name)).unwrap(), fs::read(b.path().join(&name)).unwrap());
    }
}

#[test]
fn rows_come_back_from_the_folder_and_from_each_file() {
    let folder = tempfile::tempdir().unwrap();
    let batches = batches();
    write_tables(folder.path(), &batches).unwrap();
    let of = |table: Table| released_rows(batches.iter().filter(|batch| batch.table() == table));
    let all = [of(Table::Agg), of(Table::Health)].concat();
    assert_eq!(read(folder.path()), Content { rows: all, ..Content::default() });
    assert_eq!(read(&folder.path().join("health.v1.arrow")).rows, of(Table::Health));
    // Any Arrow reader takes them.
    let file = fs::File::open(folder.path().join("agg.v1.arrow")).unwrap();
    let reader = arrow_ipc::reader::FileReader::try_new(file, None).unwrap();
    let rows: Vec<Row> = reader.flat_map(|batch| rows_of(Table::Agg, &batch.unwrap())).collect();
    assert_eq!(rows, of(Table::Agg));
}

#[test]
fn a_table_without_rows_is_a_file_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    write_tables(folder.path(), &[]).unwrap();
    assert_eq!(read(folder.path()), Content::default());
}

#[test]
fn no_flipped_byte_and_no_cut_makes_a_wrong_row() {
    let folder = tempfile::tempdir().unwrap();
    let batches = batches();
    write_tables(folder.path(), &batches).unwrap();
    let path = folder.path().join("agg.v1.arrow");
    let truth = read(&path).rows;
    assert_eq!(truth.len(), 9);
    let whole = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let try_it = |what: &str| {
        let opened = Reader::open(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match opened {
            Ok(items) => {
                let content = sorted_out(items);
                let complete = content.rows == truth && content.damages.is_empty();
                assert!(complete || content.rows.is_empty() && !content.damages.is_empty(), "{what}: {content:?}");
            }
            Err(ReadError::Unknown { .. }) => {}
            Err(other) => panic!("{what}: {other}"),
        }
    };
    for (place, &byte) in whole.iter().enumerate() {
        file.write_all_at(&[byte ^ (1 << (place % 8))], place as u64).unwrap();
        try_it(&format!("byte {place}"));
        file.write_all_at(&[byte], place as u64).unwrap();
    }
    assert_eq!(read(&path).rows, truth);
    for len in (0..whole.len()).rev() {
        file.set_len(len as u64).unwrap();
        try_it(&format!("cut at {len}"));
    }
}

#[test]
fn a_foreign_arrow_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.arrow");
    let batch = batches().remove(0);
    let mut writer =
        arrow_ipc::writer::FileWriter::try_new(fs::File::create(&path).unwrap(), &batch.get().schema()).unwrap();
    writer.write(batch.get()).unwrap();
    writer.finish().unwrap();
    let refused = Reader::open(&path).unwrap().next().unwrap();
    assert!(matches!(refused, Err(ReadError::Unknown { .. })), "{refused:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(write_tables(file.join("out"), &[]).is_err());
    assert!(write_tables(&file, &[]).is_err());
}
