//! What is normal here: which groups of classes are where, which way and how fast, as counts that forget.
//!
//! [`statistics`] holds the counts and says how improbable a movement is, [`reached`] holds how improbable
//! tracks usually are and draws the line, [`walk`] turns the frames of one track into samples and scores,
//! [`memory`] writes and reads the counts. All counts are sums over tracks: those of two days, or of two
//! nodes that see the same scene, could be added. Times are observed times of the camera; there is no clock.

pub(crate) mod memory;
pub(crate) mod reached;
pub(crate) mod statistics;
pub(crate) mod walk;

use kerbside_core::detection::Class;
use kerbside_core::geometry::PointInImage;
use kerbside_core::incident::Reason;

/// Classes that move alike: one group learns from all of its classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Group {
    #[default]
    People,
    TwoWheelers,
    /// Everything else with an engine or rails.
    Vehicles,
}

impl Group {
    pub(crate) const COUNT: usize = 3;
    pub(crate) const ALL: [Self; Self::COUNT] = [Self::People, Self::TwoWheelers, Self::Vehicles];

    pub(crate) fn of(class: Class) -> Self {
        match class {
            Class::Person => Self::People,
            Class::Bicycle | Class::Motorcycle => Self::TwoWheelers,
            Class::Car | Class::Bus | Class::Truck | Class::Other => Self::Vehicles,
        }
    }
}

/// What can be improbable about a movement, each with its score.
pub(crate) const REASONS: [Reason; 4] = [Reason::Place, Reason::Direction, Reason::TooFast, Reason::TooSlow];

/// Equal cells over the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Grid {
    pub(crate) fn cells(self) -> usize {
        self.columns * self.rows
    }

    /// The point in units of cells, inside the picture.
    pub(crate) fn place(self, point: PointInImage) -> [f64; 2] {
        let along = |share: f32, cells: usize| f64::from(share.clamp(0.0, 1.0)) * cells as f64;
        [along(point.x, self.columns), along(point.y, self.rows)]
    }

    /// The cell that holds a [`Grid::place`].
    pub(crate) fn cell(self, [x, y]: [f64; 2]) -> usize {
        (y as usize).min(self.rows - 1) * self.columns + (x as usize).min(self.columns - 1)
    }

    /// The four cells whose middles are nearest around a place, with their shares of it by distance; at the
    /// picture's edge a cell stands for those beyond.
    pub(crate) fn corners(self, [x, y]: [f64; 2]) -> [(usize, f32); 4] {
        let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
        let (right_share, lower_share) = ((x - 0.5 - left) as f32, (y - 0.5 - top) as f32);
        let cell = |x: f64, y: f64| self.cell([x.max(0.0), y.max(0.0)]);
        [
            (cell(left, top), (1.0 - right_share) * (1.0 - lower_share)),
            (cell(left + 1.0, top), right_share * (1.0 - lower_share)),
            (cell(left, top + 1.0), (1.0 - right_share) * lower_share),
            (cell(left + 1.0, top + 1.0), right_share * lower_share),
        ]
    }

    /// The up to eight cells around a cell.
    pub(crate) fn around(self, cell: usize) -> impl Iterator<Item = usize> {
        let (row, column) = (cell / self.columns, cell % self.columns);
        let rows = row.saturating_sub(1)..=(row + 1).min(self.rows - 1);
        let columns = column.saturating_sub(1)..=(column + 1).min(self.columns - 1);
        rows.flat_map(move |row| columns.clone().map(move |column| row * self.columns + column))
            .filter(move |other| *other != cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_knows_its_neighbours_and_every_point_its_cell() {
        let grid = Grid { columns: 4, rows: 3 };
        let around = |cell| grid.around(cell).collect::<Vec<_>>();
        assert_eq!(around(0), [1, 4, 5]);
        assert_eq!(around(5), [0, 1, 2, 4, 6, 8, 9, 10]);
        assert_eq!(around(11), [6, 7, 10]);
        let at = |x, y| grid.cell(grid.place(PointInImage { x, y }));
        assert_eq!(grid.corners([1.5, 1.5])[0], (5, 1.0));
        assert_eq!(grid.corners([0.2, 3.0]).map(|(cell, _)| cell), [8, 8, 8, 8]);
        assert_eq!(grid.corners([3.0, 1.75]), [(6, 0.375), (7, 0.375), (10, 0.125), (11, 0.125)]);
        assert_eq!([at(0.0, 0.0), at(0.99, 0.0), at(0.3, 0.5), at(1.2, 1.0), at(-3.0, 0.7)], [0, 3, 5, 11, 8]);
    }
}
