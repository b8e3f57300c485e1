//! The released tables: their columns, their closed words and their hashes.
//!
//! A released schema never changes in place: a change is a new version with a name of its own.

use std::fmt;

use arrow_schema::{DataType, Field, TimeUnit};
use kerbside_core::finding::Measure;
use sha2::{Digest, Sha256};

/// The key of the schema metadata that holds the table's name and version.
pub(crate) const TABLE_KEY: &str = "table";
/// The key of the schema metadata that holds the vocabulary's hash.
pub(crate) const VOCABULARY_KEY: &str = "vocabulary";

/// The zone of every timestamp.
pub(crate) const UTC: &str = "UTC";

/// A released table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `agg.v1`: one row per cell and bin.
    Agg,
    /// `health.v1`: one row per camera and minute, without content.
    Health,
    /// `incident.v1`: one row per word about a situation.
    Incident,
}

impl Table {
    /// Every table that may leave.
    pub const ALL: [Self; 3] = [Self::Agg, Self::Health, Self::Incident];

    /// The table's name and version.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agg => "agg.v1",
            Self::Health => "health.v1",
            Self::Incident => "incident.v1",
        }
    }

    /// The table of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The table's columns, in order: the common ones first, then its own.
    pub fn columns(self) -> Vec<Field> {
        let mut columns = common();
        columns.extend(match self {
            Self::Agg => agg(),
            Self::Health => health(),
            Self::Incident => incident(),
        });
        columns
    }

    /// The columns as text, one a line: the form that is hashed.
    pub fn canonical(self) -> String {
        let mut text = format!("{}\n", self.name());
        for field in self.columns() {
            let null = if field.is_nullable() { "nullable" } else { "required" };
            text.push_str(&format!("{}: {}, {null}\n", field.name(), type_name(field.data_type())));
        }
        text
    }

    /// SHA-256 of [`Table::canonical`].
    pub fn schema_hash(self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far the node's clock can be trusted. Ordered from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockQuality {
    /// Held by a time server.
    Synced,
    /// It was, and runs on by itself.
    Holdover,
    /// Never set, or nothing is known about it.
    Unsynced,
}

impl ClockQuality {
    /// Every quality, in the order of the released dictionary.
    pub const ALL: [Self; 3] = [Self::Synced, Self::Holdover, Self::Unsynced];

    /// The name in the released tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Holdover => "holdover",
            Self::Unsynced => "unsynced",
        }
    }
}

/// The closed words of the `release` column: under which rule a row may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A count without noise.
    AggExact,
    /// A word about a situation.
    Incident,
    /// A row about the node itself.
    Health,
    /// A count without noise and with bins of any length: for demonstrations only.
    Demo,
}

impl Rule {
    /// Every word of the column, in the order of the dictionary.
    pub(crate) const WORDS: [&'static str; 5] = ["agg_dp", "agg_exact", "incident", "health", "demo"];

    /// The word's place in [`Rule::WORDS`].
    pub(crate) const fn key(self) -> u8 {
        match self {
            Self::AggExact => 1,
            Self::Incident => 2,
            Self::Health => 3,
            Self::Demo => 4,
        }
    }
}

/// The closed words of the `unit` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Whole objects.
    Count,
    /// Whole seconds.
    Seconds,
    /// Thousandths of one object.
    Permille,
    /// Whole metres.
    Metres,
}

