use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kerbside_core::time::WallTime;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::{AUTHORITY_NAME, DevAuthority, EnrollError, Request, parse};
use crate::tls::{Role, TlsFiles, load, not_after};

fn at(text: &str) -> WallTime {
    WallTime::parse_rfc3339(text).unwrap()
}

fn authority(folder: &Path) -> DevAuthority {
    DevAuthority::create(folder, at("2026-01-01T00:00:00Z"), at("2036-01-01T00:00:00Z")).unwrap()
}

fn request(role: Role, name: &str, addresses: &[&str]) -> Request {
    Request {
        role,
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        not_before: at("2026-01-01T00:00:00Z"),
        not_after: at("2027-01-01T00:00:00Z"),
    }
}

fn issue(authority: &DevAuthority, request: &Request, out: &Path) -> TlsFiles {
    authority.write(&authority.issue(request).unwrap(), out).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What lies in a folder, byte for byte.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    names(folder)
        .iter()
        .map(|name| folder.join(name))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn only_its_owner_reads_a_key_and_the_authority_s_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, out] = ["ca", "out"].map(|name| folder.path().join(name));
    let authority = authority(&ca);
    let files = issue(&authority, &request(Role::Node, "cabinet", &[]), &out);
    assert_eq!(names(&ca), ["authority.key", "authority.pem"]);
    assert_eq!(names(&out), ["authority.pem", "cabinet.key", "cabinet.pem"]);
    assert_eq!([mode(&ca), mode(&ca.join("authority.key")), mode(&files.key)], [0o700, 0o600, 0o600]);
    // What else may be seen is for the user's mask to say.
    assert_eq!(mode(&files.certificate) & 0o133, 0);
    let secret = fs::read_to_string(ca.join("authority.key")).unwrap();
    for (path, text) in content(&out) {
        assert_ne!(String::from_utf8(text).unwrap(), secret, "{}", path.display());
    }
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, out, other] = ["ca", "out", "other"].map(|name| folder.path().join(name));
    let authority = authority(&ca);
    let issued = authority.issue(&request(Role::Node, "cabinet", &[])).unwrap();
    authority.write(&issued, &out).unwrap();
    let before = [content(&ca), content(&out)];
    let exists = |result: Result<(), EnrollError>, wanted: &Path| match result {
        Err(EnrollError::Exists(path)) => assert_eq!(path, wanted),
        other => panic!("{other:?}"),
    };
    let again = DevAuthority::create(&ca, at("2026-01-01T00:00:00Z"), at("2036-01-01T00:00:00Z"));
    exists(again.map(drop), &ca.join("authority.key"));
    exists(authority.write(&issued, &out).map(drop), &out.join("cabinet.key"));
    // Another authority's certificate lies there: no key is left behind.
    let second = self::authority(&other);
    let issued = second.issue(&request(Role::Node, "second", &[])).unwrap();
    exists(second.write(&issued, &out).map(drop), &out.join("authority.pem"));
    // The key's name is free, the certificate's is not.
    fs::write(other.join("second.pem"), "").unwrap();
    exists(second.write(&issued, &other).map(drop), &other.join("second.pem"));
    assert_eq!(names(&other), ["authority.key", "authority.pem", "second.pem"]);
    assert_eq!([content(&ca), content(&out)], before);
    // A second certificate of the same authority lies beside the first.
    issue(&authority, &request(Role::Reader, "desk", &[]), &out);
    assert_eq!(names(&out), ["authority.pem", "cabinet.key", "cabinet.pem", "desk.key", "desk.pem"]);
}

#[test]
fn a_certificate_may_do_what_its_role_needs_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(&folder.path().join("ca"));
    let mut serials = Vec::new();
    for role in Role::ALL {
        let addresses: &[&str] =
            if role == Role::Gateway { &["gateway.city.example", "192.0.2.7", "2001:db8::7"] } else { &[] };
        let files = issue(&authority, &request(role, role.name(), addresses), folder.path());
        let certificate = &load::certificates(&files.certificate).unwrap()[0];
        assert_eq!(not_after(certificate).unwrap(), at("2027-01-01T00:00:00Z"));
        let parsed = parse(certificate).unwrap();
        assert!(!parsed.is_ca());
        let usage = parsed.extended_key_usage().unwrap().unwrap().value.clone();
        assert_eq!((usage.server_auth, usage.client_auth), (role == Role::Gateway, role != Role::Gateway));
        assert!(!usage.any);
        let usage = parsed.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
        let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
        assert_eq!(names[0], GeneralName::URI(&format!("kerbside:{role}:{role}")));
        assert_eq!(names.len(), 1 + addresses.len());
        if role == Role::Gateway {
            assert_eq!(names[1], GeneralName::DNSName("gateway.city.example"));
            assert_eq!(names[2], GeneralName::IPAddress(&[192, 0, 2, 7]));
        }
        serials.push(parsed.raw_serial().to_vec());
    }
    assert!(serials.iter().all(|serial| serial.len() == 16));
    serials.dedup();
    assert_eq!(serials.len(), Role::ALL.len());

    let certificate = &load::certificates(&folder.path().join("ca/authority.pem")).unwrap()[0];
    let parsed = parse(certificate).unwrap();
    assert_eq!(parsed.subject().to_string(), format!("CN={AUTHORITY_NAME}"));
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(parsed.is_ca() && usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
}

