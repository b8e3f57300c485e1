//! Bytes of pixels that are copied between the decoder and the network's input: none.
//!
//! The real path, on the real clip: ingest, the edge, the detector. Three things together leave no room
//! for a copy. Ingest counts the bytes of every picture that is not the decoder's own buffer. A frame's
//! planes keep their address from ingest to the detector. And writing the network's input, once warm,
//! allocates nothing: a copy would need memory to copy to.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use kerbside_channel::{WhenFull, edge};
use kerbside_core::frame::Frame;
use kerbside_core::time::WallTime;
use kerbside_ingest::{CameraSource, CameraStatus, Pace, Source};
use kerbside_models::{ModelFolder, Stage};
use kerbside_telemetry::{CameraMetrics, Telemetry};

thread_local! {
    /// Bytes that this thread has asked for so far.
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|bytes| bytes.set(bytes.get() + layout.size() as u64));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where a frame's planes lie.
fn addresses(frame: &Frame) -> [usize; 3] {
    [0, 1, 2].map(|plane| frame.plane(plane).bytes.as_ptr() as usize)
}

#[test]
fn no_byte_of_a_picture_is_copied_between_the_decoder_and_the_networks_input() {
    const FRAMES: usize = 12;
    /// The first frames make plans, tables and buffers.
    const WARM_UP: usize = 2;

    let telemetry = Telemetry::new();
    let metrics = CameraMetrics::new(&telemetry, "campus");
    let (sender, frames) = edge(&telemetry, "campus/slot", 2, WhenFull::Block);
    let pace = Pace::AsFastAsPossible { first_frame_at: WallTime::UNIX_EPOCH };
    let source = Source::File { path: common::vtest(), pace };
    let source = CameraSource { name: "campus".to_owned(), source, analyse_fps: 60.0 };
    let camera = kerbside_ingest::start(source, sender, metrics.clone(), Arc::new(CameraStatus::new())).unwrap();
    let models = ModelFolder::open(&common::root().join("models")).unwrap();
    let mut detector = models.load("nanodet-g").unwrap().detector();
    let mut detections = Vec::with_capacity(1000);

    let mut copied = 0;
    for number in 0..FRAMES {
        let before = ALLOCATED.with(Cell::get);
        let frame = frames.receive().unwrap();
        let planes = addresses(&frame);
        // As the lane does: the detector gets the same picture, not another one.
        let shared = frame.clone();
        let mut until_input = None;
        detector
            .detect_in_stages(&shared, &mut detections, &mut |stage| {
                if stage == Stage::Input {
                    until_input = Some(ALLOCATED.with(Cell::get) - before);
                }
            })
            .unwrap();
        assert_eq!(addresses(&shared), planes);
        if number >= WARM_UP {
            copied += until_input.unwrap();
        }
    }
    assert!(!detections.is_empty(), "the clip shows people in every frame");
    camera.stop();
    drop(frames);
    camera.join().unwrap();
    assert_eq!(metrics.pixels_copied.value(), 0.0);
    assert_eq!(copied, 0, "bytes allocated on the way from the edge to the network's input");
}
