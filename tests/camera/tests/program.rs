//! The library's clips and the program around them.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kerbside_camera::render::{Encoding, Scene};
use kerbside_camera::{CameraError, CameraServer, Clip, Codec, Mount, Options};

fn rendered(folder: &Path, encoding: Encoding) -> std::path::PathBuf {
    let path = folder.join(format!("{encoding:?}.mkv"));
    Scene { encoding, fps: (25, 1), pictures: 50, ..Scene::default() }
        .render(&path)
        .expect("the test clip is rendered");
    path
}

#[test]
fn clips_are_encoded_only_where_they_have_to_be_and_keep_their_pictures() {
    let folder = tempfile::tempdir().unwrap();
    for (encoding, fallback, codec, encoded_here) in [
        (Encoding::H264, Codec::H265, Codec::H264, false),
        (Encoding::H265, Codec::H264, Codec::H265, false),
        (Encoding::H264Reordered, Codec::H264, Codec::H264, false),
        (Encoding::Mjpeg, Codec::H264, Codec::H264, true),
        (Encoding::Mjpeg, Codec::H265, Codec::H265, true),
    ] {
        let clip = Clip::read(&rendered(folder.path(), encoding), fallback).unwrap();
        assert_eq!((clip.codec(), clip.was_encoded_here()), (codec, encoded_here), "{encoding:?}");
        assert_eq!(clip.pictures(), 50, "{encoding:?}");
        let error = clip.duration().abs_diff(Duration::from_secs(2));
        // Pictures that are sent early for reordering prolong the clip by the reordering's delay.
        assert!(error <= Duration::from_millis(100), "{encoding:?}: {:?}", clip.duration());
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no video\n".repeat(1000)).unwrap();
    for path in [text, folder.path().join("missing.mp4")] {
        let error = Clip::read(&path, Codec::H264).err().unwrap();
        assert!(matches!(error, CameraError::Clip { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    let clips = [Encoding::H264, Encoding::H265]
        .map(|encoding| Clip::read(&rendered(folder.path(), encoding), Codec::H264).unwrap().into());
    let mixed = Mount { name: "mixed".to_owned(), clips: clips.into() };
    let refused = CameraServer::start_mounts(vec![mixed.clone()], &Options::default());
    assert!(matches!(refused, Err(CameraError::MixedCodecs { .. })));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options { port: taken.local_addr().unwrap().port(), ..Options::default() };
    let one = Mount { clips: mixed.clips[..1].to_vec(), ..mixed };
    assert!(matches!(CameraServer::start_mounts(vec![one], &options), Err(CameraError::Port { .. })));
}

#[test]
fn the_program_prints_its_addresses_when_it_is_ready_and_ends_cleanly_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let clip = rendered(folder.path(), Encoding::H264);
    for signal in ["INT", "TERM"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kerbside-camera"))
            .args([&clip, &clip])
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(program.stdout.take().unwrap());
        let mut addresses = [String::new(), String::new()];
        for address in &mut addresses {
            output.read_line(address).unwrap();
        }
        let host = addresses[0].strip_prefix("rtsp://").and_then(|rest| rest.split('/').next()).unwrap();
        assert!(addresses[0].ends_with("/H264\n") && addresses[1].ends_with("/H264-2\n"), "{addresses:?}");
        assert!(TcpStream::connect(host).is_ok(), "{host}");
        let sent = Command::new("kill").args(["-s", signal, &program.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(program.wait().unwrap().code(), Some(0), "{signal}");
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}
