//! What a camera usually sees, as a grid, and how much of it a picture still shows.
//!
//! A [`View`] is the layout of a scene: where it is lighter than around, and where its edges lie. It is compared
//! region by region by normalised cross-correlation, which knows neither brightness nor gain, so daylight and
//! exposure hardly matter; a region is recognised by whichever of both layouts fits better, since the sun moves
//! shadows and the night moves lights, but seldom the kerbs. Sharpness is judged within a region as edges against
//! contrast, so that fog and darkness, which take both, do not look like a lens out of focus.
//!
//! Values are in luma of 8 bit. No time and no decision here: that is the operator's.

use kerbside_core::observation::{SCENE_COLUMNS, SCENE_ROWS, SceneGrid, SceneStatistics};

/// Regions of the picture: 4 × 3, each of 8 × 6 cells.
const REGION_COLUMNS: usize = 8;
const REGION_ROWS: usize = 6;
const REGIONS: usize = (SCENE_COLUMNS / REGION_COLUMNS) * (SCENE_ROWS / REGION_ROWS);
/// A region whose edges are weaker, in luma from pixel to pixel, shows nothing to go by: sky, plain asphalt, night.
const LEAST_EDGES: f32 = 0.7;
/// With fewer regions to go by, nothing is known of the view.
const LEAST_REGIONS: usize = 3;
/// Differences between cells that mean nothing: of luma, and of square roots of edges.
const LEAST_RELIEF: f32 = 0.5;
const LEAST_LINES: f32 = 0.25;
/// A region is recognised from this correlation on.
const RECOGNISED: f32 = 0.45;
/// A region keeps its layout of light well enough for its edges to be compared.
const SAME_LIGHT: f32 = 0.6;
/// A region with this share of its edges or less shows nothing any more.
const FAINT: f32 = 0.4;
/// Where else a view is looked for, in cells across and down.
const NEAREST: usize = 2;
const FARTHEST: (usize, usize) = (10, 6);
/// It is there when it correlates this much, and this much better than where it should be.
const FITS: f32 = 0.4;
const CLEARLY_BETTER: f32 = 0.2;

/// The layout of a scene.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Luma less the mean of the cells around.
    relief: SceneGrid,
    /// The mean luma of the cells around, which no blur touches much.
    broad: SceneGrid,
    /// Square roots of the mean steps of luma, which a few strong edges do not rule.
    across: SceneGrid,
    down: SceneGrid,
    /// Mean steps of luma, in both directions together.
    edges: SceneGrid,
}

/// How a picture compares with what the camera usually sees. Shares are of the regions that have anything to go by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Likeness {
    /// Regions that are not recognised.
    pub(crate) strange: f32,
    /// Regions that are not recognised and show next to nothing.
    pub(crate) blank: f32,
    /// The middle one of the regions' sharpness as a share of what is usual, 1 or so for a picture in focus;
    /// `None` where fewer than half of the regions can be compared.
    pub(crate) sharpness: Option<f32>,
}

impl View {
    /// The layout of one picture, into `self`.
    pub(crate) fn see(&mut self, scene: &SceneStatistics) {
        for row in 0..SCENE_ROWS {
            for column in 0..SCENE_COLUMNS {
                self.broad[row][column] = around(&scene.luma, row, column);
                self.relief[row][column] = scene.luma[row][column] - self.broad[row][column];
                let (across, down) = (scene.edges_across[row][column], scene.edges_down[row][column]);
                self.across[row][column] = across.sqrt();
                self.down[row][column] = down.sqrt();
                self.edges[row][column] = across + down;
            }
        }
    }

    /// Goes `share` of the way, 0..1, to another view.
    pub(crate) fn approach(&mut self, other: &Self, share: f32) {
        for (mine, theirs) in [
            (&mut self.relief, &other.relief),
            (&mut self.broad, &other.broad),
            (&mut self.across, &other.across),
            (&mut self.down, &other.down),
            (&mut self.edges, &other.edges),
        ] {
            for (mine, theirs) in mine.iter_mut().flatten().zip(theirs.iter().flatten()) {
                *mine += share * (theirs - *mine);
            }
        }
    }

    /// How the picture `now` compares with this, its usual view. `None` where the usual view has nothing to go by.
    pub(crate) fn likeness(&self, now: &Self) -> Option<Likeness> {
        let (mut known, mut strange, mut blank) = (0, 0, 0);
        let mut sharpness = [f32::INFINITY; REGIONS];
        let mut comparable = 0;
        for region in 0..REGIONS {
            let edges = Moments::of(region, &self.edges, &now.edges);
            if edges.mean_before() < LEAST_EDGES {
                continue;
            }
            known += 1;
            let light = Moments::of(region, &self.relief, &now.relief);
            let lines =
                Moments::of(region, &self.across, &now.across).and(&Moments::of(region, &self.down, &now.down));
            let left = edges.mean_now() / edges.mean_before();
            if light.correlation(LEAST_RELIEF).max(lines.correlation(LEAST_LINES)) < RECOGNISED {
                strange += 1;
                blank += usize::from(left < FAINT);
            }
            let broad = Moments::of(region, &self.broad, &now.broad);
            if broad.correlation(LEAST_RELIEF) >= SAME_LIGHT {
                // Fog and darkness take contrast and edges alike; a lens takes edges, and adds no contrast.
                sharpness[comparable] = left / broad.slope().min(1.0);
                comparable += 1;
            }
        }
        if known < LEAST_REGIONS {
            return None;
        }
        let share = |count: usize| count as f32 / known as f32;
        sharpness.sort_unstable_by(f32::total_cmp);
        Some(Likeness {
            strange: share(strange),
            blank: share(blank),
            sharpness: (2 * comparable >= known).then(|| sharpness[comparable / 2]),
        })
    }

