"""A real rsyslog for the tests, with a configuration that is given: started by its path, ended by its pid.

What always holds: it listens on loopback at ports that the kernel gave, keeps everything in one folder, and is gone
afterwards.
Where it is not installed, `why_not` says what to do about it, and the test is skipped with that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from accounts import wait_until

# Programs for the administrator are not on every user's path.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PLUGINS = {"imrelp": "rsyslog-relp", "lmnsd_gtls": "rsyslog-gnutls"}


def program() -> str | None:
    return shutil.which("rsyslogd", path=_PLACES)


def why_not(*plugins: str) -> str | None:
    """Why rsyslog with these plug-ins cannot run here; None: it can."""
    if program() is None:
        return "`rsyslogd` is not installed; install it: apt install rsyslog rsyslog-relp"
    for plugin in plugins:
        if not any(Path("/usr/lib").glob(f"*/rsyslog/{plugin}.so")):
            return f"rsyslog's `{plugin}` is not installed; install it: apt install {_PLUGINS[plugin]}"
    return None


class Rsyslog:
    """rsyslog in `folder`, with the file rsyslog.conf there. It is ready when all of `ports` listen."""

    def __init__(self, folder: Path, configuration: str, ports: list[int]) -> None:
        self.folder = folder
        self.ports = ports
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "rsyslog.conf").write_text(configuration)

    def start(self) -> None:
        (self.folder / "rsyslog.pid").unlink(missing_ok=True)
        with open(self.folder / "rsyslog.out", "ab") as out:
            command = [program() or "rsyslogd", "-n", "-C", "-f", "rsyslog.conf", "-i", "rsyslog.pid"]
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=out)
        process = self._process

        def listens() -> bool:
            assert process.poll() is None, f"rsyslog has ended:\n{self.said()}"
            return all(_listens(port) for port in self.ports)

        wait_until(listens, f"rsyslog listens:\n{self.said()}", 30)

    def said(self) -> str:
        """What it said of itself."""
        path = self.folder / "rsyslog.out"
        return path.read_text() if path.exists() else ""

    def kill(self) -> None:
        """SIGKILL: nothing is written any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Rsyslog:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end_daemon(pid_file: Path) -> None:
    """End one that put itself into the background."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if "rsyslogd" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
