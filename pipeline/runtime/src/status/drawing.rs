//! The set-up page, on which an installer draws lines and zones.
//!
//! The picture behind them is the background of one camera, in which people and vehicles have vanished. The page asks for
//! it only while the set-up mode is on (rule PC-17), and lets go of it when the time is over. What is drawn stays in the
//! browser and is taken away as the `geometry` block of the camera's file: nothing is sent to the node.

use std::time::Duration;

use kerbside_core::tree::{NAME_RULE, show_duration};
use maud::{Markup, html};

use super::page::{data_block, document, percent, span};
use super::snapshot::SetupView;

/// How long the mode lasts where nobody says otherwise.
const MINUTES: u64 = 15;

/// What the page shows.
pub(super) struct Drawing<'a> {
    /// The node's name.
    pub(super) node: &'a str,
    pub(super) setup: &'a SetupView,
    /// The names of all cameras.
    pub(super) cameras: &'a [&'a str],
    /// What a form must give back, so that no other page can send it.
    pub(super) token: &'a str,
    /// The geometry of the camera for which the mode is on, as JSON.
    pub(super) geometry: &'a str,
    pub(super) picture: Picture,
}

/// The picture of the street without people and vehicles.
#[derive(Clone, Copy, Debug)]
pub(super) enum Picture {
    /// It is being made.
    Waiting {
        /// How far that is, 0..1.
        progress: f32,
    },
    /// It can be fetched.
    Ready {
        /// The share of it that is known, 0..1.
        known: f32,
    },
}

/// The document.
pub(super) fn render(drawing: &Drawing<'_>) -> String {
    let body = html! {
        header {
            h1 { "Lines and zones" }
            p { a href="/" { "Status of " (drawing.node) } }
        }
        main {
            @match drawing.setup {
                SetupView::Forbidden => (forbidden()),
                SetupView::Off { at_most } => (off(drawing, *at_most)),
                SetupView::On { camera, left } => (on(drawing, camera, *left)),
            }
        }
    };
    document(&format!("Lines and zones – {}", drawing.node), "drawing", &["drawing"], false, &body)
}

fn forbidden() -> Markup {
    html! {
        section {
            h2 { "The set-up mode is not allowed here" }
            p {
                "In set-up mode this page shows a picture of one camera's street, without people and vehicles, to draw lines "
                "and zones on. A node shows no picture unless its owner says that it may, so the mode is off by default."
            }
            p { "To allow it for at most half an hour at a time, put this line into " code { "node.yaml" } ":" }
            pre { code { "setup: {at_most: " (show_duration(Duration::from_secs(1800))) "}" } }
            p { "Take the line out again when the cameras are set up." }
        }
    }
}

fn off(drawing: &Drawing<'_>, at_most: Duration) -> Markup {
    let most = (at_most.as_secs() / 60).max(1);
    html! {
        section {
            h2 { "Start the set-up mode" }
            p {
                "While it is on, this page shows the background of one camera: a picture in which people and vehicles have "
                "vanished. It is kept in memory alone and is gone when the time is over."
            }
            @if drawing.cameras.is_empty() {
                p { "No camera is configured." }
            } @else {
                form .start method="post" action="/setup/start" {
                    input type="hidden" name="token" value=(drawing.token);
                    label for="camera" { "Camera" }
                    select #camera name="camera" required {
                        @for camera in drawing.cameras { option value=(camera) { (camera) } }
                    }
                    label for="minutes" { "Minutes, at most " (most) }
                    input #minutes type="number" name="minutes" min="1" max=(most) step="1" value=(most.min(MINUTES))
                        inputmode="numeric" required;
                    button .main type="submit" { "Start" }
                }
            }
        }
    }
}

fn on(drawing: &Drawing<'_>, camera: &str, left: Duration) -> Markup {
    html! {
        div #setup .bar data-camera=(camera) data-left=(left.as_secs()) {
            p {
                strong { (camera) } ": "
                span #left { (span(left)) } " left"
            }
            form method="post" action="/setup/stop" {
                input type="hidden" name="token" value=(drawing.token);
                button type="submit" { "Stop" }
            }
        }
        noscript { p .banner.look { "Drawing needs JavaScript." } }
        p #ended .banner.look role="alert" hidden {}
        (picture_state(drawing.picture))
        div .desk {
            (stage(camera))
            (tools())
        }
        (result(camera))
        (data_block("geometry", drawing.geometry))
    }
}

