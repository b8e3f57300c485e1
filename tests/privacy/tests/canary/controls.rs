//! Positive controls: the searches find what was planted.
//!
//! `canary.jpg` is the canary with cells of 4×4 pixels, as GStreamer's `jpegenc` writes it.

use std::io::Write as _;

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, Crc};

use crate::clip;
use crate::common::frames;
use crate::pattern::{self, SIDE, cells, packed};
use crate::scan::{Piece, pictures, unaccounted};

const JPEG: &[u8] = include_bytes!("canary.jpg");

/// What surrounds a canary: nothing that looks like anything.
fn hay() -> Vec<u8> {
    (0..4096u32).map(|n| (n / 7 % 61) as u8).collect()
}

fn hidden(needle: &[u8]) -> Vec<u8> {
    let hay = hay();
    [&hay[..1001], needle, &hay[1001..]].concat()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A frame of Zstandard with one raw block (RFC 8878, 3.1.1), cut where a block may end: at 128 KiB.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 1 << 17);
    let block = (bytes.len() as u32) << 3 | 1;
    let size = (bytes.len() as u32).to_le_bytes();
    // Single segment, a size of four bytes.
    [&[0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000], &size[..], &block.to_le_bytes()[..3], bytes].concat()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).map(move |n| LETTERS[(bits >> (18 - 6 * n) & 63) as usize] as char)
    });
    groups.collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A grey picture of 16×16 pixels (W3C PNG, 11.2): what looks into it must also unpack its data.
fn png() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(data);
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
    };
    let rows: Vec<u8> = cells().chunks(SIDE).flat_map(|row| [&[0][..], row].concat()).collect();
    let head = [0, 0, 0, 16, 0, 0, 0, 16, 8, 0, 0, 0, 0];
    let signature = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
    [&signature[..], &chunk(b"IHDR", &head), &chunk(b"IDAT", &zlib(&rows)), &chunk(b"IEND", &[])].concat()
}

/// Every way of hiding that the search claims to see through.
fn plants() -> Vec<(&'static str, Vec<u8>)> {
    let inverted: Vec<u8> = cells().iter().map(|cell| 255 - cell).collect();
    let bits_from_low: Vec<u8> = packed().iter().map(|byte| byte.reverse_bits()).collect();
    let shifted: Vec<u8> = packed().windows(2).map(|pair| pair[0] << 3 | pair[1] >> 5).collect();
    let nibbles: Vec<u8> = cells().chunks(2).map(|pair| pair[0] & 0xf0 | pair[1] >> 4).collect();
    let ones: Vec<u8> = cells().iter().map(|cell| cell / 255).collect();
    let ascii: Vec<u8> = cells().iter().map(|cell| b'0' + cell / 255).collect();
    let rgb: Vec<u8> = cells().iter().flat_map(|cell| [*cell, 90, 7]).collect();
    let mut picture = vec![99; 200 * 150];
    pattern::draw(&mut picture, 200, 8, [31, 11]);
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    gz.write_all(&cells()).unwrap();
    let mut torn = zlib(&picture);
    torn.truncate(torn.len() - 9);
    let mut deflate = DeflateEncoder::new(vec![0x78, 0x9c], Compression::fast());
    deflate.write_all(&cells()).unwrap();
    let list = cells().iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    vec![
        ("bytes", cells()),
        ("bytes inverted", inverted),
        ("bits", packed()),
        ("bits inverted", packed().iter().map(|byte| !byte).collect()),
        ("bits from the low end", bits_from_low),
        ("bits across bytes", shifted),
        ("nibbles", nibbles),
        ("ones and zeros", ones),
        ("digits", ascii),
        ("RGB", rgb),
        ("rows of a picture", picture.clone()),
        ("a quarter of it", cells()[5 * SIDE..9 * SIDE].to_vec()),
        ("zlib", zlib(&cells())),
        ("zlib of a picture, torn", torn),
        ("deflate without its checksum", deflate.finish().unwrap()),
        ("gzip", gz.finish().unwrap()),
        ("zstd", zstd(&cells())),
        ("lz4", lz4(&cells())),
        ("base64", base64(&cells()).into_bytes()),
        ("base64 of bits", base64(&packed()).into_bytes()),
        ("base64 of zlib", base64(&zlib(&picture)).into_bytes()),
        ("hexadecimal", hexadecimal(&packed()).into_bytes()),
        ("a list of numbers", format!("DEBUG pixels=[{list}]").into_bytes()),
        ("PNG", png()),
        ("JPEG", JPEG.to_vec()),
        ("base64 of JPEG", base64(JPEG).into_bytes()),
        ("lz4 of JPEG", lz4(JPEG)),
    ]
}

