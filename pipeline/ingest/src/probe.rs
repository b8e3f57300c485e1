//! What a clip holds, without decoding more than its first picture.

use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use kerbside_core::frame::PictureSize;
use kerbside_core::time::WallTime;

use crate::error::IngestError;
use crate::pipeline;
use crate::source::{Pace, Source};

/// A clip that has not told its first picture after this long is given up.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// What a clip says of itself. Containers may lie: good for a progress bar, not for counting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipInfo {
    /// The number of pictures, as far as its duration and rate tell.
    pub frames: Option<u64>,
    /// From the first to the end of the last picture; `None` when the container does not say.
    pub duration: Option<Duration>,
    /// The size of the first picture.
    pub size: PictureSize,
    /// Pictures a second; `None` when the rate varies or the container does not say.
    pub fps: Option<f64>,
}

/// Opens a clip and reads what it says of itself.
pub fn probe(path: &Path) -> Result<ClipInfo, IngestError> {
    let first_frame_at = WallTime::UNIX_EPOCH;
    let source = Source::File { path: path.to_owned(), pace: Pace::AsFastAsPossible { first_frame_at } };
    pipeline::require(&source)?;
    pipeline::check(&source)?;
    let pipeline = gst::Pipeline::new();
    let file = gst::ElementFactory::make("filesrc").property("location", path).build();
    let sink = gst::ElementFactory::make("fakesink").build();
    let (Ok(file), Ok(sink)) = (file, sink) else {
        return Err(IngestError::Missing { what: "fakesink", package: "libgstreamer1.0-0" });
    };
    let decode = pipeline::decodebin();
    pipeline.add_many([&file, &decode, &sink]).expect("fresh elements in a fresh pipeline");
    file.link(&decode).expect("decodebin takes anything");
    let entrance = sink.static_pad("sink").expect("a fakesink has a sink pad");
    decode.connect_pad_added({
        let (pipeline, entrance) = (pipeline.downgrade(), entrance.clone());
        move |_, pad| {
            if pipeline::is_raw_video(pad) && !entrance.is_linked() {
                let _ = pad.link(&entrance);
            } else if let Some(pipeline) = pipeline.upgrade() {
                pipeline::discard(&pipeline, pad);
            }
        }
    });
    decode.connect_no_more_pads({
        let (entrance, bus) = (entrance.clone(), pipeline.bus());
        move |decode| {
            if let Some(bus) = bus.as_ref().filter(|_| !entrance.is_linked()) {
                let text = "it holds no video";
                let error = gst::message::Error::builder(gst::StreamError::WrongType, text).src(decode).build();
                // A flushing bus means that the answer is known already.
                let _ = bus.post(error);
            }
        }
    });
    let info = read(&pipeline, &entrance);
    // What was read stands; the pipeline is dropped here.
    let _ = pipeline.set_state(gst::State::Null);
    info.map_err(|reason| IngestError::Clip { path: path.to_owned(), reason })
}

fn read(pipeline: &gst::Pipeline, entrance: &gst::Pad) -> Result<ClipInfo, String> {
    // A failure is on the bus.
    let _ = pipeline.set_state(gst::State::Paused);
    let news = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::AsyncDone];
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let message = bus.timed_pop_filtered(PATIENCE, &news).ok_or("it cannot be read in time")?;
    if let gst::MessageView::Error(error) = message.view() {
        return Err(error.error().message().to_owned());
    }
    let caps = entrance.current_caps().ok_or("it holds no picture that can be decoded")?;
    let info = gst_video::VideoInfo::from_caps(&caps).map_err(|_| "its pictures have no size".to_owned())?;
    let fps = Some(info.fps()).filter(|rate| rate.numer() > 0 && rate.denom() > 0);
    let fps = fps.map(|rate| f64::from(rate.numer()) / f64::from(rate.denom()));
    let duration = pipeline.query_duration::<gst::ClockTime>().map(|d| Duration::from_nanos(d.nseconds()));
    let frames = duration.zip(fps).map(|(duration, fps)| (duration.as_secs_f64() * fps).round() as u64);
    Ok(ClipInfo { frames, duration, size: PictureSize { width: info.width(), height: info.height() }, fps })
}
