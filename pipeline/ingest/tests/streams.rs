//! Streams: what a camera may do to us, and what we do then.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Camera, clip, quick, stream, stream_with};
use kerbside_camera::render::{Encoding, Scene};
use kerbside_camera::{CameraServer, Clip, Codec, Mount, Options, Tls};
use kerbside_core::camera::CameraState;
use kerbside_core::frame::PictureSize;
use kerbside_core::time::MediaTime;
use kerbside_ingest::{IngestError, Limits, Source, Transport};
use kerbside_telemetry::DropReason;

/// 20 pictures a second, a key picture each second.
const SCENE: Scene = Scene {
    picture: kerbside_camera::render::Picture::Ball,
    width: 320,
    height: 240,
    fps: (20, 1),
    pictures: 40,
    encoding: Encoding::H264,
    sound: false,
};

fn mount(folder: &Path, name: &str, scene: Scene) -> Mount {
    let path = clip(folder, &format!("{name}.mkv"), scene);
    Mount {
        name: name.to_owned(),
        clips: vec![Arc::new(Clip::read(&path, Codec::H264).expect("the test clip is a clip"))],
    }
}

fn serve(folder: &Path, scene: Scene, options: &Options) -> (CameraServer, String) {
    let server = CameraServer::start_mounts(vec![mount(folder, "plaza", scene)], options);
    let server = server.expect("a free port is free");
    let url = server.urls().remove(0);
    (server, url)
}

#[test]
fn a_stream_gives_frames_over_both_transports_and_in_both_codecs() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in [Encoding::H264, Encoding::H265] {
        let scene = Scene { encoding, ..SCENE };
        let (server, url) = serve(folder.path(), scene, &Options::default());
        for way in [Transport::Tcp, Transport::Udp] {
            let Source::Rtsp { url, .. } = stream(&url) else { unreachable!("stream() gives a stream") };
            let source = Source::Rtsp { url, transport: way, credentials: None, ca_file: None };
            let camera = Camera::start(source, 20.0, quick()).unwrap();
            let first = camera.next();
            assert_eq!(first.run, 0, "{encoding:?} {way:?}");
            assert_eq!(first.size, PictureSize { width: 320, height: 240 });
            let later = camera.until("is two seconds younger", |frame| {
                assert!(frame.arrived <= Instant::now());
                frame.media_time >= MediaTime::from_millis(2100)
            });
            // Beyond the clip's seam the stream's clock still runs on.
            assert_eq!(later.run, 0, "{encoding:?} {way:?}");
            let behind = later.wall_time.since(first.wall_time);
            assert!(behind.abs_diff(later.media_time.since(first.media_time)) <= Duration::from_secs(1));
            camera.wait_for(CameraState::Up);
            assert_eq!(camera.metrics.pixels_copied.value(), 0.0);
            assert_eq!(camera.metrics.clock_jumps.value(), 0.0);
            assert_eq!(camera.metrics.reconnects.value(), 0.0);
        }
        server.stop();
    }
}

#[test]
fn a_camera_that_dies_is_connecting_at_once_and_comes_back_and_its_neighbour_notices_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plaza = mount(folder.path(), "plaza", SCENE);
    let server = CameraServer::start_mounts(vec![plaza.clone()], &Options::default()).unwrap();
    let (neighbour_server, neighbour_url) = serve(folder.path(), SCENE, &Options::default());
    let camera = Camera::start(stream(&server.urls()[0]), 20.0, Limits::DEFAULT).unwrap();
    let neighbour = Camera::start(stream(&neighbour_url), 20.0, Limits::DEFAULT).unwrap();
    let before = camera.next();
    neighbour.next();
    camera.wait_for(CameraState::Up);
    let port = server.port();
    server.stop();
    let noticed = camera.wait_for(CameraState::Connecting);
    assert!(noticed < Duration::from_secs(2), "after {noticed:?}");
    let server = CameraServer::start_mounts(vec![plaza], &Options { port, ..Options::default() }).unwrap();
    let returned = Instant::now();
    let after = camera.until("is of another run", |frame| frame.run == 1);
    // The second pause is at most 2.5 s.
    assert!(returned.elapsed() < Duration::from_secs(8), "after {:?}", returned.elapsed());
    assert!(after.media_time > before.media_time);
    assert!(after.sequence > before.sequence);
    camera.wait_for(CameraState::Up);
    assert!(camera.status.reconnects() >= 1);
    let seen = neighbour.until("is young", |frame| frame.media_time >= after.media_time - Duration::from_secs(1));
    assert_eq!((seen.run, neighbour.status.reconnects()), (0, 0));
    assert_eq!(neighbour.status.state(), CameraState::Up);
    server.stop();
    neighbour_server.stop();
}

