//! Writes pictures to an MP4 file, for `kerbside replay --overlay`.
//!
//! ```text
//! appsrc ─▶ x264enc or openh264enc ─▶ h264parse ─▶ mp4mux ─▶ filesink
//! ```
//!
//! H.264 in 4:2:0, which every browser plays; no sound. Each picture keeps its time: what the clip's clock says
//! is what a player shows. The file is written beside its place as `NAME.partial` and gets its name when it is
//! whole. It is written in fragments until it is finished, so that even after a crash or a power cut the partial
//! file plays up to the last fragment.
//!
//! A node that runs has no use for this: see `ARCHITECTURE.md`, "Privacy boundary".
//! Threads: GStreamer's own encode and write. [`ClipWriter::write`] waits when they are behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use kerbside_core::frame::{ColourMatrix, ColourRange, PictureSize, Plane};
use kerbside_core::time::MediaTime;

use crate::error::IngestError;
use crate::pipeline::make;

/// Pictures that may wait for the encoder.
const WAITING: u64 = 4;
/// How long the encoder may take for the end.
const END_LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(60);
/// How much is lost at most when the process is killed, milliseconds.
const FRAGMENT_MILLIS: u32 = 2000;
/// Two pictures never share a moment, also where a clip says so: players would drop one.
const LEAST_STEP_NANOS: u64 = 1_000_000;
/// Seconds from one picture that players can jump to, to the next.
const KEY_PICTURE_SECS: f64 = 2.0;

/// One picture: I420, both sides even.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    /// When it is shown. Never before the picture before it.
    pub at: MediaTime,
    /// The same for all pictures of a file.
    pub size: PictureSize,
    /// Its colour matrix.
    pub matrix: ColourMatrix,
    /// Its value range.
    pub range: ColourRange,
    /// Luma, Cb, Cr.
    pub planes: [Plane<'a>; 3],
}

/// An MP4 file that is being written. Dropped before [`ClipWriter::finish`] it leaves nothing.
pub struct ClipWriter {
    path: PathBuf,
    partial: PathBuf,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    watch: Arc<Watch>,
    /// Pictures a second, about: for the encoder and the last picture's length.
    fps: f64,
    layout: Option<Layout>,
    /// The first picture's time, and the last picture's place in the file.
    times: Option<(MediaTime, u64)>,
    written: u64,
}

/// What all pictures of a file share.
struct Layout {
    info: gst_video::VideoInfo,
    pool: gst::BufferPool,
}

/// What GStreamer's threads tell the writer.
#[derive(Default)]
struct Watch {
    failure: Mutex<Option<String>>,
    news: Condvar,
}

/// Sets an encoder up for so many pictures a second.
type Configure = fn(&gst::Element, f64);

/// Encoders of H.264, best first.
const ENCODERS: [(&str, Configure); 2] = [("x264enc", configure_x264), ("openh264enc", configure_openh264)];

impl ClipWriter {
    /// Makes the file. `fps` is about how many pictures a second it will have.
    ///
    /// What can be known at once is checked here: GStreamer's plugins, and whether the file can be written.
    pub fn create(path: &Path, fps: f64) -> Result<Self, IngestError> {
        if gst::init().is_err() {
            return Err(IngestError::Missing { what: "its core library", package: "libgstreamer1.0-0" });
        }
        Self::create_with(require(|element| gst::ElementFactory::find(element).is_some())?, path, fps)
    }

