//! The status page and the drawing page in a real browser: Debian's Chromium, driven by `tests/browser`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/people.rs"]
mod people;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Node, camera_file, cameras, free_port, kerbside, python, root, stderr, stdout, vtest};
use kerbside_config::{Catalogue, load_camera};
use kerbside_core::frame::PictureSize;
use kerbside_core::geometry::{PointInImage, Shape};
use kerbside_vision::Picture;

/// Long enough for a loaded machine; nothing here measures speed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far a corner may lie from where the mouse was.
const NEAR: f32 = 0.02;

#[test]
fn a_camera_that_goes_down_is_said_in_words() {
    let clip = vtest();
    let (mut lost_server, lost_urls) = cameras(&[&clip], free_port());
    let (_steady_server, steady_urls) = cameras(&[&clip], free_port());
    let mut node = Node::start(
        &[("lost", camera_file(&lost_urls[0], 2.0)), ("steady", camera_file(&steady_urls[0], 2.0))],
        &["--bin", "5s"],
    );
    let url = url_of(&node);
    let mut script = Script::start("status.py", &[&url, "--lost", "lost", "--steady", "steady"]);
    script.wait_for("now kill the camera");
    lost_server.kill();
    script.wait_for("now kill the node");
    node.running.kill();
    script.finish();
}

#[test]
fn a_zone_and_a_line_that_are_drawn_load_with_kerbside_check() {
    let (_server, urls) = cameras(&[&vtest()], free_port());
    let camera = camera_file(&urls[0], 5.0);
    let node = Node::start_as("test-node", &[("plaza", camera.clone())], &[], "setup: {at_most: 10m}\n");
    node.wait_for("frames", PATIENCE, |node| node.analysed("plaza") > 3.0);
    let out = tempfile::tempdir().unwrap();
    let url = url_of(&node);
    let folder = out.path().to_str().unwrap();
    Script::start("drawing.py", &[&url, "--camera", "plaza", "--out", folder]).finish();

    let picture = read_picture(&out.path().join("background.ppm"));
    let found = people::people(&mut *people::detector(), &people::as_frame(&picture));
    assert!(found.is_empty(), "somebody is in the picture that the page shows: {found:?}");
    let shown = picture.rgb.chunks(3).filter(|rgb| *rgb != [128; 3]).count();
    assert!(2 * shown > picture.rgb.len() / 3, "most of the street is shown");

    // The block that was downloaded, in the place of the one that was there.
    let block = fs::read_to_string(out.path().join("plaza.geometry.yaml")).unwrap();
    let (before, rest) = camera.split_once("geometry:\n").unwrap();
    let (_, after) = rest.split_once("operators:\n").unwrap();
    let counted = after.replace("{line: crossing}", "{line: crossing}, {line: kerb-line}");
    let file = node.folder.path().join("site/cameras/plaza.yaml");
    fs::write(&file, format!("{before}{block}operators:\n{counted}")).unwrap();
    let site = node.folder.path().join("site");
    let output = kerbside(["check", "--config", site.to_str().unwrap()]);
    assert!(output.status.success(), "{block}{}{}", stdout(&output), stderr(&output));
    holds_what_was_drawn(&file, &out.path().join("drawn.json"));
}

/// A picture as the script saves it.
fn read_picture(file: &Path) -> Picture {
    let bytes = fs::read(file).unwrap();
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let numbers: Vec<u32> = head.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
    let size = PictureSize { width: numbers[0], height: numbers[1] };
    let rgb = bytes[end + 1..].to_vec();
    assert_eq!(rgb.len(), 3 * (size.width * size.height) as usize);
    Picture { size, rgb, known: 1.0 }
}

/// Whether the file has the sites that were there, and those that were drawn where they were drawn.
fn holds_what_was_drawn(file: &Path, drawn: &Path) {
    let models = ["nanodet-g".to_owned()];
    let catalogue = Catalogue { operators: kerbside_operators::TABLE, models: &models };
    let geometry = load_camera(file, &catalogue).unwrap().geometry;
    let names: Vec<&str> = geometry.sites.iter().map(|site| site.name.as_str()).collect();
    assert_eq!(names, ["crossing", "kerb-line", "north_side", "square"]);
    let drawn: serde_json::Value = serde_json::from_str(&fs::read_to_string(drawn).unwrap()).unwrap();
    let drawn = drawn.as_object().unwrap();
    assert_eq!(drawn.len(), 2);
    for (name, points) in drawn {
        let points: Vec<[f32; 2]> = serde_json::from_value(points.clone()).unwrap();
        let site = geometry.sites.iter().find(|site| site.name == *name).unwrap();
        let held: Vec<PointInImage> = match &site.shape {
            Shape::Line(line) => vec![line.from, line.to],
            Shape::Zone(zone) => zone.corners.clone(),
        };
        assert_eq!(held.len(), points.len(), "{name}: {held:?}");
        for (held, [x, y]) in held.iter().zip(points) {
            assert!((held.x - x).abs() <= NEAR && (held.y - y).abs() <= NEAR, "{name}: {held:?}, drawn {x} {y}");
        }
    }
}

/// Where the node's status server is, as node.yaml has it.
fn url_of(node: &Node) -> String {
    let text = fs::read_to_string(node.folder.path().join("site/node.yaml")).unwrap();
    let address = text.lines().find_map(|line| line.strip_prefix("metrics: {address: \"")?.strip_suffix("\"}"));
    format!("http://{}", address.unwrap())
}

/// A script of `tests/browser` that runs.
struct Script {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Script {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python("browser"))
            .arg(root().join("tests/browser").join(name))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it says so. It ends by itself where what it waits for does not come.
    fn wait_for(&mut self, said: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        if line.trim_end() != said {
            panic!("{said:?} was expected, not {line:?}\n{}", self.complaint());
        }
    }

    fn finish(mut self) {
        let mut said = String::new();
        self.lines.read_to_string(&mut said).unwrap();
        let complaint = self.complaint();
        assert!(self.child.wait().unwrap().success(), "{said}\n{complaint}");
        println!("{}", said.trim_end());
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stream) = self.child.stderr.take() {
            stream.read_to_string(&mut text).unwrap();
        }
        text
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
