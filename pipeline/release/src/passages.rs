//! How much each track has contributed, and how much it still may.
//!
//! A passage is a track from its first frame to its last. It adds at most so many counts, one bucket of each histogram and
//! so much time of presence, and nothing at all once it has been visible for long: what is released is about passers-by,
//! and who stays longer is not counted again. Tracks are known here by pseudonyms whose keys are forgotten.

use std::time::Duration;

use kerbside_core::finding::Measure;
use kerbside_core::privacy::Bounds;
use kerbside_core::time::MediaTime;

use zeroize::Zeroize as _;

use crate::alert::WINDOW;
use crate::bins::nanos;
use crate::pseudonym::Pseudonym;

/// For how long a track is remembered after it was seen last: a stay that has ended is told up to five minutes later.
const REMEMBERED: Duration = Duration::from_secs(6 * 60);

/// One track's contributions.
#[derive(Clone, Copy, Debug)]
struct Passage {
    since: MediaTime,
    seen: MediaTime,
    counts: u32,
    /// Bit by measure: it is in a bucket already.
    buckets: u32,
    /// By measure of presence: nanoseconds added.
    presence: [u64; 3],
    /// The newest window of alerts that it was in, and nanoseconds added to it.
    attended: (u64, u64),
}

/// The tracks of one camera.
#[derive(Debug)]
pub(crate) struct Passages {
    bounds: Bounds,
    list: Book,
    /// Those under the pseudonyms of the epoch before.
    before: Book,
    swept_at: MediaTime,
}

/// The names of one track: in this epoch, and in the one before while that is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) now: Pseudonym,
    pub(crate) before: Option<Pseudonym>,
}

impl Passages {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, list: Book::default(), before: Book::default(), swept_at: MediaTime::ZERO }
    }

    /// A new epoch has begun: every pseudonym is another one from now on.
    pub(crate) fn roll(&mut self) {
        self.before = std::mem::take(&mut self.list);
    }

    /// The epoch before is over for good.
    pub(crate) fn forget_before(&mut self) {
        self.before = Book::default();
    }

    /// A track is visible at this moment; whether it was not known before.
    pub(crate) fn see(&mut self, names: Names, at: MediaTime) -> bool {
        let is_new = self.list.place(names.now).is_none()
            && names.before.and_then(|before| self.before.place(before)).is_none();
        self.passage(names, at);
        if at.since(self.swept_at) >= REMEMBERED {
            self.swept_at = at;
            let is_near = |passage: &Passage| at.since(passage.seen) < REMEMBERED;
            self.list.retain(is_near);
            self.before.retain(is_near);
        }
        is_new
    }

    /// Whether the track may add a count, which it then has.
    pub(crate) fn count(&mut self, names: Names, at: MediaTime) -> bool {
        let most = self.bounds.cells_per_track;
        self.open(names, at).is_some_and(|passage| {
            let may = passage.counts < most;
            passage.counts += u32::from(may);
            may
        })
    }

    /// Whether the track may be in a bucket of this histogram, which it then is.
    pub(crate) fn bucket(&mut self, names: Names, at: MediaTime, measure: Measure) -> bool {
        let bit = 1 << (measure as u32);
        self.open(names, at).is_some_and(|passage| {
            let may = passage.buckets & bit == 0;
            passage.buckets |= bit;
            may
        })
    }

    /// How much of the time `lasted` the track may add to this measure, in nanoseconds, which it then has.
    pub(crate) fn presence(&mut self, names: Names, at: MediaTime, measure: Measure, lasted: u64) -> u64 {
        let most = nanos(self.bounds.presence_max);
        let place = match measure {
            Measure::PresenceMean => 0,
            Measure::OccupancyTime => 1,
            _ => 2,
        };
        self.open(names, at).map_or(0, |passage| {
            let may = lasted.min(most.saturating_sub(passage.presence[place]));
            passage.presence[place] += may;
            may
        })
    }

    /// How much of the time `lasted` the track may add to alerts in this window of theirs, in nanoseconds, which it then
    /// has: a window's length, also where the clock runs through it twice.
    pub(crate) fn attend(&mut self, names: Names, at: MediaTime, window: u64, lasted: u64) -> u64 {
        self.open(names, at).map_or(0, |passage| {
            if window > passage.attended.0 {
                passage.attended = (window, 0);
            }
            // A window that was left is not entered anew.
            if window < passage.attended.0 {
                return 0;
            }
            let may = lasted.min(WINDOW.saturating_sub(passage.attended.1));
            passage.attended.1 += may;
            may
        })
    }

    /// The passage, where it has not been visible for too long.
    fn open(&mut self, names: Names, at: MediaTime) -> Option<&mut Passage> {
        let most = self.bounds.track_max;
        Some(self.passage(names, at)).filter(|passage| at.since(passage.since) <= most)
    }

    fn passage(&mut self, names: Names, at: MediaTime) -> &mut Passage {
        let Self { list, before, .. } = self;
        let new = Passage { since: at, seen: at, counts: 0, buckets: 0, presence: [0; 3], attended: (0, 0) };
        let place = list.place(names.now).unwrap_or_else(|| {
            let carried = names.before.and_then(|name| before.remove(name));
            list.push(names.now, carried.unwrap_or(new))
        });
        let passage = &mut list.lines[place].1;
        passage.seen = passage.seen.max(at);
        // A finding may be about a moment before the first frame in which its track was confirmed.
        passage.since = passage.since.min(at);
        passage
    }
}

/// Passages by pseudonym. A pseudonym that goes is erased from memory, also where the list moves to a larger place.
#[derive(Debug, Default)]
struct Book {
    /// Nearly in the order of their beginnings, so that those in view are near the end.
    lines: Vec<(Pseudonym, Passage)>,
}

impl Book {
    fn place(&self, name: Pseudonym) -> Option<usize> {
        self.lines.iter().rposition(|(of, _)| *of == name)
    }

    /// Adds a line; says where it is.
    fn push(&mut self, name: Pseudonym, passage: Passage) -> usize {
        if self.lines.len() == self.lines.capacity() {
            let mut larger = Self { lines: Vec::with_capacity((2 * self.lines.len()).max(64)) };
            larger.lines.extend_from_slice(&self.lines);
            // What is replaced is erased when it is dropped.
            *self = larger;
        }
        self.lines.push((name, passage));
        self.lines.len() - 1
    }

    fn remove(&mut self, name: Pseudonym) -> Option<Passage> {
        let place = self.place(name)?;
        let passage = self.lines[place].1;
        self.drop_line(place);
        Some(passage)
    }

    fn retain(&mut self, keep: impl Fn(&Passage) -> bool) {
        let mut place = 0;
        while let Some((_, passage)) = self.lines.get(place) {
            if keep(passage) {
                place += 1;
            } else {
                self.drop_line(place);
            }
        }
    }

    /// The last line takes its place.
    fn drop_line(&mut self, place: usize) {
        let last = self.lines.len() - 1;
        self.lines.swap(place, last);
        self.lines[last].0.zeroize();
        self.lines.truncate(last);
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.lines.iter_mut().for_each(|(name, _)| name.zeroize());
    }
}
