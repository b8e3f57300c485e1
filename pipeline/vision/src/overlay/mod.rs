//! Draws on a copy of a frame what the node made of it: boxes, tracks, lines, zones and what operators found.
//!
//! For `kerbside replay --overlay` alone: a local aid by which an installer sees why something counted. It is the
//! one place where a picture is copied, and there only where it is asked for. Nothing is enlarged, sharpened
//! or brightened: the drawing has the source's size, and pixels that are not drawn on keep their values. So no
//! face is clearer than it was.
//!
//! | what | how it looks |
//! | --- | --- |
//! | track | a thick box in its class's colour with number, class and score; dashed while it is not detected |
//! | candidate | a thin dashed box: it counts for nothing yet |
//! | path | where the track stood in the last two seconds |
//! | line | the arrow points forward; its name is at its end |
//! | zone | its outline; its name is at its highest corner |
//! | running numbers | at the bottom left, for each line and zone what its operators have counted so far |
//! | level, presence | the line or zone changes its colour at each frame that has any |
//! | what happens at one moment | its line or zone lights up; where it happened a short text says who found what |
//! | incident | listed at the top while it lasts; the box of its track is red |
//!
//! Tracks are drawn where the operators saw them. Findings of operators over released bins are not shown: they
//! are about no frame. Units: coordinates of tracks and geometry are normalised, drawing is in pixels.
//! Threads: none.

mod board;
mod canvas;
mod style;
mod texts;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kerbside_core::finding::Finding;
use kerbside_core::frame::{Frame, PictureSize, Plane};
use kerbside_core::geometry::{BoxInImage, Geometry, PointInImage, Shape, SiteId};
use kerbside_core::observation::{Track, TrackId};
use kerbside_core::time::MediaTime;

use crate::VisionError;
use board::Board;
use canvas::{Area, Canvas, Spot};
use style::{ALARM, FIRING, Rgb, SITE};

/// How much of a track's path is shown.
const PATH: Duration = Duration::from_secs(2);
/// How much a zone that fires is covered by its colour.
const ZONE_COVER: f32 = 0.22;
/// One frame and what the node made of it.
#[derive(Clone, Copy)]
pub struct Analysed<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// The tracks that operators saw.
    pub confirmed: &'a [Track],
    /// The tracks that have not enough evidence yet.
    pub candidates: &'a [Track],
    /// Whether the picture was trusted.
    pub trusted: bool,
    /// What was found.
    pub findings: &'a [Finding],
    /// For each finding the place of its operator among the names that the overlay was made with.
    pub operators: &'a [u16],
}

/// Draws one clip, frame by frame. Everything that it needs of a frame is reused for the next.
pub struct Overlay {
    geometry: Geometry,
    operators: Vec<String>,
    board: Board,
    run: Option<u32>,
    paths: BTreeMap<TrackId, VecDeque<(MediaTime, PointInImage)>>,
    /// Where events that are shown happened: one for each of the board's.
    places: Vec<Option<PointInImage>>,
    canvas: Canvas,
    /// Where text stands already, in this frame.
    taken: Vec<Area>,
}

impl Overlay {
    /// An overlay for a camera with these lines, zones and operators, the latter in the camera's order.
    pub fn new(geometry: Geometry, operators: Vec<String>) -> Self {
        Self {
            geometry,
            operators,
            board: Board::default(),
            run: None,
            paths: BTreeMap::new(),
            places: Vec::new(),
            canvas: Canvas::default(),
            taken: Vec::new(),
        }
    }

    /// Draws the next frame. Frames come in order.
    pub fn draw(&mut self, analysed: &Analysed<'_>) -> Result<(), VisionError> {
        let at = analysed.frame.media_time;
        self.remember(analysed);
        self.canvas.load(analysed.frame)?;
        self.taken.clear();
        self.draw_sites(at)?;
        for track in analysed.candidates.iter().filter(|track| track.detected) {
            self.draw_box(&track.box_in_image, style::of_class(track.class), false, self.canvas.sizes().thin)?;
        }
        for track in analysed.confirmed {
            self.draw_track(track)?;
        }
        self.write_header(analysed)?;
        self.write_situations()?;
        self.write_numbers(at)?;
        self.write_names(at)?;
        self.write_tracks(analysed.confirmed)?;
        self.write_events()
    }

    /// The size of the drawing: the frame's, where it is odd one more. Encoders of 4:2:0 want even sizes.
    pub fn size(&self) -> PictureSize {
        self.canvas.size()
    }

