//! `uplink` in `node.yaml`.

use std::fs;
use std::path::Path;

use kerbside_config::{ConfigError, UplinkSettings, load};

use super::{completed, lines, with_catalogue};

const GATEWAY_RULE: &str = "HOST:PORT is expected, such as gateway.city.example:8443, an IPv6 address in brackets; the connection is always TLS 1.3 with certificates on both sides";
const FILE_RULE: &str = "the path of a PEM file is expected";
const FILES: &str = "certificate: a.pem, key: a.key, authority: ca.pem";

fn read(folder: &Path, uplink: &str) -> Result<Option<UplinkSettings>, ConfigError> {
    fs::create_dir_all(folder.join("cameras")).unwrap();
    fs::write(folder.join("cameras/plaza.yaml"), completed("")).unwrap();
    fs::write(folder.join("node.yaml"), format!("name: a\n{uplink}")).unwrap();
    with_catalogue(|catalogue| load(folder, catalogue)).map(|settings| settings.node.uplink)
}

/// What is said about the block, with `DIR` for the folder.
fn report(uplink: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let error = read(folder.path(), uplink).expect_err(uplink);
    let place = format!("{}/node.yaml:", folder.path().display());
    lines(&error).iter().map(|line| line.replace(&place, "")).collect()
}

#[test]
fn without_it_rows_stay_on_the_node() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read(folder.path(), "").unwrap(), None);
}

#[test]
fn an_address_and_three_files_are_an_uplink_also_where_the_files_are_not() {
    for (gateway, host, port) in [
        ("Gateway.City.example:8443", "gateway.city.example", 8443),
        ("gateway:1", "gateway", 1),
        ("192.0.2.7:65535", "192.0.2.7", 65535),
        ("'[2001:DB8::7]:8443'", "2001:db8::7", 8443),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let uplink =
            read(folder.path(), &format!("uplink: {{gateway: {gateway}, {FILES}, revoked: /crl/gone.pem}}"));
        let expected = UplinkSettings {
            gateway_host: host.to_owned(),
            gateway_port: port,
            certificate: folder.path().join("a.pem"),
            key: folder.path().join("a.key"),
            authority: folder.path().join("ca.pem"),
            revoked: Some("/crl/gone.pem".into()),
        };
        assert_eq!(uplink.unwrap(), Some(expected));
        let uplink = read(folder.path(), &format!("uplink: {{gateway: {gateway}, {FILES}}}"));
        assert_eq!(uplink.unwrap().unwrap().revoked, None);
    }
}

#[test]
fn an_address_that_is_none_is_refused_and_not_repeated() {
    for (gateway, what) in [
        ("''", "the address is empty"),
        ("http://secret.example:8443", "there is no way to a gateway without encryption"),
        ("grpc://secret.example:8443", "there is no way to a gateway without encryption"),
        ("https://secret.example:8443", "the address begins with a scheme"),
        ("secret.example:8443/rows", "the address holds more than a host and a port"),
        ("user:secret@gateway.example:8443", "the address holds more than a host and a port"),
        ("'secret.example :8443'", "the address holds more than a host and a port"),
        ("\"secret.example:8443\\n\"", "the address holds more than a host and a port"),
        ("secret.example", "the port is missing"),
        ("'[2001:db8::7]'", "the port is missing"),
        ("secret.example:0", "port 0 is no port of a server"),
        ("secret.example:65536", "the port is not a whole number from 1 to 65535"),
        ("secret.example:-1", "the port is not a whole number from 1 to 65535"),
        ("secret.example:+1", "the port is not a whole number from 1 to 65535"),
        ("secret.example:08443", "the port is not a whole number from 1 to 65535"),
        ("'secret.example:'", "the port is not a whole number from 1 to 65535"),
        ("secret.example:https", "the port is not a whole number from 1 to 65535"),
        ("':8443'", "the host is missing"),
        ("2001:db8::7:8443", "the IPv6 address has no brackets"),
        ("'[192.0.2.7]:8443'", "there is no IPv6 address in the brackets"),
        ("'[secret]:8443'", "there is no IPv6 address in the brackets"),
        ("secret..example:8443", "the host is neither a name nor an IP address"),
        ("secret.example.:8443", "the host is neither a name nor an IP address"),
        ("-secret.example:8443", "the host is neither a name nor an IP address"),
        ("'*.secret.example:8443'", "the host is neither a name nor an IP address"),
        ("192.0.2.256:8443", "the host is neither a name nor an IP address"),
        ("sécret.example:8443", "the host is neither a name nor an IP address"),
    ] {
        let found = report(&format!("uplink: {{gateway: {gateway}, {FILES}}}"));
        assert_eq!(found, [format!("2:19: uplink.gateway: {what}; {GATEWAY_RULE}")], "{gateway}");
        assert!(!found.concat().contains("secret"));
    }
}

#[test]
fn every_problem_of_the_block_is_in_one_report() {
    let inline = "\"-----BEGIN PRIVATE KEY-----\\nsecret\\n-----END PRIVATE KEY-----\"";
    assert_eq!(
        report(&format!("uplink:\n  certificate: ''\n  key: {inline}\n  revoked: \"a\\nsecret\"\n  tls: false")),
        [
            "3:3: uplink: the key 'authority' is missing; it is required".to_owned(),
            "3:3: uplink: the key 'gateway' is missing; it is required".to_owned(),
            format!("3:16: uplink.certificate: the path is empty; {FILE_RULE}"),
            format!(
                "4:8: uplink.key: the content of a file stands here; certificates and keys are not written into node.yaml; {FILE_RULE}"
            ),
            format!("5:12: uplink.revoked: the path holds a control character; {FILE_RULE}"),
            "6:3: uplink.tls: unknown key; allowed are authority, certificate, gateway, key, revoked".to_owned(),
        ]
    );
    assert_eq!(
        report("uplink: gateway.city.example:8443"),
        ["2:9: uplink: a single value was found; a map of keys is expected"]
    );
}

#[test]
fn the_example_that_is_commented_out_is_accepted() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/site/node.yaml");
    let text = fs::read_to_string(site).unwrap();
    let block: String = text
        .lines()
        .skip_while(|line| *line != "# uplink:")
        .map_while(|line| line.strip_prefix("# "))
        .map(|line| format!("{line}\n"))
        .collect();
    let uplink = read(tempfile::tempdir().unwrap().path(), &block).unwrap().unwrap();
    assert_eq!((uplink.gateway_host.as_str(), uplink.gateway_port), ("gateway.city.example", 8443));
    assert_eq!(uplink.key, Path::new("/run/secrets/node.key"));
    assert!(uplink.revoked.is_some());
}
