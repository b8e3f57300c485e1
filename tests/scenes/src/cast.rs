//! The actors of a scene file: one entry is one actor, or many copies of it.

use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::ground::PointOnGround;
use kerbside_core::tree::{Field, Reader};

use crate::Actor;
use crate::read::{class, integer, list, number, point, points, secs, size};
use crate::trip::{Halt, Plan, Trip, Wait};

/// How long something stands that has no end.
const FOR_EVER: f64 = 1e7;

/// Usual length, width and height of a class, metres.
pub(crate) const fn usual_size(class: Class) -> [f64; 3] {
    match class {
        Class::Person => [0.35, 0.5, 1.75],
        Class::Bicycle => [1.8, 0.6, 1.75],
        Class::Motorcycle => [2.1, 0.8, 1.6],
        Class::Car => [4.4, 1.8, 1.5],
        Class::Bus => [12.0, 2.55, 3.1],
        Class::Truck => [8.0, 2.4, 3.2],
        Class::Other => [0.6, 0.4, 0.5],
    }
}

/// Usual speed in m/s and acceleration in m/s².
const fn usual_speed(class: Class) -> (f64, f64) {
    match class {
        Class::Person => (1.4, 1.5),
        Class::Bicycle => (4.5, 1.2),
        Class::Motorcycle | Class::Car => (11.0, 2.5),
        Class::Bus | Class::Truck => (10.0, 1.3),
        Class::Other => (1.0, 1.0),
    }
}

/// How copies of an entry differ.
struct Repeat {
    count: u64,
    every: f64,
    /// Seconds either way.
    spread: f64,
    /// Metres to either side.
    aside: f64,
    /// Share of the speed either way.
    speed: f64,
    /// Every other one goes the other way.
    both_ways: bool,
    /// Each halts so many metres before the one before it, and starts so many seconds later.
    behind: f64,
    later: f64,
}

impl Repeat {
    const ONCE: Self = Self {
        count: 1,
        every: 0.0,
        spread: 0.0,
        aside: 0.0,
        speed: 0.0,
        both_ways: false,
        behind: 0.0,
        later: 0.0,
    };
}

/// Reads one entry.
pub(crate) fn actors(field: &Field<'_>, seed: u64, duration: Duration) -> Option<Vec<Actor>> {
    let reader = field.map()?;
    let name = reader.required("name").and_then(|field| field.name().map(str::to_owned));
    let class = reader.required("class").and_then(|field| class(&field));
    let size = reader.optional("size").map_or(Some(class.map(usual_size)), |field| size(&field).map(Some));
    let begins = reader.optional("begins").map_or(Some(0.0), |field| secs(&field));
    let confusion = number(&reader, "confusion", 0.0..=1.0, "", 0.0);
    if let Some(stands) = reader.optional("stands") {
        let at = point(&stands);
        let faces = number(&reader, "faces", -360.0..=360.0, "degrees", 90.0);
        let lasts = reader.optional("for").map_or(Some(FOR_EVER), |field| secs(&field));
        reader.finish();
        let (begins, class) = (begins?, class?);
        let trip = Trip::standing(at?, faces?, begins, begins + lasts?);
        return Some(vec![Actor { name: name?, class, size: size??, trip, confusion: confusion?, fixture: true }]);
    }
    let path = reader.required("path").and_then(|field| points(&field, 2..=64));
    let (usual, usual_acceleration) = class.map_or((1.0, 1.0), usual_speed);
    let speed = number(&reader, "speed", 0.05..=60.0, "m/s", usual);
    let acceleration = number(&reader, "acceleration", 0.1..=20.0, "m/s²", usual_acceleration);
    let rounding =
        number(&reader, "rounding", 0.0..=50.0, "metres", class.map_or(0.0, |class| usual_size(class)[0]));
    let changes = list(&reader, "changes", |field| {
        let reader = field.map()?;
        let after = after(&reader);
        let speed = reader.required("speed").and_then(|field| field.number(0.05..=60.0, "m/s"));
        reader.finish();
        Some((after?, speed?))
    });
    let halts = list(&reader, "halts", halt);
    let repeat = reader.optional("repeat").map_or(Some(Repeat::ONCE), |field| repeat(&field));
    reader.finish();
    let mut speeds = vec![(0.0, speed?)];
    speeds.extend(changes?);
    let plan = Plan {
        corners: path?,
        rounding: rounding?,
        begins: begins?,
        speeds,
        acceleration: acceleration?,
        halts: halts?,
    };
    let (name, class, size, confusion, repeat) = (name?, class?, size??, confusion?, repeat?);
    // Each entry has dice of its own, so that a new one does not change the others.
    let own = name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    let mut dice = fastrand::Rng::with_seed(own);
    let copies = (0..repeat.count)
        .map(|copy| copied(&plan, &repeat, copy, &mut dice))
        .filter(|plan| plan.begins < duration.as_secs_f64())
        .map(|plan| Actor { name: name.clone(), class, size, trip: Trip::new(&plan), confusion, fixture: false })
        .collect();
    Some(copies)
}

