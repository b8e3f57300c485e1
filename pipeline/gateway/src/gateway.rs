//! The parts of a gateway put together, started and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kerbside_telemetry::{GatewayMetrics, ProcessMetrics, Telemetry};
use kerbside_uplink::tls::{Reloading, server_config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::commit::{Committer, settle_all};
use crate::compact::{self, Compactor, Rules};
use crate::error::GatewayError;
use crate::get::Pins;
use crate::landing::{self, Store};
use crate::parts::Parts;
use crate::quota::Quotas;
use crate::serve::{self, Endings};
use crate::service::{Service, Shared};
use crate::session::Leases;
use crate::settings::Settings;
use crate::sparing::Sparing;
use crate::state::State;
use crate::status;

/// How long streams may take to end by themselves when the gateway stops.
const GRACE: Duration = Duration::from_secs(10);

/// A gateway that runs.
pub struct Gateway {
    address: SocketAddr,
    metrics_address: SocketAddr,
    telemetry: Arc<Telemetry>,
    stop: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    server: JoinHandle<()>,
    committer: JoinHandle<Result<(), GatewayError>>,
    compactor: Compactor,
    parts: Parts,
    helpers: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Starts it over the landing that the settings name. Needs a tokio runtime.
    ///
    /// # Errors
    /// Something has to be changed first, or what an earlier process began cannot be settled.
    pub async fn start(settings: &Settings) -> Result<Self, GatewayError> {
        let store = landing::open(&settings.landing)?;
        Self::start_over(settings, store).await
    }

    /// The same over another landing than the settings name.
    ///
    /// # Errors
    /// As for [`Gateway::start`].
    pub async fn start_over(settings: &Settings, store: Store) -> Result<Self, GatewayError> {
        let files = Reloading::new(settings.tls.clone(), server_config)
            .map_err(|error| GatewayError::Tls(error.to_string()))?;
        let state = Arc::new(State::open(&settings.state)?);
        settle_all(&state, &store).await?;
        let listener = listen("nodes and readers", settings.listen).await?;
        let status_listener = listen("metrics", settings.metrics_address).await?;
        let (address, metrics_address) =
            (local(&listener, settings.listen)?, local(&status_listener, settings.metrics_address)?);

        let telemetry = Arc::new(Telemetry::gateway());
        let metrics = GatewayMetrics::new(&telemetry);
        let (healthy, alive) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let (stop, stopping) = watch::channel(false);
        let (cut, cutting) = watch::channel(false);
        let parts = Parts::new();
        let (committer, entrance) = Committer::new(
            Arc::clone(&state),
            Arc::clone(&store),
            metrics.clone(),
            settings.commit_interval,
            Arc::clone(&healthy),
        );
        let committer = parts.start("the committer", {
            let alive = Arc::clone(&alive);
            async move {
                let result = committer.run().await;
                alive.store(false, Ordering::Release);
                result
            }
        });
        let (config_sender, config) = watch::channel(Arc::clone(files.current()));
        let reloading =
            parts.start("the watch over certificates", serve::reload(files, config_sender, metrics.clone()));
        let leases = Arc::new(Leases::new(Arc::clone(&state), settings.nodes.clone(), metrics.clone()));
        let pins = Arc::new(Pins::default());
        let compactor = Compactor {
            state: Arc::clone(&state),
            store: Arc::clone(&store),
            pins: Arc::clone(&pins),
            metrics: metrics.clone(),
            rules: Rules { after: settings.compact_after, retention: settings.retention.clone() },
            turn: Arc::default(),
        };
        let compacting = parts.start("the merging of files", compact::run(compactor.clone()));
        let shared = Shared {
            state,
            store,
            leases: Arc::clone(&leases),
            quotas: Quotas::new(settings.limits),
            entrance,
            pins,
            metrics: metrics.clone(),
            refusals: Sparing::default(),
            accept_demo: settings.accept_demo,
            tls: settings.tls.clone(),
            stop: stopping.clone(),
        };
        let endings = Endings { stop: stopping, cut: cutting };
        let service = Service(Arc::new(shared));
        let serving = serve::serve(listener, config, service, leases, metrics, endings);
        let server = parts.start("the server", async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the server ended");
            }
        });
        let process = ProcessMetrics::new(&telemetry, env!("CARGO_PKG_VERSION"));
        let facts = status::Facts { telemetry: Arc::clone(&telemetry), process, healthy, alive };
        let status = parts.start("the status server", async move {
            if let Err(error) = axum::serve(status_listener, status::pages(facts)).await {
                tracing::error!(%error, "the status server ended");
            }
        });
        Ok(Self {
            address,
            metrics_address,
            telemetry,
            stop,
            cut,
            server,
            committer,
            compactor,
            parts,
            helpers: vec![reloading, status, compacting],
        })
    }

    /// Where nodes and readers connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// Everything that is measured, as `/metrics` shows it.
    pub fn render_metrics(&self) -> String {
        self.telemetry.render()
    }

    /// Merges small files and deletes old days now, as the gateway does by itself every now and then. `now` is in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// The state or the landing cannot be read or written.
    pub async fn compact(&self, now: i64) -> Result<(), GatewayError> {
        self.compactor.round(now).await
    }

    /// Keeps the files of a table and day as they are from being deleted for as long as the answer lives.
    pub fn pin(&self, table: &str, day: &str) -> impl Send + use<> {
        self.compactor.pins.pin(&self.compactor.state, table, day)
    }

    /// Waits until the gateway cannot go on, which it does for ever if all is well.
    pub async fn failed(&self) {
        self.parts.ended().await;
    }

    /// Stops: no new connections, streams end with what they have sent stored and acknowledged.
    ///
    /// # Errors
    /// What the gateway failed from, if it did.
    pub async fn stop(mut self) -> Result<(), GatewayError> {
        // Now they may end.
        let failed = self.parts.first_ended();
        self.stop.send_replace(true);
        if !self.server.is_finished() && tokio::time::timeout(GRACE, &mut self.server).await.is_err() {
            self.cut.send_replace(true);
            if tokio::time::timeout(GRACE, &mut self.server).await.is_err() {
                self.server.abort();
            }
        }
        for helper in self.helpers {
            helper.abort();
            // It was broken off: that is the answer.
            let _ = helper.await;
        }
        drop(self.compactor);
        self.committer.await.map_err(|_| GatewayError::Ended("the committer"))??;
        failed.map_or(Ok(()), |part| Err(GatewayError::Ended(part)))
    }
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, GatewayError> {
    TcpListener::bind(address).await.map_err(|source| GatewayError::Listen { what, address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, GatewayError> {
    listener.local_addr().map_err(GatewayError::io(format!("the address of {address}")))
}
