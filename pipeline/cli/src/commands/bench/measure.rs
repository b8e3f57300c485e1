//! Clocks around detectors: whole detections, layers, and the processor's own limit.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use kerbside_core::frame::Frame;
use kerbside_models::{Detector, DetectorSettings, EngineChoice, Model, Stage, peak_macs};

/// Runs before the clock starts: plans are made, memory is warm.
const WARM_UP: u32 = 3;
/// A measurement of the processor's limit lasts at least so long, so that starting threads does not show in it.
const PEAK_TIME: Duration = Duration::from_millis(20);
/// The best of so many is the limit: whatever disturbs one only makes it slower.
const PEAK_ATTEMPTS: u32 = 5;

/// How long each stage of one detection took, in the order of [`Stage::ALL`].
pub(super) type StageTimes = [Duration; Stage::ALL.len()];

/// What the detectors did.
pub(super) struct Detections {
    /// One row a detection, of all detectors.
    pub(super) times: Vec<StageTimes>,
    /// Of all detectors together.
    pub(super) frames_per_second: f64,
}

/// What one detector did, and when.
struct Course {
    began: Instant,
    ended: Instant,
    times: Vec<StageTimes>,
}

/// Runs as many detectors at once on a frame, `runs` times each.
pub(super) fn detections(
    model: &Arc<Model>,
    settings: DetectorSettings,
    frame: &Frame,
    detectors: u16,
    runs: u32,
) -> anyhow::Result<Detections> {
    let start = Barrier::new(usize::from(detectors));
    let courses = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..detectors)
            .map(|_| scope.spawn(|| course(&mut *model.detector_with(settings), frame, &start, runs)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a detector panicked"))?)
            .collect::<anyhow::Result<Vec<Course>>>()
    })?;
    let seconds = span(courses.iter().map(|course| (course.began, course.ended)));
    let times: Vec<StageTimes> = courses.into_iter().flat_map(|course| course.times).collect();
    Ok(Detections { frames_per_second: times.len() as f64 / seconds, times })
}

fn course(detector: &mut dyn Detector, frame: &Frame, start: &Barrier, runs: u32) -> anyhow::Result<Course> {
    let mut found = Vec::new();
    let warm = (0..WARM_UP).try_for_each(|_| detector.detect(frame, &mut found));
    // The others wait for this one also where it has failed.
    start.wait();
    warm?;
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..runs {
        let mut row = StageTimes::default();
        let mut since = Instant::now();
        detector.detect_in_stages(frame, &mut found, &mut |stage| {
            let now = Instant::now();
            row[stage as usize] = now.duration_since(since);
            since = now;
        })?;
        times.push(row);
    }
    Ok(Course { began, ended: Instant::now(), times })
}

/// From the first beginning to the last end, in seconds; never zero.
fn span(courses: impl Iterator<Item = (Instant, Instant)> + Clone) -> f64 {
    let began = courses.clone().map(|(began, _)| began).min();
    let ended = courses.map(|(_, ended)| ended).max();
    began.zip(ended).map_or(0.0, |(began, ended)| (ended - began).as_secs_f64()).max(1e-9)
}

/// Runs the network `runs` times and gives each layer's times, sorted; `None` where the engine does not tell when a
/// layer ends. Work that belongs to no layer counts for the layer after it.
pub(super) fn layers(
    detector: &mut dyn Detector,
    frame: &Frame,
    runs: u32,
) -> anyhow::Result<Option<Vec<Vec<Duration>>>> {
    detector.detect(frame, &mut Vec::new())?;
    let count = detector.layers(frame.size)?.len();
    let mut times = vec![Vec::new(); count];
    let mut told = false;
    for run in 0..WARM_UP + runs {
        let mut row = vec![Duration::ZERO; count];
        let mut since = Instant::now();
        detector.run_layers(&mut |layer| {
            let now = Instant::now();
            row[layer] += now.duration_since(since);
            since = now;
            told = true;
        })?;
        if run >= WARM_UP {
            times.iter_mut().zip(row).for_each(|(times, time)| times.push(time));
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    Ok(told.then_some(times))
}

/// The most multiplications that so many threads reach together when they do nothing else, in billions a second;
/// `None` for an engine that has no instruction for it.
pub(super) fn peak_gmacs(engine: EngineChoice, threads: u16) -> Option<f64> {
    let mut rounds: u64 = 1 << 12;
    loop {
        let since = Instant::now();
        peak_macs(engine, rounds).filter(|macs| *macs > 0)?;
        if since.elapsed() >= PEAK_TIME {
            break;
        }
        rounds = rounds.checked_mul(2)?;
    }
    (0..PEAK_ATTEMPTS).map(|_| together(engine, threads, rounds)).max_by(f64::total_cmp)
}

fn together(engine: EngineChoice, threads: u16, rounds: u64) -> f64 {
    let start = Barrier::new(usize::from(threads));
    let courses: Vec<(Instant, Instant, u64)> = std::thread::scope(|scope| {
        let course = || {
            start.wait();
            let began = Instant::now();
            let macs = peak_macs(engine, rounds).unwrap_or(0);
            (began, Instant::now(), macs)
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(course)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let macs: u64 = courses.iter().map(|(_, _, macs)| macs).sum();
    macs as f64 / 1e9 / span(courses.iter().map(|(began, ended, _)| (*began, *ended)))
}

/// The most memory that this process has had resident so far, in bytes; `None` where the system does not say.
pub(super) fn peak_resident_bytes() -> Option<u64> {
    peak_resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The memory that this process has resident now, in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    bytes_in(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn peak_resident_in(status: &str) -> Option<u64> {
    bytes_in(status, "VmHWM:")
}

fn bytes_in(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_its_unit() {
        assert_eq!(peak_resident_in("VmPeak:\t  90 kB\nVmHWM:\t   2048 kB\n"), Some(2 << 20));
        assert_eq!(peak_resident_in("VmPeak:\t  90 kB\n"), None);
        assert!(peak_resident_bytes().unwrap() > 100_000);
    }
}
