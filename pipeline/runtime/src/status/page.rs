//! The status page: one document, made anew for each answer.
//!
//! It is read in a cabinet's door, on a telephone: what is wrong comes first and in words, and nothing depends on colour
//! alone. It shows no picture (rule PC-17 leaves that to the set-up mode) and of what cameras see nothing but numbers of
//! released bins, as the snapshot has them. There is no script, style or shape from elsewhere; without its script the page
//! loads itself again.

mod camera;
mod problems;
mod shapes;
mod words;

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::problems::Problem;
use self::words::Shown;
use super::snapshot::{ConfigView, MachineView, SetupView, Snapshot, SpoolView, UplinkView};

pub(in crate::status) use self::words::{percent, span};

/// The document.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let problems = problems::problems(snapshot);
    let is_grave = problems.iter().any(|problem| problem.is_grave);
    let (class, shape) = match (problems.is_empty(), is_grave) {
        (true, _) => ("good", shapes::good()),
        (_, false) => ("look", shapes::look()),
        (_, true) => ("bad", shapes::bad()),
    };
    let body = html! {
        header {
            h1 { (snapshot.node) }
            p #taken { "Kerbside node · " (words::time(snapshot.now, Shown::Full, " UTC")) }
        }
        p #unanswered .banner.bad role="alert" hidden {}
        main {
            p #summary .{ "summary " (class) } role="status" aria-live="polite" {
                (shape)
                @match problems.first() {
                    Some(first) => a href={ "#" (first.place) } { (problems::summary(snapshot, &problems)) },
                    None => span { (problems::summary(snapshot, &problems)) },
                }
            }
            div #banners { (banners(snapshot)) }
            (problem_list(&problems))
            section #cameras aria-labelledby="cameras-title" {
                h2 #cameras-title { "Cameras" }
                div .cards { @for one in &snapshot.cameras { (camera::card(one)) } }
            }
            div #pair .pair {
                (delivery(&snapshot.spool, snapshot.uplink.as_ref()))
                (machine(snapshot, &snapshot.machine))
            }
            (configuration(&snapshot.config, &snapshot.software))
        }
        footer {
            p { a href="/setup" { "Draw lines and zones" } " · " a href="/metrics" { "Metrics" } }
            p { "Numbers of people and vehicles are those that have left the node, or may leave it." }
        }
    };
    let title = match problems.len() as u64 {
        0 => snapshot.node.clone(),
        many => format!("{}: {}", snapshot.node, words::number_of(many, "problem", "problems")),
    };
    document(&format!("{title} – Kerbside"), "page", &[], true, &body)
}

/// A document of this server with its style and script.
pub(super) fn document(title: &str, script: &str, styles: &[&str], refreshes: bool, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/page.css";
                @for style in styles { link rel="stylesheet" href={ "/assets/" (style) ".css" }; }
                script type="module" src={ "/assets/" (script) ".js" } {}
                @if refreshes { noscript { meta http-equiv="refresh" content="15"; } }
            }
            body { (body) }
        }
    }
    .into_string()
}

fn banners(snapshot: &Snapshot) -> Markup {
    html! {
        @if snapshot.is_demonstration {
            p .banner.look {
                (shapes::look())
                span {
                    strong { "Demonstration. " }
                    "Bins are shortened and numbers have no noise, those of people included. Nothing that is promised about "
                    "privacy holds for these rows."
                }
            }
        }
        @if snapshot.is_insecure {
            p .banner.look {
                (shapes::look())
                span {
                    strong { "Insecure. " }
                    "The system may write the node's memory, and with it pictures, to a disk. For development alone."
                }
            }
        }
        @if let SetupView::On { camera, left } = &snapshot.setup {
            p .banner.look {
                (shapes::look())
                span {
                    strong { "Set-up mode is on. " }
                    "The background of " (camera) " can be looked at for " (span(*left)) " more. "
                    a href="/setup" { "Go there or stop it." }
                }
            }
        }
    }
}

fn problem_list(problems: &[Problem]) -> Markup {
    // A grave one that is alone has been said as the summary, word for word.
    let is_said = problems.iter().all(|problem| problem.is_grave) && problems.len() <= 1;
    html! {
        section #problems aria-labelledby="problems-title" hidden[is_said] {
            h2 #problems-title { "Problems" }
            ul .problems {
                @for problem in problems {
                    li .(if problem.is_grave { "bad" } else { "look" }) {
                        (if problem.is_grave { shapes::bad() } else { shapes::look() })
                        a href={ "#" (problem.place) } { (problem.text) }
                    }
                }
            }
        }
    }
}

/// A term and what is said of it.
fn fact(term: &str, said: impl maud::Render) -> Markup {
    html! { div { dt { (term) } dd { (said) } } }
}

