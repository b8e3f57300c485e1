//! What is accepted, and what it becomes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kerbside_config::{
    CameraSettings, DetectSettings, FileSource, RtspSource, Settings, Source, Transport, load, load_camera,
    models_folder,
};
use kerbside_core::detection::Class;
use kerbside_core::error::{Classified, ErrorKind};
use kerbside_core::geometry::{PointInImage, SiteId};
use kerbside_core::ground::PointOnGround;
use kerbside_core::privacy::{Privacy, Profile};

use super::{completed, parse, with_catalogue};

const MINUTE: Duration = Duration::from_secs(60);

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config")
}

/// A folder with `node` as the node's file and `cameras`, each completed.
fn site(node: &str, cameras: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("node.yaml"), node).unwrap();
    fs::create_dir(folder.path().join("cameras")).unwrap();
    for (name, text) in cameras {
        fs::write(folder.path().join(format!("cameras/{name}.yaml")), completed(text)).unwrap();
    }
    folder
}

fn read(folder: &Path) -> Settings {
    with_catalogue(|catalogue| load(folder, catalogue)).unwrap_or_else(|error| panic!("{error}"))
}

fn camera_like(defaults: &str, text: &str) -> CameraSettings {
    let folder = site(&format!("name: a\n{defaults}"), &[("plaza", text)]);
    read(folder.path()).cameras.remove(0)
}

fn rtsp(camera: &CameraSettings) -> &RtspSource {
    match &camera.source {
        Source::Rtsp(source) => source,
        Source::File(clip) => panic!("{clip:?}"),
    }
}

#[test]
fn the_example_camera_of_the_campus_path_means_what_its_comments_say() {
    let path = deploy().join("examples/campus-path.yaml");
    let camera = with_catalogue(|catalogue| load_camera(&path, catalogue)).unwrap();
    assert_eq!(rtsp(&camera).url.as_str(), "rtsp://10.0.4.21/stream2");
    assert_eq!(rtsp(&camera).credentials, None, "a replay needs no secrets");
    assert_eq!(camera.classes, [Class::Person]);
    assert_eq!((camera.analyse_fps, camera.detector.min_score), (10.0, 0.5));
    assert_eq!(camera.geometry.line("crossing").map(|(site, _)| site), Some(SiteId(0)));
    assert_eq!(camera.geometry.zone("square").map(|(site, _)| site), Some(SiteId(1)));
    let names: Vec<&str> = camera.operators.iter().map(|operator| operator.name).collect();
    assert_eq!(names, ["count_line", "measure_occupancy"]);
}

#[test]
fn the_example_site_is_accepted_and_writes_out_the_defaults() {
    let settings = read(&deploy().join("site"));
    let bare = site("name: kerb-1", &[("plaza-north", "")]);
    let bare = read(bare.path());
    assert_eq!(settings.node, bare.node);
    let (written, bare) = (&settings.cameras[0], &bare.cameras[0]);
    assert_eq!(written.analyse_fps, bare.analyse_fps);
    assert_eq!(written.detector, bare.detector);
    assert_eq!(written.classes, bare.classes);
    assert_eq!(written.privacy, bare.privacy);
}

#[test]
fn a_camera_that_says_little_gets_the_strictest_defaults() {
    let camera = parse("").unwrap();
    assert_eq!(camera.name, "plaza");
    assert_eq!(camera.detector.model, "nanodet-g", "the catalogue's first");
    assert!(!camera.classes.contains(&Class::Other));
    assert_eq!(camera.privacy, Privacy::of(Profile::Strict));
    assert_eq!(rtsp(&camera).transport, Transport::Tcp);
    assert_eq!(camera.ground, None);
}

