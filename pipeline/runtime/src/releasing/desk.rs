//! What the release thread keeps for one camera beside its counters, and tells of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Finding};
use kerbside_core::incident::IncidentKind;
use kerbside_release::{CameraPlan, HealthSample, ShownBin, unit_of};
use kerbside_telemetry::{Metric, PrivacyMetrics, Telemetry};

use crate::health::{CameraHealth, Host};
use crate::status::board::CameraBoard;
use crate::status::snapshot::BinView;

/// What is shorter is no minute.
const LEAST_SPAN: Duration = Duration::from_secs(55);

/// One camera.
pub(crate) struct Desk {
    pub(crate) camera: Arc<CameraBoard>,
    pub(crate) health: CameraHealth,
    /// The whole budget of one bin, in thousandths of ε.
    budget_milli: u32,
    /// Whether a guard looks after the picture.
    is_guarded: bool,
}

impl Desk {
    pub(crate) fn new(camera: Arc<CameraBoard>, plan: &CameraPlan) -> Self {
        Self {
            health: CameraHealth::new(Arc::clone(&camera.status)),
            camera,
            budget_milli: plan.privacy.epsilon.passage,
            is_guarded: plan.incidents.iter().any(|(kind, _)| *kind == IncidentKind::TamperCovered),
        }
    }

    /// Begins to tell of the camera. What another desk has told of it before is no longer true.
    pub(super) fn take_over(&self, telemetry: &Telemetry) {
        for metric in
            [Metric::CameraCoverage, Metric::CameraTampered, Metric::PrivacyBudget, Metric::PrivacyBudgetRemaining]
        {
            telemetry.forget_series_of(metric, &self.camera.name);
        }
        self.tell_tampered(telemetry);
    }

    /// Hears what was found.
    pub(super) fn hear(&mut self, findings: &[Finding], telemetry: &Telemetry) {
        if self.health.hear(findings) {
            self.tell_tampered(telemetry);
        }
    }

    fn tell_tampered(&self, telemetry: &Telemetry) {
        if !self.is_guarded {
            return;
        }
        for (kind, is_so) in self.health.tampered() {
            telemetry.gauge(Metric::CameraTampered, &[&self.camera.name, kind]).set(if is_so { 1.0 } else { 0.0 });
        }
        self.camera.tell().tampered =
            self.health.tampered().filter(|(_, is_so)| *is_so).map(|(kind, _)| kind).collect();
    }

    /// What is left of the budget of the bins that are open, where numbers have noise.
    pub(super) fn tell_budget(&self, left_milli: Option<u32>, metrics: &PrivacyMetrics) {
        self.camera.tell().budget_milli = left_milli.map(|left| (left, self.budget_milli));
        if let Some(left) = left_milli {
            metrics.budget_remaining(&self.camera.name).set(f64::from(left) / 1000.0);
            metrics.budget(&self.camera.name).set(f64::from(self.budget_milli) / 1000.0);
        }
    }

    /// The health row for the `span` that ends now.
    pub(super) fn sample(
        &mut self,
        span: Duration,
        now: Instant,
        host: &Host,
        telemetry: &Telemetry,
    ) -> HealthSample {
        // The first minute, and one in which the configuration was changed, are cut: they say little.
        if span >= LEAST_SPAN {
            let minute = self.health.minute(span);
            telemetry.gauge(Metric::CameraCoverage, &[&self.camera.name]).set(minute.coverage.into());
            let mut told = self.camera.tell();
            (told.coverage, told.latency) = (Some(minute.coverage), minute.latency);
        }
        self.health.sample(span, now, host)
    }

    /// Tells the status page what has been released last.
    pub(super) fn show<'a>(&self, bins: impl Iterator<Item = &'a ShownBin>) {
        let bins = bins.map(|bin| self.view(bin)).collect();
        let mut told = self.camera.tell();
        (told.bins, told.is_trusted) = (bins, Some(self.health.is_trusted()));
    }

    fn view(&self, bin: &ShownBin) -> BinView {
        let Cell { site, toward, measure, class, direction, bucket } = bin.cell;
        let name = |site: kerbside_core::geometry::SiteId| {
            self.camera.sites.get(usize::from(site.0)).map_or("*", String::as_str)
        };
        BinView {
            site: match toward {
                Some(toward) => format!("{}>{}", name(site), name(toward)),
                None => name(site).to_owned(),
            },
            measure: measure.name(),
            class: class.map_or("all", Class::name),
            direction: direction.name(),
            bucket,
            unit: unit_of(measure),
            value: bin.value,
            noise_b: bin.noise_b.into(),
            from: bin.from,
            to: bin.to,
            coverage: bin.coverage,
        }
    }
}
