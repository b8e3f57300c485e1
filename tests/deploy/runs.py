"""Runs node and gateway in their images, confined as the compose files say."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine import TREE, Engine, expect, flags, folder_of_the_node, healthy, logs
from tools import run

NODE = "localhost/kerbside-node:test"
GATEWAY = "localhost/kerbside-gateway:test"
#: What the kernel must say of whoever runs in an image.
CONFINED = (
    "CapEff:\t0000000000000000",
    "CapBnd:\t0000000000000000",
    "NoNewPrivs:\t1",
    "Seccomp:\t2",
    "Uid:\t65532\t65532",
)
FETCH = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9600/metrics', timeout=5).read().decode())"


def confined(engine: Engine) -> None:
    """That the confinement confines: a program with more wishes than the node, in its place."""
    shell = shutil.which("busybox")
    expect(shell is not None, "busybox is missing: sh deploy/setup/packages.sh containers")
    probe = ["run", "--rm", *flags(), f"--volume={shell}:/busybox:ro", "--entrypoint", '["/busybox"]', NODE]
    for command, answer in (
        (["touch", "/usr/bin/other"], "Read-only file system"),
        (["touch", "/etc/kerbside/node.yaml"], "Read-only file system"),
        # Without the profile it would be "Operation not permitted": the capability is missing as well.
        (["unshare", "-n", "true"], "Function not implemented"),
        (["chroot", "/"], "Function not implemented"),
        (["ping", "-c", "1", "127.0.0.1"], "denied"),
        (["ip", "route", "get", "192.0.2.1"], "unreachable"),
    ):
        said = engine(*probe, *command, fails=True)
        expect(answer in said, f"{' '.join(command)} in the image: {said}")
    status = engine(*probe, "cat", "/proc/self/status")
    for line in CONFINED:
        expect(line in status, f"a process in the image has no {line!r}:\n{status}")
    print("image: a root that is read-only, no capabilities, no way to more, uid 65532, system calls filtered")


def replay(engine: Engine, programs: Path, clip: Path) -> None:
    """A clip through the node in its image gives what it gives outside of it."""
    camera = TREE / "deploy/config/examples/campus-path.yaml"
    with folder_of_the_node() as out, tempfile.TemporaryDirectory() as outside:
        engine(
            *("run", "--rm", *flags(), f"--volume={clip}:/clip.avi:ro", f"--volume={camera}:/campus-path.yaml:ro"),
            *(f"--volume={out}:/var/lib/kerbside", NODE),
            *("replay", "/clip.avi", "--camera", "/campus-path.yaml", "--out", "/var/lib/kerbside/rows"),
        )
        rows = events(engine, out, "rows")
        kerbside = programs / "kerbside"
        for words in (("replay", clip, "--camera", camera, "--out", outside), ("events", outside, "--format", "json")):
            done = run(kerbside, *words, cwd=TREE)
            expect(done.returncode == 0, done.stderr)
    tables = {json.loads(row)["table"] for row in rows.splitlines()}
    expect({"agg.v1", "health.v1"} <= tables, f"rows of {tables} alone")
    expect(rows == done.stdout, f"other rows in the image:\n{rows}\nthan outside:\n{done.stdout}")
    print(f"image: a clip of {clip.stat().st_size / 1e6:.0f} MB gave the same {len(rows.splitlines())} rows as outside")


def events(engine: Engine, out: Path, folder: str) -> str:
    """The rows in a folder, printed by the image itself."""
    words = ("run", "--rm", *flags(), f"--volume={out}:/var/lib/kerbside:ro", NODE)
    return engine(*words, "events", f"/var/lib/kerbside/{folder}", "--format", "json")


def live(engine: Engine, programs: Path, clip: Path) -> None:
    """A camera's stream into the node in its image, its health, and its end by SIGTERM."""
    with folder_of_the_node() as state, tempfile.TemporaryDirectory() as name:
        config = Path(name)
        config.chmod(0o755)
        (config / "cameras").mkdir()
        (config / "node.yaml").write_text(
            "name: kerb-1\nmetrics: {socket: /run/kerbside/status.sock}\ndefaults: {analyse_fps: 4}\n"
        )
        (config / "cameras/plaza.yaml").write_text(
            f"source: rtsp://127.0.0.1:8554/{clip.stem}\noperators: {{count_line: [{{line: crossing}}]}}\n"
            "geometry: {lines: {crossing: {from: [0.5, 0.3], to: [0.5, 0.7]}}}\n"
        )
        # As on a host: a folder of the node's own, so that its socket can be reached.
        run_folder = state / "run"
        run_folder.mkdir(mode=0o750)
        shutil.chown(run_folder, 65532, 65532)
        volumes = [f"{config}:/etc/kerbside:ro", f"{state}:/var/lib/kerbside", f"{run_folder}:/run/kerbside"]
        with running(engine, NODE, flags(), volumes) as (identity, pid):
            # The camera on the node's own loopback, which is all the network that it has.
            camera = subprocess.Popen(
                ["nsenter", f"--net=/proc/{pid}/ns/net", programs / "kerbside-camera", clip, "--port", "8554"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                wait(engine, NODE, identity, lambda: frames(pid) >= 4)
            finally:
                camera.kill()
                camera.wait()
            expect((run_folder / "status.sock").is_socket(), "the status page has no socket on the host")
            end(engine, identity)
        tables = {json.loads(line)["table"] for line in events(engine, state, "spool").splitlines()}
    expect({"agg.v1", "health.v1"} <= tables, f"rows of {tables} alone")
    print("image: a camera's stream, healthy, ended by SIGTERM, rows in its spool")


def frames(pid: int) -> float:
    """How many pictures that node has analysed."""
    page = run("nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", FETCH).stdout
    counted = [line for line in page.splitlines() if line.startswith("kerbside_frames_analysed_total{")]
    return float(counted[0].split()[-1]) if counted else 0


def desk(engine: Engine, programs: Path) -> None:
    """The gateway in its image, its health, and its end by SIGTERM."""
    with folder_of_the_node() as state, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        enroll = [programs / "kerbside", "enroll"]
        for words in (
            [*enroll, "authority", "--out", folder / "authority"],
            [
                *enroll,
                "gateway",
                "gateway",
                "--authority",
                folder / "authority",
                "--out",
                folder,
                "--address",
                "127.0.0.1",
            ],
        ):
            done = run(*words)
            expect(done.returncode == 0, done.stderr)
        secrets = []
        for file, there in (
            ("gateway.pem", "gateway.pem"),
            ("gateway.key", "gateway.key"),
            ("authority.pem", "nodes-ca.pem"),
        ):
            (folder / file).chmod(0o440)
            shutil.chown(folder / file, 0, 65532)
            secrets.append(f"{folder / file}:/run/secrets/{there}:ro")
        volumes = [
            f"{TREE}/deploy/config/gateway:/etc/kerbside-gateway:ro",
            f"{state}:/var/lib/kerbside-gateway",
            *secrets,
        ]
        with running(engine, GATEWAY, flags("city", "gateway"), volumes) as (identity, _):
            wait(engine, GATEWAY, identity, lambda: True)
            end(engine, identity)
    print("image: the gateway of the example, healthy, ended by SIGTERM")


@contextlib.contextmanager
def running(engine: Engine, image: str, confinement: list[str], volumes: list[str]) -> Iterator[tuple[str, int]]:
    """A container and its process, which the kernel says is confined; it is gone afterwards."""
    identity = engine("run", "--detach", *confinement, *(f"--volume={volume}" for volume in volumes), image).strip()
    try:
        pid = json.loads(engine("inspect", identity))[0]["State"]["Pid"]
        expect(pid, f"{image} has ended at once\n{logs(engine, identity)}")
        status = Path(f"/proc/{pid}/status").read_text()
        for line in CONFINED:
            expect(line in status, f"{image} has no {line!r}:\n{status}")
        mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        root = next(mount for mount in mounts if mount[4] == "/")
        expect("ro" in root[5].split(","), f"{image}: its root is mounted {root[5]}")
        yield identity, pid
    finally:
        engine("rm", "--force", identity)


def wait(engine: Engine, image: str, identity: str, done: Callable[[], bool]) -> None:
    """Until the image's own health check is content and it has done what was asked."""
    since = time.monotonic()
    while (said := healthy(engine, identity, image)) or not done():
        if time.monotonic() - since > 90:
            raise SystemExit(f"{image} is not healthy, or has done nothing: {said}\n{logs(engine, identity)}")
        time.sleep(0.5)


def end(engine: Engine, identity: str) -> None:
    """SIGTERM, and no word of failure."""
    engine("stop", "--time", "20", identity)
    code = json.loads(engine("inspect", identity))[0]["State"]["ExitCode"]
    expect(code == 0, f"SIGTERM ended it with {code}\n{logs(engine, identity)}")
