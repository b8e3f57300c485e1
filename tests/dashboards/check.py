"""Checks dashboards and rules as they lie in dashboards/, without a node.

    python check.py METRICS.json

METRICS.json is the list of all metrics: [{"name", "type", "labels"}]. Ends with 1 and all problems, or prints
what was looked at. promtool checks and tests the rules; it comes with Debian's package prometheus.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rule_checks
import texts
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from sources import BUILT_IN, FOLDER, boards, expressions, panels, queries, variables

#: What Grafana reads and its published schema leaves out.
BESIDE_THE_SCHEMA = {
    "/templating/list/definition",
    "/annotations/list/titleFormat",
    "/annotations/list/step",
    "/panels/options/tooltip/mode",
}
#: Kinds of panels that show numbers, which need a unit; "none" is one that somebody chose.
WITH_NUMBERS = {"stat", "timeseries", "heatmap", "table", "state-timeline"}
PARTS = ("\n\n**Normal:** ", "\n\n**Otherwise:** ")
#: What Grafana puts into links and texts besides a dashboard's own variables.
OF_LINKS = {"__url_time_range", "__data", "__all"}


def unknown_to_the_schema(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where a document and what Grafana's types make of it differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from unknown_to_the_schema(value, theirs[key], f"{path}/{key}")
            else:
                yield f"{path}/{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs):
            yield from unknown_to_the_schema(one, other, path)
    elif ours != theirs:
        yield path


def schema(board: dict[str, Any]) -> Iterator[str]:
    typed = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    for path in sorted(set(unknown_to_the_schema(board, typed)) - BESIDE_THE_SCHEMA):
        yield f"{path} is not as Grafana's schema has it"


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"],
        other["x"] + other["w"] <= one["x"],
        one["y"] + one["h"] <= other["y"],
        other["y"] + other["h"] <= one["y"],
    )
    return not any(apart)


def layout(board: dict[str, Any]) -> Iterator[str]:
    ids = [panel["id"] for panel in board["panels"]]
    if len(set(ids)) != len(ids):
        yield "two panels have one id"
    titles = [panel["title"] for panel in panels(board)]
    for title in {title for title in titles if titles.count(title) > 1}:
        yield f"two panels are named {title}"
    places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
    for number, (title, place) in enumerate(places):
        if place["x"] + place["w"] > 24:
            yield f"{title} leaves the page"
        for other, below in places[number + 1 :]:
            if overlap(place, below):
                yield f"{title} and {other} lie on each other"


def panel_problems(panel: dict[str, Any]) -> Iterator[str]:
    description = panel.get("description", "")
    if [description.count(part) for part in PARTS] != [1, 1]:
        yield "its description does not say what it shows, what is normal and what to do otherwise"
    if panel["type"] not in WITH_NUMBERS:
        yield f"panels of type {panel['type']} are not checked"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "it has no unit"
    if not panel["targets"]:
        yield "it asks nothing"
    for target in [panel, *panel["targets"]]:
        if target["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
            yield "it does not take its data source from the variable"
    references = [target["refId"] for target in panel["targets"]]
    if len(set(references)) != len(references):
        yield "two queries have one refId"
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    bounds = [step["value"] for step in steps]
    if bounds[0] is not None or bounds[1:] != sorted(bounds[1:]):
        yield f"its thresholds are {bounds}"


def urls(value: Any) -> Iterator[str]:
    """Every link in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from urls(one)


def links(name: str, all_boards: dict[str, dict[str, Any]]) -> Iterator[str]:
    by_uid = {board["uid"]: board for board in all_boards.values()}
    board = all_boards[name]
    linked = set()
    for url in urls(board):
        path, _, query = url.partition("?")
        target = by_uid.get(path.removeprefix("/d/"))
        if target is None:
            yield f"{url} leads to no dashboard"
            continue
        linked.add(target["uid"])
        known = {variable["name"] for variable in target["templating"]["list"]}
        for part in filter(None, query.split("&")):
            variable = part.partition("=")[0].removeprefix("var-")
            if part.startswith("var-") and variable not in known:
                yield f"{url}: {path} has no variable {variable}"
    for missing in set(by_uid) - linked - {board["uid"]}:
        yield f"it does not link to {missing}"
    for link in board["links"]:
        if not (link["includeVars"] and link["keepTime"]):
            yield f"the link to {link['url']} loses variables or the time"


def used_variables(board: dict[str, Any]) -> Iterator[str]:
    own = {variable["name"] for variable in board["templating"]["list"]}
    used = variables(json.dumps(board))
    for name in sorted(used - own - set(BUILT_IN) - OF_LINKS):
        yield f"${name} is no variable of it"
    for name in sorted(own - used):
        yield f"its variable {name} is not used"
    # A variable may ask with those before it only.
    known = {"datasource"}
    for name, (selector, _) in queries(board).items():
        for early in sorted(variables(selector) - known):
            yield f"variable {name} asks with {early}, which comes later"
        known.add(name)


def built() -> Iterator[str]:
    run = subprocess.run([sys.executable, FOLDER / "build.py", "--check"], capture_output=True, text=True)
    if run.returncode != 0:
        yield run.stderr.strip()


def main() -> int:
    metrics = {metric["name"]: metric for metric in json.loads(Path(sys.argv[1]).read_text())}
    problems = list(built())
    all_boards = boards()
    uids = [board["uid"] for board in all_boards.values()]
    assert len(set(uids)) == len(uids), uids
    asked = []
    for name, board in all_boards.items():
        found = [*schema(board), *layout(board), *links(name, all_boards), *used_variables(board)]
        for panel in panels(board):
            found.extend(f"panel {panel['title']}: {problem}" for problem in panel_problems(panel))
        for key in ("refresh", "description", "tags"):
            if not board.get(key):
                found.append(f"it has no {key}")
        problems.extend(f"{name}: {problem}" for problem in found)
        asked.extend(expressions(name, board))
    asked_by_variables = [selector for board in all_boards.values() for selector, _ in queries(board).values()]
    problems.extend(rule_checks.problems(metrics, asked, asked_by_variables))
    problems.extend(texts.problems(all_boards))
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    count = sum(len(panels(board)) for board in all_boards.values())
    of_boards = f"{len(all_boards)} dashboards, {count} panels, {len(asked)} expressions in them"
    print(f"{of_boards}; {rule_checks.summary()}; {len(metrics)} metrics")
    return 0


if __name__ == "__main__":
    plugins.register_default_plugins()
    sys.exit(main())
