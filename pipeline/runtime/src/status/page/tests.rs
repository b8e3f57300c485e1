use super::*;
use crate::status::assets;
use crate::status::snapshot::{BinView, CameraView};
use kerbside_core::camera::CameraState;
use kerbside_core::time::WallTime;

fn camera(name: &str) -> CameraView {
    let to = WallTime::parse_rfc3339("2026-11-29T08:15:00Z").unwrap();
    let bin = |direction, value, noise_b| BinView {
        site: "crossing".to_owned(),
        measure: "crossing_count",
        class: "person",
        direction,
        bucket: 0,
        unit: "count",
        value,
        noise_b,
        from: to - Duration::from_secs(900),
        to,
        coverage: 0.7,
    };
    CameraView {
        name: name.to_owned(),
        state: CameraState::Up,
        tampered: Vec::new(),
        trouble: None,
        fps_in: Some(10.0),
        fps_analysed: Some(9.9),
        analyse_fps: 10.0,
        last_frame_age: Some(Duration::from_millis(80)),
        latency: Some((Duration::from_millis(40), Duration::from_millis(90))),
        coverage: Some(1.0),
        reconnects: 0,
        profile: "strict",
        budget_milli: Some((620, 660)),
        model: "nanodet-g".to_owned(),
        bins: vec![bin("forward", Some(42), 4.545), bin("backward", None, 4.545), bin("none", Some(7), 0.0)],
    }
}

fn node(cameras: &[&str]) -> Snapshot {
    let now = WallTime::parse_rfc3339("2026-11-29T08:20:00Z").unwrap();
    Snapshot {
        node: "kerb-1".to_owned(),
        software: "kerbside 0.1.0".to_owned(),
        now,
        uptime: Duration::from_secs(7200),
        not_ready: Vec::new(),
        hung: Vec::new(),
        cameras: cameras.iter().map(|name| camera(name)).collect(),
        spool: SpoolView {
            bytes: 40 << 20,
            max_bytes: 512 << 20,
            oldest_age: Some(Duration::from_secs(60)),
            unsynced_rows: 0,
            dropped_rows: 0,
            is_healthy: true,
            ledger_is_healthy: true,
            disk_free: Some(9 << 30),
            disk_size: Some(20 << 30),
        },
        uplink: Some(UplinkView {
            gateway: "gateway.example:8443".to_owned(),
            is_connected: true,
            waiting_rows: 0,
            lag: Duration::ZERO,
            certificate_left: Some(Duration::from_secs(90 * 24 * 3600)),
        }),
        machine: MachineView {
            cpu_busy: Some(0.4),
            memory_available: Some(3 << 30),
            memory_total: Some(8 << 30),
            process_memory: Some(600 << 20),
            temperature_celsius: Some(55.0),
            watts: Some(11.0),
            clock_is_synchronised: true,
        },
        config: ConfigView { revision: 0xab12, applied: now - Duration::from_secs(7200), refused: Vec::new() },
        setup: SetupView::Forbidden,
        is_demonstration: false,
        is_insecure: false,
    }
}

fn summary(snapshot: &Snapshot) -> String {
    problems::summary(snapshot, &problems::problems(snapshot))
}

#[test]
fn the_first_sentence_says_whether_all_is_well() {
    let mut snapshot = node(&["a", "b", "c"]);
    assert_eq!(summary(&snapshot), "All 3 cameras are seen and rows reach the city.");
    assert_eq!(problems::problems(&snapshot), []);
    snapshot.machine.clock_is_synchronised = false;
    assert_eq!(summary(&snapshot), "All 3 cameras are seen and rows reach the city. One thing wants a look.");
    snapshot.cameras[1].state = CameraState::Connecting;
    snapshot.cameras[1].last_frame_age = Some(Duration::from_secs(185));
    snapshot.cameras[1].trouble = Some(("the camera refuses the connection".to_owned(), Duration::from_secs(2)));
    assert_eq!(
        summary(&snapshot),
        "b has not been connected for 3 min: the camera refuses the connection. There is more: 1 problem."
    );
    let alone = Snapshot { uplink: None, ..node(&["a"]) };
    assert_eq!(summary(&alone), "The camera is seen; rows stay here, since no gateway is configured.");
}

#[test]
fn every_state_has_words_a_shape_and_unless_all_is_well_a_sentence() {
    for state in CameraState::ALL {
        let mut snapshot = node(&["plaza"]);
        snapshot.cameras[0].state = state;
        snapshot.cameras[0].tampered = vec!["covered"];
        let page = render(&snapshot);
        assert!(page.contains(&format!("</svg>{}</p>", words::state(state))), "{state:?}");
        let problems = problems::problems(&snapshot);
        match state {
            CameraState::Up => assert_eq!(problems, []),
            _ => {
                assert_eq!(problems.len(), 1, "{state:?}");
                assert!(problems[0].is_grave && problems[0].text.starts_with("plaza "), "{problems:?}");
                assert!(page.contains("id=\"camera-plaza\"") && page.contains("href=\"#camera-plaza\""));
            }
        }
        assert!(!page.contains(state.name()) || !state.name().contains('_'), "{state:?}: a word of the tables");
    }
}

