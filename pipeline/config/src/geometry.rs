//! The `geometry` block: lines, zones and the ground.

use std::collections::HashMap;

use kerbside_core::diagnostics::Position;
use kerbside_core::geometry::{Geometry, Line, PointInImage, Polygon, Shape, Site};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::tree::{Field, NAME_RULE, Reader, is_name};

use crate::polygon::{self, Fault};
use crate::privacy::refuse_labels;

/// The shortest line, in normalised coordinates: about 8 pixels of 768.
const MIN_LENGTH: f32 = 0.01;
const MAX_SITES: usize = 64;
const MAX_CORNERS: usize = 64;
/// Four points define the ground; more make it more exact.
const GROUND_POINTS: std::ops::RangeInclusive<usize> = 4..=8;
/// How far a street point may lie from the origin.
const MAX_METRES: f64 = 10_000.0;
/// How far a reference point may lie from where the others put it: this many metres, or this share of the distance
/// between the two points that lie furthest apart, whichever is more.
const LEAST_RESIDUAL: f64 = 0.25;
const RESIDUAL_SHARE: f64 = 0.03;

const POINT_RULE: &str = "a point is [x, y], both from 0 to 1, from the picture's top left";

/// Reads one site's shape; answers a stand-in after a problem.
type ReadShape = fn(&Field<'_>) -> Shape;

/// The ground, and the points by which it was given.
pub(crate) type Measured = (Ground, Vec<(PointInImage, PointOnGround)>);

/// Lines and zones, and the ground if it is there. Sites whose shape could not be read have a stand-in,
/// so that operators find their names; `None` when not even the names could be read.
pub(crate) fn read(field: &Field<'_>) -> Option<(Geometry, Option<Measured>)> {
    let reader = field.map()?;
    let mut sites = Sites::default();
    let kinds: [(_, ReadShape); 2] =
        [("lines", |field| Shape::Line(line(field))), ("zones", |field| Shape::Zone(zone(field)))];
    let mut named = true;
    for (key, shape) in kinds {
        if let Some(field) = reader.optional(key) {
            named &= field.map().is_some_and(|map| sites.add(&map, shape));
        }
    }
    let ground = reader.optional("ground").and_then(|field| ground(&field));
    reader.finish();
    sites.list.sort_by(|a, b| a.name.cmp(&b.name));
    named.then_some((Geometry { sites: sites.list }, ground))
}

#[derive(Default)]
struct Sites {
    list: Vec<Site>,
    places: HashMap<String, Position>,
}

impl Sites {
    /// Reads the sites of one kind; false when some were left out.
    fn add(&mut self, map: &Reader<'_>, shape: ReadShape) -> bool {
        for (name, field) in map.entries() {
            if self.list.len() == MAX_SITES {
                field.key_problem(
                    format!("this is line or zone number {}", MAX_SITES + 1),
                    format!("at most {MAX_SITES} lines and zones together are allowed"),
                );
                return false;
            }
            if !is_name(name) {
                field.key_problem(format!("'{name}' is not a name"), NAME_RULE);
            }
            if let Some(Position { line, column }) = self.places.get(name) {
                field.key_problem(
                    format!("a line and a zone are both called '{name}'"),
                    format!("each name once among lines and zones; the first is at {line}:{column}"),
                );
                shape(&field);
                continue;
            }
            self.places.insert(name.to_owned(), field.key_position());
            self.list.push(Site { name: name.to_owned(), shape: shape(&field) });
        }
        true
    }
}

fn line(field: &Field<'_>) -> Line {
    let stand_in = Line { from: PointInImage { x: 0.0, y: 0.0 }, to: PointInImage { x: 1.0, y: 1.0 } };
    let Some(reader) = field.map() else { return stand_in };
    let from = reader.required("from").and_then(|field| point(&field));
    let to = reader.required("to").and_then(|field| point(&field));
    refuse_labels(&reader);
    reader.finish();
    let (Some(from), Some(to)) = (from, to) else { return stand_in };
    let length = (to.x - from.x).hypot(to.y - from.y);
    if length < MIN_LENGTH {
        field.problem(
            format!("the line is only {length:.4} long"),
            format!("a length of at least {MIN_LENGTH} is expected, where 1 is the picture's width or height"),
        );
    }
    Line { from, to }
}

fn zone(field: &Field<'_>) -> Polygon {
    let corners = field.map().and_then(|reader| {
        let corners = reader.required("polygon").and_then(|field| corners(&field));
        refuse_labels(&reader);
        reader.finish();
        corners
    });
    let whole = || [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)].map(|(x, y)| PointInImage { x, y }).to_vec();
    Polygon { corners: corners.unwrap_or_else(whole) }
}

