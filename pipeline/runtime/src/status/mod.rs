//! The local status server: the status page, the page for drawing lines and zones, `/metrics`, `/livez` and `/readyz`
//! over HTTP.
//!
//! One thread with a single-threaded tokio runtime, on the configured loopback address and, where one is configured, on a
//! Unix socket. It reads what stages have told (`board`); all that it can change is setup mode, by a form that holds a
//! token of this life of the node.
//!
//! A web page of somebody else that is open in an installer's browser can send requests to a loopback address too. So
//! requests that name another host than a loopback one are refused (a name that was made to point here), what changes
//! something needs the token, and no page may be framed or load anything from elsewhere.

mod assets;
pub(crate) mod board;
mod drawing;
mod forms;
mod page;
pub(crate) mod snapshot;

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Path as UrlPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use kerbside_telemetry::{Beat, CONTENT_TYPE};
use tokio::sync::watch;

use crate::error::{RuntimeError, spawn};
use crate::uplink::beating;
use board::Board;
use forms::Token;

/// No form is larger.
const MOST_BYTES: usize = 4096;
/// What the pages may load: their own styles, scripts and pictures. They may not be framed, nor send forms elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages need.
struct Facts {
    board: Arc<Board>,
    token: Token,
}

/// The running server.
pub(crate) struct StatusServer {
    address: SocketAddr,
    socket: Option<PathBuf>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
    beat: Beat,
}

