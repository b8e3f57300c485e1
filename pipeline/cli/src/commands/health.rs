//! `kerbside health`: how a running node is, for health checks of containers and for people.

use std::path::PathBuf;

use clap::Args;
use kerbside_telemetry::Door;

use super::check::report;
use crate::Outcome;
use crate::output::{complain, say};

/// Asks the running node whether it is alive, at the address or socket that node.yaml names.
///
/// Exit code 0 where it is; 1 where a stage makes no progress, which is named, or where no node answers.
#[derive(Args)]
pub(crate) struct Health {
    /// The folder with node.yaml
    #[arg(long, value_name = "DIR", default_value = "/etc/kerbside")]
    config: PathBuf,
    /// Asks whether it is ready, too: a camera is up, and what is released can be stored
    #[arg(long)]
    ready: bool,
}

impl Health {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let (address, socket) = match kerbside_config::status_pages(&self.config) {
            Ok(pages) => pages,
            Err(error) => {
                report(&error);
                return Ok(Outcome::Refused);
            }
        };
        let page = if self.ready { "/readyz" } else { "/livez" };
        // A container has its own loopback; whoever shares a folder with it has the socket.
        let doors = socket.map(Door::Socket).into_iter().chain([Door::Address(address)]);
        let mut refused = Vec::new();
        for door in doors {
            match door.ask(page) {
                Ok((200, text)) => {
                    say(&text)?;
                    return Ok(Outcome::Done);
                }
                Ok((_, text)) => {
                    complain(text.trim_end());
                    return Ok(Outcome::Flawed);
                }
                Err(error) => refused.push(format!("{door}: {error}")),
            }
        }
        complain(&format!("no node answers: {}", refused.join("; ")));
        Ok(Outcome::Flawed)
    }
}
