//! What an installer may see of a street: nobody.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/people.rs"]
mod people;

use std::time::Duration;

use common::{frames, vtest};
use kerbside_core::detection::Detection;
use kerbside_core::frame::Frame;
use kerbside_core::geometry::BoxInImage;
use kerbside_core::time::MediaTime;
use kerbside_vision::{Background, Picture};
use people::{as_frame, detector, people};

/// A second of the clip has ten frames.
const STEP: usize = 5;

/// Mean difference in luma between the frame and the background within a box, 0..255. What is not known is left out.
fn difference(frame: &Frame, background: &Picture, found: &BoxInImage) -> Option<f32> {
    let (width, height) = (background.size.width as f32, background.size.height as f32);
    let (mut sum, mut count) = (0.0, 0);
    for y in (found.top * height) as usize..((found.bottom * height) as usize).min(background.size.height as usize)
    {
        for x in
            (found.left * width) as usize..((found.right * width) as usize).min(background.size.width as usize)
        {
            let rgb = &background.rgb[3 * (y * background.size.width as usize + x)..][..3];
            if rgb == [128; 3] {
                continue;
            }
            let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(f32::from);
            let shown = 16.0 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255.0;
            let at_x = (x as f32 / width * frame.size.width as f32) as usize;
            let at_y = (y as f32 / height * frame.size.height as f32) as usize;
            let seen = f32::from(frame.luma().row(at_y, frame.size.width as usize)[at_x]);
            sum += (shown - seen).abs();
            count += 1;
        }
    }
    (count > 50).then(|| sum / count as f32)
}

#[test]
fn pc_17_nobody_who_walks_through_the_clip_is_in_the_picture() {
    let mut detector = detector();
    let mut sampled: Vec<(Frame, Vec<Detection>)> = Vec::new();
    let (mut with_detector, mut without): (Option<Background>, Option<Background>) = (None, None);
    // Twice, as if the same people came again.
    let again = Duration::from_secs(80);
    let shifted = frames(&vtest()).map(|mut frame| {
        frame.media_time = frame.media_time + again;
        frame
    });
    for frame in frames(&vtest()).step_by(STEP).chain(shifted.step_by(STEP)) {
        let found = people(&mut *detector, &frame);
        let boxes = || found.iter().map(|detection| detection.box_in_image);
        with_detector.get_or_insert_with(|| Background::new(&frame)).add(&frame, boxes());
        // Even a detector that sees nobody at all only makes the picture worse, not more telling.
        without.get_or_insert_with(|| Background::new(&frame)).add(&frame, std::iter::empty());
        if sampled.len() < 12
            && frame.media_time >= MediaTime::ZERO + Duration::from_secs(6 * sampled.len() as u64)
        {
            sampled.push((frame, found));
        }
    }
    let seen: usize = sampled.iter().map(|(_, found)| found.len()).sum();
    assert!(seen >= 30, "the clip is full of people: {seen}");
    let picture = with_detector.unwrap().picture().unwrap();
    println!("known: {}", picture.known);
    assert!(picture.known > 0.9, "{}", picture.known);
    let found = people(&mut *detector, &as_frame(&picture));
    assert!(found.is_empty(), "somebody is in the picture: {found:?}");
    // Where somebody was, the street is shown: it differs from the frame by what a person is.
    let mut differences = Vec::new();
    for (frame, found) in &sampled {
        differences.extend(found.iter().filter_map(|it| difference(frame, &picture, &it.box_in_image)));
    }
    differences.sort_by(f32::total_cmp);
    println!("differences where people were: {differences:?}");
    // The detector also sees somebody in things that never move; those are in the picture, as they should be.
    let gone = differences.iter().filter(|difference| **difference > 20.0).count();
    assert!(
        differences.len() >= 20 && 10 * gone >= 9 * differences.len(),
        "people are still there: {differences:?}"
    );

    let alone = without.unwrap().picture().unwrap();
    let found = people(&mut *detector, &as_frame(&alone));
    assert!(found.is_empty(), "somebody is in the picture that no detector helped with: {found:?}");
}
