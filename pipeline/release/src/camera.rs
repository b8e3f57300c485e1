//! One camera in the release stage: its cells, what each track may still add to them, and what is told of its classes.

use std::collections::{BTreeMap, BTreeSet};

use kerbside_core::detection::Class;
use kerbside_core::finding::{Cell, Finding, FindingKind, Measure};
use kerbside_core::geometry::SiteId;
use kerbside_core::incident::IncidentKind;
use kerbside_core::privacy::{Privacy, Profile, worstcase};
use kerbside_core::time::WallTime;

use crate::alert::{WINDOW, Watch};
use crate::bins::{Added, Series, nanos};
use crate::error::ReleaseError;
use crate::ledger::{Account, CameraUid, Debit};
use crate::passages::{Names, Passages};
use crate::plan::CameraPlan;
use crate::rarity::Rarity;
use crate::report::ShownBin;
use crate::treatment::{Family, Treatment, treatments};

/// The cells of one length of bin, and what happens to each of their sums.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) series: Series,
    /// In the order of the series' cells.
    pub(crate) treatments: Vec<Treatment>,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All of it is in, or as much of it as its track may add.
    Whole,
    /// Some or all of it fell into bins that are closed.
    Late,
    /// It feeds no cell of the plan.
    Unplanned,
    /// It names no track, so that nothing bounds how much one object adds.
    Unbounded,
}

/// A camera's state.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) uid: CameraUid,
    pub(crate) privacy: Privacy,
    pub(crate) watched: Vec<Cell>,
    pub(crate) counters: Vec<Counters>,
    pub(crate) passages: Passages,
    pub(crate) rarity: Rarity,
    pub(crate) watches: Vec<Watch>,
    /// Of each cell the last bin that was released.
    pub(crate) shown: BTreeMap<Cell, ShownBin>,
    /// Incidents that a noisy number decides: what operators say of them stays here.
    decided_here: BTreeSet<(IncidentKind, SiteId)>,
    is_demonstration: bool,
    /// Cells that the profile does not release.
    withheld: BTreeSet<Cell>,
    /// By class, and last for all together: which of the counters.
    counters_of: [Option<usize>; Class::ALL.len() + 1],
    /// The chunk of the worst case, and what it has added so far.
    chunk: (u64, u32),
    /// By site: what one object adds to its density.
    shares: Vec<(SiteId, u32)>,
}

impl Camera {
    pub(crate) fn new(plan: &CameraPlan, start: WallTime, is_demonstration: bool) -> Result<Self, ReleaseError> {
        check_sites(plan)?;
        let privacy = plan.privacy;
        let treated = treatments(&plan.cells, &privacy, is_demonstration);
        let mut by_length: Vec<(u64, Vec<(Cell, Treatment)>)> = Vec::new();
        let mut counters_of = [None; Class::ALL.len() + 1];
        for class in Class::ALL.map(Some).into_iter().chain([None]) {
            let length = bin_nanos(plan, class)?;
            let cells: Vec<_> = treated.iter().filter(|(cell, _)| cell.class == class).copied().collect();
            if cells.is_empty() {
                continue;
            }
            let place = by_length.iter().position(|(of, _)| *of == length).unwrap_or_else(|| {
                by_length.push((length, Vec::new()));
                by_length.len() - 1
            });
            by_length[place].1.extend(cells);
            counters_of[class_place(class)] = Some(place);
        }
        let counters = by_length.into_iter().map(|(length, mut cells)| {
            cells.sort_unstable_by_key(|(cell, _)| *cell);
            let (cells, treatments) = cells.into_iter().unzip();
            Counters { series: Series::new(length, cells, start.as_unix_nanos()), treatments }
        });
        let counters = counters.collect();
        let left: BTreeSet<Cell> = treated.iter().map(|(cell, _)| *cell).collect();
        let has_noise = |class| !is_demonstration && privacy.profile.has_noise(Some(class));
        let decided = || plan.alerts.iter().filter(|alert| has_noise(alert.class));
        // Nothing but counts leaves in the worst case.
        let watches = decided().filter(|_| privacy.profile != Profile::StrictWorstcase);
        Ok(Self {
            uid: plan.uid,
            privacy,
            watched: plan.watched.clone(),
            counters,
            passages: Passages::new(privacy.bounds),
            rarity: Rarity::default(),
            shown: BTreeMap::new(),
            watches: watches.map(|alert| Watch::new(*alert, start)).collect(),
            decided_here: decided().map(|alert| (alert.kind, alert.site)).collect(),
            is_demonstration,
            withheld: plan.cells.iter().filter(|cell| !left.contains(cell)).copied().collect(),
            counters_of,
            chunk: (0, 0),
            shares: plan.alerts.iter().map(|alert| (alert.site, alert.share)).collect(),
        })
    }

    /// Whether what an operator says of such an incident stays here.
    pub(crate) fn decides(&self, kind: IncidentKind, site: SiteId) -> bool {
        self.decided_here.contains(&(kind, site))
    }

    /// What one object adds to the density of a site, in millionths.
    pub(crate) fn share(&self, site: SiteId) -> u32 {
        self.shares.iter().find(|(of, _)| *of == site).map_or(0, |(_, share)| *share)
    }

    /// What must be debited before the numbers of these counters with noise may leave for the bin from `from` to `to`.
    pub(crate) fn debits(&self, counters: &Counters, from: WallTime, to: WallTime) -> Vec<Debit> {
        let with_noise = counters.series.cells.iter().zip(&counters.treatments);
        let accounts: BTreeSet<Account> = with_noise
            .filter(|(_, treatment)| matches!(treatment, Treatment::Noise(_)))
            .map(|(cell, _)| Account::of(cell.class))
            .collect();
        accounts.into_iter().map(|account| Debit { camera: self.uid, account, from, to, most: 1 }).collect()
    }

