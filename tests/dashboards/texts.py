"""Checks of what people read beside dashboards and rules: the runbook, the README and the files for Grafana's start."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from sources import FOLDER, panels, rules

#: In italics in the runbook, and no panel.
NO_PANELS = {"italics", "Last problem"}


def names(all_boards: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Alerts and panels that a text names and that are not there."""
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    titles = {panel["title"] for board in all_boards.values() for panel in panels(board)}
    for file in ("RUNBOOK.md", "README.md"):
        text = (FOLDER / file).read_text()
        for name, more in sorted(set(re.findall(r"\b(Kerbside[A-Z]\w*)(\.\*)?", text))):
            if name not in alerts and not (more and any(alert.startswith(name) for alert in alerts)):
                yield f"{file}: there is no alert {name}{more}"
    text = (FOLDER / "RUNBOOK.md").read_text()
    for title in sorted(set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", text)) - NO_PANELS):
        if title not in titles and not re.fullmatch(r"(page|ticket|info) (at once|after \d+[mh])", title):
            yield f"RUNBOOK.md: there is no panel {title}"


def configurations() -> Iterator[str]:
    """The configurations in README.md: Prometheus' own tool reads its one, and each name in the other is given there."""
    blocks = re.findall(r"```yaml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    prometheus, alertmanager = (yaml.safe_load(block) for block in blocks)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prometheus.yaml"
        file.write_text(blocks[0])
        run = subprocess.run(["promtool", "check", "config", "--syntax-only", file], capture_output=True, text=True)
        if run.returncode != 0:
            yield f"README.md: {run.stdout}{run.stderr}"
    for path in prometheus["rule_files"]:
        if not (FOLDER / "prometheus" / Path(path).name).is_file():
            yield f"README.md: there is no {path}"
    known = {receiver["name"] for receiver in alertmanager["receivers"]}
    used = {route["receiver"] for route in [alertmanager["route"], *alertmanager["route"]["routes"]]}
    if known != used:
        yield f"README.md: receivers {sorted(known)} are given and {sorted(used)} are used"


def provisioning() -> Iterator[str]:
    folder = FOLDER / "grafana/provisioning"
    sources = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    if [(one["type"], one["isDefault"]) for one in sources] != [("prometheus", True)]:
        yield f"provisioning: the data sources are {sources}"
    providers = yaml.safe_load((folder / "dashboards/kerbside.yaml").read_text())["providers"]
    paths = [(one["type"], one["options"]["path"]) for one in providers]
    readme = (FOLDER / "README.md").read_text()
    if len(paths) != 1 or paths[0][0] != "file" or f"`{paths[0][1]}`" not in readme:
        yield f"provisioning: {paths} is not the folder that README.md names"


def problems(all_boards: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield from names(all_boards)
    yield from configurations()
    yield from provisioning()
