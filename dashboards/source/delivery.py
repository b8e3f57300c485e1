"""What leaves a node, what the privacy contract holds back, how it travels, and what has arrived at the city."""

from __future__ import annotations

from .gateway import EXPIRY, gateway, landing
from .panels import (
    GREEN,
    NODES,
    NONE_IS_GOOD,
    ORANGE,
    RED,
    YES_IS_BAD,
    YES_IS_GOOD,
    Json,
    board,
    row,
    series,
    stat,
    steps,
    timeline,
    variable,
)

NODE = 'node=~"$node"'


def dashboard() -> Json:
    variables = [
        variable("node", "Node", NODES, "The nodes whose way to the city is shown.", many=True),
        variable(
            "gateway",
            "Gateway",
            'label_values(kerbside_build_info{job="kerbside-gateway"}, instance)',
            "The gateways, by their metrics' address.",
            many=True,
        ),
    ]
    return board("kerbside-delivery", variables, now() + privacy() + spool() + uplink() + gateway() + landing(), NODE)


def now() -> list[Json]:
    return [
        row("Now"),
        stat(
            "Storing",
            f"min(kerbside_spool_healthy{{{NODE}}})",
            (
                "Whether every node can store what it releases.",
                "yes.",
                "that node's disk: full, read-only or broken. Rows are lost meanwhile.",
            ),
            mappings=YES_IS_GOOD,
        ),
        stat(
            "Ledger",
            f"min(kerbside_privacy_ledger_healthy{{{NODE}}})",
            (
                "Whether the privacy ledger lets numbers with noise through.",
                "yes.",
                "kerbside ledger says what is wrong. Counts are lost while it lasts.",
            ),
            mappings=YES_IS_GOOD,
        ),
        stat(
            "Connected",
            f"min(kerbside_uplink_connected{{{NODE}}})",
            (
                "Whether the gateway answers every node that has one.",
                "yes.",
                "rows wait on the disk; look at the link and the gateway.",
            ),
            mappings=YES_IS_GOOD,
            noValue="no gateway",
        ),
        stat(
            "Largest lag",
            f"max(kerbside_uplink_lag_seconds{{{NODE}}})",
            (
                "Age of the oldest row that is not at the gateway, of the node that is furthest behind.",
                "seconds.",
                "falling: it catches up. Else see refused rows and the link's rate.",
            ),
            "s",
            thresholds=steps((None, GREEN), (900, ORANGE), (3600, RED)),
            noValue="no gateway",
        ),
        stat(
            "Rows lost in a day",
            f"sum(increase(kerbside_spool_dropped_rows_total{{{NODE}}}[24h]))",
            (
                "Rows that were dropped because a spool was full or its disk failed.",
                "0.",
                "bring the uplink back, replace the disk, or carry the spool by hand.",
            ),
            thresholds=NONE_IS_GOOD,
            decimals=0,
        ),
        stat(
            "First certificate to expire",
            f"min(kerbside_uplink_certificate_expiry_timestamp_seconds{{{NODE}}}) - time()",
            (
                "How long the node's certificate that expires first is still good.",
                "weeks.",
                "put a renewed one into its file; it is taken up while the node runs.",
            ),
            "s",
            thresholds=EXPIRY,
            noValue="no gateway",
        ),
    ]


