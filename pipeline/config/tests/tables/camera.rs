//! What is wrong in one camera's file.

use super::{lines, parse, refused};

const CASES: &[(&str, &[&str])] = &[
    // The file as a whole.
    (
        "analyse_fps: [10",
        &["plaza.yaml:2:7: not valid YAML: illegal placement of ':' indicator; YAML 1.2 is expected"],
    ),
    (
        "analyse_fps: 10\n\tclasses: [person]",
        &[
            "plaza.yaml:1:14: not valid YAML: while scanning a plain scalar, found a tab; indent with spaces: YAML allows no tabs there",
        ],
    ),
    (
        "analyse_fps: 10\ndetector: {model: tram-9, model: nanodet-g}\nanalyse_fps: 99",
        &[
            "plaza.yaml:2:27: detector.model: the key is here a second time; each key once; the first is at 2:12",
            "plaza.yaml:3:1: analyse_fps: the key is here a second time; each key once; the first is at 1:1",
        ],
    ),
    (
        "analyse_fps: &a 10",
        &["plaza.yaml:1:14: an anchor is set; anchors and aliases are not allowed: write the value out"],
    ),
    ("analyse_fps: !!float 10", &["plaza.yaml:1:14: a tag is set; tags are not allowed"]),
    // Keys.
    (
        "analyze_fps: 10",
        &[
            "plaza.yaml:1:1: analyze_fps: unknown key; did you mean 'analyse_fps'? allowed are analyse_fps, classes, credentials, detector, geometry, operators, privacy, source, time_zone, tls, transport",
        ],
    ),
    (
        "colour: red",
        &[
            "plaza.yaml:1:1: colour: unknown key; allowed are analyse_fps, classes, credentials, detector, geometry, operators, privacy, source, time_zone, tls, transport",
        ],
    ),
    ("detector: {name: tram-9}", &["plaza.yaml:1:12: detector.name: unknown key; allowed are min_score, model"]),
    ("classes:", &["plaza.yaml:1:8: classes: nothing was found; a list is expected"]),
    // The source.
    ("source:", &["plaza.yaml:1:7: source: nothing was found; text is expected"]),
    (
        "source: ''",
        &[
            "plaza.yaml:1:9: source: the source is empty or holds a control character; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: exec:/bin/sh -c reboot",
        &[
            "plaza.yaml:1:9: source: 'exec:' is not a kind of source; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: HTTP://10.0.4.21/stream",
        &[
            "plaza.yaml:1:9: source: 'http:' is not a kind of source; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: rtsp:///stream2",
        &[
            "plaza.yaml:1:9: source: the address has no host; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: rtsp:10.0.4.21",
        &[
            "plaza.yaml:1:9: source: the address has no host; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: rtsp://10.0.4.21:99999/stream",
        &[
            "plaza.yaml:1:9: source: the address cannot be read: invalid port number; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: rtsp://10.0.4.21:0/stream",
        &[
            "plaza.yaml:1:9: source: the address has port 0; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: rtsp://10.0.4.21/stream#2",
        &[
            "plaza.yaml:1:9: source: the address has a '#' part, which no camera sees; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    (
        "source: file://elsewhere/clip.avi",
        &[
            "plaza.yaml:1:9: source: the file address names no file on this machine; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    ),
    ("source: [rtsp://10.0.4.21]", &["plaza.yaml:1:9: source: a list was found; text is expected"]),
    // Transport and certificates.
    (
        "time_zone: Europe/Zuerich",
        &[
            "plaza.yaml:1:12: time_zone: there is no time zone 'Europe/Zuerich'; a name of the IANA database is expected, such as Europe/Zurich or UTC",
        ],
    ),
    ("transport: quic", &["plaza.yaml:1:12: transport: 'quic' is unknown; allowed are tcp, udp"]),
    (
        "source: clip.avi\ntransport: tcp\ntls: {ca: ca.pem}\ncredentials: {username: a, password: {file: b}}",
        &[
            "plaza.yaml:2:1: transport: this source does not use the key; only rtsp sources have it",
            "plaza.yaml:3:1: tls: this source does not use the key; only rtsps sources have it",
            "plaza.yaml:4:1: credentials: this source does not use the key; only rtsp and rtsps sources have it",
        ],
    ),
    (
        "source: rtsps://10.0.4.21/stream\ntransport: udp",
        &["plaza.yaml:2:12: transport: rtsps does not protect packets over udp; only tcp is allowed with rtsps"],
    ),
    ("tls: {ca: ca.pem}", &["plaza.yaml:1:1: tls: this source does not use the key; only rtsps sources have it"]),
    (
        "source: rtsps://10.0.4.21/stream\ntls: {}",
        &["plaza.yaml:2:6: tls: the key 'ca' is missing; it is required"],
    ),
    // Passwords.
    (
        "credentials: {username: kerbside, password: hunter2}",
        &[
            "plaza.yaml:1:45: credentials.password: the password is written here; write it into a file of its own and name that: password: {file: /run/secrets/NAME}",
        ],
    ),
    (
        "credentials: {username: kerbside, password: 'hunter2'}",
        &[
            "plaza.yaml:1:45: credentials.password: the password is written here; write it into a file of its own and name that: password: {file: /run/secrets/NAME}",
        ],
    ),
    (
        "credentials: {username: kerbside, password: [hunter2]}",
        &[
            "plaza.yaml:1:45: credentials.password: this names no password file; write it into a file of its own and name that: password: {file: /run/secrets/NAME}",
        ],
    ),
    (
        "credentials: {username: kerbside, password: {hunter2}}",
        &["plaza.yaml:1:46: credentials.password: unknown key; only file is allowed"],
    ),
    (
        "credentials: {username: kerbside, password: {env: CAMERA_PASSWORD}}",
        &[
            "plaza.yaml:1:46: credentials.password.env: a password from the environment is not supported: other processes can read it there; {file: PATH} is expected: systemd, podman, docker and Kubernetes all hand secrets over as files",
        ],
    ),
    (
        "credentials: {username: kerbside, password: {}}",
        &[
            "plaza.yaml:1:45: credentials.password: this names no password file; write it into a file of its own and name that: password: {file: /run/secrets/NAME}",
        ],
    ),
    (
        "credentials: {username: 'kerb:side', password: {file: a}}",
        &[
            "plaza.yaml:1:25: credentials.username: the user name is empty, too long, or holds a colon or control character; a name of 1 to 128 bytes is expected",
        ],
    ),
    (
        "credentials: kerbside:hunter2",
        &["plaza.yaml:1:14: credentials: a single value was found; a map of keys is expected"],
    ),
    (
        "credentials: {username: kerbside}",
        &["plaza.yaml:1:14: credentials: the key 'password' is missing; it is required"],
    ),
    (
        "source: rtsp://kerbside:hunter2@10.0.4.21/stream",
        &[
            "plaza.yaml:1:9: source: the address has a user name or a password in it; write credentials: {username: NAME, password: {file: PATH}} instead; '@' elsewhere is written %40",
        ],
    ),
    (
        "source: rtsp://kerbside@10.0.4.21/stream",
        &[
            "plaza.yaml:1:9: source: the address has a user name or a password in it; write credentials: {username: NAME, password: {file: PATH}} instead; '@' elsewhere is written %40",
        ],
    ),
    (
        "source: rtsps://kerbside:hunter2/@10.0.4.21:99999/stream",
        &[
            "plaza.yaml:1:9: source: the address has a user name or a password in it; write credentials: {username: NAME, password: {file: PATH}} instead; '@' elsewhere is written %40",
        ],
    ),
    // Numbers and words.
    (
        "analyse_fps: 0.1",
        &[
            "plaza.yaml:1:14: analyse_fps: 0.1 is out of range; a number of frames per second from 1 to 60 is expected",
        ],
    ),
    (
        "analyse_fps: .nan",
        &[
            "plaza.yaml:1:14: analyse_fps: '.nan' is not a number; a number of frames per second from 1 to 60 is expected",
        ],
    ),
    (
        "analyse_fps: '10'",
        &[
            "plaza.yaml:1:14: analyse_fps: '10' is in quotes, so it is text; a number of frames per second from 1 to 60 is expected",
        ],
    ),
    (
        "analyse_fps: 10fps",
        &[
            "plaza.yaml:1:14: analyse_fps: '10fps' is not a number; a number of frames per second from 1 to 60 is expected",
        ],
    ),
    (
        "detector: {min_score: 0.1}",
        &["plaza.yaml:1:23: detector.min_score: 0.1 is out of range; a number from 0.15 to 0.95 is expected"],
    ),
    (
        "detector: {model: nanodet}",
        &[
            "plaza.yaml:1:19: detector.model: there is no model 'nanodet'; did you mean 'nanodet-g'? allowed are nanodet-g, tram-9",
        ],
    ),
    ("detector: nanodet-g", &["plaza.yaml:1:11: detector: a single value was found; a map of keys is expected"]),
    (
        "classes: [person, persn, cat]",
        &[
            "plaza.yaml:1:19: classes[1]: there is no class 'persn'; did you mean 'person'? allowed are person, bicycle, motorcycle, car, bus, truck, other",
            "plaza.yaml:1:26: classes[2]: there is no class 'cat'; did you mean 'car'? allowed are person, bicycle, motorcycle, car, bus, truck, other",
        ],
    ),
    (
        "classes: [person, car, person]",
        &["plaza.yaml:1:24: classes[2]: the class 'person' is here a second time; each class once"],
    ),
    (
        "classes: []",
        &[
            "plaza.yaml:1:10: classes: the list is empty; at least one of person, bicycle, motorcycle, car, bus, truck, other is expected",
        ],
    ),
    // Lines.
    (
        "geometry: {lines: {crossing: {from: [0.1, 1.6], to: [-0.9, .inf]}}}",
        &[
            "plaza.yaml:1:43: geometry.lines.crossing.from[1]: 1.6 is out of range; a number of picture heights from 0 to 1 is expected",
            "plaza.yaml:1:54: geometry.lines.crossing.to[0]: -0.9 is out of range; a number of picture widths from 0 to 1 is expected",
            "plaza.yaml:1:60: geometry.lines.crossing.to[1]: '.inf' is not a number; a number of picture heights from 0 to 1 is expected",
        ],
    ),
    (
        "geometry: {lines: {crossing: {from: [384, 288], to: [0.5]}}}",
        &[
            "plaza.yaml:1:38: geometry.lines.crossing.from[0]: 384 is out of range; a number of picture widths from 0 to 1 is expected",
            "plaza.yaml:1:43: geometry.lines.crossing.from[1]: 288 is out of range; a number of picture heights from 0 to 1 is expected",
            "plaza.yaml:1:53: geometry.lines.crossing.to: a list of length 1 was found; a point is [x, y], both from 0 to 1, from the picture's top left",
        ],
    ),
    (
        "geometry: {lines: {crossing: {from: [0.5, 0.5], to: [0.505, 0.505]}}}",
        &[
            "plaza.yaml:1:30: geometry.lines.crossing: the line is only 0.0071 long; a length of at least 0.01 is expected, where 1 is the picture's width or height",
        ],
    ),
    (
        "geometry: {lines: {crossing: {from: [0.5, 0.5], too: [0.9, 0.5]}}}",
        &[
            "plaza.yaml:1:30: geometry.lines.crossing: the key 'to' is missing; it is required",
            "plaza.yaml:1:49: geometry.lines.crossing.too: unknown key; did you mean 'to'? allowed are from, to",
        ],
    ),
    (
        "geometry: {lines: {crossing: {from: [0.1, 0.6], to: [0.9, 0.5]}, Main Street: {from: [0, 0], to: [1, 1]}}}",
        &[
            "plaza.yaml:1:66: geometry.lines.Main Street: 'Main Street' is not a name; a name has 1 to 32 lower-case letters, digits, '-' and '_' and begins with a letter",
        ],
    ),
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  zones: {crossing: {polygon: [[0, 0], [1, 0], [1, 1]]}}",
        &[
            "plaza.yaml:3:11: geometry.zones.crossing: a line and a zone are both called 'crossing'; each name once among lines and zones; the first is at 2:11",
        ],
    ),
    (
        "geometry: {lines: [crossing]}",
        &["plaza.yaml:1:19: geometry.lines: a list was found; a map of keys is expected"],
    ),
    // Zones; the line is missing, which is not said where the zones are the point.
    (
        "geometry: {lines: {crossing: {from: [0, 0], to: [1, 1]}}, zones: {a: {polygon: [[0, 0], [1, 0], [2, 1]]}}}",
        &[
            "plaza.yaml:1:98: geometry.zones.a.polygon[2][0]: 2 is out of range; a number of picture widths from 0 to 1 is expected",
        ],
    ),
    (
        "geometry: {lines: {crossing: {from: [0, 0], to: [1, 1]}}, zones: {a: {polygon: [[0, 0], [1, 0]]}}}",
        &["plaza.yaml:1:80: geometry.zones.a.polygon: the polygon has 2 corners; 3 to 64 corners are expected"],
    ),
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  zones:\n    a: {polygon: [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]}\n    b: {polygon: [[0.1, 0.1], [0.11, 0.1], [0.1, 0.11]]}\n    c: {polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]}\n    d: {}",
        &[
            "plaza.yaml:4:43: geometry.zones.a.polygon[2]: the edge from here to the next corner touches or crosses the one that begins at geometry.zones.a.polygon[0]; neighbouring corners differ and no edge touches or crosses another",
            "plaza.yaml:5:18: geometry.zones.b.polygon: the zone covers only 0.000050 of the picture; at least 0.0005 is expected, where 1 is the whole picture",
            "plaza.yaml:6:43: geometry.zones.c.polygon[2]: the corner is where the one before it is; neighbouring corners differ and no edge touches or crosses another",
            "plaza.yaml:7:8: geometry.zones.d: the key 'polygon' is missing; it is required",
        ],
    ),
    // The ground.
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  ground:\n    image: [[0.2, 0.4], [0.7, 0.4], [0.9, 0.8], [0.1, 0.9]]\n    metres: [[0, 0], [12, 18], [12, 0], [0, 18]]",
        &[
            "plaza.yaml:4:5: geometry.ground: the horizon would run between the points: no camera sees a flat street like this; points of one flat street, in the same order in the picture and in metres, are expected",
        ],
    ),
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  ground:\n    image: [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.5, 0]]\n    metres: [[0, 0], [12, 0], [12, 18], [0, 18], [6, 13], [6, 0]]",
        &[
            "plaza.yaml:5:50: geometry.ground.metres[4]: the other points put this one 4.00 m away from here; points that agree to 0.65 m are expected: measure and click them again",
        ],
    ),
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  ground:\n    image: [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]]\n    metres: [[0, 0], [12, 0], [12, 18], [0, 18], [6, 13]]",
        &[
            "plaza.yaml:5:13: geometry.ground.metres: the points do not agree: without any one of them the others put it 4.00 m off or more; points that agree to 0.65 m are expected: measure and click them again",
        ],
    ),
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  ground:\n    image: [[0, 0], [1, 0], [1, 1], [0, 1]]\n    metres: [[0, 0], [12, 0], [12, 18], [0, 18], [6, 9]]",
        &[
            "plaza.yaml:4:5: geometry.ground: 4 points in the picture and 5 on the street; as many of the one as of the other are expected, in the same order",
        ],
    ),
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  ground:\n    image: [[0, 0], [0.5, 0.5], [1, 1], [0.2, 0.2]]\n    metres: [[0, 0], [12, 0], [12, 0], [0, 99999]]",
        &[
            "plaza.yaml:4:12: geometry.ground.image: the points lie on one line; points that span an area are expected",
            "plaza.yaml:5:44: geometry.ground.metres[3][1]: 99999 is out of range; a number of metres from -10000 to 10000 is expected",
        ],
    ),
    (
        "geometry:\n  lines: {crossing: {from: [0, 0], to: [1, 1]}}\n  ground:\n    image: [[0, 0], [1, 0], [1, 1]]\n    metres: [[0, 0], [12, 0], [12, 18], [12, 0]]",
        &[
            "plaza.yaml:4:12: geometry.ground.image: a list of length 3 was found; 4 to 8 points are expected",
            "plaza.yaml:5:41: geometry.ground.metres[3]: the point is the same as geometry.ground.metres[1]; points that differ are expected",
        ],
    ),
    // Operators.
    (
        "operators: {count_lines: [{line: crossing}]}",
        &[
            "plaza.yaml:1:13: operators.count_lines: there is no operator 'count_lines'; did you mean 'count_line'? allowed are count_line, measure_occupancy",
        ],
    ),
    (
        "operators: {count_line: []}",
        &[
            "plaza.yaml:1:25: operators.count_line: the list is empty; at least one entry is expected: leave the operator out otherwise",
        ],
    ),
    (
        "operators: {count_line: {line: crossing}}",
        &["plaza.yaml:1:25: operators.count_line: a map of keys was found; a list is expected"],
    ),
    (
        "operators: {}",
        &[
            "plaza.yaml:1:12: operators: the camera has no operator, so it would count nothing; at least one of count_line, measure_occupancy is expected",
        ],
    ),
    ("operators:", &["plaza.yaml:1:10: operators: nothing was found; a map of keys is expected"]),
    (
        "operators: {count_line: [{line: crosing, margin: 1}, {classes: [person], lines: crossing}]}",
        &[
            "plaza.yaml:1:33: operators.count_line[0].line: there is no such line; lines: crossing",
            "plaza.yaml:1:42: operators.count_line[0].margin: unknown key; allowed are classes, hysteresis, line",
            "plaza.yaml:1:54: operators.count_line[1]: the key 'line' is missing; it is required",
            "plaza.yaml:1:74: operators.count_line[1].lines: unknown key; did you mean 'line'? allowed are classes, hysteresis, line",
        ],
    ),
    (
        "operators:\n  count_line:\n    - {line: crossing, classes: [car]}\n    - {line: crossing, classes: [person, car]}",
        &[
            "plaza.yaml:4:7: operators.count_line[1]: operators.count_line[0] already counts crossing_count of car at 'crossing'; each counter has one operator: leave one of the two out",
        ],
    ),
    // What would break the line of the report.
    (
        "\"two\\nlines\": 1\ndetector: {model: \"a\\e[2Jb\"}",
        &[
            "plaza.yaml:1:1: two�lines: unknown key; allowed are analyse_fps, classes, credentials, detector, geometry, operators, privacy, source, time_zone, tls, transport",
            "plaza.yaml:2:19: detector.model: there is no model 'a�[2Jb'; allowed are nanodet-g, tram-9",
        ],
    ),
    // Many at once, in the order of the file.
    (
        "analyse_fps: 0\nclasses: [dog]\nsource: ftp://x\nprivacy: {profile: lax}\noperators: {fly: [{}]}",
        &[
            "plaza.yaml:1:14: analyse_fps: 0 is out of range; a number of frames per second from 1 to 60 is expected",
            "plaza.yaml:2:11: classes[0]: there is no class 'dog'; allowed are person, bicycle, motorcycle, car, bus, truck, other",
            "plaza.yaml:3:9: source: 'ftp:' is not a kind of source; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
            "plaza.yaml:4:20: privacy.profile: 'lax' is unknown; allowed are strict, standard, strict-worstcase",
            "plaza.yaml:5:13: operators.fly: there is no operator 'fly'; allowed are count_line, measure_occupancy",
        ],
    ),
];

#[test]
fn each_mistake_in_a_camera_has_its_own_words_and_place() {
    refused(CASES);
}

#[test]
fn no_message_repeats_a_password() {
    let secret: Vec<&str> = CASES.iter().map(|(text, _)| *text).filter(|text| text.contains("hunter2")).collect();
    assert!(secret.len() > 5);
    for text in secret {
        let error = parse(text).expect_err(text);
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn a_file_with_very_many_zones_gives_one_problem_for_them_all() {
    let zones: Vec<String> = (0..10_000).map(|n| format!("z{n}: {{polygon: [[0, 0], [1, 0], [2, 1]]}}")).collect();
    let text = format!("geometry: {{zones: {{{}}}}}\noperators: {{count_lines: []}}", zones.join(", "));
    let found = lines(&parse(&text).unwrap_err());
    assert_eq!(found.len(), 64 + 1 + 1, "one for each zone that was read, one for the rest, one for the operator");
    let rest = "this is line or zone number 65; at most 64 lines and zones together are allowed";
    assert!(found[64].ends_with(&format!("geometry.zones.z64: {rest}")), "{}", found[64]);
}
