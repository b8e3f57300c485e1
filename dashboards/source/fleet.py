"""All nodes and cameras at a glance: the first look of who was woken."""

from __future__ import annotations

from .panels import (
    CALM,
    GREEN,
    NODES,
    NONE_IS_BEST,
    NONE_IS_GOOD,
    ORANGE,
    RED,
    STATES,
    YES_IS_GOOD,
    Json,
    board,
    column,
    row,
    series,
    stat,
    steps,
    table,
    timeline,
    variable,
)

NODE = 'node=~"$node"'
TO_NODE = ("Open the node", "/d/kerbside-node?var-node=${__data.fields.node}&${__url_time_range}")
TO_CAMERA = (
    "Open the camera",
    "/d/kerbside-camera?var-node=${__data.fields.node}&var-camera=${__data.fields.camera}&${__url_time_range}",
)


def firing(severity: str) -> str:
    return f'count(ALERTS{{alertname=~"Kerbside.*",alertstate="firing",severity="{severity}"}}) or vector(0)'


def dashboard() -> Json:
    variables = [
        variable(
            "node", "Node", NODES, "Nodes that Prometheus knows, by the label of the scrape configuration.", many=True
        )
    ]
    return board("kerbside-fleet", variables, now() + nodes() + cameras() + history() + city(), NODE)


def now() -> list[Json]:
    return [
        row("Now"),
        stat(
            "Alerts that wake",
            firing("page"),
            (
                "Alerts of severity page that fire at this moment, of all nodes and gateways.",
                "none.",
                "read the table below; each has a section in RUNBOOK.md.",
            ),
            thresholds=NONE_IS_GOOD,
        ),
        stat(
            "Tickets",
            firing("ticket"),
            (
                "Alerts of severity ticket that fire.",
                "none, or ones that somebody works on.",
                "nobody has to get up; work them off by day.",
            ),
            thresholds=NONE_IS_BEST,
        ),
        stat(
            "Nodes that tell",
            f'count(group by (node) (kerbside_build_info{{job="kerbside",{NODE}}}))',
            (
                "Nodes whose metrics arrive.",
                "as many as there are cabinets.",
                "compare with Nodes gone; a node that never told is in neither.",
            ),
            thresholds=CALM,
            graph="area",
        ),
        stat(
            "Nodes gone",
            f'count(group by (node) (last_over_time(kerbside_build_info{{job="kerbside",{NODE}}}[1d])) '
            f'unless on (node) group by (node) (kerbside_build_info{{job="kerbside",{NODE}}})) or vector(0)',
            (
                "Nodes that told within the last day and do not now.",
                "none.",
                "look whether other things in that cabinet answer: power, link, then the service.",
            ),
            thresholds=NONE_IS_GOOD,
        ),
        stat(
            "Nodes not ready",
            f"count(kerbside_node_ready{{{NODE}}} == 0) or vector(0)",
            (
                "Nodes that run and see no camera, or cannot store what they release.",
                "none.",
                "open the node; its status page says in words what is missing.",
            ),
            thresholds=NONE_IS_GOOD,
        ),
        stat(
            "Rows lost in a day",
            f"sum(increase(kerbside_spool_dropped_rows_total{{{NODE}}}[24h]))",
            (
                "Rows that were dropped within 24 hours because a spool was full or its disk failed.",
                "0. Everything else only waits.",
                "open privacy and delivery: bring the uplink back, or replace the disk.",
            ),
            thresholds=NONE_IS_GOOD,
            decimals=0,
        ),
        stat(
            "Cameras in all",
            f"count(camera:kerbside_camera_state:code{{{NODE}}})",
            (
                "Cameras that are configured on these nodes.",
                "as many as were installed.",
                "a camera's file is missing on its node, or a node is gone.",
            ),
            thresholds=CALM,
        ),
        stat(
            "Cameras without frames",
            f"count(camera:kerbside_camera_state:code{{{NODE}}} > 1 < 6) or vector(0)",
            (
                "Cameras that are connecting, refuse the credentials, send an unknown codec or have stalled.",
                "none.",
                "find them in the table of cameras. Many of one node at once: its switch or its supply.",
            ),
            thresholds=NONE_IS_GOOD,
        ),
        stat(
            "Cameras not trusted",
            f"count(max by (node, camera) (kerbside_camera_tampered{{{NODE}}}) == 1) or vector(0)",
            (
                "Cameras whose guard says that the picture is covered, out of focus, moved, frozen, dark or bright.",
                "none by day.",
                "open the camera for the kind. At night dark is usual where there is no lamp.",
            ),
            thresholds=NONE_IS_BEST,
        ),
        stat(
            "Lowest coverage",
            f"min(kerbside_camera_coverage_ratio{{{NODE}}})",
            (
                "The camera that was observed for the smallest share of the last minute.",
                "above 95 %.",
                "the table of cameras tells which; its counts are too low by about what is missing.",
            ),
            "percentunit",
            thresholds=steps((None, RED), (0.8, ORANGE), (0.95, GREEN)),
        ),
        stat(
            "Without a gateway",
            f"count(kerbside_uplink_connected{{{NODE}}} == 0) or vector(0)",
            (
                "Nodes that cannot reach their gateway. Their rows wait on their disks.",
                "none.",
                "many at once: the gateway or the network before it. One: its link. Nothing is lost for days.",
            ),
            thresholds=NONE_IS_BEST,
        ),
        stat(
            "Power",
            f"sum(node:kerbside_energy:watts_rate5m{{{NODE}}})",
            (
                "The processor packages of all nodes together. Machines that do not tell are missing.",
                "some watts a node, steady.",
                "open a node for watts by camera and joules per inference.",
            ),
            "watt",
            graph="area",
            noValue="not told",
        ),
    ]


