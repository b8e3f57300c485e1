//! Small files that appear at once, with the right mode, and replace nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::EnrollError;

/// A file to be: its path, its content, its mode.
pub(super) type New<'a> = (&'a Path, &'a [u8], u32);

/// Makes a folder and its parents.
pub(super) fn create_folder(path: &Path, mode: u32) -> Result<(), EnrollError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(EnrollError::io("made", path))
}

/// Writes new files, in that order. When one cannot be written those before it are taken away again.
pub(super) fn write_all_new(files: &[New<'_>]) -> Result<(), EnrollError> {
    for (count, file) in files.iter().enumerate() {
        if let Err(error) = write_new(file) {
            for (path, ..) in &files[..count] {
                // The error that is told is the first; what cannot be taken away is named when it is written anew.
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Replaces a file, or makes it, at once.
pub(super) fn replace((path, bytes, mode): New<'_>) -> Result<(), EnrollError> {
    let temporary = write_temporary((path, bytes, mode))?;
    fs::rename(&temporary, path).map_err(EnrollError::io("replaced", path))?;
    sync_folder(path)
}

/// Whether a file is there with just that content.
///
/// # Errors
/// It is there with another, or it cannot be read.
pub(super) fn holds(path: &Path, bytes: &[u8]) -> Result<bool, EnrollError> {
    match fs::read(path) {
        Ok(found) if found == bytes => Ok(true),
        Ok(_) => Err(EnrollError::Exists(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(EnrollError::io("read", path)(error)),
    }
}

pub(super) fn read(path: &Path) -> Result<String, EnrollError> {
    fs::read_to_string(path).map_err(EnrollError::io("read", path))
}

/// Gives the finished file its name: unlike renaming, linking fails where the name is taken.
fn write_new((path, bytes, mode): &New<'_>) -> Result<(), EnrollError> {
    let temporary = write_temporary((path, bytes, *mode))?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(EnrollError::io("taken away", &temporary))?;
    linked.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => EnrollError::Exists(path.to_path_buf()),
        _ => EnrollError::io("written", path)(error),
    })?;
    sync_folder(path)
}

fn write_temporary((path, bytes, mode): New<'_>) -> Result<PathBuf, EnrollError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            if error.kind() != io::ErrorKind::AlreadyExists {
                // Nothing of a key is to stay behind; the error that is told is the first.
                let _ = fs::remove_file(&temporary);
            }
            Err(EnrollError::io("written", path)(error))
        }
    }
}

fn sync_folder(path: &Path) -> Result<(), EnrollError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(EnrollError::io("synced", folder))
}
