//! `kerbside replay` on the real clip: same bytes every time, and the people who are in it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::{frames, program, root, rows, stderr, vtest};
use kerbside_core::frame::Frame;
use kerbside_core::geometry::BoxInImage;

/// Frames of the clip.
const FRAMES: u64 = 795;

/// Boxes in pixels, by frame from 1.
type Boxes = BTreeMap<u64, Vec<BoxInImage>>;

#[test]
fn the_real_clip_gives_the_same_bytes_twice_and_its_people_are_found() {
    let folder = tempfile::tempdir().unwrap();
    // Side by side, with different numbers of threads, one with an overlay: neither time nor threads nor anyone's
    // looking on may reach a result.
    let runs: Vec<_> = [("1", "1", None), ("2", "2", None), ("exact", "1", Some("--bin=15m"))]
        .into_iter()
        .map(|(name, threads, bin)| {
            let out = folder.path().join(name);
            program("kerbside")
                .arg("replay")
                .arg(vtest())
                .args(["--camera", "deploy/config/examples/campus-path.yaml", "--threads", threads])
                .arg("--out")
                .arg(&out)
                .arg("--tracks")
                .arg(folder.path().join(format!("{name}.csv")))
                .args(bin)
                .args((name == "2").then(|| format!("--overlay={}", folder.path().join("seen.mp4").display())))
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("{FRAMES} frames in")), "{}", stderr(&output));
    }
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    for file in ["agg.v1.arrow", "health.v1.arrow"] {
        assert_eq!(bytes(&format!("1/{file}")), bytes(&format!("2/{file}")), "{file}");
    }
    assert_eq!(bytes("1.csv"), bytes("2.csv"));

    overlay_shows_the_clip_and_what_was_found(&folder.path().join("seen.mp4"));
    released_rows_count_the_people(&folder.path().join("exact"));
    released_rows_have_noise(&folder.path().join("1"));
    tracks_find_the_people(&fs::read_to_string(folder.path().join("1.csv")).unwrap());
}

/// Frame by frame beside the clip: the same picture at the same time, and a drawing on it.
fn overlay_shows_the_clip_and_what_was_found(overlay: &Path) {
    let luma = |frame: &Frame, x: usize, y: usize| f64::from(frame.luma().row(y, 768)[x]);
    let mean = |frame: &Frame, left: usize, top: usize| -> f64 {
        let places = (top..top + 24).flat_map(|y| (left..left + 24).map(move |x| (x, y)));
        places.map(|(x, y)| luma(frame, x, y)).sum::<f64>() / (24.0 * 24.0)
    };
    let (mut pictures, mut line, mut lawn, mut numbers) = (0u64, 0.0, 0.0, 0.0);
    for (source, seen) in frames(&vtest()).zip(frames(overlay)) {
        assert_eq!(seen.size, source.size);
        let apart = seen.media_time.as_nanos().abs_diff(source.media_time.as_nanos());
        assert!(apart <= 2_000_000, "picture {pictures} is {apart} ns off");
        let differs = |left, top| (mean(&seen, left, top) - mean(&source, left, top)).abs();
        // Places of 24×24 pixels: the line's middle, the lawn where nobody walks, the table of running numbers.
        line += differs(295, 245);
        lawn += differs(600, 520);
        numbers += differs(64, 550);
        pictures += 1;
    }
    assert_eq!(pictures, FRAMES);
    assert_eq!(frames(overlay).count() as u64, FRAMES);
    let of_each = |sum: f64| sum / pictures as f64;
    let (line, lawn, numbers) = (of_each(line), of_each(lawn), of_each(numbers));
    println!("mean difference: line {line:.2}, lawn {lawn:.2}, numbers {numbers:.2}");
    assert!(line > 5.0 && numbers > 5.0 && lawn < 1.0, "line {line:.2}, lawn {lawn:.2}, numbers {numbers:.2}");
}

