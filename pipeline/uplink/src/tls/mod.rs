//! Mutual TLS between the city's gateway and who talks to it: nodes, readers, couriers.
//!
//! - [`client_config`] and [`server_config`] make what `rustls` needs out of four files, [`TlsFiles`].
//! - [`Identity`] is who a certificate speaks for: exactly one URI `kerbside:<role>:<name>` among its names.
//!   A client asks [`expect_role`] after the handshake, so that a stolen certificate of a node cannot pose as the
//!   gateway.
//! - [`Reloading`] takes renewed files up while the program runs.
//!
//! Invariants
//! - TLS 1.3 with certificates on both sides is the only way. There is no switch for anything less, and nothing
//!   older is compiled in.
//! - Keys are agreed on by X25519 and ML-KEM-768 together where the peer can: what is recorded today stays closed
//!   to a quantum computer of tomorrow.
//! - Each connection is a full handshake. Nothing is resumed, so that a certificate that has expired or was revoked
//!   since does not come in again by an old ticket.
//! - An error or a log line never shows the content of a key file.
//!
//! Expiry is no error of loading: a renewed file may come at any time, and a clock that was not set yet makes every
//! certificate look expired or not yet valid. The handshake fails and the node tries again; [`expires`] says when
//! it will come to that. A list of revoked certificates stays in force beyond its `nextUpdate`.
//!
//! Threads: none. Clocks: `rustls` reads the system's during a handshake; nothing else does.

mod error;
mod identity;
pub(crate) mod load;
mod reload;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kerbside_core::time::WallTime;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

pub use error::TlsError;
pub(crate) use identity::parse;
pub use identity::{Identity, Role, expect_role, identity_of, not_after};
pub use reload::Reloading;

/// The one protocol that is spoken inside: HTTP/2, which carries gRPC.
const ALPN: &[u8] = b"h2";

/// The files that one side of a connection needs, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our own certificate, then those between it and the peer's authority.
    pub certificate: PathBuf,
    /// The certificate's private key: PKCS#8, SEC1 or PKCS#1, not encrypted. Nobody but its owner may write it, and
    /// nobody but owner and group read it.
    pub key: PathBuf,
    /// The authorities that the peer's certificate must chain to.
    pub authority: PathBuf,
    /// Lists of revoked certificates. Where they are given there must be one for each issuer in a peer's chain, and a
    /// new authority must have a name of its own: lists are told apart by their issuer's name.
    pub revoked: Option<PathBuf>,
}

/// What a node, a reader or a courier connects with.
///
/// # Errors
/// A file is missing, holds nothing of its kind or does not fit the others; the key can be read or written by too
/// many; the certificate names no role, or the gateway's.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let own = load::own(files, &provider, &[Role::Node, Role::Reader, Role::Courier])?;
    let roots = load::authorities(&files.authority)?;
    let crls = load::revoked(files.revoked.as_deref())?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).with_crls(crls).build();
    let verifier = verifier.map_err(|error| verifier_error(&files.authority, files.revoked.as_deref(), &error))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Setup)?
        .with_webpki_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// What the gateway takes connections with. A client without a certificate is refused.
///
/// # Errors
/// As for [`client_config`]; the certificate must name the gateway's role.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let own = load::own(files, &provider, &[Role::Gateway])?;
    let verifier = client_verifier(&files.authority, files.revoked.as_deref(), &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// When our own certificate expires, or the one of its chain that does so first.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub fn expires(files: &TlsFiles) -> Result<WallTime, TlsError> {
    let mut first = WallTime::from_unix_nanos(u64::MAX);
    for certificate in load::certificates(&files.certificate)? {
        first = first.min(not_after(&certificate).map_err(|error| error.in_file(&files.certificate))?);
    }
    Ok(first)
}

/// Named here and passed everywhere: a default of the whole process would depend on what other crates switch on.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// Who says whether a client's certificate leads to one of the authorities and was not revoked.
pub(crate) fn client_verifier(
    authority: &Path,
    revoked: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = load::authorities(authority)?;
    let crls = load::revoked(revoked)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).with_crls(crls).build();
    verifier.map_err(|error| verifier_error(authority, revoked, &error))
}

fn verifier_error(authority: &Path, revoked: Option<&Path>, error: &VerifierBuilderError) -> TlsError {
    match (error, revoked) {
        (VerifierBuilderError::InvalidCrl(_), Some(path)) => {
            TlsError::Revoked { path: path.to_owned(), what: error.to_string() }
        }
        // That there is an authority was seen to when the file was read.
        _ => TlsError::Authority { path: authority.to_owned(), what: error.to_string() },
    }
}
