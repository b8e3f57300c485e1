//! The proof that a frame is the decoder's buffer: addresses are compared, not promises.

use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer_video as gst_video;
use kerbside_camera::render::{Encoding, Scene};
use kerbside_channel::{WhenFull, edge};
use kerbside_core::frame::Frame;
use kerbside_core::time::WallTime;
use kerbside_telemetry::{CameraMetrics, Telemetry};

use crate::{CameraSource, Pace, Source};

const FRAMES: usize = 20;

/// The frames of a clip; the address of the luma in each buffer that the decoder gave; bytes counted as copied.
fn decode(scene: Scene) -> (Vec<Frame>, Vec<usize>, f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mkv");
    scene.render(&path).unwrap();
    let telemetry = Telemetry::new();
    let (sender, receiver) = edge(&telemetry, "slot", 64, WhenFull::Block);
    let metrics = CameraMetrics::new(&telemetry, "plaza");
    let pace = Pace::AsFastAsPossible { first_frame_at: WallTime::UNIX_EPOCH };
    let source = CameraSource { name: "plaza".to_owned(), source: Source::File { path, pace }, analyse_fps: 10.0 };
    let given = Arc::new(Mutex::new(Vec::new()));
    let tell = {
        let given = Arc::clone(&given);
        move |buffer: &gst::BufferRef| {
            let offset = buffer.meta::<gst_video::VideoMeta>().map_or(0, |meta| meta.offset()[0]);
            let map = buffer.map_readable().unwrap();
            given.lock().unwrap().push(map.as_slice().as_ptr() as usize + offset);
        }
    };
    let camera = crate::supervisor::start_watched(source, sender, metrics.clone(), Box::new(tell)).unwrap();
    let frames: Vec<Frame> = std::iter::from_fn(|| receiver.receive()).collect();
    camera.join().unwrap();
    let given = std::mem::take(&mut *given.lock().unwrap());
    assert_eq!((frames.len(), given.len()), (FRAMES, FRAMES));
    (frames, given, metrics.pixels_copied.value())
}

fn luma(frame: &Frame) -> usize {
    frame.luma().bytes.as_ptr() as usize
}

#[test]
fn a_frame_is_the_buffer_that_the_decoder_wrote() {
    for encoding in [Encoding::H264, Encoding::H264Reordered, Encoding::H265] {
        for (width, height) in [(336, 240), (322, 242)] {
            let (frames, given, copied) = decode(Scene { encoding, width, height, ..Scene::default() });
            let addresses: Vec<usize> = frames.iter().map(luma).collect();
            assert_eq!(addresses, given, "{encoding:?} {width}x{height}");
            assert_eq!(copied, 0.0);
        }
    }
}

#[test]
fn the_decoder_writes_into_the_buffer_of_the_frame_and_not_into_one_of_its_own() {
    for encoding in [Encoding::H264, Encoding::H265] {
        let (frames, ..) = decode(Scene { encoding, width: 336, height: 240, ..Scene::default() });
        for frame in frames {
            // libav wants rows of multiples of 32 bytes; a buffer that it copies into has rows of 336.
            let stride = frame.luma().stride;
            assert!(stride > 336 && stride.is_multiple_of(32), "{encoding:?}: stride {stride}");
        }
    }
}

#[test]
fn a_picture_that_has_to_be_converted_is_another_buffer_and_is_counted() {
    let encoding = Encoding::H264Chroma422;
    let (frames, given, copied) = decode(Scene { encoding, width: 336, height: 240, ..Scene::default() });
    // Otherwise the comparison above would prove nothing.
    assert!(frames.iter().map(luma).zip(given).all(|(frame, given)| frame != given));
    assert_eq!(copied, (FRAMES * 336 * 240 * 3 / 2) as f64);
}
