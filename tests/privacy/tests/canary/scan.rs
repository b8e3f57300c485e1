//! The search through what leaves: the canary, the beginnings of pictures, and bytes that nothing accounts for.

use crate::{entropy, magic, pattern, unfold};

/// What leaves, or lies on the disk: a name for people, and the bytes.
pub struct Piece {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Piece {
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// What is found of a picture in a piece: in its bytes and in all forms of them. Empty is good.
pub fn pictures(piece: &Piece) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |how: &str, bytes: &[u8]| {
        if let Some(place) = pattern::find(bytes) {
            found.push(format!("{}: {how}the canary: {place}", piece.name));
        }
        if let Some((what, at)) = magic::find(bytes) {
            found.push(format!("{}: {how}{what} at {at}", piece.name));
        }
    };
    look("", &piece.bytes);
    for form in unfold::forms(&piece.bytes) {
        look(&form.how, &form.bytes);
    }
    found
}

/// Runs of 32 or more random-looking bytes outside what is accounted for: in the bytes as they are, and in what they
/// hold as hexadecimal digits.
pub fn unaccounted(piece: &Piece, accounted: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    let forms = std::iter::once((String::new(), piece.bytes.clone()));
    let digits = unfold::hexadecimal(&piece.bytes).into_iter().filter(|(_, bytes)| bytes.len() >= entropy::RUN);
    for (how, mut bytes) in forms.chain(digits.map(|(at, bytes)| (format!("hex@{at} "), bytes))) {
        for known in accounted {
            let mut at = 0;
            while let Some(next) = find(&bytes[at..], known) {
                bytes[at + next..at + next + known.len()].fill(0);
                at += next + known.len();
            }
        }
        found.extend(entropy::runs(&bytes).into_iter().map(|run| {
            let shown = String::from_utf8_lossy(&bytes[run.clone()]);
            format!("{}: {how}{} random-looking bytes at {}: {shown:?}", piece.name, run.len(), run.start)
        }));
    }
    found
}

/// Where the needle is.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len().max(1)).position(|window| window == needle)
}
