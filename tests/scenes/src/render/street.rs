//! The street with nothing on it: asphalt with its grain, broken white lines, houses and a sky behind.

use kerbside_core::frame::PictureSize;

use super::canvas::Canvas;
use crate::optics::Optics;

/// The distance between the white lines, metres.
const LANE: f64 = 3.5;
/// Where the street ends at the houses, metres from the camera.
const HOUSES: f64 = 80.0;

pub(crate) fn empty(optics: &Optics, size: PictureSize) -> Canvas {
    let mut canvas = Canvas::new(size);
    let (width, height) = (size.width as usize, size.height as usize);
    let horizon = optics.horizon();
    for row in 0..height {
        for column in 0..width {
            let (x, y) = ((column as f64 + 0.5) / width as f64, (row as f64 + 0.5) / height as f64);
            let street = optics.on_ground(x, y).filter(|p| p.x.hypot(p.y) < HOUSES);
            let (luma, cb, cr) = match street {
                Some(p) => (asphalt(p.x, p.y), 128, 129),
                None if y > horizon - 0.25 => (house(x + optics.bearing() / 90.0, y), 122, 134),
                None => ((225.0 + 15.0 * grain(x * 6.0, y * 9.0, 3)) as u8, 140, 122),
            };
            canvas.luma[row * width + column] = luma;
            if row % 2 == 0 && column % 2 == 0 {
                let place = row / 2 * width.div_ceil(2) + column / 2;
                canvas.chroma[0][place] = cb;
                canvas.chroma[1][place] = cr;
            }
        }
    }
    canvas
}

fn asphalt(x: f64, y: f64) -> u8 {
    let line = (x / LANE).rem_euclid(1.0) * LANE < 0.15 && (y / 6.0).rem_euclid(1.0) < 0.5;
    let grain = 14.0 * grain(x * 6.0, y * 6.0, 1) + 16.0 * grain(x / 1.7, y / 1.7, 2);
    (if line { 190.0 } else { 95.0 } + grain) as u8
}

/// Walls with rows of windows; one house is a tenth of the picture wide.
fn house(x: f64, y: f64) -> u8 {
    let number = (x * 10.0).floor();
    let wall = 120.0 + 70.0 * hash(number as i64, 0, 5);
    let (across, up) = ((x * 60.0).rem_euclid(1.0), (y * 30.0).rem_euclid(1.0));
    let window = (0.25..0.75).contains(&across) && (0.2..0.75).contains(&up);
    (if window { 0.45 * wall } else { wall } + 8.0 * grain(x * 200.0, y * 200.0, 4)) as u8
}

/// Value noise, -1..1: random numbers on a grid, straight between them.
fn grain(x: f64, y: f64, seed: u64) -> f64 {
    let (column, row) = (x.floor(), y.floor());
    let (across, down) = (x - column, y - row);
    let at = |dx: i64, dy: i64| hash(column as i64 + dx, row as i64 + dy, seed);
    let upper = at(0, 0) + across * (at(1, 0) - at(0, 0));
    let lower = at(0, 1) + across * (at(1, 1) - at(0, 1));
    2.0 * (upper + down * (lower - upper)) - 1.0
}

/// 0..1 from a place of the grid; splitmix64's finaliser.
fn hash(x: i64, y: i64, seed: u64) -> f64 {
    let mut z = (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (y as u64).rotate_left(32) ^ (seed << 48);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
