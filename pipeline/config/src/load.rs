//! From a folder, a file or a text to settings.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kerbside_core::diagnostics::{Position, Problem, Problems};
use kerbside_core::tree::Reader;
use kerbside_core::yaml;

use crate::Catalogue;
use crate::camera::{Context, Draft};
use crate::error::ConfigError;
use crate::files;
use crate::node;
use crate::settings::{CameraSettings, Settings};
use crate::shared::Shared;
use crate::source::Files;

const NODE_FILE: &str = "node.yaml";
const CAMERAS_FOLDER: &str = "cameras";

/// Reads the folder `dir`: `node.yaml` and `cameras/*.yaml`.
pub fn load(dir: &Path, catalogue: &Catalogue<'_>) -> Result<Settings, ConfigError> {
    if !dir.is_dir() {
        let what = format!("there is no folder {}", dir.display());
        let problems = about(dir, what, "a folder with node.yaml and cameras/ is expected");
        return Err(ConfigError::Problems(problems.into_sorted()));
    }
    let mut found = Vec::new();
    let (node, defaults, node_text) = read_node(dir, catalogue, &mut found);
    let context = Context { catalogue, defaults: &defaults, files: Files::Check };

    let mut texts = vec![(NODE_FILE.to_owned(), node_text)];
    let mut drafts = Vec::new();
    for (name, file) in camera_files(&dir.join(CAMERAS_FOLDER), &mut found) {
        let problems = Problems::in_file(&file);
        match files::read_text(&file, &problems) {
            Some(text) => {
                drafts.push(Draft::read(&name, &text, problems, context));
                texts.push((name, text));
            }
            None => drafts.push(Draft::unreadable(problems)),
        }
    }
    refuse_shared_sources(&drafts);
    let mut cameras = Vec::with_capacity(drafts.len());
    for draft in drafts {
        match draft.into_result() {
            Ok(camera) => cameras.push(camera),
            Err(problems) => found.extend(problems),
        }
    }
    if !found.is_empty() {
        found.sort();
        return Err(ConfigError::Problems(found));
    }
    let node = node.expect("a node file without problems gives settings");
    let revision = files::checksum(texts.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]));
    Ok(Settings { node, cameras, revision })
}

/// Reads one camera's file for `replay`, which takes its frames from a clip: the files that it names, secrets
/// among them, are not looked at, and built-in defaults stand in for those of `node.yaml`.
pub fn load_camera(file: &Path, catalogue: &Catalogue<'_>) -> Result<CameraSettings, ConfigError> {
    let problems = match camera_name(file) {
        Ok(name) => {
            let problems = Problems::in_file(file);
            if let Some(text) = files::read_text(file, &problems) {
                return camera(&name, &text, problems, catalogue);
            }
            problems
        }
        Err(problems) => problems,
    };
    Err(ConfigError::Problems(problems.into_sorted()))
}

/// Like [`load_camera`] for the text of a file that need not exist.
pub fn parse_camera(
    name: &str,
    file: &Path,
    text: &str,
    catalogue: &Catalogue<'_>,
) -> Result<CameraSettings, ConfigError> {
    camera(name, text, Problems::in_file(file), catalogue)
}

/// The folder with the detectors that the `node.yaml` in `dir` names, if it can be read, does so, and the folder
/// exists. The caller needs it for the [`Catalogue`] before [`load`], which then reports all that is wrong.
pub fn models_folder(dir: &Path) -> Option<PathBuf> {
    let file = dir.join(NODE_FILE);
    let problems = Problems::in_file(&file);
    let text = files::read_text(&file, &problems)?;
    let value = yaml::parse_despite_duplicates(&text, &problems)?;
    node::models_folder(&Reader::root(&value, &problems)?, &file)
}

/// Where the `node.yaml` in `dir` says that status pages are served: an address, and a Unix socket if it names one. Other
/// keys are not looked at: who asks a running node need not know whether it could start again.
pub fn status_pages(dir: &Path) -> Result<(SocketAddr, Option<PathBuf>), ConfigError> {
    let file = dir.join(NODE_FILE);
    let problems = Problems::in_file(&file);
    let value =
        files::read_text(&file, &problems).and_then(|text| yaml::parse_despite_duplicates(&text, &problems));
    let pages = value
        .as_ref()
        .and_then(|value| Reader::root(value, &problems))
        .map(|reader| node::status_pages(&reader, &file));
    match pages {
        Some(pages) if problems.count() == 0 => Ok(pages),
        _ => Err(ConfigError::Problems(problems.into_sorted())),
    }
}

