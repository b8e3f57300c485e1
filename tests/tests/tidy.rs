//! The rules of the tree, as tests.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Who may know whom: every edge between crates of this workspace, development dependencies left out.
/// A new edge is a decision: it goes here in a commit of its own, with the reason.
const EDGES: &[(&str, &[&str])] = &[
    (
        "kerbside",
        &[
            "kerbside-config",
            "kerbside-core",
            "kerbside-models",
            "kerbside-operators",
            "kerbside-release",
            "kerbside-runtime",
            // To ask a running node how it is.
            "kerbside-telemetry",
            "kerbside-uplink",
        ],
    ),
    ("kerbside-camera", &[]),
    ("kerbside-channel", &["kerbside-telemetry"]),
    ("kerbside-config", &["kerbside-core"]),
    ("kerbside-core", &[]),
    // Configuration, for the way in which files that a person wrote, and secrets, are read.
    (
        "kerbside-gateway",
        &["kerbside-config", "kerbside-core", "kerbside-release", "kerbside-telemetry", "kerbside-uplink"],
    ),
    ("kerbside-ingest", &["kerbside-channel", "kerbside-core", "kerbside-telemetry"]),
    ("kerbside-models", &["kerbside-core", "kerbside-vision"]),
    ("kerbside-operators", &["kerbside-core"]),
    (
        "kerbside-privacy",
        &["kerbside-config", "kerbside-core", "kerbside-operators", "kerbside-release", "kerbside-uplink"],
    ),
    ("kerbside-release", &["kerbside-core"]),
    (
        "kerbside-runtime",
        &[
            "kerbside-channel",
            "kerbside-config",
            "kerbside-core",
            "kerbside-ingest",
            "kerbside-models",
            "kerbside-operators",
            "kerbside-release",
            "kerbside-telemetry",
            "kerbside-uplink",
            "kerbside-vision",
        ],
    ),
    ("kerbside-scenes", &["kerbside-core"]),
    ("kerbside-telemetry", &["kerbside-core"]),
    ("kerbside-tests", &[]),
    ("kerbside-uplink", &["kerbside-core", "kerbside-release"]),
    ("kerbside-vision", &["kerbside-core"]),
    ("xtask", &[]),
];

/// Heavy dependencies and the crates that own them, development dependencies included.
const OWNERS: &[(&str, &[&str])] = &[
    ("anyhow", &["kerbside", "kerbside-camera", "kerbside-gateway", "xtask"]),
    ("arrow-", &["kerbside-gateway", "kerbside-privacy", "kerbside-release", "kerbside-uplink"]),
    ("clap", &["kerbside", "kerbside-camera", "kerbside-gateway", "kerbside-privacy", "xtask"]),
    ("crossbeam-channel", &["kerbside-channel"]),
    ("gstreamer", &["kerbside-camera", "kerbside-ingest"]),
    ("gstreamer-rtsp-server", &["kerbside-camera"]),
    ("image", &["kerbside-vision"]),
    ("maud", &["kerbside-runtime"]),
    ("object_store", &["kerbside-gateway"]),
    ("opencv", &["kerbside-vision"]),
    ("prometheus", &["kerbside-telemetry"]),
    ("redb", &["kerbside-gateway"]),
    ("saphyr", &["kerbside-core"]),
    ("sd-notify", &["kerbside"]),
    ("tract-", &["kerbside-models"]),
];

/// Licences that fit Apache-2.0 in a program that is handed on.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Data, not code: the certificates of public authorities, on systems that are not ours.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn crates_know_only_whom_the_list_names() {
    let metadata = metadata();
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata.workspace_packages() {
        let edges = found.entry(package.name.as_str()).or_default();
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Normal && dependency.path.is_some() {
                edges.insert(dependency.name.as_str());
            }
        }
    }
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(name, edges)| (*name, edges.iter().copied().collect())).collect();
    assert_eq!(found, allowed, "left: the workspace, right: the list in this file");
}

#[test]
fn heavy_dependencies_stay_with_their_owners() {
    let metadata = metadata();
    for (dependency, owners) in OWNERS {
        let users: BTreeSet<&str> = metadata
            .workspace_packages()
            .into_iter()
            .filter(|package| package.dependencies.iter().any(|used| is_part(&used.name, dependency)))
            .map(|package| package.name.as_str())
            .collect();
        let owners: BTreeSet<&str> = owners.iter().copied().collect();
        assert_eq!(users, owners, "users of {dependency}, and who may be one");
    }
}

#[test]
fn every_licence_fits() {
    let metadata = metadata();
    let unfit: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| !licence_fits(package))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    assert!(unfit.is_empty(), "{unfit:#?}");
}

#[test]
fn there_is_one_arrow() {
    let metadata = metadata();
    let versions: BTreeSet<String> = metadata
        .packages
        .iter()
        .filter(|package| package.name.starts_with("arrow-"))
        .map(|package| package.version.to_string())
        .collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
}

