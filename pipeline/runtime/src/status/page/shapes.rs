//! Small shapes that say by form what colour says too. Words beside them say it again, so they are hidden from readers
//! of the screen.

use maud::{Markup, PreEscaped, html};

fn shape(class: &str, inner: &str) -> Markup {
    html! { svg .shape.(class) viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" { (PreEscaped(inner)) } }
}

/// A disc with a tick.
pub(super) fn good() -> Markup {
    shape("good", "<circle cx='10' cy='10' r='9'/><path d='M5.5 10.5l3 3 6-7'/>")
}

/// A triangle with a mark.
pub(super) fn look() -> Markup {
    shape("look", "<path class='body' d='M10 1.5 19 18H1Z'/><path d='M10 7.5v5M10 15v.6'/>")
}

/// An octagon with a cross.
pub(super) fn bad() -> Markup {
    shape(
        "bad",
        "<path class='body' d='M6.3 1h7.4L19 6.3v7.4L13.7 19H6.3L1 13.7V6.3Z'/><path d='M6.8 6.8l6.4 6.4m0-6.4-6.4 6.4'/>",
    )
}

/// A ring with a bar: switched off.
pub(super) fn off() -> Markup {
    shape("off", "<circle cx='10' cy='10' r='8.5'/><path d='M6 10h8'/>")
}
