"""Programs that check files, and how they are called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

Problems = list[str]

ANSWERS: dict[tuple[Any, ...], subprocess.CompletedProcess[str]] = {}

#: The programs of this environment stand beside its interpreter.
PATH = f"{Path(sys.executable).parent}:/usr/sbin:/sbin:{os.environ.get('PATH', '')}"


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """A program's end and what it printed. One that is missing is an error: a check that is left out proves nothing."""
    environment = {**os.environ, "PATH": PATH, **more.pop("environment", {})}
    try:
        return subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, env=environment, check=False, **more
        )
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is missing: run sh deploy/setup/packages.sh containers") from error


def ask(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """As `run`, for a program that only reads the files in its command: never asked twice about the same content."""
    key = tuple((word.name, word.read_bytes()) if isinstance(word, Path) else word for word in command)
    if key not in ANSWERS:
        ANSWERS[key] = run(*command)
    return ANSWERS[key]


def complaints(what: str, done: subprocess.CompletedProcess[str], *, silent: bool = False) -> Problems:
    """What a program had to say against a file. With `silent`, any word of it on standard error counts."""
    said = (done.stdout + done.stderr).strip() if done.returncode else done.stderr.strip() if silent else ""
    if done.returncode and not said:
        said = f"ended with {done.returncode}"
    return [f"{what}: {said}"] if said else []


def load(file: Path) -> Any:
    """The one document of a YAML file."""
    return yaml.safe_load(file.read_text())
