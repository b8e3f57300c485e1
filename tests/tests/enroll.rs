//! `kerbside enroll`, as somebody meets it who tries the uplink out.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use common::{kerbside, stderr, stdout};

fn enroll(folder: &Path, line: &str) -> Output {
    let folder = folder.to_str().unwrap();
    let words = line.split(' ').map(|word| word.replace("DIR", folder));
    kerbside(std::iter::once("enroll".to_owned()).chain(words).collect::<Vec<_>>())
}

#[test]
fn an_authority_a_gateway_and_a_node_are_made_in_three_commands() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (line, files) in [
        ("authority --out DIR/ca", ["ca/authority.pem", "ca/authority.key"].as_slice()),
        (
            "gateway central --authority DIR/ca --out DIR/gateway --address gateway.city.example --address 192.0.2.7",
            &["gateway/central.pem", "gateway/central.key", "gateway/authority.pem"],
        ),
        (
            "node kerb-1 --authority DIR/ca --out DIR/node",
            &["node/kerb-1.pem", "node/kerb-1.key", "node/authority.pem"],
        ),
        (
            "reader desk --authority DIR/ca --out DIR/desk",
            &["desk/desk.pem", "desk/desk.key", "desk/authority.pem"],
        ),
        ("courier van --authority DIR/ca --out DIR/van", &["van/van.pem", "van/van.key", "van/authority.pem"]),
    ] {
        let output = enroll(folder, line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        let wanted: String = files.iter().map(|file| format!("{}\n", folder.join(file).display())).collect();
        assert_eq!(stdout(&output), wanted);
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("for development") && said.contains("in production"), "{said}");
        for file in files {
            let mode = fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777;
            assert!(mode == 0o600 || !file.ends_with(".key"), "{file}: {mode:o}");
        }
        // Nothing is overwritten.
        let output = enroll(folder, line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(stderr(&output).contains("exists already and is not overwritten"), "{}", stderr(&output));
    }
    let line = "revoke DIR/node/kerb-1.pem DIR/van/van.pem --authority DIR/ca";
    for added in [2, 0] {
        let output = enroll(folder, line);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let list = folder.join("ca/revoked.pem");
        assert_eq!(stdout(&output), format!("{}: 2 certificates revoked, {added} of them new\n", list.display()));
    }
}

#[test]
fn what_cannot_be_issued_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (line, said) in [
        ("node kerb-1 --authority DIR/none --out DIR", "none/authority.pem does not exist; "),
        ("gateway central --authority DIR --out DIR", "--address"),
        ("node kerb-1 --authority DIR --out DIR --days 0", "--days"),
    ] {
        let output = enroll(folder, line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(stderr(&output).contains(said), "{line}: {}", stderr(&output));
    }
    assert_eq!(enroll(folder, "authority --out DIR").status.code(), Some(0));
    let output = enroll(folder, "node Kerb --authority DIR --out DIR");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("'Kerb' is no name for it; a name has 1 to 32 "), "{}", stderr(&output));
}
