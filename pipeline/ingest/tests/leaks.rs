//! What a camera that comes and goes leaves behind. Alone in its process: it counts threads and files.

mod common;

use std::time::{Duration, Instant};

use common::{Camera, clip, quick, stream};
use kerbside_camera::render::Scene;
use kerbside_camera::{CameraServer, Options};
use kerbside_ingest::Limits;

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("Linux tells a process about itself").count()
}

#[test]
fn a_camera_that_comes_and_goes_leaves_no_thread_and_no_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "clip.mkv", Scene { fps: (20, 1), ..Scene::default() });
    let server = CameraServer::start(&[path], &Options::default()).unwrap();
    let limits =
        Limits { shortest_pause: Duration::from_millis(10), longest_pause: Duration::from_millis(20), ..quick() };
    let camera = Camera::start(stream(&server.urls()[0]), 20.0, limits).unwrap();
    let mut run = camera.next().run;
    let mut come_and_go = |times| {
        for _ in 0..times {
            server.disconnect_clients();
            run = camera.until("is of another run", |frame| frame.run > run).run;
        }
        // Threads that end are counted until they have.
        let begin = Instant::now();
        let mut least = (usize::MAX, usize::MAX);
        while begin.elapsed() < Duration::from_millis(500) {
            least.0 = least.0.min(count("/proc/self/task"));
            least.1 = least.1.min(count("/proc/self/fd"));
            std::thread::sleep(Duration::from_millis(10));
        }
        least
    };
    let (threads, files) = come_and_go(5);
    let (threads_later, files_later) = come_and_go(20);
    assert!(threads_later <= threads + 3, "{threads} threads became {threads_later}");
    assert!(files_later <= files + 5, "{files} files became {files_later}");
}
