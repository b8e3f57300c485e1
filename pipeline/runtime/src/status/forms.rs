//! Setup mode on the status page: its form, and the picture while it is on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Form;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Facts;
use super::drawing::{self, Drawing};
use super::snapshot::SetupView;
use crate::error::RuntimeError;
use crate::setup::{Progress, SetupRefusal};

/// What a form must hold, so that no page but ours can send it.
pub(super) struct Token(String);

impl Token {
    pub(super) fn new() -> Result<Self, RuntimeError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(RuntimeError::Random)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Takes as long for any answer of the right length.
    fn is(&self, given: &str) -> bool {
        let differences = self.0.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == given.len() && differences == 0
    }
}

/// Whether a request's host is this machine for whoever asks. A port that is forwarded, as by ssh, may have any number.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Deserialize)]
pub(super) struct Start {
    token: String,
    camera: String,
    minutes: u64,
}

#[derive(Deserialize)]
pub(super) struct Stop {
    token: String,
}

/// The page on which lines and zones are drawn.
pub(super) async fn drawing(State(facts): State<Arc<Facts>>) -> Response {
    let now = Instant::now();
    let setup = facts.board.setup.view(now);
    let picture = match facts.board.setup.picture(now) {
        Ok(Progress::Ready(shown)) => drawing::Picture::Ready { known: shown.known },
        Ok(Progress::Waiting(progress)) => drawing::Picture::Waiting { progress },
        Ok(Progress::Off) => drawing::Picture::Waiting { progress: 0.0 },
        Err(error) => {
            tracing::error!(%error, "the background cannot be shown");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let cameras = facts.board.cameras();
    let names: Vec<&str> = cameras.iter().map(|camera| camera.name.as_str()).collect();
    let geometry = match &setup {
        SetupView::On { camera, .. } => cameras.iter().find(|known| known.name == *camera),
        SetupView::Forbidden | SetupView::Off { .. } => None,
    };
    let page = Drawing {
        node: &facts.board.identity.node,
        setup: &setup,
        cameras: &names,
        token: &facts.token.0,
        geometry: geometry.map_or("{}", |camera| &camera.geometry),
        picture,
    };
    Html(drawing::render(&page)).into_response()
}

/// Switches setup mode on.
pub(super) async fn start(State(facts): State<Arc<Facts>>, Form(form): Form<Start>) -> Response {
    if !facts.token.is(&form.token) {
        return refuse(StatusCode::FORBIDDEN, "the page is of an earlier start of the node: load it again");
    }
    let Some(lane) = facts.board.lane_of(&form.camera) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such camera");
    };
    let span = Duration::from_secs(form.minutes.saturating_mul(60));
    if span.is_zero() {
        return refuse(StatusCode::BAD_REQUEST, "setup mode is on for a minute or longer");
    }
    match facts.board.setup.start(&form.camera, lane, span, Instant::now()) {
        Ok(()) => {
            // Another configuration may have come in between.
            let now = facts.board.lane_of(&form.camera);
            if now != Some(lane) {
                facts.board.setup.lane_is_now(&form.camera, now);
            }
            Redirect::to("/setup").into_response()
        }
        Err(refusal @ SetupRefusal::Forbidden) => refuse(StatusCode::FORBIDDEN, &refusal.to_string()),
        Err(refusal @ SetupRefusal::TooLong) => refuse(StatusCode::BAD_REQUEST, &refusal.to_string()),
    }
}

/// Switches setup mode off.
pub(super) async fn stop(State(facts): State<Arc<Facts>>, Form(form): Form<Stop>) -> Response {
    if !facts.token.is(&form.token) {
        return refuse(StatusCode::FORBIDDEN, "the page is of an earlier start of the node: load it again");
    }
    facts.board.setup.stop();
    Redirect::to("/setup").into_response()
}

/// The picture, while setup mode is on and enough was seen.
pub(super) async fn background(State(facts): State<Arc<Facts>>) -> Response {
    match facts.board.setup.picture(Instant::now()) {
        Ok(Progress::Ready(shown)) => ([(header::CONTENT_TYPE, "image/png")], shown.png.to_vec()).into_response(),
        Ok(Progress::Waiting(_) | Progress::Off) => refuse(StatusCode::NOT_FOUND, "there is no picture"),
        Err(error) => {
            tracing::error!(%error, "the background cannot be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn refuse(code: StatusCode, why: &str) -> Response {
    (code, format!("{why}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_this_machine() {
        for host in ["localhost", "LocalHost:9600", "127.0.0.1:80", "127.1.2.3", "[::1]:9600", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:9600",
            "10.0.0.1:9600",
            "[::2]:1",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_token_fits_itself_alone() {
        let (token, other) = (Token::new().unwrap(), Token::new().unwrap());
        assert!(token.is(&token.0) && !token.is(&other.0) && !token.is("") && !token.is(&token.0[1..]));
        assert_eq!(token.0.len(), 32);
    }
}