    fn create_with(encoder: (&str, Configure), path: &Path, fps: f64) -> Result<Self, IngestError> {
        let (encoder, configure) = encoder;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // GStreamer would say the same later, in its own words.
        let cannot = |source| IngestError::Create { path: path.to_owned(), source };
        fs::File::create(&partial).map_err(cannot)?;

        let fps = if fps.is_finite() { fps.clamp(0.1, 240.0) } else { 25.0 };
        let source = gst_app::AppSrc::builder().format(gst::Format::Time).build();
        let encoder = make(encoder);
        configure(&encoder, fps);
        let (parse, mux, file) = (make("h264parse"), make("mp4mux"), make("filesink"));
        mux.set_property("fragment-duration", FRAGMENT_MILLIS);
        mux.set_property_from_str("fragment-mode", "first-moov-then-finalise");
        file.set_property("location", &partial);
        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), &encoder, &parse, &mux, &file];
        pipeline.add_many(chain).expect("fresh elements in a fresh pipeline");
        gst::Element::link_many(chain).expect("H.264 fits MP4");
        let watch = Arc::new(Watch::default());
        watch.observe(&pipeline, &source);
        let writer = Self {
            path: path.to_owned(),
            partial,
            pipeline,
            source,
            watch,
            fps,
            layout: None,
            times: None,
            written: 0,
        };
        // A failure is on the bus.
        let _ = writer.pipeline.set_state(gst::State::Playing);
        writer.check().map(|()| writer)
    }

    /// Appends a picture. Waits while the encoder is behind.
    pub fn write(&mut self, picture: &Picture<'_>) -> Result<(), IngestError> {
        let layout = match &mut self.layout {
            Some(layout) => layout,
            none => none.insert(
                Layout::of(picture, self.fps, &self.source)
                    .map_err(|reason| IngestError::Write { path: self.path.clone(), reason })?,
            ),
        };
        let (width, height) = (layout.info.width(), layout.info.height());
        if picture.size != (PictureSize { width, height }) {
            let PictureSize { width: other, height: rows } = picture.size;
            return Err(self.failed(format!(
                "the clip's pictures change from {width}x{height} to {other}x{rows}, and a file has one size"
            )));
        }
        let Some(mut buffer) = layout.fill(picture) else {
            return Err(self.failed("there is no memory for a picture".to_owned()));
        };
        let (first, after) = self.times.map_or((picture.at, 0), |(first, last)| (first, last + LEAST_STEP_NANOS));
        let place = (picture.at.since(first).as_nanos() as u64).max(after);
        self.times = Some((first, place));
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(gst::ClockTime::from_nseconds(place));
            buffer.set_duration(gst::ClockTime::from_seconds_f64(1.0 / self.fps));
        }
        self.watch.wait_for_room(&self.source, WAITING * buffer.size() as u64);
        self.check()?;
        // What keeps a buffer from being taken is an error on the bus.
        let _ = self.source.push_buffer(buffer);
        self.written += 1;
        self.check()
    }

    /// Ends the file and gives it its name, in place of any that was there. Without a picture there is no file.
    /// Gives back how many pictures it has.
    pub fn finish(self) -> Result<u64, IngestError> {
        if self.written == 0 {
            return Ok(0);
        }
        // As for a picture.
        let _ = self.source.end_of_stream();
        let news = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let ended = bus.timed_pop_filtered(END_LIMIT, &news);
        self.check()?;
        if ended.is_none() {
            return Err(self.failed("the encoder did not come to its end in time".to_owned()));
        }
        // The file is closed here; what it has was flushed before the end was told.
        let _ = self.pipeline.set_state(gst::State::Null);
        fs::rename(&self.partial, &self.path).map_err(|error| self.failed(error.to_string()))?;
        Ok(self.written)
    }

    fn check(&self) -> Result<(), IngestError> {
        self.watch.failure().map_or(Ok(()), |reason| Err(self.failed(reason)))
    }

    fn failed(&self, reason: String) -> IngestError {
        IngestError::Write { path: self.path.clone(), reason }
    }
}

impl Drop for ClipWriter {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        // After the rename there is nothing to remove.
        let _ = fs::remove_file(&self.partial);
    }
}

