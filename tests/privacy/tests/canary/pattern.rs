//! The canary: 256 bits that no picture, clock or checksum gives by chance, and the search for them.
//!
//! The bits lie as 16 rows of 16 cells. Whatever leaks of a picture keeps the cells' order: sixteen samples at one
//! distance for a row, and the next row at one distance from it. The search reads bytes as such samples: at many
//! distances (one byte a cell, a block of pixels, pixels of three or four bytes), against several thresholds and as odd
//! or even (the digits 0 and 1), as single bits from either end of a byte, and as nibbles. A row is found in either polarity. Four consecutive rows
//! at one distance from each other are a hit: 64 bits, which chance gives once in 10^13 bytes.
//!
//! Distances are in samples. Rows that lie more than [`FAR`] apart are not looked for.

use std::collections::HashSet;

/// Rows, and cells in a row.
pub const SIDE: usize = 16;

/// The bits, row by row, the leftmost cell highest. From a list of random numbers; in no row do more than four cells
/// in succession have one colour, so that flat or striped pictures are never near it.
pub const CANARY: [u16; SIDE] = [
    0x9A65, 0x6B29, 0xD34A, 0x5C96, 0xA9D2, 0x3569, 0xC5B4, 0x964D, 0x72A6, 0xAD53, 0x4E99, 0xB2CA, 0x65AC,
    0xDA35, 0x5396, 0xE4B2,
];

/// Rows that make a hit.
const ENOUGH: usize = 4;
/// The greatest distance of one row from the next: rows of pictures 4096 wide, in blocks of 16 pixels of 4 bytes.
const FAR: usize = 4096 * 16 * 4;
/// Distances of cells from each other, samples: pixels of one, three or four bytes, in blocks of up to 16.
const STEPS: [usize; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 18, 24, 32, 36, 48, 64];
/// Light is more than so much.
const THRESHOLDS: [u8; 4] = [0, 64, 127, 180];
/// More rows than this at one distance in one text are no canary but an adversary's work on the search itself: it
/// fails loudly instead of taking for ever.
const TOO_MANY: usize = 200_000;

/// Whether the cell is light.
pub fn is_light(row: usize, column: usize) -> bool {
    CANARY[row] >> (SIDE - 1 - column) & 1 == 1
}

/// One byte a cell, 0 or 255.
pub fn cells() -> Vec<u8> {
    let cells = (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| is_light(row, column)));
    cells.map(|light| if light { 255 } else { 0 }).collect()
}

/// Eight cells a byte, the first cell in the highest bit.
pub fn packed() -> Vec<u8> {
    CANARY.iter().flat_map(|row| row.to_be_bytes()).collect()
}

/// Which row a pattern of 16 samples is: 0 for none, else 1 + row, and 101 + row where light and dark are exchanged.
struct Rows(Vec<u8>);

impl Rows {
    fn new() -> Self {
        let mut rows = vec![0; 1 << SIDE];
        for (number, row) in CANARY.iter().enumerate() {
            rows[usize::from(*row)] = 1 + number as u8;
            rows[usize::from(!*row)] = 101 + number as u8;
        }
        Self(rows)
    }
}

/// How the canary lies in the bytes, if it does.
pub fn find(bytes: &[u8]) -> Option<String> {
    let rows = Rows::new();
    for step in STEPS {
        for threshold in THRESHOLDS {
            let light = |at: usize| bytes[at] > threshold;
            if let Some(at) = find_in(&rows, bytes.len(), step, light) {
                return Some(format!("a byte a cell, {step} apart, light above {threshold}, from {at}"));
            }
        }
    }
    for step in STEPS {
        if let Some(at) = find_in(&rows, bytes.len(), step, |at| bytes[at] & 1 == 1) {
            return Some(format!("an odd byte a light cell, {step} apart, from {at}"));
        }
    }
    for (name, from_low) in [("highest", false), ("lowest", true)] {
        let light = |at: usize| {
            let place = if from_low { at % 8 } else { 7 - at % 8 };
            bytes[at / 8] >> place & 1 == 1
        };
        if let Some(at) = find_in(&rows, bytes.len() * 8, 1, light) {
            return Some(format!("a bit a cell, {name} first, from byte {}", at / 8));
        }
    }
    for (name, low_first) in [("high", false), ("low", true)] {
        let light = |at: usize| (bytes[at / 2] >> if at.is_multiple_of(2) == low_first { 0 } else { 4 }) & 15 > 7;
        if let Some(at) = find_in(&rows, bytes.len() * 2, 1, light) {
            return Some(format!("a nibble a cell, {name} first, from byte {}", at / 2));
        }
    }
    None
}

/// The place of the first of four rows.
fn find_in(rows: &Rows, length: usize, step: usize, light: impl Fn(usize) -> bool) -> Option<usize> {
    // Where each row ends, by polarity.
    let mut ends: [Vec<usize>; 2 * SIDE] = std::array::from_fn(|_| Vec::new());
    let mut count = 0;
    for phase in 0..step.min(length) {
        let mut window = 0u16;
        for (samples, at) in (phase..length).step_by(step).enumerate() {
            window = window << 1 | u16::from(light(at));
            let row = rows.0[usize::from(window)];
            if row > 0 && samples + 1 >= SIDE {
                let slot = if row > 100 { SIDE + usize::from(row) - 101 } else { usize::from(row) - 1 };
                ends[slot].push(at);
                count += 1;
                assert!(count < TOO_MANY, "{count} rows of the canary in {length} samples");
            }
        }
    }
    for polarity in 0..2 {
        let sets: Vec<HashSet<usize>> =
            (0..SIDE).map(|row| ends[polarity * SIDE + row].iter().copied().collect()).collect();
        for row in 0..=SIDE - ENOUGH {
            for first in &sets[row] {
                let near = sets[row + 1].iter().filter(|second| **second > *first && *second - first <= FAR);
                for distance in near.map(|second| second - first) {
                    if (2..ENOUGH).all(|more| sets[row + more].contains(&(first + more * distance))) {
                        return Some((first + 1).saturating_sub(step * SIDE));
                    }
                }
            }
        }
    }
    None
}

/// Draws the canary into a luma plane, each cell a square of `cell` pixels, its corner at (left, top).
pub fn draw(luma: &mut [u8], stride: usize, cell: usize, [left, top]: [usize; 2]) {
    for y in 0..SIDE * cell {
        for x in 0..SIDE * cell {
            luma[(top + y) * stride + left + x] = if is_light(y / cell, x / cell) { 225 } else { 25 };
        }
    }
}
