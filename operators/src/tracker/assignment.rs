//! The optimal one-to-one assignment of rows (tracks) to columns (detections).
//!
//! Shortest augmenting paths with dual prices (Jonker and Volgenant, Computing 38, 1987; the rectangular
//! form of Crouse, IEEE TAES 52(4), 2016): O(rows² × columns) at worst, near rows × columns where few
//! rows compete. A row may stay free at the price of `gate`, so that no pair that costs more is ever made.
//!
//! Written here rather than taken from a crate: `pathfinding` and `lapjv` solve the square or full
//! problem without a gate, and allocate on every call. This one keeps its buffers from frame to frame.
//! Same costs, same answer: of two equal solutions the one with the lower column for the earlier row wins
//! while paths are searched, and nothing depends on addresses or hashes.

/// Marks a row or column without a partner.
const FREE: usize = usize::MAX;

/// A cost matrix and the memory to solve it.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    columns: usize,
    costs: Vec<f64>,
    column_of_row: Vec<usize>,
    row_of_column: Vec<usize>,
    row_price: Vec<f64>,
    column_price: Vec<f64>,
    distance: Vec<f64>,
    reached_from: Vec<usize>,
    settled: Vec<bool>,
}

impl Assignment {
    /// A matrix in which no pair is allowed yet.
    pub(super) fn reset(&mut self, rows: usize, columns: usize) {
        self.columns = columns;
        refill(&mut self.costs, rows * columns, f64::INFINITY);
        refill(&mut self.column_of_row, rows, FREE);
        refill(&mut self.row_of_column, columns, FREE);
        refill(&mut self.row_price, rows, 0.0);
        refill(&mut self.column_price, columns, 0.0);
        refill(&mut self.reached_from, columns, FREE);
    }

    /// Allows a pair at a finite cost of zero or more.
    pub(super) fn allow(&mut self, row: usize, column: usize, cost: f64) {
        self.costs[row * self.columns + column] = cost;
    }

    /// The pairs (row, column), by row, that make the sum of their costs, plus `gate` for each row without
    /// a partner, as small as it can be.
    pub(super) fn solve(&mut self, gate: f64) -> impl Iterator<Item = (usize, usize)> + '_ {
        for row in 0..self.column_of_row.len() {
            self.place(row, gate);
        }
        self.column_of_row.iter().copied().enumerate().filter(|&(_, column)| column != FREE)
    }

    /// Finds the cheapest way to serve one more row, which may move the rows before it.
    ///
    /// Besides the columns, every row has an exit of its own that costs `gate`. No other row can use that
    /// exit, so a row that took it once stays without a partner, and exits need no columns in the matrix.
    fn place(&mut self, start: usize, gate: f64) {
        refill(&mut self.distance, self.columns, f64::INFINITY);
        refill(&mut self.settled, self.columns, false);
        let (mut row, mut lowest) = (start, 0.0);
        let (mut exit_row, mut exit_distance) = (start, f64::INFINITY);
        let end = loop {
            let exit = lowest + gate - self.row_price[row];
            if exit < exit_distance {
                (exit_row, exit_distance) = (row, exit);
            }
            let (mut nearest, mut nearest_distance) = (FREE, f64::INFINITY);
            let costs = &self.costs[row * self.columns..][..self.columns];
            for (column, &cost) in costs.iter().enumerate() {
                if self.settled[column] {
                    continue;
                }
                let distance = lowest + cost - self.row_price[row] - self.column_price[column];
                if distance < self.distance[column] {
                    self.distance[column] = distance;
                    self.reached_from[column] = row;
                }
                if self.distance[column] < nearest_distance {
                    (nearest, nearest_distance) = (column, self.distance[column]);
                }
            }
            if nearest == FREE || exit_distance < nearest_distance {
                lowest = exit_distance;
                break FREE;
            }
            lowest = nearest_distance;
            if self.row_of_column[nearest] == FREE {
                break nearest;
            }
            self.settled[nearest] = true;
            row = self.row_of_column[nearest];
        };
        self.reprice(start, lowest);
        let mut column = end;
        if end == FREE {
            if exit_row == start {
                return;
            }
            column = std::mem::replace(&mut self.column_of_row[exit_row], FREE);
        }
        // Back along the path: each column goes to the row from which it was reached.
        loop {
            let row = self.reached_from[column];
            self.row_of_column[column] = row;
            let given_up = std::mem::replace(&mut self.column_of_row[row], column);
            if row == start {
                return;
            }
            column = given_up;
        }
    }

    /// Keeps every pair made so far at reduced cost zero and every other at zero or more.
    fn reprice(&mut self, start: usize, lowest: f64) {
        self.row_price[start] += lowest;
        for column in 0..self.columns {
            if self.settled[column] {
                let slack = lowest - self.distance[column];
                self.row_price[self.row_of_column[column]] += slack;
                self.column_price[column] -= slack;
            }
        }
    }
}

fn refill<T: Copy>(list: &mut Vec<T>, len: usize, value: T) {
    list.clear();
    list.resize(len, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lowest total by trying everything.
    fn by_brute_force(costs: &[Vec<Option<f64>>], taken: u32, gate: f64) -> f64 {
        let Some((row, rest)) = costs.split_first() else { return 0.0 };
        let free = gate + by_brute_force(rest, taken, gate);
        row.iter()
            .enumerate()
            .filter(|(column, _)| taken & (1 << column) == 0)
            .filter_map(|(column, cost)| Some((*cost)? + by_brute_force(rest, taken | 1 << column, gate)))
            .fold(free, f64::min)
    }

    fn solve(costs: &[Vec<Option<f64>>], gate: f64) -> Vec<(usize, usize)> {
        let mut assignment = Assignment::default();
        // The second round runs on used buffers, as in the tracker.
        for _ in 0..2 {
            assignment.reset(costs.len(), costs.first().map_or(0, Vec::len));
            for (row, line) in costs.iter().enumerate() {
                for (column, cost) in line.iter().enumerate() {
                    if let Some(cost) = cost {
                        assignment.allow(row, column, *cost);
                    }
                }
            }
            let _ = assignment.solve(gate).count();
        }
        assignment.column_of_row.iter().copied().enumerate().filter(|&(_, column)| column != FREE).collect()
    }

    fn any_costs() -> impl Strategy<Value = Vec<Vec<Option<f64>>>> {
        (0usize..7, 0usize..7).prop_flat_map(|(rows, columns)| {
            // Whole numbers make ties common.
            let cost = proptest::option::weighted(0.7, (0u32..12).prop_map(f64::from));
            proptest::collection::vec(proptest::collection::vec(cost, columns), rows)
        })
    }

    proptest! {
        #[test]
        fn no_assignment_is_cheaper(costs in any_costs(), gate in 0u32..12) {
            let gate = f64::from(gate);
            let pairs = solve(&costs, gate);
            let mut columns: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), pairs.len(), "a column was given twice");
            let mut total = gate * (costs.len() - pairs.len()) as f64;
            for (row, column) in pairs {
                let cost = costs[row][column];
                prop_assert!(cost.is_some_and(|cost| cost <= gate), "pair {row}-{column} is not allowed");
                total += cost.unwrap_or_default();
            }
            prop_assert!((total - by_brute_force(&costs, 0, gate)).abs() < 1e-9);
        }
    }

    #[test]
    fn the_best_pair_gives_way_when_the_sum_is_better() {
        let costs = [vec![Some(0.1), Some(0.2)], vec![Some(0.15), None]];
        assert_eq!(solve(&costs, 0.8), [(0, 1), (1, 0)]);
        assert_eq!(solve(&costs, 0.12), [(0, 0)]);
    }
}
