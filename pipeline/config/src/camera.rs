//! One camera's file.

use std::path::Path;

use kerbside_core::diagnostics::{Position, Problem, Problems};
use kerbside_core::geometry::Geometry;
use kerbside_core::operator::Surroundings;
use kerbside_core::tree::{NAME_RULE, Reader, is_name};
use kerbside_core::yaml;

use crate::Catalogue;
use crate::files;
use crate::geometry;
use crate::operators;
use crate::privacy::refuse_labels;
use crate::settings::CameraSettings;
use crate::shared::Shared;
use crate::source::{self, Files};

/// What is the same for all cameras that are read together.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) catalogue: &'a Catalogue<'a>,
    pub(crate) defaults: &'a Shared,
    pub(crate) files: Files,
}

/// A camera's file as far as it could be read.
pub(crate) struct Draft {
    problems: Problems,
    /// `None` only when there is a problem.
    settings: Option<CameraSettings>,
    /// Where `source` stands, and what is equal for two cameras with the same.
    source: Option<(Position, String)>,
}

impl Draft {
    /// Nothing could be read, as the problems say.
    pub(crate) fn unreadable(problems: Problems) -> Self {
        Self { problems, settings: None, source: None }
    }

    /// Reads `text`, which stands in the problems' file.
    pub(crate) fn read(name: &str, text: &str, problems: Problems, context: Context<'_>) -> Self {
        if !is_name(name) {
            let what = format!("the file's name '{name}' is not a camera's name");
            problems.report(Position::START, "", what, NAME_RULE);
        }
        let value = yaml::parse_despite_duplicates(text, &problems);
        let Some(reader) = value.as_ref().and_then(|value| Reader::root(value, &problems)) else {
            return Self::unreadable(problems);
        };
        let located = source::read(&reader, problems.file(), context.files);
        let (place, source) = located.map(|found| ((found.at, found.identity), found.source)).unzip();
        let shared = shared(&reader, context);
        let geometry = match reader.optional("geometry") {
            Some(field) => geometry::read(&field),
            None => Some((Geometry::default(), None)),
        };
        let surroundings = geometry.as_ref().map(|(geometry, ground)| Surroundings {
            geometry,
            ground: ground.as_ref().map(|(ground, _)| ground),
            classes: &shared.classes,
        });
        let operators = reader
            .required("operators")
            .map(|field| operators::read(&field, context.catalogue, surroundings, &shared.privacy));
        refuse_labels(&reader);
        reader.finish();

        let settings = source.zip(geometry).zip(operators).map(|((source, (geometry, ground)), operators)| {
            let (ground, ground_points) = ground.unzip();
            let Shared { analyse_fps, detector, classes, privacy, time_zone } = shared;
            CameraSettings {
                name: name.to_owned(),
                source,
                analyse_fps,
                detector,
                classes,
                geometry,
                ground,
                ground_points: ground_points.unwrap_or_default(),
                operators,
                privacy,
                notes: problems.take_notes(),
                time_zone,
                revision: files::checksum([name, text, &context.defaults.to_string()]),
            }
        });
        Self { problems, settings, source: place }
    }

    /// The camera's file.
    pub(crate) fn file(&self) -> &Path {
        self.problems.file()
    }

    /// What is equal for two cameras with the same source.
    pub(crate) fn source_identity(&self) -> Option<&str> {
        self.source.as_ref().map(|(_, identity)| identity.as_str())
    }

    /// Reports that `first` is the file of a camera with the same source.
    pub(crate) fn refuse_source_of(&self, first: &Path) {
        if let Some((at, _)) = self.source {
            let what = format!("the camera in {} has the same source", first.display());
            self.problems.report(at, "source", what, "each source belongs to one camera");
        }
    }

    /// The settings, or everything that is wrong.
    pub(crate) fn into_result(self) -> Result<CameraSettings, Vec<Problem>> {
        if self.problems.count() > 0 {
            return Err(self.problems.into_sorted());
        }
        Ok(self.settings.expect("a camera's file without problems gives settings"))
    }
}

fn shared(reader: &Reader<'_>, context: Context<'_>) -> Shared {
    let shared = context.defaults.overlaid(reader, context.catalogue);
    if context.catalogue.models.is_empty() {
        reader.problem("there is no model to detect with", "at least one detector is needed on this node");
    }
    shared
}
