//! The data sets that other programs attack: who passed is read from files, goes through the real release stage, and
//! what was released is written beside it. Nobody here knows who the persons are.
//!
//! `jobs.csv` lists the jobs (`name,layout,variant,seed`). `in/NAME.worlds.csv` and `in/NAME.passages.csv` are what
//! happened; `out/NAME.VARIANT.csv` has one row per world, camera and bin with one column per cell,
//! `out/NAME.VARIANT.cells.csv` says what the columns are, and `out/NAME.VARIANT.incidents.csv` lists incidents.
//! Each world is a node of its own. The variant `exact` is the broken control: no noise and no bounds, and on the
//! footpath an incident of everybody who walks by.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Direction, Measure};
use kerbside_core::incident::IncidentKind;
use kerbside_core::privacy::{Privacy, Profile};
use kerbside_release::{CameraPlan, Guarantee, MemoryLedger, Noise, ReleasedBatch, Table};
use sha2::{Digest, Sha256};

use crate::stage::{
    QUARTER_SECS, ZONE, agg_rows, crossing_cells, incident_rows, plan, release, speed_cells, values, zone_cell,
};
use crate::street::{Pace, Passage, play};
use crate::telltale::tell_everybody;

/// Why an export stops.
pub type Trouble = Box<dyn Error + Send + Sync>;

/// How many threads work on the worlds of a job.
const THREADS: usize = 2;

/// One line of `jobs.csv`.
struct Job {
    name: String,
    classes: Vec<Class>,
    is_exact: bool,
    seed: u64,
}

/// One node's life.
struct World {
    number: u32,
    span: (u64, u64),
    passages: Vec<Passage>,
}

/// What became of one world, as lines of the files.
#[derive(Default)]
struct Told {
    rows: String,
    cells: String,
    incidents: String,
}

/// Runs every job of a folder.
pub fn export(folder: &Path) -> Result<(), Trouble> {
    let out = folder.join("out");
    fs::create_dir_all(&out)?;
    for line in lines(&folder.join("jobs.csv"), "name,layout,variant,seed")? {
        let job = Job::read(&line)?;
        let variant = if job.is_exact { "exact" } else { "real" };
        let write =
            |what: &str, text: String| fs::write(out.join(format!("{}.{variant}{what}.csv", job.name)), text);
        let told = run(&job, &read_worlds(folder, &job.name)?)?;
        write("", told.rows)?;
        write(".cells", told.cells)?;
        write(".incidents", told.incidents)?;
    }
    Ok(())
}

impl Job {
    fn read(line: &str) -> Result<Self, Trouble> {
        let [name, layout, variant, seed] = fields(line)?;
        let classes = match layout {
            "city" => vec![Class::Person, Class::Bicycle, Class::Car],
            "footpath" => vec![Class::Person],
            other => return Err(format!("there is no layout '{other}'").into()),
        };
        let is_exact = match variant {
            "real" => false,
            "exact" => true,
            other => return Err(format!("there is no variant '{other}'").into()),
        };
        Ok(Self { name: name.to_owned(), classes, is_exact, seed: seed.parse()? })
    }

    /// Both lines in both directions, the speeds over the first, and the mean presence in the zone.
    fn plan(&self, camera: usize) -> CameraPlan {
        let cells = |class: &Class| -> Vec<Cell> {
            let mut cells = crossing_cells(*class);
            cells.extend(speed_cells(*class));
            cells.push(zone_cell(*class, Measure::PresenceMean));
            cells
        };
        CameraPlan {
            incidents: vec![(IncidentKind::RestrictedZone, ZONE)],
            ..plan(camera, self.classes.iter().flat_map(cells).collect(), Privacy::of(Profile::Strict))
        }
    }

    /// Whether the broken release also tells an incident of everybody: on the footpath, where ordinary walking is
    /// looked for in `incident.v1`.
    fn tells_everybody(&self) -> bool {
        self.is_exact && self.classes == [Class::Person]
    }

    /// Noise that follows from the job, so that an audit can be repeated to the digit.
    fn guarantee(&self, world: u32) -> Guarantee {
        if self.is_exact {
            return Guarantee::Demonstration;
        }
        let key = Sha256::digest(format!("{} {} {world}", self.seed, self.name));
        Guarantee::Private { noise: Noise::from_key(key.into()), ledger: Box::new(MemoryLedger::new()) }
    }
}

