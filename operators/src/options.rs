//! Options that several operators share.
//!
//! Each reader reports every problem it finds and answers `None` when there was one, so that an operator
//! reads all of its keys first and then gives up once.

use std::ops::RangeInclusive;
use std::time::Duration;

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::allowed_words;
use kerbside_core::geometry::{Line, PointInImage, Polygon, SiteId};
use kerbside_core::ground::Ground;
use kerbside_core::operator::{OptionDoc, Surroundings};
use kerbside_core::tree::{Field, Reader};

/// The manual's row for `classes`.
pub(crate) const CLASSES: OptionDoc = OptionDoc {
    name: "classes",
    takes: "a list of classes; default: all that the camera looks for",
    meaning: "Which classes are measured.",
};

/// The manual's row for `classes` of an operator for vehicles.
pub(crate) const VEHICLE_CLASSES: OptionDoc = OptionDoc {
    name: "classes",
    takes: "a list of classes; default: all that the camera looks for but people and bicycles",
    meaning: "Which classes are measured.",
};

/// What situations of vehicles are about. Not [`Class::Other`]: nobody knows what that is, and an alarm needs
/// something known.
pub(crate) const VEHICLES: [Class; 4] = [Class::Motorcycle, Class::Car, Class::Bus, Class::Truck];

/// What counts as traffic: everything that is not a person's own count. [`Class::Other`] takes its place on the
/// street like the rest.
pub(crate) const TRAFFIC: [Class; 5] = [Class::Motorcycle, Class::Car, Class::Bus, Class::Truck, Class::Other];

/// The manual's row for `classes` of an operator for situations of vehicles.
pub(crate) const SITUATION_CLASSES: OptionDoc = OptionDoc {
    name: "classes",
    takes: "a list of classes; default: motorcycle, car, bus and truck, as far as the camera looks for them",
    meaning: "Which classes are watched.",
};

