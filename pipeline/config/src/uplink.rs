//! `uplink` in `node.yaml`: which gateway takes the rows, and the files that secure the way there.
//!
//! The files are not looked at: they lie in the cabinet, and the configuration is checked elsewhere too. They are
//! read when the node connects, and again whenever they have changed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use kerbside_core::tree::Field;

use crate::files;
use crate::settings::UplinkSettings;

const GATEWAY_RULE: &str = "HOST:PORT is expected, such as gateway.city.example:8443, an IPv6 address in brackets; \
                            the connection is always TLS 1.3 with certificates on both sides";
const FILE_RULE: &str = "the path of a PEM file is expected";

/// `None` only when there is a problem in the report.
pub(crate) fn read(field: &Field<'_>, file: &Path) -> Option<UplinkSettings> {
    let map = field.map()?;
    let gateway = map.required("gateway").and_then(|field| gateway(&field));
    let certificate = map.required("certificate").and_then(|field| pem_file(&field, file));
    let key = map.required("key").and_then(|field| pem_file(&field, file));
    let authority = map.required("authority").and_then(|field| pem_file(&field, file));
    let revoked = map.optional("revoked").map(|field| pem_file(&field, file));
    map.finish();
    let (gateway_host, gateway_port) = gateway?;
    let revoked = match revoked {
        Some(path) => Some(path?),
        None => None,
    };
    Some(UplinkSettings {
        gateway_host,
        gateway_port,
        certificate: certificate?,
        key: key?,
        authority: authority?,
        revoked,
    })
}

fn gateway(field: &Field<'_>) -> Option<(String, u16)> {
    let refuse = |what: &str| {
        field.problem(what, GATEWAY_RULE);
        None
    };
    // An address that is not understood is not repeated: somebody may have put a password into it.
    let text = field.text()?;
    if text.is_empty() {
        return refuse("the address is empty");
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return match scheme {
            "http" | "grpc" | "tcp" | "ws" => refuse("there is no way to a gateway without encryption"),
            _ => refuse("the address begins with a scheme"),
        };
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#\\".contains(c)) {
        return refuse("the address holds more than a host and a port");
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return refuse("the port is missing");
    };
    let port = match port.parse::<u16>() {
        Ok(0) => return refuse("port 0 is no port of a server"),
        Ok(port) if port.to_string() == text[host.len() + 1..] => port,
        _ => return refuse("the port is not a whole number from 1 to 65535"),
    };
    if host.is_empty() {
        return refuse("the host is missing");
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match (bracketed, host.parse::<IpAddr>()) {
        (Some(inner), _) => match inner.parse::<IpAddr>() {
            Ok(address @ IpAddr::V6(_)) => address.to_string(),
            _ => return refuse("there is no IPv6 address in the brackets"),
        },
        (None, Ok(IpAddr::V6(_))) => return refuse("the IPv6 address has no brackets"),
        (None, Ok(address)) => address.to_string(),
        (None, Err(_)) if is_host_name(host) => host.to_ascii_lowercase(),
        (None, Err(_)) => return refuse("the host is neither a name nor an IP address"),
    };
    Some((host, port))
}

/// What a certificate may be issued for: labels of letters, digits and '-', of which the last is no number.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    text.len() <= 253
        && text.split('.').all(is_label)
        && text.rsplit('.').next().is_some_and(|last| !last.chars().all(|c| c.is_ascii_digit()))
}

fn pem_file(field: &Field<'_>, file: &Path) -> Option<PathBuf> {
    let text = field.text()?;
    let what = if text.is_empty() {
        "the path is empty"
    } else if text.contains("-----BEGIN") {
        "the content of a file stands here; certificates and keys are not written into node.yaml"
    } else if text.contains(char::is_control) {
        "the path holds a control character"
    } else {
        return Some(files::beside(file, Path::new(text)));
    };
    field.problem(what, FILE_RULE);
    None
}
