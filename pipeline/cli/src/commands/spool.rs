//! `kerbside spool`: what can be done with a node's spool by hand.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use kerbside_config::gateway_address;
use kerbside_core::time::WallTime;
use kerbside_uplink::client::import;
use kerbside_uplink::export::export;
use kerbside_uplink::tls::TlsFiles;

use super::check::load;
use crate::Outcome;
use crate::layers::counted;
use crate::models::ModelsArgument;
use crate::output::{Refusal, complain, say};

/// Works with a node's spool by hand.
#[derive(Args)]
pub(crate) struct Spool {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Export(Export),
    Import(Import),
}

/// Copies finished segments into a folder, for a gateway that the node cannot reach.
///
/// The folder is signed with the node's key, so that the gateway knows it again, and not encrypted: it holds released
/// rows and nothing else. The spool stays as it is, and the node may run meanwhile: what it is writing just then stays
/// behind for the next time. Rows that reach the gateway twice are stored once.
#[derive(Args)]
struct Export {
    /// The folder with node.yaml and cameras/*.yaml
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    /// A folder that is empty or does not exist yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    models: ModelsArgument,
}

/// Brings an exported folder to a gateway, with a courier's certificate.
///
/// The gateway checks the node's signature and takes the rows as if the node had sent them; what it has already is
/// stored once. Exit code 1 when it refused some of them.
#[derive(Args)]
struct Import {
    /// What `kerbside spool export` wrote
    folder: PathBuf,
    /// The gateway, such as gateway.example:8443
    #[arg(long, value_name = "HOST:PORT", value_parser = gateway_address)]
    gateway: (String, u16),
    /// The courier's certificate, PEM
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Who vouches for the gateway, PEM
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
}

impl Spool {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        match self.what {
            What::Export(command) => command.execute(),
            What::Import(command) => command.execute(),
        }
    }
}

impl Export {
    fn execute(self) -> anyhow::Result<Outcome> {
        let Some((_, settings)) = load(&self.config, &self.models)? else { return Ok(Outcome::Refused) };
        let node = settings.node;
        let Some(uplink) = node.uplink else {
            let what = "node.yaml has no uplink; its certificate and key sign what is exported";
            return Err(Refusal(what.to_owned()).into());
        };
        let files = TlsFiles {
            certificate: uplink.certificate,
            key: uplink.key,
            authority: uplink.authority,
            revoked: uplink.revoked,
        };
        let now = WallTime::from(SystemTime::now());
        let exported = export(&node.spool.folder, &node.name, &files, &self.out, now)?;
        let (folder, segments) = (self.out.display(), counted(exported.segments, "segment"));
        let mut text = format!("{folder}: {segments}, {} bytes\n", exported.bytes);
        if exported.open > 0 {
            text += &format!("{} still being written: not among them\n", counted(exported.open, "segment"));
        }
        if exported.vanished > 0 {
            text += &format!("{} deleted by the node meanwhile\n", counted(exported.vanished, "segment"));
        }
        say(&text)?;
        Ok(Outcome::Done)
    }
}

impl Import {
    fn execute(self) -> anyhow::Result<Outcome> {
        let Self { folder, gateway: (host, port), certificate, key, authority } = self;
        let files = TlsFiles { certificate, key, authority, revoked: None };
        let imported = import(&folder, &host, port, &files)?;
        say(&format!(
            "{}: {} of node {}, the gateway has {} of their rows\n",
            folder.display(),
            counted(imported.segments, "segment"),
            imported.node,
            imported.settled
        ))?;
        let Some(refusal) = imported.refusal else { return Ok(Outcome::Done) };
        complain(&format!("{} batches were refused, the first for: {}", imported.refused, refusal.name()));
        Ok(Outcome::Flawed)
    }
}