#[test]
fn crates_forbid_unsafe_code_unless_they_map_buffers() {
    let exceptions = ["kerbside-models", "kerbside-vision"];
    for package in metadata().workspace_packages() {
        for target in package.targets.iter().filter(|target| target.is_lib() || target.is_bin()) {
            let text = fs::read_to_string(&target.src_path).unwrap();
            let wanted = if exceptions.contains(&package.name.as_str()) {
                "#![deny(unsafe_code)]"
            } else {
                "#![forbid(unsafe_code)]"
            };
            assert!(text.contains(wanted), "{} lacks {wanted}", target.src_path);
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_modules() {
    // A matrix header of OpenCV over a borrowed plane; code for the processor's wide registers, and what clears
    // them after tract.
    let allowed = [
        ("models/src/engine/mod.rs", "mod registers;"),
        ("models/src/int8/mod.rs", "pub(crate) mod kernels;"),
        ("pipeline/vision/src/input/mod.rs", "mod isa;"),
        ("pipeline/vision/src/lib.rs", "mod luma_mat;"),
    ];
    let mut found = BTreeSet::new();
    for path in ["models/src", "pipeline"].into_iter().flat_map(|folder| files(&root().join(folder), "rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        for (line, next) in text.lines().zip(text.lines().skip(1)) {
            if line.contains("allow(unsafe_code") {
                found.insert((place.clone(), next.trim().to_owned()));
            }
        }
    }
    let allowed: BTreeSet<_> = allowed.map(|(path, module)| (path.to_owned(), module.to_owned())).into();
    assert_eq!(found, allowed);
}

#[test]
fn no_file_outgrows_its_reader() {
    let mut long = Vec::new();
    for file in files(&root(), "rs") {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines > 500 {
            println!("{}: {lines} lines", file.display());
        }
        if lines > 800 {
            long.push(file);
        }
    }
    assert!(long.is_empty(), "over 800 lines, to be split: {long:?}");
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(architecture.lines().count() <= 250, "ARCHITECTURE.md is over 250 lines");
}

/// Rules PC-1 to PC-20 of the privacy contract and attacks A1 to A18 on it. A test says by its name what it proves:
/// `pc_8_…`, `a_14_…`, `pc_4_and_pc_5_…`; the attacks of the Python part of the audit are functions named so.
#[test]
fn every_rule_and_every_attack_is_named_by_a_test() {
    let mut named = BTreeSet::new();
    for file in files(&root(), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (place, line) in lines.iter().enumerate() {
            let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) else { continue };
            // Attributes and documentation may stand between the mark and the name.
            let above = lines[..place].iter().rev();
            let mut head = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            if head.any(|line| *line == "#[test]") {
                named.extend(ids(name));
            }
        }
    }
    for file in files(&root().join("tests/privacy"), "py") {
        let text = fs::read_to_string(&file).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("def ")?.split('(').next());
        named.extend(names.flat_map(ids));
    }
    let wanted = (1..=20).map(|rule| format!("pc_{rule}")).chain((1..=18).map(|attack| format!("a_{attack}")));
    let missing: Vec<String> = wanted.filter(|id| !named.contains(id)).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}

/// The ids in a test's name: `pc_4_and_pc_5_names` has two.
fn ids(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let id = |pair: &[&str]| {
        let [kind @ ("pc" | "a"), number] = pair else { return None };
        number.parse::<u32>().ok().map(|number| format!("{kind}_{number}"))
    };
    words.windows(2).filter_map(id).collect()
}

#[test]
fn ids_are_found_in_names() {
    assert_eq!(ids("pc_4_and_pc_5_names"), ["pc_4", "pc_5"]);
    assert_eq!(ids("a_14_clock"), ["a_14"]);
    assert_eq!(ids("a_clock_of_14_hours_is_not_one"), Vec::<String>::new());
}

fn is_part(name: &str, dependency: &str) -> bool {
    name == dependency || (name.starts_with(dependency) && (dependency.ends_with('-') || dependency == "saphyr"))
}

/// All terms of an `AND`, one of an `OR`; `OR` binds looser unless it stands in brackets, as in
/// `(MIT OR Apache-2.0) AND Unicode-3.0`.
fn licence_fits(package: &Package) -> bool {
    let Some(expression) = &package.license else { return package.license_file.is_some() };
    let fits = |one: &str| LICENCES.contains(&one.trim());
    let expression = expression.replace('/', " OR ");
    if expression.contains('(') {
        let bare = |term: &str| term.replace(['(', ')'], "");
        return expression.split(" AND ").all(|term| bare(term).split(" OR ").any(fits));
    }
    expression.split(" OR ").any(|term| term.split(" AND ").all(fits))
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}
