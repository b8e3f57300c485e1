//! The RTSP server around the clips.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use rtsp::gst_rtsp::RTSPAuthMethod;
use rtsp::prelude::*;
use rtsp::{gio, glib};

use crate::clip::{Clip, Codec};
use crate::feed::{Control, Playlist, feed};
use crate::{CameraError, need};

const HOST: &str = "127.0.0.1";
/// The one role that credentials give.
const ROLE: &str = "viewer";

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How clips are served.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// User name and password that clients must give (Digest or Basic); none when absent.
    pub credentials: Option<(String, String)>,
    /// Serve RTSPS with this certificate instead of RTSP.
    pub tls: Option<Tls>,
    /// What clips that are neither H.264 nor H.265 are encoded to.
    pub codec: Codec,
    /// Begin again when a clip ends; otherwise the stream ends.
    pub looping: bool,
    /// Lose the packets of every n-th picture on the way; none when 0.
    pub lose_every: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, credentials: None, tls: None, codec: Codec::H264, looping: true, lose_every: 0 }
    }
}

/// One camera: a name and the clips that it plays one after the other in one stream.
#[derive(Clone)]
pub struct Mount {
    /// The last part of its address.
    pub name: String,
    /// At least one clip; all of one codec.
    pub clips: Vec<Arc<Clip>>,
}

impl Mount {
    /// A camera for each file, named after it; names that come again get `-2`, `-3`, …
    pub fn from_files(files: &[PathBuf], codec: Codec) -> Result<Vec<Self>, CameraError> {
        let mut taken = BTreeSet::new();
        let mut read = BTreeMap::new();
        files
            .iter()
            .map(|file| {
                let clip = match read.get(file) {
                    Some(clip) => Arc::clone(clip),
                    None => Arc::new(Clip::read(file, codec)?),
                };
                read.insert(file, Arc::clone(&clip));
                Ok(Self { name: free_name(file, &mut taken), clips: vec![clip] })
            })
            .collect()
    }
}

/// A running server. Dropping it stops it.
pub struct CameraServer {
    port: u16,
    scheme: &'static str,
    names: Vec<String>,
    server: rtsp::RTSPServer,
    listening: glib::Source,
    events: glib::MainContext,
    events_thread: Option<JoinHandle<()>>,
    control: Arc<Control>,
    feeders: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl CameraServer {
    /// Reads the clips and serves each under its own name.
    pub fn start(clips: &[PathBuf], options: &Options) -> Result<Self, CameraError> {
        Self::start_mounts(Mount::from_files(clips, options.codec)?, options)
    }

    /// Serves what is read already.
    pub fn start_mounts(mounts: Vec<Mount>, options: &Options) -> Result<Self, CameraError> {
        if mounts.is_empty() || mounts.iter().any(|mount| mount.clips.is_empty()) {
            return Err(CameraError::NoClip);
        }
        for element in ["appsrc", "rtph264pay", "rtph265pay"] {
            need(element)?;
        }
        let server = rtsp::RTSPServer::new();
        server.set_address(HOST);
        server.set_service(&options.port.to_string());
        server.set_auth(authentication(options)?.as_ref());
        // Clients live on the events thread, so that it can close them: elsewhere they might be reading just then.
        let threads = rtsp::RTSPThreadPool::new();
        threads.set_max_threads(0);
        server.set_thread_pool(Some(&threads));

        let control = Arc::new(Control::default());
        let feeders = Arc::new(Mutex::new(Vec::new()));
        let names = mounts.iter().map(|mount| mount.name.clone()).collect();
        let paths = server.mount_points().unwrap_or_default();
        for mount in mounts {
            let path = format!("/{}", mount.name);
            paths.add_factory(&path, factory(mount, options, &control, &feeders)?);
        }
        server.set_mount_points(Some(&paths));

        let context = glib::MainContext::new();
        let refused =
            |reason: glib::Error| CameraError::Port { port: options.port, reason: reason.message().to_owned() };
        let listening = server.create_source(gio::Cancellable::NONE).map_err(refused)?;
        listening.attach(Some(&context));
        let port = u16::try_from(server.bound_port()).unwrap_or(options.port);
        let events_thread = std::thread::Builder::new()
            .name("rtsp/events".to_owned())
            .spawn({
                let (context, control, server) = (context.clone(), Arc::clone(&control), server.clone());
                move || {
                    // Not glib's own loop: to quit that before its thread has come to run it has no effect.
                    let run = context.with_thread_default(|| {
                        while !control.is_stopped() {
                            context.iteration(true);
                        }
                        close_clients(&server);
                        // What closing has left to do.
                        let _ = (0..100).take_while(|_| context.iteration(false)).count();
                    });
                    run.expect("nobody else owns the server's own context");
                }
            })
            .map_err(CameraError::Thread)?;
        let scheme = if options.tls.is_some() { "rtsps" } else { "rtsp" };
        let events_thread = Some(events_thread);
        Ok(Self { port, scheme, names, server, listening, events: context, events_thread, control, feeders })
    }

    /// The port that the server listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The cameras' addresses, in the order of the clips, without credentials.
    pub fn urls(&self) -> Vec<String> {
        let (scheme, port) = (self.scheme, self.port);
        self.names.iter().map(|name| format!("{scheme}://{HOST}:{port}/{name}")).collect()
    }

    /// While `stalled`, every connection stays open but no picture is sent.
    pub fn stall(&self, stalled: bool) {
        self.control.stall(stalled);
    }

    /// Closes all connections; clients may come back at once.
    pub fn disconnect_clients(&self) {
        let server = self.server.clone();
        self.events.invoke(move || close_clients(&server));
    }

    /// Closes the port and all connections and waits for the server's threads.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let Some(events_thread) = self.events_thread.take() else { return };
        self.listening.destroy();
        self.control.stop();
        self.events.wakeup();
        // A panic there has been printed; here is nothing left to save.
        let _ = events_thread.join();
        let feeders = std::mem::take(&mut *self.feeders.lock().unwrap_or_else(PoisonError::into_inner));
        for feeder in feeders {
            let _ = feeder.join();
        }
    }
}

