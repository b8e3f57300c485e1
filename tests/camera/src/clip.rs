//! A clip as encoded pictures in memory.
//!
//! Reads a file with `parsebin`. H.264 and H.265 pass as they are; any other video is decoded and encoded once.
//! Either way the result is a list of access units (byte stream, parameter sets before every key picture), so
//! that clips can be joined and repeated at will. Times are nanoseconds since the clip's first picture.
//! Runs on the caller's thread; GStreamer's own threads end with the call.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::{CameraError, need};

/// A clip's encoded bytes may not exceed this: they are held in memory.
const MAX_BYTES: usize = 1 << 30;
/// With no progress for this long a file is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The least picture duration and the one assumed when a file tells none.
const FALLBACK_DURATION: Duration = Duration::from_millis(40);

/// How pictures are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// H.264 (AVC).
    #[default]
    H264,
    /// H.265 (HEVC).
    H265,
}

impl Codec {
    /// The caps that the clip's pictures have.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::H264 => "video/x-h264",
            Self::H265 => "video/x-h265",
        }
    }

    pub(crate) fn parser(self) -> &'static str {
        match self {
            Self::H264 => "h264parse",
            Self::H265 => "h265parse",
        }
    }

    pub(crate) fn payloader(self) -> &'static str {
        match self {
            Self::H264 => "rtph264pay",
            Self::H265 => "rtph265pay",
        }
    }

    fn of(media_type: &str) -> Option<Self> {
        [Self::H264, Self::H265].into_iter().find(|codec| codec.media_type() == media_type)
    }
}

/// One encoded picture.
pub(crate) struct AccessUnit {
    pub(crate) buffer: gst::Buffer,
    /// When it is shown.
    pub(crate) shown: Duration,
    /// When it is sent: the order of the list.
    pub(crate) sent: Duration,
}

/// A clip's pictures in the order of decoding.
pub struct Clip {
    pub(crate) units: Vec<AccessUnit>,
    codec: Codec,
    framerate: Option<gst::Fraction>,
    duration: Duration,
    encoded_here: bool,
}

impl Clip {
    /// Reads a file; encodes it to `fallback` when it is neither H.264 nor H.265.
    pub fn read(path: &Path, fallback: Codec) -> Result<Self, CameraError> {
        for element in ["parsebin", "decodebin", "videoconvert", "h264parse", "h265parse"] {
            need(element)?;
        }
        let wrong = |reason: &str| CameraError::Clip { path: path.to_owned(), reason: reason.to_owned() };
        if !path.is_file() {
            return Err(wrong("no such file"));
        }
        let collected = Arc::new(Mutex::new(Collected::default()));
        let pipeline = gst::Pipeline::new();
        let invariant = "need() has found the element";
        let source = gst::ElementFactory::make("filesrc").property("location", path).build().expect(invariant);
        let parse = gst::ElementFactory::make("parsebin").build().expect(invariant);
        pipeline.add_many([&source, &parse]).expect("fresh elements in a fresh pipeline");
        source.link(&parse).expect("a file source fits parsebin");
        parse.connect_pad_added({
            let (pipeline, collected) = (pipeline.downgrade(), Arc::clone(&collected));
            move |_, pad| {
                if let Some(pipeline) = pipeline.upgrade()
                    && let Err(error) = connect(&pipeline, pad, fallback, &collected)
                {
                    lock(&collected).problem.get_or_insert(error.to_string());
                }
            }
        });
        let ended = run_to_end(&pipeline, || {
            let collected = lock(&collected);
            (collected.units.len(), collected.problem.clone())
        });
        let mut collected = std::mem::take(&mut *lock(&collected));
        ended.map_err(|reason| wrong(&reason))?;
        let codec = collected.codec.ok_or_else(|| wrong("it holds no video"))?;
        if !collected.units.iter().any(|unit| !unit.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)) {
            return Err(wrong("it holds no complete picture"));
        }
        let duration = settle_times(&mut collected.units, collected.framerate);
        let Collected { units, framerate, encoded_here, .. } = collected;
        Ok(Self { units, codec, framerate, duration, encoded_here })
    }

    /// How the pictures are encoded.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The number of pictures.
    pub fn pictures(&self) -> usize {
        self.units.len()
    }

    /// From the first picture to the end of the last.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Whether [`Clip::read`] had to encode it.
    pub fn was_encoded_here(&self) -> bool {
        self.encoded_here
    }

    /// What the stream announces.
    pub(crate) fn caps(&self) -> gst::Caps {
        let caps = gst::Caps::builder(self.codec.media_type())
            .field("stream-format", "byte-stream")
            .field("alignment", "au");
        match self.framerate {
            Some(rate) => caps.field("framerate", rate).build(),
            None => caps.build(),
        }
    }
}

