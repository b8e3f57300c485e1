//! A live node: starts all stages, and ends them in the direction of data.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use kerbside_channel::{Sender, WhenFull, edge};
use kerbside_config::{CameraSettings, Settings};
use kerbside_core::error::with_causes;
use kerbside_core::privacy::{Bins, Privacy, Profile, worstcase};
use kerbside_ingest::{CameraHandle, CameraStatus};
use kerbside_models::{EngineChoice, Model, ModelFolder};
use kerbside_release::{CameraPlan, CameraUid, IncidentSeed, NodeIdentity, Positions, Release, Table};
use kerbside_telemetry::{CameraMetrics, NodeMetrics, PrivacyMetrics, Telemetry};
use kerbside_uplink::{Spool, SpoolSettings};
use kerbside_vision::SceneWatcher;
use tracing::{error, info, warn};

use crate::analysis::{Analysis, AnalysisSettings};
use crate::clock;
use crate::error::{RuntimeError, spawn};
use crate::guarantee;
use crate::health::CameraHealth;
use crate::lane::{Lane, MAX_FRAME_AGE, Report};
use crate::learned;
use crate::pool::{Ask, Pool, PoolSettings};
use crate::releasing::{Pulse, Releasing};
use crate::status::{Facts, StatusServer};
use crate::turns::Entrance;
use crate::uplink::{UplinkThread, Watch};
use crate::watchers::{Watcher, Watchers};

/// How long a node may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Reports that may wait for the release thread: some seconds of all cameras.
const REPORTS: usize = 256;
/// Frames of one camera that may be with the detect pool at once: see [`Lane::in_flight`].
const IN_FLIGHT: usize = 1;

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
    /// The handle goes when the camera has ended.
    cameras: Vec<(String, Option<CameraHandle>)>,
    lanes: Vec<(String, JoinHandle<()>)>,
    pool: Pool,
    releasing: JoinHandle<Result<(), RuntimeError>>,
    status: StatusServer,
    uplink: Option<UplinkThread>,
    pulse: Arc<Pulse>,
}

impl Node {
    /// Loads models, opens the spool, and only then starts cameras.
    pub fn start(settings: Settings, models: &ModelFolder, options: &NodeOptions) -> Result<Self, RuntimeError> {
        let Settings { node, mut cameras, revision } = settings;
        let started = Instant::now();
        let telemetry = Arc::new(Telemetry::new());
        let (loaded, model_of_camera) = load_models(&cameras, models, options.engine)?;

        let spool_settings = SpoolSettings {
            folder: node.spool.folder.clone(),
            max_bytes: node.spool.max_bytes,
            sync_interval: node.spool.sync_interval,
            keep: node.spool.keep,
            node: Some(node.name.clone()),
        };
        let guarantee =
            guarantee::of_node(&node.ledger_folder, &node.spool.folder, clock::now(), options.demo_bin.is_some())?;
        let (spool, recovery) = Spool::open(spool_settings, clock::now())?;
        for damage in recovery.damages() {
            warn!(%damage, "the spool was damaged; what could not be read was cut off");
        }

        let plans = cameras
            .iter()
            .zip(&model_of_camera)
            .map(|(camera, model)| plan(camera, loaded[*model].id(), options.demo_bin))
            .collect();
        if let Err(error) = learned::try_folder(&node.learned_folder) {
            let folder = node.learned_folder.display();
            warn!(%folder, %error, "what operators learn cannot be kept: they will learn anew at the next start");
        }
        let watchers = cameras.iter_mut().map(|camera| {
            let mut watcher = Watcher::take_from(camera);
            watcher.recall(&node.learned_folder);
            watcher
        });
        let watchers = Watchers::new(watchers.collect());
        let mut incident_seed = [0; 16];
        getrandom::fill(&mut incident_seed).map_err(RuntimeError::Random)?;
        let identity = NodeIdentity {
            node: node.name.clone(),
            software: options.software.clone(),
            config_revision: revision,
            incident_seed: IncidentSeed(incident_seed),
        };
        let release = Release::new(
            identity,
            plans,
            Positions {
                agg: spool.position(Table::Agg),
                health: spool.position(Table::Health),
                incident: spool.position(Table::Incident),
            },
            clock::now(),
            guarantee,
        )?;

        let (uplink, uplink_watch) = match node.uplink {
            Some(settings) => {
                let feed = spool.feed();
                let (uplink, status) = UplinkThread::start(settings, node.spool.folder.clone(), feed.clone())?;
                (Some(uplink), Some(Watch::new(status, feed, &telemetry)))
            }
            None => (None, None),
        };
        let metrics = NodeMetrics::new(&telemetry);
        // There is no such view (rule PC-17 of the privacy contract).
        metrics.debug_view_active.set(0.0);
        metrics.insecure_dev.set(if options.is_insecure { 1.0 } else { 0.0 });
        let statuses: Vec<(String, Arc<CameraStatus>)> =
            cameras.iter().map(|camera| (camera.name.clone(), Arc::new(CameraStatus::new()))).collect();
        let (report_sender, reports) = edge(&telemetry, "reports", REPORTS, WhenFull::Block);
        let pulse = Arc::new(Pulse::default());
        let releasing = Releasing {
            release,
            watchers,
            learned_folder: node.learned_folder.clone(),
            spool,
            uplink: uplink_watch,
            spool_folder: node.spool.folder.clone(),
            reports,
            cameras: statuses
                .iter()
                .map(|(name, status)| (name.clone(), CameraHealth::new(Arc::clone(status))))
                .collect(),
            metrics,
            privacy_metrics: PrivacyMetrics::new(&telemetry),
            telemetry: Arc::clone(&telemetry),
            pulse: Arc::clone(&pulse),
            started,
        };
        let facts = Facts {
            telemetry: Arc::clone(&telemetry),
            cameras: statuses.clone(),
            pulse: Arc::clone(&pulse),
            started,
        };
        let status = StatusServer::start(node.metrics_address, facts)?;
        let releasing = spawn("release".to_owned(), move || releasing.run())?;
        let of_pool =
            PoolSettings { detectors: node.detect.threads, threads_per_frame: node.detect.threads_per_frame };
        let (threads, processors) = (of_pool.detectors * of_pool.threads_per_frame, available_parallelism());
        if processors.is_ok_and(|processors| threads > processors.get()) {
            warn!(threads, "more threads detect than there are processors: they wait for each other");
        }
        let asking: Vec<(&str, usize)> = cameras.iter().map(|camera| (camera.name.as_str(), IN_FLIGHT)).collect();
        let (pool, asks) = Pool::start(&loaded, of_pool, &asking, &telemetry)?;

        let mut running = Self { cameras: Vec::new(), lanes: Vec::new(), pool, releasing, status, uplink, pulse };
        for (index, ((camera, asks), (name, status))) in cameras.into_iter().zip(asks).zip(statuses).enumerate() {
            let (handle, lane) = start_camera(
                index,
                camera,
                model_of_camera[index],
                Edges { asks, reports: report_sender.clone() },
                &node.learned_folder,
                status,
                &telemetry,
            )?;
            running.cameras.push((name.clone(), Some(handle)));
            running.lanes.push((name, lane));
        }
        info!(
            node = node.name,
            cameras = running.cameras.len(),
            metrics = %running.status.address(),
            "the node runs"
        );
        Ok(running)
    }

