//! `/metrics`, `/livez` and `/readyz` over HTTP on loopback. It only reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kerbside_telemetry::{CONTENT_TYPE, ProcessMetrics, Telemetry};

/// What the pages are made of.
pub(crate) struct Facts {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) process: ProcessMetrics,
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
    let _ = facts.process.read();
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
