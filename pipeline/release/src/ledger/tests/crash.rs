//! Crashes at every point of a write: a killed process, whose operations reached the kernel, and a cut power line, after
//! which of the operations that were not synced any part may have happened.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::disk::steps::{self, Done};
use super::*;

/// What a file can hold; `None` for no file.
type Content = Option<Vec<u8>>;

/// What may lie on the disk after a power cut: for each file its versions since its folder was synced, for each of them
/// what can be left of it.
type Possible = BTreeMap<PathBuf, Vec<Vec<Content>>>;

/// Plays the steps on files that were durable before, and cuts the power.
fn after_power_cut(before: &[(PathBuf, Content)], steps: &[Done]) -> Possible {
    let mut possible: Possible =
        before.iter().map(|(path, content)| (path.clone(), vec![vec![content.clone()]])).collect();
    // What was written into files that have no final name yet, and whether it was synced.
    let mut written: BTreeMap<PathBuf, (Vec<u8>, bool)> = BTreeMap::new();
    for step in steps {
        match step {
            Done::Remove(path) => drop(written.remove(path)),
            Done::Create(path) => drop(written.insert(path.clone(), (Vec::new(), false))),
            Done::Write(path, bytes) => {
                let (content, is_synced) = written.get_mut(path).unwrap();
                content.extend_from_slice(bytes);
                *is_synced = false;
            }
            Done::Sync(path) => written.get_mut(path).unwrap().1 = true,
            Done::Rename(from, to) => {
                let (bytes, is_synced) = written.remove(from).unwrap();
                let torn = [Vec::new(), bytes[..bytes.len() / 2].to_vec()];
                let left = torn.into_iter().filter(|_| !is_synced).chain([bytes]).map(Some);
                possible.get_mut(to).unwrap().push(left.collect());
            }
            // The names in the folder are durable: nothing older can come back.
            Done::SyncFolder(folder) => {
                for (_, versions) in
                    possible.iter_mut().filter(|(path, _)| path.parent() == Some(folder.as_path()))
                {
                    versions.drain(..versions.len() - 1);
                }
            }
        }
    }
    possible
}

/// Every combination of what the two files can hold.
fn combinations(possible: &Possible) -> Vec<Vec<(PathBuf, Content)>> {
    let mut all = vec![Vec::new()];
    for (path, versions) in possible {
        all = (all.into_iter())
            .flat_map(|before| {
                versions.iter().flatten().map(move |content| {
                    let mut with = before.clone();
                    with.push((path.clone(), content.clone()));
                    with
                })
            })
            .collect();
    }
    all
}

fn lay_out(files: &[(PathBuf, Content)]) {
    for (path, content) in files {
        match content {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => drop(fs::remove_file(path)),
        }
    }
}

fn files(cabinet: &Cabinet) -> Vec<(PathBuf, Content)> {
    [cabinet.ledger_file(), cabinet.witness_file()].map(|path| (path.clone(), fs::read(path).ok())).into()
}

/// What is wrong with a ledger after a crash, if anything: bins up to `granted` were granted, and the one after that was
/// asked for.
fn wrong(cabinet: &Cabinet, granted: u32) -> Option<String> {
    let mut ledger = cabinet.open();
    if let LedgerState::Refusing(why) = ledger.state() {
        return Some(format!("false alarm: {why}"));
    }
    let again: Vec<u32> =
        (0..granted).filter(|number| ledger.debit(&bins(*number)) != [Verdict::Spent; 2]).collect();
    if !again.is_empty() {
        return Some(format!("granted twice: {again:?}"));
    }
    (ledger.debit(&bins(granted + 1)) != [Verdict::Granted; 2]).then(|| "it grants nothing any more".to_owned())
}

/// Cuts the power after each prefix of a debit's steps, changed as told: everything that is then wrong.
fn cut_everywhere(change: &dyn Fn(Vec<Done>) -> Vec<Done>) -> Vec<String> {
    steps::wait_for_no_disk();
    let mut found = Vec::new();
    for earlier in 0..3 {
        let cabinet = Cabinet::new();
        let mut ledger = cabinet.open();
        for number in 0..earlier {
            assert_eq!(ledger.debit(&bins(number)), [Verdict::Granted; 2]);
        }
        let before = files(&cabinet);
        steps::heal();
        assert_eq!(ledger.debit(&bins(earlier)), [Verdict::Granted; 2]);
        let steps = change(steps::heal());
        drop(ledger);
        for length in 0..=steps.len() {
            for files in combinations(&after_power_cut(&before, &steps[..length])) {
                lay_out(&files);
                // After the last step it was granted.
                let granted = earlier + u32::from(length == steps.len());
                let what = wrong(&cabinet, granted);
                found.extend(what.map(|what| format!("after {length} of {} steps: {what}", steps.len())));
            }
        }
    }
    found
}

