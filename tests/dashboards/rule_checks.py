"""Checks of expressions against the list of metrics, and of rules against their runbook and their tests."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import promql_parser
import yaml
from sources import (
    BUILT_IN,
    FOLDER,
    ROOT,
    Expression,
    filled,
    nodes,
    rule_expressions,
    rules,
    variables,
)

#: Labels that a scrape adds.
OF_TARGETS = {"job", "instance", "node"}
#: Series that Prometheus makes itself.
OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity", "camera"}}
SUFFIXES = ("_bucket", "_sum", "_count")
#: Functions of what only grows, and of what goes up and down.
OF_COUNTERS = {"rate", "irate", "increase"}
OF_GAUGES = {"deriv", "delta", "changes", "avg_over_time", "min_over_time", "max_over_time"}
SEVERITIES = {"page", "ticket", "info"}
RUNBOOK = FOLDER / "RUNBOOK.md"
#: A part of a runbook's section each.
RUNBOOK_PARTS = ("**It means**", "**Look at**", "**Do**")


def metric_of(series: str, metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The metric that a series belongs to, a histogram's parts to the histogram."""
    if series in metrics:
        return metrics[series] if metrics[series]["type"] != "histogram" else None
    for suffix in SUFFIXES:
        whole = metrics.get(series.removesuffix(suffix)) if series.endswith(suffix) else None
        if whole is not None and whole["type"] == "histogram":
            return whole
    return None


def labels_of(series: str, metrics: dict[str, Any], recorded: dict[str, set[str]]) -> set[str] | None:
    """The labels that a series has; None where there is no such series."""
    if series in OF_PROMETHEUS:
        return OF_PROMETHEUS[series] | OF_TARGETS
    if series in recorded:
        return recorded[series]
    metric = metric_of(series, metrics)
    if metric is None:
        return None
    return set(metric["labels"]) | OF_TARGETS | ({"le"} if series.endswith("_bucket") else set())


def is_counted(series: str, metrics: dict[str, Any]) -> bool | None:
    """Whether it only grows; None where the list of metrics does not say."""
    metric = metric_of(series, metrics)
    return None if metric is None else metric["type"] != "gauge"


def recorded_labels() -> dict[str, set[str]]:
    """The labels of each recorded series, which are those that its rule sums by."""
    return {
        rule["record"]: {label.strip() for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in by.split(",")}
        - {"le"}
        or recorded_like(rule["expr"])
        for rule in rules()
        if "record" in rule
    }


def recorded_like(expr: str) -> set[str]:
    """Of a rule that sums by nothing itself: the levels in the names of what it reads."""
    levels = {level for name in re.findall(r"(\w+):kerbside", expr) for level in name.split("_")}
    return {"node", *levels}


def expression_problems(
    one: Expression, metrics: dict[str, Any], recorded: dict[str, set[str]], used: set[str]
) -> Iterator[str]:
    try:
        tree = promql_parser.parse(filled(one.text, {name: "x" for name in variables(one.text)} | BUILT_IN))
    except (ValueError, KeyError) as error:
        yield f"does not parse: {error}"
        return
    for node in nodes(tree):
        if isinstance(node, promql_parser.VectorSelector):
            labels = labels_of(node.name, metrics, recorded)
            if labels is None:
                yield f"there is no series {node.name}"
                continue
            metric = metric_of(node.name, metrics)
            used.add(metric["name"] if metric else node.name)
            for matcher in node.matchers.matchers:
                if matcher.name not in labels:
                    yield f"{node.name} has no label {matcher.name}"
        below = [inner.name for inner in nodes(node) if isinstance(inner, promql_parser.VectorSelector)]
        if isinstance(node, promql_parser.Call):
            wanted = True if node.func.name in OF_COUNTERS else False if node.func.name in OF_GAUGES else None
            for series in below:
                if wanted is not None and is_counted(series, metrics) == (not wanted):
                    yield f"{node.func.name} does not fit {series}"
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            known = set().union(*(labels_of(series, metrics, recorded) or set() for series in below))
            for label in set(node.modifier.labels) - known:
                yield f"nothing that is summed by {label} has that label"


