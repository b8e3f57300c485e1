//! Pictures of a scene: a textured street with houses behind it, shaded boxes and figures that move, daylight and
//! the sensor's noise, and what a disturbance makes of them.
//!
//! Planes are I420 in limited range. The same scene, size, seed and time give the same picture, bit for bit. They
//! are for pixel operators and encoders: no detector was trained on such streets.

use kerbside_core::detection::Class;
use kerbside_core::frame::{OwnedPlanes, PictureSize, PixelFormat};

use crate::optics::{Optics, Solid};
use crate::{DisturbanceKind, Scene};

mod canvas;
mod street;

use canvas::Canvas;

/// How far a camera that was moved has turned, degrees.
const MOVED: f64 = 15.0;
/// Standard deviation of the sensor's noise by full light, in steps of luma; it grows in the dark.
const NOISE: f64 = 1.6;
/// The length of the table of noise.
const TABLE: usize = 1 << 15;

/// Draws one scene.
#[derive(Debug)]
pub struct Renderer<'a> {
    scene: &'a Scene,
    size: PictureSize,
    seed: u64,
    /// The street without anything on it, as the camera sees it, and as it does after it was moved.
    views: Vec<(Optics, Canvas)>,
    /// Noise in sixteenths of its deviation.
    noise: Vec<i8>,
    canvas: Canvas,
    blurred: Vec<u8>,
}

impl<'a> Renderer<'a> {
    /// Prepares to draw pictures of `size`, which has the shape of the scene's own. Both sides are even.
    pub fn new(scene: &'a Scene, size: PictureSize, seed: u64) -> Self {
        let optics = scene.optics.sized(size);
        let moves = scene.disturbances.iter().any(|it| it.kind == DisturbanceKind::Moved);
        let views = [optics, optics.turned(MOVED)]
            .into_iter()
            .take(1 + usize::from(moves))
            .map(|optics| (optics, street::empty(&optics, size)))
            .collect();
        let mut dice = fastrand::Rng::with_seed(seed);
        let gauss = |dice: &mut fastrand::Rng| (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0;
        let noise = (0..TABLE).map(|_| (gauss(&mut dice) * 16.0).clamp(-127.0, 127.0) as i8).collect();
        Self { scene, size, seed, views, noise, canvas: Canvas::new(size), blurred: Vec::new() }
    }

    /// The picture at a time, in memory of its own.
    pub fn render(&mut self, secs: f64) -> OwnedPlanes {
        let mut planes = OwnedPlanes::flat(self.size, PixelFormat::I420, 16, 0);
        self.render_into(secs, &mut planes);
        planes
    }

    /// The picture at a time into planes that [`Renderer::render`] gave.
    pub fn render_into(&mut self, secs: f64, planes: &mut OwnedPlanes) {
        let disturbed = |kind| {
            let mut of_kind = self.scene.disturbances.iter().filter(move |it| it.kind == kind);
            of_kind.find(|it| (it.from..it.to).contains(&secs))
        };
        let secs = disturbed(DisturbanceKind::Frozen).map_or(secs, |it| it.from);
        let covered = disturbed(DisturbanceKind::Covered).is_some();
        let light = match (disturbed(DisturbanceKind::Dark), disturbed(DisturbanceKind::Bright)) {
            (Some(_), _) => 0.01,
            (None, Some(_)) => 12.0,
            (None, None) => self.scene.daylight_at(secs),
        };
        let view = usize::from(disturbed(DisturbanceKind::Moved).is_some());
        let defocused = disturbed(DisturbanceKind::Defocused).is_some();
        let (optics, empty) = &self.views[view];
        self.canvas.copy_from(empty);
        if covered {
            self.canvas.flood(38, 126, 130);
        } else {
            draw_things(self.scene, optics, secs, &mut self.canvas);
            if defocused {
                self.canvas.blur((self.size.height / 45).max(2) as usize, &mut self.blurred);
            }
        }
        self.develop(secs, light, planes);
    }

    /// From what the sensor sees to what it gives.
    fn develop(&self, secs: f64, light: f64, planes: &mut OwnedPlanes) {
        let gain = 0.06 + 0.94 * light;
        let tone: [u8; 256] = std::array::from_fn(|value| (16.0 + gain * value as f64).clamp(16.0, 235.0) as u8);
        let strength = (NOISE * 16.0 * (1.0 + 0.8 * (1.0 - light).max(0.0))) as i32;
        let mut dice = fastrand::Rng::with_seed(self.seed ^ (secs * 1e6).round() as u64);
        let width = self.size.width as usize;
        let luma = planes.planes[0].0.chunks_exact_mut(width).zip(self.canvas.luma.chunks_exact(width));
        for (out, row) in luma {
            let start = dice.usize(0..TABLE - width.min(TABLE - 1));
            let noise = self.noise[start..].iter().cycle();
            for ((out, value), noise) in out.iter_mut().zip(row).zip(noise) {
                let value = i32::from(tone[usize::from(*value)]) + ((i32::from(*noise) * strength) >> 8);
                *out = value.clamp(16, 235) as u8;
            }
        }
        // Colours fade with the light.
        let fade = (gain.min(1.0) * 256.0) as i32;
        for (plane, chroma) in planes.planes[1..].iter_mut().zip(&self.canvas.chroma) {
            for (out, value) in plane.0.iter_mut().zip(chroma) {
                *out = (128 + (((i32::from(*value) - 128) * fade) >> 8)) as u8;
            }
        }
    }
}

/// Everything that stands on the street, the farthest first.
fn draw_things(scene: &Scene, optics: &Optics, secs: f64, canvas: &mut Canvas) {
    let actors = (0..scene.actors.len()).filter_map(|number| Some((Some(number), scene.solid(number, secs)?)));
    let things = scene.occluders.iter().map(|solid| (None, *solid)).chain(actors);
    let depth = |solid: &Solid| optics.project([solid.at.x, solid.at.y, 0.0]).map(|(_, depth)| depth);
    let mut things: Vec<(f64, Option<usize>, Solid)> =
        things.filter_map(|(number, solid)| Some((depth(&solid)?, number, solid))).collect();
    things.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, number, solid) in things {
        let class = number.map(|number| scene.actors[number].class);
        let mut look = fastrand::Rng::with_seed(number.map_or(7, |number| number as u64 * 7919 + 1));
        let paint = Paint { luma: look.u8(50..210), cb: look.u8(96..160), cr: look.u8(96..160) };
        match class {
            Some(Class::Person | Class::Bicycle | Class::Motorcycle) => {
                let stride =
                    scene.actors[number.unwrap_or_default()].trip.at(secs).map_or(0.0, |place| place.speed);
                figure(optics, &solid, paint, (stride * secs * 4.0).sin() * f64::from(stride > 0.05), canvas);
            }
            Some(Class::Car) => {
                block(optics, &part(&solid, 1.0), [0.1, 0.6], paint, canvas);
                block(optics, &part(&solid, 0.55), [0.6, 1.0], paint.darker(0.55), canvas);
            }
            _ => block(optics, &solid, [0.0, 1.0], paint, canvas),
        }
    }
}

