"""One node: is it well, does the machine suffice, where is the pipeline slow, what does it need?"""

from __future__ import annotations

from .panels import (
    BLUE,
    CALM,
    GREEN,
    NODES,
    NONE_IS_BEST,
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
from .pipeline import pipeline

NODE = 'node="$node"'
PROCESS = f'job="kerbside",{NODE}'


def dashboard() -> Json:
    variables = [variable("node", "Node", NODES, "The node that is shown.", many=False)]
    return board("kerbside-node", variables, now() + machine() + pipeline() + energy() + configuration(), NODE)


def now() -> list[Json]:
    return [
        row("Now"),
        stat(
            "Ready",
            f"min(kerbside_node_ready{{{NODE}}})",
            (
                "Whether a camera is up and what is released can be stored.",
                "yes.",
                "its status page says in words what is missing.",
            ),
            mappings=YES_IS_GOOD,
        ),
        stat(
            "Answers",
            f'min(up{{job="kerbside",{NODE}}})',
            (
                "Whether the last scrape reached it.",
                "yes.",
                "power, link, service. Where an agent pushes, this is the agent's view.",
            ),
            mappings=YES_IS_GOOD,
        ),
        stat(
            "Version",
            f"group by (version) (kerbside_build_info{{{PROCESS}}})",
            (
                "The program's version.",
                "the one that was rolled out.",
                "two at once: it was updated within the last minutes.",
            ),
            legend="{{version}}",
            show="name",
            thresholds=CALM,
        ),
        stat(
            "Running for",
            f"time() - max(kerbside_process_start_timestamp_seconds{{{PROCESS}}})",
            (
                "Time since the process began.",
                "since the last update.",
                "minutes: it was restarted; the log before the start says why.",
            ),
            "s",
            thresholds=steps((None, ORANGE), (3600, GREEN)),
        ),
        stat(
            "Threads that hang",
            f"sum(kerbside_thread_hung{{{NODE}}})",
            (
                "Stages whose thread makes no progress.",
                "0.",
                "the row Pipeline has their names. Keep the log, then restart the node.",
            ),
            thresholds=NONE_IS_GOOD,
        ),
        stat(
            "Clock",
            f"min(kerbside_clock_synchronised{{{NODE}}})",
            (
                "Whether the host vouches for UTC.",
                "yes.",
                "look at the time service; rows say meanwhile that their time is not sure.",
            ),
            mappings=YES_IS_GOOD,
        ),
        stat(
            "Temperature",
            f"max(kerbside_machine_temperature_celsius{{{NODE}}})",
            (
                "The machine's hottest sensor.",
                "below 75 °C.",
                "fan, filter, sun on the cabinet; above it the processor is slowed down.",
            ),
            "celsius",
            noValue="no sensor",
            thresholds=steps((None, GREEN), (75, ORANGE), (85, RED)),
            graph="area",
        ),
        stat(
            "Slowed down in an hour",
            f"sum(increase(kerbside_machine_throttles_total{{{NODE}}}[1h]))",
            ("Times that the processor was slowed down for heat.", "0.", "cool the cabinet or lower analyse_fps."),
            "short",
            noValue="not told",
            thresholds=NONE_IS_BEST,
            decimals=0,
        ),
        stat(
            "Undervoltage",
            f"max(kerbside_machine_undervoltage{{{NODE}}})",
            ("Whether the supply's voltage is too low now.", "no.", "replace the supply or its cable before it fails."),
            mappings=YES_IS_BAD,
            noValue="not watched",
        ),
        stat(
            "Disk left",
            f"node:kerbside_spool_disk_free:ratio{{{NODE}}}",
            (
                "Free space of the file system that holds the spool.",
                "above 20 %.",
                "look what else fills it; the spool gives way last.",
            ),
            "percentunit",
            thresholds=steps((None, RED), (0.1, ORANGE), (0.2, GREEN)),
        ),
        stat(
            "Setup mode",
            f"max(kerbside_debug_view_active{{{NODE}}})",
            (
                "Whether a picture of the background may be seen at the cabinet, for drawing zones.",
                "off, but for minutes.",
                "press Stop on the setup page, and find out who began it.",
            ),
            mappings=YES_IS_BAD,
        ),
        stat(
            "Insecure",
            f"max(kerbside_insecure_dev{{{NODE}}})",
            (
                "Whether it runs with --insecure-dev, so that memory may be written to a disk.",
                "no.",
                "switch swap off and start it without the option.",
            ),
            mappings=YES_IS_BAD,
        ),
    ]


def machine() -> list[Json]:
    return [
        row("Machine"),
        series(
            "Processor time of the machine",
            [(f"sum by (mode) (rate(kerbside_machine_cpu_seconds_total{{{NODE}}}[$__rate_interval]))", "{{mode}}")],
            (
                "What the processors do, in processors.",
                "some idle is left.",
                "iowait: a slow disk. steal: the host of a virtual machine is full.",
            ),
            "short",
            stack=True,
        ),
        series(
            "Share of the node",
            [
                (f"node:kerbside_process_cpu:ratio_rate5m{{{NODE}}}", "the node"),
                (f"node:kerbside_machine_cpu_busy:ratio_rate5m{{{NODE}}}", "the whole machine"),
            ],
            (
                "How much of the processors the node uses, and everyone together.",
                "the two lie close: nothing else works there.",
                "a gap: find the other program.",
            ),
            "percentunit",
            thresholds=steps((None, GREEN), (0.95, RED)),
            line=True,
        ),
        series(
            "Memory of the node",
            [(f"max(kerbside_process_resident_bytes{{{PROCESS}}})", "resident")],
            (
                "Resident memory of the process.",
                "flat after the first hour.",
                "a steady slope over days is a leak: note the version, restart it, report it.",
            ),
            "bytes",
            size=(8, 7),
        ),
        series(
            "Memory of the machine",
            [(f"sum by (kind) (kerbside_machine_memory_bytes{{{NODE}}})", "{{kind}}")],
            (
                "All memory and what is available.",
                "more than a fifth available.",
                "find what uses it; the kernel ends the largest process, which is the node.",
            ),
            "bytes",
            size=(8, 7),
        ),
        series(
            "Threads and open files",
            [
                (f"max(kerbside_process_threads{{{PROCESS}}})", "threads"),
                (f"max(kerbside_process_open_files{{{PROCESS}}})", "open files"),
            ],
            (
                "What the process holds.",
                "flat; a step with each camera.",
                "a steady slope is a leak: report it with the log.",
            ),
            "short",
            size=(8, 7),
        ),
        series(
            "Temperature over time",
            [(f"max(kerbside_machine_temperature_celsius{{{NODE}}})", "hottest sensor")],
            (
                "The machine's hottest sensor. Empty where there is none.",
                "below 75 °C, with the day.",
                "compare the outside temperature; then fan and filter.",
            ),
            "celsius",
            size=(8, 7),
            min=None,
            thresholds=steps((None, GREEN), (85, RED)),
            line=True,
        ),
        series(
            "Slowed down for heat",
            [(f"sum(increase(kerbside_machine_throttles_total{{{NODE}}}[$__rate_interval]))", "times")],
            (
                "How often the processor was slowed down. Empty where it does not tell.",
                "never.",
                "see frame rates at the same time.",
            ),
            "short",
            size=(8, 7),
        ),
        series(
            "Disk of the spool",
            [(f"sum by (kind) (kerbside_spool_disk_bytes{{{NODE}}})", "{{kind}}")],
            (
                "Size and free space of the file system.",
                "free is flat.",
                "a slope: find what grows. The spool itself is bounded by spool.max_bytes.",
            ),
            "bytes",
            size=(8, 7),
        ),
    ]


def energy() -> list[Json]:
    return [
        row("Energy"),
        stat(
            "Watts now",
            f"node:kerbside_energy:watts_rate5m{{{NODE}}}",
            (
                "The processor package. Neither disk, cameras nor the supply's loss.",
                "steady.",
                "not told: the kernel does not offer it, or not to this user.",
            ),
            "watt",
            graph="area",
            noValue="not told",
            thresholds=CALM,
        ),
        stat(
            "Energy within a day",
            f"sum(increase(kerbside_energy_joules_total{{{NODE}}}[24h]))",
            ("The processor package over 24 hours.", "watts times a day.", "as for watts."),
            "joule",
            noValue="not told",
            thresholds=CALM,
        ),
        stat(
            "Joules per inference",
            f"avg(camera:kerbside_inference_energy:joules_per_frame_rate5m{{{NODE}}})",
            (
                "Energy of detection for each analysed frame, the mean of the cameras.",
                "steady for a model and a machine.",
                "open the camera dashboard for each camera's.",
            ),
            "joule",
            noValue="not told",
            thresholds=CALM,
        ),
        series(
            "Power by camera",
            [
                (f"camera:kerbside_camera_energy:watts_rate5m{{{NODE}}}", "{{camera}}"),
                (
                    f"node:kerbside_energy:watts_rate5m{{{NODE}}} - on (node) sum by (node) (camera:kerbside_camera_energy:watts_rate5m{{{NODE}}})",
                    "no camera's",
                ),
            ],
            (
                "Watts of each camera, and what is nobody's. Empty where the machine does not tell.",
                "steady.",
                "a camera that grew: more frames, more pixels, a hotter machine.",
            ),
            "watt",
            stack=True,
            size=(12, 8),
        ),
        series(
            "Processor by camera",
            [
                (
                    f"sum by (camera) (rate(kerbside_camera_cpu_seconds_total{{{NODE}}}[$__rate_interval]))",
                    "{{camera}}",
                ),
                (
                    f"sum(rate(kerbside_inference_cpu_seconds_total{{{NODE}}}[$__rate_interval]))",
                    "of all that, detection",
                ),
            ],
            (
                "Processors that each camera keeps busy, and detection's part of it. An estimate.",
                "in proportion to frames and pixels.",
                "as for watts; every machine tells this.",
            ),
            "short",
            size=(12, 8),
        ),
        series(
            "Energy of each camera within a day",
            [(f"sum by (camera) (increase(kerbside_camera_energy_joules_total{{{NODE}}}[24h]))", "{{camera}}")],
            (
                "Joules of each camera over the last 24 hours. 3,600,000 J are a kilowatt-hour. Empty where the machine does not tell.",
                "in proportion to frames and pixels.",
                "the camera dashboard says how much of it is detection.",
            ),
            "joule",
            size=(12, 8),
        ),
        series(
            "Processors",
            [
                (f"max(kerbside_machine_cpus{{{NODE}}})", "may be used"),
                (f"max(rate(kerbside_process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval]))", "are used"),
            ],
            (
                "Processors that the node may use, and does.",
                "used stays below.",
                "fewer than the machine has: a container's limit.",
            ),
            "short",
            size=(12, 8),
        ),
    ]


def configuration() -> list[Json]:
    return [
        row("Configuration"),
        stat(
            "Files are refused",
            f"max(kerbside_config_refused{{{NODE}}})",
            (
                "Whether the files on the disk are refused, so that the node runs with the ones before.",
                "no.",
                "run kerbside check there: it names file, line and cure. It would not start again as it is.",
            ),
            mappings=YES_IS_BAD,
            size=(6, 6),
        ),
        stat(
            "Applied",
            f"time() - max(kerbside_config_applied_timestamp_seconds{{{NODE}}})",
            (
                "How long the running configuration has been in use.",
                "since somebody changed it.",
                "older than your change: it was not taken up; see beside.",
            ),
            "s",
            thresholds=steps((None, BLUE)),
            size=(6, 6),
        ),
        series(
            "Reloads",
            [(f"sum by (result) (increase(kerbside_config_reloads_total{{{NODE}}}[$__rate_interval]))", "{{result}}")],
            (
                "Times that the files were read again, and what became of them.",
                "applied after a change.",
                "refused: the log has every problem with its line.",
            ),
            "short",
            size=(12, 6),
        ),
        timeline(
            "Setup mode and insecure",
            [
                (f"max(kerbside_debug_view_active{{{NODE}}})", "setup mode"),
                (f"max(kerbside_insecure_dev{{{NODE}}})", "insecure"),
                (f"max(kerbside_config_refused{{{NODE}}})", "files refused"),
            ],
            (
                "When a picture could be seen at the cabinet, when the node ran insecurely, when its files were refused.",
                "no red, but minutes of setup mode while an installer draws.",
                "ask who was at the cabinet.",
            ),
            YES_IS_BAD,
            size=(24, 6),
        ),
    ]
