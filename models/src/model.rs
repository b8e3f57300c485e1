//! One loaded model: its weights, and a plan for each picture shape, shared by all detectors that run it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kerbside_core::frame::PictureSize;
use kerbside_vision::placement::Placement;

use crate::detector::{Detector, DetectorSettings, ModelDetector};
use crate::engine::{EngineChoice, Network, Plan};
use crate::error::{InferenceError, ModelError};
use crate::head::Head;
use crate::manifest::Manifest;
use crate::report::Summary;

/// How many shapes a model keeps plans for. A plan of tract's holds weights of its own, so this bounds memory; the
/// cameras of one node have two or three shapes.
const MAX_PLANS: usize = 4;

/// A loaded model.
pub struct Model {
    manifest: Manifest,
    id: String,
    network: Network,
    head: Head,
    plans: Mutex<Plans>,
}

/// Plans by the height and width of their input.
#[derive(Default)]
struct Plans {
    by_shape: BTreeMap<(u32, u32), (Arc<Plan>, u64)>,
    /// Counts requests, to know which plan was asked for the longest time ago.
    clock: u64,
}

impl Model {
    /// Parses a file whose bytes have been verified, and checks that its outputs are those of the manifest.
    pub(crate) fn new(manifest: Manifest, onnx: Vec<u8>, engine: EngineChoice) -> Result<Arc<Self>, ModelError> {
        let outputs = Head::outputs(&manifest.head);
        let network = Network::parse(&manifest.name, onnx, &manifest.input.name, &outputs, engine)?;
        let head = Head::new(&manifest);
        let model = Self { id: manifest.id(), manifest, network, head, plans: Mutex::default() };
        // A shape with sides of different length shows a network that takes height for width.
        let picture = PictureSize { width: 1920, height: 1080 };
        let input = model.placement(picture, model.manifest.input.default_long_side).input;
        let shapes = model.network.output_shapes(input)?;
        model.check(input, &shapes)?;
        Ok(Arc::new(model))
    }

    /// The model's name and version, such as `nanodet-g@1`: the `model` column of the tables.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the model's manifest says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A detector for one worker. Weights and plans are shared with all others of this model.
    pub fn detector(self: &Arc<Self>) -> Box<dyn Detector> {
        self.detector_with(DetectorSettings::default())
    }

    /// The same with other settings than the usual.
    pub fn detector_with(self: &Arc<Self>, settings: DetectorSettings) -> Box<dyn Detector> {
        Box::new(ModelDetector::new(self.clone(), settings))
    }

    /// Height and width of the input for pictures of this size, at the manifest's `default_long_side`.
    pub fn input_shape(&self, size: PictureSize) -> (usize, usize) {
        let input = self.placement(size, self.manifest.input.default_long_side).input;
        (input.height as usize, input.width as usize)
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Where a picture of this size lies in the network's input.
    pub(crate) fn placement(&self, picture: PictureSize, long_side: u32) -> Placement {
        match self.network.fixed_input() {
            Some(input) => Placement::within(picture, input),
            None => Placement::own_shape(picture, long_side, self.manifest.input.multiple_of),
        }
    }

    /// The plan for this input, made if there is none. Others who ask meanwhile wait: making it once is
    /// quicker than making it twice. The lock is not held while anything runs.
    pub(crate) fn plan(&self, input: PictureSize) -> Result<Arc<Plan>, InferenceError> {
        // A panic while a plan was made left the map as it was.
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.clock += 1;
        let now = plans.clock;
        let key = (input.height, input.width);
        if let Some((plan, used)) = plans.by_shape.get_mut(&key) {
            *used = now;
            return Ok(plan.clone());
        }
        let made = self.network.plan(input).and_then(|plan| {
            self.check(input, plan.output_shapes())?;
            Ok(Arc::new(plan))
        });
        let PictureSize { width, height } = input;
        let plan = made.map_err(|source| InferenceError::Shape { width, height, source })?;
        let summary = Summary::of(plan.layers());
        tracing::info!(model = self.id, width, height, engine = %summary, "network made for a new input shape");
        if plans.by_shape.len() >= MAX_PLANS {
            let oldest = plans.by_shape.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.and_then(|key| plans.by_shape.remove(&key));
        }
        plans.by_shape.insert(key, (plan.clone(), now));
        Ok(plan)
    }

    fn check(&self, input: PictureSize, shapes: &[Vec<usize>]) -> Result<(), ModelError> {
        let names: Vec<String> = Head::outputs(&self.manifest.head).into_iter().map(str::to_owned).collect();
        self.head
            .check(input, &names, shapes)
            .map_err(|what| ModelError::Mismatch { model: self.manifest.name.clone(), what })
    }
}

impl std::fmt::Debug for Model {
    /// Without the weights.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("id", &self.id).finish_non_exhaustive()
    }
}
