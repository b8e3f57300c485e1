use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{self, File};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::thread;

use super::*;

const START: u64 = 1_700_000_123;
const MASK: u64 = 0x5aa5_c33c_6996_0ff1;

#[test]
fn pc_15_every_camera_and_epoch_has_a_fresh_key() {
    let cameras = 130;
    let mut keys = Pseudonyms::new(cameras).unwrap();
    let mut seen = BTreeSet::new();
    for epoch in 0..4 {
        for camera in 0..cameras {
            let turn = keys.roll(camera, at(START + epoch * 900)).unwrap();
            assert_eq!(turn, if epoch == 0 { Turn::Same } else { Turn::Fresh });
            assert!(seen.insert(*keys.key(camera, keys.epochs[camera].current)), "camera {camera}, epoch {epoch}");
        }
    }
    assert!(!seen.contains(&[0; KEY_BYTES]));
}

#[test]
fn pc_15_one_track_has_another_pseudonym_at_another_camera_and_in_another_epoch() {
    let mut keys = Pseudonyms::new(2).unwrap();
    keys.roll(0, at(START)).unwrap();
    let first = keys.current(0, TrackId(7));
    assert_eq!(first, keys.current(0, TrackId(7)));
    assert!(first != keys.current(0, TrackId(8)));
    assert!(first != keys.current(1, TrackId(7)));
    assert_eq!(keys.previous(0, TrackId(7)), None);

    assert_eq!(keys.roll(0, at(START + 899)).unwrap(), Turn::Same);
    assert_eq!(keys.roll(0, at(START + 900)).unwrap(), Turn::Fresh);
    assert!(first != keys.current(0, TrackId(7)));
    assert_eq!(keys.previous(0, TrackId(7)), Some(first), "a track in view can be carried over");
    assert_eq!(keys.previous(1, TrackId(7)), None, "the other camera has an epoch of its own");

    assert_eq!(keys.roll(0, at(START + 1259)).unwrap(), Turn::Same);
    assert_eq!(keys.previous(0, TrackId(7)), Some(first));
    assert_eq!(keys.roll(0, at(START + 1260)).unwrap(), Turn::PreviousErased);
    assert_eq!(keys.previous(0, TrackId(7)), None);
    assert_eq!(*keys.key(0, 1 - keys.epochs[0].current), [0; KEY_BYTES]);
}

#[test]
fn pc_15_pseudonyms_differ_in_half_of_their_bits() {
    let mut keys = Pseudonyms::new(2).unwrap();
    keys.roll(0, at(START)).unwrap();
    let of =
        |keys: &Pseudonyms, camera| (0..500).map(|id| keys.current(camera, TrackId(id)).0).collect::<Vec<_>>();
    let (first, elsewhere) = (of(&keys, 0), of(&keys, 1));
    keys.roll(0, at(START + 900)).unwrap();
    let second = of(&keys, 0);
    let neighbours = first.windows(2).map(|pair| pair[0] ^ pair[1]);
    let places = first.iter().zip(&elsewhere).map(|(left, right)| left ^ right);
    let epochs = first.iter().zip(&second).map(|(left, right)| left ^ right);
    for differences in [neighbours.collect::<Vec<_>>(), places.collect(), epochs.collect()] {
        let bits: u32 = differences.iter().map(|difference| difference.count_ones()).sum();
        let share = f64::from(bits) / (128.0 * differences.len() as f64);
        // Ten standard deviations of a mean of 64 000 fair bits.
        assert!((share - 0.5).abs() < 0.02, "{share}");
    }
}

#[test]
fn pc_15_a_clock_that_goes_back_neither_keeps_a_key_alive_nor_breaks_it() {
    let mut keys = Pseudonyms::new(1).unwrap();
    keys.roll(0, at(START)).unwrap();
    let first = keys.current(0, TrackId(1));
    let mut now = START;
    let mut lived = 0;
    // Ten minutes on, a day back, and so on: the key has aged by what went forward.
    while keys.roll(0, at(now)).unwrap() == Turn::Same {
        assert_eq!(keys.current(0, TrackId(1)), first);
        keys.roll(0, at(now - 86_400)).unwrap();
        now = now - 86_400 + 600;
        lived += 600;
    }
    assert_eq!(lived, 1_200);
    assert_eq!(keys.previous(0, TrackId(1)), Some(first));
    // Small steps to and fro around the border make no second new key.
    let second = keys.current(0, TrackId(1));
    for step in [0, 1, 0, 1, 0] {
        assert_eq!(keys.roll(0, at(now - step)).unwrap(), Turn::Same);
    }
    assert_eq!(keys.current(0, TrackId(1)), second);
    // A jump over several epochs ends one, and its key is gone six minutes later.
    assert_eq!(keys.roll(0, at(now + 90_000)).unwrap(), Turn::Fresh);
    assert_eq!(keys.roll(0, at(now + 90_360)).unwrap(), Turn::PreviousErased);
}