/// A luma and a colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    luma: u8,
    cb: u8,
    cr: u8,
}

impl Paint {
    fn darker(self, by: f64) -> Self {
        Self { luma: (f64::from(self.luma) * by) as u8, ..self }
    }
}

/// The middle part of a solid's length.
fn part(solid: &Solid, share: f64) -> Solid {
    let [length, width, height] = solid.size;
    Solid { size: [length * share, width * (0.9 + 0.1 * share), height], ..*solid }
}

/// The faces of a box that the camera sees, between two shares of its height, over its shadow.
fn block(optics: &Optics, solid: &Solid, [low, high]: [f64; 2], paint: Paint, canvas: &mut Canvas) {
    const FACES: [([usize; 4], f64); 5] = [
        ([4, 5, 6, 7], 1.0),
        ([0, 1, 5, 4], 0.72),
        ([1, 2, 6, 5], 0.6),
        ([2, 3, 7, 6], 0.8),
        ([3, 0, 4, 7], 0.66),
    ];
    let corner = |corner: [f64; 3], height: f64| optics.project([corner[0], corner[1], height * solid.size[2]]);
    let corners = solid.corners();
    let projected: Option<Vec<_>> = (0..8)
        .map(|number| corner(corners[number], if number < 4 { low } else { high }).map(|(point, _)| point))
        .collect();
    let Some(projected) = projected else { return };
    if low < 0.5 {
        let shadow: Option<Vec<_>> =
            corners[..4].iter().map(|c| corner(*c, 0.0).map(|(point, _)| point)).collect();
        if let Some(shadow) = shadow {
            canvas.shade(&[shadow[0], shadow[1], shadow[2], shadow[3]]);
        }
    }
    for (face, light) in FACES {
        let polygon = face.map(|corner| projected[corner]);
        if canvas::is_counter_clockwise(&polygon) {
            canvas.fill(&polygon, paint.darker(light));
        }
    }
}

/// Legs that swing, a trunk and a head, facing the camera.
fn figure(optics: &Optics, solid: &Solid, paint: Paint, swing: f64, canvas: &mut Canvas) {
    let Some((around, _)) = optics.box_of(solid) else { return };
    let at = |x: f64, y: f64| kerbside_core::geometry::PointInImage {
        x: around.left + x as f32 * around.width(),
        y: around.top + y as f32 * around.height(),
    };
    let legs = paint.darker(0.5);
    for side in [-1.0, 1.0] {
        let foot = 0.5 + 0.3 * side * swing;
        let hip = 0.5 + 0.12 * side;
        canvas.fill(&[at(hip - 0.13, 0.5), at(foot - 0.1, 1.0), at(foot + 0.1, 1.0), at(hip + 0.13, 0.5)], legs);
    }
    canvas.fill(&[at(0.2, 0.15), at(0.25, 0.55), at(0.75, 0.55), at(0.8, 0.15)], paint);
    let head = Paint { luma: 165, cb: 112, cr: 148 };
    canvas.fill(&[at(0.38, 0.0), at(0.36, 0.15), at(0.64, 0.15), at(0.62, 0.0)], head);
}