fn camera(
    name: &str,
    text: &str,
    problems: Problems,
    catalogue: &Catalogue<'_>,
) -> Result<CameraSettings, ConfigError> {
    let defaults = Shared::built_in(catalogue);
    let context = Context { catalogue, defaults: &defaults, files: Files::Skip };
    Draft::read(name, text, problems, context).into_result().map_err(ConfigError::Problems)
}

fn read_node(
    dir: &Path,
    catalogue: &Catalogue<'_>,
    found: &mut Vec<Problem>,
) -> (Option<crate::NodeSettings>, Shared, String) {
    let file = dir.join(NODE_FILE);
    let problems = Problems::in_file(&file);
    let misnamed = dir.join("node.yml");
    if misnamed.exists() && !file.exists() {
        let what = format!("there is no file {}", file.display());
        problems.report(Position::START, "", what, format!("rename {} to {NODE_FILE}", misnamed.display()));
    } else if let Some(text) = files::read_text(&file, &problems) {
        let value = yaml::parse_despite_duplicates(&text, &problems);
        let reader = value.as_ref().and_then(|value| Reader::root(value, &problems));
        if let Some(reader) = reader {
            let (node, defaults) = node::read(&reader, &file, catalogue);
            found.extend(problems.into_sorted());
            return (node, defaults, text);
        }
    }
    found.extend(problems.into_sorted());
    (None, Shared::built_in(catalogue), String::new())
}

/// The camera files in `folder` with their cameras' names, sorted by name.
fn camera_files(folder: &Path, found: &mut Vec<Problem>) -> Vec<(String, PathBuf)> {
    const EXPECTED: &str = "a folder with one YAML file a camera is expected";
    let listed = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = match listed {
        Ok(entries) => entries,
        Err(error) => {
            let what = match error.kind() {
                std::io::ErrorKind::NotFound => format!("there is no folder {}", folder.display()),
                _ => format!("{} cannot be listed: {error}", folder.display()),
            };
            found.extend(about(folder, what, EXPECTED).into_sorted());
            return Vec::new();
        }
    };
    let mut cameras = Vec::new();
    let mut refused = false;
    for file in entries.into_iter().map(|entry| entry.path()) {
        // Notes, backups and editors' own files may lie beside; a file that was meant to be a camera's may not.
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        if hidden || (extension != "yaml" && extension != "yml") {
            continue;
        }
        match camera_name(&file) {
            Ok(name) => cameras.push((name, file)),
            Err(problems) => {
                found.extend(problems.into_sorted());
                refused = true;
            }
        }
    }
    if cameras.is_empty() && !refused {
        let allowed = "at least one file such as plaza-north.yaml is expected";
        found.extend(about(folder, "there is no camera in the folder".to_owned(), allowed).into_sorted());
    }
    cameras.sort();
    cameras
}

/// The camera's name by its file's.
fn camera_name(file: &Path) -> Result<String, Problems> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if file.extension().is_some_and(|extension| extension == "yaml") {
        return Ok(stem);
    }
    let what = "the name of a camera's file ends in .yaml".to_owned();
    Err(about(file, what, &format!("rename it to {stem}.yaml")))
}

fn refuse_shared_sources(drafts: &[Draft]) {
    let mut first: HashMap<&str, &Path> = HashMap::new();
    for draft in drafts {
        let Some(identity) = draft.source_identity() else { continue };
        match first.get(identity) {
            Some(other) => draft.refuse_source_of(other),
            None => {
                first.insert(identity, draft.file());
            }
        }
    }
}

/// A problem with a file or folder as a whole.
fn about(path: &Path, what: String, allowed: &str) -> Problems {
    let problems = Problems::in_file(path);
    problems.report(Position::START, "", what, allowed);
    problems
}