#[derive(Default)]
struct Collected {
    units: Vec<AccessUnit>,
    bytes: usize,
    codec: Option<Codec>,
    framerate: Option<gst::Fraction>,
    encoded_here: bool,
    problem: Option<String>,
}

fn lock(collected: &Mutex<Collected>) -> std::sync::MutexGuard<'_, Collected> {
    collected.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Continues behind a pad of `parsebin`: the first video goes to the list, all else nowhere.
fn connect(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    fallback: Codec,
    collected: &Arc<Mutex<Collected>>,
) -> Result<(), gst::glib::Error> {
    let failed = |what: &str| gst::glib::Error::new(gst::CoreError::Pad, what);
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let media_type = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
    let is_video = media_type.starts_with("video/") || media_type.starts_with("image/");
    let bin = if is_video && lock(collected).codec.is_none() {
        let encoded_here = Codec::of(&media_type).is_none();
        let codec = Codec::of(&media_type).unwrap_or(fallback);
        {
            let mut collected = lock(collected);
            collected.codec = Some(codec);
            collected.encoded_here = encoded_here;
        }
        let encode = match (encoded_here, codec) {
            (false, _) => "",
            (true, Codec::H264) => {
                "decodebin name=entrance ! videoconvert ! video/x-raw,format=I420 ! \
                 x264enc speed-preset=ultrafast tune=zerolatency pass=quant quantizer=23 key-int-max=20 ! "
            }
            (true, Codec::H265) => {
                "decodebin name=entrance ! videoconvert ! video/x-raw,format=I420 ! \
                 x265enc speed-preset=ultrafast tune=zerolatency key-int-max=20 ! "
            }
        };
        let name = if encoded_here { "" } else { " name=entrance" };
        let description = format!(
            "{encode}{}{name} config-interval=-1 ! {},stream-format=byte-stream,alignment=au ! \
             appsink name=units sync=false max-buffers=64",
            codec.parser(),
            codec.media_type()
        );
        // decodebin is linked on later: whoever looks for the one free pad now would find two.
        let bin = gst::parse::bin_from_description(&description, false)?;
        let entrance = bin.by_name("entrance").and_then(|element| element.static_pad("sink"));
        let entrance = entrance.expect("the description has an entrance with a sink pad");
        let ghost = gst::GhostPad::builder_with_target(&entrance).map_err(|_| failed("a branch is broken"))?;
        bin.add_pad(&ghost.name("sink").build()).map_err(|_| failed("a branch is broken"))?;
        let sink = bin
            .by_name("units")
            .and_then(|sink| sink.downcast::<gst_app::AppSink>().ok())
            .expect("the description has an appsink");
        let collected = Arc::clone(collected);
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    collect(&sample, &mut lock(&collected))
                })
                .build(),
        );
        bin
    } else {
        gst::parse::bin_from_description("fakesink sync=false async=false", true)?
    };
    pipeline.add(&bin).map_err(|_| failed("a branch does not fit"))?;
    bin.sync_state_with_parent().map_err(|_| failed("a branch does not start"))?;
    let sink = bin.static_pad("sink").ok_or_else(|| failed("a branch has no entrance"))?;
    pad.link(&sink).map_err(|_| failed("the video does not fit its parser"))?;
    Ok(())
}

fn collect(sample: &gst::Sample, collected: &mut Collected) -> Result<gst::FlowSuccess, gst::FlowError> {
    let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps()) else {
        return Err(gst::FlowError::Error);
    };
    if collected.framerate.is_none() {
        collected.framerate = caps
            .structure(0)
            .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
            .filter(|rate| rate.numer() > 0);
    }
    collected.bytes += buffer.size();
    if collected.bytes > MAX_BYTES {
        collected.problem = Some(format!("longer than {} MiB encoded, too much to hold", MAX_BYTES >> 20));
        return Err(gst::FlowError::Error);
    }
    let time = |time: Option<gst::ClockTime>| time.map(|time| Duration::from_nanos(time.nseconds()));
    let sent = time(buffer.dts_or_pts());
    let shown = time(buffer.pts()).or(sent);
    // Without any time the picture follows the one before; settle_times() makes the order strict.
    let last = collected.units.last().map(|unit| unit.sent).unwrap_or_default();
    let (sent, shown) = (sent.unwrap_or(last), shown.unwrap_or(last));
    collected.units.push(AccessUnit { buffer, shown, sent });
    Ok(gst::FlowSuccess::Ok)
}

