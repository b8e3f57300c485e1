//! What bytes hold in another form: compressed frames anywhere in them, base64 and hexadecimal text.
//!
//! A compressed frame is looked for at every place by its magic and unpacked until it ends or is damaged; what came
//! out before the damage counts too, so a torn frame hides nothing. What was unfolded is unfolded again, to a depth
//! of [`DEPTH`]. Nothing is unpacked beyond [`MOST`] bytes: a leak that begins with a bomb is still found before it.

use std::collections::HashSet;
use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;

/// Forms within forms that are followed.
const DEPTH: usize = 3;
/// Bytes that are unpacked of one frame.
const MOST: u64 = 8 << 20;
/// Shorter results cannot hold four rows of the canary, nor a picture.
const LEAST: usize = 8;
/// The shortest text that is taken for base64 or hexadecimal: four rows of the canary at a bit a cell.
const LEAST_TEXT: usize = 12;

/// One form of the bytes: how it was reached, and itself.
pub struct Form {
    pub how: String,
    pub bytes: Vec<u8>,
}

/// All forms of the bytes but themselves.
pub fn forms(bytes: &[u8]) -> Vec<Form> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    unfold(bytes, "", DEPTH, &mut found, &mut seen);
    found
}

fn unfold(bytes: &[u8], how: &str, depth: usize, found: &mut Vec<Form>, seen: &mut HashSet<Vec<u8>>) {
    if depth == 0 {
        return;
    }
    let mut next: Vec<Form> = Vec::new();
    for at in 0..bytes.len() {
        next.extend(unpacked(&bytes[at..]).map(|(name, bytes)| Form { how: format!("{how}{name}@{at} "), bytes }));
    }
    for (name, decode) in TEXTS {
        let decoded = decode(bytes);
        // A row a line, as logs have it: the pieces one after the other.
        let rows = decoded.iter().map(|(_, bytes)| bytes.as_slice()).filter(|bytes| bytes.len() >= LEAST);
        next.push(Form { how: format!("{how}all {name} "), bytes: rows.collect::<Vec<_>>().concat() });
        for (at, bytes) in decoded {
            next.push(Form { how: format!("{how}{name}@{at} "), bytes });
        }
    }
    for form in next {
        if form.bytes.len() >= LEAST && seen.insert(form.bytes.clone()) {
            unfold(&form.bytes, &form.how, depth - 1, found, seen);
            found.push(form);
        }
    }
}

/// What a compressed frame at the beginning of the bytes holds.
fn unpacked(bytes: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let (name, out) = match bytes {
        [0x1f, 0x8b, 8, ..] => ("gzip", drain(GzDecoder::new(bytes))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", StreamingDecoder::new(bytes).map(drain).unwrap_or_default()),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("lz4", drain(FrameDecoder::new(bytes))),
        // RFC 1950, section 2.2: deflate, a window of up to 32 KiB, no preset dictionary, a multiple of 31.
        [method, flags, ..]
            if method & 15 == 8
                && method >> 4 <= 7
                && flags & 0x20 == 0
                && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0 =>
        {
            let mut out = drain(ZlibDecoder::new(bytes));
            if out.is_empty() {
                out = drain(DeflateDecoder::new(&bytes[2..]));
            }
            ("zlib", out)
        }
        _ => return None,
    };
    (!out.is_empty()).then_some((name, out))
}

/// As much as comes before the end or the first damage.
fn drain(from: impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    let mut from = from.take(MOST);
    let mut piece = [0; 512];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        out.extend_from_slice(&piece[..count]);
    }
    out
}

type Decode = fn(&[u8]) -> Vec<(usize, Vec<u8>)>;
const TEXTS: [(&str, Decode); 3] = [("base64", base64), ("hex", hexadecimal), ("numbers", numbers)];

/// Runs of the alphabet of RFC 4648, sections 4 and 5. A run may begin with letters that are no part of the code,
/// such as a word before it: each of the four ways of cutting it into groups is tried. Line ends within are skipped.
fn base64(bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut found = Vec::new();
    for (at, sixes) in runs(bytes, value) {
        for shift in 0..4 {
            let groups = sixes.get(shift..).unwrap_or_default().chunks(4);
            let decoded = groups.flat_map(|group| {
                let bits =
                    group.iter().fold(0u32, |bits, six| bits << 6 | u32::from(*six)) << (6 * (4 - group.len()));
                let [_, a, b, c] = bits.to_be_bytes();
                [a, b, c].into_iter().take(group.len().saturating_sub(1))
            });
            found.push((at + shift, decoded.collect()));
        }
    }
    found
}

/// Runs of hexadecimal digits, cut in both ways.
pub fn hexadecimal(bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let value = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut found = Vec::new();
    for (at, digits) in runs(bytes, value) {
        for shift in 0..2 {
            let pairs = digits.get(shift..).unwrap_or_default().chunks_exact(2);
            found.push((at + shift, pairs.map(|pair| pair[0] << 4 | pair[1]).collect()));
        }
    }
    found
}

/// Lists of numbers up to 255, as a debug print of bytes gives them: `[31, 139]`, `0x1f 0x8b`.
fn numbers(bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    let (mut begun, mut list) = (0, Vec::new());
    let mut words = bytes.split(|byte| !byte.is_ascii_alphanumeric());
    let mut at = 0;
    loop {
        let word = words.next();
        let text = word.and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default();
        let hex = text.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex.or_else(|| text.parse().ok()) {
            Some(number) => {
                if list.is_empty() {
                    begun = at;
                }
                list.push(number);
            }
            None if text.is_empty() && word.is_some() => {}
            None => {
                if list.len() >= LEAST {
                    found.push((begun, std::mem::take(&mut list)));
                }
                list.clear();
            }
        }
        match word {
            Some(word) => at += word.len() + 1,
            None => return found,
        }
    }
}

/// The values of the longest stretches of bytes that have one; ends of lines do not end a stretch.
fn runs(bytes: &[u8], value: impl Fn(u8) -> Option<u8>) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    let (mut begun, mut run) = (0, Vec::new());
    for (at, byte) in bytes.iter().copied().chain([b' ']).enumerate() {
        match value(byte) {
            Some(value) => {
                if run.is_empty() {
                    begun = at;
                }
                run.push(value);
            }
            None if matches!(byte, b'\n' | b'\r') && !run.is_empty() => {}
            None => {
                if run.len() >= LEAST_TEXT {
                    found.push((begun, std::mem::take(&mut run)));
                }
                run.clear();
            }
        }
    }
    found
}
