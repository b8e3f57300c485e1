//! What Kerbside does not recognise, so that a configuration which asks for it hears the reason.

/// A word in an operator's name, and what it would be about.
const REFUSED: [(&str, &str); 37] = [
    ("face", "faces"),
    ("facial", "faces"),
    ("biometric", "faces or bodies"),
    ("plate", "number plates"),
    ("licence", "number plates"),
    ("license", "number plates"),
    ("alpr", "number plates"),
    ("anpr", "number plates"),
    ("lpr", "number plates"),
    ("reid", "somebody who was seen before"),
    ("re_id", "somebody who was seen before"),
    ("reidentification", "somebody who was seen before"),
    ("reidentify", "somebody who was seen before"),
    ("re_identify", "somebody who was seen before"),
    ("re_identification", "somebody who was seen before"),
    ("pose", "poses"),
    ("skeleton", "poses"),
    ("keypoint", "poses"),
    ("gesture", "gestures"),
    ("audio", "sounds"),
    ("sound", "sounds"),
    ("speech", "speech"),
    ("voice", "voices"),
    ("gait", "gaits"),
    ("emotion", "emotions"),
    ("mood", "emotions"),
    ("age", "ages"),
    ("gender", "genders"),
    ("sex", "genders"),
    ("ethnicity", "origins"),
    ("race", "origins"),
    ("attribute", "attributes of people"),
    ("appearance", "attributes of people"),
    ("clothing", "attributes of people"),
    ("clothes", "attributes of people"),
    ("identify", "who somebody is"),
    ("identity", "who somebody is"),
];

/// What an operator of this name would recognise of people, if it is of a kind that does not exist by design.
pub(crate) fn recognised_by(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "_");
    let padded = format!("_{plain}_");
    let speaks_of = |word: &str| padded.contains(&format!("_{word}_")) || padded.contains(&format!("_{word}s_"));
    REFUSED.into_iter().find(|(word, _)| speaks_of(word)).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_the_name_is_enough_and_a_part_of_a_word_is_not() {
        for name in
            ["face", "detect_faces", "Detect-Face", "read_license_plate", "re-id", "count_re_id", "estimate age"]
        {
            assert!(recognised_by(name).is_some(), "{name}");
        }
        for name in
            ["measure_passage", "count_lines", "detect_surface", "average", "platelet", "", "composed", "garage"]
        {
            assert_eq!(recognised_by(name), None, "{name}");
        }
    }
}
