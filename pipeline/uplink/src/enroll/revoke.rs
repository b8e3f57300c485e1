//! The list of what was revoked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_core::time::WallTime;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::CertificateRevocationListDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{AUTHORITY_NAME, DevAuthority, EnrollError, PUBLIC, date, files, parse};
use crate::tls::load;

const LIST: &str = "revoked.pem";
/// When the next list is due at the latest.
const NEXT_UPDATE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a revocation has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The list.
    pub path: PathBuf,
    /// How many certificates it did not hold before.
    pub added: usize,
    /// How many it holds.
    pub total: usize,
}

impl DevAuthority {
    /// Puts the certificates of those files on the list `revoked.pem` in the authority's folder. Without any it
    /// writes the list as it is, with a new date.
    ///
    /// # Errors
    /// A certificate was not issued by this authority, the list is not its own, or a file cannot be used.
    pub fn revoke(&self, certificates: &[PathBuf], now: WallTime) -> Result<Revocation, EnrollError> {
        let path = self.folder.join(LIST);
        let (mut revoked_certs, number) = self.list(&path)?;
        let before = revoked_certs.len();
        for file in certificates {
            let serial_number = self.serial(file)?;
            if revoked_certs.iter().any(|revoked| revoked.serial_number == serial_number) {
                continue;
            }
            revoked_certs.push(RevokedCertParams {
                serial_number,
                revocation_time: date(now).to_datetime(),
                reason_code: None,
                invalidity_date: None,
            });
        }
        let total = revoked_certs.len();
        let params = CertificateRevocationListParams {
            this_update: date(now).to_datetime(),
            next_update: date(now + NEXT_UPDATE).to_datetime(),
            crl_number: SerialNumber::from(number + 1),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = params.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(EnrollError::Certificate)?;
        files::replace((&path, pem.as_bytes(), PUBLIC))?;
        Ok(Revocation { path, added: total - before, total })
    }

    /// What the list holds, and its number.
    fn list(&self, path: &Path) -> Result<(Vec<RevokedCertParams>, u64), EnrollError> {
        if !path.try_exists().map_err(EnrollError::io("read", path))? {
            return Ok((Vec::new(), 0));
        }
        let foreign = |what: &'static str| EnrollError::NotIssued { path: path.to_owned(), what };
        let lists: Vec<CertificateRevocationListDer<'static>> = load::revoked(Some(path))?;
        let [list] = lists.as_slice() else { return Err(foreign("it holds several lists")) };
        let (_, list) =
            CertificateRevocationList::from_der(list).map_err(|_| foreign("it cannot be understood"))?;
        let by_name = list.issuer().iter_common_name().any(|name| name.as_str() == Ok(AUTHORITY_NAME));
        if !by_name || !self.is_key_of(list.extensions().iter().map(|extension| extension.parsed_extension())) {
            return Err(foreign("the list is that of another authority"));
        }
        let number = list.crl_number().and_then(|number| number.iter_u64_digits().next()).unwrap_or(0);
        let revoked = list.iter_revoked_certificates().map(|revoked| RevokedCertParams {
            serial_number: SerialNumber::from_slice(revoked.raw_serial()),
            revocation_time: revoked.revocation_date.to_datetime(),
            reason_code: None,
            invalidity_date: None,
        });
        Ok((revoked.collect(), number))
    }

    /// The serial number of a file's first certificate.
    fn serial(&self, file: &Path) -> Result<SerialNumber, EnrollError> {
        let foreign = |what: &'static str| EnrollError::NotIssued { path: file.to_owned(), what };
        let certificates = load::certificates(file)?;
        let parsed = certificates.first().and_then(parse).ok_or_else(|| foreign("it is no X.509 certificate"))?;
        if parsed.is_ca() {
            return Err(foreign("it is an authority itself"));
        }
        if !self.is_key_of(parsed.extensions().iter().map(|extension| extension.parsed_extension())) {
            return Err(foreign("it was issued by another authority"));
        }
        Ok(SerialNumber::from_slice(parsed.raw_serial()))
    }

    /// Whether the extensions name our key as the issuer's.
    fn is_key_of<'a>(&self, mut extensions: impl Iterator<Item = &'a ParsedExtension<'a>>) -> bool {
        let own = super::authority_params().key_identifier(self.issuer.key());
        extensions.any(|extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().is_some_and(|found| found.0 == own)
            }
            _ => false,
        })
    }
}
