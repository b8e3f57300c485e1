//! A camera on the status page: how it is, and what has been released of it.

use std::cmp::Reverse;

use kerbside_core::camera::CameraState;
use kerbside_core::time::WallTime;
use maud::{Markup, html};

use super::problems::{is_connecting, state_of};
use super::{fact, gauge, shapes, words};
use crate::status::snapshot::{BinView, CameraView};

/// A card.
pub(super) fn card(camera: &CameraView) -> Markup {
    let (class, shape) = match camera.state {
        CameraState::Up => ("good", shapes::good()),
        CameraState::Disabled => ("off", shapes::off()),
        CameraState::Connecting if is_connecting(camera) => ("look", shapes::look()),
        _ => ("bad", shapes::bad()),
    };
    let id = format!("camera-{}", camera.name);
    html! {
        article #(id) .{ "card " (class) } aria-labelledby={ (id) "-name" } {
            div .head {
                h3 #{ (id) "-name" } { (camera.name) }
                p .state { (shape) (if is_connecting(camera) { "connecting" } else { words::state(camera.state) }) }
            }
            @if let Some(said) = state_of(camera) { p .said { "It " (said) "." } }
            dl {
                (fact("Analysed", match (camera.fps_analysed, camera.fps_in) {
                    (Some(analysed), Some(arriving)) => format!("{analysed:.1} of {arriving:.1} a second"),
                    _ => "not measured yet".to_owned(),
                }))
                @if let Some((median, slow)) = camera.latency {
                    (fact("Delay", format!("{} (95 %: {})", words::delay(median), words::delay(slow))))
                }
                @if let Some(coverage) = camera.coverage {
                    (fact("Seen", format!("{} of the last minute", words::percent(coverage.into()))))
                }
                (fact("Last frame", camera.last_frame_age.map_or_else(
                    || "none yet".to_owned(),
                    |age| format!("{} ago", words::delay(age)),
                )))
                (fact("Reconnected", match camera.reconnects {
                    0 => "never".to_owned(),
                    1 => "once".to_owned(),
                    times => format!("{} times", words::grouped(times)),
                }))
                @if let Some((text, ago)) = &camera.trouble {
                    (fact("Last problem", format!("{} ({} ago)", text, words::span(*ago))))
                }
                (fact("Privacy", html! {
                    (camera.profile)
                    @if let Some((left, whole)) = camera.budget_milli {
                        ", ε " (epsilon(left)) " of " (epsilon(whole)) " left"
                        (gauge(f64::from(left) / f64::from(whole.max(1))))
                    }
                }))
                (fact("Detector", &camera.model))
            }
            (released(camera, &id))
        }
    }
}

/// Thousandths as a number.
fn epsilon(milli: u32) -> String {
    format!("{}.{:02}", milli / 1000, milli % 1000 / 10)
}

fn released(camera: &CameraView, id: &str) -> Markup {
    if camera.bins.is_empty() {
        return html! { p .none { "Nothing has been released yet." } };
    }
    // Counters of one class have bins of one length; within a bin the sites keep their order.
    let mut bins: Vec<&BinView> = camera.bins.iter().collect();
    bins.sort_by_key(|bin| (Reverse(bin.to), bin.from));
    let has_noise = camera.bins.iter().any(|bin| bin.noise_b > 0.0);
    html! {
        details #{ (id) "-released" } {
            summary #{ (id) "-summary" } { "Released numbers" }
            table {
                caption {
                    "The last released bin of each counter"
                    @if has_noise { "; ± is where the noise lies in 95 of 100 cases" }
                }
                thead { tr { th scope="col" { "Site" } th scope="col" { "What" } th .number scope="col" { "Number" } } }
                @for rows in bins.chunk_by(|a, b| when(a) == when(b)) {
                    tbody {
                        tr { th .bin colspan="3" scope="rowgroup" { (head(rows)) } }
                        @for site in rows.chunk_by(|a, b| a.site == b.site) { (site_lines(site)) }
                    }
                }
            }
        }
    }
}

/// The time of a bin, and how much of it was seen.
fn head(rows: &[&BinView]) -> Markup {
    let Some(first) = rows.first() else { return html! {} };
    html! {
        (words::bin(first.from, first.to))
        @if let Some(seen) = words::coverage(first.coverage) { ", " (seen) }
    }
}

/// The counters of one line or zone, and the buckets of each.
fn site_lines(rows: &[&BinView]) -> Markup {
    html! {
        @for (place, bin) in rows.iter().enumerate() {
            tr {
                @if place == 0 { th scope="rowgroup" rowspan=(rows.len()) { (bin.site) } }
                td {
                    (words::counted(bin.measure, bin.class, bin.direction))
                    @if let Some(bucket) = words::bucket(bin.measure, bin.bucket) { ", " (bucket) }
                }
                td .number { (value(bin)) }
            }
        }
    }
}

fn value(bin: &BinView) -> Markup {
    let unit = words::unit(bin.unit);
    let Some(value) = bin.value else { return html! { span .few { "too few to show" } } };
    let value = words::grouped(value.max(0).unsigned_abs().into());
    html! {
        (value) (unit)
        @if bin.noise_b > 0.0 { " " span .noise { "±\u{202f}" (words::grouped(half_width(bin.noise_b))) (unit) } }
    }
}

/// How far noise of this scale reaches in at least 95 of 100 cases. The tail of a discrete Laplace distribution beyond k is
/// below exp(-k/b).
fn half_width(noise_b: f64) -> u64 {
    (noise_b * 20_f64.ln()).ceil() as u64
}

fn when(bin: &BinView) -> (WallTime, WallTime, Option<&'static str>) {
    (bin.from, bin.to, words::coverage(bin.coverage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_stays_within_its_half_width_in_95_of_100_cases() {
        for noise_b in [0.3, 1.0, 4.545, 9.09, 45.0, 600.0_f64] {
            let ratio = (-1.0 / noise_b).exp();
            let beyond = |k: u64| 2.0 * ratio.powi(k as i32 + 1) / (1.0 + ratio);
            let width = half_width(noise_b);
            assert!(beyond(width) <= 0.05, "{noise_b}: {}", beyond(width));
            // Not wider than it needs to be, by more than the rounding.
            assert!(width < 2 || beyond(width - 2) > 0.05, "{noise_b}: {width} is too wide");
        }
        assert_eq!(half_width(4.545), 14);
    }
}