    /// A plane of the last drawing, I420: 0 luma, 1 Cb, 2 Cr. `None` before the first.
    pub fn plane(&self, index: usize) -> Option<Plane<'_>> {
        self.run.and_then(|_| self.canvas.plane(index))
    }

    fn remember(&mut self, analysed: &Analysed<'_>) {
        let &Analysed { frame, confirmed, findings, operators, .. } = analysed;
        let at = frame.media_time;
        if self.run != Some(frame.run) {
            self.paths.clear();
            self.run = Some(frame.run);
        }
        self.paths.retain(|id, _| confirmed.iter().any(|track| track.id == *id));
        for track in confirmed {
            let path = self.paths.entry(track.id).or_default();
            path.push_back((at, track.box_in_image.foot()));
            while path.front().is_some_and(|(then, _)| at.since(*then) > PATH) {
                path.pop_front();
            }
        }
        let names = &self.operators;
        let spoken = findings.iter().zip(operators).map(|(finding, operator)| {
            (*operator, names.get(usize::from(*operator)).map_or("", String::as_str), finding)
        });
        let new = self.board.take_in(at, &self.geometry, spoken);
        let events = &self.board.events;
        // Events leave the list at its front.
        let old = events.len() - new;
        self.places.drain(..self.places.len() - old);
        for event in &events[old..] {
            let of_track = confirmed.iter().find(|track| Some(track.id) == event.track);
            let place = of_track.map(|track| track.box_in_image.foot());
            self.places.push(place.or_else(|| anchor(&self.geometry, event.site)));
        }
    }

    fn draw_sites(&mut self, at: MediaTime) -> Result<(), VisionError> {
        let Self { geometry, board, canvas, .. } = self;
        let sizes = canvas.sizes();
        let ids = || (0..=u16::MAX).map(SiteId);
        let size = canvas.size();
        // Zones first: a line that lies in one stays visible.
        for (site, id) in geometry.sites.iter().zip(ids()) {
            let Shape::Zone(zone) = &site.shape else { continue };
            let firing = board.is_firing(id, at);
            let colour = if firing { FIRING } else { SITE };
            if board.is_flashing(id, at) {
                let corners: Vec<Spot> = zone.corners.iter().map(|corner| spot(size, *corner)).collect();
                canvas.tint(&corners, colour, ZONE_COVER)?;
            }
            for (from, to) in zone.edges() {
                canvas.line(spot(size, from), spot(size, to), colour, sizes.thin)?;
            }
        }
        for (site, id) in geometry.sites.iter().zip(ids()) {
            let Shape::Line(line) = &site.shape else { continue };
            let firing = board.is_firing(id, at);
            let (colour, stroke) = if firing { (FIRING, 2 * sizes.thick) } else { (SITE, sizes.thick) };
            let (from, to) = (spot(size, line.from), spot(size, line.to));
            canvas.line(from, to, colour, stroke)?;
            draw_arrow(canvas, from, to, colour, sizes.thick)?;
        }
        Ok(())
    }

    fn draw_track(&mut self, track: &Track) -> Result<(), VisionError> {
        let sizes = self.canvas.sizes();
        let size = self.canvas.size();
        let colour = self.colour_of(track);
        if let Some(path) = self.paths.get(&track.id) {
            for (from, to) in path.iter().zip(path.iter().skip(1)) {
                self.canvas.line(spot(size, from.1), spot(size, to.1), colour, sizes.thick)?;
            }
        }
        self.canvas.dot(spot(size, track.box_in_image.foot()), sizes.thick + 1, colour)?;
        let stroke = if track.detected { sizes.thick } else { sizes.thin };
        self.draw_box(&track.box_in_image, colour, track.detected, stroke)
    }

    fn colour_of(&self, track: &Track) -> Rgb {
        if self.board.is_alarming(track.id) { ALARM } else { style::of_class(track.class) }
    }

    fn draw_box(
        &mut self,
        box_in_image: &BoxInImage,
        colour: Rgb,
        whole: bool,
        stroke: i32,
    ) -> Result<(), VisionError> {
        let size = self.canvas.size();
        let BoxInImage { left, top, right, bottom } = *box_in_image;
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            .map(|(x, y)| spot(size, PointInImage { x, y }));
        for (from, to) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            if whole {
                self.canvas.line(*from, *to, colour, stroke)?;
            } else {
                self.canvas.dashes(*from, *to, colour, stroke)?;
            }
        }
        Ok(())
    }
}

/// Where the text of a site stands: at a line's end, at a zone's highest corner.
fn anchor(geometry: &Geometry, site: SiteId) -> Option<PointInImage> {
    match &geometry.sites.get(usize::from(site.0))?.shape {
        Shape::Line(line) => Some(line.to),
        Shape::Zone(zone) => zone.corners.iter().copied().min_by(|a, b| a.y.total_cmp(&b.y)),
    }
}

/// An arrow from a line's middle to where forward is: to the right of someone who walks along it.
fn draw_arrow(canvas: &mut Canvas, from: Spot, to: Spot, colour: Rgb, stroke: i32) -> Result<(), VisionError> {
    let (x, y) = (to.x - from.x, to.y - from.y);
    let length = x.hypot(y);
    if length < 1.0 {
        return Ok(());
    }
    // y grows downwards, so the right hand of (x, y) is (-y, x).
    let (along, right) = ((x / length, y / length), (-y / length, x / length));
    let middle = Spot { x: (from.x + to.x) / 2.0, y: (from.y + to.y) / 2.0 };
    let reach = canvas.sizes().dash * 5.0;
    let at = |forward: f32, aside: f32| Spot {
        x: middle.x + right.0 * forward + along.0 * aside,
        y: middle.y + right.1 * forward + along.1 * aside,
    };
    let tip = at(reach, 0.0);
    canvas.line(middle, tip, colour, stroke)?;
    for aside in [-0.3, 0.3] {
        canvas.line(tip, at(0.65 * reach, aside * reach), colour, stroke)?;
    }
    Ok(())
}

fn spot(size: PictureSize, point: PointInImage) -> Spot {
    Spot { x: point.x * size.width as f32, y: point.y * size.height as f32 }
}

#[cfg(test)]
mod tests;
