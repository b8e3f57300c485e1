//! Another configuration while the node runs: it is applied camera by camera, or refused as a whole.
//!
//! What is refused is refused before anything is touched: keys that are read only at the start, models that cannot be
//! loaded, plans that the release stage would not take. Then cameras that are gone or changed end, the release stage goes
//! on with the new list, and cameras that are new or changed start. A camera whose file, defaults and secrets are as they
//! were is not touched: its stream, its tracks and its open bins go on. Models are known by their names: new weights under
//! the same name take a start of the node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kerbside_channel::{Empty, reply};
use kerbside_config::{CameraSettings, Settings};
use kerbside_core::error::with_causes;
use kerbside_models::ModelFolder;
use kerbside_release::{CameraPlan, NodeIdentity, Release, Seat};
use kerbside_telemetry::{Counter, Gauge, Metric, Telemetry};
use kerbside_uplink::SpoolLimits;
use thiserror::Error;
use tracing::{error, info};

use crate::clock;
use crate::error::RuntimeError;
use crate::fleet::{Loaded, Running, Starting, geometry, plan};
use crate::lane::LaneId;
use crate::node::{Node, join_camera};
use crate::releasing::{Change, ChangedCamera, Desk};
use crate::status::board::CameraBoard;
use crate::watchers::Watcher;

/// How long cameras may take to end.
const END_LIMIT: Duration = Duration::from_secs(6);
/// Between two looks after the cameras that go on.
const LOOK: Duration = Duration::from_millis(100);

/// What another configuration has changed: cameras by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// New ones.
    pub added: Vec<String>,
    /// Those that began anew.
    pub changed: Vec<String>,
    /// Those that are no more.
    pub removed: Vec<String>,
    /// Whether something else of `node.yaml` has changed.
    pub is_node_changed: bool,
}

impl Reloaded {
    /// Whether nothing has changed.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Why another configuration is not taken up while the node runs.
#[derive(Debug, Error)]
pub enum ReloadRefusal {
    /// Some keys are read only when a node starts.
    #[error("node.yaml: {}: changed, but read only when the node starts; start it anew, or take the change back", keys.join(", "))]
    Fixed {
        /// Which.
        keys: Vec<&'static str>,
    },
    /// A model cannot be loaded, or the release stage refuses.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// What became of the configuration's files.
pub(crate) struct ReloadMetrics {
    applied: Counter,
    unchanged: Counter,
    refused: Counter,
    is_refused: Gauge,
    applied_at: Gauge,
}

impl ReloadMetrics {
    /// The configuration with which the node starts is applied now.
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let counter = |result| telemetry.counter(Metric::ConfigReloads, &[result]);
        let metrics = Self {
            applied: counter("applied"),
            unchanged: counter("unchanged"),
            refused: counter("refused"),
            is_refused: telemetry.gauge(Metric::ConfigRefused, &[]),
            applied_at: telemetry.gauge(Metric::ConfigApplied, &[]),
        };
        metrics.set_applied();
        metrics
    }

    fn set_applied(&self) {
        self.is_refused.set(0.0);
        self.applied_at.set(clock::now().as_unix_nanos() as f64 / 1e9);
    }
}

/// A camera of the new configuration.
struct Next {
    camera: CameraSettings,
    model: Loaded,
    plan: CameraPlan,
    seat: Seat,
}

impl Node {
    /// Takes up another configuration, which has been checked.
    ///
    /// # Errors
    /// It is refused as a whole, and the one before goes on.
    pub fn reload(&mut self, settings: Settings, folder: &ModelFolder) -> Result<Reloaded, ReloadRefusal> {
        let Settings { node, cameras, revision } = settings;
        let fixed = node.fixed_keys_changed(&self.settings);
        if !fixed.is_empty() {
            return Err(ReloadRefusal::Fixed { keys: fixed });
        }
        let next = self.next(cameras, folder)?;
        let identity = NodeIdentity { config_revision: revision, ..self.identity.clone() };
        let plans: Vec<CameraPlan> = next.iter().map(|next| next.plan.clone()).collect();
        Release::check(&identity, &plans, self.options.demo_bin.is_some()).map_err(RuntimeError::from)?;

        // From here on nothing is refused.
        let mut reloaded = Reloaded { is_node_changed: node != self.settings, ..Reloaded::default() };
        let mut kept = Vec::new();
        for Next { camera, seat, .. } in &next {
            let names = match seat {
                Seat::Kept(_) => &mut kept,
                Seat::Changed(_) => &mut reloaded.changed,
                Seat::New => &mut reloaded.added,
            };
            names.push(camera.name.clone());
        }
        let is_there = |name: &&String| next.iter().any(|next| next.camera.name == **name);
        reloaded.removed = self.order.iter().filter(|name| !is_there(name)).cloned().collect();
        if reloaded.is_nothing() && revision == self.identity.config_revision {
            self.board.config().refused.clear();
            self.reloads.unchanged.increment();
            self.reloads.is_refused.set(0.0);
            return Ok(reloaded);
        }
        self.board.setup.allow(node.setup);
        self.settings = node;
        let (stay, gone) = std::mem::take(&mut self.cameras)
            .into_iter()
            .partition(|camera| kept.iter().any(|name| name == camera.name()));
        self.cameras = stay;
        self.end_cameras(gone);
        self.order = next.iter().map(|next| next.camera.name.clone()).collect();
        let starting = self.tell_release(next, revision);
        for name in &reloaded.removed {
            self.telemetry.forget_camera(name);
            self.board.setup.lane_is_now(name, None);
        }
        for starting in starting {
            let board = Arc::clone(&starting.board);
            self.board.setup.lane_is_now(&board.name, Some(board.lane.0));
            if let Err(error) = self.start_camera(starting) {
                let error = with_causes(&error);
                error!(camera = board.name, error, "the camera cannot be started; the others go on");
                board.tell().given_up = Some(format!("it cannot be started: {error}"));
            }
        }
        self.models.forget_unused();
        self.identity = identity;
        let mut config = self.board.config();
        (config.revision, config.applied) = (revision, clock::now());
        config.refused.clear();
        drop(config);
        if reloaded.is_nothing() {
            self.reloads.unchanged.increment();
        } else {
            self.reloads.applied.increment();
        }
        self.reloads.set_applied();
        Ok(reloaded)
    }