    /// Where `/metrics` is served.
    pub fn metrics_address(&self) -> SocketAddr {
        self.status.address()
    }

    /// Whether the release thread has ended, which it does by itself only when it has failed.
    pub fn has_failed(&self) -> bool {
        self.releasing.is_finished()
    }

    /// Says in the log, once, which cameras have ended since the last call. The others go on. Frames that wait for
    /// a lane that hangs are thrown away once they are too old: call it a few times a second.
    pub fn look_after_cameras(&mut self) {
        for (name, camera) in &mut self.cameras {
            if let Some(camera) = camera {
                camera.discard_older_than(MAX_FRAME_AGE);
            }
            if camera.as_ref().is_some_and(CameraHandle::is_finished)
                && let Some(camera) = camera.take()
            {
                match camera.join() {
                    Ok(ended) => info!(camera = name, frames = ended.frames_in, "the camera has ended"),
                    Err(error) => {
                        let error = with_causes(&error);
                        error!(camera = name, error, "the camera is given up until the node starts again");
                    }
                }
            }
        }
    }

    /// Ends every stage in the direction of data, under one deadline. A stage that panicked or hangs does
    /// not keep the others from closing their bins; the first such is the error.
    pub fn stop(self) -> Result<(), RuntimeError> {
        let deadline = Instant::now() + STOP_LIMIT;
        let stages_deadline = Instant::now() + STOP_LIMIT / 2;
        let Self { cameras, lanes, pool, releasing, status, uplink, pulse } = self;
        let mut first = Ok(());
        pulse.stop();
        for camera in cameras.iter().filter_map(|(_, camera)| camera.as_ref()) {
            camera.stop();
        }
        for (name, camera) in cameras {
            let Some(camera) = camera else { continue };
            match wait(&format!("{name}/ingest"), || camera.is_finished(), stages_deadline) {
                Ok(()) => {
                    if let Err(error) = camera.join() {
                        warn!(camera = name, error = with_causes(&error), "the camera ended with an error");
                    }
                }
                hangs => {
                    // Dropping the handle would wait for the thread; the process ends without it.
                    std::mem::forget(camera);
                    first = first.and(hangs);
                }
            }
        }
        for (name, lane) in lanes {
            first = first.and(join(&format!("{name}/lane"), lane, stages_deadline));
        }
        for worker in pool.close() {
            first = first.and(join("detect", worker, stages_deadline));
        }
        if first.is_err() {
            pulse.finish_now();
        }
        first = first.and(join("release", releasing, deadline).and_then(|released| released));
        if let Some(uplink) = uplink {
            // Every row is in the spool by now.
            first = first.and(join("uplink", uplink.stop(deadline), deadline));
        }
        first.and(join("status", status.stop(), deadline))
    }
}

