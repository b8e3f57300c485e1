"""One node's cameras: is each seen, is it fast enough, can its picture be trusted, and what does it cost?"""

from __future__ import annotations

from .panels import (
    BLUE,
    CALM,
    GREEN,
    NODES,
    NONE_IS_GOOD,
    ORANGE,
    RED,
    STATES,
    YES_IS_BAD,
    Json,
    board,
    heatmap,
    row,
    series,
    stat,
    steps,
    timeline,
    variable,
)

NODE = 'node="$node"'
CAMERA = f'{NODE},camera=~"$camera"'
GOOD_SHARE = steps((None, RED), (0.8, ORANGE), (0.95, GREEN))


def dashboard() -> Json:
    variables = [
        variable("node", "Node", NODES, "The node whose cameras are shown.", many=False),
        variable(
            "camera",
            "Camera",
            f"label_values(kerbside_camera_analyse_fps{{{NODE}}}, camera)",
            "Cameras of that node.",
            many=True,
        ),
        variable(
            "stage",
            "Stage",
            f"label_values(kerbside_stage_seconds_count{{{NODE}}}, stage)",
            "The stage whose times are drawn as a heat map.",
            many=False,
        ),
    ]
    return board("kerbside-camera", variables, now() + frames() + link() + latency() + picture() + cost(), NODE)


def now() -> list[Json]:
    return [
        row("Now"),
        stat(
            "State",
            f"camera:kerbside_camera_state:code{{{CAMERA}}}",
            (
                "What each camera is doing.",
                "up.",
                "connecting: ping it from the cabinet. Refuses credentials: its secret. Codec unsupported: its stream's "
                "setting. Stalled: restart it. Tampered: go and look.",
            ),
            legend="{{camera}}",
            mappings=STATES,
            size=(8, 5),
        ),
        stat(
            "Last frame",
            f"max by (camera) (kerbside_camera_last_frame_age_seconds{{{CAMERA}}})",
            (
                "Time since a frame left the decoder.",
                "below the time between two frames, so well below 1 s.",
                "above 5 s the node counts it as a stall and connects again.",
            ),
            "s",
            legend="{{camera}}",
            thresholds=steps((None, GREEN), (2, ORANGE), (5, RED)),
            size=(4, 5),
        ),
        stat(
            "Coverage",
            f"min by (camera) (kerbside_camera_coverage_ratio{{{CAMERA}}})",
            (
                "The share of the last minute with frames that were analysed and can be trusted. Released rows carry the same for their bin.",
                "near 100 %.",
                "what is missing is missing from the counts: see drops by reason, and the guard below.",
            ),
            "percentunit",
            legend="{{camera}}",
            thresholds=GOOD_SHARE,
            size=(4, 5),
        ),
        stat(
            "Analysed, of those let in",
            f"camera:kerbside_frames_analysed:ratio_rate5m{{{CAMERA}}}",
            (
                "Frames that went through detection and operators, as a share of those under the rate cap.",
                "above 95 %.",
                "the node is too slow: see its dashboard for processor, heat and throttling.",
            ),
            "percentunit",
            legend="{{camera}}",
            thresholds=GOOD_SHARE,
            size=(4, 5),
        ),
        stat(
            "Reached within a day",
            f"camera:kerbside_camera_reached:avg_over_time1d{{{CAMERA}}}",
            (
                "The share of the last 24 hours in which frames arrived.",
                "above 99 %.",
                "a camera that comes and goes: its link, its supply, its number of clients.",
            ),
            "percentunit",
            legend="{{camera}}",
            thresholds=steps((None, RED), (0.95, ORANGE), (0.99, GREEN)),
            size=(4, 5),
        ),
        timeline(
            "State over time",
            [(f"camera:kerbside_camera_state:code{{{CAMERA}}}", "{{camera}}")],
            (
                "The state of each camera.",
                "green throughout.",
                "compare with the other cameras: what all share at one time is the network or the node.",
            ),
            STATES,
        ),
    ]


