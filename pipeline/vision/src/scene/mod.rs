//! What one camera's pictures were like until now: how much the picture changes, what it looks like once noise
//! and traffic have settled, and what is new in it and stays.
//!
//! Works on the reduced luma alone, in plain integer arithmetic: the same pictures at the same times give the
//! same numbers, bit for bit. It keeps a few small pictures (at most [`MAX_WIDTH`] pixels wide) in RAM, which
//! nothing else can read; what leaves it are means over cells, shares of pixels and boxes.
//!
//! Everything is by time and not by frames. Memory is allocated with the first picture of a size and reused.

mod grid;
mod standing;

use std::time::Duration;

use kerbside_core::frame::{PictureSize, Plane};
use kerbside_core::observation::SceneStatistics;
use kerbside_core::time::MediaTime;

use self::grid::Columns;
use self::standing::StandingThings;

/// A picture that is wider is halved once more, in pixels.
pub(crate) const MAX_WIDTH: u32 = 240;
/// After this time a change of the picture has settled to 63 %.
const SETTLES_IN: Duration = Duration::from_secs(1);
/// After a longer pause the picture settles anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How many pictures back a repetition is noticed: more than most groups of pictures, fewer than a clip has.
const REMEMBERED: usize = 64;

/// Luma with seven fractional bits: 0..=32 640.
type Fine = i16;
/// One luma step.
const ONE: i16 = 128;

/// One camera's memory.
#[derive(Debug)]
pub(crate) struct SceneMemory {
    size: PictureSize,
    /// The last picture's time and run.
    last: Option<(MediaTime, u32)>,
    /// Fingerprints of the last pictures, and where the next one goes.
    fingerprints: [u64; REMEMBERED],
    next: usize,
    small: Vec<u8>,
    before: Vec<u8>,
    settled: Vec<Fine>,
    columns: Columns,
    standing: StandingThings,
}

impl SceneMemory {
    pub(crate) fn new() -> Self {
        Self {
            size: PictureSize { width: 0, height: 0 },
            last: None,
            fingerprints: [0; REMEMBERED],
            next: 0,
            small: Vec::new(),
            before: Vec::new(),
            settled: Vec::new(),
            columns: Columns::default(),
            standing: StandingThings::default(),
        }
    }

    /// Takes in the luma of one picture, taken at `at` in the given run of the stream, and fills in all that is
    /// not a matter of this picture alone. A picture of another size than the one before begins anew.
    pub(crate) fn take(
        &mut self,
        luma: Plane<'_>,
        size: PictureSize,
        at: MediaTime,
        run: u32,
        out: &mut SceneStatistics,
    ) {
        let halves = size.width > MAX_WIDTH && size.height >= 2;
        let small = if halves { PictureSize { width: size.width / 2, height: size.height / 2 } } else { size };
        if small != self.size {
            self.begin(small);
        }
        let passed = self.last.filter(|(_, last)| *last == run).map(|(last, _)| at.since(last));
        let passed = passed.filter(|passed| *passed <= LONGEST_PAUSE);
        self.last = Some((at, run));

        std::mem::swap(&mut self.small, &mut self.before);
        let width = small.width as usize;
        for (y, row) in self.small.chunks_exact_mut(width).enumerate() {
            if halves {
                halve(luma.row(2 * y, 2 * width), luma.row(2 * y + 1, 2 * width), row);
            } else {
                row.copy_from_slice(luma.row(y, width));
            }
        }
        let pixels = self.small.len() as f32;
        out.dark = count(&self.small, |luma| luma <= SceneStatistics::DARK) as f32 / pixels;
        out.bright = count(&self.small, |luma| luma >= SceneStatistics::BRIGHT) as f32 / pixels;
        let fingerprint = fingerprint(luma, size);
        if let Some(passed) = passed {
            out.change = differing(&self.small, &self.before) as f32 / pixels;
            out.repeated = self.fingerprints.contains(&fingerprint);
            settle(&mut self.settled, &self.small, share_after(passed, SETTLES_IN));
        } else {
            (out.change, out.repeated) = (1.0, false);
            self.fingerprints = [0; REMEMBERED];
            for (settled, now) in self.settled.iter_mut().zip(&self.small) {
                *settled = i16::from(*now) * ONE;
            }
        }
        self.fingerprints[self.next] = fingerprint;
        self.next = (self.next + 1) % REMEMBERED;
        self.columns.measure(&self.settled, small, out);
        out.standing = self.standing.watch(&self.settled, &self.small, small, at);
    }

    fn begin(&mut self, size: PictureSize) {
        let pixels = size.width as usize * size.height as usize;
        self.size = size;
        self.last = None;
        self.small = vec![0; pixels];
        self.before = vec![0; pixels];
        self.settled = vec![0; pixels];
        self.columns = Columns::of(size);
        self.standing = StandingThings::default();
    }
}

/// The share of the way that an exponential mean goes in `passed`, in 65536ths; half of it at most.
fn share_after(passed: Duration, time_constant: Duration) -> i16 {
    let share = -(-passed.as_secs_f64() / time_constant.as_secs_f64()).exp_m1();
    (share * 65_536.0).round().clamp(0.0, 32_767.0) as i16
}

/// Moves each value the given share of the way.
fn settle(settled: &mut [Fine], now: &[u8], share: i16) {
    for (settled, now) in settled.iter_mut().zip(now) {
        *settled += part(i16::from(*now) * ONE - *settled, share);
    }
}

/// `share` 65536ths of the difference, rounded to the nearest.
fn part(difference: i16, share: i16) -> i16 {
    ((i32::from(difference) * i32::from(share) + 32_768) >> 16) as i16
}

fn halve(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    for ((out, upper), lower) in out.iter_mut().zip(upper.as_chunks::<2>().0).zip(lower.as_chunks::<2>().0) {
        let sum = u16::from(upper[0]) + u16::from(upper[1]) + u16::from(lower[0]) + u16::from(lower[1]);
        *out = ((sum + 2) >> 2) as u8;
    }
}

/// In pieces that a byte can count, which compilers turn into wide instructions.
fn count(bytes: &[u8], holds: impl Fn(u8) -> bool) -> u32 {
    bytes.chunks(128).map(|piece| u32::from(piece.iter().map(|byte| u8::from(holds(*byte))).sum::<u8>())).sum()
}

fn differing(one: &[u8], other: &[u8]) -> u32 {
    let pieces = one.chunks(128).zip(other.chunks(128));
    pieces.map(|(a, b)| u32::from(a.iter().zip(b).map(|(a, b)| u8::from(a != b)).sum::<u8>())).sum()
}

/// A number that two different pictures share by an accident of one in 2^60 or so; never zero.
fn fingerprint(luma: Plane<'_>, size: PictureSize) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut lanes = [1u64, 2, 3, 4];
    for y in 0..size.height as usize {
        let row = luma.row(y, size.width as usize);
        let (blocks, rest) = row.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = (lane.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
            }
        }
        for byte in rest {
            lanes[0] = (lanes[0].rotate_left(23) ^ u64::from(*byte)).wrapping_mul(FACTOR);
        }
    }
    let joined = lanes.iter().fold(0u64, |sum, lane| (sum.rotate_left(31) ^ lane).wrapping_mul(FACTOR));
    (joined ^ (joined >> 29)) | 1
}
