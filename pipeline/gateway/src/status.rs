//! `/metrics`, `/livez` and `/readyz` over HTTP on loopback. It only reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kerbside_telemetry::{CONTENT_TYPE, GatewayMetrics, Telemetry};
use procfs::WithCurrentSystemInfo as _;
use procfs::process::Process;

/// What the pages are made of.
pub(crate) struct Facts {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) metrics: GatewayMetrics,
    /// Whether the last commit went well.
    pub(crate) healthy: Arc<AtomicBool>,
    /// Whether the committer works.
    pub(crate) alive: Arc<AtomicBool>,
}

pub(crate) fn pages(facts: Facts) -> axum::Router {
    axum::Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(facts))
}

async fn metrics(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    // Not every host offers it; then the values stay what they are.
    if let Ok(stat) = Process::myself().and_then(|process| process.stat()) {
        facts.metrics.resident_bytes.set(stat.rss_bytes().get() as f64);
        facts.metrics.cpu_seconds.follow((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64);
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], facts.telemetry.render())
}

async fn livez(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    if facts.alive.load(Ordering::Acquire) {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "nothing can be stored any more\n")
    }
}

async fn readyz(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    if facts.alive.load(Ordering::Acquire) && facts.healthy.load(Ordering::Acquire) {
        (StatusCode::OK, "landing: ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "landing: failing\n")
    }
}
