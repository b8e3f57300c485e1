//! Looks at the node from outside, once a second on the main thread: progress of stages, the machine, what cameras cost,
//! and their rates.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kerbside_telemetry::{Gauge, Metric, ProcessMetrics, Telemetry, Usage};

use crate::clock;
use crate::lane::LaneId;
use crate::machine::{Machine, Reading};
use crate::shares::{Share, Used, share_out};
use crate::status::board::{Board, CameraBoard};
use crate::watchdog::Watchdog;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Over what time rates are taken.
const RATE_SPAN: Duration = Duration::from_secs(10);
/// For how long a processor counts as throttled after it was.
const THROTTLED_FOR: Duration = Duration::from_secs(60);

/// What looks at the node.
pub(crate) struct Monitor {
    board: Arc<Board>,
    pub(crate) watchdog: Watchdog,
    machine: Machine,
    process: ProcessMetrics,
    next: Instant,
    before: Option<(Instant, Reading, Usage)>,
    /// How often processors had been throttled, and when that last grew.
    throttles: (u64, Option<Instant>),
    shares: BTreeMap<LaneId, Share>,
    rates: BTreeMap<LaneId, Rates>,
    debug_view_active: Gauge,
    clock_synchronised: Gauge,
}

impl Monitor {
    pub(crate) fn new(board: &Arc<Board>, version: &str) -> Self {
        let telemetry = &board.telemetry;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        telemetry.gauge(Metric::MachineCpus, &[]).set(cpus as f64);
        Self {
            board: Arc::clone(board),
            watchdog: Watchdog::default(),
            machine: Machine::new(),
            process: ProcessMetrics::new(telemetry, version),
            next: Instant::now(),
            before: None,
            throttles: (0, None),
            shares: BTreeMap::new(),
            rates: BTreeMap::new(),
            debug_view_active: telemetry.gauge(Metric::DebugViewActive, &[]),
            clock_synchronised: telemetry.gauge(Metric::ClockSynchronised, &[]),
        }
    }

    /// Takes a look where it is time for one.
    pub(crate) fn look(&mut self, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        let hung = self.watchdog.look(now);
        self.board.set_hung(hung);
        self.debug_view_active.set(if self.board.setup.is_on(now) { 1.0 } else { 0.0 });
        self.clock_synchronised.set(if clock::is_synchronised(clock::now()) { 1.0 } else { 0.0 });
        // Sets the metric as well.
        let _ = self.board.not_ready(now);
        let cameras = self.board.cameras();
        self.shares.retain(|lane, _| cameras.iter().any(|camera| camera.lane == *lane));
        self.rates.retain(|lane, _| cameras.iter().any(|camera| camera.lane == *lane));
        for camera in &cameras {
            self.look_at(camera, now);
        }
        self.look_at_machine(&cameras, now);
    }

    fn look_at(&mut self, camera: &CameraBoard, now: Instant) {
        let (decoded, analysed) = (camera.status.frames_decoded(), camera.metrics.frames_analysed.value() as u64);
        let rates = self.rates.entry(camera.lane).or_default();
        let (fps_in, fps_analysed) = rates.add(now, decoded, analysed).unzip();
        if let Some(age) = camera.status.last_frame_age(now) {
            self.board.telemetry.gauge(Metric::CameraLastFrameAge, &[&camera.name]).set(age.as_secs_f64());
        }
        let mut told = camera.tell();
        (told.fps_in, told.fps_analysed) = (fps_in, fps_analysed);
    }

