//! A live node: starts all stages, looks after them, and ends them in the direction of data. Another configuration while
//! it runs is [`crate::reload`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use kerbside_channel::{Sender, WhenFull, edge};
use kerbside_config::{NodeSettings, Settings};
use kerbside_core::error::with_causes;
use kerbside_ingest::CameraHandle;
use kerbside_models::{EngineChoice, ModelFolder};
use kerbside_release::{IncidentSeed, NodeIdentity, Positions, Release, Table};
use kerbside_telemetry::{NodeMetrics, PrivacyMetrics, Telemetry, UplinkMetrics};
use kerbside_uplink::{Spool, SpoolSettings};
use tracing::{error, info, warn};

use crate::error::{RuntimeError, spawn};
use crate::fleet::{self, Models, Running, Starting, Surroundings, geometry, plan};
use crate::lane::{LaneId, MAX_FRAME_AGE, Report};
use crate::learned;
use crate::monitor::Monitor;
use crate::pool::Pool;
use crate::releasing::{Change, Desk, Releasing};
use crate::reload::ReloadMetrics;
use crate::status::StatusServer;
use crate::status::board::{Board, CameraBoard, Identity};
use crate::status::snapshot::ConfigView;
use crate::uplink::{UplinkThread, Watch};
use crate::watchers::{Watcher, Watchers};
use crate::{clock, guarantee};

/// How long a node may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Reports that may wait for the release thread: some seconds of all cameras.
const REPORTS: usize = 256;
/// For how long a stage that all cameras share may work on one thing.
const SHARED_LIMIT: Duration = Duration::from_secs(10);
/// For how long a stage of one camera may: it may have to wait for a shared one, and for a stream that does not end.
const CAMERA_LIMIT: Duration = Duration::from_secs(20);

/// What the command line adds to the configuration.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The version that `health.v1` names.
    pub software: String,
    /// Shortens every bin, for demonstrations; the rows are stamped as such.
    pub demo_bin: Option<Duration>,
    /// What runs the detectors' networks.
    pub engine: EngineChoice,
    /// Whether the system may write the node's memory to a disk, and someone has said that it does not matter.
    pub is_insecure: bool,
}

/// A running node.
pub struct Node {
    pub(crate) settings: NodeSettings,
    pub(crate) options: NodeOptions,
    pub(crate) identity: NodeIdentity,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) board: Arc<Board>,
    pub(crate) monitor: Monitor,
    pub(crate) models: Models,
    pub(crate) cameras: Vec<Running>,
    /// The cameras' names, in the order in which the release stage has them.
    pub(crate) order: Vec<String>,
    pub(crate) next_lane: u64,
    /// Whether a lane hung when its camera was to end.
    pub(crate) is_left_behind: bool,
    pub(crate) reports: Sender<Report>,
    pub(crate) changes: Sender<Change>,
    pub(crate) reloads: ReloadMetrics,
    pub(crate) pool: Pool,
    releasing: JoinHandle<Result<(), RuntimeError>>,
    status: StatusServer,
    uplink: Option<UplinkThread>,
}

