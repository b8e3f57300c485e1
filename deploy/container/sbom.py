"""Writes what a program of this workspace is made of, as CycloneDX 1.6 in JSON: the software bill of materials.

    python3 sbom.py --metadata FILE --package NAME [--debian FILE] [--model DIR ...] --out FILE

FILE of --metadata holds what `cargo metadata --locked --filter-platform TARGET --format-version 1` printed; listed are
the crates that the program is linked with and those that wrote code into it, neither what only tests need nor what only
build scripts do. FILE of --debian has a package a line: name, version, architecture, source and its version, with tabs
between. Nothing but Python's own library is needed, and the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]

#: Ours are named by their content under this.
NAMESPACE = uuid.UUID("6f1d2a0e-6c1b-5a7e-9b5e-2d8f4c1a7e30")


def linked(metadata: dict[str, Any], package: str) -> dict[str, set[str]]:
    """The ids of the crates in that program, each with those that it uses."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {one["id"]: one["name"] for one in metadata["packages"]}
    roots = [one for one in metadata["workspace_members"] if names[one] == package]
    if len(roots) != 1:
        raise SystemExit(f"sbom.py: the workspace has {len(roots)} packages with the name {package}")
    used: dict[str, set[str]] = {}
    open_ends = roots
    while open_ends:
        crate = open_ends.pop()
        if crate in used:
            continue
        used[crate] = {
            dependency["pkg"]
            for dependency in nodes[crate]["deps"]
            # A kind of its own has what serves tests or build scripts alone.
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        }
        open_ends.extend(used[crate])
    return used


def of_crate(package: dict[str, Any]) -> Component:
    """A crate as a component."""
    purl = f"pkg:cargo/{package['name']}@{quote(package['version'], safe='')}"
    component: Component = {
        "type": "library",
        "bom-ref": purl,
        "name": package["name"],
        "version": package["version"],
        "purl": purl,
    }
    if package.get("license"):
        # Older crates write a slash.
        component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return component


def of_debian(line: str) -> Component:
    """A package of Debian's as a component."""
    name, version, architecture, source, source_version = line.split("\t")
    upstream = quote(f"{source}@{source_version}", safe="")
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}&upstream={upstream}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def of_model(folder: Path) -> Component:
    """A detector as a component: its weights are what was shipped."""
    weights = sorted(folder.glob("*.onnx"))
    if not weights:
        raise SystemExit(f"sbom.py: {folder} holds no .onnx file")
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in weights)).hexdigest()
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{folder.name}",
        "name": folder.name,
        "version": digest[:12],
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def document(metadata: dict[str, Any], package: str, debian: list[str], models: list[Path]) -> dict[str, Any]:
    """The whole bill."""
    packages = {one["id"]: one for one in metadata["packages"]}
    crates = linked(metadata, package)
    reference = {crate: of_crate(packages[crate])["bom-ref"] for crate in crates}
    root = next(crate for crate in crates if packages[crate]["name"] == package)
    others = [of_debian(line) for line in debian] + [of_model(folder) for folder in models]
    components = [of_crate(packages[crate]) for crate in crates if crate != root] + others
    graph = [
        {"ref": reference[crate], "dependsOn": sorted(reference[one] for one in uses)} for crate, uses in crates.items()
    ]
    for entry in graph:
        if entry["ref"] == reference[root]:
            entry["dependsOn"] = sorted([*entry["dependsOn"], *(one["bom-ref"] for one in others)])
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": of_crate(packages[root]) | {"type": "application"}},
        "components": sorted(components, key=lambda one: one["bom-ref"]),
        "dependencies": sorted(graph, key=lambda one: one["ref"]),
    }
    content = json.dumps(bill, sort_keys=True)
    return {**bill, "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}"}


def main() -> None:
    """Reads the arguments and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--metadata", type=Path, required=True)
    parser.add_argument("--package", required=True)
    parser.add_argument("--debian", type=Path)
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    metadata = json.loads(arguments.metadata.read_text())
    debian = arguments.debian.read_text().splitlines() if arguments.debian else []
    bill = document(metadata, arguments.package, debian, arguments.model)
    arguments.out.write_text(json.dumps(bill, indent=1) + "\n")
    print(f"{arguments.out}: {len(bill['components'])} components")


if __name__ == "__main__":
    main()
