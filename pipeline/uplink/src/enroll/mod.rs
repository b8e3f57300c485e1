//! A small authority for trying the uplink out: it issues the certificates that [`crate::tls`] asks for.
//!
//! It is for development and tests. Its key lies in a file, nobody is asked who may have a certificate, and its
//! name says so to everyone who looks at one. In production the city's own authority issues certificates; what
//! they must hold is what [`DevAuthority::issue`] puts into them.
//!
//! ```text
//! <authority>/authority.pem  its certificate      <out>/NAME.pem       a certificate
//!             authority.key  its key, 0600              NAME.key       its key, 0600
//!             revoked.pem    what it has revoked        authority.pem  a copy
//! ```
//!
//! Invariants
//! - No file is overwritten but the list of revoked certificates, which is replaced at once.
//! - The authority's key is written once, into its folder, and never copied.
//! - [`DevAuthority::open`] takes none but such an authority: a city's own key is not used by accident.
//!
//! Clocks and threads: none; time comes in as a parameter.

mod error;
mod files;
mod revoke;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use kerbside_core::time::WallTime;
use kerbside_core::tree::{NAME_RULE, is_name};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::tls::{self, Identity, Role, TlsFiles};

pub use error::EnrollError;
pub use revoke::Revocation;

/// The common name of every such authority.
pub const AUTHORITY_NAME: &str = "Kerbside DEVELOPMENT authority, not for production";

const AUTHORITY_CERTIFICATE: &str = "authority.pem";
const AUTHORITY_KEY: &str = "authority.key";
/// Names whose files would be taken for the authority's own.
const RESERVED: [&str; 2] = ["authority", "revoked"];

/// Modes of what may be seen and of what may not.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// What a certificate is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What its holder may do.
    pub role: Role,
    /// Its holder's name: for a node that of `node.yaml`.
    pub name: String,
    /// Host names and IP addresses under which a gateway is reached: at least one for a gateway, none for others.
    pub addresses: Vec<String>,
    /// When it begins to be valid.
    pub not_before: WallTime,
    /// When it expires.
    pub not_after: WallTime,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    /// Whom it was issued for.
    pub identity: Identity,
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

