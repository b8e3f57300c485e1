//! What the machine says of itself: processors, memory, heat, and the energy of its processor package.
//!
//! Everything is read from `/proc` and `/sys`; what a machine does not offer is absent and no error. Not every machine
//! tells its energy (the kernel's powercap files, known as RAPL), and since 2020 the kernel tells it to root alone unless
//! an administrator lets others read it.

use std::fs;
use std::path::{Path, PathBuf};

/// One reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) cpu: Option<CpuTime>,
    pub(crate) memory: Option<Memory>,
    /// Of the hottest sensor, in degrees Celsius.
    pub(crate) temperature_celsius: Option<f32>,
    /// Times that a processor was slowed down since the machine started.
    pub(crate) throttles: Option<u64>,
    pub(crate) is_undervolted: Option<bool>,
    /// Energy of all processor packages since the first reading, in joules.
    pub(crate) joules: Option<f64>,
}

/// Processor time since the machine started, in seconds over all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuTime {
    pub(crate) busy: f64,
    pub(crate) idle: f64,
    pub(crate) iowait: f64,
    /// Taken by other guests of the same host.
    pub(crate) steal: f64,
}

impl CpuTime {
    /// All of it, by the names that the metric has.
    pub(crate) fn modes(&self) -> [(&'static str, f64); 4] {
        [("busy", self.busy), ("idle", self.idle), ("iowait", self.iowait), ("steal", self.steal)]
    }

    /// The share of the time since `before` in which the processors worked, 0..1.
    pub(crate) fn busy_since(&self, before: &Self) -> Option<f64> {
        let busy = self.busy - before.busy;
        let all = busy + self.idle - before.idle + self.iowait - before.iowait + self.steal - before.steal;
        (all > 0.0).then(|| (busy / all).clamp(0.0, 1.0))
    }
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

/// Reads the machine again and again.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `/`, or a folder that stands in for it.
    root: PathBuf,
    ticks_per_second: f64,
    packages: Vec<Package>,
    joules: f64,
}

/// One processor package that tells its energy.
#[derive(Debug)]
struct Package {
    file: PathBuf,
    /// Where its counter begins anew, in microjoules.
    range: u64,
    last: u64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::under(Path::new("/"))
    }

    fn under(root: &Path) -> Self {
        let mut packages = Vec::new();
        for zone in folders(&root.join("sys/class/powercap"), "intel-rapl:") {
            // Zones of a zone, such as intel-rapl:0:1, are part of it.
            let is_package = text(&zone.join("name")).is_some_and(|name| name.starts_with("package"));
            let file = zone.join("energy_uj");
            if let (true, Some(last), Some(range)) =
                (is_package, number(&file), number(&zone.join("max_energy_range_uj")))
            {
                packages.push(Package { file, range, last });
            }
        }
        Self { root: root.to_owned(), ticks_per_second: procfs::ticks_per_second() as f64, packages, joules: 0.0 }
    }

    /// Takes a reading.
    pub(crate) fn read(&mut self) -> Reading {
        Reading {
            cpu: self.cpu(),
            memory: self.memory(),
            temperature_celsius: self.temperature(),
            throttles: self.throttles(),
            is_undervolted: self.is_undervolted(),
            joules: self.energy(),
        }
    }

    fn cpu(&self) -> Option<CpuTime> {
        let stat = text(&self.root.join("proc/stat"))?;
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal: see proc_stat(5).
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        let seconds = |ticks: f64| ticks / self.ticks_per_second;
        let busy = seconds(user + nice + system + irq + softirq);
        Some(CpuTime { busy, idle: seconds(idle), iowait: seconds(iowait), steal: seconds(steal) })
    }

    fn memory(&self) -> Option<Memory> {
        let text = text(&self.root.join("proc/meminfo"))?;
        let kilobytes = |key: &str| -> Option<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            value.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Memory { total: kilobytes("MemTotal")? << 10, available: kilobytes("MemAvailable")? << 10 })
    }

    fn temperature(&self) -> Option<f32> {
        let zones = folders(&self.root.join("sys/class/thermal"), "thermal_zone").into_iter();
        let of_zones = zones.filter_map(|zone| text(&zone.join("temp")));
        let sensors = folders(&self.root.join("sys/class/hwmon"), "hwmon").into_iter();
        let of_sensors =
            sensors.flat_map(|sensor| (1..=16).filter_map(move |n| text(&sensor.join(format!("temp{n}_input")))));
        let celsius =
            of_zones.chain(of_sensors).filter_map(|milli| milli.parse::<f32>().ok()).map(|milli| milli / 1000.0);
        // A sensor that is not there says 0, -274 or 255.
        celsius.filter(|degrees| (-60.0..150.0).contains(degrees) && *degrees != 0.0).reduce(f32::max)
    }

    /// Every thread of a package tells the package's number: only the largest is counted of each.
    fn throttles(&self) -> Option<u64> {
        let cpus = folders(&self.root.join("sys/devices/system/cpu"), "cpu");
        let counts = cpus.iter().filter_map(|cpu| {
            let package = number(&cpu.join("topology/physical_package_id")).unwrap_or_default();
            Some((package, number(&cpu.join("thermal_throttle/package_throttle_count"))?))
        });
        let mut of_package = std::collections::BTreeMap::new();
        for (package, count) in counts {
            let most = of_package.entry(package).or_insert(count);
            *most = count.max(*most);
        }
        (!of_package.is_empty()).then(|| of_package.values().sum())
    }

    /// What the Raspberry Pi's firmware and some boards' monitors tell.
    fn is_undervolted(&self) -> Option<bool> {
        let sensors = folders(&self.root.join("sys/class/hwmon"), "hwmon").into_iter();
        let alarms = sensors.filter_map(|sensor| number(&sensor.join("in0_lcrit_alarm")));
        alarms.map(|alarm| alarm != 0).reduce(|a, b| a || b)
    }

    fn energy(&mut self) -> Option<f64> {
        for package in &mut self.packages {
            let Some(now) = number(&package.file) else { continue };
            let used = match now.checked_sub(package.last) {
                Some(used) => used,
                // It began anew.
                None => package.range.saturating_sub(package.last).saturating_add(now),
            };
            package.last = now;
            self.joules += used as f64 / 1e6;
        }
        (!self.packages.is_empty()).then_some(self.joules)
    }
}

