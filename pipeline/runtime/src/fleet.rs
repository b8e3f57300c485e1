//! The cameras of a node: how one is started, what runs it, and what the release stage must know of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kerbside_channel::{Sender, WhenFull, edge};
use kerbside_config::{CameraSettings, Source};
use kerbside_core::geometry::{PointInImage, Shape};
use kerbside_core::privacy::{Bins, Privacy, Profile, worstcase};
use kerbside_ingest::CameraHandle;
use kerbside_models::{EngineChoice, ModelFolder};
use kerbside_release::{CameraPlan, CameraUid};
use kerbside_telemetry::{Beat, Telemetry};
use kerbside_vision::SceneWatcher;
use serde_json::json;

use crate::analysis::{Analysis, AnalysisSettings};
use crate::error::{RuntimeError, spawn};
use crate::lane::{Lane, Report};
use crate::pool::{Maker, Pool};
use crate::setup::SetupMode;
use crate::status::board::CameraBoard;

/// Frames of one camera that may be with the detect pool at once: see [`Lane::in_flight`].
const IN_FLIGHT: usize = 1;

/// A camera that runs.
pub(crate) struct Running {
    pub(crate) board: Arc<CameraBoard>,
    /// By what it runs: see [`CameraSettings::is_as`].
    pub(crate) revision: u32,
    pub(crate) source: Source,
    /// Goes when the camera has ended.
    pub(crate) handle: Option<CameraHandle>,
    /// Whether it has ended with an error.
    pub(crate) has_failed: bool,
    pub(crate) thread: JoinHandle<()>,
    pub(crate) beat: Beat,
}

impl Running {
    pub(crate) fn name(&self) -> &str {
        &self.board.name
    }
}

/// What a camera writes into and belongs to.
pub(crate) struct Surroundings<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) reports: &'a Sender<Report>,
    pub(crate) learned_folder: &'a Path,
    pub(crate) telemetry: &'a Telemetry,
    pub(crate) setup: &'a Arc<SetupMode>,
}

/// A model with what makes its detectors.
#[derive(Clone)]
pub(crate) struct Loaded {
    /// The id of its manifest.
    pub(crate) id: String,
    pub(crate) maker: Arc<Maker>,
}

/// The models that cameras ask for, each loaded once.
pub(crate) struct Models {
    threads_per_frame: usize,
    engine: EngineChoice,
    by_name: BTreeMap<String, Loaded>,
}

impl Models {
    pub(crate) fn new(threads_per_frame: usize, engine: EngineChoice) -> Self {
        Self { threads_per_frame, engine, by_name: BTreeMap::new() }
    }

    /// The model that a camera asks for.
    pub(crate) fn of(&mut self, camera: &CameraSettings, folder: &ModelFolder) -> Result<Loaded, RuntimeError> {
        let name = &camera.detector.model;
        if let Some(loaded) = self.by_name.get(name) {
            return Ok(loaded.clone());
        }
        let model = folder
            .load_for(name, self.engine)
            .map_err(|source| RuntimeError::Model { camera: camera.name.clone(), source })?;
        let id = model.id().to_owned();
        let loaded = Loaded { id, maker: Arc::new(Maker::new(model, self.threads_per_frame)) };
        self.by_name.insert(name.clone(), loaded.clone());
        Ok(loaded)
    }

    /// Those that are loaded.
    pub(crate) fn makers(&self) -> Vec<Arc<Maker>> {
        self.by_name.values().map(|loaded| Arc::clone(&loaded.maker)).collect()
    }

    /// Forgets those that no camera uses any more.
    pub(crate) fn forget_unused(&mut self) {
        self.by_name.retain(|_, loaded| Arc::strong_count(&loaded.maker) > 1);
    }
}

/// A camera that is about to start.
pub(crate) struct Starting {
    pub(crate) camera: CameraSettings,
    pub(crate) model: Loaded,
    pub(crate) board: Arc<CameraBoard>,
}

/// Starts a camera's lane and its pictures.
pub(crate) fn start(starting: Starting, around: &Surroundings<'_>) -> Result<Running, RuntimeError> {
    let Starting { camera, model, board } = starting;
    let Surroundings { pool, reports, learned_folder, telemetry, setup } = *around;
    let name = camera.name.clone();
    let (slot, frames) = edge(telemetry, &format!("{name}/slot"), 1, WhenFull::DropOldest);
    let (source, revision) = (camera.source.clone(), camera.revision);
    let stream = crate::source::live(&camera);
    let mut analysis = analysis(camera);
    analysis.recall(learned_folder);
    let beat = Beat::default();
    let lane = Lane {
        id: board.lane,
        name: name.clone(),
        maker: Arc::clone(&model.maker),
        analysis,
        watcher: SceneWatcher::new(),
        frames,
        asks: pool.entrance(telemetry, &name, IN_FLIGHT),
        reports: reports.clone(),
        metrics: board.metrics.clone(),
        in_flight: IN_FLIGHT,
        inspect: None,
        is_live: true,
        beat: beat.clone(),
        setup: Some(Arc::clone(setup)),
        inference_nanos: Arc::clone(&board.inference_nanos),
    };
    let status = Arc::clone(&board.status);
    let thread = spawn(format!("{name}/lane"), move || {
        status.enter_thread();
        lane.run();
        status.leave_thread();
    })?;
    let handle = kerbside_ingest::start(stream, slot, board.metrics.clone(), Arc::clone(&board.status))
        .map_err(|source| RuntimeError::Ingest { camera: name, source })?;
    Ok(Running { board, revision, source, handle: Some(handle), has_failed: false, thread, beat })
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

/// A camera's lines, zones and ground as the page for drawing takes them: JSON with the keys of its file.
pub(crate) fn geometry(camera: &CameraSettings) -> String {
    let point = |point: &PointInImage| json!([point.x, point.y]);
    let (mut lines, mut zones) = (serde_json::Map::new(), serde_json::Map::new());
    for site in &camera.geometry.sites {
        match &site.shape {
            Shape::Line(line) => {
                lines.insert(site.name.clone(), json!({"from": point(&line.from), "to": point(&line.to)}))
            }
            Shape::Zone(zone) => {
                let corners: Vec<_> = zone.corners.iter().map(point).collect();
                zones.insert(site.name.clone(), json!({"polygon": corners}))
            }
        };
    }
    let ground = (!camera.ground_points.is_empty()).then(|| {
        let image: Vec<_> = camera.ground_points.iter().map(|(image, _)| point(image)).collect();
        let metres: Vec<_> = camera.ground_points.iter().map(|(_, metres)| json!([metres.x, metres.y])).collect();
        json!({"image": image, "metres": metres})
    });
    json!({"lines": lines, "zones": zones, "ground": ground}).to_string()
}