#[test]
fn pc_15_nothing_prints_writes_or_orders_a_pseudonym() {
    let mut keys = Pseudonyms::new(3).unwrap();
    keys.roll(0, at(START)).unwrap();
    assert_eq!(format!("{:?}", keys.current(0, TrackId(1))), "Pseudonym");
    assert_eq!(format!("{:?}", keys.current(0, TrackId(2))), "Pseudonym");
    assert_eq!(format!("{keys:?}"), "Pseudonyms(of 3 cameras)");

    const { assert!(Shown::<u128>::IS && !Shown::<Pseudonym>::IS && !Shown::<Pseudonyms>::IS) };
    const { assert!(Ordered::<u128>::IS && !Ordered::<Pseudonym>::IS) };
    const { assert!(Copied::<u128>::IS && !Copied::<Pseudonyms>::IS) };
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    assert!(!manifest.contains("serde"), "a crate that cannot serialise cannot write pseudonyms");
}

#[test]
fn pc_15_a_camera_that_goes_on_keeps_its_keys_and_a_new_one_has_fresh_ones() {
    let mut keys = Pseudonyms::new(3).unwrap();
    for camera in 0..3 {
        keys.roll(camera, at(START)).unwrap();
    }
    keys.roll(2, at(START + 900)).unwrap();
    let before: Vec<_> =
        (0..3).map(|camera| (keys.current(camera, TrackId(1)), keys.previous(camera, TrackId(1)))).collect();
    let mut after = keys.rearranged(&[Some(2), None, Some(0)]).unwrap();
    let now = |camera| (after.current(camera, TrackId(1)), after.previous(camera, TrackId(1)));
    assert_eq!([now(0), now(2)], [before[2], before[0]]);
    assert!(before.iter().all(|(current, _)| now(1).0 != *current) && now(1).1.is_none());
    assert_eq!(after.roll(0, at(START + 1260)).unwrap(), Turn::PreviousErased, "it is as old as it was");
}

#[test]
fn pc_15_keys_are_locked_in_memory() {
    let keys = Pseudonyms::new(65).unwrap();
    assert_eq!(keys.pages.as_ptr().align_offset(PAGE_BYTES), 0);
    let place = keys.pages.as_ptr() as usize;
    assert!(is_locked(place) && is_locked(place + PAGE_BYTES));
    let not_ours = vec![0_u8; 1 << 20];
    assert!(!is_locked(not_ours.as_ptr() as usize + (1 << 19)));
}

#[test]
fn a_16_old_keys_and_pseudonyms_are_not_in_memory() {
    let mut keys = Pseudonyms::new(2).unwrap();
    keys.roll(0, at(START)).unwrap();
    let old = of_this_epoch(&keys, 0);
    assert!(found(&old.key) > 0, "a key in use is in memory, and the scan finds it");

    assert_eq!(keys.roll(0, at(START + 900)).unwrap(), Turn::Fresh);
    assert!(found(&old.key) > 0, "it is kept so that tracks can be carried over");
    old.check_carried(&keys);
    assert_eq!(keys.roll(0, at(START + 1260)).unwrap(), Turn::PreviousErased);
    assert_eq!(found(&old.key), 0, "the old key");
    assert_eq!(found(&old.pseudonyms), 0, "pseudonyms of the old epoch");

    let last = of_this_epoch(&keys, 0);
    // Nothing in this test cleans up after this one: what hashing leaves on the stack is the product's to erase.
    let another = keys.current(0, TrackId(9));
    drop(keys);
    assert_eq!(found(&last.key), 0, "the last key");
    assert_eq!(found(&last.pseudonyms), 0, "the last pseudonyms");
    std::hint::black_box(another);
}