def privacy() -> list[Json]:
    return [
        row("Privacy"),
        series(
            "Released bytes by class",
            [(f"sum by (class) (rate(kerbside_egress_bytes_total{{{NODE}}}[$__rate_interval]))", "{{class}}")],
            (
                "Bytes of released rows that were handed to the spool. Nothing else leaves a node but metrics.",
                "steady: the configuration fixes the rows of every bin.",
                "a step without a new configuration: find out which class. incident grows with the street, up to its daily limit.",
            ),
            "Bps",
            stack=True,
        ),
        series(
            "Sent against released",
            [
                (
                    f'sum(rate(kerbside_uplink_bytes_total{{{NODE},direction="sent"}}[$__rate_interval]))',
                    "sent, with encryption and protocol",
                ),
                (f"sum(rate(kerbside_egress_bytes_total{{{NODE}}}[$__rate_interval]))", "released"),
            ],
            (
                "What goes over the wire beside what was released. Video would be a thousand times as much.",
                "sent is a small multiple of released, more after an outage.",
                "far more for long with no lag: rows are refused and come again.",
            ),
            "Bps",
        ),
        series(
            "Released rows",
            [(f"sum by (table) (rate(kerbside_released_rows_total{{{NODE}}}[$__rate_interval]))", "{{table}}")],
            (
                "Rows that passed the release stage.",
                "health every minute, agg at the end of each bin.",
                "no agg for hours: ready, ledger, clock, in that order.",
            ),
            "rowsps",
            size=(8, 8),
        ),
        series(
            "Refused by rule",
            [(f"sum by (rule) (increase(kerbside_privacy_refused_total{{{NODE}}}[$__rate_interval]))", "{{rule}}")],
            (
                "Releases that a rule of the privacy contract refused.",
                "0.",
                "PC-9: no budget. PC-8: a finding without a bound. PC-14: alerts over budget. PC-18: too many incidents. See PRIVACY.md.",
            ),
            "short",
            size=(8, 8),
        ),
        series(
            "Budget left",
            [(f"camera:kerbside_privacy_budget_left:ratio{{{NODE}}}", "{{node}} {{camera}}")],
            (
                "What is left of the budget of the bin that is open: all or nothing. Cameras that release nothing with noise are missing.",
                "100 %.",
                "0 % after a start until the next bins begin. Longer: section KerbsideBudgetExhausted of RUNBOOK.md.",
            ),
            "percentunit",
            size=(8, 8),
            max=1,
        ),
        timeline(
            "Held back",
            [
                (f"1 - min by (node) (kerbside_privacy_ledger_healthy{{{NODE}}})", "{{node}} ledger refuses"),
                (f"max by (node) (kerbside_incidents_limited{{{NODE}}})", "{{node}} incidents limited"),
                (f"max by (node) (kerbside_findings_lost{{{NODE}}})", "{{node}} findings lost"),
                (f"max by (node) (kerbside_debug_view_active{{{NODE}}})", "{{node}} setup mode"),
            ],
            (
                "When something was held back or lost, and when a background picture could be seen at the cabinet.",
                "no red.",
                "each has its section in RUNBOOK.md.",
            ),
            YES_IS_BAD,
            size=(24, 7),
        ),
    ]


def spool() -> list[Json]:
    def counted(title: str, metric: str, about: tuple[str, str, str]) -> Json:
        return series(
            title,
            [(f"sum by (node) (increase({metric}{{{NODE}}}[$__rate_interval]))", "{{node}}")],
            about,
            "short",
            size=(8, 7),
        )

    return [
        row("Spool"),
        series(
            "Spool",
            [
                (f"sum by (node) (kerbside_spool_bytes{{{NODE}}})", "{{node}}"),
                (f"sum by (node) (kerbside_spool_max_bytes{{{NODE}}})", "{{node}} at most"),
            ],
            (
                "What waits on the disks, and what may.",
                "small and flat; it grows while the gateway is away.",
                "near its limit rows are summed up to hours, then dropped.",
            ),
            "bytes",
            size=(8, 8),
        ),
        series(
            "Oldest row in the spool",
            [(f"max by (node) (kerbside_spool_oldest_age_seconds{{{NODE}}})", "{{node}}")],
            (
                "Age of the oldest row on the disk.",
                "seconds to minutes.",
                "after spool.keep, 30 days at most, it is deleted although nobody has it.",
            ),
            "s",
            size=(8, 8),
            thresholds=steps((None, GREEN), (2160000, RED)),
            line=True,
        ),
        series(
            "Not yet safe",
            [(f"max by (node) (kerbside_spool_unsynced_rows{{{NODE}}})", "{{node}}")],
            (
                "Rows that a power cut would take, since the disk has not synced them.",
                "back to 0 within a second.",
                "it stays up: the disk is slow or hangs.",
            ),
            "short",
            size=(8, 8),
        ),
        counted(
            "Dropped rows",
            "kerbside_spool_dropped_rows_total",
            (
                "Rows that are lost: the spool was full or the disk failed.",
                "none, ever.",
                "bring the uplink back; replace a disk that fails.",
            ),
        ),
        counted(
            "Rows summed up",
            "kerbside_spool_coarsened_rows_total",
            (
                "Rows of counts that became rows of an hour because the spool was full.",
                "none.",
                "the next step is loss: bring the uplink back.",
            ),
        ),
        counted(
            "Disk errors",
            "kerbside_spool_errors_total",
            (
                "Writes and syncs that the disk refused.",
                "none.",
                "look at the kernel's log, and replace the disk or card.",
            ),
        ),
    ]


