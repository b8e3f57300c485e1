//! Who a certificate speaks for, and until when.

use std::fmt;
use std::time::Duration;

use kerbside_core::time::WallTime;
use kerbside_core::tree::is_name;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::TlsError;

/// What every URI of an identity begins with.
const SCHEME: &str = "kerbside:";
/// How a certificate is called that came over the network.
const PEER: &str = "the peer's certificate";

/// What a holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends its rows.
    Node,
    /// Takes the rows of nodes.
    Gateway,
    /// Reads what the gateway has stored.
    Reader,
    /// Brings rows of nodes that have no network.
    Courier,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Node, Self::Gateway, Self::Reader, Self::Courier];

    /// As in a certificate.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gateway => "gateway",
            Self::Reader => "reader",
            Self::Courier => "courier",
        }
    }

    /// The reverse of [`Role::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// What it may do.
    pub role: Role,
    /// Its name: that of the node in `node.yaml`, for one.
    pub name: String,
}

impl Identity {
    /// As it stands in a certificate.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}:{}", self.role, self.name)
    }

    /// The reverse of [`Identity::uri`].
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (role, name) = uri.strip_prefix(SCHEME)?.split_once(':')?;
        let role = Role::from_name(role)?;
        is_name(name).then(|| Self { role, name: name.to_owned() })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.name)
    }
}

/// Who a certificate speaks for. Whether it may be believed is for the handshake to say.
///
/// # Errors
/// The certificate cannot be understood; there is not exactly one URI among its names; the URI is no identity; a
/// node has other names beside it.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<Identity, TlsError> {
    let wrong = |what: String| TlsError::Identity { whose: PEER.to_owned(), what };
    let parsed = parse(certificate)?;
    let names =
        parsed.subject_alternative_name().map_err(|error| wrong(format!("its names are damaged: {error}")))?;
    let names = names.as_ref().map_or(&[][..], |extension| extension.value.general_names.as_slice());
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        let count = names.iter().filter(|name| matches!(name, GeneralName::URI(_))).count();
        return Err(wrong(format!("there are {count} URIs among its names")));
    };
    let identity =
        Identity::from_uri(uri).ok_or_else(|| wrong(format!("'{}' is no identity", uri.escape_debug())))?;
    if identity.role == Role::Node && names.len() > 1 {
        return Err(wrong(format!("the {identity} has {} other names", names.len() - 1)));
    }
    Ok(identity)
}

/// When a certificate expires, to the second; the year 2554 when later.
///
/// # Errors
/// The certificate cannot be understood.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<WallTime, TlsError> {
    let secs = parse(certificate)?.validity().not_after.timestamp();
    Ok(WallTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(secs).unwrap_or(0)))
}

/// The peer's identity, if it has that role. To be asked once the handshake is done, with what
/// `peer_certificates` of the connection gives: the handshake alone says that the authority has issued the
/// certificate and that the host's name is right.
///
/// # Errors
/// There is no certificate, it has no identity, or the identity has another role.
pub fn expect_role(certificates: Option<&[CertificateDer<'_>]>, role: Role) -> Result<Identity, TlsError> {
    let certificate = certificates.and_then(<[_]>::first).ok_or(TlsError::NoPeerCertificate(role))?;
    one_of(identity_of(certificate)?, &[role])
}

/// The identity, if its role is among those.
pub(crate) fn one_of(identity: Identity, roles: &[Role]) -> Result<Identity, TlsError> {
    if roles.contains(&identity.role) {
        return Ok(identity);
    }
    let Identity { role: found, name } = identity;
    Err(TlsError::Role { whose: PEER.to_owned(), found, name, expected: roles.to_vec() })
}

pub(crate) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsError> {
    let wrong = |what: String| TlsError::Certificate { whose: PEER.to_owned(), what };
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok((rest, _)) => Err(wrong(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(wrong(error.to_string())),
    }
}