/// The required key `line`.
pub(crate) fn line(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<(SiteId, Line)> {
    named_line(&reader.required("line")?, surroundings)
}

/// A field that names a line.
pub(crate) fn named_line(field: &Field<'_>, surroundings: Surroundings<'_>) -> Option<(SiteId, Line)> {
    let name = field.name()?;
    let found = surroundings.geometry.line(name);
    if found.is_none() {
        field.problem(
            format!("there is no line '{name}'"),
            known("lines", name, &surroundings.geometry.line_names()),
        );
    }
    found
}

/// The required key `zone`.
pub(crate) fn zone(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<(SiteId, Polygon)> {
    zone_named(&reader.required("zone")?, surroundings)
}

/// A list of different zones, as many as `numbers` allows.
pub(crate) fn zones(
    field: &Field<'_>,
    surroundings: Surroundings<'_>,
    numbers: RangeInclusive<usize>,
) -> Option<Vec<(SiteId, Polygon)>> {
    let items = field.list()?;
    let mut clean = numbers.contains(&items.len());
    if !clean {
        let allowed = format!("{} to {} zones are expected", numbers.start(), numbers.end());
        field.problem(format!("{} zones are listed", items.len()), allowed);
    }
    let mut chosen: Vec<(SiteId, Polygon)> = Vec::with_capacity(items.len());
    for item in items {
        match zone_named(&item, surroundings) {
            Some((site, _)) if chosen.iter().any(|(before, _)| *before == site) => {
                item.problem("the zone is listed twice", "each zone once");
                clean = false;
            }
            Some(zone) => chosen.push(zone),
            None => clean = false,
        }
    }
    clean.then_some(chosen)
}

fn zone_named(field: &Field<'_>, surroundings: Surroundings<'_>) -> Option<(SiteId, Polygon)> {
    let name = field.name()?;
    let found = surroundings.geometry.zone(name);
    if found.is_none() {
        field.problem(
            format!("there is no zone '{name}'"),
            known("zones", name, &surroundings.geometry.zone_names()),
        );
    }
    found.map(|(site, polygon)| (site, polygon.clone()))
}

/// The ground of the camera, which an operator that speaks of metres cannot do without.
pub(crate) fn ground(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Ground> {
    if surroundings.ground.is_none() {
        reader.problem(
            "distances on the street are needed here, and the camera's geometry has no ground",
            "geometry.ground with four or more points of the picture and where they lie in metres is expected",
        );
    }
    surroundings.ground.copied()
}

/// Whether all of a line or zone lies on the street; where it does not, that is a problem.
pub(crate) fn is_on_ground(reader: &Reader<'_>, ground: &Ground, corners: &[PointInImage]) -> bool {
    // A straight edge between two points on the street is on the street.
    let all = corners.iter().all(|corner| ground.on_ground(*corner).is_some());
    if !all {
        reader.problem(
            "a part of it lies above the horizon of the ground",
            "a line or zone that lies on the street with all of its corners is expected",
        );
    }
    all
}

/// The key `classes`: some of the camera's classes, in the order of [`Class::ALL`].
pub(crate) fn classes(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Vec<Class>> {
    classes_among(reader, surroundings, &Class::ALL, &Class::ALL)
}

/// The key `classes` of an operator for vehicles: where it is missing, the camera's vehicles.
pub(crate) fn vehicles(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Vec<Class>> {
    classes_among(reader, surroundings, &Class::ALL, &TRAFFIC)
}

/// The key `classes` of an operator that is about some classes only: of those that the camera looks for
/// and that are `allowed`; by default those that are `usual`.
pub(crate) fn classes_among(
    reader: &Reader<'_>,
    surroundings: Surroundings<'_>,
    allowed: &[Class],
    usual: &[Class],
) -> Option<Vec<Class>> {
    let possible: Vec<Class> = surroundings.classes.iter().copied().filter(|it| allowed.contains(it)).collect();
    let names: Vec<&str> = possible.iter().map(|class| class.name()).collect();
    let Some(field) = reader.optional(CLASSES.name) else {
        let chosen: Vec<Class> = possible.iter().copied().filter(|class| usual.contains(class)).collect();
        if chosen.is_empty() {
            let usual: Vec<&str> = usual.iter().map(|class| class.name()).collect();
            let expected = format!("it must look for some of {}", usual.join(", "));
            reader.problem("the camera looks for nothing that this operator is about", expected);
            return None;
        }
        return Some(chosen);
    };
    let items = field.list()?;
    if items.is_empty() {
        field.problem("no class is listed", allowed_words("", &names));
        return None;
    }
    let mut chosen = Vec::with_capacity(items.len());
    let mut clean = true;
    for item in items {
        let Some(name) = item.text() else {
            clean = false;
            continue;
        };
        match Class::from_name(name).filter(|class| surroundings.classes.contains(class)) {
            Some(class) if chosen.contains(&class) => {
                item.problem(format!("'{name}' is listed twice"), "each class once");
                clean = false;
            }
            Some(class) if possible.contains(&class) => chosen.push(class),
            Some(_) => {
                item.problem(format!("this operator is not about '{name}'"), allowed_words(name, &names));
                clean = false;
            }
            None => {
                item.problem(format!("this camera does not look for '{name}'"), allowed_words(name, &names));
                clean = false;
            }
        }
    }
    chosen.sort_unstable();
    clean.then_some(chosen)
}

/// A camera that does not look for people is of no use to an operator about people.
pub(crate) fn people(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<()> {
    let looks = surroundings.classes.contains(&Class::Person);
    if !looks {
        reader.problem("the camera does not look for people", "'person' is expected among its classes");
    }
    looks.then_some(())
}

/// The key `name`, a span of time in `range`, or what it is by default.
pub(crate) fn duration_or(
    reader: &Reader<'_>,
    name: &'static str,
    range: RangeInclusive<Duration>,
    default: Duration,
) -> Option<Duration> {
    reader.optional(name).map_or(Some(default), |field| field.duration(range))
}

/// The key `name`, a number of `unit` in `range`, or what it is by default.
pub(crate) fn number_or(
    reader: &Reader<'_>,
    name: &'static str,
    range: RangeInclusive<f64>,
    unit: &str,
    default: f64,
) -> Option<f64> {
    reader.optional(name).map_or(Some(default), |field| field.number(range, unit))
}

fn known(what: &str, given: &str, names: &[&str]) -> String {
    if names.is_empty() { format!("the camera's geometry has no {what}") } else { allowed_words(given, names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_what_is_not_personal() {
        for class in Class::ALL {
            assert_eq!(TRAFFIC.contains(&class), !class.is_personal(), "{class:?}");
        }
    }
}
