//! The privacy audit: every attack of the contract that is too long for the gate, and one table of all.
//!
//! Attacks on released tables in Python (`tests/privacy/audit`, with anonymeter, in an environment of its own), those in
//! Rust (`tests/privacy`), and the tests of the gate that stand for the rest. The Python part makes synthetic streets,
//! `privacy-audit export` puts them through the real release stage, and the Python part attacks what came out.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;

use crate::python::{environment, script};
use crate::shell::{cargo, root, run, target, works};

/// Attacks that are tests of the whole node, of the sampler or of the ledger, by number: `a_3_...` and so on.
const TESTED: [u32; 5] = [3, 9, 14, 16, 17];

/// Runs everything and prints the table; an error if an attack succeeds, or fails on what is broken on purpose.
pub(crate) fn run_audit(quick: bool) -> anyhow::Result<()> {
    let folder = target().join("privacy-audit");
    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data).with_context(|| format!("{} cannot be emptied", data.display()))?;
    }
    fs::create_dir_all(&data).with_context(|| format!("{} cannot be made", data.display()))?;

    let python = environment("privacy-audit", &scripts().join("requirements.txt"))?;
    // Of the whole workspace, as the gate builds it: the tests start the real programs.
    run(&mut cargo(&["build", "--workspace", "--locked"]))?;
    let audit = target().join("debug/privacy-audit");
    let [tables, rust, tests] = ["python.jsonl", "rust.jsonl", "tests.jsonl"].map(|name| folder.join(name));

    run(sized(script(&python, &scripts()).arg("make").arg(&data), quick))?;
    run(Command::new(&audit).arg("export").arg(&data))?;
    run(sized(script(&python, &scripts()).arg("attack").arg(&data).arg("--out").arg(&tables), quick))?;
    // It also ends with 1 where a row is not as it must be; the table says so below.
    if let Err(error) = run(sized(Command::new(&audit).arg("attack").arg("--out").arg(&rust), quick)) {
        eprintln!("{error}");
    }
    // The tests start the real programs.
    run(&mut cargo(&["build", "--workspace", "--locked"]))?;
    let rows: Vec<String> = TESTED.iter().map(|&number| tested(number)).collect::<Result<_, _>>()?;
    fs::write(&tests, rows.concat()).with_context(|| format!("{} cannot be written", tests.display()))?;
    run(Command::new(&audit).arg("table").args([&tables, &rust, &tests]))
}

fn sized(command: &mut Command, quick: bool) -> &mut Command {
    if quick {
        command.arg("--quick");
    }
    command
}

fn scripts() -> PathBuf {
    root().join("tests/privacy/audit")
}

/// Runs the tests of one attack and gives its row. None at all is a failure.
fn tested(number: u32) -> anyhow::Result<String> {
    let has_nextest = works(&mut cargo(&["nextest", "--version"]));
    let mut tests = if has_nextest {
        let names = format!("test(/(^|::)a_{number}_/)");
        cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--color", "never", "-E", &names])
    } else {
        cargo(&["test", "--workspace", "--locked", "--no-fail-fast", "--tests", &format!("a_{number}_")])
    };
    eprintln!("$ {}", format!("{tests:?}").replace('"', ""));
    let output = tests.output().context("the tests could not be started")?;
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let (passed, failed) = (counted(&told, "passed"), counted(&told, "failed"));
    let pass = output.status.success() && passed > 0;
    if !pass {
        eprintln!("{told}");
    }
    let row = json!({
        "attack": format!("A{number}"),
        "tried": format!("the tests a_{number}_*, broken variants included"),
        "figure": format!("{passed} passed, {failed} failed"),
        "limit": "all pass",
        "pass": pass,
        "control": false,
    });
    Ok(format!("{row}\n"))
}

/// The sum of what the summaries of a test run say: `3 passed`, in nextest's line `Summary` and libtest's `test result`.
fn counted(told: &str, what: &str) -> u64 {
    let mut sum = 0;
    for line in told.lines().filter(|line| line.contains("Summary [") || line.starts_with("test result:")) {
        let words: Vec<&str> = line.split([' ', ',', ';', '.']).filter(|word| !word.is_empty()).collect();
        let numbers =
            words.windows(2).filter(|pair| pair[1] == what).filter_map(|pair| pair[0].parse::<u64>().ok());
        sum += numbers.sum::<u64>();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn summaries_of_both_runners_are_counted() {
        let nextest =
            "     Summary [   0.345s] 13 tests run: 11 passed (1 slow), 2 failed, 400 skipped\n  FAIL 2 failed";
        assert_eq!((counted(nextest, "passed"), counted(nextest, "failed")), (11, 2));
        let libtest =
            "test result: ok. 3 passed; 0 failed; 1 ignored\ntest result: FAILED. 1 passed; 2 failed; 0 ignored";
        assert_eq!((counted(libtest, "passed"), counted(libtest, "failed")), (4, 2));
        assert_eq!(counted("error: could not compile", "passed"), 0);
    }
}
