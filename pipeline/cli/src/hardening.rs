//! What keeps pictures in memory: no core dump, no other process that reads ours, no swap on a disk (rule PC-16 of
//! the privacy contract).
//!
//! [`seal`] comes first of all, before there is anything to hide; [`check`] reads back what it did and refuses to go
//! on where it did not hold. Swap is harmless where there is none, where it is compressed memory (zram without a
//! backing device), where the node's control group may not use any, or where all of the node's memory is locked.
//!
//! It is checked once, at the start. Deliberately not here: swap that is switched on later, hibernation, and an
//! administrator who reads the memory of any process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};
use tracing::{info, warn};

use crate::output::Refusal;

const SWAPS: &str = "/proc/swaps";
const STATUS: &str = "/proc/self/status";
const CGROUP: &str = "/proc/self/cgroup";
/// Where the second version of control groups is mounted, alone or beside the first.
const CGROUP_MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// What the system answered when it was asked to seal the process.
pub(crate) struct Sealed {
    dumpable: rustix::io::Result<()>,
    core: rustix::io::Result<()>,
}

/// Why the node's memory cannot get to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StaysInMemory {
    NoSwap,
    SwapForbidden,
    Locked,
}

/// Takes core dumps and the right of other processes of this user to read the memory away from this process and from
/// all that it starts.
pub(crate) fn seal() -> Sealed {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Sealed {
        core: setrlimit(Resource::Core, none),
        dumpable: set_dumpable_behavior(DumpableBehavior::NotDumpable),
    }
}

/// Reads back whether the process is sealed and whether its memory stays in memory. Where not, that is an error, or
/// with `goes_on` a warning; whether it was one is the answer.
pub(crate) fn check(sealed: &Sealed, goes_on: bool) -> anyhow::Result<bool> {
    let mut problems = Vec::new();
    let core = getrlimit(Resource::Core);
    if sealed.core.is_err() || (core.current, core.maximum) != (Some(0), Some(0)) {
        problems.push("core dumps cannot be switched off: start the node with a core limit of 0".to_owned());
    }
    if sealed.dumpable.is_err() || dumpable_behavior() != Ok(DumpableBehavior::NotDumpable) {
        problems.push("other processes may read the node's memory: the system refuses PR_SET_DUMPABLE".to_owned());
    }
    match stays_in_memory() {
        Ok(why) => info!(because = why.text(), "the node's memory stays in memory"),
        Err(problem) => problems.push(problem),
    }
    if problems.is_empty() {
        return Ok(false);
    }
    let problems = problems.join("; ");
    if !goes_on {
        let text = format!("{problems}. For development alone: --insecure-dev runs the node all the same");
        return Err(Refusal(text).into());
    }
    warn!(problems, "INSECURE: PICTURES OF PEOPLE MAY BE WRITTEN TO A DISK. This is for development only");
    Ok(true)
}

impl StaysInMemory {
    const fn text(self) -> &'static str {
        match self {
            Self::NoSwap => "no disk is used as swap",
            Self::SwapForbidden => "its control group may not use swap",
            Self::Locked => "all of it is locked",
        }
    }
}

fn stays_in_memory() -> Result<StaysInMemory, String> {
    let backing = |device: &str| fs::read_to_string(format!("/sys/block/{device}/backing_dev")).ok();
    let disks = match fs::read_to_string(SWAPS) {
        Ok(swaps) => swap_on_disks(&swaps, backing),
        // A kernel that was built without swap has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new(STATUS).exists() => Vec::new(),
        Err(error) => vec![format!("unknown ({SWAPS}: {error})")],
    };
    if disks.is_empty() {
        return Ok(StaysInMemory::NoSwap);
    }
    let limits = fs::read_to_string(CGROUP).map(|text| swap_limit_files(&text)).unwrap_or_default();
    if limits.iter().any(|file| fs::read_to_string(file).is_ok_and(|limit| limit.trim() == "0")) {
        return Ok(StaysInMemory::SwapForbidden);
    }
    if lock_all() && fs::read_to_string(STATUS).is_ok_and(|status| is_locked(&status)) {
        return Ok(StaysInMemory::Locked);
    }
    Err(format!(
        "pictures in memory may be written to swap: {}. Switch swap off (swapoff -a), forbid it to the node \
         (MemorySwapMax=0 in its systemd unit; with a container as much --memory-swap as --memory), or let it lock its \
         memory (LimitMEMLOCK=infinity)",
        disks.join(", ")
    ))
}

