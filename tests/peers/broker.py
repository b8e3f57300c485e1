"""A Mosquitto broker of our own: loopback, a free port, its own configuration and folder."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PATIENCE_SECS = 20.0


class Broker:
    """Starts, stops for a moment, kills and starts again. Everything it keeps lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = mosquitto()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        folder.mkdir(parents=True)
        self.config = folder / "mosquitto.conf"
        # Without a limit on what it queues for a subscriber that is away, and with sessions that outlive it:
        # what is lost below is not lost for want of a setting of the broker.
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\n"
            "allow_anonymous true\n"
            "persistence true\n"
            f"persistence_location {folder}/\n"
            "max_queued_messages 0\n"
            # As root it would become another user, who may not write here.
            f"user {getpass.getuser()}\n"
            f"log_dest file {folder}/mosquitto.log\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and returns when it listens."""
        self.process = subprocess.Popen([self.program, "-c", str(self.config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_SECS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"mosquitto did not start: see {self.folder}/mosquitto.log") from None
                time.sleep(0.02)

    def save(self) -> None:
        """Has it write its sessions to disk, and returns when they are there."""
        database = self.folder / "mosquitto.db"
        before = database.stat().st_mtime_ns if database.exists() else 0
        self._signal(signal.SIGUSR1)
        deadline = time.monotonic() + PATIENCE_SECS
        while not database.exists() or database.stat().st_mtime_ns == before:
            if time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not write {database}")
            time.sleep(0.02)

    def hang(self) -> None:
        """It keeps its connections and does nothing more."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL: it writes nothing and answers nothing any more."""
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def close(self) -> None:
        """Ends it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "it was started"
        os.kill(self.process.pid, number)


def mosquitto() -> str:
    """The broker's program. Debian puts it where only root looks."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SystemExit("mosquitto is missing: run sh deploy/setup/packages.sh peers")
    return found
