//! The layers of a network, for people and for programs.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use kerbside_models::{LayerReport, Path};
use serde::Serialize;

/// More names than this say nothing: the table has them all.
const MOST_NAMES: usize = 8;

/// One layer as one JSON object.
#[derive(Serialize)]
pub(crate) struct Layer<'a> {
    name: &'a str,
    kind: &'a str,
    shape: &'a [usize],
    macs: u64,
    path: String,
}

impl<'a> Layer<'a> {
    pub(crate) fn of(layer: &'a LayerReport) -> Self {
        let LayerReport { name, kind, shape, macs, path } = layer;
        Self { name, kind, shape, macs: *macs, path: path.to_string() }
    }
}

/// What runs how much of a network.
#[derive(Serialize)]
pub(crate) struct Summary {
    /// Everything that runs it, such as `int8 avx2`, `tract` or `int8 avx2 + tract`.
    pub(crate) engine: String,
    layers: usize,
    int8_layers: usize,
    /// Multiplications of one run; `None` where those of tract's layers are not counted.
    pub(crate) macs: Option<u64>,
    int8_macs: u64,
    /// `None` where `macs` is.
    int8_share_of_macs: Option<f64>,
    /// Nodes that tract runs.
    tract_nodes: Vec<String>,
}

impl Summary {
    pub(crate) fn of(layers: &[LayerReport]) -> Self {
        let macs_where = |int8: bool| -> u64 {
            layers.iter().filter(|layer| (layer.path != Path::Tract) == int8).map(|layer| layer.macs).sum()
        };
        let (int8_macs, tract_macs) = (macs_where(true), macs_where(false));
        let tract_nodes: Vec<String> =
            layers.iter().filter(|layer| layer.path == Path::Tract).map(|layer| layer.name.clone()).collect();
        let macs = (tract_nodes.is_empty() || tract_macs > 0).then_some(int8_macs + tract_macs);
        Self {
            engine: kerbside_models::Summary::of(layers).engine(),
            layers: layers.len(),
            int8_layers: layers.len() - tract_nodes.len(),
            macs,
            int8_macs,
            int8_share_of_macs: macs.filter(|macs| *macs > 0).map(|macs| int8_macs as f64 / macs as f64),
            tract_nodes,
        }
    }

    /// Whether tract runs anything.
    pub(crate) fn has_tract(&self) -> bool {
        !self.tract_nodes.is_empty()
    }

    /// Whether the int8 engine runs anything.
    pub(crate) fn has_int8(&self) -> bool {
        self.int8_layers > 0
    }

    /// Three lines: everything that runs it, what the int8 engine runs, and what tract.
    pub(crate) fn text(&self) -> String {
        let millions = |macs: u64| format!("{:.1} million multiplications", macs as f64 / 1e6);
        let work = match (self.int8_share_of_macs, self.macs) {
            (Some(share), Some(macs)) => format!("{:.1} % of {}", 100.0 * share, millions(macs)),
            _ => format!("{}; tract's are not counted", millions(self.int8_macs)),
        };
        let tract = match self.tract_nodes.as_slice() {
            [] => "nothing".to_owned(),
            nodes if nodes.len() > MOST_NAMES => counted(nodes.len(), "node"),
            nodes => format!("{}: {}", counted(nodes.len(), "node"), nodes.join(", ")),
        };
        let Self { engine, layers, int8_layers, .. } = self;
        format!("{engine}\nthe int8 engine runs {int8_layers} of {layers} layers, {work}\ntract runs {tract}\n")
    }
}

/// A table without lines, columns as wide as they must be; those from `numbers_from` on are numbers.
pub(crate) fn table(head: &[&str], numbers_from: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// So many of a thing.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A layer's shape as people write it.
pub(crate) fn shape(layer: &LayerReport) -> String {
    layer.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, macs: u64, path: Path) -> LayerReport {
        LayerReport { name: name.to_owned(), kind: "convolution".to_owned(), shape: vec![2, 3, 4], macs, path }
    }

    #[test]
    fn a_summary_says_what_runs_how_much() {
        let int8 = Path::Int8("avx2");
        let whole = Summary::of(&[layer("a", 3_000_000, int8), layer("b", 0, int8)]);
        assert_eq!((whole.engine.as_str(), whole.macs), ("int8 avx2", Some(3_000_000)));
        assert!(whole.text().contains("2 of 2 layers") && whole.text().contains("100.0 %"), "{}", whole.text());
        assert!(whole.text().ends_with("tract runs nothing\n"));

        let counted = Summary::of(&[layer("t", 1000, Path::Tract), layer("a", 3000, int8)]);
        assert_eq!((counted.engine.as_str(), counted.macs), ("int8 avx2 + tract", Some(4000)));
        assert!(counted.text().contains("75.0 %") && counted.text().ends_with("1 node: t\n"));

        let uncounted = Summary::of(&[layer("t", 0, Path::Tract), layer("a", 3000, int8)]);
        assert_eq!((uncounted.macs, uncounted.int8_share_of_macs), (None, None));
        assert!(uncounted.text().contains("tract's are not counted"), "{}", uncounted.text());
        let floats = Summary::of(&[layer("t", 0, Path::Tract)]);
        assert_eq!((floats.engine.as_str(), floats.has_int8()), ("tract", false));
    }

    #[test]
    fn numbers_of_a_table_stand_under_each_other() {
        let rows = [["a", "1"], ["long", "1000"]].map(|row| row.map(str::to_owned).to_vec());
        let lines: Vec<usize> = table(&["name", "n"], 1, rows).lines().map(str::len).collect();
        assert!(lines.windows(2).all(|pair| pair[0] == pair[1]), "{lines:?}");
    }
}
