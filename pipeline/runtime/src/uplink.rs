//! The thread that brings rows from the spool to the gateway.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kerbside_config::UplinkSettings;
use kerbside_core::time::WallTime;
use kerbside_release::Table;
use kerbside_telemetry::{Beat, Metric, Telemetry, UplinkMetrics};
use kerbside_uplink::Feed;
use kerbside_uplink::client::{self, Uplink, UplinkStatus};
use kerbside_uplink::tls::TlsFiles;
use kerbside_uplink::wire::Refusal;
use tokio::sync::watch;

use crate::error::{RuntimeError, spawn};

/// Between two beats of a thread that waits for many things at once.
const BEAT: Duration = Duration::from_secs(1);
/// How long the last rows may take to the gateway once the node stops. What does not arrive waits in the spool.
const LAST_CALL: Duration = Duration::from_secs(3);

/// What is left of the deadline to end the connection and the thread in.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often metrics follow what the uplink does.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The running uplink.
pub struct UplinkThread {
    stop: watch::Sender<Option<tokio::time::Instant>>,
    thread: JoinHandle<()>,
    beat: Beat,
}

impl UplinkThread {
    /// Starts it; `spool` is the spool's folder. It tries for as long as it runs and fails for no trouble with the
    /// gateway or with certificates.
    ///
    /// # Errors
    /// The file of the gateway's token cannot be made in the spool's folder, or the system has no thread left.
    pub fn start(
        settings: UplinkSettings,
        spool: std::path::PathBuf,
        feed: Feed,
    ) -> Result<(Self, Arc<UplinkStatus>), RuntimeError> {
        let UplinkSettings { gateway_host: host, gateway_port: port, certificate, key, authority, revoked } =
            settings;
        let tls = TlsFiles { certificate, key, authority, revoked };
        let uplink = Uplink::new(client::UplinkSettings { host, port, tls, spool }, feed)?;
        let status = uplink.status();
        let thread_failed = |source| RuntimeError::Thread { name: "uplink".to_owned(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread_failed)?;
        let (stop, asked) = watch::channel(None);
        let beat = Beat::default();
        let thread = spawn("uplink".to_owned(), {
            let beat = beat.clone();
            move || {
                runtime.block_on(beating(&beat, uplink.run(asked)));
                // A name that is being looked up cannot be broken off, and nobody waits for it any more.
                runtime.shutdown_background();
            }
        })?;
        Ok((Self { stop, thread, beat }, status))
    }

    /// Whether its thread makes progress.
    pub(crate) fn beat(&self) -> &Beat {
        &self.beat
    }

    /// Whether it has ended, which it does by itself only if it panicked.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks it to end. What the spool holds by now is still sent, for a moment.
    pub fn stop(self, deadline: Instant) -> JoinHandle<()> {
        let latest = deadline.checked_sub(LAST_WORDS).unwrap_or(deadline);
        let until = (Instant::now() + LAST_CALL).min(latest);
        // One that has ended by itself no longer listens.
        let _ = self.stop.send(Some(tokio::time::Instant::from_std(until)));
        self.thread
    }
}

/// Runs something, and lets the beat go for as long as the thread that runs it is not held up.
pub(crate) async fn beating<T>(beat: &Beat, work: impl Future<Output = T>) -> T {
    let mut ticks = tokio::time::interval(BEAT);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                beat.rest();
                return done;
            }
            _ = ticks.tick() => beat.work(),
        }
    }
}

/// Shows what the uplink does in the node's metrics.
pub(crate) struct Watch {
    status: Arc<UplinkStatus>,
    feed: Feed,
    metrics: UplinkMetrics,
    telemetry: Arc<Telemetry>,
    looked_at: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(status: Arc<UplinkStatus>, feed: Feed, telemetry: &Arc<Telemetry>) -> Self {
        Self {
            status,
            feed,
            metrics: UplinkMetrics::new(telemetry),
            telemetry: Arc::clone(telemetry),
            looked_at: None,
        }
    }

    /// Called as often as one likes: what waits is counted over the whole spool, under the lock that storing takes too.
    pub(crate) fn look(&mut self, now: WallTime) {
        if self.looked_at.is_some_and(|looked_at| looked_at.elapsed() < LOOK_INTERVAL) {
            return;
        }
        self.looked_at = Some(Instant::now());
        let Self { status, metrics, telemetry, .. } = self;
        metrics.connected.set(if status.is_connected() { 1.0 } else { 0.0 });
        metrics.connections.follow(status.connections() as f64);
        metrics.failures.follow(status.failures() as f64);
        metrics.lost_rows.follow(status.lost_rows() as f64);
        metrics.wrong_answers.follow(status.wrong_answers() as f64);
        metrics.sent_bytes.follow(status.sent_bytes() as f64);
        metrics.received_bytes.follow(status.received_bytes() as f64);
        for table in Table::ALL {
            let stored = status.stored_rows(table) as f64;
            telemetry.counter(Metric::UplinkStoredRows, &[table.name()]).follow(stored);
        }
        for refusal in Refusal::ALL {
            let refused = status.refused_rows(refusal) as f64;
            telemetry.counter(Metric::UplinkRefusedRows, &[refusal.name()]).follow(refused);
        }
        let waiting = self.feed.waiting();
        metrics.waiting_rows.set(waiting.rows as f64);
        metrics.waiting_bytes.set(waiting.bytes as f64);
        metrics.lag_seconds.set(waiting.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
        if let Some(expires) = status.certificate_expires() {
            metrics.certificate_expires.set(expires as f64);
        }
    }
}