    fn look_at_machine(&mut self, cameras: &[Arc<CameraBoard>], now: Instant) {
        let reading = self.machine.read();
        let usage = self.process.read();
        self.tell(&reading);
        let mut machine = self.board.machine();
        machine.process_memory = usage.map(|usage| usage.resident_bytes);
        if let Some(count) = reading.throttles {
            if count > self.throttles.0 && self.before.is_some() {
                self.throttles.1 = Some(now);
            }
            self.throttles.0 = count;
            let since = self.throttles.1.map(|at| now.saturating_duration_since(at));
            machine.is_throttled = Some(since.is_some_and(|since| since < THROTTLED_FOR));
        }
        let mut joules_of_busy = None;
        if let Some((then, before, _)) = &self.before {
            let busy = reading.cpu.zip(before.cpu);
            machine.cpu_busy = busy.and_then(|(after, before)| after.busy_since(&before));
            if let Some((after, before)) = reading.joules.zip(before.joules) {
                let joules = after - before;
                machine.watts = Some(joules / now.saturating_duration_since(*then).as_secs_f64().max(0.001));
                let seconds = busy.map(|(after, before)| after.busy - before.busy);
                joules_of_busy = seconds.filter(|seconds| *seconds > 0.0).map(|seconds| joules / seconds);
            }
        }
        machine.reading = reading.clone();
        drop(machine);
        let of_cameras = cameras.iter().map(|camera| {
            let share = self.shares.entry(camera.lane).or_default();
            let inference = Duration::from_nanos(camera.inference_nanos.load(Ordering::Relaxed));
            share.used(&camera.status.threads(), inference.as_secs_f64())
        });
        let mut used: Vec<Used> = of_cameras.collect();
        if let Some((usage, (_, _, before))) = usage.zip(self.before.as_ref()) {
            share_out(&mut used, usage.cpu_secs - before.cpu_secs);
            for (camera, used) in cameras.iter().zip(used) {
                if let Some(share) = self.shares.get_mut(&camera.lane) {
                    share.add(used, joules_of_busy);
                    tell_cost(&self.board.telemetry, camera, share, joules_of_busy.is_some());
                }
            }
        }
        self.before = usage.map(|usage| (now, reading, usage));
    }

    fn tell(&self, reading: &Reading) {
        let telemetry: &Telemetry = &self.board.telemetry;
        for (mode, seconds) in reading.cpu.iter().flat_map(|cpu| cpu.modes()) {
            telemetry.counter(Metric::MachineCpuSeconds, &[mode]).follow(seconds);
        }
        if let Some(memory) = reading.memory {
            telemetry.gauge(Metric::MachineMemoryBytes, &["total"]).set(memory.total as f64);
            telemetry.gauge(Metric::MachineMemoryBytes, &["available"]).set(memory.available as f64);
        }
        if let Some(celsius) = reading.temperature_celsius {
            telemetry.gauge(Metric::MachineTemperature, &[]).set(celsius.into());
        }
        if let Some(throttles) = reading.throttles {
            telemetry.counter(Metric::MachineThrottles, &[]).follow(throttles as f64);
        }
        if let Some(is_undervolted) = reading.is_undervolted {
            telemetry.gauge(Metric::MachineUndervoltage, &[]).set(if is_undervolted { 1.0 } else { 0.0 });
        }
        if let Some(joules) = reading.joules {
            telemetry.counter(Metric::EnergyJoules, &[]).follow(joules);
        }
    }
}

fn tell_cost(telemetry: &Telemetry, camera: &CameraBoard, share: &Share, has_joules: bool) {
    camera.metrics.cpu_seconds.follow(share.seconds().all);
    camera.metrics.inference_cpu_seconds.follow(share.seconds().inference);
    if has_joules {
        let follow = |metric, joules| telemetry.counter(metric, &[&camera.name]).follow(joules);
        follow(Metric::CameraEnergyJoules, share.joules().all);
        follow(Metric::InferenceEnergyJoules, share.joules().inference);
    }
}

/// Totals of the last seconds.
#[derive(Default)]
struct Rates(VecDeque<(Instant, u64, u64)>);

impl Rates {
    /// Adds the totals at a moment; what came a second since [`RATE_SPAN`] before, of both.
    fn add(&mut self, now: Instant, first: u64, second: u64) -> Option<(f64, f64)> {
        self.0.push_back((now, first, second));
        while self.0.len() > 2 && self.0.get(1).is_some_and(|(at, ..)| now.duration_since(*at) >= RATE_SPAN) {
            self.0.pop_front();
        }
        let (then, first_then, second_then) = *self.0.front()?;
        let seconds = now.duration_since(then).as_secs_f64();
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        (seconds > 0.0).then(|| (rate(first, first_then), rate(second, second_then)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_ten_seconds() {
        let mut rates = Rates::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(rates.add(at(0), 0, 0), None);
        assert_eq!(rates.add(at(2), 20, 10), Some((10.0, 5.0)));
        for second in 3..30 {
            rates.add(at(second), 20 + second, 10);
        }
        assert_eq!(rates.add(at(30), 50, 10), Some((1.0, 0.0)));
        assert!(rates.0.len() <= 12);
    }
}
