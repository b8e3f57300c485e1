"""The container file and its scripts, by linters; the bill of materials, by Cargo's own tree and CycloneDX's schema."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import tomllib
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tools import Problems, ask, complaints, run


def check(tree: Path) -> Problems:
    """All problems of deploy/container."""
    folder = tree / "deploy/container"
    file = folder / "Containerfile"
    problems = complaints(file.name, ask("hadolint", "--no-color", "--failure-threshold", "style", file))
    scripts = sorted(folder.glob("*.sh"))
    problems += complaints("scripts", ask("shellcheck", "--severity", "style", *scripts))
    text = file.read_text()
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text)
    for name in " ".join(copied).split():
        if name != "." and not (tree / name).exists():
            problems.append(f"Containerfile copies {name}, which is not there")
    # Cargo wants every member of the workspace, also where it compiles two of them.
    passed = (folder / "Containerfile.dockerignore").read_text().splitlines()
    members = tomllib.loads((tree / "Cargo.toml").read_text())["workspace"]["members"]
    for top in sorted({member.partition("/")[0] for member in members}):
        if f"!{top}" not in passed:
            problems.append(f"Containerfile.dockerignore keeps {top} back")
    for stage in ("node", "gateway"):
        own = text.partition(f" AS {stage}\n")[2].partition("\nFROM ")[0]
        wanted = (
            "USER 65532:65532",
            "STOPSIGNAL SIGTERM",
            "HEALTHCHECK",
            "ENTRYPOINT [",
            "org.opencontainers.image.revision",
        )
        problems += [f"Containerfile: {stage} has no {word}" for word in wanted if word not in own]
        if re.search(r"(?m)^RUN ", own):
            problems.append(f"Containerfile: {stage} runs something in an image without a shell")
    return problems


def bill_of_materials(tree: Path, package: str) -> Problems:
    """Holds what sbom.py writes of a program to Cargo's own tree and to CycloneDX's schema."""
    target = run("rustc", "--print", "host-tuple").stdout.strip()
    metadata = run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target, cwd=tree)
    if metadata.returncode:
        return complaints("cargo metadata", metadata)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "metadata.json").write_text(metadata.stdout)
        (folder / "debian.tsv").write_text("libc6\t2.36-9+deb12u14\tamd64\tglibc\t2.36-9+deb12u14\n")
        command = ["python3", tree / "deploy/container/sbom.py", "--metadata", folder / "metadata.json"]
        command += ["--package", package, "--debian", folder / "debian.tsv", "--model", tree / "models/nanodet-g"]
        bills = []
        for out in ("first.json", "second.json"):
            if problems := complaints("sbom.py", run(*command, "--out", folder / out)):
                return problems
            bills.append((folder / out).read_text())
    problems = [] if bills[0] == bills[1] else ["sbom.py writes something else each time"]
    return problems + valid(bills[0]) + crates(bills[0], tree, package, target)


def valid(bill: str) -> Problems:
    """What CycloneDX's schema says against a bill."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
    return [f"sbom: {error}"] if error else []


def crates(bill: str, tree: Path, package: str, target: str) -> Problems:
    """Crates that Cargo's tree has and the bill has not, or the other way around."""
    listed = run(
        *("cargo", "tree", "--locked", "--package", package, "--edges", "normal", "--target", target),
        *("--prefix", "none", "--format", "{p}"),
        cwd=tree,
    )
    if listed.returncode:
        return complaints("cargo tree", listed)
    wanted = {tuple(line.split()[:2]) for line in listed.stdout.splitlines() if line}
    wanted = {(name, version.removeprefix("v")) for name, version in wanted} - {(package, "0.1.0")}
    components = json.loads(bill)["components"]
    found = {(one["name"], one["version"]) for one in components if one.get("purl", "").startswith("pkg:cargo/")}
    problems = [f"sbom: {name} {version} is missing" for name, version in sorted(wanted - found)]
    # Cargo's list of the whole workspace has more features in use than the tree of one program.
    if len(found) > 1.25 * len(wanted):
        problems.append(f"sbom: {len(found)} crates, where the program has {len(wanted)}")
    return problems