impl Node {
    /// Loads models, opens the spool, and only then starts cameras.
    pub fn start(settings: Settings, folder: &ModelFolder, options: &NodeOptions) -> Result<Self, RuntimeError> {
        let Settings { node, mut cameras, revision } = settings;
        let started = Instant::now();
        let telemetry = Arc::new(Telemetry::new());
        let mut models = Models::new(node.detect.threads_per_frame, options.engine);
        let loaded = cameras.iter().map(|camera| models.of(camera, folder)).collect::<Result<Vec<_>, _>>()?;

        let is_demonstration = options.demo_bin.is_some();
        let guarantee =
            guarantee::of_node(&node.ledger_folder, &node.spool.folder, clock::now(), is_demonstration)?;
        let spool = open_spool(&node)?;
        if let Err(error) = learned::try_folder(&node.learned_folder) {
            let folder = node.learned_folder.display();
            warn!(%folder, %error, "what operators learn cannot be kept: they will learn anew at the next start");
        }
        let plans: Vec<_> =
            cameras.iter().zip(&loaded).map(|(camera, model)| plan(camera, &model.id, options.demo_bin)).collect();
        let watchers = cameras.iter_mut().map(|camera| {
            let mut watcher = Watcher::take_from(camera);
            watcher.recall(&node.learned_folder);
            watcher
        });
        let watchers = watchers.collect();
        let mut incident_seed = [0; 16];
        getrandom::fill(&mut incident_seed).map_err(RuntimeError::Random)?;
        let identity = NodeIdentity {
            node: node.name.clone(),
            software: options.software.clone(),
            config_revision: revision,
            incident_seed: IncidentSeed(incident_seed),
        };
        let positions = Positions {
            agg: spool.position(Table::Agg),
            health: spool.position(Table::Health),
            incident: spool.position(Table::Incident),
        };
        let release = Release::new(identity.clone(), plans.clone(), positions, clock::now(), guarantee)?;

        let (uplink, uplink_watch) = match node.uplink.clone() {
            Some(settings) => {
                let feed = spool.feed();
                let (uplink, status) = UplinkThread::start(settings, node.spool.folder.clone(), feed.clone())?;
                (Some(uplink), Some(Watch::new(status, feed, &telemetry)))
            }
            None => (None, None),
        };
        let metrics = NodeMetrics::new(&telemetry);
        let board = board(&node, options, started, &telemetry, &metrics, revision);
        let boards: Vec<Arc<CameraBoard>> = (0..)
            .map(LaneId)
            .zip(cameras.iter().zip(&loaded))
            .map(|(lane, (camera, model))| {
                Arc::new(CameraBoard::new(camera, lane, &model.id, geometry(camera), &telemetry))
            })
            .collect();
        board.set_cameras(boards.clone());
        let desks = boards.iter().zip(&plans);
        let desks = desks.map(|(camera, plan)| Desk::new(Arc::clone(camera), plan));
        let (report_sender, reports) = edge(&telemetry, "reports", REPORTS, WhenFull::Block);
        let (change_sender, changes) = edge(&telemetry, "changes", 1, WhenFull::Block);
        let releasing = Releasing {
            release,
            watchers: Watchers::new(watchers),
            learned_folder: node.learned_folder.clone(),
            spool,
            uplink: uplink_watch,
            spool_folder: node.spool.folder.clone(),
            reports,
            changes,
            desks: desks.collect(),
            metrics,
            privacy_metrics: PrivacyMetrics::new(&telemetry),
            telemetry: Arc::clone(&telemetry),
            pulse: Arc::clone(&board.pulse),
            board: Arc::clone(&board),
        };
        let status = StatusServer::start(node.metrics_address, node.metrics_socket.as_deref(), &board)?;
        let releasing = spawn("release".to_owned(), move || releasing.run())?;
        let detect = node.detect;
        let (threads, processors) = (detect.threads * detect.threads_per_frame, available_parallelism());
        if processors.is_ok_and(|processors| threads > processors.get()) {
            warn!(threads, "more threads detect than there are processors: they wait for each other");
        }
        let pool = Pool::start(&models.makers(), detect.threads, &telemetry)?;
        let mut running = Self {
            monitor: Monitor::new(&board, env!("CARGO_PKG_VERSION")),
            reloads: ReloadMetrics::new(&telemetry),
            settings: node,
            options: options.clone(),
            identity,
            telemetry,
            board,
            models,
            cameras: Vec::with_capacity(cameras.len()),
            order: cameras.iter().map(|camera| camera.name.clone()).collect(),
            next_lane: cameras.len() as u64,
            is_left_behind: false,
            reports: report_sender,
            changes: change_sender,
            pool,
            releasing,
            status,
            uplink,
        };
        running.watch_shared_stages();
        for ((camera, model), board) in cameras.into_iter().zip(loaded).zip(boards) {
            running.start_camera(Starting { camera, model, board })?;
        }
        info!(
            node = running.identity.node,
            cameras = running.cameras.len(),
            metrics = %running.status.address(),
            "the node runs"
        );
        Ok(running)
    }

