//! Where a camera's frames come from: `source`, `transport`, `tls` and `credentials`.
//!
//! A message never repeats the source: a malformed address may hold a password anywhere.

use std::io::Read;
use std::path::{Path, PathBuf};

use kerbside_core::diagnostics::Position;
use kerbside_core::tree::{Field, Kind, Reader};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::files;
use crate::secret::Secret;
use crate::settings::{Credentials, FileSource, RtspSource, Source, Transport};

const SOURCE_RULE: &str = "rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected";
/// What cameras call a password in an address's query.
const PASSWORD_KEYS: [&str; 6] = ["pass", "passwd", "password", "pw", "pwd", "passphrase"];
const NO_INLINE: &str = "write it into a file of its own and name that: password: {file: /run/secrets/NAME}";
const MAX_USERNAME: usize = 128;

/// Whether the files that a camera's file names are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// They must be there, and secrets are read.
    Check,
    /// They are not touched: for `replay`, which takes its frames from elsewhere.
    Skip,
}

/// A source, and what is needed to find out whether two cameras have the same.
pub(crate) struct Located {
    pub(crate) source: Source,
    pub(crate) at: Position,
    /// Equal for two sources that give the same pictures.
    pub(crate) identity: String,
}

/// Reads `source` and the keys that go with it from the camera's file `file`.
pub(crate) fn read(reader: &Reader<'_>, file: &Path, files: Files) -> Option<Located> {
    let field = reader.required("source");
    let transport = reader.optional("transport");
    let tls = reader.optional("tls");
    let credentials = reader.optional("credentials");

    let address = field.as_ref().and_then(|field| address(field, file, files));
    // A camera's other keys are read whatever became of the address, for the sake of one report.
    let wanted = transport.as_ref().and_then(transport_of);
    let tls_ca = tls.as_ref().and_then(|field| tls_of(field, file, files));
    let login = credentials.as_ref().and_then(|field| credentials_of(field, file, files));

    let (field, address) = (field?, address?);
    let only_for = |given: &Option<Field<'_>>, schemes: &str| {
        if let Some(given) = given {
            given.key_problem("this source does not use the key", format!("only {schemes} sources have it"));
        }
    };
    let source = match address {
        Address::Clip(path) => {
            only_for(&transport, "rtsp");
            only_for(&tls, "rtsps");
            only_for(&credentials, "rtsp and rtsps");
            Source::File(FileSource { path })
        }
        Address::Camera(url) => {
            if url.scheme() == "rtsp" {
                only_for(&tls, "rtsps");
            } else if let (Some(Transport::Udp), Some(field)) = (wanted, &transport) {
                field.problem("rtsps does not protect packets over udp", "only tcp is allowed with rtsps");
            }
            let transport = wanted.unwrap_or(Transport::Tcp);
            Source::Rtsp(RtspSource { url, transport, credentials: login, tls_ca })
        }
    };
    Some(Located { identity: identity(&source), source, at: field.position() })
}

impl Source {
    /// What a camera's privacy budget belongs to: the first 16 bytes of a SHA-256 over where its pictures come from.
    /// It does not depend on the camera's name, its credentials or anything that is analysed.
    pub fn uid(&self) -> [u8; 16] {
        let hash = Sha256::new().chain_update("kerbside camera ").chain_update(identity(self)).finalize();
        std::array::from_fn(|place| hash[place])
    }
}

enum Address {
    Camera(Url),
    Clip(PathBuf),
}

fn address(field: &Field<'_>, file: &Path, files: Files) -> Option<Address> {
    let text = field.text()?;
    let refuse = |what: &str| {
        field.problem(what, SOURCE_RULE);
        None
    };
    if text.is_empty() || text.contains(char::is_control) {
        return refuse("the source is empty or holds a control character");
    }
    let Some(scheme) = scheme(text) else {
        return clip(field, text, &files::beside(file, Path::new(text)), files).map(Address::Clip);
    };
    match scheme.as_str() {
        "rtsp" | "rtsps" => {}
        "file" => {
            let path = Url::parse(text)
                .ok()
                .filter(|url| url.query().is_none() && url.fragment().is_none())
                .and_then(|url| url.to_file_path().ok());
            return match path {
                Some(path) => clip(field, text, &path, files).map(Address::Clip),
                None => refuse("the file address names no file on this machine"),
            };
        }
        _ if text.contains('@') => return refuse("this is not a kind of source"),
        other => return refuse(&format!("'{other}:' is not a kind of source")),
    }
    // Also where the address cannot be read: then nobody knows which part of it is the password.
    if text.contains('@') {
        field.problem(
            "the address has a user name or a password in it",
            "write credentials: {username: NAME, password: {file: PATH}} instead; '@' elsewhere is written %40",
        );
        return None;
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return refuse(&format!("the address cannot be read: {error}")),
    };
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("the address has no host");
    }
    // Some makers take the password there; it would stand in the file for everyone to read.
    let is_password = |key: &str| PASSWORD_KEYS.contains(&key.to_ascii_lowercase().as_str());
    if url.query_pairs().any(|(key, _)| is_password(&key)) {
        field.problem(
            "the address has a password in it, behind the '?'",
            "write credentials: {username: NAME, password: {file: PATH}} instead",
        );
        return None;
    }
    if url.port() == Some(0) {
        return refuse("the address has port 0");
    }
    if url.fragment().is_some() {
        return refuse("the address has a '#' part, which no camera sees");
    }
    Some(Address::Camera(url))
}