def uplink() -> list[Json]:
    def counted(
        title: str, metric: str, about: tuple[str, str, str], by: str = "node", legend: str = "{{node}}"
    ) -> Json:
        return series(
            title,
            [(f"sum by ({by}) (increase({metric}{{{NODE}}}[$__rate_interval]))", legend)],
            about,
            "short",
            size=(8, 7),
        )

    return [
        row("Uplink"),
        timeline(
            "Connected over time",
            [(f"max by (node) (kerbside_uplink_connected{{{NODE}}})", "{{node}}")],
            ("When the gateway answered each node.", "green throughout.", "all at once: the gateway. One: its link."),
            YES_IS_GOOD,
            size=(12, 8),
        ),
        series(
            "Lag",
            [(f"max by (node) (kerbside_uplink_lag_seconds{{{NODE}}})", "{{node}}")],
            (
                "Age of the oldest row that the gateway has not stored.",
                "seconds.",
                "after an outage new rows go first and the old ones take half of the link, so it falls late.",
            ),
            "s",
            thresholds=steps((None, GREEN), (3600, RED)),
            line=True,
        ),
        series(
            "Waiting rows",
            [(f"max by (node) (kerbside_uplink_waiting_rows{{{NODE}}})", "{{node}}")],
            (
                "Rows that the gateway has not stored yet.",
                "a few.",
                "it grows while connected: refused rows or a slow link.",
            ),
            "short",
            size=(8, 7),
        ),
        series(
            "Waiting bytes",
            [(f"max by (node) (kerbside_uplink_waiting_bytes{{{NODE}}})", "{{node}}")],
            ("The same in bytes.", "kilobytes.", "over the link's rate it tells how long catching up takes."),
            "bytes",
            size=(8, 7),
        ),
        series(
            "Stored rows",
            [(f"sum by (table) (rate(kerbside_uplink_stored_rows_total{{{NODE}}}[$__rate_interval]))", "{{table}}")],
            (
                "Rows that the gateway said it stored.",
                "as many as are released.",
                "0 while connected: see refused rows, then the gateway below.",
            ),
            "rowsps",
            size=(8, 7),
        ),
        counted(
            "Refused rows",
            "kerbside_uplink_refused_rows_total",
            (
                "Rows that the gateway refused, by reason, each time that it did.",
                "none.",
                "schema, vocabulary, value: versions do not fit. identity_conflict, replay: a cloned card or a spool set back. They stay in the spool.",
            ),
            "node, reason",
            "{{node}} {{reason}}",
        ),
        counted(
            "Rows told as lost",
            "kerbside_uplink_lost_rows_total",
            (
                "Rows of which the gateway was told that they will never come.",
                "none.",
                "they were dropped or damaged on the disk; gap.v1 has their numbers.",
            ),
        ),
        counted(
            "Wrong answers",
            "kerbside_uplink_wrong_answers_total",
            (
                "Answers that fit nothing that was sent. They change nothing.",
                "none.",
                "compare the two versions; look for something between the two.",
            ),
        ),
        counted(
            "Failed connections",
            "kerbside_uplink_failures_total",
            (
                "Connections that could not be made, were lost or refused.",
                "a few after an outage.",
                "many: the log says why; a firewall that ends idle connections is usual.",
            ),
        ),
        counted(
            "Connections",
            "kerbside_uplink_connections_total",
            ("Connections on which the gateway answered.", "one after each start or outage.", "many: see failed ones."),
        ),
        series(
            "Bytes on the link",
            [
                (
                    f"sum by (node, direction) (rate(kerbside_uplink_bytes_total{{{NODE}}}[$__rate_interval]))",
                    "{{node}} {{direction}}",
                )
            ],
            (
                "Bytes to and from the gateway, encryption and protocol included.",
                "kilobytes a minute.",
                "in an outage's wake at most half of the link is for old rows.",
            ),
            "Bps",
            size=(8, 7),
        ),
    ]