/// Size and free space of the file system that holds `folder`, in bytes, the latter as far as an ordinary user may use
/// it.
pub(crate) fn disk(folder: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
}

/// Processor time of one of our threads so far, in seconds; `None` where it has ended.
pub(crate) fn thread_cpu_secs(thread: u32) -> Option<f64> {
    let stat = text(Path::new(&format!("/proc/self/task/{thread}/stat")))?;
    // The name, in brackets, may hold anything; utime and stime are fields 14 and 15, of which state is 3.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / procfs::ticks_per_second() as f64)
}

fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// What lies in `folder` under a name that begins so, followed by a number.
fn folders(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let named = |name: &str| {
        let number = name.strip_prefix(prefix)?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().and_then(named).is_some())
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn this_machine_tells_its_time_and_memory_and_this_thread_what_it_used() {
        let reading = Machine::new().read();
        assert!(reading.cpu.unwrap().busy > 0.0);
        let memory = reading.memory.unwrap();
        assert!(memory.available > 0 && memory.total > memory.available);
        let (size, free) = disk(Path::new("/")).unwrap();
        assert!(size > free);
        assert!(disk(Path::new("/no/such/folder")).is_none());
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        assert!(thread_cpu_secs(thread).is_some() && thread_cpu_secs(u32::MAX).is_none());
    }

    #[test]
    fn f_33_heat_throttling_and_a_weak_supply_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let empty = Machine::under(root).read();
        assert_eq!(empty, Reading::default(), "what is not there is absent");
        write(root, "sys/class/thermal/thermal_zone0/temp", "41000\n");
        write(root, "sys/class/thermal/thermal_zone1/temp", "-274000\n");
        write(root, "sys/class/hwmon/hwmon2/temp1_input", "87500\n");
        write(root, "sys/class/hwmon/hwmon2/temp2_input", "0\n");
        for (cpu, package, count) in [(0, 0, 3), (1, 0, 3), (2, 1, 4)] {
            let cpu = format!("sys/devices/system/cpu/cpu{cpu}");
            write(root, &format!("{cpu}/topology/physical_package_id"), &format!("{package}\n"));
            write(root, &format!("{cpu}/thermal_throttle/package_throttle_count"), &format!("{count}\n"));
        }
        write(root, "sys/class/hwmon/hwmon0/in0_lcrit_alarm", "1\n");
        let reading = Machine::under(root).read();
        assert_eq!(reading.temperature_celsius, Some(87.5));
        assert_eq!((reading.throttles, reading.is_undervolted), (Some(7), Some(true)));
    }

    #[test]
    fn energy_adds_up_over_packages_and_through_the_counters_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let zone = |zone: &str, name: &str, energy: u64| {
            write(root, &format!("sys/class/powercap/{zone}/name"), &format!("{name}\n"));
            write(root, &format!("sys/class/powercap/{zone}/max_energy_range_uj"), "10000000\n");
            write(root, &format!("sys/class/powercap/{zone}/energy_uj"), &format!("{energy}\n"));
        };
        zone("intel-rapl:0", "package-0", 9_000_000);
        zone("intel-rapl:1", "package-1", 1_000_000);
        zone("intel-rapl:0:0", "core", 5);
        zone("intel-rapl:2", "psys", 7);
        let mut machine = Machine::under(root);
        assert_eq!(machine.read().joules, Some(0.0));
        zone("intel-rapl:0", "package-0", 500_000);
        zone("intel-rapl:1", "package-1", 3_000_000);
        assert_eq!(machine.read().joules, Some(3.5), "1.5 J past the end of the first and 2 J of the second");
        fs::remove_dir_all(root.join("sys/class/powercap/intel-rapl:1")).unwrap();
        zone("intel-rapl:0", "package-0", 1_500_000);
        assert_eq!(machine.read().joules, Some(4.5));
    }

    #[test]
    fn the_share_of_busy_time_is_that_between_two_readings() {
        let before = CpuTime { busy: 10.0, idle: 100.0, iowait: 0.0, steal: 0.0 };
        let after = CpuTime { busy: 11.0, idle: 102.0, iowait: 0.5, steal: 0.5 };
        assert_eq!(after.busy_since(&before), Some(0.25));
        assert_eq!(before.busy_since(&before), None);
    }
}
