//! What was measured, as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use kerbside_models::LayerReport;
use serde::Serialize;

use crate::layers::{Layer, counted, shape, table};

/// What was measured; times in milliseconds for one frame.
#[derive(Serialize)]
pub(super) struct Measured<'a> {
    pub(super) model: &'a str,
    /// Everything that runs the network, such as `int8 avx2 + tract`.
    pub(super) engine: &'a str,
    pub(super) picture: String,
    pub(super) network_shape: String,
    pub(super) threads: u16,
    pub(super) detectors: u16,
    pub(super) runs: u32,
    pub(super) load_ms: f64,
    /// Input, network and head.
    pub(super) median_ms: f64,
    pub(super) min_ms: f64,
    pub(super) input_median_ms: f64,
    pub(super) network_median_ms: f64,
    pub(super) network_min_ms: f64,
    pub(super) head_median_ms: f64,
    /// Of all detectors together.
    pub(super) frames_per_second: f64,
    /// Of the network, at its median; `None` where its multiplications are not counted.
    pub(super) gmacs_per_second: Option<f64>,
    /// The most that as many threads reach out of registers; `None` where the engine has no instruction for it.
    pub(super) peak_gmacs_per_second: Option<f64>,
    /// By how much the process's resident memory grew from before the model was loaded to after the first detection.
    pub(super) detector_mb: Option<f64>,
    /// The most memory that the process had resident by the end of the detections.
    pub(super) resident_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<Vec<TimedLayer<'a>>>,
}

/// A layer and its times; `None` where the engine does not tell them.
#[derive(Serialize)]
pub(super) struct TimedLayer<'a> {
    #[serde(flatten)]
    layer: Layer<'a>,
    median_us: Option<f64>,
    min_us: Option<f64>,
    /// At the median; `None` where it multiplies nothing.
    gmacs_per_second: Option<f64>,
    share_of_peak: Option<f64>,
    #[serde(skip)]
    report: &'a LayerReport,
}

impl<'a> TimedLayer<'a> {
    /// `times` are sorted.
    pub(super) fn of(report: &'a LayerReport, times: Option<&[Duration]>, peak_gmacs: Option<f64>) -> Self {
        let at = |pick: fn(usize) -> usize| times.and_then(|times| times.get(pick(times.len()))).copied();
        let (median, min) = (at(|count| count / 2), at(|_| 0));
        let gmacs_per_second = median
            .filter(|median| report.macs > 0 && !median.is_zero())
            .map(|median| report.macs as f64 / median.as_nanos() as f64);
        Self {
            layer: Layer::of(report),
            median_us: median.map(microseconds),
            min_us: min.map(microseconds),
            gmacs_per_second,
            share_of_peak: gmacs_per_second.zip(peak_gmacs).map(|(speed, peak)| speed / peak),
            report,
        }
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

impl Measured<'_> {
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|line| line + "\n")
    }

    pub(super) fn text(&self) -> String {
        let ms = |time: f64| format!("{time:.2} ms");
        let runs = if self.runs == 1 { "1 run".to_owned() } else { format!("{} runs", self.runs) };
        let mut rows = vec![
            ("model", self.model.to_owned()),
            ("engine", self.engine.to_owned()),
            ("picture", format!("{} (height x width), network {}", self.picture, self.network_shape)),
            ("detectors", format!("{}, {runs} each", self.detectors)),
            ("one frame on", counted(usize::from(self.threads), "thread")),
            ("load to first detection", format!("{:.0} ms", self.load_ms)),
            ("one frame", format!("median {}, minimum {}", ms(self.median_ms), ms(self.min_ms))),
            ("  input", format!("median {}", ms(self.input_median_ms))),
            ("  network", format!("median {}, minimum {}", ms(self.network_median_ms), ms(self.network_min_ms))),
            ("  head", format!("median {}", ms(self.head_median_ms))),
            ("all detectors", format!("{:.1} frames a second", self.frames_per_second)),
        ];
        match (self.gmacs_per_second, self.peak_gmacs_per_second) {
            (Some(speed), Some(peak)) => rows.push((
                "multiplications",
                format!(
                    "{speed:.1} billion a second, {:.0} % of the {peak:.1} that these threads reach",
                    100.0 * speed / peak
                ),
            )),
            (Some(speed), None) => rows.push(("multiplications", format!("{speed:.1} billion a second"))),
            (None, _) => {}
        }
        if let Some((detector, resident)) = self.detector_mb.zip(self.resident_mb) {
            rows.push((
                "resident memory",
                format!("{detector:.1} MB the detector, {resident:.1} MB all at its peak"),
            ));
        }
        let mut text = String::new();
        for (name, value) in rows {
            writeln!(text, "{name:<24} {value}").expect("writing to a String cannot fail");
        }
        match self.layers.as_deref() {
            Some(layers) if layers.iter().any(|layer| layer.median_us.is_some()) => {
                text.push('\n');
                text.push_str(&layer_table(layers));
            }
            Some(_) => {
                text.push_str("layers: tract has a part in this network and does not tell when a layer ends\n")
            }
            None => {}
        }
        text
    }
}

fn layer_table(layers: &[TimedLayer<'_>]) -> String {
    let number =
        |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
    let rows = layers.iter().map(|timed| {
        let TimedLayer { median_us, min_us, gmacs_per_second, share_of_peak, report, .. } = timed;
        vec![
            report.name.clone(),
            report.kind.clone(),
            report.path.to_string(),
            shape(report),
            report.macs.to_string(),
            number(*median_us, 1),
            number(*min_us, 1),
            number(*gmacs_per_second, 1),
            number(share_of_peak.map(|share| 100.0 * share), 0),
        ]
    });
    let head = ["layer", "kind", "path", "shape", "macs", "median µs", "min µs", "GMAC/s", "% of peak"];
    table(&head, 3, rows)
}

#[cfg(test)]
mod tests {
    use kerbside_models::Path;

    use super::*;

    fn layer(macs: u64) -> LayerReport {
        LayerReport {
            name: "a".to_owned(),
            kind: "convolution".to_owned(),
            shape: vec![1],
            macs,
            path: Path::Tract,
        }
    }

    #[test]
    fn a_layers_speed_is_its_multiplications_over_its_median() {
        let times = [10, 20, 90].map(Duration::from_micros);
        let report = layer(40_000);
        let timed = TimedLayer::of(&report, Some(&times), Some(4.0));
        assert_eq!((timed.median_us, timed.min_us), (Some(20.0), Some(10.0)));
        assert_eq!((timed.gmacs_per_second, timed.share_of_peak), (Some(2.0), Some(0.5)));
        assert_eq!(TimedLayer::of(&report, Some(&times), None).share_of_peak, None);
        assert_eq!(TimedLayer::of(&layer(0), Some(&times), Some(4.0)).gmacs_per_second, None);
        assert_eq!(TimedLayer::of(&report, None, Some(4.0)).median_us, None);
    }
}