impl Layout {
    fn of(picture: &Picture<'_>, fps: f64, source: &gst_app::AppSrc) -> Result<Self, String> {
        let Picture { size, matrix, range, .. } = *picture;
        let range = match range {
            ColourRange::Limited => gst_video::VideoColorRange::Range16_235,
            ColourRange::Full => gst_video::VideoColorRange::Range0_255,
        };
        let (matrix, transfer, primaries) = match matrix {
            ColourMatrix::Bt601 => (
                gst_video::VideoColorMatrix::Bt601,
                // The same curve under another name.
                gst_video::VideoTransferFunction::Bt709,
                gst_video::VideoColorPrimaries::Smpte170m,
            ),
            ColourMatrix::Bt709 => (
                gst_video::VideoColorMatrix::Bt709,
                gst_video::VideoTransferFunction::Bt709,
                gst_video::VideoColorPrimaries::Bt709,
            ),
        };
        let colorimetry = gst_video::VideoColorimetry::new(range, matrix, transfer, primaries);
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, size.width, size.height)
            .fps(gst::Fraction::new((fps * 1000.0).round() as i32, 1000))
            .colorimetry(&colorimetry)
            .build();
        let layout = info.and_then(|info| {
            let caps = info.to_caps()?;
            source.set_caps(Some(&caps));
            let pool: gst::BufferPool = gst_video::VideoBufferPool::new().upcast();
            let mut config = pool.config();
            config.set_params(Some(&caps), info.size() as u32, WAITING as u32, 0);
            pool.set_config(config)?;
            pool.set_active(true)?;
            Ok(Self { info, pool })
        });
        layout.map_err(|_| format!("no file can have pictures of {}x{}", size.width, size.height))
    }

    /// A buffer with the picture's pixels.
    fn fill(&self, picture: &Picture<'_>) -> Option<gst::Buffer> {
        let mut buffer = self.pool.acquire_buffer(None).ok()?;
        {
            let target = buffer.get_mut()?;
            let mut target = gst_video::VideoFrameRef::from_buffer_ref_writable(target, &self.info).ok()?;
            for (index, plane) in (0u32..).zip(picture.planes) {
                let stride = usize::try_from(*target.plane_stride().get(index as usize)?).ok()?;
                let width = target.comp_width(index) as usize;
                let height = target.comp_height(index) as usize;
                let rows = target.plane_data_mut(index).ok()?.chunks_mut(stride).take(height);
                for (y, row) in rows.enumerate() {
                    row.get_mut(..width)?.copy_from_slice(plane.row(y, width));
                }
            }
        }
        Some(buffer)
    }
}

impl Watch {
    /// Hears of failures, and of buffers that have left the source.
    fn observe(self: &Arc<Self>, pipeline: &gst::Pipeline, source: &gst_app::AppSrc) {
        let watch = Arc::clone(self);
        let bus = pipeline.bus().expect("a pipeline has a bus");
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::Error(error) = message.view() {
                watch.fail(&error.error());
            }
            gst::BusSyncReply::Pass
        });
        let watch = Arc::clone(self);
        let pad = source.static_pad("src").expect("a source has a pad");
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            // Taking the lock puts this after the look of whoever is about to wait.
            drop(watch.failure.lock().unwrap_or_else(PoisonError::into_inner));
            watch.news.notify_all();
            gst::PadProbeReturn::Ok
        });
    }

    fn fail(&self, error: &gst::glib::Error) {
        let text = match error.matches(gst::ResourceError::NoSpaceLeft) {
            true => "no space is left on the disk",
            false => error.message(),
        };
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // What follows the first failure only follows from it.
        failure.get_or_insert_with(|| text.to_owned());
        self.news.notify_all();
    }

    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_for_room(&self, source: &gst_app::AppSrc, bytes: u64) {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let waited =
            self.news.wait_while(failure, |failure| failure.is_none() && source.current_level_bytes() >= bytes);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Looks for what writing needs; the best encoder that is there.
fn require(exists: impl Fn(&str) -> bool) -> Result<(&'static str, Configure), IngestError> {
    for (what, package) in [
        ("appsrc", "gstreamer1.0-plugins-base"),
        ("h264parse", "gstreamer1.0-plugins-bad"),
        ("mp4mux", "gstreamer1.0-plugins-good"),
        ("filesink", "libgstreamer1.0-0"),
    ] {
        if !exists(what) {
            return Err(IngestError::Missing { what, package });
        }
    }
    ENCODERS
        .into_iter()
        .find(|(name, _)| exists(name))
        .ok_or(IngestError::Missing { what: "an encoder of H.264", package: "gstreamer1.0-plugins-ugly" })
}

fn key_distance(fps: f64) -> u32 {
    (fps * KEY_PICTURE_SECS).ceil() as u32
}

fn configure_x264(encoder: &gst::Element, fps: f64) {
    // Constant quality: text and thin lines stay sharp, and a quiet street costs next to nothing.
    encoder.set_property_from_str("pass", "qual");
    encoder.set_property("quantizer", 20u32);
    encoder.set_property_from_str("speed-preset", "veryfast");
    encoder.set_property("bframes", 0u32);
    encoder.set_property("key-int-max", key_distance(fps));
}

fn configure_openh264(encoder: &gst::Element, fps: f64) {
    // It knows no constant quality: enough bits for any street, and a floor to what it makes of them.
    encoder.set_property_from_str("rate-control", "quality");
    encoder.set_property("bitrate", 6_000_000u32);
    encoder.set_property("qp-max", 28u32);
    encoder.set_property_from_str("complexity", "low");
    encoder.set_property("gop-size", key_distance(fps));
}

#[cfg(test)]
mod tests;