/// Moves the first picture to zero and gives back the clip's duration.
fn settle_times(units: &mut [AccessUnit], framerate: Option<gst::Fraction>) -> Duration {
    let step = framerate.map_or(FALLBACK_DURATION, |rate| {
        Duration::from_secs_f64(f64::from(rate.denom()) / f64::from(rate.numer()))
    });
    let mut previous: Option<Duration> = None;
    for unit in units.iter_mut() {
        if let Some(previous) = previous.filter(|previous| unit.sent <= *previous) {
            let behind = previous + step - unit.sent;
            unit.shown = unit.shown.max(unit.sent + behind);
            unit.sent += behind;
        }
        previous = Some(unit.sent);
    }
    let first_shown = units.iter().map(|unit| unit.shown).min().unwrap_or_default();
    let first_sent = units.first().map(|unit| unit.sent).unwrap_or_default();
    for unit in units.iter_mut() {
        unit.shown -= first_shown;
        unit.sent -= first_sent;
    }
    let last_shown = units.iter().map(|unit| unit.shown).max().unwrap_or_default();
    let last_sent = units.last().map(|unit| unit.sent).unwrap_or_default();
    last_shown.max(last_sent) + step
}

/// Runs a pipeline until it ends; `watch` tells its progress and a problem found elsewhere.
pub(crate) fn run_to_end(
    pipeline: &gst::Pipeline,
    watch: impl Fn() -> (usize, Option<String>),
) -> Result<(), String> {
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let started = pipeline.set_state(gst::State::Playing);
    let result = loop {
        let mut progress = (watch().0, Instant::now());
        let message = loop {
            let message = bus.timed_pop_filtered(
                gst::ClockTime::from_mseconds(200),
                &[gst::MessageType::Eos, gst::MessageType::Error],
            );
            let (count, problem) = watch();
            if let Some(problem) = problem {
                break Err(problem);
            }
            if let Some(message) = message {
                break Ok(message);
            }
            if count != progress.0 {
                progress = (count, Instant::now());
            } else if progress.1.elapsed() > PATIENCE {
                break Err("it gives no more pictures, and no end".to_owned());
            }
        };
        match message.as_ref().map(|message| message.view()) {
            Err(problem) => break Err(problem.clone()),
            Ok(gst::MessageView::Eos(_)) => break Ok(()),
            Ok(gst::MessageView::Error(error)) => break Err(error.error().to_string()),
            Ok(_) => {}
        }
    };
    let stopped = pipeline.set_state(gst::State::Null);
    result?;
    started.and(stopped).map(|_| ()).map_err(|_| "it cannot be opened".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(shown: u64, sent: u64) -> AccessUnit {
        let (shown, sent) = (Duration::from_millis(shown), Duration::from_millis(sent));
        AccessUnit { buffer: gst::Buffer::new(), shown, sent }
    }

    #[test]
    fn a_clip_starts_at_zero_and_lasts_until_the_end_of_its_last_picture() {
        gst::init().unwrap();
        let mut units = vec![unit(1100, 1000), unit(1300, 1100), unit(1200, 1200)];
        let duration = settle_times(&mut units, Some(gst::Fraction::new(10, 1)));
        let times: Vec<_> = units.iter().map(|u| (u.shown.as_millis(), u.sent.as_millis())).collect();
        assert_eq!(times, [(0, 0), (200, 100), (100, 200)]);
        assert_eq!(duration, Duration::from_millis(300));
    }

    #[test]
    fn pictures_without_times_follow_each_other() {
        gst::init().unwrap();
        let mut units = vec![unit(0, 0), unit(0, 0), unit(0, 0)];
        settle_times(&mut units, Some(gst::Fraction::new(25, 1)));
        assert_eq!(units.iter().map(|u| u.sent.as_millis()).collect::<Vec<_>>(), [0, 40, 80]);
    }
}
