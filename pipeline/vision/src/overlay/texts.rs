//! The texts of a drawing, and where they find room.

use std::collections::BTreeSet;

use kerbside_core::geometry::{PointInImage, SiteId};
use kerbside_core::observation::Track;
use kerbside_core::time::MediaTime;

use super::canvas::{Area, Spot};
use super::style::{ALARM, BLACK, FIRING, Rgb, SITE, text_on};
use super::{Analysed, Overlay, anchor, spot, words};
use crate::VisionError;

/// How much the ground of a text covers.
const TEXT_COVER: f32 = 0.8;
/// Running numbers that are shown at once.
const MOST_NUMBERS: usize = 16;
/// Situations that are listed at once.
const MOST_SITUATIONS: usize = 6;

/// Where a text goes when its place is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Above,
    Below,
}

impl Overlay {
    pub(super) fn write_header(&mut self, analysed: &Analysed<'_>) -> Result<(), VisionError> {
        let Analysed { frame, trusted, .. } = *analysed;
        let state = if trusted { "trusted" } else { "NOT trusted" };
        let text = format!("frame {}  {}  {state}", frame.sequence + 1, words::clock(frame.media_time));
        self.place(0, 0, &text, if trusted { BLACK } else { ALARM }, Room::Below)
    }

    /// What lasts, longest first; then what is over.
    pub(super) fn write_situations(&mut self) -> Result<(), VisionError> {
        let mut listed: Vec<_> = self.board.situations.values().collect();
        listed.sort_by_key(|one| (one.ended.is_some(), one.since));
        let ground = |ended: bool| if ended { BLACK } else { ALARM };
        let mut lines: Vec<(String, Rgb)> = listed
            .iter()
            .take(MOST_SITUATIONS)
            .map(|one| (one.text.clone(), ground(one.ended.is_some())))
            .collect();
        if listed.len() > MOST_SITUATIONS {
            lines.push((format!("and {} more", listed.len() - MOST_SITUATIONS), BLACK));
        }
        lines.iter().try_for_each(|(text, ground)| self.place(0, 0, text, *ground, Room::Below))
    }

    /// A table at the bottom left: the site, and what its operators have counted so far.
    pub(super) fn write_numbers(&mut self, at: MediaTime) -> Result<(), VisionError> {
        let shown = self.board.tallies.len().min(MOST_NUMBERS);
        let rows: Vec<(SiteId, String)> = self
            .board
            .tallies
            .iter()
            .take(shown)
            .map(|(key, tally)| (key.site, words::tally(&self.geometry, key, tally, at)))
            .collect();
        let sites: BTreeSet<SiteId> = rows.iter().map(|(site, _)| *site).collect();
        let mut column = 0;
        for site in sites {
            column = column.max(self.room_for(words::site(&self.geometry, site))?.0);
        }
        let bottom = self.canvas.size().height as i32;
        for (row, (site, text)) in rows.iter().rev().enumerate() {
            let (width, height) = self.room_for(text)?;
            let top = bottom - (row as i32 + 1) * height;
            let name = Area { left: 0, top, width: column, height };
            let ground = if self.board.is_firing(*site, at) { FIRING } else { SITE };
            let site = words::site(&self.geometry, *site).to_owned();
            self.taken.push(Area { width: column + width, ..name });
            self.write(name, &site, ground)?;
            self.write(Area { left: column, top, width, height }, text, BLACK)?;
        }
        Ok(())
    }

    pub(super) fn write_names(&mut self, at: MediaTime) -> Result<(), VisionError> {
        for (place, id) in (0..self.geometry.sites.len()).zip((0..=u16::MAX).map(SiteId)) {
            let Some(anchor) = anchor(&self.geometry, id) else { continue };
            let ground = if self.board.is_firing(id, at) { FIRING } else { SITE };
            let name = self.geometry.sites[place].name.clone();
            let Spot { x, y } = spot(self.canvas.size(), anchor);
            self.place(x as i32, y as i32, &name, ground, Room::Below)?;
        }
        Ok(())
    }

    /// Numbers, classes and scores: above the boxes, so that nothing of what they hold is hidden.
    pub(super) fn write_tracks(&mut self, tracks: &[Track]) -> Result<(), VisionError> {
        for track in tracks {
            let text = match track.detected {
                true => format!("{} {} {:.2}", track.id.0, track.class.name(), track.score),
                false => format!("{} {} lost", track.id.0, track.class.name()),
            };
            let corner = PointInImage { x: track.box_in_image.left, y: track.box_in_image.top };
            let Spot { x, y } = spot(self.canvas.size(), corner);
            let (_, height) = self.room_for(&text)?;
            let top = (y as i32).saturating_sub(height + self.canvas.sizes().thick / 2);
            self.place(x as i32, top, &text, self.colour_of(track), Room::Above)?;
        }
        Ok(())
    }

    pub(super) fn write_events(&mut self) -> Result<(), VisionError> {
        for number in 0..self.board.events.len() {
            let Some(place) = self.places.get(number).copied().flatten() else { continue };
            let Spot { x, y } = spot(self.canvas.size(), place);
            let text = self.board.events[number].text.clone();
            let top = (y as i32).saturating_add(2 * self.canvas.sizes().margin);
            self.place(x as i32, top, &text, FIRING, Room::Below)?;
        }
        Ok(())
    }

    /// The width and height of a text on its ground.
    fn room_for(&self, text: &str) -> Result<(i32, i32), VisionError> {
        let (width, height) = self.canvas.measure(text)?;
        let margin = self.canvas.sizes().margin;
        Ok((width + 2 * margin, height + margin))
    }

    /// Writes a line of text at a place, or beside what stands there already.
    fn place(&mut self, left: i32, top: i32, text: &str, ground: Rgb, room: Room) -> Result<(), VisionError> {
        let size = self.canvas.size();
        let (width, height) = self.room_for(text)?;
        let (left, top) = (inside(left, width, size.width), inside(top, height, size.height));
        let mut area = Area { left, top, width, height };
        while let Some(other) = self.taken.iter().find(|other| other.overlaps(&area)) {
            area.top = match room {
                Room::Below => other.top + other.height,
                Room::Above => other.top - height,
            };
        }
        // Outside of the picture nobody reads it: better over another text.
        if area.top < 0 || area.top + height > size.height as i32 {
            area.top = top;
        }
        self.taken.push(area);
        self.write(area, text, ground)
    }

    fn write(&mut self, area: Area, text: &str, ground: Rgb) -> Result<(), VisionError> {
        let margin = self.canvas.sizes().margin;
        self.canvas.ground(area, ground, TEXT_COVER)?;
        self.canvas.text(area.left + margin, area.top + margin / 2, text, text_on(ground))
    }
}

/// Moves something of this length so that it begins in the picture and, if it fits, ends there.
fn inside(from: i32, length: i32, limit: u32) -> i32 {
    from.min(limit as i32 - length).max(0)
}
