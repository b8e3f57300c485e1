//! Released rows added up for a person: crossings per line, occupancy per zone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// What has been released so far.
#[derive(Default)]
pub(crate) struct Tally {
    /// Crossings by camera, line, class and direction.
    crossings: BTreeMap<(String, String, String, String), i64>,
    /// By camera, zone and class: seconds in which at least one object was there.
    occupied_secs: BTreeMap<(String, String, String), i64>,
    /// By camera, zone and class: sum of mean presence in thousandths, and of the bins' coverage. A mean is
    /// over the whole bin, also where only a part of it was observed.
    presence: BTreeMap<(String, String, String), (i64, f64)>,
    /// The end of the last bin.
    until: String,
    /// Rows read.
    pub(crate) rows: u64,
}

impl Tally {
    /// Takes in one row as `kerbside events --format json` prints it; other lines are refused.
    pub(crate) fn add(&mut self, line: &str) -> anyhow::Result<()> {
        let row: Value = serde_json::from_str(line)?;
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if text("table") != "agg.v1" {
            return Ok(());
        }
        self.rows += 1;
        let value = row.get("value").and_then(Value::as_i64).unwrap_or_default();
        let key = (text("camera"), text("site"), text("class"));
        match text("measure").as_str() {
            "crossing_count" => {
                *self.crossings.entry((key.0, key.1, key.2, text("dir"))).or_default() += value;
            }
            "occupancy_time" => *self.occupied_secs.entry(key).or_default() += value,
            "presence_mean" => {
                let (sum, covered) = self.presence.entry(key).or_default();
                *sum += value;
                *covered += row.get("coverage").and_then(Value::as_f64).unwrap_or_default();
            }
            _ => {}
        }
        let end = text("t1");
        if end > self.until {
            self.until = end;
        }
        Ok(())
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        if self.rows == 0 {
            return "no row has arrived yet: the first bin is still open\n".to_owned();
        }
        let _ =
            writeln!(text, "{:<14} {:<12} {:<10} {:>9} {:>9}", "camera", "line", "class", "forward", "backward");
        let lines: std::collections::BTreeSet<_> =
            self.crossings.keys().map(|(camera, line, class, _)| (camera, line, class)).collect();
        for (camera, line, class) in lines {
            let count = |direction: &str| {
                let key = (camera.clone(), line.clone(), class.clone(), direction.to_owned());
                self.crossings.get(&key).copied().unwrap_or_default()
            };
            let _ = writeln!(
                text,
                "{camera:<14} {line:<12} {class:<10} {:>9} {:>9}",
                count("forward"),
                count("backward")
            );
        }
        let _ = writeln!(
            text,
            "\n{:<14} {:<12} {:<10} {:>12} {:>14}",
            "camera", "zone", "class", "occupied s", "mean present"
        );
        for (key @ (camera, zone, class), seconds) in &self.occupied_secs {
            let (sum, covered) = self.presence.get(key).copied().unwrap_or_default();
            let mean = if covered > 0.0 { sum as f64 / 1000.0 / covered } else { 0.0 };
            let _ = writeln!(text, "{camera:<14} {zone:<12} {class:<10} {seconds:>12} {mean:>14.2}");
        }
        let _ = writeln!(text, "\n{} rows, the last bin ends at {}", self.rows, self.until);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_several_bins_add_up() {
        let mut tally = Tally::default();
        for (measure, dir, value) in
            [("crossing_count", "forward", 2), ("crossing_count", "forward", 3), ("crossing_count", "backward", 1)]
        {
            tally
                .add(&format!(
                    r#"{{"table":"agg.v1","camera":"north","site":"path","class":"person","measure":"{measure}","dir":"{dir}","value":{value},"t1":"1970-01-01T00:00:10.000Z"}}"#
                ))
                .unwrap();
        }
        tally.add(r#"{"table":"health.v1","camera":"north"}"#).unwrap();
        assert!(tally.add("not a row").is_err());
        let table = tally.table();
        let row = table.lines().nth(1).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["north", "path", "person", "5", "1"]);
        assert!(table.contains("3 rows"), "{table}");
    }
}
