//! How files and streams of pictures begin.
//!
//! A magic of less than eight bytes comes by chance sooner or later; where it is that short, what must stand next to
//! it is checked too.

/// The first sign of a picture or a stream of pictures in the bytes: what it is and where.
pub fn find(bytes: &[u8]) -> Option<(&'static str, usize)> {
    (0..bytes.len()).find_map(|at| begins(&bytes[at..]).map(|what| (what, at)))
}

fn begins(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] if is_jpeg(bytes) => Some("JPEG"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("PNG"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("WebP"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Some("AVI"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("GIF"),
        // The reserved fields, and the size of the first header.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, _, _, 0, 0, 40 | 108 | 124, 0, 0, 0, ..] => Some("BMP"),
        [b'I', b'I', 42, 0, 8, 0, 0, 0, ..] | [b'M', b'M', 0, 42, 0, 0, 0, 8, ..] => Some("TIFF"),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', b'\r', b'\n', ..] => Some("JPEG 2000"),
        [0, 0, 0, 12, b'J', b'X', b'L', b' ', b'\r', b'\n', ..] => Some("JPEG XL"),
        [b'P', b'5' | b'6', b'\n' | b' ', b'0'..=b'9', ..] if is_netpbm(bytes) => Some("Netpbm"),
        [b'q', b'o', b'i', b'f', 0, 0, _, _, 0, 0, _, _, 3 | 4, ..] => Some("QOI"),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("Matroska"),
        [b'D', b'K', b'I', b'F', 0, 0, 32, 0, ..] => Some("IVF"),
        [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', b'2', ..] => Some("Y4M"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some("an array of numpy"),
        // ISO/IEC 14496-12: a box has its length and its name.
        [0, 0, 0, 8..=64, b'f', b't', b'y', b'p', ..] => Some("MP4, HEIC or AVIF"),
        [0, 0, _, _, b'm', b'o', b'o', b'v' | b'f', 0, 0, _, _, b'm', b'v' | b'f', b'h', b'd', ..] => Some("MP4"),
        // ISO/IEC 14496-15: the parameter sets of H.264 in a file.
        [b'a', b'v', b'c', b'C', 1, ..] | [b'h', b'v', b'c', b'C', 1, ..] => {
            Some("the parameters of a video track")
        }
        [0, 0, 1, unit @ ..] => nal(unit),
        _ => None,
    }
}

/// ITU-T T.81, B.1: after the start comes a segment with its length, and after that one more marker.
fn is_jpeg(bytes: &[u8]) -> bool {
    let [_, _, _, marker, high, low, ..] = bytes else { return false };
    let next = 4 + (usize::from(*high) << 8 | usize::from(*low));
    matches!(marker, 0xc0..=0xcf | 0xdb | 0xdd | 0xe0..=0xef | 0xfe)
        && next >= 6
        && bytes.get(next).is_none_or(|byte| *byte == 0xff)
}

fn is_netpbm(bytes: &[u8]) -> bool {
    let head = &bytes[2..bytes.len().min(24)];
    let numbers = head.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).take(3);
    numbers.filter(|word| word.iter().all(u8::is_ascii_digit)).count() == 3
}

/// A unit of H.264 (ITU-T H.264, 7.3.1) or H.265 (ITU-T H.265, 7.3.1.2) after its start code.
fn nal(unit: &[u8]) -> Option<&'static str> {
    match unit {
        // A sequence's parameters: profile, constraints with their reserved zeros, level.
        [0x27 | 0x47 | 0x67, 66 | 77 | 88 | 100 | 110 | 122 | 244, flags, 9..=62, ..] if flags & 3 == 0 => {
            Some("H.264 parameters")
        }
        // Pictures: what follows is entropy coded.
        [0x21 | 0x41 | 0x61 | 0x01 | 0x25 | 0x45 | 0x65, data @ ..] if is_dense(data) => Some("an H.264 picture"),
        // ITU-T H.265: the parameters of the video begin with a constant of sixteen ones.
        [0x40, 0x01, _, _, 0xff, 0xff, ..] => Some("H.265 parameters"),
        [0x02 | 0x26 | 0x28 | 0x2a, 0x01, data @ ..] if is_dense(data) => Some("an H.265 picture"),
        _ => None,
    }
}

/// Whether 64 bytes look like coded data.
fn is_dense(data: &[u8]) -> bool {
    data.get(..64).is_some_and(|data| super::entropy::values(data) >= 44)
}
