//! What a node or a gateway tells about itself: one enum of metrics, and handles that count them.
//!
//! The only user of `prometheus`. There is no global registry: [`Telemetry`] is made once by the runtime
//! and its handles are passed in. Labels come from closed sets (camera, stage, reason, table, edge), never
//! from a track, an address or free text. Handles are cheap to clone and safe to use from any thread.

#![forbid(unsafe_code)]

mod ask;
mod beat;
mod gateway;
mod handles;
mod manual;
mod metric;
mod process;

use std::collections::BTreeMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder};

pub use ask::Door;
pub use beat::Beat;
pub use gateway::GatewayMetrics;
pub use handles::{
    CameraMetrics, Counter, DropReason, EdgeMetrics, Gauge, Histogram, NodeMetrics, PrivacyMetrics, Stage,
    UplinkMetrics,
};
pub use manual::manual;
pub use metric::{Kind, Metric};
pub use process::{ProcessMetrics, Usage};

/// The media type of [`Telemetry::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Every metric of one node or gateway.
pub struct Telemetry {
    registry: Registry,
    counters: BTreeMap<Metric, CounterVec>,
    gauges: BTreeMap<Metric, GaugeVec>,
    histograms: BTreeMap<Metric, HistogramVec>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// All metrics of a node registered, none with a value yet.
    pub fn new() -> Self {
        Self::of(Metric::is_of_node)
    }

    /// All metrics of a gateway registered, none with a value yet.
    pub fn gateway() -> Self {
        Self::of(Metric::is_of_gateway)
    }

    fn of(is_wanted: fn(Metric) -> bool) -> Self {
        let registry = Registry::new();
        let (mut counters, mut gauges, mut histograms) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let invariant = "names and labels in the enum are valid and unique, as a test checks";
        for metric in Metric::ALL.into_iter().filter(|metric| is_wanted(*metric)) {
            let opts = Opts::new(metric.name(), metric.help());
            match metric.kind() {
                Kind::Counter => {
                    let family = CounterVec::new(opts, metric.labels()).expect(invariant);
                    registry.register(Box::new(family.clone())).expect(invariant);
                    counters.insert(metric, family);
                }
                Kind::Gauge => {
                    let family = GaugeVec::new(opts, metric.labels()).expect(invariant);
                    registry.register(Box::new(family.clone())).expect(invariant);
                    gauges.insert(metric, family);
                }
                Kind::Histogram(buckets) => {
                    let opts = HistogramOpts::from(opts).buckets(buckets.to_vec());
                    let family = HistogramVec::new(opts, metric.labels()).expect(invariant);
                    registry.register(Box::new(family.clone())).expect(invariant);
                    histograms.insert(metric, family);
                }
            }
        }
        Self { registry, counters, gauges, histograms }
    }

    /// The counter of that metric with those label values.
    ///
    /// # Panics
    /// When the metric is no counter or takes other labels: a mistake in the code, not in its input.
    pub fn counter(&self, metric: Metric, labels: &[&str]) -> Counter {
        let family = self.counters.get(&metric).expect("the metric is a counter");
        Counter(family.with_label_values(labels))
    }

    /// The gauge of that metric with those label values. Panics as [`Telemetry::counter`].
    pub fn gauge(&self, metric: Metric, labels: &[&str]) -> Gauge {
        let family = self.gauges.get(&metric).expect("the metric is a gauge");
        Gauge(family.with_label_values(labels))
    }

    /// The histogram of that metric with those label values. Panics as [`Telemetry::counter`].
    pub fn histogram(&self, metric: Metric, labels: &[&str]) -> Histogram {
        let family = self.histograms.get(&metric).expect("the metric is a histogram");
        Histogram(family.with_label_values(labels))
    }

    /// Lets the series of a camera that is no more vanish: those that name it, and those of its edges and threads, whose
    /// names begin with its own. Handles that someone still holds count into nothing.
    pub fn forget_camera(&self, camera: &str) {
        let of_camera = |label: &str, value: &str| match label {
            "camera" => value == camera,
            "edge" | "thread" => value.strip_prefix(camera).is_some_and(|rest| rest.starts_with('/')),
            _ => false,
        };
        for (metric, family) in &self.counters {
            forget(*metric, family, of_camera);
        }
        for (metric, family) in &self.gauges {
            forget(*metric, family, of_camera);
        }
        for (metric, family) in &self.histograms {
            forget(*metric, family, of_camera);
        }
    }