#[test]
fn a_16_the_scan_finds_a_key_or_a_pseudonym_that_is_kept() {
    let mut keys = Pseudonyms::new(1).unwrap();
    keys.roll(0, at(START)).unwrap();
    let old = of_this_epoch(&keys, 0);
    let kept_key = Box::new(*keys.key(0, keys.epochs[0].current));
    let kept_pseudonyms: Vec<Pseudonym> = (0..3).map(|id| keys.current(0, TrackId(id))).collect();
    keys.roll(0, at(START + 900)).unwrap();
    keys.roll(0, at(START + 1260)).unwrap();
    assert!(found(&old.key) >= 4, "four pieces of the copy of a key");
    assert!(found(&old.pseudonyms) >= 6, "two pieces of each of three pseudonyms");
    assert!(kept_key.iter().any(|&byte| byte != 0) && kept_pseudonyms.len() == 3);
}

/// What to look for, in pieces of eight bytes that are masked: the list is not what it looks for.
struct Secrets {
    key: Vec<u64>,
    pseudonyms: Vec<u64>,
}

impl Secrets {
    #[inline(never)]
    fn check_carried(&self, keys: &Pseudonyms) {
        compare(self, keys);
        zeroize_stack::<STACK_BYTES>();
    }
}

#[inline(never)]
fn compare(secrets: &Secrets, keys: &Pseudonyms) {
    for (id, masked) in secrets.pseudonyms.chunks(2).enumerate() {
        let found = keys.previous(0, TrackId(id as u64)).unwrap().0;
        assert!(found as u64 ^ MASK == masked[0] && (found >> 64) as u64 ^ MASK == masked[1]);
    }
}

#[inline(never)]
fn of_this_epoch(keys: &Pseudonyms, camera: usize) -> Secrets {
    let secrets = masked(keys, camera);
    zeroize_stack::<STACK_BYTES>();
    secrets
}

#[inline(never)]
fn masked(keys: &Pseudonyms, camera: usize) -> Secrets {
    let key = keys.key(camera, keys.epochs[camera].current);
    let key = key.chunks(8).map(|piece| u64::from_le_bytes(piece.try_into().unwrap()) ^ MASK).collect();
    let mut pseudonyms = Vec::new();
    for id in 0..3 {
        let pseudonym = keys.current(camera, TrackId(id)).0;
        pseudonyms.extend([pseudonym as u64 ^ MASK, (pseudonym >> 64) as u64 ^ MASK]);
    }
    Secrets { key, pseudonyms }
}

/// How often a piece lies anywhere in the writable memory of this process, at any byte. The scan has a stack of its
/// own, so that it does not write over what lies below the caller's.
fn found(masked: &[u64]) -> usize {
    thread::scope(|scope| scope.spawn(|| scan(masked)).join().unwrap())
}

fn scan(masked: &[u64]) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut window = vec![0_u8; (1 << 20) + 7];
    let mut hits = 0;
    for (from, to) in writable() {
        let mut place = from;
        while place < to {
            let length = window.len().min((to - place) as usize);
            // Another thread may have unmapped it since the list was read.
            let Ok(count) = memory.read_at(&mut window[..length], place) else { break };
            hits += window[..count]
                .windows(8)
                .filter(|piece| {
                    let piece = u64::from_le_bytes((*piece).try_into().expect("eight bytes")) ^ MASK;
                    masked.contains(&piece)
                })
                .count();
            // Seven bytes again, for pieces across the border.
            place += if count <= 7 { count as u64 + 1 } else { count as u64 - 7 };
            if place + 7 >= to {
                break;
            }
        }
    }
    // Or the next scan finds what this one read.
    window.zeroize();
    hits
}

fn writable() -> Vec<(u64, u64)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let span = |line: &str| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        words.next()?.starts_with("rw").then_some(())?;
        Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
    };
    maps.lines().filter_map(span).collect()
}

/// Whether the mapping that holds this address is locked: `lo` of its flags (proc(5), smaps).
fn is_locked(address: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            inside = (number(from)..number(to)).contains(&address);
        } else if inside && first == "VmFlags:" {
            return line.split_whitespace().any(|flag| flag == "lo");
        }
    }
    panic!("no mapping holds {address:x}");
}

fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_millis(seconds * 1_000)
}

/// `IS` says whether a type has a trait: the inherent constant hides the trait's where its bound holds.
trait Lacks {
    const IS: bool = false;
}
struct Shown<T>(PhantomData<T>);
struct Ordered<T>(PhantomData<T>);
struct Copied<T>(PhantomData<T>);
impl<T> Lacks for Shown<T> {}
impl<T> Lacks for Ordered<T> {}
impl<T> Lacks for Copied<T> {}
impl<T: Display> Shown<T> {
    const IS: bool = true;
}
impl<T: PartialOrd> Ordered<T> {
    const IS: bool = true;
}
impl<T: Clone> Copied<T> {
    const IS: bool = true;
}
