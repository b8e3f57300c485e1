"""Builds the node's image and runs the node in it, confined as deploy/compose/cabinet.yaml says.

    python image.py --programs DIR --clip FILE --target DIR

DIR of --programs holds kerbside, kerbside-gateway and kerbside-camera as Cargo has compiled them; what is made is kept
below --target from one run to the next. Needs root, Podman and debootstrap: no registry, since the base of the image is
made from the packages that this machine gets its own from. Where they are missing it says so and ends with 0, unless CI
is set.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import container
from base import base_image
from tools import load, run

TREE = Path(__file__).resolve().parents[2]
NODE = "localhost/kerbside-node:test"
GATEWAY = "localhost/kerbside-gateway:test"
#: With a program that was compiled for tests; what is shipped is smaller.
LARGEST_MB = 400
#: What has no place in an image: shells, what installs and compiles, an RTSP server, what encodes video.
ABSENT = ("sh", "bash", "dash", "busybox", "apt", "dpkg", "perl", "python3", "gcc", "cc", "ld", "curl", "wget")
ABSENT_LIBRARIES = ("libgstrtspserver*", "libgstx264*", "libgstx265*")


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
        if (done.returncode != 0) != fails:
            said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
            raise SystemExit(f"podman {' '.join(map(str, command))} ended with {done.returncode}\n{said}")
        return done.stdout + (done.stderr if fails else "")


def main() -> None:
    """Builds, looks at, and runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    for name in ("programs", "clip", "target"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    missing = [name for name in ("podman", "runc", "debootstrap") if shutil.which(name, path="/usr/sbin:/usr/bin:/bin") is None]
    if missing or os.geteuid() != 0:
        why = f"{', '.join(missing)} missing" if missing else "not root"
        if os.environ.get("CI"):
            sys.exit(f"no image can be built here: {why}; run sh deploy/setup/packages.sh containers")
        print(f"NO IMAGE WAS BUILT: {why}. Its file was linted only; sh deploy/setup/packages.sh containers, as root")
        return
    folder = arguments.target.resolve() / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder)
    build(engine, folder, arguments.programs.resolve())
    look_inside(engine, NODE, "kerbside", {"gstreamer1.0-libav", "libopencv-core406", "glib-networking"})
    look_inside(engine, GATEWAY, "kerbside-gateway", {"ca-certificates", "libgcc-s1"})
    confined(engine)
    replay(engine, arguments.clip.resolve())
    live(engine, arguments.programs.resolve(), arguments.clip.resolve())


def build(engine: Engine, folder: Path, programs: Path) -> None:
    """The image, from programs that were compiled already."""
    base = base_image(engine, folder)
    binaries = folder / "binaries"
    shutil.rmtree(binaries, ignore_errors=True)
    binaries.mkdir()
    for name in ("kerbside", "kerbside-gateway"):
        shutil.copy2(programs / name, binaries)
    target = run("rustc", "--print", "host-tuple").stdout.strip()
    metadata = run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target, cwd=TREE)
    if metadata.returncode:
        raise SystemExit(metadata.stderr)
    (binaries / "metadata.json").write_text(metadata.stdout)
    file = TREE / "deploy/container/Containerfile"
    since = time.monotonic()
    for target, name in (("node", NODE), ("gateway", GATEWAY)):
        # Docker's format: the other one has no health checks. chroot: a sandbox in a sandbox is often not to be had.
        engine(
            *("build", "--format", "docker", "--isolation", "chroot", "--network", "host", "--layers"),
            *("--target", target, "--file", file, "--ignorefile", f"{file}.dockerignore", "--tag", name),
            *("--build-context", f"binaries={binaries}", "--build-arg", f"BASE={base}", TREE),
        )
    print(f"images: built in {time.monotonic() - since:.0f} s")