    /// Where the status page and `/metrics` are served.
    pub fn metrics_address(&self) -> SocketAddr {
        self.status.address()
    }

    /// Whether the release thread or the uplink has ended, which they do by themselves only when they have failed.
    pub fn has_failed(&self) -> bool {
        self.releasing.is_finished() || self.uplink.as_ref().is_some_and(UplinkThread::is_finished)
    }

    /// The stages that make no progress, by name, as of the last [`Node::look_after`].
    pub fn hung(&self) -> Vec<String> {
        self.board.hung(Instant::now())
    }

    /// Looks after everything; call it a few times a second. Which cameras have ended since the last call is said in the
    /// log, once; the others go on. Frames that wait for a lane that hangs are thrown away once they are too old.
    pub fn look_after(&mut self) {
        self.board.keeper.work();
        self.look_after_cameras();
        self.monitor.look(Instant::now());
    }

    pub(crate) fn look_after_cameras(&mut self) {
        for camera in &mut self.cameras {
            let name = &camera.board.name;
            if let Some(handle) = &camera.handle {
                handle.discard_older_than(MAX_FRAME_AGE);
            }
            if camera.handle.as_ref().is_some_and(CameraHandle::is_finished)
                && let Some(handle) = camera.handle.take()
            {
                match handle.join() {
                    Ok(ended) if ended.stopped => {
                        camera.has_failed = true;
                        error!(camera = name, "the camera's analysis has ended: it is given up as after an error");
                        let words = "its analysis has ended, which is a defect of the node";
                        camera.board.tell().given_up = Some(words.to_owned());
                    }
                    Ok(ended) => {
                        info!(camera = name, frames = ended.frames_in, "the camera has ended");
                        camera.board.tell().given_up = Some("its clip is over".to_owned());
                    }
                    Err(error) => {
                        camera.has_failed = true;
                        let error = with_causes(&error);
                        error!(
                            camera = name,
                            error, "the camera is given up until its file changes or the node starts again"
                        );
                        camera.board.tell().given_up = Some(format!("it is given up: {error}"));
                    }
                }
            }
        }
    }

    /// Starts a camera, which the release stage knows already.
    pub(crate) fn start_camera(&mut self, starting: Starting) -> Result<(), RuntimeError> {
        let around = Surroundings {
            pool: &self.pool,
            reports: &self.reports,
            learned_folder: &self.settings.learned_folder,
            telemetry: &self.telemetry,
            setup: &self.board.setup,
        };
        let camera = fleet::start(starting, &around)?;
        let mut watch = |stage: &str, beat| {
            let name = format!("{}/{stage}", camera.name());
            self.monitor.watchdog.watch(&self.telemetry, name, beat, CAMERA_LIMIT);
        };
        watch("ingest", camera.board.status.beat().clone());
        watch("lane", camera.beat.clone());
        self.cameras.push(camera);
        Ok(())
    }

    fn watch_shared_stages(&mut self) {
        let Self { monitor, telemetry, .. } = self;
        let mut watch = |name: String, beat: &kerbside_telemetry::Beat| {
            monitor.watchdog.watch(telemetry, name, beat.clone(), SHARED_LIMIT);
        };
        watch("release".to_owned(), self.board.pulse.beat());
        for (number, beat) in self.pool.beats().enumerate() {
            watch(format!("detect-{number}"), beat);
        }
        watch("status".to_owned(), self.status.beat());
        if let Some(uplink) = &self.uplink {
            watch("uplink".to_owned(), uplink.beat());
        }
    }

