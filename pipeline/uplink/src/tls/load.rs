//! From files to certificates, keys and lists.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::identity::one_of;
use super::{Role, TlsError, TlsFiles, identity_of};

/// The largest file of certificates or keys.
const MAX_BYTES: u64 = 1 << 20;
/// The largest file of revoked certificates: some 40 bytes each.
const MAX_REVOKED_BYTES: u64 = 64 << 20;
/// Permission bits that a key file must not have: anything for others, writing for the group.
const EXPOSED: u32 = 0o027;

const CERTIFICATES: &str = "a certificate in PEM, -----BEGIN CERTIFICATE-----";
const KEY: &str = "a private key in PEM, not encrypted (PKCS#8, SEC1 or PKCS#1)";
const REVOKED: &str = "a list of revoked certificates in PEM, -----BEGIN X509 CRL-----";

/// Our own certificate with its key. Its identity must have one of these roles.
pub(crate) fn own(files: &TlsFiles, provider: &CryptoProvider, roles: &[Role]) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.certificate)?;
    if let Some(end) = chain.first() {
        identity_of(end)
            .and_then(|identity| one_of(identity, roles))
            .map_err(|error| error.in_file(&files.certificate))?;
    }
    CertifiedKey::from_der(chain, key(&files.key)?, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::KeyMismatch { key: files.key.clone(), certificate: files.certificate.clone() }
        }
        Error::InvalidCertificate(error) => TlsError::Content {
            path: files.certificate.clone(),
            what: format!("its first certificate cannot be used: {error}"),
            wanted: CERTIFICATES,
        },
        _ => TlsError::Content {
            path: files.key.clone(),
            what: "the key cannot be used".to_owned(),
            wanted: "an ECDSA (P-256, P-384, P-521), Ed25519 or RSA key",
        },
    })
}

/// The certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    sections(path, MAX_BYTES, CERTIFICATES)
}

/// The authorities of a file, at least one.
pub(crate) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates(path)?) {
        roots.add(certificate).map_err(|error| TlsError::Authority {
            path: path.to_owned(),
            what: format!("certificate {number} cannot be used: {error}"),
        })?;
    }
    Ok(Arc::new(roots))
}

/// The lists of a file: none when there is no file, else at least one.
pub(crate) fn revoked(path: Option<&Path>) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let lists: Vec<CertificateRevocationListDer<'static>> = sections(path, MAX_REVOKED_BYTES, REVOKED)?;
    // The verifier looks into the first list of an issuer only: one that was appended would have no effect.
    let mut issuers = HashSet::new();
    for list in &lists {
        let wrong = |what: String| TlsError::Revoked { path: path.to_owned(), what };
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|error| wrong(error.to_string()))?;
        if !issuers.insert(parsed.tbs_cert_list.issuer.as_raw().to_vec()) {
            return Err(wrong(format!("there are two lists of {}", parsed.issuer())));
        }
    }
    Ok(lists)
}

/// The private key of a file. Nothing of the file's text is in an error: a key whose line breaks were lost is one
/// long first line.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let file = open(path, KEY)?;
    let mode = file.metadata().map_err(io_error(path))?.mode() & 0o7777;
    if mode & EXPOSED != 0 {
        return Err(TlsError::Exposed { path: path.to_owned(), mode });
    }
    let text = read(file, path, MAX_BYTES, KEY)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let encrypted = text.windows(9).any(|word| word == b"ENCRYPTED");
        let what = match error {
            _ if encrypted => "the key is encrypted",
            pem::Error::NoItemsFound => "there is no private key in it",
            _ => "the private key in it is damaged",
        };
        TlsError::Content { path: path.to_owned(), what: what.to_owned(), wanted: KEY }
    })
}

/// All sections of a kind, at least one.
fn sections<T: PemObject>(path: &Path, most: u64, wanted: &'static str) -> Result<Vec<T>, TlsError> {
    let text = read(open(path, wanted)?, path, most, wanted)?;
    let content = |what: String| TlsError::Content { path: path.to_owned(), what, wanted };
    let found: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(content("there is none in it".to_owned())),
        Ok(found) => Ok(found),
        // The error may quote the file, and somebody may have named the key file here.
        Err(_) => Err(content("its PEM is damaged".to_owned())),
    }
}

fn open(path: &Path, wanted: &'static str) -> Result<File, TlsError> {
    let io_error = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => TlsError::Missing { path: path.to_owned(), wanted },
        _ => io_error(path)(error),
    };
    // Opening a named pipe would wait for its writer.
    if !fs::metadata(path).map_err(io_error)?.is_file() {
        return Err(TlsError::Content { path: path.to_owned(), what: "it is no regular file".to_owned(), wanted });
    }
    File::open(path).map_err(io_error)
}

fn read(file: File, path: &Path, most: u64, wanted: &'static str) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let count = file.take(most + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    if count as u64 > most {
        return Err(TlsError::TooLarge { path: path.to_owned(), most, wanted });
    }
    Ok(bytes)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Io { path, source }
}
