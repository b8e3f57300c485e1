use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::tls::{Identity, identity_of, not_after};

fn certificate(names: Vec<SanType>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

#[test]
fn an_identity_is_exactly_one_uri() {
    for role in Role::ALL {
        let identity = Identity { role, name: "plaza-north_2".to_owned() };
        assert_eq!(identity_of(&certificate(vec![uri(&identity.uri())])).unwrap(), identity);
        assert_eq!(Identity::from_uri(&identity.uri()), Some(identity));
    }
    let gateway = certificate(vec![dns(HOST), uri("kerbside:gateway:central"), dns("gateway.other.example")]);
    assert_eq!(identity_of(&gateway).unwrap().role, Role::Gateway);
    for (names, wanted) in [
        (vec![], "there are 0 URIs among its names"),
        (vec![dns(HOST)], "there are 0 URIs among its names"),
        (vec![uri("kerbside:node:a"), uri("kerbside:node:b")], "there are 2 URIs among its names"),
        (vec![uri("kerbside:node:a"), uri("https://city.example/")], "there are 2 URIs among its names"),
        (vec![uri("kerbside:node:a"), dns(HOST)], "the node a has 1 other names"),
        (
            vec![uri("kerbside:node:a"), SanType::Rfc822Name("a@b.example".try_into().unwrap())],
            "the node a has 1 other names",
        ),
        (vec![uri("kerbside:admin:a")], "'kerbside:admin:a' is no identity"),
        (vec![uri("kerbside:node:")], "'kerbside:node:' is no identity"),
        (vec![uri("kerbside:node:A")], "'kerbside:node:A' is no identity"),
        (vec![uri("kerbside:node:../a")], "'kerbside:node:../a' is no identity"),
        (vec![uri("kerbside:node:a:b")], "'kerbside:node:a:b' is no identity"),
        (vec![uri("Kerbside:node:a")], "'Kerbside:node:a' is no identity"),
        (vec![uri("kerbside:node:a\u{0}")], "'kerbside:node:a\\0' is no identity"),
    ] {
        let said = identity_of(&certificate(names)).unwrap_err().to_string();
        assert!(said.starts_with(&format!("the peer's certificate: {wanted}; exactly one URI ")), "{said}");
    }
}

#[test]
fn what_is_no_certificate_has_no_identity() {
    let whole = certificate(vec![uri("kerbside:node:a")]);
    let mut longer = whole.to_vec();
    longer.push(0);
    assert!(identity_of(&CertificateDer::from(longer)).is_err());
    for len in 0..whole.len() {
        let cut = CertificateDer::from(&whole[..len]);
        assert!(identity_of(&cut).is_err() && not_after(&cut).is_err(), "{len}");
    }
}

#[test]
fn a_damaged_certificate_never_panics() {
    let whole = certificate(vec![uri("kerbside:node:a")]);
    let mut refused = 0;
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.to_vec();
            damaged[place] ^= 1 << bit;
            refused += u32::from(identity_of(&CertificateDer::from(damaged)).is_err());
        }
    }
    assert!(refused > 0);
}

#[test]
fn expiry_is_read_to_the_second() {
    let expiring = |year| {
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(year, 2, 1) + std::time::Duration::from_secs(1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    };
    assert_eq!(not_after(&expiring(2031)).unwrap(), at("2031-02-01T00:00:01Z"));
    assert_eq!(not_after(&expiring(2060)).unwrap(), at("2060-02-01T00:00:01Z"));
    // RFC 5280 asks for the year 9999 where there is no end.
    assert_eq!(not_after(&expiring(9999)).unwrap(), WallTime::from_unix_nanos(u64::MAX));
}
