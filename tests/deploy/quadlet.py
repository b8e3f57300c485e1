"""Quadlet and systemd units: keys, references and confinement; and what systemd itself says about them."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import defaultdict
from pathlib import Path

from tools import Problems, ask, complaints, run

#: What `systemd-analyze security` may find at most, in tenths: 2.0 is what it calls OK.
EXPOSURE = 20

Unit = dict[str, dict[str, list[str]]]


def check(tree: Path) -> Problems:
    """All problems of deploy/quadlet and deploy/systemd."""
    problems: Problems = []
    known = keys()
    for file in sorted((tree / "deploy/quadlet").iterdir()):
        unit = parse(file.read_text())
        section = file.suffix[1:].capitalize()
        if section not in known or section not in unit:
            problems.append(f"{file.name}: no [{section}] that Quadlet knows")
            continue
        unknown = unit.keys() - {"Unit", section, "Service", "Install"}
        problems += [f"{file.name}: section {name}" for name in sorted(unknown)]
        problems += [f"{file.name}: unknown key {key}" for key in unit[section] if key not in known[section]]
        if section == "Container":
            problems += [f"{file.name}: {problem}" for problem in confinement(file, unit)]
    return problems + verified(tree)


def keys() -> dict[str, set[str]]:
    """The keys that Quadlet knows, by section."""
    found: dict[str, set[str]] = {}
    section = ""
    for line in Path(__file__).with_name("quadlet_keys.txt").read_text().splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
            found[section] = set()
        elif line and not line.startswith("#"):
            found[section] |= set(line.split())
    return found


def parse(text: str) -> Unit:
    """A unit file: sections, and the values of each key in order."""
    unit: Unit = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if heading := re.fullmatch(r"\[([\w-]+)\]", line):
            section = heading[1]
            unit.setdefault(section, defaultdict(list))
            continue
        key, equals, value = line.partition("=")
        if not (equals and section and re.fullmatch(r"[A-Za-z0-9]+", key)):
            raise SystemExit(f"line {number} of a unit is none: {line}")
        unit[section][key].append(value)
    return unit


def confinement(file: Path, unit: Unit) -> Problems:
    """What every container must have, whatever it runs, and what the node must have."""
    container, service = unit["Container"], unit.get("Service", {})
    arguments = dict(re.findall(r"--([\w-]+)=(\S+)", " ".join(container["PodmanArgs"])))
    wanted = {
        "User and Group 65532": (container["User"], container["Group"]) == (["65532"], ["65532"]),
        "ReadOnly": container["ReadOnly"] == ["true"] and container["ReadOnlyTmpfs"] == ["false"],
        "DropCapability": container["DropCapability"] == ["all"] and not container["AddCapability"],
        "NoNewPrivileges": container["NoNewPrivileges"] == ["true"],
        "PidsLimit": container["PidsLimit"] != [],
        "no swap": arguments.get("memory") is not None and arguments.get("memory") == arguments.get("memory-swap"),
        "no further arguments": arguments.keys() == {"memory", "memory-swap"},
        "no open port": not container["PublishPort"],
        "secrets as files that nobody else reads": all(
            re.fullmatch(r"[\w.-]+,type=mount,target=/run/secrets/[\w.-]+,uid=65532,gid=65532,mode=0440", secret)
            for secret in container["Secret"]
        ),
        "a restart": service.get("Restart") == ["always"],
    }
    for network in container["Network"]:
        name, _, _ = network.partition(":")
        there = name.endswith(".network") and (file.parent / name).is_file()
        wanted[f"the network {network}"] = there or network == "container:kerbside-node"
    if file.stem == "kerbside-node":
        health = json.loads(container["HealthCmd"][0])
        watchdog = int(service["WatchdogSec"][0]) * 1_000_000
        told = [value for value in container["Environment"] if value.startswith("WATCHDOG_USEC=")]
        cameras = parse((file.parent / "kerbside-cameras.network").read_text())["Network"]
        wanted |= {
            "Notify": container["Notify"] == ["true"],
            # It reports at half of what it is told, so within a quarter of what systemd waits for.
            "half of WatchdogSec told to the node": told == [f"WATCHDOG_USEC={watchdog // 2}"],
            "SeccompProfile": container["SeccompProfile"] != [],
            "a health check without a shell": isinstance(health, list) and health[0] == "/usr/bin/kerbside",
            "a kill where it is not healthy": container["HealthOnFailure"] == ["kill"],
            "configuration read-only": "/etc/kerbside:/etc/kerbside:ro" in container["Volume"],
            "a folder of secrets that is read-only": "/etc/kerbside-secrets:/run/secrets:ro" in container["Volume"],
            "the host's word on its clock": "/run/systemd/timesync:/run/systemd/timesync:ro" in container["Volume"],
            "no way between its networks": "net.ipv4.ip_forward=0" in container["Sysctl"],
            "no default route among the cameras": "no_default_route=1" in cameras["Options"],
            "cameras on their own wire": cameras["Driver"] == ["ipvlan"],
            "MemorySwapMax": service.get("MemorySwapMax") == ["0"],
        }
    return [f"{what} is missing" for what, holds in wanted.items() if not holds]


def verified(tree: Path) -> Problems:
    """The native units, and the parts of Quadlet's that go to systemd as they are, by systemd's own reader."""
    problems: Problems = []
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted((tree / "deploy/systemd").glob("*.service")):
            # The program is not installed here; everything else stays.
            text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", file.read_text())
            problems += verify(Path(folder), file.name, text)
            analysed = ask(
                "systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", file
            )
            if analysed.returncode:
                problems.append(f"{file.name}: exposure above {EXPOSURE / 10}: {analysed.stdout.strip()[-80:]}")
        for file in sorted((tree / "deploy/quadlet").glob("*.container")):
            own = re.sub(r"(?ms)^\[Container\].*?(?=^\[)", "", file.read_text())
            own = own.replace("[Service]", "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/true")
            own = re.sub(r"(?m)^ExecReload=\S+", "ExecReload=/bin/true", own)
            # The service that Quadlet makes of the node is not there.
            own = own.replace("kerbside-node.service", "basic.target")
            problems += verify(Path(folder), f"{file.stem}.service", own)
    commands = [("sysusers", ("systemd-sysusers", "--dry-run"))]
    if os.geteuid() == 0:
        # It has no dry run: it makes the folders below another root.
        commands.append(("tmpfiles", ("systemd-tmpfiles", "--create")))
    for kind, command in commands:
        for file in sorted((tree / "deploy/systemd").glob(f"*.{kind}.conf")):
            with tempfile.TemporaryDirectory() as root:
                problems += complaints(file.name, run(*command, f"--root={root}", file))
    return problems


def verify(folder: Path, name: str, text: str) -> Problems:
    """What systemd has to say about one unit."""
    (folder / name).write_text(text)
    return complaints(name, ask("systemd-analyze", "verify", "--man=no", folder / name), silent=True)
