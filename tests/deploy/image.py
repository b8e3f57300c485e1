"""Builds the images of node and gateway and runs both, confined as the files of deploy/compose say.

    python image.py --programs DIR --clip FILE --target DIR

DIR of --programs holds kerbside, kerbside-gateway and kerbside-camera as Cargo has compiled them; what is made is kept
below --target from one run to the next. Needs root, Podman and debootstrap: no registry, since the base of the image is
made from the packages that this machine gets its own from. Where they are missing it says so and ends with 0, unless CI
is set.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import container
from base import base_image
from engine import TREE, Engine, expect, flags
from runs import GATEWAY, NODE, confined, desk, live, replay
from tools import run

PACKAGES = "localhost/kerbside-packages:test"
#: With a program that was compiled for tests; what is shipped is smaller.
LARGEST_MB = 400
#: What has no place in an image: shells, what installs and compiles, an RTSP server, what encodes video.
ABSENT = ("sh", "bash", "dash", "busybox", "apt", "dpkg", "perl", "python3", "gcc", "cc", "ld", "curl", "wget")
ABSENT_LIBRARIES = ("libgstrtspserver*", "libgstx264*", "libgstx265*")


def main() -> None:
    """Builds, looks at, and runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    for name in ("programs", "clip", "target"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    path = "/usr/sbin:/usr/bin:/bin"
    missing = [name for name in ("podman", "runc", "debootstrap") if shutil.which(name, path=path) is None]
    if missing or os.geteuid() != 0:
        why = f"{', '.join(missing)} missing" if missing else "not root"
        if os.environ.get("CI"):
            sys.exit(f"no image can be built here: {why}; run sh deploy/setup/packages.sh containers")
        print(f"NO IMAGE WAS BUILT: {why}. Its file was linted only; sh deploy/setup/packages.sh containers, as root")
        return
    folder = arguments.target.resolve() / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder)
    if why := trouble(engine, folder):
        print(f"NO IMAGE WAS BUILT: this machine lets Podman run nothing ({why}). Its file was linted only")
        return
    programs, clip = arguments.programs.resolve(), arguments.clip.resolve()
    build(engine, folder, programs)
    look_inside(engine, NODE, "kerbside", {"gstreamer1.0-libav", "libopencv-core406", "glib-networking"})
    look_inside(engine, GATEWAY, "kerbside-gateway", {"ca-certificates", "libgcc-s1"})
    confined(engine)
    replay(engine, programs, clip)
    live(engine, programs, clip)
    desk(engine, programs)


def trouble(engine: Engine, folder: Path) -> str:
    """Why no image can be built or no container be run here, whatever is in it: some sandboxes allow neither."""
    context = folder / "trial"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    shutil.copy2(shutil.which("busybox", path="/usr/bin:/bin") or "/bin/busybox", context / "busybox")
    (context / "Containerfile").write_text("FROM scratch\nCOPY busybox /busybox\n")
    image = "localhost/kerbside-trial:test"
    commands = (
        ("build", "--isolation", "chroot", "--tag", image, context),
        ("run", "--rm", *flags(), image, "/busybox", "true"),
    )
    for command in commands:
        done = run(*engine.words, *command)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no word"])[-1]
    return ""


def build(engine: Engine, folder: Path, programs: Path) -> None:
    """The images, from programs that were compiled already."""
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
    for target, name in (("node-packages", PACKAGES), ("node", NODE), ("gateway", GATEWAY)):
        # Docker's format: the other one has no health checks. chroot: a sandbox in a sandbox is often not to be had.
        engine(
            *("build", "--format", "docker", "--isolation", "chroot", "--network", "host", "--layers"),
            *("--target", target, "--file", file, "--ignorefile", f"{file}.dockerignore", "--tag", name),
            *("--build-context", f"binaries={binaries}", "--build-arg", f"BASE={base}", TREE),
        )
    # What was between the steps goes; what takes long, the packages, has a name and stays.
    engine("image", "prune", "--force")
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


if __name__ == "__main__":
    main()
