//! Passwords: where they may come from, and a type that does not show them.
//!
//! A secret is a file of its own, so that its rights can be checked and the YAML files can be shown,
//! copied and kept in version control. systemd, podman, docker and Kubernetes hand secrets over as files.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::files;

/// The longest secret, in bytes.
const MAX_BYTES: usize = 4096;
/// Read or write by everyone.
const WORLD: u32 = 0o006;

/// Text that is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The text itself: for handing it to the protocol, never for a log, an error or a metric.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Reads a secret file. The error says what is wrong and what is allowed, and never what was read.
    pub fn read(path: &Path) -> Result<Self, (String, String)> {
        let shown = path.display();
        let one_line = || "a secret file holds the password on one line, as UTF-8 text".to_owned();
        let file = files::open_regular(path).map_err(|what| (what, one_line()))?;
        let failed = |error: std::io::Error| (format!("{shown} cannot be read: {error}"), one_line());
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & WORLD != 0 {
            return Err((
                format!("everyone on this machine can read or change {shown} (mode {mode:04o})"),
                format!("run chmod 640 {shown}, or give a container's secret mode=0440"),
            ));
        }
        // Room for the longest secret from the start: growing would leave copies behind in freed memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MAX_BYTES {
            return Err((format!("{shown} has more than {MAX_BYTES} bytes"), one_line()));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Err((format!("{shown} is not UTF-8 text"), one_line()));
        };
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            return Err((format!("{shown} is empty"), one_line()));
        }
        if text.contains(['\n', '\r']) {
            return Err((format!("{shown} has more than one line"), one_line()));
        }
        if text.contains(char::is_control) {
            return Err((format!("{shown} holds a control character"), one_line()));
        }
        Ok(Self(SecretString::from(text)))
    }
}

impl PartialEq for Secret {
    /// Tells a reload whether the password has changed. Not in constant time: both sides are our own.
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn secret_file(folder: &Path, content: &[u8], mode: u32) -> std::path::PathBuf {
        let path = folder.join("password");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn only_the_line_break_at_the_end_is_not_part_of_the_password() {
        let folder = tempfile::tempdir().unwrap();
        for (content, password) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            (" päss wörd ", " päss wörd "),
        ] {
            let path = secret_file(folder.path(), content.as_bytes(), 0o440);
            assert_eq!(Secret::read(&path).unwrap().expose(), password);
        }
    }

    #[test]
    fn what_is_no_password_is_refused_without_being_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let long = vec![b'h'; MAX_BYTES + 1];
        let cases: [(&[u8], u32, &str); 9] = [
            (b"hunter2", 0o644, "everyone on this machine can read or change FILE (mode 0644)"),
            (b"hunter2", 0o602, "everyone on this machine can read or change FILE (mode 0602)"),
            (b"", 0o600, "FILE is empty"),
            (b"\n", 0o600, "FILE is empty"),
            (b"  \n", 0o600, "FILE is empty"),
            (b"hunter2\nhunter3\n", 0o600, "FILE has more than one line"),
            (b"hunter2\xff", 0o600, "FILE is not UTF-8 text"),
            (b"hunter2\x07", 0o600, "FILE holds a control character"),
            (&long, 0o600, "FILE has more than 4096 bytes"),
        ];
        for (content, mode, expected) in cases {
            let path = secret_file(folder.path(), content, mode);
            let (what, allowed) = Secret::read(&path).unwrap_err();
            assert_eq!(what, expected.replace("FILE", path.to_str().unwrap()));
            assert!(!format!("{what}{allowed}").contains("hunter"));
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret(SecretString::from("hunter2"))), "Secret(…)");
    }
}