    /// Says that the configuration's files are refused, and why; the one before goes on.
    pub fn refuse_configuration(&self, problems: Vec<String>) {
        self.reloads.refused.increment();
        self.reloads.is_refused.set(1.0);
        self.board.config().refused = problems;
    }

    /// What the new configuration is, beside what runs.
    fn next(&mut self, cameras: Vec<CameraSettings>, folder: &ModelFolder) -> Result<Vec<Next>, RuntimeError> {
        let mut next = Vec::with_capacity(cameras.len());
        for camera in cameras {
            let running = self.cameras.iter().find(|running| running.name() == camera.name);
            // One that was given up is tried again.
            let is_kept = running
                .is_some_and(|running| !running.has_failed && camera.is_as(running.revision, &running.source));
            let seat = match self.order.iter().position(|name| *name == camera.name) {
                Some(place) if is_kept => Seat::Kept(place),
                Some(place) => Seat::Changed(place),
                None => Seat::New,
            };
            // Loading a model may take a while.
            self.board.keeper.work();
            let model = self.models.of(&camera, folder)?;
            let plan = plan(&camera, &model.id, self.options.demo_bin);
            next.push(Next { camera, model, plan, seat });
        }
        Ok(next)
    }

    /// Ends cameras, each with all that it still has to say. One that hangs is left behind.
    fn end_cameras(&mut self, gone: Vec<Running>) {
        for camera in &gone {
            if let Some(handle) = &camera.handle {
                handle.stop();
            }
        }
        let deadline = Instant::now() + END_LIMIT;
        for camera in gone {
            let name = camera.name().to_owned();
            let ended = join_camera(camera, deadline, || {
                self.board.keeper.work();
                self.look_after_cameras();
            });
            match ended {
                Ok(()) => {
                    self.monitor.watchdog.forget_camera(&name);
                    info!(camera = name, "the camera has been ended by another configuration");
                }
                Err(error) => {
                    // The watchdog goes on to name it.
                    self.is_left_behind = true;
                    error!(camera = name, error = with_causes(&error), "the camera is left behind");
                }
            }
            self.telemetry.forget_camera(&name);
        }
    }

    /// Lets the release stage go on with the new cameras, and waits until it does; those that are to be started.
    fn tell_release(&mut self, next: Vec<Next>, revision: u32) -> Vec<Starting> {
        let mut starting = Vec::new();
        let mut cameras = Vec::with_capacity(next.len());
        let mut boards = Vec::with_capacity(next.len());
        for Next { mut camera, model, plan, seat } in next {
            if let Seat::Kept(_) = seat {
                let running = self.cameras.iter().find(|running| running.name() == camera.name);
                boards.extend(running.map(|running| Arc::clone(&running.board)));
                cameras.push(ChangedCamera { plan, seat, fresh: None });
                continue;
            }
            let lane = LaneId(self.next_lane);
            self.next_lane += 1;
            let board = CameraBoard::new(&camera, lane, &model.id, geometry(&camera), &self.telemetry);
            let board = Arc::new(board);
            boards.push(Arc::clone(&board));
            let desk = Desk::new(Arc::clone(&board), &plan);
            let watcher = Watcher::take_from(&mut camera);
            cameras.push(ChangedCamera { plan, seat, fresh: Some((desk, watcher)) });
            starting.push(Starting { camera, model, board });
        }
        self.board.set_cameras(boards);
        let spool = &self.settings.spool;
        let (sync_interval, keep) = (spool.sync_interval, spool.keep);
        let spool = SpoolLimits { max_bytes: spool.max_bytes, sync_interval, keep };
        let (done, waiting) = reply();
        // Where the release thread has failed, the node ends with its error.
        if self.changes.send(Change { revision, cameras, spool, done }).is_ok() {
            while let Err(Empty::Timeout) = waiting.wait_within(LOOK) {
                self.board.keeper.work();
                self.look_after_cameras();
            }
        }
        starting
    }
}
