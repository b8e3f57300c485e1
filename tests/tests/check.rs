//! `kerbside check`, as an integrator meets it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::path::Path;

use common::{camera_file, kerbside, root, stderr, stdout};

/// Every operator of the table.
const OPERATORS: [&str; 17] = [
    "count_line",
    "count_turns",
    "detect_crowd",
    "detect_intrusion",
    "detect_loitering",
    "detect_near_miss",
    "detect_object_left",
    "detect_stopped",
    "detect_tamper",
    "detect_unusual_flow",
    "detect_unusual_motion",
    "detect_wrong_way",
    "measure_dwell",
    "measure_headway",
    "measure_occupancy",
    "measure_queue",
    "measure_speed",
];

fn site(folder: &Path, cameras: &[(&str, String)]) {
    fs::create_dir_all(folder.join("cameras")).unwrap();
    fs::write(folder.join("node.yaml"), "name: test-node\n").unwrap();
    for (name, text) in cameras {
        fs::write(folder.join(format!("cameras/{name}.yaml")), text).unwrap();
    }
}

#[test]
fn a_sound_configuration_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    site(folder.path(), &[("plaza", camera_file("rtsp://10.0.4.21/stream2", 10.0))]);
    let output = kerbside(["check", "--config", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("camera plaza: nanodet-g at 10 fps, count_line, measure_occupancy"));
}

#[test]
fn what_a_profile_keeps_back_is_a_note_and_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    let camera = |profile: &str| {
        format!(
            "source: rtsp://10.0.4.21/stream2\nprivacy: {{profile: {profile}}}\ngeometry:\n  \
             lines: {{stop: {{from: [0.3, 0.6], to: [0.3, 0.4]}}}}\n  \
             zones: {{lane: {{polygon: [[0.3, 0.4], [0.9, 0.4], [0.9, 0.6]]}}}}\noperators:\n  \
             count_line: [{{line: stop, classes: [car]}}]\n  measure_queue: [{{line: stop, zone: lane}}]\n"
        )
    };
    let note = "plaza.yaml:8:19: operators.measure_queue[0]: note: the profile 'strict' does not release queue_len, \
                because one vehicle can change them without bound; 'standard' does";
    for (profile, noted, summary) in [
        ("strict", true, "profile strict, ε 0.660 a passage, 2 counters, at most 192 numbers (768 bytes) a day"),
        (
            "standard",
            false,
            "profile standard, ε 0.660 a passage, 3 counters, at most 4320 numbers (17280 bytes) a day",
        ),
    ] {
        site(folder.path(), &[("plaza", camera(profile))]);
        let output = kerbside(["check", "--config", folder.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().any(|line| line.ends_with(note)), noted, "{}", stderr(&output));
        assert_eq!(stderr(&output).contains("note:"), noted, "{}", stderr(&output));
        assert!(stdout(&output).contains(summary), "{}", stdout(&output));
    }
}

#[test]
fn every_problem_of_every_file_is_in_one_report_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let sound = camera_file("rtsp://10.0.4.21/stream2", 10.0);
    let bad = sound.replace("analyse_fps: 10", "analyze_fps: 10").replace("nanodet-g", "nanodet-h");
    let double =
        sound.replace("stream2", "stream3").replace("classes: [person]", "classes: [person]\nclasses: [car]");
    site(folder.path(), &[("a-bad", bad), ("b-same", sound), ("c-double", double)]);
    let output = kerbside(["check", "--config", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let report = stderr(&output);
    let cameras = folder.path().join("cameras");
    let place = |file: &str, place: &str| format!("{}:{place}: ", cameras.join(file).display());
    for (line, words) in [
        (place("a-bad.yaml", "2:1") + "analyze_fps: ", "unknown key"),
        (place("a-bad.yaml", "3:19") + "detector.model: ", "nanodet-h"),
        (place("b-same.yaml", "1:9") + "source: ", "a-bad.yaml"),
        (place("c-double.yaml", "5:1") + "classes: ", "second time"),
    ] {
        let found = report.lines().find(|found| found.starts_with(&line));
        assert!(found.is_some_and(|found| found.contains(words) && found.contains("; ")), "{line}\n{report}");
    }
    assert!(report.trim_end().ends_with("4 problems"), "{report}");
}

#[test]
fn run_and_replay_refuse_what_check_refuses() {
    let folder = tempfile::tempdir().unwrap();
    site(folder.path(), &[("plaza", "source: exec:reboot\n".to_owned())]);
    let config = folder.path().to_str().unwrap();
    let camera = folder.path().join("cameras/plaza.yaml");
    let problem = format!("{}:1:", camera.display());
    for arguments in [
        vec!["run", "--config", config],
        vec!["check", "--config", config],
        vec!["replay", "no-clip.avi", "--camera", camera.to_str().unwrap()],
    ] {
        let output = kerbside(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(&problem), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn every_example_and_every_operators_example_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut cameras = Vec::new();
    for entry in fs::read_dir(root().join("deploy/config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        // An example names a secret of its cabinet; the test has its own.
        let secret = folder.path().join(format!("{name}.secret"));
        fs::write(&secret, "not-a-real-password\n").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let text = text.replace(&format!("/run/secrets/{name}"), secret.to_str().unwrap());
        cameras.push((name, text));
    }
    assert!(cameras.len() >= 3, "{cameras:?}");
    let cameras: Vec<(&str, String)> = cameras.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    site(folder.path(), &cameras);
    let output = kerbside(["check", "--config", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_example_of_every_manual_is_a_sound_camera_under_the_strictest_defaults() {
    let folder = tempfile::tempdir().unwrap();
    for operator in OPERATORS {
        let output = kerbside(["operators", operator]);
        assert_eq!(output.status.code(), Some(0), "{operator}: {}", stderr(&output));
        let manual = stdout(&output);
        let example = manual.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
        let text = format!("source: rtsp://10.0.4.21/{operator}\n{example}");
        site(folder.path(), &[(operator, text)]);
    }
    let output = kerbside(["check", "--config", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn help_and_manuals_are_there_for_a_stranger() {
    let output = kerbside(["--help"]);
    for command in ["run", "check", "replay", "events", "backtest", "operators", "models", "bench"] {
        assert!(stdout(&output).contains(&format!("\n  {command} ")), "{}", stdout(&output));
    }
    let output = kerbside(["operators"]);
    for operator in OPERATORS {
        let named = stdout(&output).lines().any(|line| line.starts_with(&format!("{operator} ")));
        assert!(named, "{operator} is not in\n{}", stdout(&output));
    }
    assert_eq!(stdout(&output).lines().count(), OPERATORS.len());
    let output = kerbside(["operators", "count_line"]);
    assert!(stdout(&output).contains("# Options"), "{}", stdout(&output));
    let output = kerbside(["operators", "count_lines"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("count_line, count_turns"), "{}", stderr(&output));
}