/// The swap areas in the text of `/proc/swaps` that may be on a disk. `backing` gives what a zram device writes back
/// to, as the system tells it.
fn swap_on_disks(swaps: &str, backing: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let areas = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let is_memory = |area: &str| {
        let device = area.strip_prefix("/dev/").filter(|device| device.starts_with("zram"));
        // Where it cannot write back the file is missing.
        device.is_some_and(|device| backing(device).is_none_or(|to| to.trim() == "none"))
    };
    areas.filter(|area| !is_memory(area)).map(str::to_owned).collect()
}

/// The files with the swap limits that hold for the process with this `/proc/self/cgroup`: its own group's and those of
/// all groups above.
fn swap_limit_files(cgroup: &str) -> Vec<PathBuf> {
    let Some(own) = cgroup.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let groups = Path::new(own).ancestors();
    let files = groups.flat_map(|group| CGROUP_MOUNTS.map(|mount| Path::new(mount).join(group)));
    files.map(|group| group.join("memory.swap.max")).collect()
}

/// Locks all memory that the process has and will have; whether the system does that without a limit.
fn lock_all() -> bool {
    let limit = getrlimit(Resource::Memlock);
    if limit.current.is_some() {
        // With a limit of zero only a process that needs none can lock. Else memory that is asked for later, when the
        // limit is reached, would be refused.
        let none = Rlimit { current: Some(0), maximum: limit.maximum };
        if setrlimit(Resource::Memlock, none).is_err() {
            return false;
        }
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let locked = mlockall(flags).is_ok();
    if !locked {
        // The limit is only a wish where nothing was locked.
        let _ = setrlimit(Resource::Memlock, limit);
    }
    locked
}

/// Whether at least the resident memory is locked, by the text of `/proc/self/status`.
fn is_locked(status: &str) -> bool {
    let kilobytes = |key: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        value.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    kilobytes("VmLck").zip(kilobytes("VmRSS")).is_some_and(|(locked, resident)| locked > 0 && locked >= resident)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn pc_16_a_sealed_process_leaves_no_core_dump_and_lets_nobody_read_its_memory() {
        let sealed = seal();
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        let refused = Sealed { dumpable: Err(rustix::io::Errno::PERM), ..sealed };
        assert_eq!(check(&refused, true).ok(), Some(true), "a warning");
        let error = check(&refused, false).unwrap_err().to_string();
        assert!(error.contains("PR_SET_DUMPABLE") && error.contains("--insecure-dev"), "{error}");
    }

    #[test]
    fn pc_16_swap_on_a_disk_is_seen_and_compressed_memory_is_none() {
        let none = |_: &str| None;
        let table: [(&str, &[&str]); 5] = [
            ("", &[]),
            ("/dev/sda2  partition\t8388604\t0\t-2\n", &["/dev/sda2"]),
            ("/swapfile  file\t8388604\t0\t-2\n/dev/zram0 partition 1 0 100\n", &["/swapfile"]),
            ("/dev/zram0 partition\t4194300\t0\t100\n", &[]),
            ("/dev/mapper/zram-not partition 1 0 1\n", &["/dev/mapper/zram-not"]),
        ];
        for (areas, disks) in table {
            assert_eq!(swap_on_disks(&format!("{HEAD}{areas}"), none), disks, "{areas}");
        }
        let zram = format!("{HEAD}/dev/zram0 partition 1 0 100\n");
        assert!(swap_on_disks(&zram, |_| Some("none\n".to_owned())).is_empty());
        assert_eq!(swap_on_disks(&zram, |_| Some("/dev/sda3\n".to_owned())), ["/dev/zram0"]);
    }

    #[test]
    fn pc_16_the_swap_limits_of_all_groups_above_hold() {
        let files = swap_limit_files("1:cpu:/other\n0::/system.slice/kerbside.service\n");
        for group in ["system.slice/kerbside.service/", "system.slice/", ""] {
            let file = PathBuf::from(format!("/sys/fs/cgroup/{group}memory.swap.max"));
            assert!(files.contains(&file), "{files:?}");
        }
        assert!(swap_limit_files("4:memory:/docker/1\n").is_empty(), "the first version has no such limit");
    }

    #[test]
    fn pc_16_memory_counts_as_locked_only_where_all_that_is_resident_is() {
        let status = |locked: u32, resident: u32| format!("VmLck:\t{locked:>8} kB\nVmRSS:\t{resident:>8} kB\n");
        assert!(is_locked(&status(5000, 4000)));
        assert!(!is_locked(&status(64, 4000)));
        assert!(!is_locked(&status(0, 0)));
        assert!(!is_locked("VmRSS:\t 10 kB\n"));
    }
}
