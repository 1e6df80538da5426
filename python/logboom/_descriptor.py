"""Standard error where no native log can be opened on it: a socket of the service manager, a terminal of another user.

Each record is one `write(2)`. There is no queue, no recorder and no table of requests; whoever closes the descriptor
loses what comes next, and nothing raises.
"""

from __future__ import annotations

import os
from typing import Any


class Descriptor:
    """Stands in for `_native.Log` on an open descriptor, which stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    def publish(self, line: str, levelno: int | None) -> int:
        """Write the line. 2: it could not be written."""
        data = line.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return 2
        return 0

    # There is no recorder to switch on.
    recording = False

    def publish_record(
        self, line: str, levelno: int | None, component: str, request_id: str, kept: bool, json: str | None = None
    ) -> int:
        return self.publish(line, levelno) if kept else 0

    def flush(self, wait_ms: int) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """The descriptor stays open: it belongs to the process."""

    def begin_request(self, id: str, method: str, path: str, client: str) -> int:
        return -1

    def end_request(self, token: int) -> None:
        """There is no table."""

    def requests(self) -> list[dict[str, Any]]:
        return []

    def capture_output(self, fds: Any, bytes_max: int = 0) -> None:
        raise OSError("there is no shared state that could keep the output")

    def dying(self, cause: str) -> None:
        """There is no black box."""

    def harvest(self, process: int, status: int | None = None, cause: str = "") -> list[dict[str, Any]]:
        return []

    def harvest_dead(self) -> list[dict[str, Any]]:
        return []
