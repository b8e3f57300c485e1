//! The released tables: their columns, their closed words and their hashes.
//!
//! A released schema never changes in place: a change is a new version with a name of its own.

use std::fmt;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
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
        self.described().into_iter().map(|column| column.field).collect()
    }

    /// The same, each with what it says.
    pub fn described(self) -> Vec<Column> {
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
        canonical(self, &self.columns().into())
    }

    /// SHA-256 of [`Table::canonical`].
    pub fn schema_hash(self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }

    /// The same in hexadecimal digits, as it was published with the table's version.
    pub const fn published_hash(self) -> &'static str {
        match self {
            Self::Agg => "eeeb6459c20f97659b645c7f95ce49fbb2cfc19d44114c47d6d996d9e7dab3cc",
            Self::Health => "f6bdad676a573b49bff8c9ea161bfecfe9d6a2d4df934a4ad6d6cadb5b5c9148",
            Self::Incident => "2f708ccd7f703430ba124fbd1209f8b5233bd6a5ed73af6f552d21b4b97f59ec",
        }
    }

    /// Whether these columns are the table's, byte for byte in the form that is hashed.
    pub(crate) fn is_published(self, columns: &Fields) -> bool {
        let hash = Sha256::digest(canonical(self, columns).as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        hex == self.published_hash()
    }
}

fn canonical(table: Table, columns: &Fields) -> String {
    let mut text = format!("{}\n", table.name());
    for field in columns {
        let null = if field.is_nullable() { "nullable" } else { "required" };
        text.push_str(&format!("{}: {}, {null}\n", field.name(), type_name(field.data_type())));
    }
    text
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
    /// A count with noise, or a number that was computed from such.
    AggDp,
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
            Self::AggDp => 0,
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

/// A column and what is in it, in words for who must judge it.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name, type and whether it may be null.
    pub field: Field,
    /// What it says, with unit and domain.
    pub meaning: &'static str,
}

fn required(name: &str, data_type: DataType, meaning: &'static str) -> Column {
    Column { field: Field::new(name, data_type, false), meaning }
}

fn measured(name: &str, data_type: DataType, meaning: &'static str) -> Column {
    Column { field: Field::new(name, data_type, true), meaning }
}

fn common() -> Vec<Column> {
    vec![
        required("node", word(DataType::UInt16), "the cabinet, by its configured name"),
        required("camera", word(DataType::UInt16), "the camera, by the name of its file"),
        required("epoch", DataType::UInt32, "which life of the spool numbered the row"),
        required("seq", DataType::UInt64, "the row's number, without gaps within node, table and epoch"),
        required("t0", time(), "beginning of the bin or of the incident's time quantum, UTC"),
        required("t1", time(), "its end, UTC"),
        required(
            "clock_q",
            word(DataType::UInt8),
            "how far the node's clock can be trusted: synced, holdover, unsynced",
        ),
        required("model", word(DataType::UInt8), "the detector's name and version"),
        required("cfg_rev", DataType::UInt32, "a checksum of the configuration"),
        required(
            "release",
            word(DataType::UInt8),
            "under which rule the row left: agg_dp, agg_exact, incident, health, demo",
        ),
    ]
}

fn agg() -> Vec<Column> {
    vec![
        required("site", word(DataType::UInt16), "the line or zone, by its configured name; from>to for a turn"),
        required("measure", word(DataType::UInt8), "what is measured"),
        required("class", word(DataType::UInt8), "person, bicycle, motorcycle, car, bus, truck, other, all"),
        required("dir", word(DataType::UInt8), "none, forward, backward over a line"),
        required("bucket", DataType::UInt8, "which bucket of a histogram, else 0"),
        required("value", DataType::Int32, "the number, with its noise; may be negative"),
        required("unit", word(DataType::UInt8), "count, s, permille, dm/s, m"),
        required("noise_b", DataType::Float32, "scale of the Laplace noise in the same unit; 0 without"),
        required("coverage", DataType::Float32, "share of the bin with frames that can be trusted, 0..1"),
        required("n_frames", DataType::UInt32, "frames analysed in the bin, whatever they show"),
        required("suppressed", DataType::Boolean, "a display should hide it: the number with noise is small"),
    ]
}