def frames() -> list[Json]:
    return [
        row("Frames"),
        series(
            "Frame rates",
            [
                (f"camera:kerbside_frames_decoded:rate5m{{{CAMERA}}}", "{{camera}} decoded"),
                (f"camera:kerbside_frames_in:rate5m{{{CAMERA}}}", "{{camera}} let in"),
                (f"camera:kerbside_frames_analysed:rate5m{{{CAMERA}}}", "{{camera}} analysed"),
                (f"sum by (camera) (kerbside_camera_analyse_fps{{{CAMERA}}})", "{{camera}} wanted"),
            ],
            (
                "What the camera sends, what the cap lets in, what is analysed, and the most that is wanted.",
                "let in, analysed and wanted lie together.",
                "decoded below wanted: the camera's setting. Analysed below let in: the node is too slow.",
            ),
            "fps",
        ),
        series(
            "Dropped frames by reason",
            [(f"camera_reason:kerbside_frames_dropped:rate5m{{{CAMERA}}}", "{{camera}} {{reason}}")],
            (
                "Frames that were not analysed, those over the cap left out.",
                "none, or now and then a newer_frame.",
                "newer_frame, too_old: too little processor. damaged: the link loses packets. inference: the detector fails, see the log.",
            ),
            "fps",
            stack=True,
        ),
        series(
            "Frames over the cap",
            [
                (
                    f'sum by (camera) (rate(kerbside_frames_dropped_total{{{CAMERA},reason="rate_cap"}}[$__rate_interval]))',
                    "{{camera}}",
                )
            ],
            (
                "Frames that the camera sends and nobody wants; they were decoded for nothing.",
                "little: the camera's rate is near analyse_fps.",
                "set the camera to fewer frames a second: decoding is most of the load.",
            ),
            "fps",
            size=(8, 7),
        ),
        series(
            "Detector failures",
            [(f"sum by (camera) (rate(kerbside_inference_errors_total{{{CAMERA}}}[$__rate_interval]))", "{{camera}}")],
            (
                "Frames on which the detector failed.",
                "0.",
                "the log says why; it is made anew each time. Report it with the model's name.",
            ),
            "fps",
            size=(8, 7),
        ),
        series(
            "Waiting frames",
            [(f'sum by (edge) (kerbside_queue_depth_items{{{NODE},edge=~"($camera)/.*"}})', "{{edge}}")],
            (
                "Items in the queues of these cameras: slot is between decoder and lane, detect before the detectors.",
                "0 or 1.",
                "always 1 in slot: the lane is too slow, and newer frames win.",
            ),
            size=(8, 7),
        ),
    ]


def link() -> list[Json]:
    def counted(title: str, metric: str, about: tuple[str, str, str]) -> Json:
        return series(
            title,
            [(f"sum by (camera) (increase({metric}{{{CAMERA}}}[$__rate_interval]))", "{{camera}}")],
            about,
            "short",
            size=(8, 7),
        )

    return [
        row("Link and stream"),
        counted(
            "Reconnects",
            "kerbside_camera_reconnects_total",
            (
                "Attempts to connect again: after 1 s to 30 s, doubling, with jitter.",
                "none.",
                "steady ones: the camera is down. Single ones: its link or its supply.",
            ),
        ),
        counted(
            "Stalls",
            "kerbside_camera_stalls_total",
            (
                "Connections that were given up because no frame came for 5 s.",
                "none.",
                "the camera hangs, or its link loses packets for seconds.",
            ),
        ),
        counted(
            "Refused credentials",
            "kerbside_camera_auth_failures_total",
            (
                "Attempts that the camera refused because of our credentials.",
                "none.",
                "put the right password into the camera's secret; one attempt in five minutes is made.",
            ),
        ),
        counted(
            "Decode errors",
            "kerbside_camera_decode_errors_total",
            (
                "What the decoder complained of.",
                "none, or a few after a reconnect.",
                "lost packets: look at the switch's error counters; see that the stream goes over TCP.",
            ),
        ),
        counted(
            "Clock jumps",
            "kerbside_camera_clock_jumps_total",
            (
                "Jumps of the camera's own clock. Each ends all tracks.",
                "none, or one a day.",
                "give the camera the cabinet's time server.",
            ),
        ),
        series(
            "Converted pictures",
            [
                (
                    f"sum by (camera) (rate(kerbside_pixels_copied_bytes_total{{{CAMERA}}}[$__rate_interval]))",
                    "{{camera}}",
                )
            ],
            (
                "Bytes of pixels that had to be converted before anyone looked at them.",
                "0: decoders give NV12 or I420.",
                "set the stream to 8 bits, 4:2:0. It costs load, nothing else.",
            ),
            "Bps",
            size=(8, 7),
        ),
    ]