fn corners(field: &Field<'_>) -> Option<Vec<PointInImage>> {
    let items = field.list()?;
    if !(3..=MAX_CORNERS).contains(&items.len()) {
        field.problem(
            format!("the polygon has {} corners", items.len()),
            format!("3 to {MAX_CORNERS} corners are expected"),
        );
        return None;
    }
    let corners = points(&items, point)?;
    let path = |corner: usize| format!("{}[{corner}]", field.path());
    let rule = "neighbouring corners differ and no edge touches or crosses another";
    let Some(fault) = polygon::fault(&corners) else { return Some(corners) };
    match fault {
        Fault::Repeated(corner) => items.get(corner)?.problem("the corner is where the one before it is", rule),
        Fault::Crossing(first, second) => items.get(second)?.problem(
            format!(
                "the edge from here to the next corner touches or crosses the one that begins at {}",
                path(first)
            ),
            rule,
        ),
        Fault::TooSmall(area) => field.problem(
            format!("the zone covers only {area:.6} of the picture"),
            format!("at least {} is expected, where 1 is the whole picture", polygon::MIN_AREA),
        ),
    }
    None
}

fn ground(field: &Field<'_>) -> Option<Measured> {
    let reader = field.map()?;
    let image =
        reader.required("image").and_then(|field| ground_points(&field, point, |p| [p.x.into(), p.y.into()]));
    let on_street = reader.required("metres");
    let metres = on_street.as_ref().and_then(|field| ground_points(field, street_point, |p| [p.x, p.y]));
    reader.finish();
    let (image, metres, on_street) = (image?, metres?, on_street?);
    if image.len() != metres.len() {
        field.problem(
            format!("{} points in the picture and {} on the street", image.len(), metres.len()),
            "as many of the one as of the other are expected, in the same order",
        );
        return None;
    }
    let ground = match Ground::fit(&image, &metres) {
        Ok(ground) => ground,
        Err(error) => {
            field.problem(
                format!("{error}: no camera sees a flat street like this"),
                "points of one flat street, in the same order in the picture and in metres, are expected",
            );
            return None;
        }
    };
    if let Some(strayed) = strayed(&image, &metres) {
        let Strayed { most, point, off } = strayed;
        let allowed = format!("points that agree to {most:.2} m are expected: measure and click them again");
        match point {
            Some(point) => on_street
                .list()?
                .get(point)?
                .problem(format!("the other points put this one {off:.2} m away from here"), allowed),
            None => on_street.problem(
                format!(
                    "the points do not agree: without any one of them the others put it {off:.2} m off or more"
                ),
                allowed,
            ),
        }
        return None;
    }
    Some((ground, image.into_iter().zip(metres).collect()))
}

/// Reference points that do not agree.
struct Strayed {
    /// How far off a point may be, in metres.
    most: f64,
    /// Which one is off, where that can be told.
    point: Option<usize>,
    /// How far off it is, in metres.
    off: f64,
}