impl Drop for CameraServer {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Checks that a mount's clips fit together and tells the server how to open it.
fn factory(
    mount: Mount,
    options: &Options,
    control: &Arc<Control>,
    feeders: &Arc<Mutex<Vec<JoinHandle<()>>>>,
) -> Result<rtsp::RTSPMediaFactory, CameraError> {
    let Mount { name, clips } = mount;
    let (codec, caps) = match clips.first() {
        Some(clip) => (clip.codec(), clip.caps()),
        None => return Err(CameraError::NoClip),
    };
    if clips.iter().any(|clip| clip.codec() != codec) {
        return Err(CameraError::MixedCodecs { mount: name });
    }
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_shared(true);
    // A client that asks for the stream but never plays it must not make it pile up.
    factory.set_launch(&format!(
        "( appsrc name=pictures format=time is-live=true max-bytes=67108864 leaky-type=downstream ! \
         {} name=pay0 pt=96 config-interval=-1 )",
        codec.payloader()
    ));
    // With any authentication the server lets nobody in who has no role.
    if options.credentials.is_some() || options.tls.is_some() {
        factory.add_role_from_structure(
            &gst::Structure::builder(ROLE)
                .field("media.factory.access", true)
                .field("media.factory.construct", true)
                .build(),
        );
    }
    let playlist = Arc::new(Playlist { clips, looping: options.looping });
    let lose_every = u64::from(options.lose_every);
    let (control, feeders) = (Arc::clone(control), Arc::clone(feeders));
    factory.connect_media_configure(move |_, media| {
        let bin = media.element().downcast::<gst::Bin>().expect("a launch line makes a bin");
        let source = bin.by_name("pictures").and_then(|element| element.downcast::<gst_app::AppSrc>().ok());
        let source = source.expect("the launch line has an appsrc");
        source.set_caps(Some(&caps));
        if let Some(pad) = bin.by_name("pay0").and_then(|pay| pay.static_pad("src"))
            && lose_every > 0
        {
            lose(&pad, lose_every);
        }
        let closed = Arc::new(AtomicBool::new(false));
        media.connect_unprepared({
            let closed = Arc::clone(&closed);
            move |_| closed.store(true, Ordering::Release)
        });
        let (playlist, control) = (Arc::clone(&playlist), Arc::clone(&control));
        let feeder = std::thread::Builder::new()
            .name(format!("{name}/feed"))
            .spawn(move || feed(&source, &playlist, &control, &closed))
            .expect("the system starts a thread for each mount");
        let mut feeders = feeders.lock().unwrap_or_else(PoisonError::into_inner);
        feeders.retain(|feeder: &JoinHandle<()>| !feeder.is_finished());
        feeders.push(feeder);
    });
    Ok(factory)
}

fn close_clients(server: &rtsp::RTSPServer) {
    server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
}

/// Drops what every n-th picture became behind the payloader, so that the numbers of the packets have gaps.
fn lose(pad: &gst::Pad, every: u64) {
    let pictures = AtomicU64::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
        let picture = pictures.fetch_add(1, Ordering::Relaxed) + 1;
        if picture.is_multiple_of(every) { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
    });
}

/// Who may look, and over what.
fn authentication(options: &Options) -> Result<Option<rtsp::RTSPAuth>, CameraError> {
    if options.credentials.is_none() && options.tls.is_none() {
        return Ok(None);
    }
    let auth = rtsp::RTSPAuth::new();
    if let Some(tls) = &options.tls {
        let certificate = gio::TlsCertificate::from_files(&tls.certificate, &tls.key)
            .map_err(|error| CameraError::Tls(error.message().to_owned()))?;
        auth.set_tls_certificate(Some(&certificate));
    }
    let token = rtsp::RTSPToken::builder().field("media.factory.role", ROLE).build();
    match &options.credentials {
        Some((user, password)) => {
            auth.set_supported_methods(RTSPAuthMethod::Digest);
            auth.add_digest(user, password, &token);
        }
        None => {
            let mut token = token;
            auth.set_default_token(Some(&mut token));
        }
    }
    Ok(Some(auth))
}

/// The file's name without its ending, in characters that need no escaping, not taken yet.
fn free_name(file: &Path, taken: &mut BTreeSet<String>) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let base = if plain.is_empty() { "clip".to_owned() } else { plain };
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_unique() {
        let mut taken = BTreeSet::new();
        let names: Vec<String> = ["a/vtest.avi", "b/vtest.mp4", "vtest.avi", "two words.mkv", "ÄÖ.mp4"]
            .map(|file| free_name(Path::new(file), &mut taken))
            .into();
        assert_eq!(names, ["vtest", "vtest-2", "vtest-3", "two-words", "--"]);
    }

    #[test]
    fn no_clip_is_no_server() {
        assert!(matches!(CameraServer::start(&[], &Options::default()), Err(CameraError::NoClip)));
    }
}