    /// Adds a finding that ended at `at`, in a frame at `now`. `names` are those of its track.
    pub(crate) fn add(&mut self, finding: &Finding, names: Option<Names>, at: u64, now: u64) -> Fed {
        let is_private = !self.is_demonstration && self.privacy.profile.has_noise(finding.class);
        let mut fed = Fed::Unplanned;
        if let FindingKind::Level { lasted, .. } = finding.kind {
            for watch in &mut self.watches {
                if watch.alert.site != finding.site || Some(watch.alert.class) != finding.class {
                    continue;
                }
                let Some(names) = names else { return Fed::Unbounded };
                let (mut from, passages) = (at.saturating_sub(nanos(lasted)), &mut self.passages);
                while from < at {
                    let window = from / WINDOW;
                    let to = at.min((window + 1) * WINDOW);
                    watch.add(from, from + passages.attend(names, finding.at, window, to - from));
                    from = to;
                }
            }
            // Without a density to feed, a level is for the alert alone.
            if self.shares.iter().any(|(site, _)| *site == finding.site) {
                fed = Fed::Whole;
            }
        }
        for cell in finding.feeds() {
            if self.withheld.contains(&cell) {
                fed = Fed::Whole;
                continue;
            }
            let Some(place) = self.counters_of[class_place(cell.class)] else { continue };
            let series = &mut self.counters[place].series;
            let Some(place) = series.place(&cell) else { continue };
            let lasted = match finding.kind {
                FindingKind::Presence { lasted } | FindingKind::Level { lasted, .. } => nanos(lasted),
                _ => 0,
            };
            let may = if is_private {
                match admit(&mut self.passages, &mut self.chunk, &self.privacy, (finding, &cell), names, now) {
                    Some(may) => may,
                    None => return Fed::Unbounded,
                }
            } else {
                u64::MAX
            };
            if may == 0 {
                fed = if fed == Fed::Unplanned { Fed::Whole } else { fed };
                continue;
            }
            let from = at.saturating_sub(lasted);
            let to = from + lasted.min(may);
            let added = match finding.kind {
                FindingKind::Presence { .. } if cell.measure == Measure::OccupancyTime => {
                    series.occupancy(place, from, to)
                }
                FindingKind::Presence { .. } | FindingKind::Level { .. } => series.presence(place, from, to),
                FindingKind::Peak { amount, .. } => series.peak(place, at, u64::from(amount)),
                FindingKind::Crossing { .. } | FindingKind::Turn { .. } | FindingKind::Counted { .. } => {
                    series.count(place, at)
                }
                FindingKind::Incident(_) => continue,
            };
            // Late, even in part or for one of two cells, is late.
            fed = if fed == Fed::Late || added == Added::Late { Fed::Late } else { Fed::Whole };
        }
        fed
    }
}

/// How much a finding may add to one cell with noise: nanoseconds of presence, or 0 or 1 of all else. `None` where nothing
/// bounds it.
fn admit(
    passages: &mut Passages,
    chunk: &mut (u64, u32),
    privacy: &Privacy,
    (finding, cell): (&Finding, &Cell),
    names: Option<Names>,
    now: u64,
) -> Option<u64> {
    let family = Family::of(cell.measure);
    if family == Family::Derived {
        return Some(1);
    }
    if privacy.profile == Profile::StrictWorstcase {
        // Whoever they are of: this holds even if the tracker takes one object for many.
        let current = now / nanos(worstcase::CHUNK);
        // A clock that goes back finds the chunk as it left it.
        if current > chunk.0 {
            *chunk = (current, 0);
        }
        let may = chunk.1 < worstcase::ROWS_PER_CHUNK;
        chunk.1 += u32::from(may);
        return Some(u64::from(may));
    }
    let names = names?;
    Some(match family {
        Family::Counts => u64::from(passages.count(names, finding.at)),
        Family::Histograms => u64::from(passages.bucket(names, finding.at, cell.measure)),
        Family::Presence => {
            let (FindingKind::Presence { lasted } | FindingKind::Level { lasted, .. }) = finding.kind else {
                return None;
            };
            passages.presence(names, finding.at, cell.measure, nanos(lasted))
        }
        Family::Unbounded | Family::Derived => return None,
    })
}

fn check_sites(plan: &CameraPlan) -> Result<(), ReleaseError> {
    let of_cells = plan.cells.iter().flat_map(|cell| [Some(cell.site), cell.toward]).flatten();
    let of_incidents = plan.incidents.iter().map(|(_, site)| *site).filter(|site| *site != SiteId::PICTURE);
    let of_alerts = plan.alerts.iter().map(|alert| alert.site);
    let unknown =
        of_cells.chain(of_incidents).chain(of_alerts).find(|site| usize::from(site.0) >= plan.sites.len());
    unknown.map_or(Ok(()), |site| {
        Err(ReleaseError::UnknownSite { camera: plan.camera.clone(), site: site.0, sites: plan.sites.len() })
    })
}

/// Where [`Camera::counters_of`] has a class.
fn class_place(class: Option<Class>) -> usize {
    class.map_or(Class::ALL.len(), Class::index)
}

fn bin_nanos(plan: &CameraPlan, class: Option<Class>) -> Result<u64, ReleaseError> {
    let length = plan.privacy.bins.of(class).as_nanos();
    match u64::try_from(length) {
        Ok(nanos) if nanos > 0 && nanos % 1_000_000 == 0 => Ok(nanos),
        _ => Err(ReleaseError::BinLength { camera: plan.camera.clone(), nanos: length }),
    }
}
