//! The `operators` block: which analytics a camera runs.

use std::collections::BTreeMap;

use kerbside_core::diagnostics::allowed_words;
use kerbside_core::finding::Cell;
use kerbside_core::geometry::Geometry;
use kerbside_core::operator::{Configured, OperatorSpec, Surroundings};
use kerbside_core::tree::Field;

use crate::Catalogue;
use crate::settings::NamedOperator;

/// Reads the block. Without surroundings, since the geometry could not be read, only the operators' names are
/// checked.
pub(crate) fn read(
    field: &Field<'_>,
    catalogue: &Catalogue<'_>,
    surroundings: Option<Surroundings<'_>>,
) -> Vec<NamedOperator> {
    let Some(map) = field.map() else { return Vec::new() };
    let mut found = Vec::new();
    let names: Vec<&str> = catalogue.operators.iter().map(|spec| spec.name).collect();
    let mut seen = 0;
    // In the order of the file, so that the second of two entries is the one that is refused.
    let mut taken: BTreeMap<Cell, String> = BTreeMap::new();
    for (name, field) in map.entries() {
        seen += 1;
        let Some((place, spec)) = catalogue.operators.iter().enumerate().find(|(_, spec)| spec.name == name)
        else {
            field.key_problem(format!("there is no operator '{name}'"), allowed_words(name, &names));
            continue;
        };
        let Some(entries) = field.list() else { continue };
        if entries.is_empty() {
            field.problem("the list is empty", "at least one entry is expected: leave the operator out otherwise");
        }
        let Some(surroundings) = surroundings else { continue };
        for entry in entries {
            let Some(configured) = configure(spec, &entry, surroundings) else { continue };
            if unshared(&configured, &entry, surroundings.geometry, &mut taken) {
                found.push((place, NamedOperator { name: spec.name, configured }));
            }
        }
    }
    if seen == 0 {
        field.problem(
            "the camera has no operator, so it would count nothing",
            format!("at least one of {} is expected", names.join(", ")),
        );
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, operator)| operator).collect()
}

fn configure(spec: &OperatorSpec, entry: &Field<'_>, surroundings: Surroundings<'_>) -> Option<Configured> {
    let reader = entry.map()?;
    // The documented options are known even where the operator stopped before it asked for them.
    reader.declare(spec.options.iter().map(|option| option.name));
    let configured = (spec.configure)(&reader, surroundings);
    reader.finish();
    configured
}

/// Whether the operator is the only one that feeds its counters; else objects would count twice.
fn unshared(
    configured: &Configured,
    entry: &Field<'_>,
    geometry: &Geometry,
    taken: &mut BTreeMap<Cell, String>,
) -> bool {
    let shared = configured.cells.iter().find_map(|cell| Some((cell, taken.get(cell)?)));
    if let Some((cell, first)) = shared {
        let site = geometry.name(cell.site).unwrap_or_default();
        entry.problem(
            format!("{first} already counts {} of {} at '{site}'", cell.measure.name(), cell.class.name()),
            "each counter has one operator: leave one of the two out",
        );
        return false;
    }
    taken.extend(configured.cells.iter().map(|cell| (*cell, entry.path().to_owned())));
    true
}