fn run(job: &Job, worlds: &[World]) -> Result<Told, Trouble> {
    let cameras =
        worlds.iter().flat_map(|world| &world.passages).map(|passage| passage.camera + 1).max().unwrap_or(1);
    let share = worlds.len().div_ceil(THREADS).max(1);
    let parts = thread::scope(|scope| {
        let work = |part| {
            scope.spawn(move || -> Result<Vec<Told>, Trouble> {
                <[World]>::iter(part).map(|world| live(job, world, cameras)).collect()
            })
        };
        let threads: Vec<_> = worlds.chunks(share).map(work).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")).collect::<Vec<_>>()
    });
    let mut all = Told {
        cells: "column,site,measure,class,dir,bucket,unit,noise_b,release\n".to_owned(),
        incidents: "world,camera,t0_s,kind,phase,class\n".to_owned(),
        rows: String::new(),
    };
    for part in parts {
        for told in part?? {
            if all.rows.is_empty() {
                let columns: Vec<&str> =
                    told.cells.lines().map(|line| line.split(',').next().unwrap_or_default()).collect();
                all.rows = format!("world,camera,t0_s,{}\n", columns.join(","));
                all.cells.push_str(&told.cells);
            }
            all.rows.push_str(&told.rows);
            all.incidents.push_str(&told.incidents);
        }
    }
    Ok(all)
}

/// Plays one world through a stage of its own.
fn live(job: &Job, world: &World, cameras: usize) -> Result<Told, Trouble> {
    let plans: Vec<_> = (0..cameras).map(|camera| job.plan(camera)).collect();
    let width = plans[0].cells.len();
    let mut stage = release(plans, world.span.0, job.guarantee(world.number))?;
    let pace = Pace { step: 5000, is_steady: false };
    let batches = play(&mut stage, &world.passages, cameras, world.span, pace)?;
    let mut told = Told::default();
    let of_agg = || batches.iter().filter(|batch| batch.table() == Table::Agg);
    let bins = (world.span.1 - world.span.0) / QUARTER_SECS;
    if of_agg().count() as u64 != bins {
        return Err(format!(
            "world {}: {} bins of {bins}; is nobody seen for days?",
            world.number,
            of_agg().count()
        )
        .into());
    }
    if let Some(first) = of_agg().next() {
        told.cells = columns(first, width);
    }
    // By camera, then by bin: the order of the file.
    for camera in 0..cameras {
        for (bin, batch) in of_agg().enumerate() {
            let released = values(batch.get());
            if released.len() != cameras * width {
                return Err(
                    format!("{} rows in a bin of {cameras} cameras with {width} cells", released.len()).into()
                );
            }
            let t0 = world.span.0 + bin as u64 * QUARTER_SECS;
            write!(told.rows, "{},{camera},{t0}", world.number)?;
            for value in &released[camera * width..(camera + 1) * width] {
                write!(told.rows, ",{value}")?;
            }
            told.rows.push('\n');
        }
    }
    let batches = if job.tells_everybody() {
        let plans = (0..cameras).map(|camera| job.plan(camera)).collect();
        tell_everybody(plans, &world.passages, world.span)?
    } else {
        batches
    };
    for (camera, t0, kind, phase, class) in incident_rows(&batches) {
        let camera = camera.trim_start_matches("camera-");
        writeln!(told.incidents, "{},{camera},{},{kind},{phase},{class}", world.number, t0 / 1000)?;
    }
    Ok(told)
}

/// One line for each cell of the first camera, in the order of its rows.
fn columns(batch: &ReleasedBatch, width: usize) -> String {
    let mut lines = String::new();
    for row in agg_rows(std::slice::from_ref(batch)).iter().take(width) {
        let name = row.cell.replace(' ', "/");
        lines.push_str(&format!(
            "{name},{},{},{},{}\n",
            row.cell.replace(' ', ","),
            row.unit,
            row.noise_b,
            row.release
        ));
    }
    lines
}

