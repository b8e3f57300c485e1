//! A folder of models on disk: finding, verifying and loading them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kerbside_core::diagnostics::{Position, Problems};
use sha2::{Digest, Sha256};

use crate::engine::EngineChoice;
use crate::error::ModelError;
use crate::manifest::Manifest;
use crate::model::Model;

/// The manifest's name in a model's folder.
const MANIFEST: &str = "manifest.yaml";
/// The longest manifest that is read, in bytes; the YAML reader refuses more than this as well.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// A folder with one sub-folder a model: `DIR/NAME/manifest.yaml` and the file that it names.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    dir: PathBuf,
    /// Each model's folder by name. Sub-folders without a manifest are no models.
    models: BTreeMap<String, PathBuf>,
}

/// A model file that is the one its manifest speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256 as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

impl ModelFolder {
    /// Looks which models are there; reads none of them.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let mut models = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(|source| unreadable(dir, source))? {
            let folder = entry.map_err(|source| unreadable(dir, source))?.path();
            if let Some(name) = folder.file_name().and_then(|name| name.to_str())
                && folder.join(MANIFEST).is_file()
            {
                models.insert(name.to_owned(), folder);
            }
        }
        Ok(Self { dir: dir.to_owned(), models })
    }

    /// The names of the models, sorted.
    pub fn names(&self) -> Vec<String> {
        self.models.keys().cloned().collect()
    }

    /// Every model's manifest, or what is wrong with it, sorted by name.
    pub fn manifests(&self) -> impl Iterator<Item = (&str, Result<Manifest, ModelError>)> {
        self.models.keys().map(|name| (name.as_str(), self.manifest(name)))
    }

    /// One model's manifest.
    pub fn manifest(&self, name: &str) -> Result<Manifest, ModelError> {
        let path = self.folder(name)?.join(MANIFEST);
        let file = File::open(&path).map_err(|source| unreadable(&path, source))?;
        let mut text = String::new();
        file.take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text).map_err(|source| unreadable(&path, source))?;
        let manifest = Manifest::parse(&text, &path).map_err(|problems| ModelError::Manifest { problems })?;
        if manifest.name != name {
            let problems = Problems::in_file(&path);
            let found = &manifest.name;
            problems.report(
                Position::START,
                "name",
                format!("the model is named '{found}', its folder '{name}'"),
                "one name for both",
            );
            return Err(ModelError::Manifest { problems: problems.into_sorted() });
        }
        Ok(manifest)
    }

    /// Compares a model's file with its manifest: size and SHA-256.
    pub fn verify(&self, name: &str) -> Result<Verified, ModelError> {
        let manifest = self.manifest(name)?;
        let path = self.folder(name)?.join(&manifest.file);
        read_verified(&path, &manifest)?;
        Ok(Verified { path, sha256: manifest.sha256, size_bytes: manifest.size_bytes })
    }

    /// Verifies and loads a model, to be run by the best engine for it.
    pub fn load(&self, name: &str) -> Result<Arc<Model>, ModelError> {
        self.load_for(name, EngineChoice::Auto)
    }

    /// The same, to be run by this engine.
    pub fn load_for(&self, name: &str, engine: EngineChoice) -> Result<Arc<Model>, ModelError> {
        let manifest = self.manifest(name)?;
        let bytes = read_verified(&self.folder(name)?.join(&manifest.file), &manifest)?;
        Model::new(manifest, bytes, engine)
    }

    fn folder(&self, name: &str) -> Result<&Path, ModelError> {
        self.models.get(name).map(PathBuf::as_path).ok_or_else(|| ModelError::Unknown {
            name: name.to_owned(),
            folder: self.dir.clone(),
            known: self.names(),
        })
    }
}

/// The file's bytes, read once: what was verified is what is parsed.
fn read_verified(path: &Path, manifest: &Manifest) -> Result<Vec<u8>, ModelError> {
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let found = file.metadata().map_err(|source| unreadable(path, source))?.len();
    let expected = manifest.size_bytes;
    if found != expected {
        return Err(ModelError::Size { path: path.to_owned(), expected, found });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(expected).read_to_end(&mut bytes).map_err(|source| unreadable(path, source))?;
    let found = hexadecimal(&Sha256::digest(&bytes));
    if found != manifest.sha256 {
        return Err(ModelError::Checksum { path: path.to_owned(), expected: manifest.sha256.clone(), found });
    }
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

fn unreadable(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// A folder with the model `tiny`, whose file holds `abc`.
    fn folder(bytes: &[u8], name: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("tiny");
        fs::create_dir(&model).unwrap();
        fs::create_dir(dir.path().join("no-model")).unwrap();
        fs::write(model.join("tiny.onnx"), bytes).unwrap();
        let manifest = format!(
            "name: {name}\nversion: 1\nfile: tiny.onnx\nsha256: {SUM}\nsize_bytes: 3\nlicense: MIT\n\
             input: {{name: image, colour_order: rgb, multiple_of: 32, default_long_side: 64}}\n\
             head: {{kind: yolox, strides: [8], output: out, nms_iou: 0.5}}\nlabels: [person]\n"
        );
        fs::write(model.join(MANIFEST), manifest).unwrap();
        dir
    }

    #[test]
    fn a_file_that_matches_its_manifest_is_verified() {
        let dir = folder(b"abc", "tiny");
        let models = ModelFolder::open(dir.path()).unwrap();
        assert_eq!(models.names(), ["tiny"]);
        let verified = models.verify("tiny").unwrap();
        assert_eq!((verified.sha256.as_str(), verified.size_bytes), (SUM, 3));
    }

    #[test]
    fn another_file_is_refused_with_both_sums() {
        let dir = folder(b"abd", "tiny");
        let models = ModelFolder::open(dir.path()).unwrap();
        for error in [models.verify("tiny").unwrap_err(), models.load("tiny").unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains(SUM), "{message}");
            let found = "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9";
            assert!(message.contains(found), "{message}");
        }
    }

    #[test]
    fn a_file_of_another_size_is_refused_with_both_sizes() {
        let dir = folder(b"abcd", "tiny");
        let error = ModelFolder::open(dir.path()).unwrap().verify("tiny").unwrap_err();
        assert!(matches!(error, ModelError::Size { expected: 3, found: 4, .. }), "{error}");
    }

    #[test]
    fn a_right_file_that_is_no_network_is_refused() {
        let dir = folder(b"abc", "tiny");
        let error = ModelFolder::open(dir.path()).unwrap().load("tiny").unwrap_err();
        assert!(matches!(error, ModelError::Network { .. }), "{error}");
    }

    #[test]
    fn a_model_is_named_like_its_folder() {
        let dir = folder(b"abc", "other");
        let error = ModelFolder::open(dir.path()).unwrap().verify("tiny").unwrap_err();
        assert!(
            error.to_string().ends_with(
                "manifest.yaml:1:1: name: the model is named 'other', its folder 'tiny'; one name for both"
            ),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let dir = folder(b"abc", "tiny");
        let error = ModelFolder::open(dir.path()).unwrap().verify("../tiny").unwrap_err();
        assert!(error.to_string().ends_with("it holds tiny"), "{error}");
        assert!(ModelFolder::open(Path::new("/no/such/folder")).is_err());
    }
}
