//! Runs of bytes that look like nothing but random: encrypted, compressed or scattered.
//!
//! Of 32 random bytes some 30 are different (256 · (1 − (255/256)^32) = 30.1, deviation 1.3). Text has fewer signs to
//! draw from and is judged by 64 of them: random base64 has some 41 different ones, random printable text some 47, and
//! both hold capitals in plenty and no blanks, other than log lines, metrics and rows. Those repeat themselves far more.

/// Bytes that are judged together.
pub const RUN: usize = 32;
/// Different values among them that are too many: two deviations below what random bytes have.
const DENSE: usize = 27;
/// Characters of text that are judged together, and how many different ones are too many.
const TEXT_RUN: usize = 64;
const DENSE_TEXT: usize = 36;
/// And how many of them are capitals: random base64 has 26, random printable text 18.
const CAPITALS: usize = 12;

/// Different values in a piece.
pub fn values(piece: &[u8]) -> usize {
    let mut seen = [false; 256];
    piece.iter().filter(|byte| !std::mem::replace(&mut seen[usize::from(**byte)], true)).count()
}

/// Where the dense runs begin and end; runs that touch are one.
pub fn runs(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    let mut add = |run: std::ops::Range<usize>| match found.last_mut() {
        Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
        _ => found.push(run),
    };
    for at in 0..bytes.len() {
        let binary = bytes.get(at..at + RUN).filter(|piece| !piece.iter().all(|byte| is_text(*byte)));
        if binary.is_some_and(|piece| values(piece) >= DENSE) {
            add(at..at + RUN);
        }
        let is_word = |piece: &&[u8]| piece.iter().all(|byte| is_text(*byte) && *byte != b' ');
        let text = bytes.get(at..at + TEXT_RUN).filter(is_word);
        let capitals = |piece: &[u8]| piece.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        if text.is_some_and(|piece| values(piece) >= DENSE_TEXT && capitals(piece) >= CAPITALS) {
            add(at..at + TEXT_RUN);
        }
    }
    found
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t')
}