fn after(reader: &Reader<'_>) -> Option<f64> {
    reader.required("after").and_then(|field| field.number(0.0..=2000.0, "metres"))
}

fn halt(field: &Field<'_>) -> Option<Halt> {
    let reader = field.map()?;
    let after = after(&reader);
    let wait = match (reader.optional("for"), reader.optional("until")) {
        (Some(lasts), None) => secs(&lasts).map(Wait::For),
        (None, Some(until)) => secs(&until).map(Wait::Until),
        _ => {
            reader.problem("no length of the halt", "one of 'for' and 'until' is expected");
            None
        }
    };
    reader.finish();
    Some(Halt { after: after?, wait: wait? })
}

fn repeat(field: &Field<'_>) -> Option<Repeat> {
    let reader = field.map()?;
    let count = integer(&reader, "count", 1..=10_000, "copies", 10_000);
    let every = reader.required("every").and_then(|field| secs(&field));
    let spread = reader.optional("spread").map_or(Some(0.0), |field| secs(&field));
    let aside = number(&reader, "aside", 0.0..=100.0, "metres", 0.0);
    let speed = number(&reader, "speed", 0.0..=0.9, "", 0.0);
    let both_ways = reader.optional("both_ways").map_or(Some(false), |field| field.boolean());
    let behind = number(&reader, "behind", 0.0..=100.0, "metres", 0.0);
    let later = reader.optional("later").map_or(Some(0.0), |field| secs(&field));
    reader.finish();
    Some(Repeat {
        count: count?,
        every: every?,
        spread: spread?,
        aside: aside?,
        speed: speed?,
        both_ways: both_ways?,
        behind: behind?,
        later: later?,
    })
}

fn copied(plan: &Plan, repeat: &Repeat, copy: u64, dice: &mut fastrand::Rng) -> Plan {
    let mut either_way = |most: f64| most * (2.0 * dice.f64() - 1.0);
    let late = copy as f64;
    let (shift, pace) = (either_way(repeat.aside), 1.0 + either_way(repeat.speed));
    let mut corners = aside(&plan.corners, shift);
    if repeat.both_ways && copy % 2 == 1 {
        corners.reverse();
    }
    let halt = |halt: &Halt| Halt {
        after: (halt.after - late * repeat.behind).max(0.0),
        wait: match halt.wait {
            Wait::Until(until) => Wait::Until(until + late * repeat.later),
            Wait::For(lasts) => Wait::For(lasts),
        },
    };
    Plan {
        corners,
        begins: (plan.begins + late * repeat.every + either_way(repeat.spread)).max(0.0),
        speeds: plan.speeds.iter().map(|(from, speed)| (*from, speed * pace)).collect(),
        halts: plan.halts.iter().map(halt).collect(),
        ..*plan
    }
}

/// The same way `shift` metres to the left, roughly: each corner moves along the mean of its legs' normals.
fn aside(corners: &[PointOnGround], shift: f64) -> Vec<PointOnGround> {
    let normal = |a: PointOnGround, b: PointOnGround| {
        let length = a.distance(b).max(1e-9);
        [-(b.y - a.y) / length, (b.x - a.x) / length]
    };
    (0..corners.len())
        .map(|place| {
            let before = place.max(1) - 1;
            let after = (place + 1).min(corners.len() - 1);
            let [x, y] = normal(corners[before], corners[after]);
            PointOnGround { x: corners[place].x + shift * x, y: corners[place].y + shift * y }
        })
        .collect()
}