def runbook() -> dict[str, str]:
    """The sections of the runbook that are about alerts, by their headings."""
    parts = re.split(r"^### (\w+)\n", RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def alert_problems(rule: dict[str, Any], section: str | None, fires: list[str]) -> Iterator[str]:
    name, notes = rule["alert"], rule["annotations"]
    if set(rule["labels"]) != {"severity"} or rule["labels"]["severity"] not in SEVERITIES:
        yield f"its labels are {rule['labels']}"
    if set(notes) != {"summary", "description", "runbook"} or not all(notes.values()):
        yield f"it has the annotations {sorted(notes)}"
    if notes.get("runbook") != f"{RUNBOOK.relative_to(ROOT)}#{name.lower()}":
        yield "its runbook is not its section of RUNBOOK.md"
    if section is None:
        yield "it has no section in RUNBOOK.md"
    else:
        after = f" after {rule['for']}" if "for" in rule else " at once"
        if not section.startswith(f"\n*{rule['labels']['severity']}{after}*\n"):
            yield "RUNBOOK.md says another severity or time"
        if [section.count(part) for part in RUNBOOK_PARTS] != [1] * len(RUNBOOK_PARTS):
            yield "its section in RUNBOOK.md does not say what it means, what to look at and what to do"
    # What the text names must be there when it fires.
    for label in re.findall(r"\$labels\.(\w+)", " ".join(notes.values())):
        if not all(f'{label}="' in series for series in fires):
            yield f"its text names {label}, which it does not have when it fires"


def tests() -> list[dict[str, Any]]:
    """Every expectation of every test of the rules."""
    files = sorted((FOLDER / "prometheus/tests").glob("*.yaml"))
    cases = [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]
    return [expected for case in cases for expected in case.get("promql_expr_test", [])]


def tested(expectations: list[dict[str, Any]]) -> Iterator[str]:
    """Each alert fires in a test and does not in another; each recorded series has a value in one."""
    for rule in rules():
        if "alert" in rule:
            mine = [one for one in expectations if f'alertname="{rule["alert"]}"' in one["expr"]]
            if not any(one.get("exp_samples") for one in mine):
                yield f"{rule['alert']}: no test in which it fires"
            if not any(not one.get("exp_samples") for one in mine):
                yield f"{rule['alert']}: no test in which it does not fire"
        elif not any(rule["record"] in one["expr"] and one.get("exp_samples") for one in expectations):
            yield f"{rule['record']}: no test has its value"


def promtool() -> Iterator[str]:
    """What Prometheus' own tool finds: it checks all rules, and tests them file by file, all at once."""
    folder = FOLDER / "prometheus"
    commands = [["check", "rules", *sorted(folder.glob("*.yaml"))]]
    commands.extend(["test", "rules", file] for file in sorted((folder / "tests").glob("*.yaml")))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = [(command, subprocess.Popen(["promtool", *command], **pipes)) for command in commands]
    for command, process in running:
        said, _ = process.communicate()
        if process.returncode != 0:
            yield f"promtool {command[0]} rules:\n{said}"


def problems(metrics: dict[str, Any], asked: list[Expression], of_variables: list[str]) -> Iterator[str]:
    recorded, used = recorded_labels(), set()
    of_variables = [Expression(f"variable / {selector}", selector) for selector in of_variables]
    for one in [*asked, *rule_expressions(), *of_variables]:
        for problem in expression_problems(one, metrics, recorded, used):
            yield f"{one.place}: {problem}"
    for name in sorted(set(metrics) - used):
        yield f"no panel and no rule names {name}"
    for name in sorted(set(recorded) - used):
        yield f"no panel and no rule reads {name}"

    expectations, sections = tests(), runbook()
    alerts = [rule for rule in rules() if "alert" in rule]
    names = [rule["alert"] for rule in alerts]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name}: two alerts have that name"
    for rule in alerts:
        fires = [
            sample["labels"]
            for one in expectations
            if f'alertname="{rule["alert"]}"' in one["expr"]
            for sample in one.get("exp_samples") or []
        ]
        for problem in alert_problems(rule, sections.get(rule["alert"]), fires):
            yield f"{rule['alert']}: {problem}"
    for name in sections.keys() - set(names):
        yield f"RUNBOOK.md: there is no alert {name}"
    yield from tested(expectations)
    yield from promtool()


def summary() -> str:
    alerts = sum("alert" in rule for rule in rules())
    return f"{len(rules()) - alerts} recorded series, {alerts} alerts"
