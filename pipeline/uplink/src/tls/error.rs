//! Why a connection cannot be secured.

use std::io;
use std::path::{Path, PathBuf};

use kerbside_core::error::{Classified, ErrorKind};
use thiserror::Error;

use super::Role;

/// Why a connection cannot be secured: what is wrong, and what is allowed.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file is not there.
    #[error("{} does not exist; {wanted} is expected there", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than anything of its kind.
    #[error("{} has more than {most} bytes; {wanted} is expected there", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, in bytes.
        most: u64,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A file holds nothing of what is looked for, or something damaged. Of a key file no more is said.
    #[error("{}: {what}; {wanted} is expected", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Too many may read or write the key.
    #[error("{} has mode {mode:04o}: {}; at most 0640 is allowed, that is chmod 0600 or 0640", path.display(), may(*mode))]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key belongs to another certificate.
    #[error("the key {} does not fit the certificate {}; the key that it was issued for is expected", key.display(), certificate.display())]
    KeyMismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The authorities cannot be used.
    #[error("{}: {what}; certificates of authorities in PEM are expected", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The lists of revoked certificates cannot be used.
    #[error("{}: {what}; lists of revoked certificates in PEM are expected, one an issuer", path.display())]
    Revoked {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A certificate does not say who it speaks for.
    #[error(
        "{whose}: {what}; exactly one URI kerbside:<role>:<name> is expected among its names, where the role is node, gateway, reader or courier and {}",
        kerbside_core::tree::NAME_RULE
    )]
    Identity {
        /// The certificate: a file, or the peer's.
        whose: String,
        /// What is wrong.
        what: String,
    },
    /// A certificate speaks for somebody else than it is used for.
    #[error("{whose} is that of the {found} {name}; that of a {} is expected", roles(expected))]
    Role {
        /// The certificate: a file, or the peer's.
        whose: String,
        /// Its role.
        found: Role,
        /// Its name.
        name: String,
        /// The roles that are allowed here.
        expected: Vec<Role>,
    },
    /// A certificate cannot be understood.
    #[error("{whose} is no X.509 certificate: {what}")]
    Certificate {
        /// The certificate: a file, or the peer's.
        whose: String,
        /// What is wrong.
        what: String,
    },
    /// The peer has shown no certificate.
    #[error("the peer has shown no certificate; that of a {0} is expected")]
    NoPeerCertificate(Role),
    /// The library refuses its settings.
    #[error("TLS 1.3 cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// The same about a certificate that lies in a file.
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        if let Self::Identity { whose, .. } | Self::Role { whose, .. } | Self::Certificate { whose, .. } =
            &mut self
        {
            *whose = path.display().to_string();
        }
        self
    }
}

impl Classified for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::NoPeerCertificate(_) => ErrorKind::Transient,
            Self::Setup(_) => ErrorKind::Fatal,
            _ => ErrorKind::Config,
        }
    }
}

fn may(mode: u32) -> &'static str {
    match (mode & 0o007 != 0, mode & 0o020 != 0) {
        (true, _) => "everyone on this machine may use it",
        (false, true) => "its group may replace it",
        (false, false) => "its owner alone may use it",
    }
}

fn roles(roles: &[Role]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    names.join(", ")
}