    /// Whether the picture `now` shows this view at another place: long kerbs and rows of windows look alike
    /// wherever they are, so that not all regions need be strange when a camera was turned.
    pub(crate) fn is_elsewhere_in(&self, now: &Self) -> bool {
        let here = moved_by(&self.relief, &now.relief, 0, 0, (true, true));
        let wanted = (here + CLEARLY_BETTER).max(FITS);
        (0..=FARTHEST.1).any(|rows| {
            (0..=FARTHEST.0).any(|columns| {
                let fits = |signs| moved_by(&self.relief, &now.relief, columns, rows, signs) >= wanted;
                rows + columns >= NEAREST
                    && [(true, true), (true, false), (false, true), (false, false)].map(fits).contains(&true)
            })
        })
    }
}

/// The correlation of two reliefs where they overlap, when the one now is moved by so many cells.
fn moved_by(before: &SceneGrid, now: &SceneGrid, columns: usize, rows: usize, signs: (bool, bool)) -> f32 {
    let (mut squares, mut product) = ([0.0f32; 2], 0.0);
    let (width, height) = (SCENE_COLUMNS - columns, SCENE_ROWS - rows);
    let at = |positive, by| if positive { (by, 0) } else { (0, by) };
    let ((left_before, left_now), (top_before, top_now)) = (at(signs.0, columns), at(signs.1, rows));
    for row in 0..height {
        let before = &before[top_before + row][left_before..][..width];
        let now = &now[top_now + row][left_now..][..width];
        for (before, now) in before.iter().zip(now) {
            squares[0] += before * before;
            squares[1] += now * now;
            product += before * now;
        }
    }
    let spread = squares[0] * squares[1];
    if spread > 1e-9 { product / spread.sqrt() } else { 0.0 }
}

/// The mean of the cells around one, and of itself.
fn around(grid: &SceneGrid, row: usize, column: usize) -> f32 {
    let rows = row.saturating_sub(1)..=(row + 1).min(SCENE_ROWS - 1);
    let columns = column.saturating_sub(1)..=(column + 1).min(SCENE_COLUMNS - 1);
    let (mut sum, mut count) = (0.0, 0.0);
    for row in &grid[rows] {
        for luma in &row[columns.clone()] {
            sum += luma;
            count += 1.0;
        }
    }
    sum / count
}

/// Means, variances and covariance of a region's cells, before and now.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    mean: [f32; 2],
    variance: [f32; 2],
    covariance: f32,
}

impl Moments {
    fn of(region: usize, before: &SceneGrid, now: &SceneGrid) -> Self {
        let across = SCENE_COLUMNS / REGION_COLUMNS;
        let (top, left) = (region / across * REGION_ROWS, region % across * REGION_COLUMNS);
        let cells = || {
            let rows = before[top..][..REGION_ROWS].iter().zip(&now[top..][..REGION_ROWS]);
            rows.flat_map(|(a, b)| a[left..][..REGION_COLUMNS].iter().zip(&b[left..][..REGION_COLUMNS]))
        };
        let count = (REGION_COLUMNS * REGION_ROWS) as f32;
        let mut it = Self::default();
        for (before, now) in cells() {
            it.mean[0] += before / count;
            it.mean[1] += now / count;
        }
        for (before, now) in cells() {
            let (before, now) = (before - it.mean[0], now - it.mean[1]);
            it.variance[0] += before * before / count;
            it.variance[1] += now * now / count;
            it.covariance += before * now / count;
        }
        it
    }

    /// Both together, each about its own means.
    fn and(mut self, other: &Self) -> Self {
        self.variance[0] += other.variance[0];
        self.variance[1] += other.variance[1];
        self.covariance += other.covariance;
        self
    }

    fn mean_before(&self) -> f32 {
        self.mean[0]
    }

    fn mean_now(&self) -> f32 {
        self.mean[1]
    }

    /// -1..1; towards 0 where what is now varies less than `floor`, in which an old picture may still be fading.
    fn correlation(&self, floor: f32) -> f32 {
        let spread = self.variance[0] * (self.variance[1] + floor * floor);
        if spread > 1e-9 { self.covariance / spread.sqrt() } else { 0.0 }
    }

    /// How many times what was before is in what is now.
    fn slope(&self) -> f32 {
        self.covariance / self.variance[0].max(1e-9)
    }
}