#[test]
fn a_camera_that_dies_is_noticed_over_udp_too() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = serve(folder.path(), SCENE, &Options::default());
    let url = url.parse().unwrap();
    let source = Source::Rtsp { url, transport: Transport::Udp, credentials: None, ca_file: None };
    let camera = Camera::start(source, 20.0, Limits::DEFAULT).unwrap();
    camera.next();
    camera.wait_for(CameraState::Up);
    server.stop();
    let noticed = camera.wait_for(CameraState::Connecting);
    assert!(noticed < Duration::from_secs(2), "after {noticed:?}");
}

#[test]
fn a_camera_that_falls_silent_is_stalled_and_connected_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = serve(folder.path(), SCENE, &Options::default());
    let camera = Camera::start(stream(&url), 20.0, quick()).unwrap();
    camera.next();
    camera.wait_for(CameraState::Up);
    server.stall(true);
    camera.wait_for(CameraState::Stalled);
    assert_eq!(camera.metrics.stalls.value(), 1.0);
    server.stall(false);
    camera.until("is of another run", |frame| frame.run == 1);
    camera.wait_for(CameraState::Up);
    assert!(camera.metrics.reconnects.value() >= 1.0);
}

#[test]
fn a_refused_password_is_told_from_a_lost_camera_and_tried_rarely() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = Some(("kerbside".to_owned(), "richtig".to_owned()));
    let (server, url) = serve(folder.path(), SCENE, &Options { credentials, ..Options::default() });
    let limits = Limits { refused_pause: Duration::from_secs(3600), ..quick() };
    for source in [stream(&url), stream_with(&url, "falsch")] {
        let camera = Camera::start(source, 20.0, limits).unwrap();
        let begin = Instant::now();
        while camera.metrics.auth_failures.value() < 3.0 {
            assert!(begin.elapsed() < common::PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        camera.wait_for(CameraState::AuthFailed);
        // Four more of the short pauses would fit in here.
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(camera.metrics.auth_failures.value(), 3.0);
        assert_eq!(camera.status.reconnects(), 2);
    }
    let camera = Camera::start(stream_with(&url, "richtig"), 20.0, limits).unwrap();
    camera.next();
    camera.wait_for(CameraState::Up);
    assert_eq!(camera.metrics.auth_failures.value(), 0.0);
    drop(camera);
    server.stop();
}

#[test]
fn the_picture_may_change_its_size_in_mid_stream() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in [Encoding::H264, Encoding::H265] {
        let scene = Scene { encoding, pictures: 20, ..SCENE };
        let large = mount(folder.path(), "large", Scene { width: 642, height: 482, ..scene });
        let small = mount(folder.path(), "small", scene);
        let clips = vec![large.clips[0].clone(), small.clips[0].clone()];
        let both = Mount { name: "both".to_owned(), clips };
        let server = CameraServer::start_mounts(vec![both], &Options::default()).unwrap();
        let camera = Camera::start(stream(&server.urls()[0]), 20.0, quick()).unwrap();
        for (width, height) in [(642, 482), (320, 240), (642, 482)] {
            let size = PictureSize { width, height };
            let frame = camera.until("has the other size", |frame| frame.size == size);
            assert!(frame.luma().bytes.len() >= (width * height) as usize);
            assert_eq!(frame.run, 0);
        }
        assert_eq!(camera.status.reconnects(), 0);
        assert_eq!(camera.metrics.pixels_copied.value(), 0.0);
        drop(camera);
        server.stop();
    }
}