fn released_rows_count_the_people(out: &Path) {
    let rows = rows(out);
    let sum = |measure: &str, direction: &str| -> i64 {
        rows.iter()
            .filter(|row| row["measure"] == measure && row["dir"] == direction && row["class"] == "person")
            .map(|row| row["value"].as_i64().unwrap())
            .sum()
    };
    // The clip shows some twenty passages of people over the path in 80 s; how many exactly depends on
    // the last digit of a score, and so on the processor.
    let crossings = (sum("crossing_count", "forward"), sum("crossing_count", "backward"));
    assert!((3..=30).contains(&crossings.0) && (3..=30).contains(&crossings.1), "{crossings:?}");
    let occupied = sum("occupancy_time", "none");
    assert!((40..=80).contains(&occupied), "{occupied} s");
    for row in rows.iter().filter(|row| row["table"] == "agg.v1") {
        assert_eq!(row["release"], "demo");
        assert_eq!(row["noise_b"], 0.0);
        assert_eq!(row["t0"], "1970-01-01T00:00:00.000Z");
        assert_eq!(row["t1"], "1970-01-01T00:15:00.000Z");
        assert_eq!(row["n_frames"], FRAMES);
    }
}

/// As a node would release them: people are counted with noise, which follows from the clip.
fn released_rows_have_noise(out: &Path) {
    let rows = rows(out);
    let counts: Vec<_> = rows.iter().filter(|row| row["measure"] == "crossing_count").collect();
    assert_eq!(counts.len(), 2, "{counts:#?}");
    for row in rows.iter().filter(|row| row["table"] == "agg.v1") {
        assert_eq!(row["release"], "agg_dp");
        assert!(row["noise_b"].as_f64().unwrap() > 4.5, "{row}");
    }
}

fn tracks_find_the_people(tracks: &str) {
    let mut found = Boxes::new();
    for line in tracks.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), 10, "{line}");
        assert_eq!(fields[7..], ["-1", "-1", "-1"], "{line}");
        let frame: u64 = fields[0].parse().unwrap();
        assert!((1..=FRAMES).contains(&frame) && fields[1].parse::<u64>().unwrap() > 0, "{line}");
        let number = |index: usize| fields[index].parse::<f32>().unwrap();
        if number(6) >= 0.5 {
            found.entry(frame).or_default().push(pixels(number(2), number(3), number(4), number(5)));
        }
    }
    assert!(*found.keys().next_back().unwrap() > FRAMES - 5);

    let annotated = annotation();
    let total: usize = annotated.values().map(Vec::len).sum();
    assert!(total > 50, "{total} annotated people");
    let mut matched = 0;
    let mut reported = 0;
    for (frame, people) in &annotated {
        let boxes = found.get(frame).map(Vec::as_slice).unwrap_or_default();
        reported += boxes.len();
        matched += matches(people, boxes);
    }
    let recall = matched as f64 / total as f64;
    let precision = matched as f64 / reported as f64;
    println!("recall {recall:.3}, precision {precision:.3} on {total} annotated people");
    // The annotation is small and counts people who are nearly hidden. The model by itself reaches a recall of
    // 0.861 on it (its card says so); tracking may cost one person of 72 at most.
    assert!(recall >= 0.845, "recall {recall:.3}, precision {precision:.3}");
    assert!(precision >= 0.90, "recall {recall:.3}, precision {precision:.3}");
}

/// Pairs with an intersection over union of 0.5 or more, best first, each box in one pair.
fn matches(people: &[BoxInImage], boxes: &[BoxInImage]) -> usize {
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    for (p, person) in people.iter().enumerate() {
        for (b, candidate) in boxes.iter().enumerate() {
            pairs.push((person.iou(candidate), p, b));
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut used_people, mut used_boxes) = (vec![false; people.len()], vec![false; boxes.len()]);
    let mut count = 0;
    for (iou, p, b) in pairs {
        if iou >= 0.5 && !used_people[p] && !used_boxes[b] {
            (used_people[p], used_boxes[b]) = (true, true);
            count += 1;
        }
    }
    count
}

/// People annotated by hand in some frames of the clip.
fn annotation() -> Boxes {
    let text = fs::read_to_string(root().join("models/workshop/annotation/vtest.csv")).unwrap();
    let mut people = Boxes::new();
    for line in text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())) {
        let fields: Vec<f32> = line.split(',').take(5).map(|field| field.trim().parse().unwrap()).collect();
        people.entry(fields[0] as u64).or_default().push(pixels(fields[1], fields[2], fields[3], fields[4]));
    }
    people
}

fn pixels(left: f32, top: f32, width: f32, height: f32) -> BoxInImage {
    BoxInImage { left, top, right: left + width, bottom: top + height }
}
