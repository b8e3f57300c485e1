//! The closed words of all text columns, made once from the configuration.
//!
//! Every batch shares these arrays, so a dictionary never changes while the stage lives, and a text
//! that is not in the configuration or in this crate cannot reach a row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::{Schema, SchemaRef};
use kerbside_core::camera::CameraState;
use kerbside_core::detection::Class;
use kerbside_core::finding::{Direction, Measure};
use kerbside_core::tree::{NAME_RULE, is_name};
use sha2::{Digest, Sha256};

use crate::error::ReleaseError;
use crate::plan::{CameraPlan, NodeIdentity};
use crate::table::{ClockQuality, Rule, TABLE_KEY, Table, Unit, VOCABULARY_KEY};

/// The word for all classes together, after the classes themselves.
const ALL_CLASSES: &str = "all";

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
    /// By camera: the key of its model.
    pub(crate) model_of: Vec<u8>,
    /// By camera and `SiteId`: the key of the site's name.
    pub(crate) site_of: Vec<Vec<u16>>,
    hash: String,
}

impl Vocabulary {
    pub(crate) fn new(identity: &NodeIdentity, cameras: &[CameraPlan]) -> Result<Self, ReleaseError> {
        check("node", &identity.node, is_name, NAME_RULE)?;
        check("software version", &identity.software, is_version, VERSION_RULE)?;
        let mut camera_names: Vec<&str> = Vec::with_capacity(cameras.len());
        let (mut sites, mut models): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for plan in cameras {
            check("camera", &plan.camera, is_name, NAME_RULE)?;
            check("model", &plan.model, is_version, VERSION_RULE)?;
            if camera_names.contains(&plan.camera.as_str()) {
                return Err(ReleaseError::CameraTwice(plan.camera.clone()));
            }
            camera_names.push(&plan.camera);
            models.push(&plan.model);
            for site in &plan.sites {
                check("line or zone", site, is_name, NAME_RULE)?;
                sites.push(site);
            }
        }
        let site_names = sorted(sites);
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
            model_of,
            site_of,
            hash: Sha256::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
        })
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

fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || " .-_+@".contains(c))
}