def latency() -> list[Json]:
    release = "camera:kerbside_capture_to_release_seconds"
    return [
        row("Latency"),
        series(
            "From capture to release",
            [
                (f"{release}:p50_rate5m{{{CAMERA}}}", "{{camera}} 50 %"),
                (f"{release}:p95_rate5m{{{CAMERA}}}", "{{camera}} 95 %"),
                (f"{release}:p99_rate5m{{{CAMERA}}}", "{{camera}} 99 %"),
            ],
            (
                "Time from a frame's arrival until the release stage has its findings, percentiles of five minutes.",
                "95 % below 0.5 s.",
                "see the stages beside: which one grew?",
            ),
            "s",
            thresholds=steps((None, GREEN), (1, RED)),
            line=True,
        ),
        heatmap(
            "Capture to release, all frames",
            f"sum by (le) (increase(kerbside_capture_to_release_seconds_bucket{{{CAMERA}}}[$__rate_interval]))",
            (
                "How many frames took how long.",
                "one dark band.",
                "two bands: two kinds of frames, such as two cameras, or waits in a queue.",
            ),
        ),
        series(
            "Mean time of each stage",
            [
                (
                    f"sum by (stage) (rate(kerbside_stage_seconds_sum{{{CAMERA}}}[$__rate_interval])) / "
                    f"(sum by (stage) (rate(kerbside_stage_seconds_count{{{CAMERA}}}[$__rate_interval])) > 0)",
                    "{{stage}}",
                ),
            ],
            (
                "Where a frame spends its time. detect holds input, network and head, and the wait for a free detector.",
                "network is most of detect.",
                "detect far above network: too few detectors. slot: the lane is too slow.",
            ),
            "s",
        ),
        heatmap(
            "Stage $stage, all frames",
            f'sum by (le) (increase(kerbside_stage_seconds_bucket{{{CAMERA},stage="$stage"}}[$__rate_interval]))',
            (
                "How many frames took how long in the stage that is chosen above.",
                "one dark band.",
                "compare a time when it was well: a band that moved up is slower work, a second one is waiting.",
            ),
        ),
    ]


