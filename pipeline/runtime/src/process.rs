//! What the operating system says of this process and its host.

use std::path::Path;

use procfs::WithCurrentSystemInfo as _;
use procfs::process::Process;

/// A reading of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Resident memory, bytes.
    pub(crate) resident_bytes: u64,
    /// Processor time so far, user and system, seconds.
    pub(crate) cpu_secs: f64,
}

/// Reads `/proc/self`; `None` where the host does not offer it.
pub(crate) fn usage() -> Option<Usage> {
    let stat = Process::myself().ok()?.stat().ok()?;
    let ticks = (stat.utime + stat.stime) as f64;
    Some(Usage { resident_bytes: stat.rss_bytes().get(), cpu_secs: ticks / procfs::ticks_per_second() as f64 })
}

/// Free space of the file system that holds `folder`, in bytes, as far as an ordinary user may use it.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Temperature of the host's first thermal zone, in degrees Celsius.
pub(crate) fn temperature_celsius() -> Option<f32> {
    let text = std::fs::read_to_string("/sys/class/thermal/thermal_zone0/temp").ok()?;
    let milli: f32 = text.trim().parse().ok()?;
    Some(milli / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_its_folder_has_a_size() {
        assert!(usage().unwrap().resident_bytes > 100_000);
        assert!(free_bytes(Path::new("/")).is_some());
        assert!(free_bytes(Path::new("/no/such/folder")).is_none());
    }
}