/// The edges that a lane writes into.
struct Edges {
    asks: Entrance<Ask>,
    reports: Sender<Report>,
}

fn start_camera(
    index: usize,
    camera: CameraSettings,
    model: usize,
    edges: Edges,
    learned_folder: &Path,
    status: Arc<CameraStatus>,
    telemetry: &Arc<Telemetry>,
) -> Result<(CameraHandle, JoinHandle<()>), RuntimeError> {
    let name = camera.name.clone();
    let metrics = CameraMetrics::new(telemetry, &name);
    let (slot, frames) = edge(telemetry, &format!("{name}/slot"), 1, WhenFull::DropOldest);
    let source = crate::source::live(&camera);
    let mut analysis = analysis(camera);
    analysis.recall(learned_folder);
    let lane = Lane {
        camera: index,
        name: name.clone(),
        model,
        analysis,
        watcher: SceneWatcher::new(),
        frames,
        asks: edges.asks,
        reports: edges.reports,
        metrics: metrics.clone(),
        in_flight: IN_FLIGHT,
        inspect: None,
        is_live: true,
    };
    let lane = spawn(format!("{name}/lane"), move || lane.run())?;
    let handle = kerbside_ingest::start(source, slot, metrics, status)
        .map_err(|source| RuntimeError::Ingest { camera: name, source })?;
    Ok((handle, lane))
}

/// The analysis of a camera, whose operators over bins have been taken out.
pub(crate) fn analysis(camera: CameraSettings) -> Analysis {
    let in_chunks = camera.privacy.profile == Profile::StrictWorstcase;
    Analysis::new(AnalysisSettings {
        camera: camera.name,
        min_score: camera.detector.min_score,
        classes: camera.classes,
        time_zone: camera.time_zone,
        operators: camera.operators,
        chunk: in_chunks.then_some(worstcase::CHUNK),
    })
}

/// What the release stage must know of a camera. `demo_bin` is the length of every bin of a demonstration.
pub fn plan(camera: &CameraSettings, model: &str, demo_bin: Option<Duration>) -> CameraPlan {
    let privacy = camera.privacy;
    let configured = || camera.operators.iter().map(|named| &named.configured);
    CameraPlan {
        camera: camera.name.clone(),
        model: model.to_owned(),
        sites: camera.geometry.sites.iter().map(|site| site.name.clone()).collect(),
        cells: configured().flat_map(|it| it.cells.iter().copied()).collect(),
        incidents: configured().flat_map(|it| it.incidents.iter().copied()).collect(),
        watched: configured().flat_map(|it| it.watches.iter().copied()).collect(),
        alerts: configured().flat_map(|it| it.alerts.iter().copied()).collect(),
        uid: CameraUid(camera.source.uid()),
        privacy: Privacy { bins: demo_bin.map_or(privacy.bins, Bins::all), ..privacy },
    }
}

/// Every model that a camera asks for, once, and which of them each camera uses.
fn load_models(
    cameras: &[CameraSettings],
    folder: &ModelFolder,
    engine: EngineChoice,
) -> Result<(Vec<Arc<Model>>, Vec<usize>), RuntimeError> {
    let mut names: Vec<&str> = Vec::new();
    let mut loaded = Vec::new();
    let mut of_camera = Vec::new();
    for camera in cameras {
        let wanted = camera.detector.model.as_str();
        let index = match names.iter().position(|name| *name == wanted) {
            Some(index) => index,
            None => {
                let model = folder
                    .load_for(wanted, engine)
                    .map_err(|source| RuntimeError::Model { camera: camera.name.clone(), source })?;
                names.push(wanted);
                loaded.push(model);
                loaded.len() - 1
            }
        };
        of_camera.push(index);
    }
    Ok((loaded, of_camera))
}

fn join<T>(stage: &str, thread: JoinHandle<T>, deadline: Instant) -> Result<T, RuntimeError> {
    wait(stage, || thread.is_finished(), deadline)?;
    thread.join().map_err(|_| RuntimeError::Panicked { stage: stage.to_owned() })
}

fn wait(stage: &str, finished: impl Fn() -> bool, deadline: Instant) -> Result<(), RuntimeError> {
    while !finished() {
        if Instant::now() >= deadline {
            return Err(RuntimeError::Deadline { stage: stage.to_owned(), limit_secs: STOP_LIMIT.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
