//! Who signs for an export, and whether that may be believed.

use std::path::Path;
use std::time::Duration;

use kerbside_core::time::WallTime;
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::{CertifiedKey, Signer, public_key_to_spki};

use super::{ExportError, Manifest};
use crate::tls::{Role, TlsError, client_verifier, expect_role, parse, provider};

/// How an export is signed: a name of TLS 1.3 (RFC 8446, 4.2.3). What is signed is the bytes of the manifest as they
/// are. No handshake signs the like: what is signed there begins with 64 spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme(SignatureScheme);

/// The schemes, the best first. Each belongs to one kind of key.
const SCHEMES: [(SignatureScheme, &str); 7] = [
    (SignatureScheme::ED25519, "ed25519"),
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ecdsa_secp256r1_sha256"),
    (SignatureScheme::ECDSA_NISTP384_SHA384, "ecdsa_secp384r1_sha384"),
    (SignatureScheme::ECDSA_NISTP521_SHA512, "ecdsa_secp521r1_sha512"),
    (SignatureScheme::RSA_PSS_SHA512, "rsa_pss_rsae_sha512"),
    (SignatureScheme::RSA_PSS_SHA384, "rsa_pss_rsae_sha384"),
    (SignatureScheme::RSA_PSS_SHA256, "rsa_pss_rsae_sha256"),
];

impl Scheme {
    /// As in a manifest.
    pub fn name(self) -> &'static str {
        let known = SCHEMES.iter().find(|(scheme, _)| *scheme == self.0);
        known.map(|(_, name)| *name).expect("a scheme is made from this list only")
    }

    /// The reverse of [`Scheme::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        SCHEMES.iter().find(|(_, known)| *known == name).map(|(scheme, _)| Self(*scheme))
    }
}

/// A key that signs in one way.
pub(super) struct ManifestSigner {
    pub(super) scheme: Scheme,
    signer: Box<dyn Signer>,
}

impl ManifestSigner {
    pub(super) fn sign(&self, manifest: &[u8]) -> Result<Vec<u8>, ExportError> {
        self.signer.sign(manifest).map_err(ExportError::Sign)
    }
}

/// `None` when the key signs in none of the known ways.
pub(super) fn signer(key: &CertifiedKey) -> Option<ManifestSigner> {
    let signer = key.key.choose_scheme(&SCHEMES.map(|(scheme, _)| scheme))?;
    Some(ManifestSigner { scheme: Scheme(signer.scheme()), signer })
}

/// What a manifest says, if it was signed by the node that it speaks of. Its segments are not looked at: whoever takes
/// one in compares its size and hash.
///
/// `chain` is what `node.pem` holds, the node's own certificate first; `authority` and `revoked` are the gateway's
/// files, as for its connections.
///
/// # Errors
/// The certificate does not lead to the authority at `now` or was revoked; it is not a node's; the signature is not its
/// key's; the manifest is damaged or speaks of another node. Or a file of ours cannot be used.
pub fn verify_manifest(
    manifest: &[u8],
    signature: &[u8],
    chain: &[CertificateDer<'_>],
    authority: &Path,
    revoked: Option<&Path>,
    now: WallTime,
) -> Result<Manifest, ExportError> {
    let verifier = client_verifier(authority, revoked, &provider())?;
    let (end, above) = chain.split_first().ok_or(TlsError::NoPeerCertificate(Role::Node))?;
    let at = UnixTime::since_unix_epoch(Duration::from_nanos(now.as_unix_nanos()));
    verifier.verify_client_cert(end, above, at).map_err(ExportError::Untrusted)?;
    let certified = expect_role(Some(chain), Role::Node)?;
    // Nothing of the manifest is believed before this, but which of the ways it was signed in.
    let manifest_bytes = manifest;
    let manifest = Manifest::decode(manifest_bytes)?;
    check(manifest.scheme, end, manifest_bytes, signature)?;
    if manifest.node != certified.name {
        return Err(ExportError::Impostor { said: manifest.node, certified });
    }
    Ok(manifest)
}

/// Whether the certificate's key has signed the message in that way.
fn check(
    scheme: Scheme,
    certificate: &CertificateDer<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), ExportError> {
    let parsed = parse(certificate)?;
    let key = parsed.public_key();
    let bits = key.subject_public_key.data.as_ref();
    let algorithms = provider().signature_verification_algorithms;
    let algorithm = algorithms.mapping.iter().find(|(known, _)| *known == scheme.0);
    // In TLS 1.3 a scheme names the curve too: it is the first of the list. The key's own algorithm must be that one.
    let algorithm = algorithm
        .and_then(|(_, algorithms)| algorithms.first())
        .filter(|algorithm| public_key_to_spki(&algorithm.public_key_alg_id(), bits).as_ref() == key.raw)
        .ok_or(ExportError::Signature)?;
    algorithm.verify_signature(bits, message, signature).map_err(|_| ExportError::Signature)
}
