//! Handshakes in memory, between configurations made from real files.

mod files;
mod handshake;
mod identity;
mod reload;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kerbside_core::time::WallTime;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConfig, ServerConnection, SideData};

use super::{Role, TlsFiles};
use crate::enroll::{DevAuthority, Request};

/// The host name in the gateway's certificate.
const HOST: &str = "gateway.city.example";

/// Wide around any clock that these tests may meet.
const VALID: (&str, &str) = ("2020-01-01T00:00:00Z", "2200-01-01T00:00:00Z");
/// Behind any of them.
const EXPIRED: (&str, &str) = ("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z");

fn at(text: &str) -> WallTime {
    WallTime::parse_rfc3339(text).unwrap()
}

/// An authority in a folder of its own, and what it issues.
struct City {
    folder: tempfile::TempDir,
    authority: DevAuthority,
}

impl City {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = DevAuthority::create(&folder.path().join("ca"), at(VALID.0), at(VALID.1)).unwrap();
        Self { folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, role: Role, name: &str, (from, to): (&str, &str)) -> TlsFiles {
        let addresses = match role {
            Role::Gateway => vec![HOST.to_owned(), "192.0.2.7".to_owned()],
            _ => Vec::new(),
        };
        let request = Request { role, name: name.to_owned(), addresses, not_before: at(from), not_after: at(to) };
        self.authority.write(&self.authority.issue(&request).unwrap(), &self.path(name)).unwrap()
    }

    fn gateway(&self) -> TlsFiles {
        self.issue(Role::Gateway, "central", VALID)
    }

    fn node(&self) -> TlsFiles {
        self.issue(Role::Node, "cabinet", VALID)
    }

    fn revoke(&self, files: &TlsFiles) -> PathBuf {
        self.authority.revoke(std::slice::from_ref(&files.certificate), at(VALID.0)).unwrap().path
    }
}

fn host(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}

fn connections(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> (ClientConnection, ServerConnection) {
    let client = ClientConnection::new(Arc::clone(client), host(name)).unwrap();
    (client, ServerConnection::new(Arc::clone(server)).unwrap())
}

/// What each side says once nothing more is to be said.
fn shake_hands(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> (Result<(), Error>, Result<(), Error>) {
    let mut said = (Ok(()), Ok(()));
    // A full handshake takes three flights.
    for _ in 0..10 {
        if said.1.is_ok() {
            said.1 = carry(client, server);
        }
        if said.0.is_ok() {
            said.0 = carry(server, client);
        }
    }
    if said == (Ok(()), Ok(())) {
        assert!(!client.is_handshaking() && !server.is_handshaking());
    }
    said
}

/// Brings what one side wants to send to the other.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    feed(&bytes, to)
}

fn feed<A: SideData>(mut bytes: &[u8], to: &mut ConnectionCommon<A>) -> Result<(), Error> {
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
