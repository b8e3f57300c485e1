//! No pixel is copied on its way from the decoder's planes to the network's input.
//!
//! A copy needs memory to copy to. This binary counts what is allocated while a frame's input is written: nothing,
//! once the writer knows the kind of frame.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use kerbside_core::frame::{ColourMatrix, Frame, FrameHeader, OwnedPlanes, PictureSize, PixelFormat};

use kerbside_vision::input::{ColourOrder, InputWriter, PackedRows, PixelScale, Quantiser};
use kerbside_vision::placement::Placement;

thread_local! {
    /// Bytes that this thread has asked for so far.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|bytes| bytes.set(bytes.get() + layout.size()));
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

fn allocated_by(work: impl FnOnce()) -> usize {
    let before = ALLOCATED.with(Cell::get);
    work();
    ALLOCATED.with(Cell::get) - before
}

#[test]
fn writing_an_input_allocates_nothing_once_the_frames_are_known() {
    let scale = PixelScale { order: ColourOrder::Bgr, mean: [100.0; 3], deviation: [50.0; 3], padding: 114.0 };
    let mut writer = InputWriter::new(scale);
    let frames: Vec<Frame> = [(768, PixelFormat::I420), (768, PixelFormat::Nv12), (1920, PixelFormat::Nv12)]
        .into_iter()
        .map(|(width, format)| {
            let header = FrameHeader {
                matrix: ColourMatrix::Bt709,
                ..FrameHeader::of_picture(PictureSize { width, height: 576 }, format, Instant::now())
            };
            Frame::new(header, Arc::new(OwnedPlanes::flat(header.size, format, 77, 64))).unwrap()
        })
        .collect();
    let placements: Vec<Placement> = frames.iter().map(|f| Placement::own_shape(f.size, 416, 32)).collect();
    let mut inputs: Vec<Vec<f32>> =
        placements.iter().map(|p| vec![0.0; 3 * (p.input.width * p.input.height) as usize]).collect();
    let mut bytes = vec![0; 4 * 416 * 416];
    let quantiser = Quantiser { scale: 0.02, zero: 110 };
    let mut write_all = || {
        for ((frame, placement), input) in frames.iter().zip(&placements).zip(&mut inputs) {
            writer.write_planar_f32(frame, placement, input).unwrap();
            let rows = PackedRows { bytes: &mut bytes, row_stride: 4 * 416 };
            writer.write_packed_u8(frame, placement, quantiser, rows).unwrap();
        }
    };
    assert!(allocated_by(&mut write_all) > 0, "the first frames need tables, or the counter counts nothing");
    assert_eq!(allocated_by(&mut write_all), 0);
}
