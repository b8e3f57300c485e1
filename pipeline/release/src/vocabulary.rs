//! The closed words of all text columns, made once from the configuration.
//!
//! Every batch shares these arrays, so a dictionary never changes while the stage lives, and a text
//! that is not in the configuration or in this crate cannot reach a row.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::{Schema, SchemaRef};
use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::{IncidentKind, IncidentUnit, Phase};
use kerbside_core::tree::{NAME_RULE, is_name};
use sha2::{Digest, Sha256};

use crate::error::ReleaseError;
use crate::plan::{CameraPlan, NodeIdentity};
use crate::table::{ClockQuality, Rule, TABLE_KEY, Table, Unit, VOCABULARY_KEY};

/// The word for all classes together, after the classes themselves.
pub(crate) const ALL_CLASSES: &str = "all";
/// The word for the picture as a whole: no line or zone can be called so.
pub(crate) const WHOLE_PICTURE: &str = "*";
/// Between the two zones of a turn, in the words of the `site` column: no line or zone can hold it in its name.
pub(crate) const TOWARD: char = '>';

/// What [`is_version`] asks for, in words.
const VERSION_RULE: &str = "1 to 64 letters, digits, blanks and '.', '-', '_', '+', '@' are allowed";

/// The dictionaries, each under its column's name.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) node: ArrayRef,
    pub(crate) camera: ArrayRef,
    pub(crate) site: ArrayRef,
    pub(crate) model: ArrayRef,
    pub(crate) software: ArrayRef,
    pub(crate) clock: ArrayRef,
    pub(crate) release: ArrayRef,
    pub(crate) measure: ArrayRef,
    pub(crate) class: ArrayRef,
    pub(crate) direction: ArrayRef,
    pub(crate) unit: ArrayRef,
    pub(crate) state: ArrayRef,
    pub(crate) kind: ArrayRef,
    pub(crate) phase: ArrayRef,
    pub(crate) incident_unit: ArrayRef,
    /// By camera: the key of its model.
    pub(crate) model_of: Vec<u8>,
    /// By camera and `SiteId`: the key of the site's name.
    site_of: Vec<Vec<u16>>,
    /// By camera and the two zones of a turn: the key of their word.
    turn_of: Vec<BTreeMap<(SiteId, SiteId), u16>>,
    whole_picture: u16,
    hash: String,
}