impl Unit {
    /// Every word of the column, in the order of the dictionary.
    pub(crate) const WORDS: [&'static str; 5] = ["count", "s", "permille", "dm/s", "m"];

    /// The word's place in [`Unit::WORDS`].
    pub(crate) const fn key(self) -> u8 {
        match self {
            Self::Count => 0,
            Self::Seconds => 1,
            Self::Permille => 2,
            Self::Metres => 4,
        }
    }

    /// The unit of a measure.
    pub(crate) const fn of(measure: Measure) -> Self {
        match measure {
            Measure::CrossingCount
            | Measure::DwellHist
            | Measure::SpeedHist
            | Measure::QueueLen
            | Measure::StoppedCount
            | Measure::TurnCount
            | Measure::HeadwayHist
            | Measure::LoiteringCount => Self::Count,
            Measure::QueueReach => Self::Metres,
            Measure::OccupancyTime => Self::Seconds,
            Measure::PresenceMean | Measure::DensityLevel | Measure::FlowScore => Self::Permille,
        }
    }
}

fn word(key: DataType) -> DataType {
    DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8))
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into()))
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn measured(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn common() -> Vec<Field> {
    vec![
        required("node", word(DataType::UInt16)),
        required("camera", word(DataType::UInt16)),
        required("epoch", DataType::UInt32),
        required("seq", DataType::UInt64),
        required("t0", time()),
        required("t1", time()),
        required("clock_q", word(DataType::UInt8)),
        required("model", word(DataType::UInt8)),
        required("cfg_rev", DataType::UInt32),
        required("release", word(DataType::UInt8)),
    ]
}

fn agg() -> Vec<Field> {
    vec![
        required("site", word(DataType::UInt16)),
        required("measure", word(DataType::UInt8)),
        required("class", word(DataType::UInt8)),
        required("dir", word(DataType::UInt8)),
        required("bucket", DataType::UInt8),
        required("value", DataType::Int32),
        required("unit", word(DataType::UInt8)),
        required("noise_b", DataType::Float32),
        required("coverage", DataType::Float32),
        required("n_frames", DataType::UInt32),
        required("suppressed", DataType::Boolean),
    ]
}

fn incident() -> Vec<Field> {
    vec![
        required("kind", word(DataType::UInt8)),
        required("phase", word(DataType::UInt8)),
        required("incident", DataType::UInt32),
        required("site", word(DataType::UInt16)),
        required("class", word(DataType::UInt8)),
        required("severity", DataType::UInt8),
        required("confidence", DataType::UInt8),
        required("value", DataType::Int32),
        required("unit", word(DataType::UInt8)),
        measured("duration_s", DataType::UInt32),
    ]
}

fn health() -> Vec<Field> {
    vec![
        measured("fps_in", DataType::Float32),
        measured("fps_proc", DataType::Float32),
        measured("drop_ratio", DataType::Float32),
        measured("lat_p50_ms", DataType::UInt32),
        measured("lat_p95_ms", DataType::UInt32),
        measured("reconnects", DataType::UInt32),
        measured("last_frame_age_ms", DataType::UInt32),
        measured("decode_err", DataType::UInt32),
        required("state", word(DataType::UInt8)),
        measured("temp_c", DataType::Float32),
        measured("throttled", DataType::Boolean),
        measured("power_mw", DataType::UInt32),
        measured("rss_mb", DataType::UInt32),
        measured("wal_bytes", DataType::UInt64),
        measured("wal_oldest_s", DataType::UInt32),
        measured("disk_free_mb", DataType::UInt64),
        measured("budget_left_milli", DataType::UInt32),
        measured("refused_total", DataType::UInt64),
        measured("debug_view", DataType::Boolean),
        required("sw", word(DataType::UInt8)),
    ]
}

/// Our own spelling: Arrow's may change from one version to the next, and a golden hash must not.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "Boolean".to_owned(),
        DataType::UInt8 => "UInt8".to_owned(),
        DataType::UInt16 => "UInt16".to_owned(),
        DataType::UInt32 => "UInt32".to_owned(),
        DataType::UInt64 => "UInt64".to_owned(),
        DataType::Int32 => "Int32".to_owned(),
        DataType::Float32 => "Float32".to_owned(),
        DataType::Utf8 => "Utf8".to_owned(),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) => format!("Timestamp(ms, {zone})"),
        DataType::Dictionary(key, value) => format!("Dictionary({}, {})", type_name(key), type_name(value)),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn released_schemas_are_as_they_were_published() {
        assert_eq!(Table::Agg.canonical(), include_str!("../schemas/agg.v1.txt"));
        assert_eq!(Table::Health.canonical(), include_str!("../schemas/health.v1.txt"));
        assert_eq!(Table::Incident.canonical(), include_str!("../schemas/incident.v1.txt"));
        assert_eq!(
            hex(&Table::Incident.schema_hash()),
            "2f708ccd7f703430ba124fbd1209f8b5233bd6a5ed73af6f552d21b4b97f59ec"
        );
        assert_eq!(
            hex(&Table::Agg.schema_hash()),
            "eeeb6459c20f97659b645c7f95ce49fbb2cfc19d44114c47d6d996d9e7dab3cc"
        );
        assert_eq!(
            hex(&Table::Health.schema_hash()),
            "f6bdad676a573b49bff8c9ea161bfecfe9d6a2d4df934a4ad6d6cadb5b5c9148"
        );
    }

    #[test]
    fn a_key_names_its_own_word() {
        assert_eq!(Rule::WORDS[usize::from(Rule::AggExact.key())], "agg_exact");
        assert_eq!(Rule::WORDS[usize::from(Rule::Incident.key())], "incident");
        assert_eq!(Rule::WORDS[usize::from(Rule::Health.key())], "health");
        assert_eq!(Rule::WORDS[usize::from(Rule::Demo.key())], "demo");
        let unit = |measure| Unit::WORDS[usize::from(Unit::of(measure).key())];
        assert_eq!(unit(Measure::CrossingCount), "count");
        assert_eq!(unit(Measure::OccupancyTime), "s");
        assert_eq!(unit(Measure::PresenceMean), "permille");
        assert_eq!(unit(Measure::QueueReach), "m");
        for quality in ClockQuality::ALL {
            assert_eq!(ClockQuality::ALL[quality as usize], quality);
        }
        for table in Table::ALL {
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
    }
}
