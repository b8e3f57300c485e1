"""The parts that Kerbside's dashboards are made of: panels, rows, variables and links of Grafana 10 and 11.

A panel's text has three parts, for who was woken: what it shows, what is normal, and what to do otherwise.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24

#: The four dashboards: uid, title, and what the links between them say.
BOARDS = {
    "kerbside-fleet": ("Kerbside fleet", "All nodes and cameras: where is something wrong?"),
    "kerbside-camera": ("Kerbside camera", "One node's cameras: is each seen, fast enough and trusted?"),
    "kerbside-node": ("Kerbside node", "One node: the machine, the pipeline, energy and configuration"),
    "kerbside-delivery": ("Kerbside privacy and delivery", "What leaves, what is held back, and what has arrived"),
}

GREEN, YELLOW, ORANGE, RED, BLUE, GREY, PURPLE = "green", "yellow", "orange", "red", "blue", "#808080", "purple"


def steps(*bounds: tuple[float | None, str]) -> list[Json]:
    """Thresholds: the colour from each bound on; the first bound is None."""
    return [{"color": color, "value": value} for value, color in bounds]


CALM = steps((None, BLUE))
#: Nothing is normal; anything is not.
NONE_IS_GOOD = steps((None, GREEN), (1, RED))
NONE_IS_BEST = steps((None, GREEN), (1, ORANGE))


def words(values: dict[int, tuple[str, str]]) -> list[Json]:
    """Numbers that stand for words, each with its colour."""
    options = {
        str(number): {"color": color, "index": place, "text": text}
        for place, (number, (text, color)) in enumerate(values.items())
    }
    return [{"type": "value", "options": options}]


YES_IS_GOOD = words({1: ("yes", GREEN), 0: ("no", RED)})
YES_IS_BAD = words({0: ("no", GREEN), 1: ("yes", RED)})
#: As camera:kerbside_camera_state:code counts them.
STATES = words(
    {
        0: ("unknown", GREY),
        1: ("up", GREEN),
        2: ("connecting", RED),
        3: ("refuses credentials", PURPLE),
        4: ("codec unsupported", PURPLE),
        5: ("stalled", ORANGE),
        6: ("tampered", ORANGE),
        7: ("disabled", GREY),
    }
)


def text(shows: str, normal: str, otherwise: str) -> str:
    return f"{shows}\n\n**Normal:** {normal}\n\n**Otherwise:** {otherwise}"


def targets(queries: list[tuple[str, str]], **more: Any) -> list[Json]:
    return [
        {"datasource": DATASOURCE, "editorMode": "code", "expr": expr, "legendFormat": legend, "refId": chr(65 + place)}
        | more
        for place, (expr, legend) in enumerate(queries)
    ]


def panel(kind: str, title: str, about: tuple[str, str, str], size: tuple[int, int], unit: str, **more: Any) -> Json:
    defaults = {
        "unit": unit,
        "color": {"mode": more.pop("color", "thresholds")},
        "thresholds": {"mode": "absolute", "steps": more.pop("thresholds", CALM)},
        "mappings": more.pop("mappings", []),
    }
    for key in ("min", "max", "decimals", "custom", "noValue", "links"):
        if key in more:
            defaults[key] = more.pop(key)
    width, height = size
    return {
        "type": kind,
        "title": title,
        "description": text(*about),
        "datasource": DATASOURCE,
        "gridPos": {"h": height, "w": width, "x": 0, "y": 0},
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
    } | more


def stat(
    title: str,
    expr: str,
    about: tuple[str, str, str],
    unit: str = "none",
    *,
    legend: str = "",
    size: tuple[int, int] = (4, 4),
    **more: Any,
) -> Json:
    """One number, or one for each series, as of now."""
    options = {
        "colorMode": "value",
        "graphMode": more.pop("graph", "none"),
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": more.pop("fields", ""), "values": False},
        "textMode": more.pop("show", "auto"),
    }
    queries = targets([(expr, legend)], instant=True, range=False, **more.pop("query", {}))
    return panel("stat", title, about, size, unit, options=options, targets=queries, **more)


def series(
    title: str,
    queries: list[tuple[str, str]],
    about: tuple[str, str, str],
    unit: str = "none",
    *,
    size: tuple[int, int] = (12, 8),
    stack: bool = False,
    line: bool = False,
    **more: Any,
) -> Json:
    """Lines over time. With `line` the thresholds are drawn."""
    custom = {
        "drawStyle": "line",
        "fillOpacity": 60 if stack else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stack else "none"},
        "thresholdsStyle": {"mode": "line" if line else "off"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    more = {"color": "palette-classic", "min": 0} | more
    if more["min"] is None:
        del more["min"]
    return panel(
        "timeseries",
        title,
        about,
        size,
        unit,
        custom=custom,
        options=options,
        targets=targets(queries, range=True),
        **more,
    )


def timeline(
    title: str,
    queries: list[tuple[str, str]],
    about: tuple[str, str, str],
    mappings: list[Json],
    *,
    size: tuple[int, int] = (24, 6),
) -> Json:
    """States over time, a band for each series."""
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 75, "lineWidth": 0}
    return panel(
        "state-timeline",
        title,
        about,
        size,
        "none",
        custom=custom,
        mappings=mappings,
        options=options,
        targets=targets(queries, range=True),
    )


def heatmap(
    title: str, expr: str, about: tuple[str, str, str], unit: str = "s", *, size: tuple[int, int] = (12, 8)
) -> Json:
    """A histogram's buckets over time. The query is `sum by (le) (increase(…))`."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "scheme": "Oranges", "steps": 64},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return panel(
        "heatmap",
        title,
        about,
        size,
        unit,
        options=options,
        targets=targets([(expr, "{{le}}")], format="heatmap", range=True),
    )


