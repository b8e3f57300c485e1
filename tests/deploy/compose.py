"""The compose files: their schema, what podman-compose makes of them, and the confinement that no service may lack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tools import Problems, ask, complaints, load

USER = "65532:65532"


def check(tree: Path) -> Problems:
    """All problems of deploy/compose."""
    folder = tree / "deploy/compose"
    problems: Problems = []
    for name in ("cabinet", "city"):
        file = folder / f"{name}.yaml"
        problems += complaints(file.name, ask("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file))
        settings = folder / f"{name}.env"
        read = ask("podman-compose", "--env-file", settings, "--file", file, "config")
        problems += complaints(f"{file.name} with {settings.name}", read)
        text = load(file)
        for service, what in text["services"].items():
            problems += [f"{file.name}: {service}: {problem}" for problem in confinement(service, what)]
        problems += [f"{file.name}: {problem}" for problem in references(file, text)]
        problems += [f"{file.name}: {problem}" for problem in settings_named(file, settings)]
    return problems + networks(folder)


def confinement(name: str, service: dict[str, Any]) -> Problems:
    """What every service must have, whatever it runs."""
    options = service.get("security_opt", [])
    wanted = {
        "user": service.get("user") == USER,
        "read_only": service.get("read_only") is True,
        "cap_drop": service.get("cap_drop") == ["ALL"],
        "no-new-privileges": "no-new-privileges:true" in options,
        "pids_limit": 0 < service.get("pids_limit", 0) <= 512,
        "mem_limit": "mem_limit" in service,
        "no privileges": not {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"} & service.keys(),
        "no host network": service.get("network_mode", "service:").startswith("service:"),
        "an image with its version": service["image"].rpartition(":")[2].rstrip("}") not in ("", "latest")
        or "localhost/" in service["image"],
        "no engine's socket": "docker.sock" not in str(service) and "podman.sock" not in str(service),
        "volumes in the long form": all(isinstance(volume, dict) for volume in service.get("volumes", [])),
    }
    if name in ("node", "gateway"):
        wanted |= {
            "our seccomp profile": any(option.startswith("seccomp=") for option in options),
            "health check without a shell": service.get("healthcheck", {}).get("test", [None])[0] == "CMD",
            "no core dumps": service.get("ulimits", {}).get("core") == 0,
        }
    if name in ("node", "gateway"):
        folders = [volume for volume in service["volumes"] if volume["target"] == "/run/secrets"]
        wanted["a folder of secrets that is read-only"] = [one.get("read_only") for one in folders] == [True]
    if name == "node":
        wanted |= {
            "no swap": service.get("memswap_limit") == service.get("mem_limit"),
            "no open port": "ports" not in service,
            "no way between its networks": service.get("sysctls", {}).get("net.ipv4.ip_forward") == "0",
            "the host's word on its clock": any(
                volume["target"] == "/run/systemd/timesync" and volume.get("read_only") for volume in service["volumes"]
            ),
            "configuration read-only": any(
                volume["target"] == "/etc/kerbside" and volume.get("read_only") for volume in service["volumes"]
            ),
        }
    return [f"{what} is missing" for what, holds in wanted.items() if not holds]


def references(file: Path, text: dict[str, Any]) -> Problems:
    """Files beside the compose file that it mounts, networks and secrets that it names."""
    problems: Problems = []
    used: set[str] = set()
    for name, service in text["services"].items():
        used |= set(service.get("secrets", []))
        for volume in service.get("volumes", []):
            source = volume["source"]
            # What dashboards/ holds is checked where it is made.
            if source.startswith((".", "/")) and "dashboards" not in source and not (file.parent / source).exists():
                problems.append(f"{name} mounts {source}, which is not there")
            if not volume.get("read_only") and not source.startswith("${"):
                problems.append(f"{name} may write to {source}")
    secrets = text.get("secrets", {})
    problems += [f"secret {one} is not defined" for one in sorted(used - secrets.keys())]
    problems += [f"secret {one} is used by nobody" for one in sorted(secrets.keys() - used)]
    problems += [f"secret {name} is no file" for name, secret in secrets.items() if secret.keys() != {"file"}]
    return problems


def settings_named(file: Path, settings: Path) -> Problems:
    """Every variable stands in the settings, with the default that the compose file has."""
    problems: Problems = []
    shown = dict(re.findall(r"^(?:# )?([A-Z_]+)=(\S*)", settings.read_text(), re.MULTILINE))
    found = re.findall(r"\$\{([A-Z_]+):([-?])([^}]*)\}", file.read_text())
    for name, kind, default in found:
        if name not in shown:
            problems.append(f"{settings.name} does not say {name}")
        elif kind == "-" and shown[name] != default:
            problems.append(f"{settings.name} shows {name}={shown[name]}, the default is {default}")
    known = {name for name, *_ in found} | {"COMPOSE_PROFILES"}
    return problems + [f"{settings.name} says {name}, which nothing reads" for name in shown if name not in known]


def networks(folder: Path) -> Problems:
    """Cameras have a wire of their own and no default route; what needs no way out at the desk has none."""
    cabinet, city = load(folder / "cabinet.yaml"), load(folder / "city.yaml")
    cameras = cabinet["networks"]["cameras"]
    node = cabinet["services"]["node"]["networks"]
    wanted = {
        "cabinet.yaml: cameras are on their own wire": cameras["driver"] == "ipvlan"
        and "parent" in cameras["driver_opts"],
        "cabinet.yaml: the default route is the uplink's": node["uplink"].get("gw_priority", 0) > 0
        and "gw_priority" not in node["cameras"],
        "city.yaml: the desk has no route out": city["networks"]["desk"].get("internal") is True,
        "city.yaml: Prometheus is published by nobody": "ports" not in city["services"]["prometheus"],
        "city.yaml: Grafana is on loopback": city["services"]["grafana"]["ports"]
        == ["${GRAFANA_LISTEN:-127.0.0.1:3000}:3000"],
    }
    return [f"{what}: no longer" for what, holds in wanted.items() if not holds]