#[test]
fn the_nodes_defaults_hold_key_by_key() {
    let defaults = "defaults: {analyse_fps: 5, detector: {model: tram-9, min_score: 0.6}, classes: [bus], \
                    privacy: {profile: standard, bins: {vehicle: 2m}}}";
    let silent = camera_like(defaults, "");
    assert_eq!((silent.analyse_fps, silent.detector.model.as_str()), (5.0, "tram-9"));
    assert_eq!((silent.classes.as_slice(), silent.privacy.bins.vehicle), (&[Class::Bus][..], 2 * MINUTE));

    let own = camera_like(
        defaults,
        "detector: {min_score: 0.3}\nprivacy: {bins: {person: 30m}}\nclasses: [car, person]",
    );
    assert_eq!((own.detector.model.as_str(), own.detector.min_score), ("tram-9", 0.3));
    assert_eq!(own.classes, [Class::Person, Class::Car], "in the order of the released dictionary");
    assert_eq!((own.privacy.bins.person, own.privacy.bins.vehicle), (30 * MINUTE, 2 * MINUTE));

    let strict = camera_like(defaults, "privacy: {profile: strict}");
    assert_eq!(strict.privacy, Privacy::of(Profile::Strict), "a profile brings its own values");

    let defaults = "defaults: {privacy: {epsilon: {passage: 0.33, passages_per_day: 6}, bounds: {track_max: 60s}, \
                    incidents: {max_per_day: 20}, display_k: 5}}";
    let Privacy { epsilon, bounds, incidents, display_k, .. } =
        camera_like(defaults, "privacy: {epsilon: {alert: 0.1}, bounds: {presence_max: 5s}}").privacy;
    assert_eq!((epsilon.passage, epsilon.count, epsilon.passages_per_day, epsilon.alert), (330, 220, 6, 100));
    assert_eq!((bounds.track_max, bounds.presence_max), (MINUTE, MINUTE / 12));
    assert_eq!((incidents.max_per_day, display_k), (20, 5));
    let lower = camera_like(defaults, "privacy: {epsilon: {passage: 0.11}}").privacy.epsilon;
    assert_eq!((lower.count, lower.occupancy, lower.speed), (73, 18, 18), "in the node's proportions");
}