/// How much of something is used. What it shows is said in words beside it.
fn gauge(share: f64) -> Markup {
    let width = (share.clamp(0.0, 1.0) * 100.0).round();
    html! {
        svg .gauge viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect .all width="100" height="6" {}
            rect .used width=(width) height="6" {}
        }
    }
}

fn delivery(spool: &SpoolView, uplink: Option<&UplinkView>) -> Markup {
    html! {
        section #delivery aria-labelledby="delivery-title" {
            h2 #delivery-title { "Delivery" }
            dl {
                @if let Some(uplink) = uplink {
                    (fact("Gateway", html! {
                        (uplink.gateway) ", "
                        (if uplink.is_connected { "connected" } else { "not reachable" })
                    }))
                    (fact("Waiting", match uplink.waiting_rows {
                        0 => "no row: all is stored there".to_owned(),
                        rows => format!(
                            "{}, the oldest for {}",
                            words::number_of(rows, "row", "rows"),
                            span(uplink.lag)
                        ),
                    }))
                    @if let Some(left) = uplink.certificate_left {
                        (fact("Certificate", match left {
                            Duration::ZERO => "no longer valid".to_owned(),
                            left => format!("valid for {}", span(left)),
                        }))
                    }
                } @else {
                    (fact("Gateway", "none is configured: rows stay in the spool"))
                }
                (fact("Spool", html! {
                    (words::bytes(spool.bytes)) " of " (words::bytes(spool.max_bytes))
                    @if let Some(age) = spool.oldest_age { ", the oldest rows " (span(age)) " old" }
                    (gauge(spool.bytes as f64 / spool.max_bytes.max(1) as f64))
                }))
                (fact("Not synced", words::number_of(spool.unsynced_rows, "row", "rows")))
                (fact("Lost", words::number_of(spool.dropped_rows, "row since the start", "rows since the start")))
                (fact("Privacy ledger", if spool.ledger_is_healthy { "in order" } else { "lets nothing through" }))
                @if let (Some(free), Some(size)) = (spool.disk_free, spool.disk_size) {
                    (fact("Disk", html! {
                        (words::bytes(free)) " of " (words::bytes(size)) " free"
                        (gauge(1.0 - free as f64 / size.max(1) as f64))
                    }))
                }
            }
        }
    }
}

fn machine(snapshot: &Snapshot, machine: &MachineView) -> Markup {
    html! {
        section #machine aria-labelledby="machine-title" {
            h2 #machine-title { "Machine" }
            dl {
                (fact("Node", if snapshot.not_ready.is_empty() {
                    "ready".to_owned()
                } else {
                    format!("not ready: {}", snapshot.not_ready.join("; "))
                }))
                (fact("Running for", span(snapshot.uptime)))
                @if !snapshot.hung.is_empty() { (fact("No progress", snapshot.hung.join(", "))) }
                @if let Some(busy) = machine.cpu_busy {
                    (fact("Processors", html! { (percent(busy)) " busy" (gauge(busy)) }))
                }
                @if let (Some(available), Some(total)) = (machine.memory_available, machine.memory_total) {
                    (fact("Memory", html! {
                        (words::bytes(available)) " of " (words::bytes(total)) " available"
                        @if let Some(own) = machine.process_memory { ", the node has " (words::bytes(own)) }
                        (gauge(1.0 - available as f64 / total.max(1) as f64))
                    }))
                }
                @if let Some(celsius) = machine.temperature_celsius {
                    (fact("Temperature", format!("{celsius:.0} °C")))
                }
                @if let Some(watts) = machine.watts { (fact("Power", format!("{watts:.1} W"))) }
                (fact("Clock", if machine.clock_is_synchronised { "synchronised" } else { "not synchronised" }))
            }
        }
    }
}

fn configuration(config: &ConfigView, software: &str) -> Markup {
    html! {
        section #configuration aria-labelledby="configuration-title" {
            h2 #configuration-title { "Configuration" }
            @if !config.refused.is_empty() {
                p { "The files on the disk are refused. The configuration below goes on until they are put right:" }
                ul .refused { @for problem in &config.refused { li { code { (problem) } } } }
            }
            dl {
                (fact("Revision", html! {
                    code { (format!("{:08x}", config.revision)) }
                    ", since " (words::time(config.applied, Shown::Full, " UTC"))
                }))
                (fact("Software", software))
            }
        }
    }
}

/// Text between the tags of a `script` that is data: nothing in it can end the element.
pub(super) fn data_block(id: &str, json: &str) -> Markup {
    html! { script #(id) type="application/json" { (PreEscaped(json.replace('<', "\\u003c"))) } }
}

#[cfg(test)]
mod tests;
