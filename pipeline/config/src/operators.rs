//! The `operators` block: which analytics a camera runs.

use std::collections::BTreeMap;

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::allowed_words;
use kerbside_core::finding::Cell;
use kerbside_core::geometry::{Geometry, SiteId};
use kerbside_core::incident::IncidentKind;
use kerbside_core::operator::{Configured, OperatorSpec, Surroundings};
use kerbside_core::privacy::Privacy;
use kerbside_core::tree::Field;

use crate::Catalogue;
use crate::identity::recognised_by;
use crate::outflow::{self, Entry};
use crate::settings::NamedOperator;

/// Reads the block. Without surroundings, since the geometry could not be read, only the operators' names are
/// checked.
pub(crate) fn read(
    field: &Field<'_>,
    catalogue: &Catalogue<'_>,
    surroundings: Option<Surroundings<'_>>,
    privacy: &Privacy,
) -> Vec<NamedOperator> {
    let Some(map) = field.map() else { return Vec::new() };
    let mut found = Vec::new();
    let names: Vec<&str> = catalogue.operators.iter().map(|spec| spec.name).collect();
    let mut seen = 0;
    // In the order of the file, so that the second of two entries is the one that is refused.
    let mut taken = Taken::default();
    for (name, field) in map.entries() {
        seen += 1;
        let Some((place, spec)) = catalogue.operators.iter().enumerate().find(|(_, spec)| spec.name == name)
        else {
            match recognised_by(name) {
                Some(what) => field.key_problem(
                    format!("Kerbside has no operator that recognises {what}, by design"),
                    allowed_words("", &names),
                ),
                None => field.key_problem(format!("there is no operator '{name}'"), allowed_words(name, &names)),
            }
            continue;
        };
        let Some(entries) = field.list() else { continue };
        if entries.is_empty() {
            field.problem("the list is empty", "at least one entry is expected: leave the operator out otherwise");
        }
        let Some(surroundings) = surroundings else { continue };
        for entry in entries {
            let Some(configured) = configure(spec, &entry, surroundings) else { continue };
            if taken.takes(&configured, &entry, surroundings.geometry) {
                found.push((place, entry, NamedOperator { name: spec.name, configured }));
            }
        }
    }
    if seen == 0 {
        field.problem(
            "the camera has no operator, so it would count nothing",
            format!("at least one of {} is expected", names.join(", ")),
        );
    }
    let entries: Vec<Entry<'_, '_>> =
        found.iter().map(|(_, field, named)| Entry { field, configured: &named.configured }).collect();
    if let Some(surroundings) = surroundings {
        refuse_blind_watchers(&entries, &taken, surroundings.geometry);
    }
    outflow::judge(field, &entries, privacy);
    found.sort_by_key(|(place, ..)| *place);
    found.into_iter().map(|(.., operator)| operator).collect()
}

fn configure(spec: &OperatorSpec, entry: &Field<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let reader = entry.map()?;
    // The documented options are known even where the operator stopped before it asked for them.
    reader.declare(spec.options.iter().map(|option| option.name));
    let configured = (spec.configure)(&reader, surroundings);
    reader.finish();
    configured
}

/// What the operators of a camera feed and report so far, with the path of the first that does.
#[derive(Default)]
struct Taken {
    cells: BTreeMap<Cell, String>,
    incidents: BTreeMap<(IncidentKind, SiteId), String>,
}

impl Taken {
    /// Whether the operator is the only one that feeds its counters and reports its incidents; else objects
    /// would count twice.
    fn takes(&mut self, configured: &Configured, entry: &Field<'_>, geometry: &Geometry) -> bool {
        let name = |site| geometry.name(site).unwrap_or("the picture");
        let cell = configured.cells.iter().find_map(|cell| Some((cell, self.cells.get(cell)?)));
        if let Some((cell, first)) = cell {
            let class = cell.class.map_or("all", Class::name);
            entry.problem(
                format!("{first} already counts {} of {class} at '{}'", cell.measure.name(), name(cell.site)),
                "each counter has one operator: leave one of the two out",
            );
            return false;
        }
        let incident = configured.incidents.iter().find_map(|key| Some((key, self.incidents.get(key)?)));
        if let Some(((kind, site), first)) = incident {
            entry.problem(
                format!("{first} already reports {} at '{}'", kind.name(), name(*site)),
                "each situation has one operator: leave one of the two out",
            );
            return false;
        }
        self.cells.extend(configured.cells.iter().map(|cell| (*cell, entry.path().to_owned())));
        self.incidents.extend(configured.incidents.iter().map(|key| (*key, entry.path().to_owned())));
        true
    }
}

/// Reports the operators that look at a counter which nobody feeds.
fn refuse_blind_watchers(entries: &[Entry<'_, '_>], taken: &Taken, geometry: &Geometry) {
    let watched = entries.iter().flat_map(|it| it.configured.watches.iter().map(|cell| (cell, it.field)));
    for (cell, entry) in watched.filter(|(cell, _)| !taken.cells.contains_key(cell)) {
        let class = cell.class.map_or("all", Class::name);
        let site = geometry.name(cell.site).unwrap_or("the picture");
        entry.problem(
            format!("no operator of this camera counts {} of {class} at '{site}'", cell.measure.name()),
            "it looks at what another operator counts: add that one, or leave the class out",
        );
    }
}