#[test]
fn pictures_that_miss_packets_are_dropped_and_counted_and_the_stream_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { lose_every: 7, ..Options::default() };
    let (server, url) = serve(folder.path(), SCENE, &options);
    let camera = Camera::start(stream(&url), 20.0, quick()).unwrap();
    let damaged = || camera.metrics.dropped(DropReason::Damaged).value();
    let before = camera.next().sequence;
    camera.until("comes after damage", |frame| frame.sequence > before && damaged() >= 1.0);
    assert!(camera.status.decode_errors() >= 1);
    assert!(camera.status.frames_dropped() >= 1);
    assert_eq!((camera.status.reconnects(), camera.metrics.clock_jumps.value()), (0, 0.0));
    drop(camera);
    server.stop();
}

#[test]
fn a_slow_reader_gets_the_newest_frame_and_every_other_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, url) = serve(folder.path(), SCENE, &Options::default());
    let camera = Camera::start(stream(&url), 10.0, quick()).unwrap();
    camera.next();
    let begin = Instant::now();
    while camera.status.frames_in() < 12 {
        assert!(begin.elapsed() < common::PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let newest = camera.next();
    assert!(newest.sequence >= 11);
    camera.handle.stop();
    let mut taken = 2;
    while camera.frames.receive().is_some() {
        taken += 1;
    }
    camera.handle.join().unwrap();
    let dropped = |reason| camera.metrics.dropped(reason).value() as u64;
    assert_eq!(camera.status.frames_in(), taken + dropped(DropReason::NewerFrame));
    let others = dropped(DropReason::RateCap) + dropped(DropReason::Damaged) + dropped(DropReason::Shutdown);
    assert_eq!(camera.status.frames_decoded(), camera.status.frames_in() + others);
    let ratio = camera.status.frames_decoded() as f64 / camera.status.frames_in() as f64;
    assert!((1.5..3.0).contains(&ratio), "20 of 10 frames a second: {ratio}");
}

#[test]
fn a_camera_stops_at_once_whatever_the_other_end_does() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (deaf_at, silent_at) = (deaf.local_addr().unwrap(), silent.local_addr().unwrap());
    let held = std::thread::spawn(move || silent.accept().map(|(connection, _)| connection));
    for (address, what) in [
        (deaf_at.to_string(), "never accepts"),
        (silent_at.to_string(), "accepts and says nothing"),
        (free.to_string(), "refuses"),
        ("192.0.2.1".to_owned(), "is not there"),
    ] {
        let camera = Camera::start(stream(&format!("rtsp://{address}/plaza")), 10.0, Limits::DEFAULT).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(camera.status.state(), CameraState::Connecting, "{what}");
        let begin = Instant::now();
        camera.handle.stop();
        assert!(camera.handle.join().unwrap().stopped);
        assert!(begin.elapsed() < Duration::from_secs(2), "{what}: {:?}", begin.elapsed());
        assert_eq!(camera.status.state(), CameraState::Disabled);
        assert!(camera.frames.receive().is_none());
    }
    drop(held.join().unwrap());
}