/// An authority for development. See the [module](self).
pub struct DevAuthority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl DevAuthority {
    /// A new authority in `folder`, which is made if need be.
    ///
    /// # Errors
    /// There is one already, the validity is empty, or a file cannot be written.
    pub fn create(folder: &Path, not_before: WallTime, not_after: WallTime) -> Result<Self, EnrollError> {
        check_validity(not_before, not_after)?;
        let [certificate_path, key_path] = [AUTHORITY_CERTIFICATE, AUTHORITY_KEY].map(|name| folder.join(name));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(EnrollError::Certificate)?;
        let mut params = authority_params();
        (params.not_before, params.not_after) = (date(not_before).to_datetime(), date(not_after).to_datetime());
        params.serial_number = Some(serial_number()?);
        let certificate_pem = params.self_signed(&key).map_err(EnrollError::Certificate)?.pem();
        files::create_folder(folder, 0o700)?;
        let key_pem = key.serialize_pem();
        files::write_all_new(&[
            (&key_path, key_pem.as_bytes(), SECRET),
            (&certificate_path, certificate_pem.as_bytes(), PUBLIC),
        ])?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), certificate_pem })
    }

    /// The authority that [`DevAuthority::create`] has made.
    ///
    /// # Errors
    /// A file is missing or cannot be used, or it is an authority of another kind.
    pub fn open(folder: &Path) -> Result<Self, EnrollError> {
        let [certificate_path, key_path] = [AUTHORITY_CERTIFICATE, AUTHORITY_KEY].map(|name| folder.join(name));
        let foreign = |what: &'static str| EnrollError::Foreign { path: certificate_path.clone(), what };
        let certificates = tls::load::certificates(&certificate_path)?;
        let [certificate] = certificates.as_slice() else {
            return Err(foreign("it holds more than one certificate"));
        };
        let key = KeyPair::from_der_and_sign_algo(&tls::load::key(&key_path)?, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| foreign("its key is not the kind that such an authority has"))?;
        let parsed = parse(certificate).ok_or_else(|| foreign("it is no X.509 certificate"))?;
        let names: Vec<_> = parsed.subject().iter_common_name().map(|name| name.as_str().ok()).collect();
        if names != [Some(AUTHORITY_NAME)] {
            return Err(foreign("it has another name"));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(foreign("its key is that of another certificate"));
        }
        let certificate_pem = files::read(&certificate_path)?;
        let issuer = Issuer::new(authority_params(), key);
        Ok(Self { folder: folder.to_owned(), issuer, certificate_pem })
    }

    /// The authority's certificate: what the others trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A new key and a certificate for it, in memory.
    ///
    /// # Errors
    /// The request is not one that may be granted.
    pub fn issue(&self, request: &Request) -> Result<Issued, EnrollError> {
        let Request { role, name, addresses, not_before, not_after } = request;
        if !is_name(name) || RESERVED.contains(&name.as_str()) {
            let allowed = format!("{NAME_RULE}; authority and revoked are names of other files");
            return Err(EnrollError::Request { what: format!("'{name}' is no name for it"), allowed });
        }
        check_validity(*not_before, *not_after)?;
        let identity = Identity { role: *role, name: name.clone() };
        let uri = identity.uri().try_into().map_err(EnrollError::Certificate)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = std::iter::once(Ok(SanType::URI(uri)))
            .chain(addresses.iter().map(|address| alternative_name(address)))
            .collect::<Result<_, EnrollError>>()?;
        if (*role == Role::Gateway) == addresses.is_empty() {
            return Err(EnrollError::Request {
                what: format!("{} addresses for a {role}", addresses.len()),
                allowed: "a gateway has the host names and IP addresses under which it is reached, others none"
                    .to_owned(),
            });
        }
        let usage = match role {
            Role::Gateway => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Node | Role::Reader | Role::Courier => ExtendedKeyUsagePurpose::ClientAuth,
        };
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = common_name(&identity.to_string());
        (params.not_before, params.not_after) = (date(*not_before).to_datetime(), date(*not_after).to_datetime());
        params.serial_number = Some(serial_number()?);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(EnrollError::Certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(EnrollError::Certificate)?;
        Ok(Issued { identity, certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Writes `NAME.pem`, `NAME.key` and `authority.pem` into `out`, which is made if need be.
    ///
    /// # Errors
    /// There is such a file already (the same `authority.pem` may be there), or one cannot be written.
    pub fn write(&self, issued: &Issued, out: &Path) -> Result<TlsFiles, EnrollError> {
        let name = &issued.identity.name;
        let authority = out.join(AUTHORITY_CERTIFICATE);
        let certificate = out.join(format!("{name}.pem"));
        let key = out.join(format!("{name}.key"));
        files::create_folder(out, 0o750)?;
        let mut new = vec![
            (key.as_path(), issued.key_pem.as_bytes(), SECRET),
            (certificate.as_path(), issued.certificate_pem.as_bytes(), PUBLIC),
        ];
        if !files::holds(&authority, self.certificate_pem.as_bytes())? {
            new.push((authority.as_path(), self.certificate_pem.as_bytes(), PUBLIC));
        }
        files::write_all_new(&new)?;
        Ok(TlsFiles { certificate, key, authority, revoked: None })
    }
}

/// All that follows from the authority's kind: equal in every such authority.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A host name or an IP address as a client would check it.
fn alternative_name(address: &str) -> Result<SanType, EnrollError> {
    let refused = || EnrollError::Request {
        what: format!("'{address}' is no address"),
        allowed: "a host name or an IP address, without a port, is expected".to_owned(),
    };
    match ServerName::try_from(address) {
        Ok(ServerName::DnsName(name)) => {
            name.as_ref().to_owned().try_into().map(SanType::DnsName).map_err(|_| refused())
        }
        Ok(ServerName::IpAddress(ip)) => Ok(SanType::IpAddress(std::net::IpAddr::from(ip))),
        _ => Err(refused()),
    }
}

fn check_validity(not_before: WallTime, not_after: WallTime) -> Result<(), EnrollError> {
    if not_before < not_after {
        return Ok(());
    }
    Err(EnrollError::Request {
        what: format!("it would be valid from {not_before} to {not_after}"),
        allowed: "the end comes after the beginning".to_owned(),
    })
}

/// Of 128 bits, 126 of them random: positive, and always as long.
fn serial_number() -> Result<SerialNumber, EnrollError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(EnrollError::Random)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The clock of certificates counts seconds.
fn date(at: WallTime) -> ASN1Time {
    let secs = i64::try_from(at.as_unix_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
    ASN1Time::from_timestamp(secs).expect("wall time ends in 2554, certificates' time in 9999")
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed)
}
