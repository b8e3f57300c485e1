"""What is in dashboards/: panels, variables, marks and rules, and the expressions in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards"
BOARDS = ["fleet", "camera", "node", "delivery"]
RULES = ["recording", "alerts"]

#: What Grafana puts in for its own variables; short, since a test does not run for hours.
BUILT_IN = {"__rate_interval": "30s", "__range": "5m", "__interval": "5s"}


@dataclass(frozen=True)
class Expression:
    """One expression, and where it stands: `fleet / Power / A`, `fleet / mark / Starts`, `rule / KerbsideHot`."""

    place: str
    text: str
    #: The labels that its legend shows.
    shown: frozenset[str] = frozenset()


def boards() -> dict[str, dict[str, Any]]:
    return {name: json.loads((FOLDER / f"grafana/{name}.json").read_text()) for name in BOARDS}


def rules() -> list[dict[str, Any]]:
    """Every rule of every group, in order."""
    groups = [
        group for name in RULES for group in yaml.safe_load((FOLDER / f"prometheus/{name}.yaml").read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(name: str, board: dict[str, Any]) -> Iterator[Expression]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield Expression(
                f"{name} / {panel['title']} / {target['refId']}", target["expr"], labels(target["legendFormat"])
            )
    for mark in board["annotations"]["list"]:
        yield Expression(f"{name} / mark / {mark['name']}", mark["expr"], labels(mark["titleFormat"]))


def labels(legend: str) -> frozenset[str]:
    return frozenset(re.findall(r"\{\{(\w+)\}\}", legend))


def rule_expressions() -> Iterator[Expression]:
    for rule in rules():
        yield Expression(f"rule / {rule.get('alert') or rule['record']}", rule["expr"])


def queries(board: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The selector and the label that give a variable its values."""
    found = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked, f"{variable['name']}: {variable['query']['query']} is no label_values(selector, label)"
            found[variable["name"]] = (asked[1], asked[2])
    return found


def variables(text: str) -> set[str]:
    """The names of Grafana's variables in a text."""
    return {name or braced for braced, name in re.findall(r"\$(?:\{(\w+)(?:[.:][^}]*)?\}|(\w+))", text)}


def filled(text: str, values: dict[str, str]) -> str:
    """The text with values in place of variables; fails where one has none."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values[found[1] or found[2]], text)


def nodes(tree: Any) -> Iterator[Any]:
    """Every expression of a parsed one, itself included."""
    yield tree
    for name in ("expr", "lhs", "rhs", "args", "param", "vector_selector"):
        below = getattr(tree, name, None)
        for one in below if isinstance(below, list) else [below]:
            if isinstance(one, promql_parser.Expr):
                yield from nodes(one)


def selectors(text: str) -> set[str]:
    """What an expression reads: every selector without its range, such as `up{job="kerbside"}`."""
    found = set()
    for one in nodes(promql_parser.parse(text)):
        if isinstance(one, promql_parser.VectorSelector):
            found.add(f"{one.name}{one.matchers}" if one.matchers.matchers else one.name)
    return found
