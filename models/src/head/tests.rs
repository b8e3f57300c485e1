use kerbside_core::geometry::BoxInImage;

use super::*;

const LABELS: [&str; 3] = ["car", "airplane", "person"];

fn head(kind: Kind) -> Head {
    let labels = LABELS.map(str::to_owned);
    Head { kind, labels: LABELS.len(), counted: labels::counted(&labels) }
}

fn nanodet() -> Head {
    head(Kind::NanoDet(nanodet::NanoDet { strides: vec![8, 16], bins: 3 }))
}

fn yolox() -> Head {
    head(Kind::Yolox(yolox::Yolox { strides: vec![8, 16] }))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("out{at}")).collect()
}

/// 4 × 2 cells of stride 8 and 2 × 1 of stride 16.
const INPUT: PictureSize = PictureSize { width: 32, height: 16 };

/// Scores and distributions of both levels without any object.
fn quiet() -> [Vec<f32>; 4] {
    [vec![0.0; 8 * 3], vec![0.0; 2 * 3], vec![0.0; 8 * 12], vec![0.0; 2 * 12]]
}

fn decode(head: &Head, outputs: &[Vec<f32>]) -> Result<Vec<Candidate>, InferenceError> {
    let slices: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
    let mut found = Vec::new();
    head.decode(INPUT, &names(outputs.len()), &slices, &mut found)?;
    Ok(found)
}

#[test]
fn a_nanodet_box_reaches_the_expected_distance_to_each_side() {
    let mut outputs = quiet();
    // Stride 8, cell 6: column 2, row 1. Its centre is (20, 12).
    outputs[0][6 * 3 + 2] = 0.75;
    // Left: certainly 2 strides. Top: 0 and 1 alike. Right: 1 with weight 3 against 0 with weight 1. Bottom: uniform.
    let logits = [0.0, 0.0, 90.0, 90.0, 90.0, 0.0, 0.0, 3f32.ln(), -90.0, 5.0, 5.0, 5.0];
    outputs[2][6 * 12..7 * 12].copy_from_slice(&logits);
    // Stride 16, cell 1: column 1, row 0. Its centre is (24, 8); uniform means one stride to each side.
    outputs[1][3] = 0.5;
    let found = decode(&nanodet(), &outputs).unwrap();
    let expected = [
        (Class::Person, 0.75, BoxInImage { left: 4.0, top: 8.0, right: 26.0, bottom: 20.0 }),
        (Class::Car, 0.5, BoxInImage { left: 8.0, top: -8.0, right: 40.0, bottom: 24.0 }),
    ];
    assert_eq!(found.len(), expected.len());
    for (found, (class, score, expected)) in found.iter().zip(expected) {
        assert_eq!((found.class, found.score), (class, score));
        assert!(near(&found.box_in_input, &expected), "{found:?}");
    }
}

#[test]
fn a_yolox_box_lies_around_its_cell_and_grows_with_the_stride() {
    let mut output = vec![0.0; 10 * 8];
    // Stride 8, cell 5: column 1, row 1; then stride 16, cell 1, which is the tenth row.
    output[5 * 8..6 * 8].copy_from_slice(&[0.25, 0.5, 2f32.ln(), 4f32.ln(), 0.8, 0.9, 1.0, 0.05]);
    output[9 * 8..].copy_from_slice(&[-0.5, 0.5, 0.0, 0.5f32.ln(), 1.0, 0.0, 0.0, 0.6]);
    let found = decode(&yolox(), &[output]).unwrap();
    let expected = [
        (Class::Car, 0.72, BoxInImage { left: 2.0, top: -4.0, right: 18.0, bottom: 28.0 }),
        (Class::Person, 0.6, BoxInImage { left: 0.0, top: 4.0, right: 16.0, bottom: 12.0 }),
    ];
    assert_eq!(found.len(), expected.len());
    for (found, (class, score, expected)) in found.iter().zip(expected) {
        assert_eq!(found.class, class);
        assert!((found.score - score).abs() < 1e-6 && near(&found.box_in_input, &expected), "{found:?}");
    }
}

#[test]
fn scores_below_the_floor_and_labels_that_are_not_counted_are_left_out() {
    let mut outputs = quiet();
    outputs[0][0] = SCORE_FLOOR - 1e-4;
    outputs[0][1] = 0.99;
    assert_eq!(decode(&nanodet(), &outputs).unwrap(), []);
    outputs[0][0] = SCORE_FLOOR;
    assert_eq!(decode(&nanodet(), &outputs).unwrap().len(), 1);
}

#[test]
fn numbers_that_are_not_finite_are_refused_wherever_they_are() {
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for output in 0..4 {
            let mut outputs = quiet();
            *outputs[output].last_mut().unwrap() = broken;
            let error = decode(&nanodet(), &outputs).unwrap_err();
            assert_eq!(error.to_string(), format!("output 'out{output}' holds a number that is not finite"));
        }
        let mut output = vec![0.0; 10 * 8];
        output[3] = broken;
        assert!(decode(&yolox(), &[output]).is_err());
    }
    // A size whose exponential overflows.
    let mut output = vec![0.0; 10 * 8];
    output[..8].copy_from_slice(&[0.0, 0.0, 1000.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    assert!(matches!(decode(&yolox(), &[output]), Err(InferenceError::NotFinite { .. })));
}

#[test]
fn pc_16_a_score_outside_zero_to_one_is_refused_and_not_told() {
    for score in [1.5, -0.5] {
        let mut outputs = quiet();
        outputs[1][5] = score;
        let error = decode(&nanodet(), &outputs).unwrap_err();
        assert_eq!(error.to_string(), "output 'out1' holds a score outside 0 to 1");
        // Two of them would multiply to a score that looks right.
        let mut output = vec![0.0; 10 * 8];
        (output[4], output[5]) = (0.5, score);
        assert!(matches!(decode(&yolox(), &[output]), Err(InferenceError::ScoreRange { .. })));
    }
}

#[test]
fn shapes_that_do_not_fit_the_manifest_are_named() {
    let good = [vec![1, 8, 3], vec![1, 2, 3], vec![1, 8, 12], vec![1, 2, 12]];
    assert_eq!(nanodet().check(INPUT, &names(4), &good), Ok(()));
    let mut other = good.clone();
    other[1] = vec![1, 3, 2];
    let message = nanodet().check(INPUT, &names(4), &other).unwrap_err();
    assert_eq!(
        message,
        "for an input of 32x16 output 'out1' has the shape [1, 3, 2]; [1, 2, 3] is expected for 3 labels"
    );
    assert_eq!(yolox().check(INPUT, &names(1), &[vec![1, 10, 8]]), Ok(()));
    assert!(yolox().check(INPUT, &names(1), &[vec![1, 10, 85]]).is_err());
}

fn near(a: &BoxInImage, b: &BoxInImage) -> bool {
    [a.left - b.left, a.top - b.top, a.right - b.right, a.bottom - b.bottom].iter().all(|gap| gap.abs() < 1e-3)
}
