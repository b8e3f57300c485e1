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
/// How else it is looked for: turned about the lens by so many degrees, zoomed so many times, and both a cell off.
const TURNS: [f32; 7] = [0.0, -4.0, 4.0, -8.0, 8.0, -14.0, 14.0];
const ZOOMS: [f32; 3] = [1.0, 0.85, 1.18];
const OFF: [f32; 3] = [0.0, -1.0, 1.0];
/// Less of a view than this share of its cells is no place to find it.
const LEAST_OVERLAP: f32 = 0.5;

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

    /// Whether the picture `now`, which is `aspect` times as wide as high, shows this view at another place, turned
    /// or zoomed: long kerbs and rows of windows look alike wherever they are, so that not all regions need be
    /// strange when a camera was turned.
    pub(crate) fn is_elsewhere_in(&self, now: &Self, aspect: f32) -> bool {
        let here = moved_by(&self.relief, &now.relief, 0, 0, (true, true));
        let wanted = (here + CLEARLY_BETTER).max(FITS);
        let moved = (0..=FARTHEST.1).any(|rows| {
            (0..=FARTHEST.0).any(|columns| {
                let fits = |signs| moved_by(&self.relief, &now.relief, columns, rows, signs) >= wanted;
                rows + columns >= NEAREST
                    && [(true, true), (true, false), (false, true), (false, false)].map(fits).contains(&true)
            })
        });
        moved || self.is_turned_in(now, aspect, wanted)
    }

    fn is_turned_in(&self, now: &Self, aspect: f32, wanted: f32) -> bool {
        let offsets = || OFF.into_iter().flat_map(|columns| OFF.map(|rows| (columns, rows)));
        TURNS.into_iter().flat_map(|degrees| ZOOMS.map(|zoom| (degrees, zoom))).skip(1).any(|(degrees, zoom)| {
            let turn = Turn::by(degrees, zoom, aspect);
            offsets().any(|offset| turn.fits(&self.relief, &now.relief, offset) >= wanted)
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

/// Where in one grid a cell of another lies, about the middle of both.
struct Turn {
    /// Columns and rows there for a step along a row here, and for one down a column.
    across: (f32, f32),
    down: (f32, f32),
}

impl Turn {
    fn by(degrees: f32, zoom: f32, aspect: f32) -> Self {
        // How many times as wide as high a cell is.
        let cell = aspect * SCENE_ROWS as f32 / SCENE_COLUMNS as f32;
        let (sine, cosine) = degrees.to_radians().sin_cos();
        Self { across: (cosine / zoom, sine * cell / zoom), down: (-sine / cell / zoom, cosine / zoom) }
    }

    /// The correlation of two reliefs where they overlap, and 0 where they hardly do.
    fn fits(&self, before: &SceneGrid, now: &SceneGrid, offset: (f32, f32)) -> f32 {
        let (mut squares, mut product, mut cells) = ([0.0f32; 2], 0.0, 0);
        let middle = ((SCENE_COLUMNS - 1) as f32 / 2.0, (SCENE_ROWS - 1) as f32 / 2.0);
        for (row, line) in now.iter().enumerate() {
            for (column, now) in line.iter().enumerate() {
                let (x, y) = (column as f32 - middle.0, row as f32 - middle.1);
                let column = middle.0 + offset.0 + x * self.across.0 + y * self.down.0;
                let row = middle.1 + offset.1 + x * self.across.1 + y * self.down.1;
                if let Some(before) = between(before, column, row) {
                    squares[0] += before * before;
                    squares[1] += now * now;
                    product += before * now;
                    cells += 1;
                }
            }
        }
        let spread = squares[0] * squares[1];
        let enough = cells as f32 >= LEAST_OVERLAP * (SCENE_COLUMNS * SCENE_ROWS) as f32;
        if enough && spread > 1e-9 { product / spread.sqrt() } else { 0.0 }
    }
}

/// The value of a grid between its cells' middles; `None` outside.
fn between(grid: &SceneGrid, column: f32, row: f32) -> Option<f32> {
    if column < 0.0 || row < 0.0 {
        return None;
    }
    let (left, top) = (column as usize, row as usize);
    let (upper, lower) = (grid.get(top)?, grid.get(top + 1)?);
    let (x, y) = (column - left as f32, row - top as f32);
    let along = |line: &[f32; SCENE_COLUMNS]| {
        let (here, next) = (line.get(left)?, line.get(left + 1)?);
        Some(here + x * (next - here))
    };
    let (upper, lower) = (along(upper)?, along(lower)?);
    Some(upper + y * (lower - upper))
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

#[cfg(test)]
mod tests {
    use super::*;

    const ASPECT: f32 = 4.0 / 3.0;

    /// A scene without an end; each number is another one. Places are in heights of the picture from its middle.
    fn scene(number: f32, x: f32, y: f32) -> f32 {
        let wave = |step: u8| {
            let step = f32::from(step) * (1.0 + 0.37 * number);
            let (across, down) = (28.0 * (step * 1.7).sin(), 28.0 * (step * 2.3 + number).cos());
            (x * across + y * down + 5.0 * step * step).sin()
        };
        120.0 + 6.0 * (1..40).map(wave).sum::<f32>()
    }

    fn seen(luma: impl Fn(f32, f32) -> f32) -> View {
        let mut statistics = SceneStatistics::default();
        for (row, line) in statistics.luma.iter_mut().enumerate() {
            for (column, cell) in line.iter_mut().enumerate() {
                let x = ((column as f32 + 0.5) / SCENE_COLUMNS as f32 - 0.5) * ASPECT;
                *cell = luma(x, (row as f32 + 0.5) / SCENE_ROWS as f32 - 0.5);
            }
        }
        let mut view = View::default();
        view.see(&statistics);
        view
    }

    #[test]
    fn a_view_is_found_where_it_was_moved_turned_or_zoomed_to_and_not_where_half_of_it_is_hidden() {
        for number in [0.0, 0.4, 0.9] {
            let usual = seen(|x, y| scene(number, x, y));
            let is_elsewhere = |now: &View| usual.is_elsewhere_in(now, ASPECT);
            for degrees in [-9.0f32, -5.0, 5.0, 9.0] {
                let (sine, cosine) = degrees.to_radians().sin_cos();
                let now = seen(|x, y| scene(number, x * cosine - y * sine, x * sine + y * cosine));
                assert!(is_elsewhere(&now), "{number}: turned by {degrees}");
            }
            for zoom in [0.85, 1.18] {
                assert!(is_elsewhere(&seen(|x, y| scene(number, x / zoom, y / zoom))), "{number}: zoom {zoom}");
            }
            assert!(is_elsewhere(&seen(|x, y| scene(number, x + 0.2, y))), "{number}: moved");
            assert!(!is_elsewhere(&usual), "{number}: as it was");
            let half = seen(|x, y| scene(if x < 0.0 { number } else { number + 2.0 }, x, y));
            assert!(!is_elsewhere(&half), "{number}: something before one half");
        }
    }
}