def nodes() -> list[Json]:
    by_node = lambda expr: f"max by (node) ({expr})"  # noqa: E731 (a name for a pattern)
    columns = [
        column("Ready", by_node(f"kerbside_node_ready{{{NODE}}}"), mappings=YES_IS_GOOD),
        column("Cameras up", f'sum by (node) (kerbside_camera_state{{{NODE},state=~"up|tampered"}})'),
        column("Cameras", f"count by (node) (camera:kerbside_camera_state:code{{{NODE}}})"),
        column(
            "Busy",
            f"node:kerbside_machine_cpu_busy:ratio_rate5m{{{NODE}}}",
            "percentunit",
            thresholds=steps((None, GREEN), (0.8, ORANGE), (0.95, RED)),
        ),
        column(
            "Memory left",
            f"node:kerbside_machine_memory_available:ratio{{{NODE}}}",
            "percentunit",
            thresholds=steps((None, RED), (0.08, ORANGE), (0.2, GREEN)),
        ),
        column(
            "Temperature",
            by_node(f"kerbside_machine_temperature_celsius{{{NODE}}}"),
            "celsius",
            thresholds=steps((None, GREEN), (75, ORANGE), (85, RED)),
        ),
        column(
            "Spool full",
            f"node:kerbside_spool_bytes:ratio{{{NODE}}}",
            "percentunit",
            thresholds=steps((None, GREEN), (0.5, ORANGE), (0.85, RED)),
        ),
        column(
            "Disk left",
            f"node:kerbside_spool_disk_free:ratio{{{NODE}}}",
            "percentunit",
            thresholds=steps((None, RED), (0.1, ORANGE), (0.2, GREEN)),
        ),
        column(
            "Uplink lag",
            by_node(f"kerbside_uplink_lag_seconds{{{NODE}}}"),
            "s",
            thresholds=steps((None, GREEN), (900, ORANGE), (3600, RED)),
        ),
        column("Clock", by_node(f"kerbside_clock_synchronised{{{NODE}}}"), mappings=YES_IS_GOOD),
        column(
            "Certificate",
            by_node(f"kerbside_uplink_certificate_expiry_timestamp_seconds{{{NODE}}}") + " - time()",
            "s",
            thresholds=steps((None, RED), (172800, ORANGE), (1209600, GREEN)),
        ),
        column(
            "Running",
            f'time() - max by (node, version) (kerbside_process_start_timestamp_seconds{{job="kerbside",{NODE}}} '
            f'* on (node) group_left (version) group by (node, version) (kerbside_build_info{{job="kerbside",{NODE}}}))',
            "s",
        ),
    ]
    return [
        row("Nodes"),
        table(
            "Alerts",
            [column("Fires", 'ALERTS{alertname=~"Kerbside.*",alertstate="firing"}')],
            (
                "Every alert that fires, with its labels.",
                "an empty table.",
                "begin with severity page, then with what holds for a whole node: it explains its cameras.",
            ),
            hidden=["alertstate", "job", "Value"],
            links={"node": TO_NODE, "camera": TO_CAMERA},
            size=(24, 7),
        ),
        table(
            "Nodes",
            columns,
            (
                "A row for each node as of now. Click on its name for the node's dashboard.",
                "no orange or red cell; as many cameras up as there are.",
                "red first. A node with a red cell in several columns usually has one cause: heat, disk, or link.",
            ),
            links={"node": TO_NODE},
            rename={"version": "Version"},
            size=(24, 9),
        ),
    ]