    /// Ends every stage in the direction of data, under one deadline. A stage that panicked or hangs does
    /// not keep the others from closing their bins; the first such is the error.
    pub fn stop(self) -> Result<(), RuntimeError> {
        let deadline = Instant::now() + STOP_LIMIT;
        let stages_deadline = Instant::now() + STOP_LIMIT / 2;
        let Self { cameras, reports, changes, pool, releasing, status, uplink, board, is_left_behind, .. } = self;
        let mut first = Ok(());
        board.pulse.stop();
        for camera in cameras.iter().filter_map(|camera| camera.handle.as_ref()) {
            camera.stop();
        }
        for camera in cameras {
            first = first.and(join_camera(camera, stages_deadline, || {}));
        }
        drop((reports, changes));
        for worker in pool.close() {
            first = first.and(join("detect", worker, stages_deadline));
        }
        if first.is_err() || is_left_behind {
            // Whoever hangs holds an edge to the release stage.
            board.pulse.finish_now();
        }
        first = first.and(join("release", releasing, deadline).and_then(|released| released));
        if let Some(uplink) = uplink {
            // Every row is in the spool by now.
            first = first.and(join("uplink", uplink.stop(deadline), deadline));
        }
        first.and(join("status", status.stop(), deadline))
    }
}

/// Waits for a camera that was told to stop, its lane included; meanwhile something else may be done.
pub(crate) fn join_camera(
    camera: Running,
    deadline: Instant,
    mut meanwhile: impl FnMut(),
) -> Result<(), RuntimeError> {
    let Running { board, handle, thread, .. } = camera;
    let name = &board.name;
    let mut result = Ok(());
    if let Some(handle) = handle {
        match wait(&format!("{name}/ingest"), || handle.is_finished(), deadline, &mut meanwhile) {
            Ok(()) => {
                if let Err(error) = handle.join() {
                    warn!(camera = name, error = with_causes(&error), "the camera ended with an error");
                }
            }
            hangs => {
                // Dropping the handle would wait for the thread; the process goes on without it.
                std::mem::forget(handle);
                result = hangs;
            }
        }
    }
    let lane = format!("{name}/lane");
    let waited = wait(&lane, || thread.is_finished(), deadline, &mut meanwhile);
    result.and(waited).and_then(|()| join(&lane, thread, deadline))
}

/// The spool of a node, repaired where a crash has damaged it.
fn open_spool(node: &NodeSettings) -> Result<Spool, RuntimeError> {
    let settings = SpoolSettings {
        folder: node.spool.folder.clone(),
        max_bytes: node.spool.max_bytes,
        sync_interval: node.spool.sync_interval,
        keep: node.spool.keep,
        node: Some(node.name.clone()),
    };
    let (spool, recovery) = Spool::open(settings, clock::now())?;
    for damage in recovery.damages() {
        warn!(%damage, "the spool was damaged; what could not be read was cut off");
    }
    Ok(spool)
}

fn board(
    node: &NodeSettings,
    options: &NodeOptions,
    started: Instant,
    telemetry: &Arc<Telemetry>,
    metrics: &NodeMetrics,
    revision: u32,
) -> Arc<Board> {
    let identity = Identity {
        node: node.name.clone(),
        software: options.software.clone(),
        started,
        is_demonstration: options.demo_bin.is_some(),
        is_insecure: options.is_insecure,
    };
    let uplink = node
        .uplink
        .as_ref()
        .map(|uplink| (format!("{}:{}", uplink.gateway_host, uplink.gateway_port), UplinkMetrics::new(telemetry)));
    let config = ConfigView { revision, applied: clock::now(), refused: Vec::new() };
    let board = Board::new(identity, telemetry, metrics.clone(), uplink, config);
    board.setup.allow(node.setup);
    Arc::new(board)
}

fn join<T>(stage: &str, thread: JoinHandle<T>, deadline: Instant) -> Result<T, RuntimeError> {
    wait(stage, || thread.is_finished(), deadline, || {})?;
    thread.join().map_err(|_| RuntimeError::Panicked { stage: stage.to_owned() })
}

fn wait(
    stage: &str,
    finished: impl Fn() -> bool,
    deadline: Instant,
    mut meanwhile: impl FnMut(),
) -> Result<(), RuntimeError> {
    while !finished() {
        if Instant::now() >= deadline {
            return Err(RuntimeError::Deadline { stage: stage.to_owned(), limit_secs: STOP_LIMIT.as_secs() });
        }
        meanwhile();
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