fn incident() -> Vec<Column> {
    vec![
        required("kind", word(DataType::UInt8), "what kind of situation, of a closed list"),
        required("phase", word(DataType::UInt8), "begin, update, end"),
        required("incident", DataType::UInt32, "a random number that lasts as long as the incident"),
        required("site", word(DataType::UInt16), "the line or zone; * for the whole picture"),
        required("class", word(DataType::UInt8), "what it is about; other where the class is rare at this camera"),
        required("severity", DataType::UInt8, "0 to 100 in steps of 10"),
        required("confidence", DataType::UInt8, "0 to 100 in steps of 5"),
        required(
            "value",
            DataType::Int32,
            "a number in steps: 5 km/h, 5 people, 50 of p/100m2 or permille, 10 s, 1 m, 1 ds",
        ),
        required("unit", word(DataType::UInt8), "none, count, km/h, p/100m2, m, s, ds, permille"),
        measured("duration_s", DataType::UInt32, "how long it lasted, in seconds, at its end"),
    ]
}

fn health() -> Vec<Column> {
    vec![
        measured("fps_in", DataType::Float32, "frames a second that arrived"),
        measured("fps_proc", DataType::Float32, "frames a second that were analysed"),
        measured("drop_ratio", DataType::Float32, "frames dropped over frames arrived, 0..1"),
        measured(
            "lat_p50_ms",
            DataType::UInt32,
            "median time from a frame's arrival to its findings, in milliseconds",
        ),
        measured("lat_p95_ms", DataType::UInt32, "the same for the slowest twentieth"),
        measured("reconnects", DataType::UInt32, "reconnects within the minute"),
        measured("last_frame_age_ms", DataType::UInt32, "age of the last frame, in milliseconds"),
        measured("decode_err", DataType::UInt32, "decoding errors within the minute"),
        required("state", word(DataType::UInt8), "what the camera does: up, connecting, auth_failed and so on"),
        measured("temp_c", DataType::Float32, "temperature of the processor, in degrees Celsius"),
        measured("throttled", DataType::Boolean, "whether the processor was slowed down to keep it cool"),
        measured("power_mw", DataType::UInt32, "power drawn, in milliwatts"),
        measured("rss_mb", DataType::UInt32, "memory of the process, in MiB"),
        measured("wal_bytes", DataType::UInt64, "size of the spool, in bytes"),
        measured("wal_oldest_s", DataType::UInt32, "age of the spool's oldest rows, in seconds"),
        measured("disk_free_mb", DataType::UInt64, "free space where the spool is, in MiB"),
        measured(
            "budget_left_milli",
            DataType::UInt32,
            "budget of the open bin that is left, in thousandths of ε",
        ),
        measured("refused_total", DataType::UInt64, "releases refused since the start"),
        measured("debug_view", DataType::Boolean, "whether a local debugging view was open"),
        required("sw", word(DataType::UInt8), "the version of the software"),
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

    #[test]
    fn pc_1_released_schemas_are_as_they_were_published() {
        assert_eq!(Table::Agg.canonical(), include_str!("../schemas/agg.v1.txt"));
        assert_eq!(Table::Health.canonical(), include_str!("../schemas/health.v1.txt"));
        assert_eq!(Table::Incident.canonical(), include_str!("../schemas/incident.v1.txt"));
        for table in Table::ALL {
            assert!(table.is_published(&table.columns().into()), "{table}");
            let mut columns = table.columns();
            columns.swap(0, 1);
            assert!(!table.is_published(&columns.into()), "{table} with its columns in another order");
        }
    }

    #[test]
    fn a_key_names_its_own_word() {
        assert_eq!(Rule::WORDS[usize::from(Rule::AggDp.key())], "agg_dp");
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
