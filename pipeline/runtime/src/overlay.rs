//! The clip of `replay --overlay`: each frame of the lane, drawn on and written to a file. `run` has none.
//!
//! Whatever happens to the file, the replay goes on: its rows do not depend on anyone's looking on.

use std::path::Path;

use kerbside_core::error::with_causes;
use kerbside_core::geometry::Geometry;
use kerbside_ingest::{ClipWriter, IngestError, Picture};
use kerbside_vision::overlay::{Analysed, Overlay};
use tracing::warn;

use crate::error::RuntimeError;
use crate::lane::Inspected;

/// A clip that is being drawn.
pub(crate) struct OverlayClip {
    drawing: Overlay,
    writer: Result<ClipWriter, RuntimeError>,
}

impl OverlayClip {
    /// A clip of a camera with these lines and zones; `operators` are those of its analysis, in that order.
    pub(crate) fn new(writer: ClipWriter, geometry: Geometry, operators: Vec<String>) -> Self {
        Self { drawing: Overlay::new(geometry, operators), writer: Ok(writer) }
    }

    /// Draws a frame. After a failure it does nothing more: [`OverlayClip::finish`] tells.
    pub(crate) fn take_in(&mut self, inspected: &Inspected<'_>) {
        let Ok(writer) = &mut self.writer else { return };
        if let Err(error) = append(&mut self.drawing, writer, inspected) {
            warn!(error = with_causes(&error), "the overlay ends here; the replay goes on");
            // The writer is dropped, and its partial file with it.
            self.writer = Err(error);
        }
    }

    /// Ends the file. Gives back how many pictures it has.
    pub(crate) fn finish(self) -> Result<u64, RuntimeError> {
        self.writer.and_then(|writer| writer.finish().map_err(failed))
    }
}

/// Makes the file of a clip's overlay.
pub(crate) fn create(path: &Path, clip: &Path, analyse_fps: f64) -> Result<ClipWriter, RuntimeError> {
    let of_clip = kerbside_ingest::probe(clip).map_err(failed)?.fps;
    let fps = of_clip.map_or(analyse_fps, |fps| fps.min(analyse_fps));
    ClipWriter::create(path, fps).map_err(failed)
}

fn append(drawing: &mut Overlay, writer: &mut ClipWriter, inspected: &Inspected<'_>) -> Result<(), RuntimeError> {
    let Inspected { frame, tracker, seen, findings, authors } = *inspected;
    let analysed = Analysed {
        frame,
        confirmed: tracker.confirmed(),
        candidates: tracker.candidates(),
        trusted: seen.trusted,
        findings,
        operators: authors,
    };
    drawing.draw(&analysed).map_err(|source| RuntimeError::Drawing { frame: frame.sequence + 1, source })?;
    let plane = |index| drawing.plane(index).expect("a drawing has three planes");
    let picture = Picture {
        at: frame.media_time,
        size: drawing.size(),
        matrix: frame.matrix,
        range: frame.range,
        planes: [plane(0), plane(1), plane(2)],
    };
    writer.write(&picture).map_err(failed)
}

fn failed(source: IngestError) -> RuntimeError {
    RuntimeError::Overlay { source }
}