#[test]
fn pc_9_a_power_cut_at_any_point_of_a_debit_grants_nothing_twice_and_raises_no_alarm() {
    assert_eq!(cut_everywhere(&|steps| steps), [] as [String; 0]);
}

#[test]
fn pc_9_power_cuts_find_writes_that_are_out_of_order_or_not_synced() {
    let without = |gone: fn(&Done) -> bool| {
        move |mut steps: Vec<Done>| {
            steps.retain(|step| !gone(step));
            steps
        }
    };
    let unsynced = cut_everywhere(&without(|step| matches!(step, Done::Sync(_))));
    assert!(unsynced.iter().any(|what| what.contains("is damaged")), "{unsynced:?}");
    let unnamed =
        cut_everywhere(&without(|step| matches!(step, Done::SyncFolder(path) if path.ends_with("ledger"))));
    assert!(unnamed.iter().any(|what| what.contains("is an old one")), "{unnamed:?}");
    let nowhere = cut_everywhere(&without(|step| matches!(step, Done::SyncFolder(_))));
    assert!(nowhere.iter().any(|what| what.contains("granted twice")), "{nowhere:?}");
    let witness_first = cut_everywhere(&|mut steps| {
        let half = steps.len() / 2;
        steps.rotate_left(half);
        steps
    });
    assert!(witness_first.iter().any(|what| what.contains("is an old one")), "{witness_first:?}");
}

#[test]
fn pc_9_a_process_killed_at_any_point_of_a_debit_has_granted_nothing_twice() {
    steps::wait_for_no_disk();
    for step in 0.. {
        let cabinet = Cabinet::new();
        let mut ledger = cabinet.open();
        assert_eq!(ledger.debit(&bins(0)), [Verdict::Granted; 2]);
        steps::plan(step..usize::MAX, ErrorKind::Interrupted);
        let answer = ledger.debit(&bins(1));
        drop(ledger);
        steps::heal();
        let granted = 1 + u32::from(answer == [Verdict::Granted; 2]);
        assert_eq!(wrong(&cabinet, granted), None, "killed before step {step}");
        if granted == 2 {
            assert!(step > 10, "a debit has more steps than {step}");
            break;
        }
    }
}

#[test]
fn pc_9_a_first_start_that_is_killed_at_any_point_is_begun_again() {
    steps::wait_for_no_disk();
    for step in 0.. {
        let cabinet = Cabinet::new();
        steps::plan(step..usize::MAX, ErrorKind::Interrupted);
        let ledger = cabinet.open();
        let is_written = ledger.trouble().is_none();
        drop(ledger);
        steps::heal();
        assert_eq!(wrong(&cabinet, 0), None, "killed before step {step}");
        if is_written {
            assert!(step > 10, "a first start has more steps than {step}");
            break;
        }
    }
}

#[test]
fn pc_9_a_renewal_that_is_killed_at_any_point_frees_nothing_and_can_be_done_again() {
    steps::wait_for_no_disk();
    for step in 0.. {
        let cabinet = Cabinet::new();
        assert_eq!(cabinet.open().debit(&bins(3)), [Verdict::Granted; 2]);
        fs::remove_file(cabinet.witness_file()).unwrap();
        cabinet.release_rows();
        steps::plan(step..usize::MAX, ErrorKind::Interrupted);
        let renewed = cabinet.renew(morning(), Ahead::Keep).is_ok();
        steps::heal();
        let verdicts = cabinet.open().debit(&bins(4));
        assert!(!verdicts.contains(&Verdict::Granted), "killed before step {step}");
        if renewed {
            assert!(step > 10, "a renewal has more steps than {step}");
            break;
        }
        let mut ledger = match cabinet.renew(morning(), Ahead::Keep) {
            // All but the last sync was done.
            Err(LedgerError::NothingToRenew(_)) => cabinet.open(),
            again => again.unwrap(),
        };
        assert_eq!(ledger.debit(&bins(63)), [Verdict::Spent; 2]);
        assert_eq!(ledger.debit(&bins(64)), [Verdict::Granted; 2]);
    }
}
