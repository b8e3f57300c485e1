//! The keys that a camera's file and the `defaults` of `node.yaml` have in common.

use std::fmt;

use kerbside_core::detection::Class;
use kerbside_core::diagnostics::allowed_words;
use kerbside_core::privacy::Privacy;
use kerbside_core::tree::{Field, Reader};

use crate::Catalogue;
use crate::privacy;
use crate::settings::DetectorSettings;
use crate::time_zone::{self, TimeZone};

const ANALYSE_FPS: f64 = 10.0;
const MIN_SCORE: f32 = 0.45;
/// Every class that common detectors know.
const CLASSES: [Class; 6] =
    [Class::Person, Class::Bicycle, Class::Motorcycle, Class::Car, Class::Bus, Class::Truck];

/// The shared keys, resolved.
#[derive(Clone, PartialEq)]
pub(crate) struct Shared {
    pub(crate) analyse_fps: f64,
    pub(crate) detector: DetectorSettings,
    pub(crate) classes: Vec<Class>,
    pub(crate) privacy: Privacy,
    pub(crate) time_zone: TimeZone,
}

impl Shared {
    /// What holds where nothing is written.
    pub(crate) fn built_in(catalogue: &Catalogue<'_>) -> Self {
        Self {
            analyse_fps: ANALYSE_FPS,
            detector: DetectorSettings {
                model: catalogue.models.first().cloned().unwrap_or_default(),
                min_score: MIN_SCORE,
            },
            classes: CLASSES.to_vec(),
            privacy: privacy::DEFAULT,
            time_zone: TimeZone::UTC,
        }
    }

    /// Reads the shared keys; what is not written comes from `self`, key by key.
    pub(crate) fn overlaid(&self, reader: &Reader<'_>, catalogue: &Catalogue<'_>) -> Self {
        let mut settings = self.clone();
        if let Some(fps) =
            reader.optional("analyse_fps").and_then(|field| field.number(1.0..=60.0, "frames per second"))
        {
            settings.analyse_fps = fps;
        }
        if let Some(detector) = reader.optional("detector").as_ref().and_then(Field::map) {
            if let Some(model) = detector.optional("model").and_then(|field| model(&field, catalogue)) {
                settings.detector.model = model;
            }
            if let Some(score) = detector.optional("min_score").and_then(|field| field.number(0.15..=0.95, "")) {
                settings.detector.min_score = score as f32;
            }
            detector.finish();
        }
        if let Some(field) = reader.optional("classes") {
            // After a problem every class stands in, so that operators do not complain of a missing one.
            settings.classes = classes(&field).unwrap_or_else(|| Class::ALL.to_vec());
        }
        if let Some(field) = reader.optional("privacy") {
            settings.privacy = privacy::read(&field, self.privacy);
        }
        if let Some(zone) = reader.optional("time_zone").and_then(|field| time_zone::read(&field)) {
            settings.time_zone = zone;
        }
        settings
    }
}

impl fmt::Display for Shared {
    /// One line that differs whenever the values do, for the revision.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { analyse_fps, detector: DetectorSettings { model, min_score }, classes, privacy, time_zone } =
            self;
        let classes: Vec<&str> = classes.iter().map(|class| class.name()).collect();
        let (classes, zone) = (classes.join(","), time_zone.name());
        write!(f, "{analyse_fps} {model} {min_score} {classes} {privacy:?} {zone}")
    }
}

fn model(field: &Field<'_>, catalogue: &Catalogue<'_>) -> Option<String> {
    let name = field.text()?;
    if catalogue.models.iter().any(|known| known == name) {
        return Some(name.to_owned());
    }
    let known: Vec<&str> = catalogue.models.iter().map(String::as_str).collect();
    field.problem(format!("there is no model '{name}'"), allowed_words(name, &known));
    None
}

/// In the order of [`Class::ALL`].
fn classes(field: &Field<'_>) -> Option<Vec<Class>> {
    let names = Class::ALL.map(Class::name);
    let items = field.list()?;
    if items.is_empty() {
        field.problem("the list is empty", format!("at least one of {} is expected", names.join(", ")));
        return None;
    }
    let mut found: Vec<Class> = Vec::with_capacity(items.len().min(names.len()));
    let mut clean = true;
    for item in &items {
        match item.text().map(|name| (name, Class::from_name(name))) {
            Some((_, Some(class))) if !found.contains(&class) => found.push(class),
            Some((name, Some(_))) => {
                item.problem(format!("the class '{name}' is here a second time"), "each class once");
                clean = false;
            }
            Some((name, None)) => {
                item.problem(format!("there is no class '{name}'"), allowed_words(name, &names));
                clean = false;
            }
            None => clean = false,
        }
    }
    found.sort_unstable();
    clean.then_some(found)
}
