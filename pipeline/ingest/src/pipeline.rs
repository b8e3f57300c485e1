//! Which GStreamer elements, with which settings.
//!
//! ```text
//! rtspsrc ┐
//!         ├─▶ decodebin ─▶ (probe: damage, stamp, rate cap) ─▶ videoconvert ─▶ appsink
//! filesrc ┘       └ probe in front of the decoder: size, arrival, losses
//! ```
//!
//! `videoconvert` passes NV12 and I420 through untouched. The end of the pipeline says that it understands
//! row strides, so that libav decodes straight into the buffers that become frames. Its GStreamer wrapper (1.22)
//! cannot do that where width or height are no multiples of the codec's blocks, as in 1920x1080: there it crops
//! by a copy of its own, inside the decoder and unseen from here.

use std::path::Path;
use std::sync::OnceLock;

use gio::prelude::*;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::error::IngestError;
use crate::intake::{Refusal, Tap};
use crate::source::{Limits, Pace, Source, Transport};

/// How long a stream's packets may wait for one that is late.
const JITTER_BUFFER_MILLIS: u32 = 200;
/// Threads of a software decoder. They share the slices of one picture: sharing pictures would hold back one
/// picture for each thread.
const DECODER_THREADS: i32 = 2;

/// Starts GStreamer and looks for what the source needs.
pub(crate) fn require(source: &Source) -> Result<(), IngestError> {
    let missing = |what, package| Err(IngestError::Missing { what, package });
    if gst::init().is_err() {
        return missing("its core library", "libgstreamer1.0-0");
    }
    let mut needed = vec![
        ("filesrc", "libgstreamer1.0-0"),
        ("decodebin", "gstreamer1.0-plugins-base"),
        ("videoconvert", "gstreamer1.0-plugins-base"),
        ("appsink", "gstreamer1.0-plugins-base"),
    ];
    if let Source::Rtsp { .. } = source {
        needed.extend([
            ("rtspsrc", "gstreamer1.0-plugins-good"),
            ("rtph264depay", "gstreamer1.0-plugins-good"),
            ("h264parse", "gstreamer1.0-plugins-bad"),
        ]);
    }
    for (element, package) in needed {
        if gst::ElementFactory::find(element).is_none() {
            return missing(element, package);
        }
    }
    let decodes = |media_type: &str| {
        let caps = gst::Caps::new_empty_simple(media_type);
        gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODER, gst::Rank::MARGINAL)
            .iter()
            .any(|factory| factory.can_sink_any_caps(&caps))
    };
    if matches!(source, Source::Rtsp { .. }) && !decodes("video/x-h264") {
        return missing("a decoder of H.264", "gstreamer1.0-libav");
    }
    Ok(())
}

/// Checks what can be known of a source without opening it.
pub(crate) fn check(source: &Source) -> Result<(), IngestError> {
    match source {
        Source::Rtsp { url, ca_file, .. } => {
            if !matches!(url.scheme(), "rtsp" | "rtsps") {
                return Err(IngestError::Address("must begin with rtsp:// or rtsps://"));
            }
            if url.host_str().is_none_or(str::is_empty) {
                return Err(IngestError::Address("names no host"));
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err(IngestError::Address("must not hold a user name or password"));
            }
            ca_file.as_deref().map_or(Ok(()), |path| ca_database(path).map(|_| ()))
        }
        Source::File { path, .. } => {
            let wrong = |reason: String| Err(IngestError::Clip { path: path.clone(), reason });
            match std::fs::File::open(path).and_then(|file| file.metadata()) {
                Err(error) => wrong(error.to_string()),
                Ok(data) if !data.is_file() => wrong("it is no file".to_owned()),
                Ok(_) => Ok(()),
            }
        }
    }
}

