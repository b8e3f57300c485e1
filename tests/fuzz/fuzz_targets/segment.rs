//! The reader of an exported segment, as the gateway is given one by a courier: as it is, and with checksums made right.
//! The seeds are in `seeds/segment`.

#![no_main]

use bytes::Bytes;
use kerbside_uplink::wire::take_apart;
use kerbside_uplink::{Parcel, read_forged_segment, read_segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(content) = read_segment(Bytes::copy_from_slice(bytes)) {
        look_at(content.collect());
    }
    look_at(read_forged_segment(bytes));
});

fn look_at(parcels: Vec<Parcel>) {
    let mut next = parcels.first().map_or(0, |parcel| parcel.span().1);
    for parcel in parcels {
        let (_, first, last) = parcel.span();
        assert!(first == next && first <= last);
        next = last + 1;
        if let Parcel::Rows { payload, opening, .. } = parcel {
            take_apart(payload);
            take_apart(opening.payload.clone());
        }
    }
}
