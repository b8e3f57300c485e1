//! How long one bin of a whole node takes to leave, 64 cameras with 67 cells each:
//! `cargo bench -p kerbside-privacy --bench release_bin`. With noise and the ledger in memory, with the ledger on disk,
//! and without noise; and what the disk alone takes for the same debits. Asserts nothing, since machines differ.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::Instant;

use kerbside_core::detection::Class;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_privacy::stage::{
    DAY_SECS, QUARTER_SECS, fresh, guarded_by, plan, release, sixty_seven_cells, uid, wall,
};
use kerbside_release::{Account, Debit, FileLedger, Guarantee, Ledger};

const CAMERAS: usize = 64;
const BINS: u64 = 100;
const START_SECS: u64 = 20_000 * DAY_SECS;

fn main() {
    let folder = tempfile::tempdir().expect("a folder for the ledger");
    let open = |name: &str| {
        let folder = folder.path().join(name);
        FileLedger::open(&folder.join("ledger"), &folder.join("spool"), wall(START_SECS)).expect("a ledger")
    };
    println!("{CAMERAS} cameras x 67 cells, {BINS} bins");
    println!("{:<34} {:>10} {:>10} {:>10}", "", "median ms", "p95 ms", "max ms");
    bins("noise, ledger in memory", fresh());
    bins("noise, ledger on disk", guarded_by(open("stage")));
    bins("no noise, no ledger", Guarantee::Demonstration);
    let mut ledger = open("alone");
    time("the ledger on disk alone", |bin| {
        let from = wall(START_SECS + bin * QUARTER_SECS);
        let to = wall(START_SECS + (bin + 1) * QUARTER_SECS);
        let of = |camera: usize| {
            [Account::Person, Account::Bicycle].map(|account| Debit {
                camera: uid(camera as u64),
                account,
                from,
                to,
                most: 1,
            })
        };
        let debits: Vec<Debit> = (0..CAMERAS).flat_map(of).collect();
        ledger.debit(&debits);
    });
}

fn bins(what: &str, guarantee: Guarantee) {
    let cells = sixty_seven_cells(Class::Person, Class::Bicycle);
    let privacy = Privacy::of(Profile::Strict);
    let plans = (0..CAMERAS).map(|number| plan(number, cells.clone(), privacy)).collect();
    let mut stage = release(plans, START_SECS, guarantee).expect("the plans are in order");
    let mut out = Vec::new();
    time(what, |bin| {
        out.clear();
        stage.advance(wall(START_SECS + (bin + 1) * QUARTER_SECS), &mut out).expect("a bin");
        assert_eq!(out.iter().map(|batch| batch.rows()).sum::<u64>(), (CAMERAS * cells.len()) as u64);
    });
}

fn time(what: &str, mut once: impl FnMut(u64)) {
    let mut millis: Vec<f64> = (0..BINS)
        .map(|bin| {
            let begun = Instant::now();
            once(bin);
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    millis.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| millis[(millis.len() - 1) * percent / 100];
    println!("{what:<34} {:>10.2} {:>10.2} {:>10.2}", at(50), at(95), at(100));
}