/// What the script fetches again and again, to know how far the picture is.
fn picture_state(picture: Picture) -> Markup {
    html! {
        @match picture {
            Picture::Waiting { progress } => div #picture data-ready="false" {
                p #picture-words {
                    "People and vehicles vanish from the picture within two or three minutes; places never seen empty stay grey."
                }
                progress #progress max="100" value=((progress.clamp(0.0, 1.0) * 100.0).round())
                    aria-labelledby="picture-words" {}
            },
            Picture::Ready { known } => div #picture data-ready="true" {
                p #picture-words {
                    (percent(known.into())) " of the picture is known; places never seen empty are grey."
                }
            },
        }
    }
}

fn stage(camera: &str) -> Markup {
    html! {
        div #stage {
            img #background alt={ "The street that " (camera) " sees, without people and vehicles" } hidden;
            svg #overlay tabindex="0" role="group" aria-label="Lines and zones on the picture"
                aria-describedby="hint" {}
        }
    }
}

fn tools() -> Markup {
    html! {
        section .tools aria-label="Tools" {
            div .buttons {
                button #add-line type="button" aria-pressed="false" { "Add line" }
                button #add-zone type="button" aria-pressed="false" { "Add zone" }
                button #finish type="button" hidden { "Close zone" }
                button #cancel type="button" hidden { "Cancel" }
                button #undo type="button" disabled { "Undo" }
                button #delete-corner type="button" disabled { "Delete corner" }
            }
            p #hint role="status" {}
            ul #faults .problems aria-live="polite" {}
            ul #sites {}
        }
    }
}

fn result(camera: &str) -> Markup {
    html! {
        section aria-labelledby="result-title" {
            h2 #result-title { "The camera's geometry" }
            p #gone hidden {}
            label for="yaml" {
                "Put this block into " code { "cameras/" (camera) ".yaml" } " instead of the one that is there, and try it with "
                code { "kerbside check" } "."
            }
            textarea #yaml readonly rows="8" spellcheck="false" wrap="off" {}
            div .buttons {
                button #copy .main type="button" { "Copy" }
                button #download type="button" { "Download" }
            }
            p #copied role="status" {}
            p .rule { "Names: " (NAME_RULE) "." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(setup: &SetupView, geometry: &str, picture: Picture) -> String {
        let cameras = ["plaza", "north"];
        render(&Drawing { node: "kerb-1", setup, cameras: &cameras, token: "t0k\"en", geometry, picture })
    }

    const EMPTY: &str = "{\"lines\": {}, \"zones\": {}, \"ground\": null}";
    const READY: Picture = Picture::Ready { known: 0.97 };

    #[test]
    fn pc_17_there_is_a_place_for_the_picture_only_while_the_mode_is_on() {
        let at_most = Duration::from_secs(1800);
        let on = SetupView::On { camera: "plaza".to_owned(), left: Duration::from_secs(754) };
        for (setup, has_picture, said) in [
            (SetupView::Forbidden, false, "setup: {at_most: 30m}"),
            (SetupView::Off { at_most }, false, "action=\"/setup/start\""),
            (on, true, "action=\"/setup/stop\""),
        ] {
            let page = page(&setup, EMPTY, READY);
            assert_eq!(page.contains("<img"), has_picture, "{setup:?}");
            assert!(page.contains(said), "{setup:?}");
            // The script fetches it when it is ready, so that it is not asked for in vain.
            assert!(!page.contains("<img src") && !page.contains(" style="), "{setup:?}");
        }
    }

    #[test]
    fn forms_carry_the_token_and_the_most_that_is_allowed() {
        let page = page(&SetupView::Off { at_most: Duration::from_secs(600) }, EMPTY, READY);
        assert!(page.contains("name=\"token\" value=\"t0k&quot;en\""));
        assert!(page.contains("min=\"1\" max=\"10\" step=\"1\" value=\"10\""), "{page}");
        assert!(page.contains("<option value=\"north\">north</option>"));
    }

    #[test]
    fn a_name_in_the_geometry_cannot_end_its_block() {
        let on = SetupView::On { camera: "plaza".to_owned(), left: Duration::from_secs(60) };
        let page = page(&on, "{\"lines\": {\"</script><img>\": {}}}", Picture::Waiting { progress: 0.25 });
        assert!(page.contains("\\u003c/script>\\u003cimg>"));
        assert!(page.contains("value=\"25\"") && page.contains("data-ready=\"false\""));
        assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
    }
}
