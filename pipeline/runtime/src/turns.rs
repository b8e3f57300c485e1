//! Where frames of many cameras wait for a free detector, and whose turn it is.
//!
//! ```text
//! lane ─▶ <camera>/detect ─┐
//! lane ─▶ <camera>/detect ─┼─▶ the camera that was served the longest time ago ─▶ whoever is free
//! lane ─▶ <camera>/detect ─┘
//!    └──▶ detect: one notice an item, in which the free wait
//! ```
//!
//! Each camera has an edge of its own, first come, first served, with room for all that it may have waiting. Among
//! cameras that wait, the one goes next that was served the longest time ago. So between two items of a camera at
//! most one of each other camera is taken, whatever the others have waiting.
//!
//! Cameras may come and go: [`Doors`] opens an entrance for a new one, and a camera whose entrance is gone has its turns
//! no more once nothing of it waits.
//!
//! Invariants: an item is in its camera's edge before it is counted, and counted before its notice is sent; whoever
//! holds a notice therefore finds an item, its own or one that came before. Nothing waits for anything while turns are chosen.
//! Threads: an [`Entrance`] belongs to its camera's lane; [`Turns`] is shared by all who are served. Not here:
//! weights or priorities of cameras, and how long serving an item takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kerbside_channel::{Closed, Receiver, Sender, WhenFull, edge};
use kerbside_telemetry::Telemetry;

/// More than all cameras of a node have waiting; with more, a camera waits to say so.
const NOTICES: usize = 1024;

/// One item waits somewhere.
struct Notice;

/// Where one camera's items go in.
pub(crate) struct Entrance<T> {
    items: Sender<T>,
    waiting: Arc<AtomicUsize>,
    notices: Sender<Notice>,
}

/// Where entrances are made.
pub(crate) struct Doors<T> {
    notices: Sender<Notice>,
    cameras: Arc<Queue<T>>,
}

/// Where the items of all cameras come out, by turns.
pub(crate) struct Turns<T> {
    notices: Receiver<Notice>,
    cameras: Arc<Queue<T>>,
}

/// The camera that was served the longest time ago comes first.
type Queue<T> = Mutex<Vec<Camera<T>>>;

struct Camera<T> {
    items: Receiver<T>,
    /// Items that nobody has claimed yet.
    waiting: Arc<AtomicUsize>,
}

impl<T> Camera<T> {
    /// Whether its entrance is gone and nothing of it waits.
    fn is_over(&self) -> bool {
        Arc::strong_count(&self.waiting) == 1 && self.waiting.load(Ordering::Acquire) == 0
    }
}

/// Makes the way from cameras to whoever serves them; it ends when the doors and all entrances are gone.
pub(crate) fn turns<T>(telemetry: &Telemetry) -> (Doors<T>, Turns<T>) {
    let (notices, noticed) = edge(telemetry, "detect", NOTICES, WhenFull::Block);
    let cameras = Arc::new(Mutex::new(Vec::new()));
    (Doors { notices, cameras: Arc::clone(&cameras) }, Turns { notices: noticed, cameras })
}

impl<T> Doors<T> {
    /// An entrance for a camera, which may have `room` items waiting.
    pub(crate) fn open(&self, telemetry: &Telemetry, camera: &str, room: usize) -> Entrance<T> {
        let (items, taken) = edge(telemetry, &format!("{camera}/detect"), room.max(1), WhenFull::Block);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut cameras = self.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        cameras.retain(|camera| !camera.is_over());
        cameras.push(Camera { items: taken, waiting: Arc::clone(&waiting) });
        Entrance { items, waiting, notices: self.notices.clone() }
    }
}

impl<T> Entrance<T> {
    /// Puts an item in; waits while the camera has as many waiting as it may.
    pub(crate) fn send(&self, item: T) -> Result<(), Closed<()>> {
        self.items.send(item).map_err(|_| Closed(()))?;
        self.waiting.fetch_add(1, Ordering::Release);
        self.notices.send(Notice).map_err(|_| Closed(()))?;
        Ok(())
    }
}