#[test]
fn what_cannot_be_granted_is_refused_with_what_can() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(folder.path());
    for (request, wanted) in [
        (request(Role::Node, "Cabinet", &[]), "'Cabinet' is no name for it; a name has 1 to 32 "),
        (request(Role::Node, "../cabinet", &[]), "'../cabinet' is no name for it; a name has 1 to 32 "),
        (request(Role::Node, "authority", &[]), "'authority' is no name for it; a name has 1 to 32 "),
        (request(Role::Node, "cabinet", &["a.example"]), "1 addresses for a node; a gateway has the "),
        (request(Role::Gateway, "central", &[]), "0 addresses for a gateway; a gateway has the "),
        (request(Role::Gateway, "central", &["a.example:8443"]), "'a.example:8443' is no address; a host name "),
        (request(Role::Gateway, "central", &["https://a.example"]), "'https://a.example' is no address; "),
        (request(Role::Gateway, "central", &[""]), "'' is no address; "),
        (
            Request { not_after: at("2025-01-01T00:00:00Z"), ..request(Role::Node, "cabinet", &[]) },
            "it would be valid from 2026-01-01T00:00:00.000Z to 2025-01-01T00:00:00.000Z; the end ",
        ),
    ] {
        let said = authority.issue(&request).err().unwrap().to_string();
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[test]
fn an_authority_is_opened_again_and_no_other_is_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, other] = ["ca", "other"].map(|name| folder.path().join(name));
    let first = authority(&ca);
    let again = DevAuthority::open(&ca).unwrap();
    assert_eq!(again.certificate_pem(), first.certificate_pem());
    let files = issue(&again, &request(Role::Node, "cabinet", &[]), folder.path());
    crate::tls::client_config(&files).unwrap();

    authority(&other);
    let foreign = |wanted: &str| match DevAuthority::open(&ca).err().unwrap() {
        EnrollError::Foreign { what, .. } => assert_eq!(what, wanted),
        other => panic!("{other:?}"),
    };
    fs::copy(other.join("authority.key"), ca.join("authority.key")).unwrap();
    foreign("its key is that of another certificate");
    // A city's own authority.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(ca.join("authority.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(ca.join("authority.key"), key.serialize_pem()).unwrap();
    foreign("it has another name");
    fs::set_permissions(ca.join("authority.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(DevAuthority::open(&ca), Err(EnrollError::Tls(_))));
}

#[test]
fn what_was_revoked_stays_on_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, other] = ["ca", "other"].map(|name| folder.path().join(name));
    let authority = authority(&ca);
    let [a, b, c] =
        ["a", "b", "c"].map(|name| issue(&authority, &request(Role::Node, name, &[]), folder.path()).certificate);
    let now = at("2026-03-01T00:00:00Z");
    let revoked = authority.revoke(&[a.clone(), b.clone()], now).unwrap();
    assert_eq!((revoked.added, revoked.total), (2, 2));
    let revoked = DevAuthority::open(&ca).unwrap().revoke(&[b, c], at("2026-04-01T00:00:00Z")).unwrap();
    assert_eq!((revoked.added, revoked.total, &revoked.path), (1, 3, &ca.join("revoked.pem")));

    let list = load::revoked(Some(&revoked.path)).unwrap().remove(0);
    let (_, list) = x509_parser::parse_x509_crl(&list).unwrap();
    assert_eq!(list.crl_number().unwrap().to_string(), "2");
    assert_eq!(list.last_update().timestamp() as u64 * 1000, at("2026-04-01T00:00:00Z").as_unix_millis() as u64);
    let serial = |file: &Path| parse(&load::certificates(file).unwrap()[0]).unwrap().raw_serial().to_vec();
    let first = list.iter_revoked_certificates().next().unwrap();
    assert_eq!(
        (first.raw_serial(), first.revocation_date.timestamp()),
        (serial(&a).as_slice(), now.as_unix_millis() / 1000)
    );
    assert!(
        list.extensions()
            .iter()
            .any(|e| matches!(e.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(_)))
    );

    // Neither another authority's certificate nor its list.
    let stranger = self::authority(&other);
    let foreign = issue(&stranger, &request(Role::Node, "foreign", &[]), &folder.path().join("far")).certificate;
    let before = fs::read(&revoked.path).unwrap();
    assert!(matches!(authority.revoke(&[foreign], now), Err(EnrollError::NotIssued { .. })));
    assert!(matches!(authority.revoke(&[ca.join("authority.pem")], now), Err(EnrollError::NotIssued { .. })));
    assert_eq!(fs::read(&revoked.path).unwrap(), before);
    fs::copy(&revoked.path, other.join("revoked.pem")).unwrap();
    assert!(matches!(stranger.revoke(&[], now), Err(EnrollError::NotIssued { .. })));
}