/// Plants a canary in a copy of each piece in every way, and looks.
pub fn planted_canaries_are_found(piece: &Piece) {
    for (way, plant) in plants() {
        let middle = piece.bytes.len() / 2;
        let planted = [&piece.bytes[..middle], &plant, &piece.bytes[middle..]].concat();
        assert!(!pictures(&Piece::new(&*piece.name, planted)).is_empty(), "{way} in {}", piece.name);
    }
}

#[test]
fn a_3_the_search_finds_a_canary_however_it_is_hidden() {
    assert_eq!(pictures(&Piece::new("hay", hay())), [""; 0]);
    for (way, plant) in plants() {
        assert!(!pictures(&Piece::new(way, hidden(&plant))).is_empty(), "{way} is not found");
    }
    let lines =
        (0..SIDE).map(|row| format!("12:00:0{}.1 TRACE row={:?}\n", row % 7, &cells()[row * SIDE..][..SIDE]));
    assert!(!pictures(&Piece::new("a row a line", lines.collect::<String>())).is_empty());
    let line = format!("DEBUG lane: camera=plaza row={}", hexadecimal(&cells()[..8 * SIDE]));
    assert!(!pictures(&Piece::new("log", line)).is_empty());
    // Three rows of sixteen are none: the search does not cry for everything.
    assert_eq!(pictures(&Piece::new("three rows", hidden(&cells()[..3 * SIDE]))), [""; 0]);
}

#[test]
fn a_3_the_search_finds_pictures_without_a_canary() {
    let slice = |head: &[u8]| -> Vec<u8> {
        [&[0, 0, 0, 1], head, &(0..99u32).map(|n| (n * n * 31 + n * 7) as u8).collect::<Vec<_>>()].concat()
    };
    let starts: [(&str, Vec<u8>); 9] = [
        ("WebP", b"RIFF\x24\0\0\0WEBPVP8 ".to_vec()),
        ("GIF", b"GIF89a\x10\0\x10\0".to_vec()),
        ("MP4, HEIC or AVIF", b"\0\0\0\x18ftypmp42".to_vec()),
        ("H.264 parameters", vec![0, 0, 0, 1, 0x67, 66, 0xc0, 30, 0xd9]),
        ("an H.264 picture", slice(&[0x65, 0x88])),
        ("H.265 parameters", vec![0, 0, 0, 1, 0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60]),
        ("an H.265 picture", slice(&[0x26, 1])),
        ("Matroska", vec![0x1a, 0x45, 0xdf, 0xa3, 0x93]),
        ("Netpbm", b"P5\n16 16\n255\n".to_vec()),
    ];
    for (what, bytes) in starts {
        let found = pictures(&Piece::new("planted", hidden(&bytes)));
        assert!(found.iter().any(|found| found.contains(what)), "{what}: {found:?}");
    }
}

#[test]
fn a_3_the_search_finds_bytes_that_nothing_accounts_for() {
    let mut state = 1u64;
    let mut random = |count: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..count).map(|_| next()).collect()
    };
    let key = random(48);
    assert_eq!(unaccounted(&Piece::new("hay", hay()), &[]), [""; 0]);
    assert!(!unaccounted(&Piece::new("raw", hidden(&key)), &[]).is_empty());
    assert!(!unaccounted(&Piece::new("base64", hidden(base64(&random(96)).as_bytes())), &[]).is_empty());
    assert!(!unaccounted(&Piece::new("hex", hidden(hexadecimal(&key).as_bytes())), &[]).is_empty());
    // What is accounted for is so by its value, not by its place.
    assert_eq!(unaccounted(&Piece::new("known", hidden(&key)), std::slice::from_ref(&key)), [""; 0]);
    assert!(!unaccounted(&Piece::new("other", hidden(&random(48))), &[key]).is_empty());
}

#[test]
fn a_3_the_canary_survives_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("canary.mp4");
    clip::render(&path, true);
    for frame in frames(&path).step_by(50) {
        let [width, height] = [frame.size.width as usize, frame.size.height as usize];
        let luma: Vec<u8> = (0..height).flat_map(|y| frame.luma().row(y, width)[..width].to_vec()).collect();
        let found = pictures(&Piece::new("luma", luma.clone()));
        assert!(found.iter().any(|found| found.contains("the canary")), "{found:?}");
        // Also in a quarter of the size, as a thumbnail has.
        let small: Vec<u8> = (0..height / 4)
            .flat_map(|y| (0..width / 4).map(move |x| (x, y)))
            .map(|(x, y)| luma[4 * y * width + 4 * x])
            .collect();
        let found = pictures(&Piece::new("thumbnail", small));
        assert!(found.iter().any(|found| found.contains("the canary")), "{found:?}");
    }
}
