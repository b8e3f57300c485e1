//! The gateway's reader of what a node sends. The first byte chooses the table.

#![no_main]

use kerbside_gateway::check::read_messages;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let table = ["agg.v1", "health.v1", "incident.v1"][usize::from(*first) % 3];
    read_messages("cabinet", 7, table, bytes);
});
