"""The base of the images, made of the packages that this machine gets its own from: no registry is asked."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tools import run

SUITE = "bookworm"
#: Of the installed system, what a container has no use for.
LEFT_OUT = (
    "./dev/*",
    "./proc/*",
    "./sys/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
)


def base_image(engine: Callable[..., str], folder: Path) -> str:
    """The name of an image with a minimal Debian, made when it is missing or the machine's sources change."""
    sources = [text for text in map(Path.read_text, source_files()) if SUITE in text]
    digest = hashlib.sha256("".join([Path(__file__).read_text(), *sources]).encode()).hexdigest()[:16]
    name = f"localhost/kerbside-base:{digest}"
    if run(*engine.words, "image", "exists", name).returncode == 0:  # type: ignore[attr-defined]
        return name
    since = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        root = Path(work) / "root"
        made = run("debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, root, mirror())
        if made.returncode:
            raise SystemExit(f"debootstrap ended with {made.returncode}\n{made.stdout[-2000:]}{made.stderr[-2000:]}")
        # From the same place, but with its security updates.
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
        for file in source_files():
            if SUITE in file.read_text():
                shutil.copy(file, root / "etc/apt/sources.list.d")
        for file in Path("/usr/share/keyrings").glob("debian-archive-*"):
            shutil.copy(file, root / "usr/share/keyrings")
        # Nothing in an image survives a power cut half-written: it is built anew.
        (root / "etc/dpkg/dpkg.cfg.d/force-unsafe-io").write_text("force-unsafe-io\n")
        archive = Path(work) / "base.tar"
        left_out = [f"--exclude={pattern}" for pattern in LEFT_OUT]
        subprocess.run(["tar", "--create", "--file", archive, "--directory", root, *left_out, "."], check=True)
        engine("import", archive, name)
    print(f"image: a base of Debian {SUITE} made in {time.monotonic() - since:.0f} s")
    return name


def source_files() -> list[Path]:
    """Where apt is told where packages come from."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return [file for file in files if file.is_file() and file.suffix in (".list", ".sources")]


def mirror() -> str:
    """The first of them that has the suite."""
    for file in source_files():
        text = file.read_text()
        for block in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"(?m)^(URIs|Suites|Types):\s*(.+)$", block))
            if SUITE in fields.get("Suites", "").split() and "deb" in fields["Types"].split():
                return fields["URIs"].split()[0]
        for uri, suite in re.findall(r"(?m)^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text):
            if suite == SUITE and urlsplit(uri).scheme in ("http", "https", "file"):
                return uri
    raise SystemExit(f"image: /etc/apt names no source of Debian {SUITE}")