fn read_worlds(folder: &Path, name: &str) -> Result<Vec<World>, Trouble> {
    let mut worlds = Vec::new();
    for line in lines(&folder.join(format!("in/{name}.worlds.csv")), "world,start_s,end_s")? {
        let [number, start, end] = fields(&line)?;
        let span: (u64, u64) = (start.parse()?, end.parse()?);
        if !span.0.is_multiple_of(QUARTER_SECS) || !span.1.is_multiple_of(QUARTER_SECS) || span.0 >= span.1 {
            return Err(format!("'{line}' is no stretch of quarters of an hour").into());
        }
        worlds.push(World { number: number.parse()?, span, passages: Vec::new() });
    }
    worlds.sort_by_key(|world| world.number);
    let header = "world,camera,at_ms,lasts_ms,class,dir,lines,speed_kmh";
    for line in lines(&folder.join(format!("in/{name}.passages.csv")), header)? {
        let [world, camera, at, lasts, class, way, crossed, speed] = fields(&line)?;
        let number: u32 = world.parse()?;
        let place = worlds.binary_search_by_key(&number, |world| world.number);
        let world = place.map(|place| &mut worlds[place]).map_err(|_| format!("there is no world {number}"))?;
        world.passages.push(Passage {
            camera: camera.parse()?,
            at: at.parse()?,
            lasts: lasts.parse()?,
            class: Class::from_name(class).ok_or_else(|| format!("there is no class '{class}'"))?,
            direction: Direction::ALL
                .into_iter()
                .find(|direction| direction.name() == way)
                .ok_or_else(|| format!("there is no direction '{way}'"))?,
            lines: crossed.parse()?,
            speed: speed.parse()?,
        });
    }
    for world in &mut worlds {
        world.passages.sort_by_key(|passage| passage.at);
    }
    Ok(worlds)
}

/// The lines of a file below its header.
fn lines(path: &Path, header: &str) -> Result<Vec<String>, Trouble> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some(header) {
        return Err(format!("{}: the header is not '{header}'", path.display()).into());
    }
    Ok(lines.map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect())
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N], Trouble> {
    let fields: Vec<&str> = line.split(',').collect();
    fields.try_into().map_err(|_| format!("'{line}' has other columns than the header").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_comes_out_as_it_went_in_where_nothing_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("in")).unwrap();
        fs::write(path.join("jobs.csv"), "name,layout,variant,seed\nx,footpath,exact,1\nx,footpath,real,1\n")
            .unwrap();
        fs::write(path.join("in/x.worlds.csv"), "world,start_s,end_s\n0,900,2700\n7,900,2700\n").unwrap();
        let passages = "world,camera,at_ms,lasts_ms,class,dir,lines,speed_kmh\n\
                        0,1,1000000,45000,person,forward,2,5\n7,0,1900000,9000,person,backward,1,25\n";
        fs::write(path.join("in/x.passages.csv"), passages).unwrap();
        export(path).unwrap();
        let read = |name: &str| fs::read_to_string(path.join("out").join(name)).unwrap();
        let exact = read("x.exact.csv");
        let rows: Vec<Vec<&str>> = exact.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!((rows.len(), rows[0].len()), (1 + 2 * 2 * 2, 3 + 4 + 26 + 1));
        let value = |row: usize, column: &str| rows[row][rows[0].iter().position(|name| *name == column).unwrap()];
        // World 0, camera 1, its first bin.
        assert_eq!(rows[3][..3], ["0", "1", "900"]);
        assert_eq!(value(3, "line-a/crossing_count/person/forward/0"), "1");
        assert_eq!(value(3, "line-b/crossing_count/person/forward/0"), "1");
        assert_eq!(value(3, "line-a/speed_hist/person/forward/0"), "1");
        assert_eq!(value(3, "zone/presence_mean/person/none/0"), "50");
        assert_eq!(value(6, "line-a/speed_hist/person/backward/2"), "1");
        assert_eq!(rows.iter().skip(1).flat_map(|row| &row[3..]).filter(|value| **value != "0").count(), 4 + 3);
        let cells = read("x.real.cells.csv");
        assert!(
            cells.contains(
                "line-a/crossing_count/person/forward/0,line-a,crossing_count,person,forward,0,count,4.54"
            )
        );
        assert_eq!(read("x.real.incidents.csv").lines().count(), 1);
        assert_eq!(read("x.exact.incidents.csv").lines().count(), 1 + 2 * 2, "a begin and an end of each");
        let real = read("x.real.csv");
        assert_ne!(real, exact);
        export(path).unwrap();
        assert_eq!(read("x.real.csv"), real, "the same seed gives the same noise");
    }
}