fn ca_database(path: &Path) -> Result<gio::TlsFileDatabase, IngestError> {
    let wrong = |reason: String| IngestError::CaFile { path: path.to_owned(), reason };
    // GLib wants to know the place of the file for certain.
    let absolute = std::fs::canonicalize(path).map_err(|error| wrong(error.to_string()))?;
    if gio::TlsCertificate::list_new_from_file(&absolute).is_ok_and(|list| list.is_empty()) {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    gio::TlsFileDatabase::new(&absolute).map_err(|error| wrong(error.message().to_owned()))
}

/// A pipeline that is not running yet.
pub(crate) fn build(source: &Source, tap: &Tap, limits: &Limits) -> Result<gst::Pipeline, IngestError> {
    let pipeline = gst::Pipeline::new();
    let decode = decodebin();
    configure_decoders(&decode, tap);
    let convert = make("videoconvert");
    let sink = sink(source, tap);
    let fresh = "fresh elements in a fresh pipeline";
    pipeline.add_many([&decode, &convert, sink.upcast_ref()]).expect(fresh);
    convert.link(&sink).expect("videoconvert gives NV12 and I420");
    match source {
        Source::Rtsp { .. } => {
            let stream = rtspsrc(source, tap, limits)?;
            pipeline.add(&stream).expect(fresh);
            let entrance = decode.static_pad("sink").expect("decodebin has a sink pad");
            stream.connect_pad_added(move |_, pad| {
                // The one selected stream has one pad; a failed link shows as a stream without pictures.
                if !entrance.is_linked() {
                    let _ = pad.link(&entrance);
                }
            });
        }
        Source::File { path, .. } => {
            let file = make("filesrc");
            file.set_property("location", path);
            pipeline.add(&file).expect(fresh);
            file.link(&decode).expect("decodebin takes anything");
        }
    }
    let entrance = convert.static_pad("sink").expect("videoconvert has a sink pad");
    decode.connect_pad_added({
        let (pipeline, tap) = (pipeline.downgrade(), tap.clone());
        move |_, pad| {
            if is_raw_video(pad) && !entrance.is_linked() {
                watch_decoded(pad, tap.clone());
                // Any raw video fits videoconvert.
                let _ = pad.link(&entrance);
            } else if let Some(pipeline) = pipeline.upgrade() {
                discard(&pipeline, pad);
            }
        }
    });
    decode.connect_no_more_pads({
        let (entrance, tap) = (convert.static_pad("sink"), tap.clone());
        move |_| {
            if !entrance.as_ref().is_some_and(gst::Pad::is_linked) {
                tap.refuse(Refusal::NoVideo);
            }
        }
    });
    Ok(pipeline)
}

/// A `decodebin` that decodes video only: sound and subtitles come out as they are.
pub(crate) fn decodebin() -> gst::Element {
    let decode = make("decodebin");
    decode.connect("autoplug-continue", false, |values| {
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let other = caps.as_ref().and_then(|caps| caps.structure(0)).is_some_and(|structure| {
            ["audio/", "text/", "subpicture/", "closedcaption/"]
                .iter()
                .any(|kind| structure.name().as_str().starts_with(kind))
        });
        Some((!other).to_value())
    });
    decode
}

pub(crate) fn is_raw_video(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    caps.structure(0).is_some_and(|structure| structure.name() == "video/x-raw")
}

/// Lets a pad's data go to waste.
pub(crate) fn discard(pipeline: &gst::Pipeline, pad: &gst::Pad) {
    let waste = make("fakesink");
    waste.set_property("sync", false);
    waste.set_property("async", false);
    if pipeline.add(&waste).is_ok()
        && waste.sync_state_with_parent().is_ok()
        && let Some(entrance) = waste.static_pad("sink")
    {
        // An unlinked pad would do as well: decodebin goes on with the others.
        let _ = pad.link(&entrance);
    }
}

pub(crate) fn make(element: &str) -> gst::Element {
    gst::ElementFactory::make(element).build().expect("require() has found the element")
}

fn configure_decoders(decode: &gst::Element, tap: &Tap) {
    let Some(bin) = decode.downcast_ref::<gst::Bin>() else { return };
    let tap = tap.clone();
    bin.connect_element_added(move |_, element| {
        let is_decoder =
            element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned)).is_some_and(
                |class| class.contains("Decoder") && (class.contains("Video") || class.contains("Image")),
            );
        if !is_decoder {
            return;
        }
        if element.has_property_with_type("max-threads", i32::static_type()) {
            element.set_property("max-threads", DECODER_THREADS);
        }
        if element.has_property("thread-type") {
            element.set_property_from_str("thread-type", "slice");
        }
        if let Some(pad) = element.static_pad("sink") {
            watch_encoded(&pad, tap.clone());
        }
    });
}