impl Vocabulary {
    pub(crate) fn new(identity: &NodeIdentity, cameras: &[CameraPlan]) -> Result<Self, ReleaseError> {
        check("node", &identity.node, is_name, NAME_RULE)?;
        check("software version", &identity.software, is_version, VERSION_RULE)?;
        let mut camera_names: Vec<&str> = Vec::with_capacity(cameras.len());
        let (mut sites, mut models) = (vec![WHOLE_PICTURE.to_owned()], Vec::new());
        for plan in cameras {
            check("camera", &plan.camera, is_name, NAME_RULE)?;
            check("model", &plan.model, is_version, VERSION_RULE)?;
            if camera_names.contains(&plan.camera.as_str()) {
                return Err(ReleaseError::CameraTwice(plan.camera.clone()));
            }
            camera_names.push(&plan.camera);
            models.push(plan.model.as_str());
            for site in &plan.sites {
                check("line or zone", site, is_name, NAME_RULE)?;
                sites.push(site.clone());
            }
            sites.extend(turns(plan).map(|(_, word)| word));
        }
        let site_names = sorted(sites.iter().map(String::as_str).collect());
        let model_names = sorted(models);
        limit("camera", camera_names.len(), 1 << 16)?;
        limit("site", site_names.len(), 1 << 16)?;
        limit("model", model_names.len(), 1 << 8)?;
        let key =
            |names: &[&str], name: &str| names.binary_search(&name).expect("the list was made of these names");
        let model_of = cameras.iter().map(|plan| key(&model_names, &plan.model) as u8).collect();
        let site_of = cameras
            .iter()
            .map(|plan| plan.sites.iter().map(|site| key(&site_names, site) as u16).collect())
            .collect();
        let turn_of = cameras
            .iter()
            .map(|plan| turns(plan).map(|(turn, word)| (turn, key(&site_names, &word) as u16)).collect())
            .collect();
        let whole_picture = key(&site_names, WHOLE_PICTURE) as u16;

        let mut canonical = String::new();
        let mut list = |column: &str, words: &[&str]| -> ArrayRef {
            canonical.push_str(&format!("{column}: {}\n", words.join(",")));
            Arc::new(StringArray::from_iter_values(words))
        };
        let mut classes: Vec<&str> = Class::ALL.map(Class::name).to_vec();
        classes.push(ALL_CLASSES);
        Ok(Self {
            node: list("node", &[&identity.node]),
            camera: list("camera", &camera_names),
            site: list("site", &site_names),
            model: list("model", &model_names),
            software: list("sw", &[&identity.software]),
            clock: list("clock_q", &ClockQuality::ALL.map(ClockQuality::name)),
            release: list("release", &Rule::WORDS),
            measure: list("measure", &Measure::ALL.map(Measure::name)),
            class: list("class", &classes),
            direction: list("dir", &Direction::ALL.map(Direction::name)),
            unit: list("unit", &Unit::WORDS),
            state: list("state", &CameraState::ALL.map(CameraState::name)),
            kind: list("kind", &IncidentKind::ALL.map(IncidentKind::name)),
            phase: list("phase", &Phase::ALL.map(Phase::name)),
            incident_unit: list("incident_unit", &IncidentUnit::ALL.map(IncidentUnit::name)),
            model_of,
            site_of,
            turn_of,
            whole_picture,
            hash: Sha256::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// The key of a camera's line, zone or turn in the `site` column.
    pub(crate) fn site_key(&self, camera: usize, site: SiteId, toward: Option<SiteId>) -> u16 {
        let key = match toward {
            Some(toward) => self.turn_of.get(camera).and_then(|turns| turns.get(&(site, toward))),
            None => self.site_of.get(camera).and_then(|sites| sites.get(usize::from(site.0))),
        };
        key.copied().unwrap_or(self.whole_picture)
    }

    /// The schema of a table's batches: its columns, its name, and the hash of this vocabulary.
    pub(crate) fn schema(&self, table: Table) -> SchemaRef {
        let metadata = HashMap::from([
            (TABLE_KEY.to_owned(), table.name().to_owned()),
            (VOCABULARY_KEY.to_owned(), self.hash.clone()),
        ]);
        Arc::new(Schema::new(table.columns()).with_metadata(metadata))
    }
}

/// The turns of a camera, each with its word: `from>to`.
fn turns(plan: &CameraPlan) -> impl Iterator<Item = ((SiteId, SiteId), String)> + '_ {
    plan.cells.iter().filter_map(|cell| {
        let toward = cell.toward?;
        let name = |site: SiteId| plan.sites.get(usize::from(site.0)).map_or("", String::as_str);
        Some(((cell.site, toward), format!("{}{TOWARD}{}", name(cell.site), name(toward))))
    })
}

/// The key of a class in the `class` column.
pub(crate) fn class_key(class: Option<Class>) -> u8 {
    class.map_or(Class::ALL.len() as u8, |class| class as u8)
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

fn check(
    what: &'static str,
    text: &str,
    rule: fn(&str) -> bool,
    allowed: &'static str,
) -> Result<(), ReleaseError> {
    if rule(text) { Ok(()) } else { Err(ReleaseError::Name { what, text: text.to_owned(), allowed }) }
}

fn limit(what: &'static str, found: usize, most: usize) -> Result<(), ReleaseError> {
    if found > most { Err(ReleaseError::TooMany { what, found, most }) } else { Ok(()) }
}

pub(crate) fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || " .-_+@".contains(c))
}
