//! A15: what an onlooker learns from sizes and numbers of the batches that leave, without reading them.

use std::collections::BTreeMap;
use std::fs;

use crate::pixels::{camera, camera_file, vocabulary};
use crate::site::Site;

/// Bytes of a segment's header and of a frame's, and what frames begin on: the layout of the spool.
const SEGMENT_HEADER: usize = 128;
const FRAME_HEADER: usize = 32;
const ALIGN: usize = 64;
/// A frame of rows.
const BATCH: u8 = 2;

/// How often a frame of rows of the table has which size: rows and bytes.
fn sizes(site: &Site, table: &str) -> BTreeMap<(u32, u32), usize> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(site.path("spool").join(table)).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        let mut at = SEGMENT_HEADER;
        while let Some(header) = bytes.get(at..at + FRAME_HEADER).filter(|header| header.starts_with(b"KFRM")) {
            let number = |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().unwrap());
            let (length, rows, kind) = (number(4), number(16), header[20]);
            if kind == BATCH {
                *found.entry((rows, length)).or_default() += 1;
            }
            at += (FRAME_HEADER + length as usize).next_multiple_of(ALIGN);
        }
    }
    found
}

#[test]
fn a_15_a_bin_is_as_large_when_nobody_came() {
    let clips = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    let mut counted = Vec::new();
    let mut vocabularies = Vec::new();
    for busy in [false, true] {
        let (_server, tap) = camera(clips.path(), busy);
        let mut site = Site::new(&[("plaza", camera_file(tap.port))]);
        site.start(&["--bin", "2s"]);
        // Two whole bins at least.
        site.wait_for("bins", |site| sizes(site, "agg.v1").values().sum::<usize>() >= 3);
        site.terminate();
        found.push(sizes(&site, "agg.v1"));
        vocabularies.push(vocabulary(&site));
        let rows = crate::common::rows(&site.path("spool"));
        counted.push(rows.iter().filter(|row| row["table"] == "agg.v1" && row["value"] != 0).count());
    }
    println!("rows and bytes of a batch: {found:?}; rows that are not zero: {counted:?}");
    assert!(counted[0] == 0 && counted[1] > 0, "the streets do not differ: {counted:?}");
    let kinds = |sizes: &BTreeMap<(u32, u32), usize>| sizes.keys().copied().collect::<Vec<_>>();
    assert_eq!(kinds(&found[0]), kinds(&found[1]));
    assert_eq!(vocabularies[0].len(), 32);
    // The metrics' port is no word of the tables, so both nodes are configured alike.
    assert_eq!(vocabularies[0], vocabularies[1], "a hash of the configuration and of nothing that was seen");
    assert_eq!(found[0].len(), 1, "one size for all bins: {found:?}");
}