impl StatusServer {
    /// Listens on the address, and on the socket if there is one. A socket that a node has left behind is replaced.
    pub(crate) fn start(
        address: SocketAddr,
        socket: Option<&Path>,
        board: &Arc<Board>,
    ) -> Result<Self, RuntimeError> {
        let failed = |source| RuntimeError::Status { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let unix = socket.map(listen).transpose()?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let facts = Facts { board: Arc::clone(board), token: Token::new()? };
        let (stop, stopped) = watch::channel(false);
        let beat = Beat::default();
        let thread = spawn("status".to_owned(), {
            let beat = beat.clone();
            move || runtime.block_on(beating(&beat, serve(listener, unix, pages(facts), stopped)))
        })?;
        Ok(Self { address: bound, socket: socket.map(Path::to_owned), stop, thread, beat })
    }

    /// Where it listens, with the real port where the configuration says 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its thread makes progress.
    pub(crate) fn beat(&self) -> &Beat {
        &self.beat
    }

    pub(crate) fn stop(self) -> JoinHandle<()> {
        // A server that has ended by itself no longer listens for this.
        let _ = self.stop.send(true);
        if let Some(socket) = &self.socket {
            // The next node replaces one that is left.
            let _ = std::fs::remove_file(socket);
        }
        self.thread
    }
}

/// Listens on a Unix socket. Another process that answers there keeps it.
fn listen(path: &Path) -> Result<UnixListener, RuntimeError> {
    let failed = |source| RuntimeError::StatusSocket { path: path.to_owned(), source };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(failed(std::io::ErrorKind::AddrInUse.into()));
    }
    match std::fs::symlink_metadata(path) {
        Ok(data) if std::os::unix::fs::FileTypeExt::is_socket(&data.file_type()) => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        // What is no socket is somebody's file: binding fails and says so.
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Who gets as far as the socket may use it: that is a matter of its folder's rights, whatever the mask of new files.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o660)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

async fn serve(
    listener: TcpListener,
    unix: Option<UnixListener>,
    pages: axum::Router,
    mut stopped: watch::Receiver<bool>,
) {
    let on_address = async {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => axum::serve(listener, pages.clone()).await,
            Err(error) => Err(error),
        }
    };
    let on_socket = async {
        match unix.map(tokio::net::UnixListener::from_std) {
            Some(Ok(listener)) => axum::serve(listener, pages.clone()).await,
            Some(Err(error)) => Err(error),
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        result = on_address => result,
        result = on_socket => result,
        _ = stopped.changed() => return,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the status server ended");
    }
}

fn pages(facts: Facts) -> axum::Router {
    axum::Router::new()
        .route("/", get(status))
        .route("/setup", get(forms::drawing))
        .route("/setup/start", post(forms::start))
        .route("/setup/stop", post(forms::stop))
        .route("/setup/background.png", get(forms::background))
        .route("/assets/{name}", get(asset))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(middleware::from_fn(guard))
        .with_state(Arc::new(facts))
}

/// Refuses requests for another host, and says with every answer what a browser may do with it.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
    if host.is_some_and(|host| !forms::is_loopback(host)) {
        let text = "this page answers to loopback addresses and localhost alone\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn status(State(facts): State<Arc<Facts>>) -> Html<String> {
    Html(page::render(&facts.board.snapshot(Instant::now())))
}

async fn asset(UrlPath(name): UrlPath<String>) -> Response {
    match assets::asset(&name) {
        Some((kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn metrics(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], facts.board.telemetry.render())
}

async fn livez(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    let hung = facts.board.hung(Instant::now());
    if hung.is_empty() {
        (StatusCode::OK, "alive\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("no progress: {}\n", hung.join(", ")))
    }
}

async fn readyz(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    let board = &facts.board;
    let mut text = String::new();
    for camera in board.cameras() {
        let _ = writeln!(text, "camera {}: {}", camera.name, camera.status.state().name());
    }
    let _ = writeln!(text, "spool: {}", if board.pulse.spool_ok() { "ok" } else { "failing" });
    let _ = writeln!(text, "ledger: {}", if board.pulse.ledger_ok() { "ok" } else { "refusing" });
    let why = board.not_ready(Instant::now());
    for why in &why {
        let _ = writeln!(text, "not ready: {why}");
    }
    (if why.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

#[cfg(test)]
mod tests {
    use kerbside_core::time::WallTime;
    use kerbside_telemetry::{NodeMetrics, Telemetry};

    use super::board::Identity;
    use super::snapshot::ConfigView;
    use super::*;

    fn board() -> Arc<Board> {
        let telemetry = Arc::new(Telemetry::new());
        let identity = Identity {
            node: "kerb-1".to_owned(),
            software: "kerbside 0.1.0".to_owned(),
            started: Instant::now(),
            is_demonstration: false,
            is_insecure: false,
        };
        let config = ConfigView { revision: 1, applied: WallTime::UNIX_EPOCH, refused: Vec::new() };
        Arc::new(Board::new(identity, &telemetry, NodeMetrics::new(&telemetry), None, config))
    }

    #[test]
    fn a_stage_that_hangs_is_named_by_the_health_pages_and_the_status_page() {
        let board = board();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("status.sock");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = StatusServer::start(free, Some(&socket), &board).unwrap();
        let doors = [
            kerbside_telemetry::Door::Address(server.address()),
            kerbside_telemetry::Door::Socket(socket.clone()),
        ];
        for door in &doors {
            assert_eq!(door.ask("/livez").unwrap(), (200, "alive\n".to_owned()), "{door}");
        }
        board.set_hung(vec!["plaza/lane".to_owned()]);
        for door in &doors {
            assert_eq!(door.ask("/livez").unwrap(), (503, "no progress: plaza/lane\n".to_owned()), "{door}");
            let (code, text) = door.ask("/readyz").unwrap();
            assert!(code == 503 && text.contains("plaza/lane makes no progress"), "{text}");
            assert!(door.ask("/").unwrap().1.contains("plaza/lane"));
        }
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "its folder says who may come so far");
        server.stop().join().unwrap();
        assert!(!socket.exists());
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_one_that_answers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        drop(UnixListener::bind(&path).unwrap());
        let listener = listen(&path).unwrap();
        assert!(matches!(listen(&path), Err(RuntimeError::StatusSocket { .. })));
        drop(listener);
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "somebody's").unwrap();
        assert!(listen(&file).is_err() && file.exists());
    }
}