def picture() -> list[Json]:
    return [
        row("Picture and privacy"),
        timeline(
            "What the guard says",
            [(f"max by (camera, kind) (kerbside_camera_tampered{{{CAMERA}}})", "{{camera}} {{kind}}")],
            (
                "Whether the picture cannot be trusted, by kind. Empty where a camera has no detect_tamper.",
                "no red.",
                "covered, defocus, frozen: go and look. moved: draw its lines and zones anew. dark, bright: light or exposure.",
            ),
            YES_IS_BAD,
            size=(16, 8),
        ),
        series(
            "Coverage over time",
            [(f"min by (camera) (kerbside_camera_coverage_ratio{{{CAMERA}}})", "{{camera}}")],
            (
                "The share of each minute that was observed.",
                "near 100 %.",
                "dips together with red beside: tampered. Dips alone: frames were dropped or the camera was away.",
            ),
            "percentunit",
            size=(8, 8),
            max=1,
            thresholds=steps((None, RED), (0.8, GREEN)),
            line=True,
        ),
        stat(
            "Privacy budget left",
            f"camera:kerbside_privacy_budget_left:ratio{{{CAMERA}}}",
            (
                "What is left for the bin that is open. A camera that releases nothing with noise is missing.",
                "100 %.",
                "0 % after a start or a changed bin: wait for the next bins. Longer: section KerbsideBudgetExhausted of RUNBOOK.md.",
            ),
            "percentunit",
            legend="{{camera}}",
            thresholds=steps((None, RED), (0.01, GREEN)),
            noValue="nothing has noise",
            size=(8, 5),
        ),
        stat(
            "Budget of a bin",
            f"max by (camera) (kerbside_privacy_budget{{{CAMERA}}})",
            (
                "Epsilon that one passage may cost, as configured.",
                "as the profile has it, or stricter.",
                "a number that nobody decided on: compare privacy in the camera's file.",
            ),
            "none",
            legend="{{camera}}",
            thresholds=CALM,
            decimals=2,
            noValue="nothing has noise",
            size=(8, 5),
        ),
        stat(
            "Cameras that are red",
            f"count(max by (camera) (kerbside_camera_tampered{{{CAMERA}}}) == 1) or vector(0)",
            ("Cameras of this node whose picture is not trusted now.", "0.", "nothing is counted there meanwhile."),
            thresholds=NONE_IS_GOOD,
            size=(8, 5),
        ),
    ]


def cost() -> list[Json]:
    return [
        row("What it costs"),
        series(
            "Processor by camera",
            [
                (
                    f"sum by (camera) (rate(kerbside_camera_cpu_seconds_total{{{CAMERA}}}[$__rate_interval]))",
                    "{{camera}}",
                )
            ],
            (
                "Processors that each camera keeps busy: decoding, detection and analysis. An estimate.",
                "in proportion to frames and resolution.",
                "much decoding: give the node the camera's smaller stream, or fewer frames.",
            ),
            "short",
            stack=True,
        ),
        series(
            "Power by camera",
            [(f"camera:kerbside_camera_energy:watts_rate5m{{{CAMERA}}}", "{{camera}}")],
            (
                "The package's energy in proportion to processor time. Empty where the machine does not tell.",
                "steady.",
                "as for the processor.",
            ),
            "watt",
            stack=True,
        ),
        series(
            "Joules per inference",
            [(f"camera:kerbside_inference_energy:joules_per_frame_rate5m{{{CAMERA}}}", "{{camera}}")],
            (
                "Energy of detection for each analysed frame. Empty where the machine does not tell.",
                "steady for a model and a machine.",
                "higher than on machines alike: a slower code path, see kerbside models explain, or a processor that is slowed down.",
            ),
            "joule",
            size=(8, 8),
        ),
        series(
            "Processor time per inference",
            [(f"camera:kerbside_inference_cpu:seconds_per_frame_rate5m{{{CAMERA}}}", "{{camera}}")],
            (
                "Processor time of detection for each analysed frame.",
                "steady for a model and a machine.",
                "as for joules.",
            ),
            "s",
            size=(8, 8),
        ),
        series(
            "Detection's share of the camera",
            [
                (
                    f"sum by (camera) (rate(kerbside_inference_cpu_seconds_total{{{CAMERA}}}[$__rate_interval])) / "
                    f"(sum by (camera) (rate(kerbside_camera_cpu_seconds_total{{{CAMERA}}}[$__rate_interval])) > 0)",
                    "{{camera}}",
                ),
            ],
            (
                "How much of the camera's processor time is detection; the rest is decoding and analysis.",
                "more than half.",
                "low: decoding dominates; fewer pixels or frames from the camera help most.",
            ),
            "percentunit",
            size=(8, 8),
            max=1,
            thresholds=steps((None, BLUE)),
        ),
    ]