def cameras() -> list[Json]:
    columns = [
        column("State", f"camera:kerbside_camera_state:code{{{NODE}}}", mappings=STATES),
        column("Wanted", f"sum by (node, camera) (kerbside_camera_analyse_fps{{{NODE}}})", "fps", decimals=1),
        column("Sent", f"camera:kerbside_frames_decoded:rate5m{{{NODE}}}", "fps", decimals=1),
        column("Analysed", f"camera:kerbside_frames_analysed:rate5m{{{NODE}}}", "fps", decimals=1),
        column(
            "Of those let in",
            f"camera:kerbside_frames_analysed:ratio_rate5m{{{NODE}}}",
            "percentunit",
            thresholds=steps((None, RED), (0.8, ORANGE), (0.95, GREEN)),
        ),
        column(
            "Coverage",
            f"sum by (node, camera) (kerbside_camera_coverage_ratio{{{NODE}}})",
            "percentunit",
            thresholds=steps((None, RED), (0.8, ORANGE), (0.95, GREEN)),
        ),
        column(
            "Not trusted",
            f"max by (node, camera) (kerbside_camera_tampered{{{NODE}}})",
            mappings=[
                {
                    "type": "value",
                    "options": {
                        "0": {"text": "trusted", "color": GREEN, "index": 0},
                        "1": {"text": "tampered", "color": RED, "index": 1},
                    },
                }
            ],
        ),
        column(
            "Latency, 95 %",
            f"camera:kerbside_capture_to_release_seconds:p95_rate5m{{{NODE}}}",
            "s",
            thresholds=steps((None, GREEN), (0.5, ORANGE), (1, RED)),
        ),
        column(
            "Reached, 1 day",
            f"camera:kerbside_camera_reached:avg_over_time1d{{{NODE}}}",
            "percentunit",
            thresholds=steps((None, RED), (0.95, ORANGE), (0.99, GREEN)),
        ),
    ]
    return [
        row("Cameras"),
        table(
            "Cameras",
            columns,
            (
                "A row for each camera: its state now, rates of five minutes, the share of the last day in which it was reached.",
                "up, analysed as many as are wanted, coverage near 100 %.",
                "click on the camera. Sent below wanted: the camera's setting. Analysed below what is let in: the node is too slow.",
            ),
            links={"node": TO_NODE, "camera": TO_CAMERA},
            size=(24, 10),
        ),
    ]


def history() -> list[Json]:
    return [
        row("Over time"),
        timeline(
            "Nodes ready",
            [(f"max by (node) (kerbside_node_ready{{{NODE}}})", "{{node}}")],
            (
                "When each node was ready. A gap is a time without metrics.",
                "green throughout.",
                "gaps of many nodes at once: Prometheus or the network. Red: the node's status page.",
            ),
            YES_IS_GOOD,
            size=(12, 8),
        ),
        series(
            "Cameras by state",
            [(f"sum by (state) (kerbside_camera_state{{{NODE}}})", "{{state}}")],
            (
                "How many cameras were in which state.",
                "all up.",
                "a step of several cameras at one time has one cause: a switch, a supply, a changed password.",
            ),
            stack=True,
        ),
        series(
            "Uplink lag",
            [(f"max by (node) (kerbside_uplink_lag_seconds{{{NODE}}})", "{{node}}")],
            (
                "Age of the oldest row of each node that is not at the gateway.",
                "a few seconds.",
                "all rise together: the gateway. After an outage it falls by itself.",
            ),
            "s",
            thresholds=steps((None, GREEN), (3600, RED)),
            line=True,
        ),
        series(
            "Processor busy",
            [(f"node:kerbside_machine_cpu_busy:ratio_rate5m{{{NODE}}}", "{{node}}")],
            (
                "Share of the machine's processor time that is used, by anyone.",
                "steady, below 80 %.",
                "open the node: who uses it, and is it throttled?",
            ),
            "percentunit",
            max=1,
            thresholds=steps((None, GREEN), (0.95, RED)),
            line=True,
        ),
        series(
            "Temperature",
            [(f"max by (node) (kerbside_machine_temperature_celsius{{{NODE}}})", "{{node}}")],
            (
                "The hottest sensor of each machine. Machines without one are missing.",
                "below 75 °C, with the day.",
                "fan, filter, sun on the cabinet.",
            ),
            "celsius",
            thresholds=steps((None, GREEN), (85, RED)),
            line=True,
            min=None,
        ),
        series(
            "Power by node",
            [(f"node:kerbside_energy:watts_rate5m{{{NODE}}}", "{{node}}")],
            (
                "The processor package of each node.",
                "steady; more cameras or frames cost more.",
                "a node that needs more for the same: see which camera on the node's dashboard.",
            ),
            "watt",
        ),
    ]


def city() -> list[Json]:
    return [
        row("The city's side"),
        stat(
            "Nodes connected",
            "sum(kerbside_gateway_nodes_connected)",
            (
                "Nodes that have a connection to a gateway and may send.",
                "as many as there are nodes.",
                "open privacy and delivery for refusals.",
            ),
            graph="area",
        ),
        stat(
            "Rows stored",
            "sum(gateway:kerbside_gateway_rows_stored:rate5m)",
            (
                "Rows a second that the gateways store, health rows included.",
                "steady, never 0.",
                "0 with nodes connected: commits fail, see privacy and delivery.",
            ),
            "rowsps",
            graph="area",
            decimals=2,
            thresholds=steps((None, RED), (0.0001, GREEN)),
        ),
        series(
            "Since a node's rows were stored",
            [(f"node:kerbside_gateway_node_stored:age_seconds{{{NODE}}}", "{{node}}")],
            (
                "What the gateway says, whatever the node's own metrics tell.",
                "below two minutes: health rows come every minute.",
                "the node is not connected, or is refused.",
            ),
            "s",
            size=(16, 8),
            thresholds=steps((None, GREEN), (3600, RED)),
            line=True,
        ),
    ]