def look_inside(engine: Engine, image: str, program: str, packages: set[str]) -> None:
    """What an image is made of, and what it says of itself."""
    about = json.loads(engine("image", "inspect", image))[0]
    megabytes = about["Size"] / 1e6
    config = about["Config"]
    expect(config["User"] == "65532:65532", f"it runs as {config['User']}")
    expect(config["StopSignal"] == "SIGTERM", f"it is stopped by {config.get('StopSignal')}")
    expect("org.opencontainers.image.licenses" in config["Labels"], "it has no labels")
    expect(about["Healthcheck"]["Test"][:3] == ["CMD", f"/usr/bin/{program}", "health"], "it has no health check")
    expect(megabytes < LARGEST_MB, f"it has {megabytes:.0f} MB")
    root = Path(engine("image", "mount", image).strip())
    try:
        files = [file for file in root.rglob("*") if file.is_file() and not file.is_symlink()]
        names = {file.name for file in files}
        expect(not names & set(ABSENT), f"programs in it that it does not need: {names & set(ABSENT)}")
        expect(not [one for name in ABSENT_LIBRARIES for one in root.rglob(name)], "a server or an encoder is in it")
        expect(
            not [file for file in files if file.stat().st_mode & 0o6022],
            "files that others may change, or that change who one is",
        )
        found = [file.name for file in files if file.stat().st_mode & 0o111 and ".so" not in file.name]
        expect(found == [program], f"programs: {found}")
        bill = (root / "usr/share/doc/kerbside/sbom.cdx.json").read_text()
        named = {one["name"] for one in json.loads(bill)["components"] if one.get("purl", "").startswith("pkg:deb/")}
        licences = {file.parent.name for file in root.glob("usr/share/doc/*/copyright")} - {"kerbside"}
        expect(named == licences, f"bill of materials and licences differ in {named ^ licences}")
        expect({"libc6", *packages} <= named, f"packages: {named}")
        target = run("rustc", "--print", "host-tuple").stdout.strip()
        problems = container.valid(bill) + container.crates(bill, TREE, program, target)
        expect(not problems, "\n".join(problems))
    finally:
        engine("image", "unmount", image)
    size = f"{megabytes:.0f} MB, {len(files)} files, {len(named)} packages of Debian with their licences"
    print(f"image: {program}: {size}")


def flags(*, network: bool) -> list[str]:
    """How cabinet.yaml confines the node, as arguments of `podman run`."""
    service = load(TREE / "deploy/compose/cabinet.yaml")["services"]["node"]
    memory = service["mem_limit"].rpartition("-")[2].rstrip("}")
    words = [f"--user={service['user']}", f"--pids-limit={service['pids_limit']}"]
    words += [f"--memory={memory}", f"--memory-swap={memory}"]
    words += ["--read-only", "--read-only-tmpfs=false"] if service["read_only"] else []
    words += [f"--cap-drop={capability}" for capability in service["cap_drop"]]
    for option in service["security_opt"]:
        profile = TREE / "deploy/container/seccomp.json"
        words.append(f"--security-opt={f'seccomp={profile}' if option.startswith('seccomp') else option.replace(':true', '')}")
    words += [f"--tmpfs={line}" for line in service["tmpfs"]]
    limits = service["ulimits"]
    words += [f"--ulimit=core={limits['core']}", "--ulimit=nofile={soft}:{hard}".format(**limits["nofile"])]
    # Podman's own wish may be above what this machine allows.
    words.append("--ulimit=nproc=4096:4096")
    words += [f"--sysctl={name}={value}" for name, value in service["sysctls"].items() if network]
    # Nothing but a loopback of its own.
    return [*words, "--network=none", "--rm", "--no-healthcheck"]


def confined(engine: Engine) -> None:
    """That the confinement confines: a program with more wishes than the node, in its place."""
    shell = shutil.which("busybox")
    expect(shell is not None, "busybox is missing: sh deploy/setup/packages.sh containers")
    probe = ["run", *flags(network=True), f"--volume={shell}:/probe:ro", "--entrypoint", '["/probe"]', NODE]
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
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t65532"):
        expect(line in status, f"a process in the image has no {line!r}:\n{status}")
    print("image: a root that is read-only, no capabilities, no way to more, uid 65532, system calls filtered")


