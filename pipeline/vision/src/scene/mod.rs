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

#[cfg(test)]
mod tests {
    use kerbside_core::observation::{SCENE_COLUMNS, SCENE_ROWS, Standing};

    use super::*;

    const SIZE: PictureSize = PictureSize { width: 160, height: 90 };

    fn picture(luma: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        let (width, height) = (SIZE.width as usize, SIZE.height as usize);
        (0..width * height).map(|at| luma(at % width, at / width)).collect()
    }

    /// Shows pictures of [`SIZE`], one after the other.
    struct Film {
        memory: SceneMemory,
        at: MediaTime,
        run: u32,
    }

    impl Film {
        fn new() -> Self {
            Self { memory: SceneMemory::new(), at: MediaTime::ZERO, run: 0 }
        }

        fn show(&mut self, picture: &[u8], step: Duration) -> SceneStatistics {
            let mut out = SceneStatistics::default();
            self.at = self.at + step;
            self.memory.take(Plane { bytes: picture, stride: 160 }, SIZE, self.at, self.run, &mut out);
            out
        }

        fn hold(&mut self, picture: &[u8], secs: u64, step: Duration) -> SceneStatistics {
            let frames = secs * 1000 / step.as_millis() as u64;
            (0..frames).map(|_| self.show(picture, step)).last().expect("a frame")
        }
    }

    const STEP: Duration = Duration::from_millis(100);

    #[test]
    fn a_first_picture_is_measured_by_definition() {
        let texture = |x: usize, y: usize| ((x * 37 + y * y * 11 + x * y) % 240) as u8;
        let out = Film::new().show(&picture(texture), STEP);
        let share = |holds: fn(u8) -> bool| {
            picture(texture).into_iter().filter(|luma| holds(*luma)).count() as f32 / (160.0 * 90.0)
        };
        assert_eq!((out.dark, out.bright), (share(|luma| luma <= 32), share(|luma| luma >= 225)));
        assert_eq!((out.change, out.repeated), (1.0, false));
        for row in 0..SCENE_ROWS {
            for column in 0..SCENE_COLUMNS {
                let (mut sums, mut count) = ([0.0f64; 3], 0.0);
                for y in row * 5..row * 5 + 5 {
                    for x in column * 5..column * 5 + 5 {
                        let luma = |x: usize, y: usize| f64::from(texture(x.min(159), y.min(89)));
                        sums[0] += luma(x, y);
                        sums[1] += (luma(x + 1, y) - luma(x, y)).abs();
                        sums[2] += (luma(x, y + 1) - luma(x, y)).abs();
                        count += 1.0;
                    }
                }
                let found = [out.luma[row][column], out.edges_across[row][column], out.edges_down[row][column]];
                for (found, sum) in found.into_iter().zip(sums) {
                    assert!((f64::from(found) - sum / count).abs() < 1e-3, "{row} {column}: {found}");
                }
            }
        }
    }

    #[test]
    fn the_settled_picture_goes_the_same_way_at_any_frame_rate() {
        for millis in [40, 100, 200] {
            let mut film = Film::new();
            film.hold(&picture(|_, _| 40), 2, Duration::from_millis(millis));
            let out = film.hold(&picture(|_, _| 140), 1, Duration::from_millis(millis));
            let expected = 140.0 - 100.0 * (-1.0f32).exp();
            assert!((out.luma[9][9] - expected).abs() < 0.5, "{millis} ms: {}", out.luma[9][9]);
        }
    }

    #[test]
    fn a_repetition_is_one_to_the_last_bit_and_not_over_a_break() {
        let mut film = Film::new();
        let first = picture(|x, y| (x + y) as u8);
        let mut second = first.clone();
        second[7777] += 1;
        let seen: Vec<_> = [&first, &second, &second, &first].map(|it| film.show(it, STEP)).into();
        let repeated: Vec<bool> = seen.iter().map(|it| it.repeated).collect();
        assert_eq!(repeated, [false, false, true, true]);
        let one = 1.0 / (160.0 * 90.0);
        assert_eq!(seen.iter().map(|it| it.change).collect::<Vec<_>>(), [1.0, one, 0.0, one]);
        film.run = 1;
        let other_run = film.show(&first, STEP);
        assert_eq!((other_run.repeated, other_run.change), (false, 1.0));
        let after_a_pause = film.show(&first, Duration::from_secs(3));
        assert_eq!((after_a_pause.repeated, after_a_pause.change), (false, 1.0));
    }

    /// A street of blocks, with a box on it.
    fn street(with: Option<(usize, usize)>) -> Vec<u8> {
        picture(|x, y| match with {
            Some((left, top)) if (left..left + 8).contains(&x) && (top..top + 6).contains(&y) => 210,
            _ => 60 + (x / 20 * 7 + y / 15 * 13) as u8,
        })
    }

    fn things(out: &SceneStatistics) -> Vec<Standing> {
        out.standing.iter().flatten().copied().collect()
    }

    #[test]
    fn what_comes_and_stays_is_found_at_its_place_until_it_goes() {
        for millis in [40, 100, 200] {
            let (mut film, step) = (Film::new(), Duration::from_millis(millis));
            assert_eq!(things(&film.hold(&street(None), 70, step)), []);
            assert_eq!(things(&film.hold(&street(Some((40, 60))), 9, step)), []);
            let out = film.hold(&street(Some((40, 60))), 21, step);
            let [thing] = things(&out)[..] else { panic!("{millis} ms: {:?}", out.standing) };
            assert!((69.0..74.0).contains(&(thing.since.as_nanos() as f64 / 1e9)), "{millis} ms: {thing:?}");
            let edges = [thing.box_in_image.left, thing.box_in_image.right, thing.box_in_image.top];
            for (found, expected) in edges.into_iter().zip([40.0 / 160.0, 48.0 / 160.0, 60.0 / 90.0]) {
                assert!((found - expected).abs() < 0.01, "{millis} ms: {thing:?}");
            }
            assert!((thing.area - 48.0 / 14_400.0).abs() < 0.0005);
            assert_eq!(things(&film.hold(&street(None), 5, step)), [], "{millis} ms: it was taken away");
        }
    }

    #[test]
    fn what_moves_is_taken_away_or_fills_the_picture_does_not_stand() {
        let mut film = Film::new();
        film.hold(&street(Some((100, 30))), 70, STEP);
        for second in 0..40 {
            let out = film.hold(&street(Some((second * 3, 60))), 1, STEP);
            assert_eq!(things(&out), [], "after {second} s");
        }
        // The box that was there from the start has gone meanwhile; now the light goes.
        for second in 0..40 {
            let out = film.hold(&picture(|x, _| 20 + (x / 10) as u8), 1, STEP);
            assert_eq!(things(&out), [], "{second} s into the dark");
        }
    }

    #[test]
    fn the_eight_largest_are_kept_the_largest_first() {
        let mut film = Film::new();
        film.hold(&street(None), 70, STEP);
        let boxes = picture(|x, y| {
            let (side, place) = (2 + x / 16 % 10, x % 16);
            if (40..40 + side).contains(&y) && place < side { 220 } else { 60 + (x / 20 * 7 + y / 15 * 13) as u8 }
        });
        let found = things(&film.hold(&boxes, 30, STEP));
        assert_eq!(found.len(), 8);
        assert!(found.is_sorted_by(|a, b| a.area >= b.area), "{found:?}");
        assert!(found[7].area > 15.0 / 14_400.0, "the two smallest are left out: {found:?}");
    }
}
