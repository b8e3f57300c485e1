//! A17: what a node leaves behind that was killed in the middle of its work, and that it leaves no core.
//!
//! A core file holds every frame in memory. Whether the kernel wrote one is asked of the kernel itself (`WCOREDUMP`),
//! since its place depends on the machine.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::common::Running;
use crate::pixels::{camera, camera_file};
use crate::scan::{find, pictures};
use crate::site::Site;

#[test]
fn a_17_kill_9_leaves_no_picture_on_the_disk() {
    let clips = tempfile::tempdir().unwrap();
    let (_server, tap) = camera(clips.path(), true);
    let mut site = Site::new(&[("plaza", camera_file(tap.port))]);
    site.start(&["--log", "trace", "--bin", "2s"]);
    site.wait_for("someone is seen", |site| site.released("incident.v1") >= 1.0 && site.released("agg.v1") >= 8.0);
    if let Some(found) = site.outlets(&[tap.port]) {
        assert!(found.is_empty(), "{found:?}");
    }
    site.running.take().unwrap().kill();

    let left = site.files();
    let names: Vec<&str> = left.iter().map(|piece| piece.name.as_str()).collect();
    println!("{names:#?}");
    for name in &names {
        // Its own folders, the test's redirection of its log, and what GStreamer keeps in the cache folder of whoever
        // runs it: the list of its plugins, and a flag of the library for settings that it asks for proxies.
        // Nothing in its working directory or the place for temporary files.
        let known = ["spool/", "ledger/", "learned/", "home/gstreamer-1.0/registry.", "home/dconf/user"];
        assert!(*name == "node.log" || known.iter().any(|known| name.starts_with(known)), "{names:?}");
    }
    assert!(names.iter().any(|name| name.starts_with("spool/incident.v1/")), "{names:?}");
    let found: Vec<String> = left.iter().flat_map(pictures).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_17_a_crash_leaves_no_core() {
    let limit = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    // The control: on this machine, with these limits, a program does leave a core.
    let folder = tempfile::tempdir().unwrap();
    let mut other = Running(Command::new("sleep").arg("1000").current_dir(folder.path()).spawn().unwrap());
    other.signal(Signal::ABORT);
    let dumps = other.0.wait().unwrap().core_dumped();
    println!("cores are written on this machine: {dumps}");
    assert!(dumps || limit.maximum == Some(0), "the control wrote no core though the limit allows it");

    let clips = tempfile::tempdir().unwrap();
    let (_server, tap) = camera(clips.path(), true);
    for signal in [Signal::ABORT, Signal::SEGV] {
        let mut site = Site::new(&[("plaza", camera_file(tap.port))]);
        site.start(&[]);
        site.wait_for("frames", |site| site.metric("kerbside_frames_analysed_total{camera=\"plaza\"}") > 2.0);
        let mut running = site.running.take().unwrap();
        let status = loop {
            // The runtime of the language takes the first SIGSEGV that is no fault for a mistake and lets it pass.
            running.signal(signal);
            if let Some(status) = wait_a_little(&mut running) {
                break status;
            }
        };
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(!status.core_dumped(), "{signal:?} left a core");
        for piece in site.files() {
            let name = piece.name.rsplit('/').next().unwrap_or_default().to_owned();
            assert!(!name.starts_with("core"), "{}", piece.name);
            assert!(!piece.bytes.starts_with(b"\x7fELF"), "{} is a program or a core", piece.name);
            assert!(
                find(&piece.bytes, b"\x7fELF\x02\x01\x01").is_none() || name.starts_with("registry"),
                "{}",
                piece.name
            );
        }
    }
}

fn wait_a_little(running: &mut Running) -> Option<std::process::ExitStatus> {
    for _ in 0..100 {
        if let Some(status) = running.0.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    None
}
