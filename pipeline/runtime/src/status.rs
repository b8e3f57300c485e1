//! The local status server: `/metrics`, `/livez` and `/readyz` over HTTP.
//!
//! One thread with a single-threaded tokio runtime, bound to the configured loopback address. It only
//! reads: counters, states and the release thread's pulse.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use kerbside_core::camera::CameraState;
use kerbside_ingest::CameraStatus;
use kerbside_telemetry::{CONTENT_TYPE, Telemetry};
use tokio::sync::oneshot;

use crate::error::{RuntimeError, spawn};
use crate::releasing::Pulse;

/// A release thread that has not ticked for this long hangs.
const PULSE_LIMIT: Duration = Duration::from_secs(10);

/// What the pages are made of.
pub(crate) struct Facts {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) cameras: Vec<(String, Arc<CameraStatus>)>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) started: Instant,
}

impl Facts {
    fn alive(&self) -> bool {
        self.started.elapsed().saturating_sub(self.pulse.ticked_at()) < PULSE_LIMIT
    }

    fn ready(&self) -> bool {
        self.alive()
            && self.pulse.spool_ok()
            && self.pulse.ledger_ok()
            && self.cameras.iter().any(|(_, status)| status.state() == CameraState::Up)
    }
}

/// The running server.
pub(crate) struct StatusServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl StatusServer {
    pub(crate) fn start(address: SocketAddr, facts: Facts) -> Result<Self, RuntimeError> {
        let failed = |source| RuntimeError::Status { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let thread = spawn("status".to_owned(), move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let serving = axum::serve(listener, pages(facts));
                        tokio::select! {
                            result = serving.into_future() => {
                                if let Err(error) = result {
                                    tracing::error!(%error, "the status server ended");
                                }
                            }
                            _ = stopped => {}
                        }
                    }
                    Err(error) => tracing::error!(%error, "the status server could not start"),
                }
            });
        })?;
        Ok(Self { address: bound, stop, thread })
    }

    /// Where it listens, with the real port where the configuration says 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn stop(self) -> JoinHandle<()> {
        // A server that has ended by itself no longer listens for this.
        let _ = self.stop.send(());
        self.thread
    }
}

fn pages(facts: Facts) -> axum::Router {
    axum::Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(facts))
}

async fn metrics(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], facts.telemetry.render())
}

async fn livez(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    if facts.alive() {
        (StatusCode::OK, "alive\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the release thread hangs\n".to_owned())
    }
}

async fn readyz(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    let mut text = String::new();
    for (name, status) in &facts.cameras {
        let _ = writeln!(text, "camera {name}: {}", status.state().name());
    }
    let _ = writeln!(text, "spool: {}", if facts.pulse.spool_ok() { "ok" } else { "failing" });
    let _ = writeln!(text, "ledger: {}", if facts.pulse.ledger_ok() { "ok" } else { "refusing" });
    let code = if facts.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text)
}
