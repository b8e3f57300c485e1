//! The list of metrics as a document: `dashboards/METRICS.md`.

use std::fmt::Write as _;

use crate::{Kind, Metric};

/// Which metrics are in a group.
type IsIn = fn(Metric) -> bool;

/// Who tells a group of metrics: title, where they are served, and which they are.
const GROUPS: [(&str, &str, IsIn); 3] = [
    ("Every process", "A node and a gateway alike.", |metric| metric.is_of_node() && metric.is_of_gateway()),
    ("The node", "On the address or socket of `metrics` in node.yaml.", |metric| {
        metric.is_of_node() && !metric.is_of_gateway()
    }),
    ("The gateway", "On the address of `metrics` in gateway.yaml.", |metric| !metric.is_of_node()),
];

/// All metrics as Markdown, in the order of the enum.
pub fn manual() -> String {
    let mut text = String::from(
        "# Metrics\n\nWhat a node and a gateway measure about themselves. None counts what the pictures show: such a \
         number would be exact where the released one has noise.\n\n`cargo xtask metrics` writes this file; a test \
         compares it with the code. Units are in the names: seconds, bytes, joules, degrees Celsius, ratios from 0 \
         to 1. A histogram `x` is read as `x_bucket`, `x_sum` and `x_count`. Series of a camera that was removed \
         from the configuration vanish.\n",
    );
    for (title, about, is_in) in GROUPS {
        let _ = write!(
            text,
            "\n## {title}\n\n{about}\n\n| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n"
        );
        for metric in Metric::ALL.into_iter().filter(|metric| is_in(*metric)) {
            let labels = metric.labels().iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let help = metric.help().trim_end_matches('.');
            let _ = writeln!(text, "| `{}` | {} | {labels} | {help} |", metric.name(), kind(metric.kind()));
        }
    }
    text
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Counter => "counter".to_owned(),
        Kind::Gauge => "gauge".to_owned(),
        Kind::Histogram(bounds) => {
            let (first, last) =
                (bounds.first().copied().unwrap_or_default(), bounds.last().copied().unwrap_or_default());
            format!("histogram, {} buckets from {first} to {last}", bounds.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_one_line() {
        let manual = manual();
        for metric in Metric::ALL {
            let lines = manual.lines().filter(|line| line.starts_with(&format!("| `{}` |", metric.name())));
            assert_eq!(lines.count(), 1, "{}", metric.name());
        }
    }

    #[test]
    fn the_document_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboards/METRICS.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == manual(), "dashboards/METRICS.md is old: run cargo xtask metrics");
    }
}
