//! What is wrong in a folder: with the node's file, between files, and with files as such.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kerbside_config::{ConfigError, Settings, load};

use super::{completed, lines, with_catalogue};

/// What stands in the folder: path, content. A path that ends in `/` is a folder. `MODE` before the content
/// sets rights. A camera's content is completed as in [`super::parse`].
type Content<'a> = &'a [(&'a str, &'a str)];

struct Case {
    content: Content<'static>,
    expected: &'static [&'static str],
}

const NODE: (&str, &str) = ("node.yaml", "name: kerb-1");
const PLAZA: (&str, &str) = ("cameras/plaza.yaml", "");

const CASES: &[Case] = &[
    // Files and folders.
    Case {
        content: &[],
        expected: &[
            "DIR/cameras:1:1: there is no folder DIR/cameras; a folder with one YAML file a camera is expected",
            "DIR/node.yaml:1:1: there is no file DIR/node.yaml; a readable YAML file is expected",
        ],
    },
    Case {
        content: &[NODE, ("cameras/notes.txt", "none yet")],
        expected: &[
            "DIR/cameras:1:1: there is no camera in the folder; at least one file such as plaza-north.yaml is expected",
        ],
    },
    Case {
        content: &[("node.yml", "name: kerb-1"), ("cameras/plaza.yml", "")],
        expected: &[
            "DIR/cameras/plaza.yml:1:1: the name of a camera's file ends in .yaml; rename it to plaza.yaml",
            "DIR/node.yaml:1:1: there is no file DIR/node.yaml; rename DIR/node.yml to node.yaml",
        ],
    },
    Case {
        content: &[("node.yaml/", ""), ("cameras", "")],
        expected: &[
            "DIR/cameras:1:1: DIR/cameras cannot be listed: Not a directory (os error 20); a folder with one YAML file a camera is expected",
            "DIR/node.yaml:1:1: DIR/node.yaml is a folder; a readable YAML file is expected",
        ],
    },
    Case {
        content: &[NODE, ("cameras/Plaza North.yaml", "# A fine place.")],
        expected: &[
            "DIR/cameras/Plaza North.yaml:1:1: the file's name 'Plaza North' is not a camera's name; a name has 1 to 32 lower-case letters, digits, '-' and '_' and begins with a letter",
        ],
    },
    Case {
        content: &[NODE, ("cameras/plaza.YAML", ""), ("cameras/.plaza.yaml", "nonsense")],
        expected: &[
            "DIR/cameras/plaza.YAML:1:1: the name of a camera's file ends in .yaml; rename it to plaza.yaml",
        ],
    },
    Case {
        content: &[NODE, ("cameras/plaza.yaml/", "")],
        expected: &[
            "DIR/cameras/plaza.yaml:1:1: DIR/cameras/plaza.yaml is a folder; a readable YAML file is expected",
        ],
    },
    // The node's file.
    Case {
        content: &[("node.yaml", "{}"), PLAZA],
        expected: &["DIR/node.yaml:1:1: the key 'name' is missing; it is required"],
    },
    Case {
        content: &[("node.yaml", "name: Kerb 1\ngateway: https://example.org"), PLAZA],
        expected: &[
            "DIR/node.yaml:1:7: name: 'Kerb 1' is not a name; a name has 1 to 32 lower-case letters, digits, '-' and '_' and begins with a letter",
            "DIR/node.yaml:2:1: gateway: unknown key; allowed are defaults, detect, learned, ledger, metrics, models, name, setup, spool, uplink",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nmetrics: {address: 0.0.0.0:9600}\ndetect: {threads: 1.5}"), PLAZA],
        expected: &[
            "DIR/node.yaml:2:20: metrics.address: 0.0.0.0 can be reached from other machines; a loopback address with its port is expected, such as 127.0.0.1:9600 or [::1]:9600: metrics are served without encryption or password",
            "DIR/node.yaml:3:19: detect.threads: 1.5 is not a whole number; a whole number of threads from 0 to 256 is expected",
        ],
    },
    Case {
        content: &[
            ("node.yaml", "name: a\nmetrics: {address: localhost, port: 1}\ndetect: {threads: 257}"),
            PLAZA,
        ],
        expected: &[
            "DIR/node.yaml:2:20: metrics.address: 'localhost' is not an address with a port; a loopback address with its port is expected, such as 127.0.0.1:9600 or [::1]:9600: metrics are served without encryption or password",
            "DIR/node.yaml:2:31: metrics.port: unknown key; allowed are address, socket",
            "DIR/node.yaml:3:19: detect.threads: 257 is out of range; a whole number of threads from 0 to 256 is expected",
        ],
    },
    Case {
        content: &[
            ("node.yaml", "name: a\ndetect:\n  threads: -1\n  threads_per_frame: 0\n  engine: avx2"),
            PLAZA,
        ],
        expected: &[
            "DIR/node.yaml:3:12: detect.threads: -1 is out of range; a whole number of threads from 0 to 256 is expected",
            "DIR/node.yaml:4:22: detect.threads_per_frame: 0 is out of range; a whole number of threads from 1 to 64 is expected",
            "DIR/node.yaml:5:3: detect.engine: unknown key; allowed are threads, threads_per_frame",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\ndetect: {threads_per_frame: 65}"), PLAZA],
        expected: &[
            "DIR/node.yaml:2:29: detect.threads_per_frame: 65 is out of range; a whole number of threads from 1 to 64 is expected",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nmetrics: {socket: ''}\nsetup: {at_most: 61m, from: 8h}"), PLAZA],
        expected: &[
            "DIR/node.yaml:2:19: metrics.socket: the path is empty; the path of a Unix socket is expected",
            "DIR/node.yaml:3:18: setup.at_most: 61m is out of range; a time with its unit (ms, s, m, h, d) from 5m to 1h is expected, such as 500ms or 15m",
            "DIR/node.yaml:3:23: setup.from: unknown key; only at_most is allowed",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nsetup: {}"), PLAZA],
        expected: &["DIR/node.yaml:2:8: setup: the key 'at_most' is missing; it is required"],
    },
    Case {
        content: &[("node.yaml", "name: a\nmetrics: {address: '[::1]:0'}"), PLAZA],
        expected: &[
            "DIR/node.yaml:2:20: metrics.address: port 0 is no fixed port; a loopback address with its port is expected, such as 127.0.0.1:9600 or [::1]:9600: metrics are served without encryption or password",
        ],
    },
    Case {
        content: &[
            (
                "node.yaml",
                "name: a\nspool:\n  folder: ''\n  max_bytes: 512MB\n  sync_interval: 1sec\n  max_size: 1GiB",
            ),
            PLAZA,
        ],
        expected: &[
            "DIR/node.yaml:3:11: spool.folder: the path is empty; the path of a folder is expected",
            "DIR/node.yaml:4:14: spool.max_bytes: '512MB' has the unknown unit 'MB'; a whole number with its unit (KiB, MiB, GiB, TiB) from 16MiB to 1TiB is expected, such as 512MiB",
            "DIR/node.yaml:5:18: spool.sync_interval: '1sec' has the unknown unit 'sec'; a time with its unit (ms, s, m, h, d) from 100ms to 1m is expected, such as 500ms or 15m",
            "DIR/node.yaml:6:3: spool.max_size: unknown key; allowed are folder, keep, max_bytes, sync_interval",
        ],
    },
    Case {
        content: &[
            ("node.yaml", "name: a\nspool: {folder: /data/spool}\nledger: {folder: /data/spool/ledger}"),
            PLAZA,
        ],
        expected: &[
            "DIR/node.yaml:3:18: ledger.folder: /data/spool/ledger and the spool's folder, /data/spool, are not apart; a folder for the privacy ledger alone is expected as ledger.folder",
        ],
    },
    Case {
        content: &[
            (
                "node.yaml",
                "name: a\nspool: {folder: /data/a/spool}\nlearned: {folder: /data/b}\nledger: {folder: /data}",
            ),
            PLAZA,
        ],
        expected: &[
            "DIR/node.yaml:4:18: ledger.folder: /data and the folder of what was learned, /data/b, are not apart; a folder for the privacy ledger alone is expected as ledger.folder",
            "DIR/node.yaml:4:18: ledger.folder: /data and the spool's folder, /data/a/spool, are not apart; a folder for the privacy ledger alone is expected as ledger.folder",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nspool: {folder: /data/ledger}"), PLAZA],
        expected: &[
            "DIR/node.yaml:1:1: /data/ledger and the spool's folder, /data/ledger, are not apart; a folder for the privacy ledger alone is expected as ledger.folder",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nlearned: {folder: /data}\nledger: {folder: /data, keep: 1d}"), PLAZA],
        expected: &[
            "DIR/node.yaml:3:18: ledger.folder: /data and the folder of what was learned, /data, are not apart; a folder for the privacy ledger alone is expected as ledger.folder",
            "DIR/node.yaml:3:25: ledger.keep: unknown key; only folder is allowed",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nspool: {max_bytes: 1073741824, sync_interval: 10m}"), PLAZA],
        expected: &[
            "DIR/node.yaml:2:20: spool.max_bytes: '1073741824' has no unit; a whole number with its unit (KiB, MiB, GiB, TiB) from 16MiB to 1TiB is expected, such as 512MiB",
            "DIR/node.yaml:2:47: spool.sync_interval: 10m is out of range; a time with its unit (ms, s, m, h, d) from 100ms to 1m is expected, such as 500ms or 15m",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nspool: {max_bytes: 1MiB, sync_interval: 1}"), PLAZA],
        expected: &[
            "DIR/node.yaml:2:20: spool.max_bytes: 1MiB is out of range; a whole number with its unit (KiB, MiB, GiB, TiB) from 16MiB to 1TiB is expected, such as 512MiB",
            "DIR/node.yaml:2:41: spool.sync_interval: '1' has no unit; a time with its unit (ms, s, m, h, d) from 100ms to 1m is expected, such as 500ms or 15m",
        ],
    },
    Case {
        content: &[("node.yaml", "name: a\nmodels: weights"), PLAZA],
        expected: &["DIR/node.yaml:2:9: models: there is no folder DIR/weights; an existing folder is expected"],
    },
    Case {
        content: &[
            (
                "node.yaml",
                "name: a\ndefaults:\n  analyse_fps: 100\n  detector: {model: yolo}\n  source: rtsp://h/\n  privacy: {profile: standard, bins: {vehicle: 7m}}",
            ),
            PLAZA,
        ],
        expected: &[
            "DIR/node.yaml:3:16: defaults.analyse_fps: 100 is out of range; a number of frames per second from 1 to 60 is expected",
            "DIR/node.yaml:4:21: defaults.detector.model: there is no model 'yolo'; allowed are nanodet-g, tram-9",
            "DIR/node.yaml:5:3: defaults.source: unknown key; allowed are analyse_fps, classes, detector, privacy, time_zone",
            "DIR/node.yaml:6:48: defaults.privacy.bins.vehicle: bins of 7m do not divide a day evenly; a bin that fits into 24h without a rest is expected, such as 15m, 20m, 30m or 1h",
        ],
    },
    Case {
        content: &[("node.yaml", "- name: a"), PLAZA],
        expected: &["DIR/node.yaml:1:1: a list was found; a map of keys is expected"],
    },
    Case {
        content: &[
            (
                "node.yaml",
                "name: a\nlabels: [x]\ndefaults: {privacy: {epsilon: {passage: 0.198, passages_per_day: 10}}}",
            ),
            ("cameras/plaza.yaml", "privacy: {epsilon: {passage: 0.5}}"),
        ],
        expected: &[
            "DIR/cameras/plaza.yaml:1:30: privacy.epsilon.passage: 10 passages of 0.5 would cost 5 a day; at most 1.98 a day is allowed, which is 3 of them",
            "DIR/node.yaml:2:1: labels: no free text can leave the node: its tables know names alone; leave the key out: a comment, after '#', is the place for words of your own",
        ],
    },
    // Between cameras.
    Case {
        content: &[
            NODE,
            ("cameras/a.yaml", "source: rtsp://Camera.local/stream?x=1"),
            ("cameras/b.yaml", "analyse_fps: 5\nsource: RTSP://camera.LOCAL:554/stream?x=1"),
            ("cameras/c.yaml", "source: rtsp://camera.local/stream?x=2"),
            ("cameras/d.yaml", "source: rtsps://camera.local:322"),
            ("cameras/e.yaml", "source: rtsps://camera.local/"),
        ],
        expected: &[
            "DIR/cameras/b.yaml:2:9: source: the camera in DIR/cameras/a.yaml has the same source; each source belongs to one camera",
            "DIR/cameras/e.yaml:1:9: source: the camera in DIR/cameras/d.yaml has the same source; each source belongs to one camera",
        ],
    },
    Case {
        content: &[
            NODE,
            ("clip.avi", "RIFF"),
            ("cameras/a.yaml", "source: ../clip.avi"),
            ("cameras/b.yaml", "source: ../cameras/../clip.avi"),
            ("cameras/c.yaml", "source: missing.avi"),
            ("cameras/d.yaml", "source: ../cameras"),
            ("cameras/e.yaml", "source: file:///dev/null"),
            ("cameras/f.yaml", "source: //kerbside:hunter2@10.0.4.21/stream"),
            ("cameras/g.yaml", "source: kerbside:hunter2@10.0.4.21/stream"),
        ],
        expected: &[
            "DIR/cameras/b.yaml:1:9: source: the camera in DIR/cameras/a.yaml has the same source; each source belongs to one camera",
            "DIR/cameras/c.yaml:1:9: source: there is no file DIR/cameras/missing.avi; an existing clip, or rtsp://HOST/PATH or rtsps://HOST/PATH, is expected",
            "DIR/cameras/d.yaml:1:9: source: DIR/cameras/../cameras is a folder; an existing clip, or rtsp://HOST/PATH or rtsps://HOST/PATH, is expected",
            "DIR/cameras/e.yaml:1:9: source: /dev/null is not a regular file; an existing clip, or rtsp://HOST/PATH or rtsps://HOST/PATH, is expected",
            "DIR/cameras/f.yaml:1:9: source: there is no such file; an existing clip, or rtsp://HOST/PATH or rtsps://HOST/PATH, is expected",
            "DIR/cameras/g.yaml:1:9: source: this is not a kind of source; rtsp://HOST/PATH, rtsps://HOST/PATH or the path of a clip is expected",
        ],
    },
    // Secrets and certificates.
    Case {
        content: &[
            NODE,
            ("open", "0644 hunter2"),
            ("empty", "0600 "),
            ("lines", "0600 hunter2\nhunter3"),
            ("cameras/a.yaml", "credentials: {username: u, password: {file: ../none}}"),
            ("cameras/b.yaml", "source: rtsp://b/\ncredentials: {username: u, password: {file: ../open}}"),
            ("cameras/c.yaml", "source: rtsp://c/\ncredentials: {username: u, password: {file: ../empty}}"),
            ("cameras/d.yaml", "source: rtsp://d/\ncredentials: {username: u, password: {file: ../lines}}"),
            ("cameras/e.yaml", "source: rtsp://e/\ncredentials: {username: u, password: {file: ../cameras}}"),
        ],
        expected: &[
            "DIR/cameras/a.yaml:1:45: credentials.password.file: there is no file DIR/cameras/../none; a secret file holds the password on one line, as UTF-8 text",
            "DIR/cameras/b.yaml:2:45: credentials.password.file: everyone on this machine can read or change DIR/cameras/../open (mode 0644); run chmod 640 DIR/cameras/../open, or give a container's secret mode=0440",
            "DIR/cameras/c.yaml:2:45: credentials.password.file: DIR/cameras/../empty is empty; a secret file holds the password on one line, as UTF-8 text",
            "DIR/cameras/d.yaml:2:45: credentials.password.file: DIR/cameras/../lines has more than one line; a secret file holds the password on one line, as UTF-8 text",
            "DIR/cameras/e.yaml:2:45: credentials.password.file: DIR/cameras/../cameras is a folder; a secret file holds the password on one line, as UTF-8 text",
        ],
    },
    Case {
        content: &[
            NODE,
            ("cameras/a.yaml", "source: rtsps://a/\ntls: {ca: none.pem}"),
            ("cameras/b.yaml", "source: rtsps://b/\ntls: {ca: ../node.yaml}"),
        ],
        expected: &[
            "DIR/cameras/a.yaml:2:11: tls.ca: there is no file DIR/cameras/none.pem; a PEM file with the certificates that the camera's must lead to is expected",
            "DIR/cameras/b.yaml:2:11: tls.ca: DIR/cameras/../node.yaml holds no PEM certificate; a PEM file with the certificates that the camera's must lead to is expected",
        ],
    },
    // Problems of several files come sorted by file and place.
    Case {
        content: &[
            ("node.yaml", "nam: a"),
            ("cameras/b.yaml", "analyse_fps: 0\nsource: rtsp://b/"),
            ("cameras/a.yaml", "classes: [dog]\nanalyse_fps: 0"),
        ],
        expected: &[
            "DIR/cameras/a.yaml:1:11: classes[0]: there is no class 'dog'; allowed are person, bicycle, motorcycle, car, bus, truck, other",
            "DIR/cameras/a.yaml:2:14: analyse_fps: 0 is out of range; a number of frames per second from 1 to 60 is expected",
            "DIR/cameras/b.yaml:1:14: analyse_fps: 0 is out of range; a number of frames per second from 1 to 60 is expected",
            "DIR/node.yaml:1:1: the key 'name' is missing; it is required",
            "DIR/node.yaml:1:1: nam: unknown key; did you mean 'name'? allowed are defaults, detect, learned, ledger, metrics, models, name, setup, spool, uplink",
        ],
    },
];

fn build(root: &Path, content: Content<'_>) {
    for (path, text) in content {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let mode = text.split_once(' ').and_then(|(mode, rest)| Some((u32::from_str_radix(mode, 8).ok()?, rest)));
        match (path.ends_with('/'), path.starts_with("cameras/") && !text.is_empty(), mode) {
            (true, _, _) => fs::create_dir_all(&place).unwrap(),
            (_, true, _) => fs::write(&place, completed(text)).unwrap(),
            (_, _, Some((mode, text))) => {
                fs::write(&place, text).unwrap();
                fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
            }
            _ => fs::write(&place, if *path == PLAZA.0 { completed(text) } else { (*text).to_owned() }).unwrap(),
        }
    }
}

fn read(root: &Path) -> Result<Settings, ConfigError> {
    with_catalogue(|catalogue| load(root, catalogue))
}

/// The lines of the report, with `DIR` for the folder's path.
fn report(root: &Path) -> Vec<String> {
    let error = read(root).expect_err("something is wrong");
    lines(&error).into_iter().map(|line| line.replace(root.to_str().unwrap(), "DIR")).collect()
}

#[test]
fn each_mistake_in_a_folder_has_its_own_words_and_place() {
    let mut wrong = 0;
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), case.content);
        let found = report(folder.path());
        if found != case.expected {
            println!("{:?}", case.content);
            for line in &found {
                println!("            {line:?},");
            }
            wrong += 1;
        }
    }
    assert_eq!(wrong, 0, "cases gave other lines than expected");
}

#[test]
fn a_folder_that_is_not_there_is_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    assert_eq!(
        report(&gone),
        ["DIR:1:1: there is no folder DIR; a folder with node.yaml and cameras/ is expected"]
    );
}

#[test]
fn what_is_no_utf_8_text_of_a_sensible_size_is_refused() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let not_utf8 = "the file is not UTF-8 but looks like UTF-16; save it as UTF-8";
    let cases: [(Vec<u8>, String); 7] = [
        ([vec![0xFF, 0xFE], utf16("name: a")].concat(), format!("1:1: {not_utf8}")),
        (utf16("name: a"), format!("1:1: {not_utf8}")),
        (
            b"name: a\nspool: {folder: \xE9t\xE9}".to_vec(),
            "2:17: a byte here is not UTF-8; save it as UTF-8".into(),
        ),
        ("# \u{E9}\0".into(), "1:4: a zero byte is in the text; a YAML file is plain text".into()),
        (vec![b'#'; (1 << 20) + 1], "1:1: the file is too large; at most 1048576 bytes are allowed".into()),
        (
            ["[".repeat(40), "]".repeat(40)].concat().into(),
            "1:34: nested too deeply; at most 32 levels are allowed".into(),
        ),
        (vec![b'['; 1 << 20], "1:256: not valid YAML: recursion limit exceeded; YAML 1.2 is expected".into()),
    ];
    for (content, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), &[PLAZA]);
        fs::write(folder.path().join("node.yaml"), content).unwrap();
        assert_eq!(report(folder.path()), [format!("DIR/node.yaml:{expected}")]);
    }
}

#[test]
fn a_named_pipe_is_refused_without_waiting_for_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &[PLAZA]);
    let pipe = folder.path().join("node.yaml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let what = "DIR/node.yaml is not a regular file; a readable YAML file is expected";
    assert_eq!(report(folder.path()), [format!("DIR/node.yaml:1:1: {what}")]);
}

#[test]
fn no_message_about_a_folder_repeats_a_password() {
    let mut secret = 0;
    for case in CASES.iter().filter(|case| case.content.iter().any(|(_, text)| text.contains("hunter2"))) {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), case.content);
        let error = read(folder.path()).unwrap_err();
        assert!(!format!("{error}{error:?}").contains("hunter"), "{error}");
        secret += 1;
    }
    assert_eq!(secret, 2);
}
