//! How files that a person wrote are read, and what several programs ask of a value in them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kerbside_core::tree::Field;

use crate::files;

pub use crate::files::read_text;

/// The path of `what`, such as a folder, as seen from the folder of `file`.
pub fn path(field: &Field<'_>, file: &Path, what: &str) -> Option<PathBuf> {
    let text = field.text()?;
    if text.is_empty() {
        field.problem("the path is empty", format!("the path of {what} is expected"));
        return None;
    }
    Some(files::beside(file, Path::new(text)))
}

/// The path of a PEM file, which may lie elsewhere and is not looked at.
pub fn pem_file(field: &Field<'_>, file: &Path) -> Option<PathBuf> {
    let text = field.text()?;
    let what = if text.is_empty() {
        "the path is empty".to_owned()
    } else if text.contains("-----BEGIN") {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        format!("the content of a file stands here; certificates and keys are not written into {name}")
    } else if text.contains(char::is_control) {
        "the path holds a control character".to_owned()
    } else {
        return Some(files::beside(file, Path::new(text)));
    };
    field.problem(what, "the path of a PEM file is expected");
    None
}

/// A loopback address with its port, for a server without encryption or password.
pub fn loopback(field: &Field<'_>) -> Option<SocketAddr> {
    let allowed = "a loopback address with its port is expected, such as 127.0.0.1:9600 or [::1]:9600: \
                   metrics are served without encryption or password";
    let text = field.text()?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() && address.port() != 0 => return Some(address),
        Ok(address) if address.ip().is_loopback() => field.problem("port 0 is no fixed port", allowed),
        Ok(address) => field.problem(format!("{} can be reached from other machines", address.ip()), allowed),
        Err(_) => field.problem(format!("'{text}' is not an address with a port"), allowed),
    }
    None
}
