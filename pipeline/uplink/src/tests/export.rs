//! A spool for the pocket, and those who would like to slip something into it.

use std::fs;
use std::path::{Path, PathBuf};

use kerbside_core::time::WallTime;
use kerbside_release::Table;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::{Node, kill, now, open, read};
use crate::enroll::{DevAuthority, Request};
use crate::export::{
    CERTIFICATE, ExportError, Exported, ExportedSegment, MANIFEST, Manifest, SIGNATURE, Scheme, export,
    verify_manifest,
};
use crate::tls::{Role, TlsError, TlsFiles, load};

fn at(text: &str) -> WallTime {
    WallTime::parse_rfc3339(text).unwrap()
}

fn today() -> WallTime {
    at("2026-06-01T12:00:00Z")
}

/// A node's files, and the authority of its city.
struct City {
    folder: tempfile::TempDir,
    authority: DevAuthority,
}

impl City {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::create(
            &folder.path().join("ca"),
            at("2026-01-01T00:00:00Z"),
            at("2036-01-01T00:00:00Z"),
        );
        Self { folder, authority: authority.unwrap() }
    }

    fn issue(&self, role: Role, name: &str) -> TlsFiles {
        let request = Request {
            role,
            name: name.to_owned(),
            addresses: if role == Role::Gateway { vec!["gateway.example".to_owned()] } else { Vec::new() },
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2027-01-01T00:00:00Z"),
        };
        self.authority.write(&self.authority.issue(&request).unwrap(), &self.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A spool with two sealed segments of counts, one of health, and an open one that was not synced.
fn spool(folder: &Path) {
    for _ in 0..2 {
        let mut spool = open(folder);
        let mut node = Node::of(&spool);
        spool.append(&node.agg(), now()).unwrap();
        spool.append(&node.health(), now()).unwrap();
        spool.close().unwrap();
    }
    let mut spool = open(folder);
    let mut node = Node::of(&spool);
    spool.append(&node.agg(), now()).unwrap();
    spool.sync().unwrap();
    kill(spool);
}

/// An export of [`spool`] by the node `cabinet`, as it comes out of somebody's pocket.
struct Pocket {
    city: City,
    manifest: Vec<u8>,
    signature: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
}

impl Pocket {
    fn new() -> Self {
        let city = City::new();
        spool(&city.path("spool"));
        let files = city.issue(Role::Node, "cabinet");
        export(&city.path("spool"), "cabinet", &files, &city.path("out"), today()).unwrap();
        let [manifest, signature] =
            [MANIFEST, SIGNATURE].map(|name| fs::read(city.path("out").join(name)).unwrap());
        let chain = load::certificates(&city.path("out").join(CERTIFICATE)).unwrap();
        Self { city, manifest, signature, chain }
    }

    fn verify(&self) -> Result<Manifest, ExportError> {
        self.verify_at(None, today())
    }

    fn verify_at(&self, revoked: Option<&Path>, now: WallTime) -> Result<Manifest, ExportError> {
        let authority = self.city.path("ca/authority.pem");
        verify_manifest(&self.manifest, &self.signature, &self.chain, &authority, revoked, now)
    }

    /// As its text says it.
    fn with(&self, from: &str, to: &str) -> Vec<u8> {
        let text = String::from_utf8(self.manifest.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1).into_bytes()
    }
}

#[test]
fn sealed_segments_are_copied_while_the_node_goes_on() {
    let city = City::new();
    let (from, out) = (city.path("spool"), city.path("out"));
    spool(&from);
    let mut running = open(&from);
    running.append(&Node::of(&running).agg(), now()).unwrap();
    let files = city.issue(Role::Node, "cabinet");
    let exported = export(&from, "cabinet", &files, &out, today()).unwrap();
    running.close().unwrap();

    let manifest = Manifest::decode(&fs::read(out.join(MANIFEST)).unwrap()).unwrap();
    assert_eq!((manifest.node.as_str(), manifest.created), ("cabinet", today()));
    assert_eq!(manifest.scheme, Scheme::from_name("ecdsa_secp256r1_sha256").unwrap());
    assert!(manifest.segments.len() >= 4, "{manifest:?}");
    assert!(exported.open >= 1, "what the node was writing stays behind: {exported:?}");
    assert_eq!((exported.segments, exported.vanished), (manifest.segments.len(), 0));
    assert_eq!(exported.bytes, manifest.segments.iter().map(|segment| segment.bytes).sum::<u64>());
    for segment in &manifest.segments {
        let [here, there] = [&from, &out].map(|folder| fs::read(folder.join(segment.file())).unwrap());
        assert_eq!(here, there);
        assert_eq!((segment.bytes, segment.sha256), (here.len() as u64, Sha256::digest(&here).into()));
    }
    // The folder reads like a spool, with whole rows of both tables.
    let content = read(&out);
    assert_eq!(content.damages, []);
    for table in [Table::Agg, Table::Health] {
        assert!(content.rows.iter().any(|row| row.0 == table), "{table}");
    }
    assert!(content.rows.iter().all(|row| read(&from).rows.contains(row)));
    let chain = load::certificates(&out.join(CERTIFICATE)).unwrap();
    let signature = fs::read(out.join(SIGNATURE)).unwrap();
    let bytes = fs::read(out.join(MANIFEST)).unwrap();
    let verified = verify_manifest(&bytes, &signature, &chain, &files.authority, None, today()).unwrap();
    assert_eq!(verified, manifest);
}

#[test]
fn an_empty_spool_gives_an_empty_export() {
    let city = City::new();
    let files = city.issue(Role::Node, "cabinet");
    let exported = export(&city.path("spool"), "cabinet", &files, &city.path("out"), today()).unwrap();
    assert_eq!(exported, Exported::default());
    let manifest = Manifest::decode(&fs::read(city.path("out").join(MANIFEST)).unwrap()).unwrap();
    assert_eq!(manifest.segments, []);
}

#[test]
fn nothing_is_exported_in_another_s_name_or_over_something() {
    let city = City::new();
    let (from, out) = (city.path("spool"), city.path("out"));
    spool(&from);
    let refused = |files: &TlsFiles| export(&from, "cabinet", files, &out, today()).unwrap_err();
    assert!(matches!(refused(&city.issue(Role::Node, "other")), ExportError::OtherNode { .. }));
    assert!(matches!(refused(&city.issue(Role::Courier, "van")), ExportError::Tls(TlsError::Role { .. })));
    assert!(!out.exists(), "nothing was copied in vain");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("notes.txt"), "mine").unwrap();
    assert!(matches!(refused(&city.issue(Role::Node, "cabinet")), ExportError::NotEmpty(_)));
}

#[test]
fn an_export_of_a_stranger_is_not_believed() {
    let pocket = Pocket::new();
    pocket.verify().unwrap();
    let untrusted = |pocket: &Pocket| matches!(pocket.verify(), Err(ExportError::Untrusted(_)));
    // Another city's authority, of the same name.
    let other = Pocket::new();
    assert!(untrusted(&Pocket { city: City::new(), ..pocket }));
    let [early, late] = ["2025-12-31T23:00:00Z", "2027-01-02T00:00:00Z"].map(at);
    for moment in [early, late] {
        assert!(matches!(other.verify_at(None, moment), Err(ExportError::Untrusted(_))), "{moment}");
    }
    let list = other.city.authority.revoke(&[other.city.path("cabinet/cabinet.pem")], today()).unwrap().path;
    assert!(matches!(other.verify_at(Some(&list), today()), Err(ExportError::Untrusted(_))));
    let none = Pocket { chain: Vec::new(), ..other };
    assert!(matches!(none.verify(), Err(ExportError::Tls(TlsError::NoPeerCertificate(Role::Node)))));
    let junk = Pocket { chain: vec![CertificateDer::from(vec![0x30, 0x00])], ..none };
    assert!(untrusted(&junk));
}

#[test]
fn a_signature_holds_for_one_manifest_and_one_key() {
    let mut pocket = Pocket::new();
    let (manifest, signature, chain) = (pocket.manifest.clone(), pocket.signature.clone(), pocket.chain.clone());
    let wrong = |pocket: &Pocket| matches!(pocket.verify(), Err(ExportError::Signature));
    for (from, to) in
        [("\"bytes\": ", "\"bytes\": 1"), ("  ", " "), ("2026-06-01", "2026-06-02"), ("\n}\n", "\n}")]
    {
        pocket.manifest = pocket.with(from, to);
        assert!(wrong(&pocket), "{from}");
        pocket.manifest.clone_from(&manifest);
    }
    for scheme in ["ed25519", "ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha256"] {
        pocket.manifest = pocket.with("ecdsa_secp256r1_sha256", scheme);
        assert!(wrong(&pocket), "{scheme}");
        pocket.manifest.clone_from(&manifest);
    }
    for place in 0..signature.len() {
        pocket.signature[place] ^= 1;
        assert!(wrong(&pocket), "{place}");
        pocket.signature.clone_from(&signature);
    }
    for len in 0..signature.len() {
        pocket.signature.truncate(len);
        assert!(wrong(&pocket), "{len}");
        pocket.signature.clone_from(&signature);
    }
    // A good certificate of somebody else, and one who may not send rows at all.
    pocket.chain = load::certificates(&pocket.city.issue(Role::Node, "other").certificate).unwrap();
    assert!(wrong(&pocket));
    pocket.chain = load::certificates(&pocket.city.issue(Role::Courier, "van").certificate).unwrap();
    assert!(matches!(pocket.verify(), Err(ExportError::Tls(TlsError::Role { .. }))));
    pocket.chain = chain;
    pocket.verify().unwrap();
}

#[test]
fn a_node_signs_for_itself_only() {
    let mut pocket = Pocket::new();
    pocket.manifest = pocket.with("\"cabinet\"", "\"other\"");
    let files = pocket.city.issue(Role::Node, "insider");
    let key = load::own(&files, &crate::tls::provider(), &[Role::Node]).unwrap();
    let scheme = rustls::SignatureScheme::ECDSA_NISTP256_SHA256;
    pocket.signature = key.key.choose_scheme(&[scheme]).unwrap().sign(&pocket.manifest).unwrap();
    pocket.chain = key.cert;
    match pocket.verify() {
        Err(ExportError::Impostor { said, certified }) => {
            assert_eq!((said.as_str(), certified.name.as_str()), ("other", "insider"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_key_signs_and_is_checked() {
    let city = City::new();
    for (algorithm, name) in [
        (&rcgen::PKCS_ED25519, "ed25519"),
        (&rcgen::PKCS_ECDSA_P256_SHA256, "ecdsa_secp256r1_sha256"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "ecdsa_secp384r1_sha384"),
        (&rcgen::PKCS_ECDSA_P521_SHA512, "ecdsa_secp521r1_sha512"),
        (&rcgen::PKCS_RSA_SHA256, "rsa_pss_rsae_sha512"),
    ] {
        // An authority of another make: what a city brings.
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI("kerbside:node:cabinet".try_into().unwrap())];
        let certificate = params.signed_by(&key, &authority).unwrap();
        let folder = city.path(name);
        fs::create_dir(&folder).unwrap();
        let files = TlsFiles {
            certificate: folder.join("a.pem"),
            key: folder.join("a.key"),
            authority: folder.join("ca.pem"),
            revoked: None,
        };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&files.authority, authority.pem()).unwrap();
        let out = folder.join("out");
        export(&city.path("spool"), "cabinet", &files, &out, today()).unwrap();
        let [manifest, signature] = [MANIFEST, SIGNATURE].map(|name| fs::read(out.join(name)).unwrap());
        let chain = load::certificates(&out.join(CERTIFICATE)).unwrap();
        let verified = verify_manifest(&manifest, &signature, &chain, &files.authority, None, today()).unwrap();
        assert_eq!(verified.scheme.name(), name);
    }
}

fn sample() -> Manifest {
    let segment = ExportedSegment { table: Table::Agg, epoch: 7, first_seq: 40, bytes: 1024, sha256: [0xab; 32] };
    Manifest {
        node: "cabinet".to_owned(),
        created: today(),
        scheme: Scheme::from_name("ed25519").unwrap(),
        segments: vec![segment, ExportedSegment { table: Table::Health, ..segment }],
    }
}

#[test]
fn a_manifest_comes_back_and_nothing_else_is_one() {
    let manifest = sample();
    let text = String::from_utf8(manifest.encode().unwrap()).unwrap();
    assert_eq!(Manifest::decode(text.as_bytes()).unwrap(), manifest);
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("\"cabinet\"", "\"../cabinet\""),
        ("\"cabinet\"", "\"\""),
        ("2026-06-01T12:00:00.000Z", "yesterday"),
        ("ed25519", "none"),
        ("ed25519", "rsa_pkcs1_sha1"),
        ("\"agg.v1\"", "\"agg.v9\""),
        ("agg.v1/0", "../agg.v1/0"),
        ("agg.v1/0", "/agg.v1/0"),
        ("agg.v1/0000000007", "agg.v1/0000000008"),
        ("\"epoch\": 7", "\"epoch\": 4294967296"),
        ("\"first_seq\": 40", "\"first_seq\": -1"),
        ("\"bytes\": 1024", "\"bytes\": 1e3"),
        ("ababab", "ABABAB"),
        ("ababab", "abab"),
        ("ababab", "abxbab"),
        ("health.v1", "agg.v1"),
        ("\"node\"", "\"plate\": \"B-AB 123\", \"node\""),
        ("\"table\"", "\"face\": 1, \"table\""),
        ("{", "[{"),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = if from == "health.v1" { text.replace(from, to) } else { text.replacen(from, to, 1) };
        let refused = Manifest::decode(changed.as_bytes());
        assert!(matches!(refused, Err(ExportError::Manifest(_))), "{from} {to}: {refused:?}");
    }
    for len in 0..text.len() - 1 {
        assert!(Manifest::decode(&text.as_bytes()[..len]).is_err() || text[len..].trim().is_empty(), "{len}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(Manifest::decode(deep.as_bytes()), Err(ExportError::Manifest(_))));
    let large = vec![b' '; (16 << 20) + 1];
    assert!(matches!(Manifest::decode(&large), Err(ExportError::Manifest(_))));
}

#[test]
fn a_damaged_manifest_never_panics_and_names_no_file_outside() {
    let bytes = sample().encode().unwrap();
    for place in 0..bytes.len() {
        for change in [1, 4, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[place] ^= change;
            let Ok(manifest) = Manifest::decode(&damaged) else { continue };
            for segment in manifest.segments {
                let file = segment.file();
                assert!(file.starts_with(segment.table.name()) && !file.contains(".."), "{file}");
            }
        }
    }
}