/// What stands before the first colon, if it has the form of an address's scheme, in lower case.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once(':')?;
    let formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    formed.then(|| scheme.to_ascii_lowercase())
}

fn clip(field: &Field<'_>, text: &str, path: &Path, files: Files) -> Option<PathBuf> {
    if files == Files::Skip {
        return Some(path.to_owned());
    }
    let problem = |what: String| {
        // What looks like a path may be NAME:PASSWORD@HOST.
        let what = if text.contains('@') { "there is no such file".to_owned() } else { what };
        field.problem(what, "an existing clip, or rtsp://HOST/PATH or rtsps://HOST/PATH, is expected");
        None
    };
    if let Err(what) = files::open_regular(path) {
        return problem(what);
    }
    match path.canonicalize() {
        Ok(path) => Some(path),
        Err(error) => problem(format!("{} cannot be found: {error}", path.display())),
    }
}

fn identity(source: &Source) -> String {
    match source {
        Source::File(clip) => format!("file {}", clip.path.display()),
        Source::Rtsp(RtspSource { url, .. }) => {
            let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
            let port = url.port().unwrap_or(if url.scheme() == "rtsps" { 322 } else { 554 });
            let path = if url.path().is_empty() { "/" } else { url.path() };
            format!("{} {host} {port} {path} {}", url.scheme(), url.query().unwrap_or_default())
        }
    }
}

fn transport_of(field: &Field<'_>) -> Option<Transport> {
    field.one_of(&[("tcp", Transport::Tcp), ("udp", Transport::Udp)])
}

fn tls_of(field: &Field<'_>, file: &Path, files: Files) -> Option<PathBuf> {
    let reader = field.map()?;
    let ca = reader.required("ca");
    reader.finish();
    let ca = ca?;
    let path = files::beside(file, Path::new(ca.text()?));
    if files == Files::Skip {
        return Some(path);
    }
    let rule = "a PEM file with the certificates that the camera's must lead to is expected";
    match is_pem(&path) {
        Ok(true) => return Some(path),
        Ok(false) => ca.problem(format!("{} holds no PEM certificate", path.display()), rule),
        Err(what) => ca.problem(what, rule),
    }
    None
}

fn is_pem(path: &Path) -> Result<bool, String> {
    /// Room for every certificate authority of the web.
    const MAX_BYTES: u64 = 4 << 20;
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let mut bytes = Vec::new();
    files::open_regular(path)?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(bytes.windows(BEGIN.len()).any(|window| window == BEGIN))
}

fn credentials_of(field: &Field<'_>, file: &Path, files: Files) -> Option<Credentials> {
    let reader = field.map()?;
    let username = reader.required("username").and_then(|field| username(&field));
    let password = reader.required("password").and_then(|field| password(&field, file, files));
    reader.finish();
    Some(Credentials { username: username?, password: password? })
}

fn username(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let sound = !text.is_empty() && text.len() <= MAX_USERNAME && !text.contains(char::is_control);
    // A colon ends the name in HTTP and RTSP basic authentication.
    if sound && !text.contains(':') {
        return Some(text.to_owned());
    }
    field.problem(
        "the user name is empty, too long, or holds a colon or control character",
        format!("a name of 1 to {MAX_USERNAME} bytes is expected"),
    );
    None
}

fn password(field: &Field<'_>, file: &Path, files: Files) -> Option<Secret> {
    let Kind::Map(entries) = field.kind() else {
        let what = match field.kind() {
            Kind::Scalar { .. } => "the password is written here",
            _ => "this names no password file",
        };
        field.problem(what, NO_INLINE);
        return None;
    };
    let mut path = None;
    for entry in field.map()?.entries() {
        match entry {
            ("file", value) => path = Some(value),
            ("env", value) => value.key_problem(
                "a password from the environment is not supported: other processes can read it there",
                "{file: PATH} is expected: systemd, podman, docker and Kubernetes all hand secrets over as files",
            ),
            // Not by its name: it may be the password itself. The key path would show it too.
            (_, value) => field.problem_at(value.key_position(), "unknown key", "only file is allowed"),
        }
    }
    if entries.is_empty() {
        field.problem("this names no password file", NO_INLINE);
    }
    let path = path?;
    let text = path.text()?;
    if files == Files::Skip {
        return None;
    }
    match Secret::read(&files::beside(file, Path::new(text))) {
        Ok(secret) => Some(secret),
        Err((what, allowed)) => {
            path.problem(what, allowed);
            None
        }
    }
}
