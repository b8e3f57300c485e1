"""The city's side, as the dashboard of privacy and delivery shows it."""

from __future__ import annotations

from .panels import (
    CALM,
    GREEN,
    NONE_IS_BEST,
    ORANGE,
    RED,
    YES_IS_GOOD,
    Json,
    heatmap,
    row,
    series,
    stat,
    steps,
)

GATEWAY = 'instance=~"$gateway"'
NODE = 'node=~"$node"'
EXPIRY = steps((None, RED), (172800, ORANGE), (1209600, GREEN))


def gateway() -> list[Json]:
    def refused(
        title: str, metric: str, by: str, legend: str, about: tuple[str, str, str], size: tuple[int, int] = (8, 8)
    ) -> Json:
        return series(
            title,
            [(f"sum by ({by}) (increase({metric}{{{GATEWAY}}}[$__rate_interval]))", legend)],
            about,
            "short",
            size=size,
        )

    return [
        row("Gateway"),
        stat(
            "Gateway answers",
            f'min(up{{job="kerbside-gateway",{GATEWAY}}})',
            (
                "Whether the last scrape reached every gateway.",
                "yes.",
                "service, machine, disk. Nodes keep their rows meanwhile.",
            ),
            mappings=YES_IS_GOOD,
        ),
        stat(
            "Nodes connected",
            f"sum(kerbside_gateway_nodes_connected{{{GATEWAY}}})",
            ("Nodes that may send now.", "as many as there are.", "see refused connections."),
            thresholds=CALM,
            graph="area",
        ),
        stat(
            "Open connections",
            f"sum(kerbside_gateway_connections{{{GATEWAY}}})",
            (
                "All connections: nodes, readers, couriers.",
                "some more than nodes.",
                "many more: a scanner, or a reader that does not close.",
            ),
            thresholds=CALM,
            graph="area",
        ),
        stat(
            "Gateway's certificate",
            f"min(kerbside_gateway_certificate_expires_timestamp_seconds{{{GATEWAY}}}) - time()",
            (
                "How long the gateway's certificate is still good.",
                "weeks.",
                "put a renewed one into its file; after it expires no node can send.",
            ),
            "s",
            thresholds=EXPIRY,
        ),
        stat(
            "Gateway running for",
            f'time() - max(kerbside_process_start_timestamp_seconds{{job="kerbside-gateway",{GATEWAY}}})',
            (
                "Time since the process began.",
                "since the last update.",
                "minutes: it was restarted; a state that cannot be written ends it.",
            ),
            "s",
            thresholds=steps((None, ORANGE), (3600, GREEN)),
        ),
        stat(
            "Decoder failures",
            f"sum(increase(kerbside_gateway_decoder_panics_total{{{GATEWAY}}}[24h]))",
            (
                "Messages on which the decoder failed within a day.",
                "0.",
                "crafted bytes or a defect: keep the log and report it.",
            ),
            thresholds=NONE_IS_BEST,
            decimals=0,
        ),
        series(
            "Rows at the gateway",
            [
                (
                    f"sum by (table) (rate(kerbside_gateway_rows_stored_total{{{GATEWAY}}}[$__rate_interval]))",
                    "{{table}} stored",
                ),
                (
                    f"sum by (table) (rate(kerbside_gateway_rows_duplicate_total{{{GATEWAY}}}[$__rate_interval]))",
                    "{{table}} came again",
                ),
            ],
            (
                "Rows that were stored, and those that came again and were not stored twice.",
                "steady; few come again.",
                "many come again: answers are lost on the way, or commits fail.",
            ),
            "rowsps",
        ),
        series(
            "Age of each node's rows",
            [(f"node:kerbside_gateway_node_stored:age_seconds{{{NODE}}}", "{{node}}")],
            (
                "Time since rows of a node were stored last.",
                "below two minutes.",
                "the node is not connected, or is refused.",
            ),
            "s",
            thresholds=steps((None, GREEN), (3600, RED)),
            line=True,
        ),
        refused(
            "Refused requests",
            "kerbside_gateway_refused_total",
            "reason",
            "{{reason}}",
            (
                "Batches, streams and requests that were refused.",
                "empty: none since its start.",
                "the log names the node. A reason that appears with an update: versions do not fit.",
            ),
        ),
        refused(
            "Refused handshakes",
            "kerbside_gateway_handshakes_refused_total",
            "reason",
            "{{reason}}",
            (
                "Connections that were refused before a word was said.",
                "empty, or a scanner's plaintext.",
                "expired, revoked, unknown_authority: a node's certificate.",
            ),
        ),
        refused(
            "Gaps that were told",
            "kerbside_gateway_gap_rows_total",
            "table, reason",
            "{{table}} {{reason}}",
            (
                "Rows that will never come, as nodes tell.",
                "empty.",
                "dropped, damaged: lost on a node's disk. coarsened: kept as rows of an hour.",
            ),
        ),
        series(
            "Commits",
            [(f"gateway:kerbside_gateway_commit_seconds:p95_rate5m{{{GATEWAY}}}", "{{instance}} 95 %")],
            (
                "Time from the first row of a commit until its rows may be acknowledged.",
                "below a second.",
                "the disk of the state, or the landing's, is slow.",
            ),
            "s",
            size=(8, 8),
            thresholds=steps((None, GREEN), (5, RED)),
            line=True,
        ),
        heatmap(
            "Commits, all",
            f"sum by (le) (increase(kerbside_gateway_commit_seconds_bucket{{{GATEWAY}}}[$__rate_interval]))",
            (
                "How many commits took how long.",
                "one dark band.",
                "a second band: S3 that answers slowly now and then.",
            ),
            size=(8, 8),
        ),
        series(
            "What fails",
            [
                (
                    f"sum by (instance) (increase(kerbside_gateway_commit_errors_total{{{GATEWAY}}}[$__rate_interval]))",
                    "{{instance}} commits",
                ),
                (
                    f"sum by (instance) (increase(kerbside_gateway_reload_errors_total{{{GATEWAY}}}[$__rate_interval]))",
                    "{{instance}} reloads of certificates",
                ),
                (
                    f"sum by (instance) (increase(kerbside_gateway_decoder_panics_total{{{GATEWAY}}}[$__rate_interval]))",
                    "{{instance}} decoder",
                ),
            ],
            (
                "Commits whose rows come again, certificates that cannot be read, messages that the decoder failed on.",
                "none.",
                "the log says why.",
            ),
            "short",
            size=(8, 8),
        ),
    ]