    /// Lets the series of one metric vanish that name the camera, until somebody sets them again.
    pub fn forget_series_of(&self, metric: Metric, camera: &str) {
        let of_camera = |label: &str, value: &str| label == "camera" && value == camera;
        self.counters.get(&metric).inspect(|family| forget(metric, family, of_camera));
        self.gauges.get(&metric).inspect(|family| forget(metric, family, of_camera));
        self.histograms.get(&metric).inspect(|family| forget(metric, family, of_camera));
    }

    /// All values in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("families that were registered can be written to memory");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

/// Removes the series of a family one of whose labels says so.
fn forget<T: MetricVecBuilder>(metric: Metric, family: &MetricVec<T>, is_gone: impl Fn(&str, &str) -> bool) {
    for series in family.collect().iter().flat_map(|collected| collected.get_metric()) {
        // Collected labels are sorted by name; they are removed by the order of the metric.
        let value_of = |name: &str| {
            let pair = series.get_label().iter().find(|pair| pair.name() == name);
            pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
        };
        let values: Vec<String> = metric.labels().iter().map(|name| value_of(name)).collect();
        if metric.labels().iter().zip(&values).any(|(name, value)| is_gone(name, value)) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            // It was there a moment ago; who else removed it wanted the same.
            let _ = family.remove_label_values(&values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_metric_can_be_registered_and_follows_the_naming_rule() {
        let (node, gateway) = (Telemetry::new(), Telemetry::gateway());
        for metric in Metric::ALL {
            let telemetry = if metric.is_of_node() { &node } else { &gateway };
            let name = metric.name();
            assert!(name.starts_with("kerbside_"), "{name}");
            let counter = matches!(metric.kind(), Kind::Counter);
            assert_eq!(name.ends_with("_total"), counter, "{name}");
            assert!(metric.help().ends_with('.'), "{name}");
            let values: Vec<&str> = metric.labels().iter().map(|_| "x").collect();
            match metric.kind() {
                Kind::Counter => telemetry.counter(metric, &values).add(1),
                Kind::Gauge => telemetry.gauge(metric, &values).set(1.0),
                Kind::Histogram(_) => telemetry.histogram(metric, &values).observe(Duration::from_millis(3)),
            }
            assert!(telemetry.render().contains(&format!("# TYPE {name} ")), "{name}");
        }
    }

    #[test]
    fn a_camera_is_in_one_state_at_a_time() {
        use kerbside_core::camera::CameraState;
        let telemetry = Telemetry::new();
        let camera = CameraMetrics::new(&telemetry, "plaza");
        camera.set_state(CameraState::Connecting);
        camera.set_state(CameraState::Up);
        let text = telemetry.render();
        let ones: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("kerbside_camera_state{") && line.ends_with(" 1"))
            .collect();
        assert_eq!(ones, [r#"kerbside_camera_state{camera="plaza",state="up"} 1"#]);
    }

    #[test]
    fn a_camera_that_is_no_more_leaves_no_series() {
        let telemetry = Telemetry::new();
        for camera in ["plaza", "plaza-north"] {
            let metrics = CameraMetrics::new(&telemetry, camera);
            metrics.dropped(DropReason::RateCap).add(2);
            metrics.stage(Stage::Track).observe(Duration::from_millis(1));
            EdgeMetrics::new(&telemetry, &format!("{camera}/slot")).depth.set(1.0);
            telemetry.gauge(Metric::ThreadHung, &[&format!("{camera}/lane")]).set(1.0);
        }
        let lines = |camera: &str| {
            let text = telemetry.render();
            let named =
                |line: &&str| line.contains(&format!("\"{camera}\"")) || line.contains(&format!("\"{camera}/"));
            text.lines().filter(named).count()
        };
        let of_each = lines("plaza");
        assert!(of_each > 40 && of_each == lines("plaza-north"), "{of_each}");
        telemetry.forget_camera("plaza");
        assert_eq!((lines("plaza"), lines("plaza-north")), (0, of_each));
    }
}
