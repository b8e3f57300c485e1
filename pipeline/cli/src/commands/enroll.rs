//! `kerbside enroll`: certificates for trying the uplink out.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use kerbside_core::time::WallTime;
use kerbside_uplink::enroll::{DevAuthority, Request};
use kerbside_uplink::tls::Role;

use crate::Outcome;
use crate::layers::counted;
use crate::output::{complain, say};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years.
const AUTHORITY_DAYS: u32 = 3652;
/// How far another machine's clock may be behind.
const BEHIND: Duration = Duration::from_secs(60 * 60);
const WARNING: &str = "this authority is for development: its key lies in a file, and whoever has the file may issue certificates\n\
                       in production the city's own authority issues certificates for nodes and gateways; keep this one out of it";

/// Issues certificates of a small authority, for trying the uplink out. Not for production.
///
/// Begin with `authority`; then one certificate for the gateway and one for each node. No file is overwritten.
#[derive(Args)]
pub(crate) struct Enroll {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Makes a new authority: authority.pem and authority.key
    Authority {
        /// The folder for them; the key never leaves it
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How long it is valid
        #[arg(long, default_value_t = AUTHORITY_DAYS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Issues a certificate with which a gateway takes connections
    Gateway {
        #[command(flatten)]
        certificate: Certificate,
        /// A host name or an IP address under which nodes reach it, without the port; may be repeated
        #[arg(long = "address", value_name = "HOST", required = true)]
        addresses: Vec<String>,
    },
    /// Issues a certificate with which a node sends its rows; NAME is `name` of its node.yaml
    Node(Certificate),
    /// Issues a certificate with which a gateway's rows are read
    Reader(Certificate),
    /// Issues a certificate with which rows of nodes without a network are brought
    Courier(Certificate),
    /// Puts certificates on the list of revoked ones, revoked.pem in the authority's folder
    Revoke {
        /// The certificates
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The authority's folder
        #[arg(long, value_name = "DIR")]
        authority: PathBuf,
    },
}

#[derive(Args)]
struct Certificate {
    /// Its holder: lower-case letters, digits, '-' and '_'
    name: String,
    /// The authority's folder
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// The folder for NAME.pem, NAME.key and a copy of authority.pem
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long it is valid
    #[arg(long, default_value_t = 365, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

impl Enroll {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        complain(WARNING);
        let now = WallTime::from(SystemTime::now());
        let text = match self.what {
            What::Authority { out, days } => {
                DevAuthority::create(&out, now - BEHIND, now + DAY * days)?;
                written([&out.join("authority.pem"), &out.join("authority.key")])
            }
            What::Gateway { certificate, addresses } => certificate.issue(Role::Gateway, addresses, now)?,
            What::Node(certificate) => certificate.issue(Role::Node, Vec::new(), now)?,
            What::Reader(certificate) => certificate.issue(Role::Reader, Vec::new(), now)?,
            What::Courier(certificate) => certificate.issue(Role::Courier, Vec::new(), now)?,
            What::Revoke { files, authority } => {
                let revoked = DevAuthority::open(&authority)?.revoke(&files, now)?;
                let (path, total) = (revoked.path.display(), counted(revoked.total, "certificate"));
                format!("{path}: {total} revoked, {} of them new\n", revoked.added)
            }
        };
        say(&text)?;
        Ok(Outcome::Done)
    }
}

impl Certificate {
    fn issue(self, role: Role, addresses: Vec<String>, now: WallTime) -> anyhow::Result<String> {
        let Self { name, authority, out, days } = self;
        let authority = DevAuthority::open(&authority)?;
        let request = Request { role, name, addresses, not_before: now - BEHIND, not_after: now + DAY * days };
        let files = authority.write(&authority.issue(&request)?, &out)?;
        Ok(written([&files.certificate, &files.key, &files.authority]))
    }
}

fn written<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> String {
    files.into_iter().map(|file| format!("{}\n", file.display())).collect()
}