#[test]
fn a_password_comes_from_its_file_and_is_not_printed() {
    let folder = site("name: a", &[("plaza", "credentials: {username: kerb, password: {file: ../password}}")]);
    let secret = folder.path().join("password");
    fs::write(&secret, "hunter2\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o440)).unwrap();
    let settings = read(folder.path());
    let credentials = rtsp(&settings.cameras[0]).credentials.as_ref().unwrap();
    assert_eq!((credentials.username.as_str(), credentials.password.expose()), ("kerb", "hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));

    let before = settings.revision;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&secret, "hunter3\n").unwrap();
    let after = read(folder.path());
    assert_eq!(after.revision, before, "a released number must not depend on a password");
    assert_ne!(rtsp(&after.cameras[0]).credentials.as_ref(), Some(credentials), "a reload sees the change");
}

#[test]
fn sources_of_every_kind_are_accepted() {
    let folder = site(
        "name: a",
        &[
            ("a", "source: clip@2.avi"),
            ("b", "source: RTSPS://[fd00::1]:8322/live?ch=1\ntls: {ca: ../ca.pem}"),
            ("c", "source: rtsp://camera-7.local\ntransport: udp"),
        ],
    );
    fs::write(folder.path().join("cameras/clip@2.avi"), "RIFF").unwrap();
    fs::write(folder.path().join("ca.pem"), "x\n-----BEGIN CERTIFICATE-----\n").unwrap();
    let settings = read(folder.path());
    let path = folder.path().canonicalize().unwrap().join("cameras/clip@2.avi");
    assert_eq!(settings.cameras[0].source, Source::File(FileSource { path }));
    let tls = rtsp(&settings.cameras[1]);
    assert_eq!(tls.url.as_str(), "rtsps://[fd00::1]:8322/live?ch=1");
    assert_eq!(tls.tls_ca, Some(folder.path().join("cameras/../ca.pem")));
    assert_eq!(rtsp(&settings.cameras[2]).transport, Transport::Udp);
}

#[test]
fn the_node_is_read_with_its_units_and_paths() {
    let text = "name: kerb-2\nmetrics: {address: '[::1]:9601', socket: /run/kerbside/status.sock}\nsetup: {at_most: 30m}\ndetect: {threads: 3, threads_per_frame: 2}\nmodels: weights\n\
                spool: {folder: spool, max_bytes: 2GiB, sync_interval: 500ms, keep: 7d}";
    let folder = site(text, &[("plaza", "")]);
    assert_eq!(models_folder(folder.path()), None, "it does not exist yet");
    fs::create_dir(folder.path().join("weights")).unwrap();
    assert_eq!(models_folder(folder.path()), Some(folder.path().join("weights")));
    let node = read(folder.path()).node;
    assert_eq!(node.name, "kerb-2");
    assert_eq!(node.detect, DetectSettings { threads: 3, threads_per_frame: 2 });
    assert_eq!(node.metrics_address.to_string(), "[::1]:9601");
    assert_eq!(node.metrics_socket.as_deref(), Some(Path::new("/run/kerbside/status.sock")));
    assert_eq!(node.setup, Some(Duration::from_secs(30 * 60)));
    assert_eq!(node.models, Some(folder.path().join("weights")));
    assert_eq!(node.spool.folder, folder.path().join("spool"));
    assert_eq!((node.spool.max_bytes, node.spool.sync_interval), (2 << 30, Duration::from_millis(500)));
    assert_eq!(node.spool.keep, Duration::from_secs(7 * 24 * 60 * 60));
}

#[test]
fn some_keys_of_the_node_are_read_only_when_it_starts() {
    let node = |text: &str| read(site(&format!("name: a\n{text}"), &[("plaza", "")]).path()).node;
    let fixed = "spool: {folder: /data/spool}";
    let before = node(fixed);
    // (what the file says now, keys that need a start)
    let table: [(&str, &[&str]); 5] = [
        (fixed, &[]),
        ("spool: {folder: /data/spool, max_bytes: 1GiB, keep: 1d, sync_interval: 2s}\nsetup: {at_most: 5m}", &[]),
        ("spool: {folder: /data/other}", &["spool.folder"]),
        ("spool: {folder: /srv/spool}", &["spool.folder", "learned.folder", "ledger.folder"]),
        (
            "spool: {folder: /data/spool}\nmetrics: {address: 127.0.0.1:9602, socket: /run/s}",
            &["metrics.address", "metrics.socket"],
        ),
    ];
    for (text, keys) in table {
        assert_eq!(node(text).fixed_keys_changed(&before), keys, "{text}");
    }
}

#[test]
fn the_ledger_lies_beside_the_spool_unless_it_is_told_where() {
    let folder = |more: &str| {
        let site = site(&format!("name: a\nspool: {{folder: /data/spool}}\n{more}"), &[("plaza", "")]);
        read(site.path()).node.ledger_folder
    };
    assert_eq!(folder(""), Path::new("/data/ledger"));
    assert_eq!(folder("ledger: {folder: /safe/privacy}"), Path::new("/safe/privacy"));
}

#[test]
fn pc_10_a_cameras_budget_follows_its_source_and_nothing_else() {
    let uid = |text: &str| camera_like("", text).source.uid();
    let plain = uid("source: rtsp://10.0.4.21/stream2");
    for same in [
        "source: rtsp://10.0.4.21:554/stream2\ntransport: udp",
        "source: RTSP://10.0.4.21/stream2\nanalyse_fps: 3\nclasses: [car]",
        "source: rtsp://10.0.4.21/stream2\ngeometry: {lines: {crossing: {from: [0.2, 0.6], to: [0.9, 0.5]}}}",
    ] {
        assert_eq!(uid(same), plain, "{same}");
    }
    for other in ["rtsp://10.0.4.22/stream2", "rtsp://10.0.4.21:8554/stream2", "rtsp://10.0.4.21/stream1"] {
        assert_ne!(uid(&format!("source: {other}")), plain, "{other}");
    }
    // It is in the ledger's file: another way to make it would free every budget.
    let hex: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "16ed005909c76dfaf8b9c8f4fdcefe57");
}

#[test]
fn detectors_share_the_machine_where_their_number_is_not_written() {
    let parallelism = std::thread::available_parallelism().unwrap().get();
    let threads = |detect: &str| {
        let node = read(site(&format!("name: a\n{detect}"), &[("plaza", "")]).path()).node;
        (node.detect.threads, node.detect.threads_per_frame)
    };
    assert_eq!(threads(""), (parallelism, 1));
    assert_eq!(threads("detect: {threads: 0}"), (parallelism, 1));
    assert_eq!(threads("detect: {threads_per_frame: 2}"), ((parallelism / 2).max(1), 2));
    assert_eq!(threads("detect: {threads: 0, threads_per_frame: 64}"), ((parallelism / 64).max(1), 64));
    assert_eq!(threads("detect: {threads: 7, threads_per_frame: 64}"), (7, 64));
}

#[test]
fn the_revision_changes_with_every_file_and_the_cameras_only_with_what_it_uses() {
    let of = |node: &str, a: &str, b: &str| {
        let settings = read(site(node, &[("a", a), ("b", b)]).path());
        (settings.revision, settings.cameras[0].revision, settings.cameras[1].revision)
    };
    let (whole, first, second) = of("name: x", "source: rtsp://a/", "source: rtsp://b/");
    assert_ne!(first, second);
    assert_eq!(of("name: x", "source: rtsp://a/", "source: rtsp://b/"), (whole, first, second));

    let (other, a, b) = of("name: x", "source: rtsp://a/ #", "source: rtsp://b/");
    assert!(other != whole && a != first && b == second, "one camera's file");
    let (other, a, b) = of("name: y", "source: rtsp://a/", "source: rtsp://b/");
    assert!(other != whole && a == first && b == second, "the node's name");
    let (other, a, b) = of("name: x\ndefaults: {analyse_fps: 9}", "source: rtsp://a/", "source: rtsp://b/");
    assert!(other != whole && a != first && b != second, "the cameras' defaults");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let folder = site("\u{FEFF}name: kerb-1\r\ndetect:\r\n  threads: 2\r\n", &[("plaza", "")]);
    let node = read(folder.path()).node;
    assert_eq!((node.name.as_str(), node.detect.threads), ("kerb-1", 2));
}

#[test]
fn lines_and_zones_are_what_the_file_says() {
    let points = |points: &[(f32, f32)]| points.iter().map(|&(x, y)| PointInImage { x, y }).collect::<Vec<_>>();
    let path = deploy().join("examples/campus-path.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let geometry = "geometry:\n  lines:\n    crossing: {from: [0.1, 0.62], to: [0.88, 0.55]}\n  zones:\n    \
                    square: {polygon: [[0.1, 0.4], [0.9, 0.35], [0.95, 0.9], [0.5, 0.5]]}\n";
    let camera = parse(&completed(geometry)).unwrap_or_else(|error| panic!("{error}"));
    let (_, zone) = camera.geometry.zone("square").unwrap();
    assert_eq!(zone.corners, points(&[(0.1, 0.4), (0.9, 0.35), (0.95, 0.9), (0.5, 0.5)]));
    let (_, line) = camera.geometry.line("crossing").unwrap();
    assert_eq!([line.from, line.to], points(&[(0.1, 0.62), (0.88, 0.55)])[..]);

    let example = with_catalogue(|catalogue| load_camera(&path, catalogue)).unwrap();
    let (_, zone) = example.geometry.zone("square").unwrap();
    for corner in &zone.corners {
        let written = format!("[{:.2}, {:.2}]", corner.x, corner.y);
        assert!(text.contains(&written), "{written} is not in the file");
    }
}

#[test]
fn the_ground_is_kept() {
    let text = "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  ground:\n    \
                image: [[0, 0], [1, 0], [1, 1], [0, 1]]\n    metres: [[0, 0], [12, 0], [12, 18.5], [-1, 18]]";
    let ground = parse(text).unwrap().ground.unwrap();
    let corner = ground.on_ground(PointInImage { x: 1.0, y: 1.0 }).unwrap();
    assert!(corner.distance(PointOnGround { x: 12.0, y: 18.5 }) < 1e-6, "{corner:?}");
}

#[test]
fn a_refused_configuration_is_for_a_person_to_change() {
    assert_eq!(parse("colour: red").unwrap_err().kind(), ErrorKind::Config);
}
