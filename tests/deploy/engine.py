"""Podman, as the tests call it, and how cabinet.yaml and city.yaml confine what it runs."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import load, run

BUSY = "sealing memfd copy: Device or resource busy"
TREE = Path(__file__).resolve().parents[2]


class Engine:
    """Podman with a storage of its own, so that nothing of this machine's is seen or touched."""

    def __init__(self, folder: Path) -> None:
        self.words: list[str | Path] = [
            *("podman", "--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "overlay"),
            # Neither systemd nor a journal is needed.
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc"),
        ]

    def __call__(self, *command: str | Path, fails: bool = False, **more: Any) -> str:
        done = run(*self.words, *command, **more)
        for _ in range(3):
            # Podman starts itself from a copy in memory, which on a busy machine cannot always be sealed at once.
            if done.returncode and BUSY in done.stdout + done.stderr:
                done = run(*self.words, *command, **more)
        if (done.returncode != 0) != fails:
            said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
            raise SystemExit(f"podman {' '.join(map(str, command))} ended with {done.returncode}\n{said}")
        return done.stdout + (done.stderr if fails else "")


def flags(file: str = "cabinet", name: str = "node") -> list[str]:
    """How a compose file confines a service, as arguments of `podman run`."""
    service = load(TREE / f"deploy/compose/{file}.yaml")["services"][name]
    memory = service["mem_limit"].rpartition("-")[2].rstrip("}")
    words = [f"--user={service['user']}", f"--pids-limit={service['pids_limit']}"]
    words += [f"--memory={memory}", f"--memory-swap={memory}"]
    words += ["--read-only", "--read-only-tmpfs=false"] if service["read_only"] else []
    words += [f"--cap-drop={capability}" for capability in service["cap_drop"]]
    for option in service["security_opt"]:
        profile = f"seccomp={TREE}/deploy/container/seccomp.json"
        words.append(f"--security-opt={profile if option.startswith('seccomp') else option.replace(':true', '')}")
    words += [f"--tmpfs={line}" for line in service["tmpfs"]]
    limits = service["ulimits"]
    # Podman's own wishes may be above what this machine allows.
    words += [f"--ulimit=core={limits['core']}", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
    words += [f"--sysctl={one}={value}" for one, value in service.get("sysctls", {}).items()]
    # Nothing but a loopback of its own, and its health is asked for here.
    return [*words, "--network=none", "--no-healthcheck"]


def healthy(engine: Engine, identity: str, image: str) -> str:
    """Nothing where the image's own health check is content, else what it said."""
    test = json.loads(engine("image", "inspect", image))[0]["Healthcheck"]["Test"][1:]
    done = run(*engine.words, "exec", identity, *test)
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}" or "not healthy"


def logs(engine: Engine, identity: str) -> str:
    """What the node had to say."""
    done = run(*engine.words, "logs", identity)
    return done.stdout + done.stderr


@contextlib.contextmanager
def folder_of_the_node() -> Iterator[Path]:
    """A folder that only the node's user can write to."""
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, 65532, 65532)
        yield Path(name)


def expect(holds: object, what: str) -> None:
    """Ends the test with `what` where it does not hold."""
    if not holds:
        raise SystemExit(f"image: {what}")