/// Whether one of the points was measured or clicked wrongly. Each is left out in turn and compared with where the
/// others put it: a fit that includes it would follow it. Four points always agree. Of five, all are put off
/// when one is, since any four agree; of six or more it is the one without which the others agree best.
fn strayed(image: &[PointInImage], metres: &[PointOnGround]) -> Option<Strayed> {
    let pairs = metres.iter().flat_map(|a| metres.iter().map(move |b| a.distance(*b)));
    let most = LEAST_RESIDUAL.max(RESIDUAL_SHARE * pairs.fold(0.0, f64::max));
    let left_out = |place: usize| {
        let (others_in_image, others) = (all_but(image, place), all_but(metres, place));
        let fitted = Ground::fit(&others_in_image, &others).ok()?;
        let off = fitted.on_ground(*image.get(place)?)?.distance(*metres.get(place)?);
        let rest = fitted.residuals(&others_in_image, &others).fold(0.0, f64::max);
        Some((place, rest, off))
    };
    let judged: Vec<(usize, f64, f64)> = (0..image.len()).filter_map(left_out).collect();
    if image.len() <= 5 {
        let off = judged.iter().map(|(_, _, off)| *off).fold(f64::INFINITY, f64::min);
        return (off.is_finite() && off > most).then_some(Strayed { most, point: None, off });
    }
    let (point, rest, off) = judged.into_iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let strayed = off > most || rest > most;
    strayed.then_some(Strayed { most, point: (rest <= most).then_some(point), off: off.max(rest) })
}

fn all_but<T: Copy>(all: &[T], place: usize) -> Vec<T> {
    all.iter().enumerate().filter(|(index, _)| *index != place).map(|(_, one)| *one).collect()
}

fn ground_points<P: Copy>(
    field: &Field<'_>,
    read: fn(&Field<'_>) -> Option<P>,
    plain: fn(P) -> [f64; 2],
) -> Option<Vec<P>> {
    let items = field.list()?;
    let (few, many) = GROUND_POINTS.into_inner();
    if !(few..=many).contains(&items.len()) {
        field.problem(
            format!("a list of length {} was found", items.len()),
            format!("{few} to {many} points are expected"),
        );
        return None;
    }
    let points = points(&items, read)?;
    let plain: Vec<[f64; 2]> = points.iter().map(|p| plain(*p)).collect();
    let Some(([ax, ay], rest)) = plain.split_first() else { return Some(points) };
    // The largest triangle over the first point has an area exactly when not all lie on one line.
    let spread = rest.iter().flat_map(|b| rest.iter().map(move |c| (b, c)));
    let area = spread.map(|([bx, by], [cx, cy])| ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)).abs());
    if area.fold(0.0, f64::max) < 1e-4 {
        field.problem("the points lie on one line", "points that span an area are expected");
        return None;
    }
    for (index, item) in items.iter().enumerate() {
        if let Some(first) = plain.iter().take(index).position(|p| Some(p) == plain.get(index)) {
            item.problem(
                format!("the point is the same as {}[{first}]", field.path()),
                "points that differ are expected",
            );
            return None;
        }
    }
    Some(points)
}

/// All of them, or `None` after reading all when one could not be read.
fn points<P>(items: &[Field<'_>], read: fn(&Field<'_>) -> Option<P>) -> Option<Vec<P>> {
    let read: Vec<Option<P>> = items.iter().map(read).collect();
    read.into_iter().collect()
}

fn point(field: &Field<'_>) -> Option<PointInImage> {
    let [x, y] = pair(field, POINT_RULE)?;
    let x = x.number(0.0..=1.0, "picture widths");
    let y = y.number(0.0..=1.0, "picture heights");
    Some(PointInImage { x: x? as f32, y: y? as f32 })
}

fn street_point(field: &Field<'_>) -> Option<PointOnGround> {
    let [x, y] = pair(field, "a point on the street is [x, y] in metres")?;
    let x = x.number(-MAX_METRES..=MAX_METRES, "metres");
    let y = y.number(-MAX_METRES..=MAX_METRES, "metres");
    Some(PointOnGround { x: x?, y: y? })
}

fn pair<'a>(field: &Field<'a>, rule: &str) -> Option<[Field<'a>; 2]> {
    let items = field.list()?;
    let count = items.len();
    let pair = <[Field<'a>; 2]>::try_from(items).ok();
    if pair.is_none() {
        field.problem(format!("a list of length {count} was found"), rule);
    }
    pair
}