def landing() -> list[Json]:
    process = f'job="kerbside-gateway",{GATEWAY}'
    return [
        row("Landing"),
        series(
            "Landing",
            [(f"sum by (table) (kerbside_gateway_landing_bytes{{{GATEWAY}}})", "{{table}}")],
            (
                "Bytes of the landing, by table.",
                "grows with the days; incident stays.",
                "compare with the disk or bucket that holds it.",
            ),
            "bytes",
            stack=True,
            size=(8, 7),
        ),
        series(
            "Files",
            [(f"sum by (table) (kerbside_gateway_landing_files{{{GATEWAY}}})", "{{table}}")],
            (
                "Files of the landing, by table.",
                "a few a day and table after merging.",
                "thousands: merging fails, see the log.",
            ),
            "short",
            stack=True,
            size=(8, 7),
        ),
        series(
            "Written",
            [
                (
                    f"sum by (table) (rate(kerbside_gateway_written_bytes_total{{{GATEWAY}}}[$__rate_interval]))",
                    "{{table}}",
                )
            ],
            (
                "Bytes written, merged files included.",
                "steady, peaks when days are merged.",
                "far above what arrives: files are merged again and again.",
            ),
            "Bps",
            size=(8, 7),
        ),
        series(
            "Files written, merged, expired",
            [
                (f"sum(increase(kerbside_gateway_files_written_total{{{GATEWAY}}}[$__rate_interval]))", "written"),
                (f"sum(increase(kerbside_gateway_compactions_total{{{GATEWAY}}}[$__rate_interval]))", "days merged"),
                (f"sum(increase(kerbside_gateway_files_expired_total{{{GATEWAY}}}[$__rate_interval]))", "expired"),
            ],
            (
                "What happens to files: written, small ones merged, old ones deleted by retention.",
                "days are merged every hour; incident expires after three days.",
                "nothing is merged: see the log.",
            ),
            "short",
            size=(8, 7),
        ),
        series(
            "Gateway's memory",
            [(f"max by (instance) (kerbside_process_resident_bytes{{{process}}})", "{{instance}}")],
            ("Resident memory of the gateway.", "flat.", "a steady slope is a leak: report it."),
            "bytes",
            size=(8, 7),
        ),
        series(
            "Gateway's processor, threads and files",
            [
                (
                    f"max by (instance) (rate(kerbside_process_cpu_seconds_total{{{process}}}[$__rate_interval]))",
                    "{{instance}} processors",
                ),
                (f"max by (instance) (kerbside_process_threads{{{process}}})", "{{instance}} threads"),
                (f"max by (instance) (kerbside_process_open_files{{{process}}})", "{{instance}} open files"),
            ],
            (
                "What the gateway's process uses.",
                "flat; open files grow with connections.",
                "a slope without more nodes is a leak.",
            ),
            "short",
            size=(8, 7),
        ),
    ]
