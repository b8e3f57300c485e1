//! `uplink` in `node.yaml`: which gateway takes the rows, and the files that secure the way there.
//!
//! The files are not looked at: they lie in the cabinet, and the configuration is checked elsewhere too. They are
//! read when the node connects, and again whenever they have changed.

use std::net::IpAddr;
use std::path::Path;

use kerbside_core::tree::Field;

use crate::reading::pem_file;
use crate::settings::UplinkSettings;

const GATEWAY_RULE: &str = "HOST:PORT is expected, such as gateway.city.example:8443, an IPv6 address in brackets; \
                            the connection is always TLS 1.3 with certificates on both sides";

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
    gateway_address(field.text()?).map_err(|what| field.problem(what, GATEWAY_RULE)).ok()
}

/// The host, in lower case and without brackets, and the port of a gateway's address.
///
/// # Errors
/// What is wrong with it, in words. An address that is not understood is not repeated: somebody may have put a password
/// into it.
pub fn gateway_address(text: &str) -> Result<(String, u16), &'static str> {
    if text.is_empty() {
        return Err("the address is empty");
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return match scheme {
            "http" | "grpc" | "tcp" | "ws" => Err("there is no way to a gateway without encryption"),
            _ => Err("the address begins with a scheme"),
        };
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#\\".contains(c)) {
        return Err("the address holds more than a host and a port");
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return Err("the port is missing");
    };
    let port = match port.parse::<u16>() {
        Ok(0) => return Err("port 0 is no port of a server"),
        Ok(number) if number.to_string() == port => number,
        _ => return Err("the port is not a whole number from 1 to 65535"),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match (bracketed, host.parse::<IpAddr>()) {
        (Some(inner), _) => match inner.parse::<IpAddr>() {
            Ok(address @ IpAddr::V6(_)) => address.to_string(),
            _ => return Err("there is no IPv6 address in the brackets"),
        },
        (None, Ok(IpAddr::V6(_))) => return Err("the IPv6 address has no brackets"),
        (None, Ok(address)) => address.to_string(),
        (None, Err(_)) if is_host_name(host) => host.to_ascii_lowercase(),
        (None, Err(_)) => return Err("the host is neither a name nor an IP address"),
    };
    Ok((host, port))
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
