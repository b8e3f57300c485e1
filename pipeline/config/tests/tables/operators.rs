//! Two operators that are configured like real ones and do nothing.

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Findings, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{IncidentKind, IncidentUnit};
use kerbside_core::observation::Observation;
use kerbside_core::operator::{Alert, Configured, Operator, OperatorSpec, OptionDoc, Surroundings};
use kerbside_core::time::MediaTime;
use kerbside_core::tree::Reader;

const CLASSES: OptionDoc = OptionDoc { name: "classes", takes: "classes", meaning: "What is counted." };

pub(crate) const TABLE: [OperatorSpec; 2] = [
    OperatorSpec {
        name: "count_line",
        summary: "Counts crossings.",
        manual: "",
        options: &[
            OptionDoc { name: "line", takes: "a line", meaning: "Where." },
            CLASSES,
            OptionDoc { name: "hysteresis", takes: "box heights", meaning: "How far." },
        ],
        example: "",
        configure: count_line,
    },
    OperatorSpec {
        name: "measure_occupancy",
        summary: "Measures occupancy.",
        manual: "",
        options: &[OptionDoc { name: "zone", takes: "a zone", meaning: "Where." }, CLASSES],
        example: "",
        configure: measure_occupancy,
    },
];

/// One more, which feeds and watches whatever its entry says.
pub(crate) const FREE: OperatorSpec = OperatorSpec {
    name: "measure_freely",
    summary: "Measures anything.",
    manual: "",
    options: &[],
    example: "",
    configure: measure_freely,
};

struct Idle;

impl Operator for Idle {
    fn observe(&mut self, _: &Observation<'_>, _: &mut Findings) {}
    fn advance(&mut self, _: MediaTime, _: &mut Findings) {}
    fn finish(&mut self, _: &mut Findings) {}
}

/// Stops at the first problem, before it has asked for all of its options.
fn count_line(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let field = reader.required("line")?;
    let line = surroundings.geometry.line(field.text()?);
    if line.is_none() {
        field
            .problem("there is no such line", format!("lines: {}", surroundings.geometry.line_names().join(", ")));
    }
    if let Some(field) = reader.optional("hysteresis") {
        field.number(0.0..=1.0, "box heights")?;
    }
    let (site, _) = line?;
    configured(reader, surroundings, site, Measure::CrossingCount, &[Direction::Forward, Direction::Backward])
}

fn measure_occupancy(reader: &Reader<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let field = reader.required("zone")?;
    let zone = surroundings.geometry.zone(field.text()?);
    if zone.is_none() {
        field
            .problem("there is no such zone", format!("zones: {}", surroundings.geometry.zone_names().join(", ")));
    }
    let (site, _) = zone?;
    configured(reader, surroundings, site, Measure::OccupancyTime, &[Direction::None])
}

/// `{feeds: [MEASURE, ...], watches: [MEASURE, ...], classes: [CLASS, ...], crowd: PEOPLE}`, at the picture; of all
/// vehicles together where there are no classes.
fn measure_freely(reader: &Reader<'_>, _: Surroundings<'_>) -> Option<Configured> {
    let words = |key| -> Vec<&str> {
        let items = reader.optional(key).and_then(|field| field.list()).unwrap_or_default();
        items.iter().filter_map(|item| item.text()).collect()
    };
    let mut classes: Vec<Option<Class>> = words("classes").into_iter().map(Class::from_name).collect();
    if classes.is_empty() {
        classes.push(None);
    }
    let cells = |key| -> Vec<Cell> {
        let names = words(key);
        let measures = Measure::ALL.into_iter().filter(|measure| names.contains(&measure.name()));
        let cells =
            measures.flat_map(|it| classes.iter().map(move |class| Cell::new(SiteId::PICTURE, it, *class)));
        cells.flat_map(Cell::histogram).collect()
    };
    let watches = cells("watches");
    let people = reader.optional("crowd").and_then(|field| field.integer(1..=1000, "people"));
    let alerts = people.map(|people| Alert {
        site: SiteId::PICTURE,
        kind: IncidentKind::CrowdDensity,
        class: Class::Person,
        from_milli: 1000 * people as u32,
        until_milli: 800 * people as u32,
        value: people as i32,
        unit: IncidentUnit::Count,
        share: 0,
    });
    Some(Configured { watches, ..Configured::counting(Idle, cells("feeds")).alerting(alerts) })
}

fn configured(
    reader: &Reader<'_>,
    surroundings: Surroundings<'_>,
    site: SiteId,
    measure: Measure,
    directions: &[Direction],
) -> Option<Configured> {
    let mut classes = surroundings.classes.to_vec();
    if let Some(field) = reader.optional("classes") {
        classes.clear();
        for item in field.list()? {
            let class =
                item.text().and_then(Class::from_name).filter(|class| surroundings.classes.contains(class));
            if class.is_none() {
                item.problem("the camera does not look for this class", "a class of the camera");
            }
            classes.push(class?);
        }
    }
    let cell = |class, direction| Cell::new(site, measure, Some(class)).directed(direction);
    let cells = classes.iter().flat_map(|class| directions.iter().map(move |direction| cell(*class, *direction)));
    Some(Configured::counting(Idle, cells.collect()))
}
