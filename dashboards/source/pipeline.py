"""The pipeline of one node, as the node's dashboard shows it."""

from __future__ import annotations

from .panels import YES_IS_BAD, Json, column, heatmap, row, series, stat, table

NODE = 'node="$node"'


def pipeline() -> list[Json]:
    return [
        row("Pipeline"),
        table(
            "Threads",
            [column("Hangs", f"max by (thread) (kerbside_thread_hung{{{NODE}}})", mappings=YES_IS_BAD)],
            (
                "Every stage's thread.",
                "no, for all.",
                "which one: ingest is the camera's stream, lane its analysis, detect a detector, release and uplink the disk and the link.",
            ),
            size=(6, 9),
        ),
        series(
            "Slowest twentieth of each stage",
            [(f"stage:kerbside_stage_seconds:p95_rate5m{{{NODE}}}", "{{stage}}")],
            (
                "95th percentile of the time of one frame in each stage, over all cameras.",
                "network is most of detect; the others are milliseconds.",
                "detect above network: waits for a free detector. slot: lanes are behind.",
            ),
            "s",
            size=(9, 9),
        ),
        series(
            "Mean of each stage",
            [(f"stage:kerbside_stage_seconds:mean_rate5m{{{NODE}}}", "{{stage}}")],
            (
                "Mean time of one frame in each stage, over all cameras.",
                "as the 95th percentile, lower.",
                "a mean far below the percentile: few frames wait long.",
            ),
            "s",
            size=(9, 9),
        ),
        heatmap(
            "From capture to release, all cameras",
            f"sum by (le) (increase(kerbside_capture_to_release_seconds_bucket{{{NODE}}}[$__rate_interval]))",
            (
                "How many frames took how long.",
                "one dark band below 0.5 s.",
                "open the camera dashboard: which camera makes the upper band?",
            ),
        ),
        series(
            "Frames of all cameras",
            [
                (f"sum(camera:kerbside_frames_decoded:rate5m{{{NODE}}})", "decoded"),
                (f"sum(camera:kerbside_frames_in:rate5m{{{NODE}}})", "let in"),
                (f"sum(camera:kerbside_frames_analysed:rate5m{{{NODE}}})", "analysed"),
            ],
            (
                "What the node does in all.",
                "analysed lies on let in.",
                "analysed falls while let in stays: the machine is too slow or too hot.",
            ),
            "fps",
        ),
        series(
            "Waiting items",
            [(f"sum by (edge) (kerbside_queue_depth_items{{{NODE}}})", "{{edge}}")],
            (
                "What waits in each queue between two stages.",
                "0 or 1; reports a few.",
                "reports grows: the release stage or its disk is slow.",
            ),
            size=(8, 8),
        ),
        series(
            "Waiting for room",
            [(f"sum by (edge) (rate(kerbside_queue_blocked_seconds_total{{{NODE}}}[$__rate_interval]))", "{{edge}}")],
            (
                "The share of time in which a sender waits because a queue is full.",
                "0.",
                "what reads that queue is too slow.",
            ),
            "percentunit",
            size=(8, 8),
        ),
        series(
            "Replaced by a newer one",
            [(f"sum by (edge) (rate(kerbside_queue_dropped_items_total{{{NODE}}}[$__rate_interval]))", "{{edge}}")],
            (
                "Frames that gave way to newer ones, by queue.",
                "0.",
                "the camera's lane is too slow; it is dropped as newer_frame.",
            ),
            "ops",
            size=(8, 8),
        ),
        series(
            "Clock and bins",
            [
                (f"sum(increase(kerbside_late_frames_total{{{NODE}}}[$__rate_interval]))", "late frames"),
                (f"sum(increase(kerbside_skipped_bins_total{{{NODE}}}[$__rate_interval]))", "skipped bins"),
            ],
            (
                "Late frames mean that the clock was set back, skipped bins that it was set ahead.",
                "none.",
                "look why the clock was wrong; a stretch is missing from the counts.",
            ),
            "short",
            size=(16, 7),
        ),
        stat(
            "Findings lost",
            f"max(kerbside_findings_lost{{{NODE}}})",
            (
                "Whether, since the start, a finding came too late for its bin or fits no counter.",
                "no.",
                "look at latency and clock; without a reason there it is a defect.",
            ),
            mappings=YES_IS_BAD,
            size=(8, 7),
        ),
    ]