def replay(engine: Engine, clip: Path) -> None:
    """A clip through the node in its image."""
    with folder_of_the_node() as out:
        engine(
            *("run", *flags(network=True), f"--volume={clip}:/clip.avi:ro"),
            *(f"--volume={TREE}/deploy/config/examples/campus-path.yaml:/plaza.yaml:ro", f"--volume={out}:/var/lib/kerbside"),
            *(NODE, "replay", "/clip.avi", "--camera", "/plaza.yaml", "--out", "/var/lib/kerbside/rows"),
        )
        rows = [json.loads(line) for line in events(engine, out, "rows").splitlines()]
    counted = sum(row["value"] for row in rows if row["table"] == "agg.v1" and row.get("measure") == "crossing_count")
    expect(counted > 0, f"nobody was counted in {len(rows)} rows")
    print(f"image: a clip of {clip.stat().st_size / 1e6:.0f} MB gave {len(rows)} rows")


def events(engine: Engine, out: Path, folder: str) -> str:
    """The rows in a folder, printed by the image itself."""
    words = ("run", *flags(network=True), f"--volume={out}:/var/lib/kerbside:ro", NODE)
    return engine(*words, "events", f"/var/lib/kerbside/{folder}", "--format", "json")


def live(engine: Engine, programs: Path, clip: Path) -> None:
    """A camera's stream into the node in its image, its health, and its end by SIGTERM."""
    with folder_of_the_node() as state, tempfile.TemporaryDirectory() as name:
        config = Path(name)
        config.chmod(0o755)
        (config / "cameras").mkdir()
        (config / "node.yaml").write_text("name: kerb-1\ndefaults: {analyse_fps: 4}\n")
        (config / "cameras/plaza.yaml").write_text(
            "source: rtsp://127.0.0.1:8554/vtest\ngeometry: {lines: {crossing: {from: [0.5, 0.3], to: [0.5, 0.7]}}}\n"
            "operators: {count_line: [{line: crossing}]}\n"
        )
        identity = engine(
            *("run", "--detach", *(flag for flag in flags(network=True) if flag != "--rm")),
            *(f"--volume={config}:/etc/kerbside:ro", f"--volume={state}:/var/lib/kerbside", NODE),
        ).strip()
        try:
            pid = json.loads(engine("inspect", identity))[0]["State"]["Pid"]
            # The camera on the node's own loopback, which is all the network that it has.
            camera = subprocess.Popen(
                ["nsenter", f"--net=/proc/{pid}/ns/net", programs / "kerbside-camera", clip, "--port", "8554"],
                stdout=subprocess.DEVNULL,
            )
            try:
                wait_until_healthy(engine, identity, pid)
            finally:
                camera.kill()
                camera.wait()
            engine("stop", "--time", "20", identity)
            ended = json.loads(engine("inspect", identity))[0]["State"]["ExitCode"]
            expect(ended == 0, f"SIGTERM ended it with {ended}\n{logs(engine, identity)}")
        finally:
            engine("rm", "--force", identity)
        tables = {json.loads(line)["table"] for line in events(engine, state, "spool").splitlines()}
    expect({"agg.v1", "health.v1"} <= tables, f"rows of {tables} alone")
    print("image: a camera's stream, healthy, ended by SIGTERM, rows in its spool")


def wait_until_healthy(engine: Engine, identity: str, pid: int) -> None:
    """Until the image's own health check and the camera's metric say so; and what the kernel says of the process."""
    status = Path(f"/proc/{pid}/status").read_text()
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t65532\t65532"):
        expect(line in status, f"the node has no {line!r}:\n{status}")
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    root = next(mount for mount in mounts if mount[4] == "/")
    expect("ro" in root[5].split(","), f"its root is mounted {root[5]}")
    test = json.loads(engine("image", "inspect", NODE))[0]["Healthcheck"]["Test"][1:]
    since = time.monotonic()
    while True:
        healthy = run(*engine.words, "exec", identity, *test)
        page = run("nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", FETCH)
        if healthy.returncode == 0 and 'kerbside_frames_analysed_total{camera="plaza"}' in page.stdout:
            frames = [line.split()[-1] for line in page.stdout.splitlines() if line.startswith("kerbside_frames_analysed_total{")]
            if float(frames[0]) >= 4:
                return
        if time.monotonic() - since > 60:
            said = f"{healthy.stdout}{healthy.stderr}\n{page.stderr}\n{logs(engine, identity)}"
            raise SystemExit(f"image: the node is not healthy after a minute\n{said}")
        time.sleep(0.5)


FETCH = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9600/metrics', timeout=5).read().decode())"


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


if __name__ == "__main__":
    main()
