use std::fs;

use super::*;
use crate::tls::{TlsError, client_config, server_config};

/// What loading a node's files says once `change` has been at them.
#[track_caller]
fn said_of(change: impl FnOnce(&City, &mut TlsFiles)) -> String {
    let city = City::new();
    let mut files = city.node();
    client_config(&files).unwrap();
    change(&city, &mut files);
    let said = client_config(&files).unwrap_err().to_string();
    said.replace(city.folder.path().to_str().unwrap(), "")
}

#[test]
fn f_37_files_that_are_missing_are_named() {
    let missing = |change: fn(&mut TlsFiles)| said_of(|_, files| change(files));
    assert_eq!(
        missing(|files| fs::remove_file(&files.key).unwrap()),
        "/cabinet/cabinet.key does not exist; a private key in PEM, not encrypted (PKCS#8, SEC1 or PKCS#1) is expected there"
    );
    assert_eq!(
        missing(|files| fs::remove_file(&files.certificate).unwrap()),
        "/cabinet/cabinet.pem does not exist; a certificate in PEM, -----BEGIN CERTIFICATE----- is expected there"
    );
    assert_eq!(
        missing(|files| fs::remove_file(&files.authority).unwrap()),
        "/cabinet/authority.pem does not exist; a certificate in PEM, -----BEGIN CERTIFICATE----- is expected there"
    );
    assert_eq!(
        said_of(|city, files| files.revoked = Some(city.path("none.pem"))),
        "/none.pem does not exist; a list of revoked certificates in PEM, -----BEGIN X509 CRL----- is expected there"
    );
}

#[test]
fn f_37_a_key_that_others_may_use_is_refused() {
    for mode in [0o644, 0o640 | 0o002, 0o604, 0o601, 0o660, 0o620] {
        let said = said_of(|_, files| set_mode(&files.key, mode));
        assert!(said.starts_with(&format!("/cabinet/cabinet.key has mode {mode:04o}: ")), "{said}");
        assert!(said.ends_with("; at most 0640 is allowed, that is chmod 0600 or 0640"), "{said}");
    }
    let city = City::new();
    let node = city.node();
    for mode in [0o640, 0o440, 0o400, 0o600] {
        set_mode(&node.key, mode);
        client_config(&node).unwrap();
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let said = said_of(|city, files| files.key = city.issue(Role::Node, "other", VALID).key);
    assert_eq!(
        said,
        "the key /other/other.key does not fit the certificate /cabinet/cabinet.pem; the key that it was issued for is expected"
    );
}

#[test]
fn files_of_another_kind_are_refused() {
    assert_eq!(
        said_of(|_, files| files.key = with_mode(&files.certificate, 0o600)),
        "/cabinet/cabinet.pem: there is no private key in it; a private key in PEM, not encrypted (PKCS#8, SEC1 or PKCS#1) is expected"
    );
    assert_eq!(
        said_of(|_, files| files.certificate = files.key.clone()),
        "/cabinet/cabinet.key: there is none in it; a certificate in PEM, -----BEGIN CERTIFICATE----- is expected"
    );
    assert_eq!(
        said_of(|_, files| files.revoked = Some(files.authority.clone())),
        "/cabinet/authority.pem: there is none in it; a list of revoked certificates in PEM, -----BEGIN X509 CRL----- is expected"
    );
    let said = said_of(|_, files| {
        fs::write(&files.authority, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
    });
    assert!(said.starts_with("/cabinet/authority.pem: certificate 1 cannot be used: "), "{said}");
    let said = said_of(|_, files| {
        fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
    });
    assert!(said.starts_with("/cabinet/cabinet.pem is no X.509 certificate: "), "{said}");
    let said = said_of(|city, files| {
        let list = city.path("list.pem");
        fs::write(&list, "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n").unwrap();
        files.revoked = Some(list);
    });
    assert!(said.starts_with("/list.pem: "), "{said}");
    let said = said_of(|_, files| fs::write(&files.authority, vec![b'\n'; (1 << 20) + 1]).unwrap());
    assert!(said.starts_with("/cabinet/authority.pem has more than 1048576 bytes; "), "{said}");
    let said = said_of(|city, files| files.authority = city.path("ca"));
    assert!(said.starts_with("/ca: it is no regular file; "), "{said}");
    let encrypted = said_of(|_, files| {
        let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        fs::write(&files.key, text).unwrap();
    });
    assert!(encrypted.starts_with("/cabinet/cabinet.key: the key is encrypted; "), "{encrypted}");
}

fn with_mode(path: &Path, mode: u32) -> PathBuf {
    set_mode(path, mode);
    path.to_owned()
}

/// A key whose line breaks were lost is one long first line, which a parser likes to quote.
#[test]
fn errors_do_not_show_the_key() {
    let city = City::new();
    let node = city.node();
    let text = fs::read_to_string(&node.key).unwrap();
    let secret: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let damaged = [
        text.replace('\n', ""),
        text.replace('\n', " "),
        format!("-----BEGIN {secret}"),
        text.replacen("M", "!", 1),
        text.replace("-----END PRIVATE KEY-----", ""),
        text.replace(&secret[10..30], "AAAAAAAAAAAAAAAAAAAA"),
    ];
    for damaged in damaged {
        fs::write(&node.key, &damaged).unwrap();
        for files in [node.clone(), TlsFiles { certificate: node.key.clone(), ..node.clone() }] {
            let said = format!("{:?}", told(&client_config(&files).unwrap_err()));
            for part in secret.as_bytes().chunks(16).filter(|part| part.len() == 16) {
                let part = std::str::from_utf8(part).unwrap();
                assert!(!said.contains(part), "{said}");
            }
        }
    }
}

/// An error and all its sources, shown and debugged.
fn told(error: &TlsError) -> Vec<String> {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    let mut said = Vec::new();
    while let Some(error) = next {
        said.push(format!("{error} {error:?}"));
        next = error.source();
    }
    said
}

#[test]
fn a_second_list_of_an_issuer_is_refused_rather_than_ignored() {
    let said = said_of(|city, files| {
        let list = city.revoke(files);
        let text = fs::read_to_string(&list).unwrap();
        fs::write(&list, text.repeat(2)).unwrap();
        files.revoked = Some(list);
    });
    assert!(
        said.starts_with("/ca/revoked.pem: there are two lists of CN=Kerbside DEVELOPMENT authority"),
        "{said}"
    );
}

#[test]
fn what_enroll_writes_loads_for_every_role() {
    let city = City::new();
    server_config(&city.gateway()).unwrap();
    for role in [Role::Node, Role::Reader, Role::Courier] {
        client_config(&city.issue(role, role.name(), VALID)).unwrap();
    }
}