#[test]
fn a_redirect_to_another_host_is_not_followed_and_gets_no_credentials() {
    let camera_side = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = TcpListener::bind("127.0.0.2:0").unwrap();
    let target = format!("rtsp://{}/plaza", elsewhere.local_addr().unwrap());
    let url = format!("rtsp://{}/plaza", camera_side.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in camera_side.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = [0; 4096];
            while let Ok(length @ 1..) = connection.read(&mut request) {
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let sequence = text.lines().find(|line| line.starts_with("CSeq")).unwrap_or("CSeq: 1").to_owned();
                let answer = if text.starts_with("OPTIONS") {
                    format!("RTSP/1.0 200 OK\r\n{sequence}\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n")
                } else {
                    format!("RTSP/1.0 302 Moved\r\n{sequence}\r\nLocation: {target}\r\n\r\n")
                };
                if connection.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    let heard = std::thread::spawn(move || {
        elsewhere.set_nonblocking(true).unwrap();
        let begin = Instant::now();
        let mut heard = Vec::new();
        while begin.elapsed() < Duration::from_secs(2) {
            if let Ok((mut connection, _)) = elsewhere.accept() {
                connection.set_nonblocking(false).unwrap();
                connection.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let _ = connection.read_to_end(&mut heard);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        heard
    });
    let camera = Camera::start(stream_with(&url, "richtig"), 10.0, quick()).unwrap();
    camera.wait_for(CameraState::CodecUnsupported);
    let heard = heard.join().unwrap();
    assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
}

/// A self-signed certificate with its key; they protect nothing but these tests.
fn certificate(name: &str) -> Tls {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    Tls { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
}

#[test]
fn an_encrypted_camera_must_prove_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    // (the server's certificate, what we trust, whether we connect)
    for (shown, trusted, connects) in [
        ("loopback", Some("loopback"), true),
        // Somebody else's certificate.
        ("loopback", Some("elsewhere"), false),
        // The right certificate at the wrong address.
        ("elsewhere", Some("elsewhere"), false),
        // Nobody vouches for it.
        ("loopback", None, false),
    ] {
        let options = Options { tls: Some(certificate(shown)), ..Options::default() };
        let (server, url) = serve(folder.path(), SCENE, &options);
        assert!(url.starts_with("rtsps://"), "{url}");
        let source = Source::Rtsp {
            url: url.parse().unwrap(),
            transport: Transport::Tcp,
            credentials: None,
            ca_file: trusted.map(|name| certificate(name).certificate),
        };
        let camera = Camera::start(source, 20.0, quick()).unwrap();
        if connects {
            camera.next();
        } else {
            let begin = Instant::now();
            while camera.status.reconnects() < 2 {
                assert!(begin.elapsed() < common::PATIENCE);
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(camera.status.frames_decoded(), 0, "{shown} trusted by {trusted:?}");
        }
        drop(camera);
        server.stop();
    }
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for ca_file in [empty, folder.path().join("missing.pem")] {
        let source = Source::Rtsp {
            url: "rtsps://10.0.0.1/video".parse().unwrap(),
            transport: Transport::Tcp,
            credentials: None,
            ca_file: Some(ca_file),
        };
        assert!(matches!(Camera::start(source, 10.0, quick()), Err(IngestError::CaFile { .. })));
    }
}

#[test]
fn an_address_that_is_no_cameras_is_refused_at_the_start() {
    for (url, part) in [
        ("http://10.0.0.1/video", "rtsp://"),
        ("rtspt://10.0.0.1/video", "rtsp://"),
        ("rtsph://10.0.0.1/video", "rtsp://"),
        ("rtsp:///video", "host"),
        ("rtsp://user:geheim@10.0.0.1/video", "password"),
    ] {
        let error = Camera::start(stream(url), 10.0, Limits::DEFAULT).err().expect(url);
        assert!(matches!(error, IngestError::Address(_)), "{url}: {error}");
        let text = error.to_string();
        assert!(text.contains(part) && !text.contains("geheim") && !text.contains("10.0.0.1"), "{text}");
    }
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = Camera::start(stream("rtsp://10.0.0.1/video"), fps, Limits::DEFAULT);
        assert!(matches!(refused, Err(IngestError::FrameRate(_))), "{fps}");
    }
}
