//! Operators configured from YAML, as an installer writes them.

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::Problems;
use kerbside_core::geometry::{Geometry, Line, PointInImage, Polygon, Shape, Site, SiteId};
use kerbside_core::ground::{Ground, PointOnGround};
use kerbside_core::operator::{Configured, Surroundings};
use kerbside_core::tree::{Field, Reader};
use kerbside_core::yaml;

/// The operators of a `geometry:` and an `operators:` block, with their names and sites, or the problems
/// in words.
pub(crate) fn configure(text: &str) -> Result<Vec<(String, Configured)>, Vec<String>> {
    let problems = Problems::in_file("camera.yaml");
    let value = yaml::parse(text, &problems).expect("valid YAML");
    let reader = Reader::root(&value, &problems).expect("a map");
    let geometry = geometry(&reader.required("geometry").expect("a geometry block"));
    let ground = ground(&reader.required("geometry").expect("a geometry block"));
    let surroundings = Surroundings { geometry: &geometry, ground: ground.as_ref(), classes: &Class::ALL[..6] };
    let mut configured = Vec::new();
    let operators = reader.required("operators").expect("an operators block").map().expect("a map");
    for (name, entries) in operators.entries() {
        let spec = kerbside_operators::find(name).expect("a known operator");
        for entry in entries.list().expect("a list") {
            let before = problems.count();
            let operator = (spec.configure)(&entry.map().expect("a map"), surroundings);
            assert_eq!(operator.is_none(), problems.count() > before, "no operator without a reason");
            configured.extend(operator.map(|operator| (name.to_owned(), operator)));
        }
    }
    let problems = problems.into_sorted();
    if problems.is_empty() { Ok(configured) } else { Err(problems.iter().map(ToString::to_string).collect()) }
}

/// The one operator of a text that has no problems.
pub(crate) fn only(text: &str) -> Configured {
    let mut all = configure(text).expect("no problems");
    assert_eq!(all.len(), 1);
    all.remove(0).1
}

/// The lines and zones of a text.
pub(crate) fn geometry_of(text: &str) -> Geometry {
    let problems = Problems::in_file("camera.yaml");
    let value = yaml::parse(text, &problems).expect("valid YAML");
    let reader = Reader::root(&value, &problems).expect("a map");
    geometry(&reader.required("geometry").expect("a geometry block"))
}

/// The name of a site of the text's geometry.
pub(crate) fn site_name(text: &str, site: SiteId) -> String {
    geometry_of(text).name(site).expect("a known site").to_owned()
}

/// Reads what the examples need; the config crate checks what a user writes.
fn geometry(field: &Field<'_>) -> Geometry {
    let mut sites = Vec::new();
    let map = field.map().expect("a map");
    for (kind, named) in map.entries().filter(|(kind, _)| *kind != "ground") {
        for (name, shape) in named.map().expect("a map").entries() {
            let shape = shape.map().expect("a map");
            let points = |field: Field<'_>| -> Vec<PointInImage> {
                field.list().expect("points").iter().map(point).collect()
            };
            let shape = match kind {
                "lines" => Shape::Line(Line {
                    from: point(&shape.required("from").expect("from")),
                    to: point(&shape.required("to").expect("to")),
                }),
                "zones" => Shape::Zone(Polygon { corners: points(shape.required("polygon").expect("polygon")) }),
                other => panic!("unknown key {other}"),
            };
            sites.push(Site { name: name.to_owned(), shape });
        }
    }
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    Geometry { sites }
}

fn ground(field: &Field<'_>) -> Option<Ground> {
    let map = field.map().expect("a map");
    let field = map.optional("ground")?;
    let ground = field.map().expect("a map");
    let (image, metres) = (ground.required("image").expect("points"), ground.required("metres").expect("points"));
    let image: Vec<PointInImage> = image.list().expect("a list").iter().map(point).collect();
    let metres: Vec<PointOnGround> = metres.list().expect("a list").iter().map(point_on_ground).collect();
    Some(Ground::fit(&image, &metres).expect("a ground"))
}

fn point_on_ground(field: &Field<'_>) -> PointOnGround {
    let numbers = field.list().expect("x and y");
    let [x, y] = [0, 1].map(|axis| numbers[axis].number(-1e4..=1e4, "metres").expect("a number"));
    PointOnGround { x, y }
}

fn point(field: &Field<'_>) -> PointInImage {
    let numbers: Vec<f32> =
        field.list().expect("x and y").iter().map(|n| n.number(0.0..=1.0, "").expect("a number") as f32).collect();
    PointInImage { x: numbers[0], y: numbers[1] }
}