def column(title: str, expr: str, unit: str = "none", **look: Any) -> Json:
    return {"title": title, "expr": expr, "unit": unit} | look


def table(
    title: str,
    columns: list[Json],
    about: tuple[str, str, str],
    *,
    hidden: list[str] = (),
    rename: dict[str, str] | None = None,
    links: dict[str, tuple[str, str]] | None = None,
    size: tuple[int, int] = (24, 8),
) -> Json:
    """A row for each set of labels that the queries give alike, a column for each query."""
    overrides = []
    names = {} if rename is None else dict(rename)
    for place, one in enumerate(columns):
        # A table of a single query has no letter in its column's name.
        field = f"Value #{chr(65 + place)}" if len(columns) > 1 else "Value"
        names[field] = one["title"]
        properties: list[Json] = [{"id": "unit", "value": one["unit"]}]
        if "mappings" in one:
            properties.append({"id": "mappings", "value": one["mappings"]})
        if "thresholds" in one:
            properties.append({"id": "thresholds", "value": {"mode": "absolute", "steps": one["thresholds"]}})
        if "mappings" in one or "thresholds" in one:
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        if "decimals" in one:
            properties.append({"id": "decimals", "value": one["decimals"]})
        overrides.append({"matcher": {"id": "byName", "options": one["title"]}, "properties": properties})
    for field, (label, url) in (links or {}).items():
        link = {"title": label, "url": url, "targetBlank": False}
        overrides.append(
            {"matcher": {"id": "byName", "options": field}, "properties": [{"id": "links", "value": [link]}]}
        )
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {name: True for name in ["Time", "__name__", *hidden]},
                "indexByName": {},
                "renameByName": names,
            },
        },
    ]
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False}
    queries = targets([(one["expr"], "") for one in columns], format="table", instant=True, range=False)
    return panel(
        "table",
        title,
        about,
        size,
        "none",
        custom=custom,
        overrides=overrides,
        targets=queries,
        transformations=transformations,
        options={"cellHeight": "sm", "showHeader": True},
    )


def row(title: str) -> Json:
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": 0},
    }


def placed(panels: list[Json]) -> list[Json]:
    """The panels with their numbers and places: from left to right, a new line where one does not fit."""
    x = y = tallest = 0
    for number, one in enumerate(panels, start=1):
        place = one["gridPos"]
        if x + place["w"] > COLUMNS or one["type"] == "row":
            x, y, tallest = 0, y + tallest, 0
        place["x"], place["y"] = x, y
        x, tallest = x + place["w"], max(tallest, place["h"])
        if one["type"] == "row":
            x, y, tallest = 0, y + 1, 0
        one["id"] = number
    return panels


def variable(name: str, label: str, query: str, description: str, *, many: bool) -> Json:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
        "multi": many,
        "includeAll": many,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]} if many else {},
        "hide": 0,
        "options": [],
        "regex": "",
        "skipUrlSync": False,
    }


def datasource() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "description": "The Prometheus that scrapes the nodes and gateways.",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }


NODES = 'label_values(kerbside_build_info{job="kerbside"}, node)'


def annotation(name: str, expr: str, title: str, color: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expr,
        "iconColor": color,
        "titleFormat": title,
        "step": "60s",
    }


def board(uid: str, variables: list[Json], panels: list[Json], nodes: str) -> Json:
    """A whole dashboard; `nodes` selects what restarts and new configurations are marked of."""
    title, about = BOARDS[uid]
    links = [
        {
            "type": "link",
            "title": other_title,
            "tooltip": other_about,
            "url": f"/d/{other}",
            "icon": "dashboard",
            "asDropdown": False,
            "includeVars": True,
            "keepTime": True,
            "tags": [],
            "targetBlank": False,
        }
        for other, (other_title, other_about) in BOARDS.items()
        if other != uid
    ]
    marks = [
        annotation(
            "Starts",
            f'changes(kerbside_process_start_timestamp_seconds{{job="kerbside",{nodes}}}[2m]) > 0',
            "{{node}} started",
            RED,
        ),
        annotation(
            "Configurations",
            f"changes(kerbside_config_applied_timestamp_seconds{{{nodes}}}[2m]) > 0",
            "{{node}} took a new configuration",
            BLUE,
        ),
    ]
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["kerbside"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "timezone": "",
        "weekStart": "",
        "templating": {"list": [datasource(), *variables]},
        "annotations": {"list": marks},
        "links": links,
        "panels": placed(panels),
    }