fn watch_encoded(pad: &gst::Pad, tap: Tap) {
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                tap.encoded(buffer);
                // The decoder knows the size of what was refused, but takes memory with the first picture.
                if tap.refusal().is_some() {
                    return gst::PadProbeReturn::Handled;
                }
            }
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view() {
                    tap.announced(caps.caps());
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn watch_decoded(pad: &gst::Pad, tap: Tap) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else { return gst::PadProbeReturn::Ok };
        let running_time = pad.sticky_event::<gst::event::Segment>(0).and_then(|event| {
            let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
            segment.to_running_time(buffer.pts()?)
        });
        if tap.decoded(buffer, running_time) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
    });
}

fn sink(source: &Source, tap: &Tap) -> gst_app::AppSink {
    let formats = [gst_video::VideoFormat::Nv12, gst_video::VideoFormat::I420];
    let caps = gst_video::VideoCapsBuilder::new().format_list(formats).build();
    // Only a clip that plays in real time has to wait for its moment; a stream's pictures come at theirs.
    let waits = matches!(source, Source::File { pace: Pace::RealTime, .. });
    let sink = gst_app::AppSink::builder().caps(&caps).sync(waits).max_buffers(1).build();
    sink.set_property("qos", false);
    // It would keep one more decoded picture in memory.
    sink.set_property("enable-last-sample", false);
    let tap = tap.clone();
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| tap.picture(&sink.pull_sample().map_err(|_| gst::FlowError::Eos)?))
            .build(),
    );
    let pad = sink.static_pad("sink").expect("an appsink has a sink pad");
    // Without the video meta libav would decode into memory of its own and copy each picture out of it.
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH, |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Allocation(query) = query.view_mut()
        {
            query.add_allocation_meta::<gst_video::VideoMeta>(None);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
    sink
}

fn rtspsrc(source: &Source, tap: &Tap, limits: &Limits) -> Result<gst::Element, IngestError> {
    let Source::Rtsp { url, transport, credentials, ca_file } = source else {
        return Err(IngestError::Address("is no stream's"));
    };
    let stream = make("rtspsrc");
    stream.set_property("location", url.as_str());
    stream.set_property_from_str(
        "protocols",
        match (transport, url.scheme()) {
            (Transport::Tcp, "rtsps") => "tcp+tls",
            (Transport::Udp, "rtsps") => "udp+tls",
            (Transport::Tcp, _) => "tcp",
            (Transport::Udp, _) => "udp",
        },
    );
    stream.set_property("user-agent", "kerbside");
    stream.set_property("latency", JITTER_BUFFER_MILLIS);
    stream.set_property("drop-on-latency", true);
    // Reconnecting is the supervisor's: rtspsrc would do it without a pause and without telling.
    stream.set_property("udp-reconnect", false);
    let answer_micros = u64::try_from(limits.answer.as_micros()).unwrap_or(u64::MAX);
    stream.set_property("tcp-timeout", answer_micros);
    stream.set_property("timeout", answer_micros);
    if let Some(credentials) = credentials {
        stream.set_property("user-id", &credentials.username);
        stream.set_property("user-pw", &credentials.password);
    }
    if let Some(path) = ca_file {
        stream.set_property("tls-database", ca_database(path)?.upcast::<gio::TlsDatabase>());
    }
    let selected = OnceLock::new();
    stream.connect("select-stream", false, move |values| {
        let number = values.get(1).and_then(|value| value.get::<u32>().ok())?;
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok())?;
        let is_video = caps.structure(0).and_then(|s| s.get::<&str>("media").ok()) == Some("video");
        Some((is_video && *selected.get_or_init(|| number) == number).to_value())
    });
    let (tap, host) = (tap.clone(), url.host_str().unwrap_or_default().to_owned());
    stream.connect("before-send", false, move |values| {
        let stream = values.first().and_then(|value| value.get::<gst::Element>().ok())?;
        let location = stream.property::<Option<String>>("location").unwrap_or_default();
        let stays = url::Url::parse(&location).is_ok_and(|url| url.host_str() == Some(&host));
        if !stays {
            tap.refuse(Refusal::Redirected);
        }
        Some(stays.to_value())
    });
    Ok(stream)
}