/// What is wrong with a node, and the beginning of what the page says.
type Fault = (fn(&mut Snapshot), &'static str);

#[test]
fn each_fault_is_said() {
    let faults: [Fault; 15] = [
        (|node| node.spool.is_healthy = false, "Rows cannot be written"),
        (|node| node.spool.ledger_is_healthy = false, "The privacy ledger"),
        (|node| node.spool.dropped_rows = 1, "1 row was lost"),
        (|node| node.spool.bytes = 500 << 20, "The spool is 98 % full"),
        (|node| node.spool.disk_free = Some(1 << 29), "Only 512\u{a0}MiB of the disk"),
        (
            |node| node.uplink.as_mut().unwrap().is_connected = false,
            "The gateway gateway.example:8443 is not reachable",
        ),
        (|node| node.uplink.as_mut().unwrap().lag = LATE, "The city lags behind by 1 h"),
        (
            |node| node.uplink.as_mut().unwrap().certificate_left = Some(Duration::ZERO),
            "The node's certificate is no",
        ),
        (|node| node.uplink.as_mut().unwrap().certificate_left = Some(LATE), "The node's certificate ends in 1 h"),
        (|node| node.hung = vec!["plaza/lane".to_owned()], "The stage plaza/lane"),
        (|node| node.not_ready = vec!["no camera is up".to_owned()], "The node is not ready: no camera is up."),
        (|node| node.machine.temperature_celsius = Some(99.0), "The processor is at 99 °C"),
        (|node| node.machine.memory_available = Some(1 << 20), "Only 1.0\u{a0}MiB of memory"),
        (
            |node| node.config.refused = vec!["a.yaml:1:1: b: c".to_owned()],
            "The configuration on the disk is refused",
        ),
        (|node| node.cameras[0].fps_analysed = Some(3.0), "Of plaza only 3.0 of 10.0 frames"),
    ];
    for (spoil, said) in faults {
        let mut snapshot = node(&["plaza"]);
        spoil(&mut snapshot);
        let problems = problems::problems(&snapshot);
        let [problem] = problems.as_slice() else { panic!("{said}: {problems:?}") };
        assert!(problem.text.starts_with(said), "{}", problem.text);
        let page = render(&snapshot);
        assert!(page.contains(&format!("id=\"{}\"", problem.place)), "{said}: its place is not on the page");
    }
}

const LATE: Duration = Duration::from_secs(3600);

#[test]
fn what_is_being_connected_by_a_node_that_has_just_started_is_no_grave_problem() {
    let mut snapshot = node(&["plaza"]);
    snapshot.uptime = Duration::from_secs(3);
    snapshot.cameras[0].state = CameraState::Connecting;
    snapshot.cameras[0].last_frame_age = None;
    snapshot.uplink.as_mut().unwrap().is_connected = false;
    let problems = problems::problems(&snapshot);
    assert!(problems.iter().all(|problem| !problem.is_grave) && problems.len() == 2, "{problems:?}");
    assert!(summary(&snapshot).starts_with("No camera is seen yet. 2 things"), "{}", summary(&snapshot));
    assert!(render(&snapshot).contains("</svg>connecting</p>"));
    snapshot.uptime = Duration::from_secs(60);
    assert!(problems::problems(&snapshot)[0].is_grave);
}

#[test]
fn numbers_have_their_noise_and_small_ones_are_not_shown() {
    let page = render(&node(&["plaza"]));
    assert!(page.contains("42 <span class=\"noise\">±\u{202f}14</span>"), "{page}");
    assert!(page.contains("too few to show"));
    assert!(page.contains("<td class=\"number\">7</td>"), "an exact number has no noise");
    assert!(page.contains("UTC</time>, partly seen"));
    let mut snapshot = node(&["plaza"]);
    snapshot.cameras[0].bins[1] =
        BinView { measure: "dwell_hist", bucket: 2, ..snapshot.cameras[0].bins[1].clone() };
    assert!(render(&snapshot).contains("<td>stays: people, backward, 15–60 s</td>"));
    snapshot.cameras[0].bins[0].value = Some(-3);
    assert!(render(&snapshot).contains("<td class=\"number\">0 "), "no number is below zero");
}

#[test]
fn text_from_outside_is_text() {
    let mut snapshot = node(&["plaza"]);
    let evil = "<script>alert('\"')</script>";
    snapshot.node = evil.to_owned();
    snapshot.cameras[0].state = CameraState::Connecting;
    snapshot.cameras[0].trouble = Some((evil.to_owned(), Duration::ZERO));
    snapshot.config.refused = vec![format!("cameras/a.yaml:3:1: x: '{evil}'")];
    snapshot.not_ready = vec![evil.to_owned()];
    snapshot.hung = vec![evil.to_owned()];
    let page = render(&snapshot);
    assert!(!page.contains("<script>"), "{page}");
    assert!(page.contains("&lt;script&gt;"));
    assert_eq!(data_block("data", "{\"a\": \"</script>\"}").into_string().matches("</script>").count(), 1);
}

#[test]
fn the_page_has_no_picture_no_foreign_resource_and_nothing_inline() {
    let mut snapshot = node(&["plaza"]);
    snapshot.setup = SetupView::On { camera: "plaza".to_owned(), left: Duration::from_secs(60) };
    snapshot.is_demonstration = true;
    snapshot.is_insecure = true;
    let page = render(&snapshot);
    for absent in ["<img", "<video", "<canvas", "<image", "data:", "http://", "https://", " style=", " onclick"] {
        assert!(!page.contains(absent), "{absent}");
    }
    // The policy of the server's answers forbids scripts that are not files.
    assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=\"/assets/").count());
    for part in ["Demonstration. ", "Insecure. ", "Set-up mode is on. ", "<html lang=\"en\">", "<noscript>"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<h1").count(), 1);
    for named in page.split("\"/assets/").skip(1) {
        let name = named.split('"').next().unwrap_or_default();
        assert!(assets::asset(name).is_some(), "{name} is not there");
    }
}

#[test]
fn the_page_is_small() {
    let page = render(&node(&["north", "south", "east", "west"]));
    let files = ["page.css", "page.js"].map(|name| assets::asset(name).unwrap().1);
    let bytes = page.len() + files.map(str::len).iter().sum::<usize>();
    assert!(bytes < 40_000, "{bytes} bytes");
}
