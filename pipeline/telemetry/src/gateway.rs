//! The handles of a gateway.

use std::sync::Arc;

use crate::{Counter, Gauge, Histogram, Metric, Telemetry};

/// What is measured about a gateway. Labels are tables, reasons of closed lists, and the names of nodes that have a
/// certificate.
#[derive(Clone)]
pub struct GatewayMetrics {
    telemetry: Arc<Telemetry>,
    /// [`Metric::GatewayDecoderPanics`].
    pub decoder_panics: Counter,
    /// [`Metric::GatewayConnections`].
    pub connections: Gauge,
    /// [`Metric::GatewayNodesConnected`].
    pub nodes_connected: Gauge,
    /// [`Metric::GatewayCommitSeconds`].
    pub commit_seconds: Histogram,
    /// [`Metric::GatewayCommitErrors`].
    pub commit_errors: Counter,
    /// [`Metric::GatewayCertificateExpires`].
    pub certificate_expires: Gauge,
    /// [`Metric::GatewayReloadErrors`].
    pub reload_errors: Counter,
}

impl GatewayMetrics {
    /// The handles of a gateway. `telemetry` is one of [`Telemetry::gateway`].
    pub fn new(telemetry: &Arc<Telemetry>) -> Self {
        let counter = |metric| telemetry.counter(metric, &[]);
        let gauge = |metric| telemetry.gauge(metric, &[]);
        Self {
            telemetry: Arc::clone(telemetry),
            decoder_panics: counter(Metric::GatewayDecoderPanics),
            connections: gauge(Metric::GatewayConnections),
            nodes_connected: gauge(Metric::GatewayNodesConnected),
            commit_seconds: telemetry.histogram(Metric::GatewayCommitSeconds, &[]),
            commit_errors: counter(Metric::GatewayCommitErrors),
            certificate_expires: gauge(Metric::GatewayCertificateExpires),
            reload_errors: counter(Metric::GatewayReloadErrors),
        }
    }

    /// [`Metric::GatewayRowsStored`] of that table.
    pub fn rows_stored(&self, table: &str) -> Counter {
        self.telemetry.counter(Metric::GatewayRowsStored, &[table])
    }

    /// [`Metric::GatewayRowsDuplicate`] of that table.
    pub fn rows_duplicate(&self, table: &str) -> Counter {
        self.telemetry.counter(Metric::GatewayRowsDuplicate, &[table])
    }

    /// [`Metric::GatewayGapRows`] of that table, for that reason.
    pub fn gap_rows(&self, table: &str, reason: &str) -> Counter {
        self.telemetry.counter(Metric::GatewayGapRows, &[table, reason])
    }

    /// [`Metric::GatewayRefused`] for that reason.
    pub fn refused(&self, reason: &str) -> Counter {
        self.telemetry.counter(Metric::GatewayRefused, &[reason])
    }

    /// [`Metric::GatewayHandshakesRefused`] for that reason.
    pub fn handshakes_refused(&self, reason: &str) -> Counter {
        self.telemetry.counter(Metric::GatewayHandshakesRefused, &[reason])
    }

    /// [`Metric::GatewayNodeStored`] of that node.
    pub fn node_stored(&self, node: &str) -> Gauge {
        self.telemetry.gauge(Metric::GatewayNodeStored, &[node])
    }

    /// [`Metric::GatewayFilesWritten`] and [`Metric::GatewayBytesWritten`] of that table.
    pub fn written(&self, table: &str) -> (Counter, Counter) {
        let counter = |metric| self.telemetry.counter(metric, &[table]);
        (counter(Metric::GatewayFilesWritten), counter(Metric::GatewayBytesWritten))
    }

    /// [`Metric::GatewayLandingFiles`] and [`Metric::GatewayLandingBytes`] of that table.
    pub fn landing(&self, table: &str) -> (Gauge, Gauge) {
        let gauge = |metric| self.telemetry.gauge(metric, &[table]);
        (gauge(Metric::GatewayLandingFiles), gauge(Metric::GatewayLandingBytes))
    }

    /// [`Metric::GatewayCompactions`] of that table.
    pub fn compactions(&self, table: &str) -> Counter {
        self.telemetry.counter(Metric::GatewayCompactions, &[table])
    }

    /// [`Metric::GatewayFilesExpired`] of that table.
    pub fn files_expired(&self, table: &str) -> Counter {
        self.telemetry.counter(Metric::GatewayFilesExpired, &[table])
    }
}