impl<T> Turns<T> {
    /// The next item; waits for it. `None` when every entrance is gone and nothing waits.
    pub(crate) fn receive(&self) -> Option<T> {
        let Notice = self.notices.receive()?;
        // A panic in here comes before the order is changed.
        let mut cameras = self.cameras.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |camera: &Camera<T>| camera.waiting.load(Ordering::Acquire) > 0;
        let place = cameras.iter().position(waits).expect("a notice is sent after its item was counted");
        let camera = &cameras[place];
        camera.waiting.fetch_sub(1, Ordering::AcqRel);
        // It is there: whoever counted it had put it in.
        let item = camera.items.receive();
        cameras[place..].rotate_left(1);
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way of these cameras, each with its room.
    fn turns(telemetry: &Telemetry, cameras: &[(&str, usize)]) -> (Vec<Entrance<u32>>, Turns<u32>) {
        let (doors, turns) = super::turns(telemetry);
        (cameras.iter().map(|(name, room)| doors.open(telemetry, name, *room)).collect(), turns)
    }

    /// Takes that many items.
    fn take(turns: &Turns<u32>, count: usize) -> Vec<u32> {
        (0..count).map(|_| turns.receive().unwrap()).collect()
    }

    #[test]
    fn a_camera_that_has_much_waiting_does_not_hold_up_one_that_has_little() {
        let telemetry = Telemetry::new();
        let (entrances, turns) = turns(&telemetry, &[("greedy", 9), ("modest", 1)]);
        for item in 0..9 {
            entrances[0].send(item).unwrap();
        }
        assert_eq!(take(&turns, 1), [0]);
        entrances[1].send(100).unwrap();
        assert_eq!(take(&turns, 2), [100, 1], "the modest one is next, however long the other has waited");
        entrances[1].send(101).unwrap();
        assert_eq!(take(&turns, 8), [101, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn between_two_items_of_a_camera_each_other_has_at_most_one() {
        const ROOM: usize = 4;
        let telemetry = Telemetry::new();
        let names = ["a", "b", "c"];
        let (entrances, turns) = turns(&telemetry, &names.map(|name| (name, ROOM)));
        let mut waiting = [0; 3];
        let mut since = [[0; 3]; 3];
        let mut state: u32 = 7;
        for _ in 0..2000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let camera = (state >> 16) as usize % 3;
            if state >> 31 == 0 && waiting[camera] < ROOM {
                entrances[camera].send(camera as u32).unwrap();
                if waiting[camera] == 0 {
                    since[camera] = [0; 3];
                }
                waiting[camera] += 1;
            } else if waiting.iter().sum::<usize>() > 0 {
                let served = turns.receive().unwrap() as usize;
                waiting[served] -= 1;
                since[served] = [0; 3];
                for other in (0..3).filter(|other| *other != served && waiting[*other] > 0) {
                    since[other][served] += 1;
                    assert!(since[other][served] <= 1, "{served} was served twice while {other} waited");
                }
            }
        }
        let served = telemetry.render();
        assert!(names.iter().all(|name| served.contains(&format!("edge=\"{name}/detect\""))), "{served}");
    }

    #[test]
    fn nothing_is_lost_between_many_threads_and_the_end_is_seen() {
        let telemetry = Telemetry::new();
        let (entrances, turns) = turns(&telemetry, &[("a", 1), ("b", 2), ("c", 8)]);
        let mut taken = std::thread::scope(|scope| {
            for (camera, entrance) in entrances.into_iter().enumerate() {
                scope.spawn(move || (0..300).for_each(|item| entrance.send(1000 * camera as u32 + item).unwrap()));
            }
            let takers: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| std::iter::from_fn(|| turns.receive()).collect::<Vec<_>>()))
                .collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect::<Vec<_>>()
        });
        taken.sort_unstable();
        let all: Vec<u32> = (0..3).flat_map(|camera| (0..300).map(move |item| 1000 * camera + item)).collect();
        assert_eq!(taken, all);
    }

    #[test]
    fn an_entrance_notices_that_nobody_is_served_any_more() {
        let telemetry = Telemetry::new();
        let (entrances, turns) = turns(&telemetry, &[("a", 1)]);
        drop(turns);
        assert_eq!(entrances[0].send(1), Err(Closed(())));
    }

    #[test]
    fn a_camera_that_comes_later_has_its_turn_and_one_that_goes_leaves_what_it_had_waiting() {
        let telemetry = Telemetry::new();
        let (doors, turns) = super::turns(&telemetry);
        let first = doors.open(&telemetry, "first", 4);
        (0..3).for_each(|item| first.send(item).unwrap());
        assert_eq!(take(&turns, 1), [0]);
        let second = doors.open(&telemetry, "second", 1);
        second.send(100).unwrap();
        drop(first);
        assert_eq!(take(&turns, 3), [1, 100, 2]);
        let third = doors.open(&telemetry, "third", 1);
        assert_eq!(turns.cameras.lock().unwrap().len(), 2, "the first has no turn any more");
        third.send(200).unwrap();
        drop((doors, second, third));
        assert_eq!((turns.receive(), turns.receive()), (Some(200), None));
    }
}
