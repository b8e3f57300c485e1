//! One detector: frames in, detections out, on one thread.

use kerbside_core::detection::Detection;
use kerbside_core::frame::{Frame, PictureSize};
use kerbside_vision::input::{InputWriter, PackedRows, Quantiser};
use kerbside_vision::placement::Placement;
use std::sync::Arc;

use crate::engine::{Input, Plan, Session};
use crate::error::InferenceError;
use crate::model::Model;
use crate::report::LayerReport;
use crate::suppression::{Candidate, suppress};

/// The lowest score that a detector reports. A tracker uses weak detections to hold on to an object;
/// below this there is nothing but noise.
pub const SCORE_FLOOR: f32 = 0.1;

/// How many input shapes a detector keeps ready. Each holds an input tensor and the engine's state.
const MAX_LANES: usize = 4;

/// One loaded detector. Input is a frame, output detections in image coordinates.
///
/// Detections are sorted by score, best first; their classes are those that Kerbside counts, their scores at
/// least [`SCORE_FLOOR`], their boxes cut at the picture's edges, and overlapping ones of one class suppressed.
pub trait Detector: Send {
    /// Replaces `out` by what the frame shows. After an error `out` is empty.
    fn detect(&mut self, frame: &Frame, out: &mut Vec<Detection>) -> Result<(), InferenceError> {
        self.detect_in_stages(frame, out, &mut |_| ())
    }

    /// The same, and calls `finished` at the end of each stage: whoever measures times reads the clock there.
    fn detect_in_stages(
        &mut self,
        frame: &Frame,
        out: &mut Vec<Detection>,
        finished: &mut dyn FnMut(Stage),
    ) -> Result<(), InferenceError>;

    /// The layers that frames of this size go through, and what runs each.
    fn layers(&mut self, size: PictureSize) -> Result<&[LayerReport], InferenceError>;

    /// Runs the network alone, on whatever the last [`Detector::detect`] left in its memory, and calls `finished`
    /// with a layer's place in [`Detector::layers`] at the end of each of its steps, as far as the network runs in the
    /// int8 engine. For measuring.
    fn run_layers(&mut self, finished: &mut dyn FnMut(usize)) -> Result<(), InferenceError>;
}

/// How a detector works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorSettings {
    /// To how many pixels the picture's longer side is scaled; `None` for the manifest's `default_long_side`. A
    /// network whose file fixes its input keeps that.
    pub long_side: Option<u32>,
    /// How many threads split one frame. One gives the most frames in all where there are many cameras; more give
    /// each frame sooner.
    pub threads: usize,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self { long_side: None, threads: 1 }
    }
}

/// The stages of a detection, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The input has been written from the frame's planes.
    Input,
    /// The network has run.
    Network,
    /// The outputs have become detections.
    Head,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 3] = [Self::Input, Self::Network, Self::Head];

    /// The stage's name in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Network => "network",
            Self::Head => "head",
        }
    }
}

/// Runs a [`Model`]; see [`Model::detector`].
pub(crate) struct ModelDetector {
    model: Arc<Model>,
    long_side: u32,
    threads: usize,
    writer: InputWriter,
    /// Most recently used first.
    lanes: Vec<Lane>,
    candidates: Vec<Candidate>,
}

/// What it takes to run one input shape.
struct Lane {
    input: PictureSize,
    plan: Arc<Plan>,
    session: Session,
}

impl ModelDetector {
    pub(crate) fn new(model: Arc<Model>, settings: DetectorSettings) -> Self {
        let DetectorSettings { long_side, threads } = settings;
        let input = &model.manifest().input;
        let writer = InputWriter::new(input.pixels);
        let long_side = long_side.unwrap_or(input.default_long_side);
        Self { model, long_side, threads, writer, lanes: Vec::new(), candidates: Vec::new() }
    }

    /// Brings the lane for this input shape to the front, made new if need be.
    fn lane(&mut self, input: PictureSize) -> Result<&mut Lane, InferenceError> {
        match self.lanes.iter().position(|lane| lane.input == input) {
            Some(at) => self.lanes[..=at].rotate_right(1),
            None => {
                let plan = self.model.plan(input)?;
                if self.threads > 1 && !plan.splits_frames() {
                    tracing::warn!(
                        model = self.model.id(),
                        "tract has a part in this network and takes one thread a frame"
                    );
                }
                let session = plan.session(self.threads).map_err(InferenceError::Run)?;
                self.lanes.truncate(MAX_LANES - 1);
                self.lanes.insert(0, Lane { input, plan, session });
            }
        }
        Ok(&mut self.lanes[0])
    }
}

impl Detector for ModelDetector {
    fn detect_in_stages(
        &mut self,
        frame: &Frame,
        out: &mut Vec<Detection>,
        finished: &mut dyn FnMut(Stage),
    ) -> Result<(), InferenceError> {
        out.clear();
        let placement = self.model.placement(frame.size, self.long_side);
        self.lane(placement.input)?;
        let Self { model, writer, lanes, candidates, .. } = self;
        let Lane { plan, session, .. } = &mut lanes[0];

        let written = session.with_input(|input| match input {
            Input::Planar(values) => writer.write_planar_f32(frame, &placement, values),
            Input::Packed(input) => {
                let (scale, zero) = input.quantisation;
                let out = PackedRows { bytes: input.bytes, row_stride: input.row_stride };
                writer.write_packed_u8(frame, &placement, Quantiser { scale, zero }, out)
            }
        });
        written.map_err(InferenceError::Run)??;
        finished(Stage::Input);

        session.run(&mut |_| ()).map_err(InferenceError::Run)?;
        finished(Stage::Network);

        let values = session.outputs().map_err(InferenceError::Run)?;
        for ((name, shape), values) in plan.output_names().iter().zip(plan.output_shapes()).zip(&values) {
            let (expected, found) = (shape.iter().product(), values.len());
            if found != expected {
                return Err(InferenceError::OutputSize { output: name.clone(), expected, found });
            }
        }
        candidates.clear();
        model.head().decode(placement.input, plan.output_names(), &values, candidates)?;
        suppress(candidates, model.manifest().nms_iou);
        out.extend(candidates.iter().filter_map(|candidate| detection(candidate, &placement)));
        finished(Stage::Head);
        Ok(())
    }

    fn layers(&mut self, size: PictureSize) -> Result<&[LayerReport], InferenceError> {
        let input = self.model.placement(size, self.long_side).input;
        Ok(self.lane(input)?.plan.layers())
    }

    fn run_layers(&mut self, finished: &mut dyn FnMut(usize)) -> Result<(), InferenceError> {
        match self.lanes.first_mut() {
            Some(lane) => lane.session.run(finished).map_err(InferenceError::Run),
            None => Ok(()),
        }
    }
}

/// The candidate in the picture; `None` when it lies in the padding.
fn detection(candidate: &Candidate, placement: &Placement) -> Option<Detection> {
    let Candidate { class, score, box_in_input: found, .. } = candidate;
    let box_in_image = placement.to_image(found.left, found.top, found.right, found.bottom)?;
    Some(Detection { class: *class, score: *score, box_in_image })
}
