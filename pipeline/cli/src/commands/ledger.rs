//! `kerbside ledger`: what the privacy ledger says, and how to begin a new one where it cannot be trusted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use kerbside_config::Settings;
use kerbside_core::time::WallTime;
use kerbside_release::{
    Account, Ahead, CameraUid, FileLedger, LedgerContent, LedgerReport, LedgerState, inspect_ledger,
};

use super::check::load;
use crate::Outcome;
use crate::layers::{counted, table};
use crate::models::ModelsArgument;
use crate::output::{complain, say};

/// Shows the privacy ledger: until when numbers with noise were released, by camera and account; or renews it.
///
/// The ledger makes sure that no such number leaves twice. Where it was deleted, damaged or replaced by an older one,
/// nothing with noise is released until a person renews it. Showing changes nothing and works while the node runs.
/// Exit code 1 when it cannot be trusted or its times lie ahead of the clock, 2 when it cannot be renewed.
#[derive(Args)]
pub(crate) struct Ledger {
    /// The folder with node.yaml and cameras/*.yaml
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    #[command(flatten)]
    models: ModelsArgument,
    /// Begins a new ledger in which everything is spent until the next midnight of UTC. The node must be stopped and
    /// the clock right
    #[arg(long)]
    renew: bool,
    /// With --renew: forgets what was debited when the clock was ahead. Only where the clock is right now
    #[arg(long, requires = "renew")]
    forget_future: bool,
}

impl Ledger {
    pub(crate) fn execute(self) -> anyhow::Result<Outcome> {
        let Some((_, settings)) = load(&self.config, &self.models)? else { return Ok(Outcome::Refused) };
        let (folder, spool) = (&settings.node.ledger_folder, &settings.node.spool.folder);
        let now = WallTime::from(SystemTime::now());
        if self.renew {
            let ahead = if self.forget_future { Ahead::Forget } else { Ahead::Keep };
            // It is given back at once, for the node.
            drop(FileLedger::renew(folder, spool, now, ahead)?);
        }
        let report = inspect_ledger(folder, spool);
        say(&text(&report, &settings)?)?;
        let ahead = report.content.as_ref().and_then(|content| content.ahead_of(now));
        if let Some(until) = ahead {
            complain(&format!(
                "the clock shows {now} and some of it was debited for later, until {until}: either the clock is behind, \
                 or it was ahead once; where it is right now: stop the node, kerbside ledger --renew --forget-future"
            ));
        }
        match report.state {
            LedgerState::Refusing(why) => {
                complain(&why.to_string());
                Ok(Outcome::Flawed)
            }
            LedgerState::New | LedgerState::Sound if ahead.is_some() => Ok(Outcome::Flawed),
            LedgerState::New | LedgerState::Sound => Ok(Outcome::Done),
        }
    }
}

fn text(report: &LedgerReport, settings: &Settings) -> anyhow::Result<String> {
    let state = match report.state {
        LedgerState::New => "nothing was released yet",
        LedgerState::Sound => "sound",
        LedgerState::Refusing(_) => "refusing",
    };
    let mut text = format!("privacy ledger {}: {state}\n", report.file.display());
    let Some(content) = &report.content else { return Ok(text) };
    let LedgerContent { begun, generation, renewals, spent_before, .. } = content;
    writeln!(text, "begun {begun}, generation {generation}, {}", counted(*renewals as usize, "renewal"))?;
    if *spent_before > WallTime::UNIX_EPOCH {
        writeln!(text, "nothing that begins before {spent_before} is released, whatever the camera")?;
    }
    text += &table(&["camera", "account", "released until", "times"], 3, rows(content, settings));
    Ok(text)
}

/// The cameras of the configuration in their order, then what the ledger knows beside them.
fn rows(content: &LedgerContent, settings: &Settings) -> Vec<Vec<String>> {
    let configured: Vec<(CameraUid, String)> =
        settings.cameras.iter().map(|camera| (CameraUid(camera.source.uid()), camera.name.clone())).collect();
    let known: BTreeSet<CameraUid> = configured.iter().map(|(uid, _)| *uid).collect();
    let others: BTreeSet<CameraUid> =
        content.accounts.iter().map(|account| account.camera).filter(|uid| !known.contains(uid)).collect();
    let others = others.into_iter().map(|uid| (uid, format!("{uid}, not configured")));
    let mut rows = Vec::new();
    for (uid, name) in configured.into_iter().chain(others) {
        for account in Account::ALL {
            let found = content.accounts.iter().find(|found| (found.camera, found.account) == (uid, account));
            let (until, times) = match found {
                Some(found) => (found.to.to_string(), found.times.to_string()),
                None => ("-".to_owned(), "-".to_owned()),
            };
            rows.push(vec![name.clone(), account.name().to_owned(), until, times]);
        }
    }
    rows
}
