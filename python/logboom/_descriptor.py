"""Standard error where no native log can be opened on it: a socket of the service manager, a terminal of another user.

Each record is one `write(2)`. There is no queue, no recorder, no rule and no table of requests; whoever closes the
descriptor loses what comes next, and no record raises.
"""

from __future__ import annotations

import os
from typing import Any

_NO_STATE = "the log is a plain descriptor, since no shared state could be made: see `logboom doctor`"


class Descriptor:
    """Stands in for `_native.Log` on an open descriptor, which stays the caller's. What needs shared state is missing;
    who asks for it is told so."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    def publish(self, line: str, levelno: int | None, over: int | None = None) -> int:
        """Write the line. 2: it could not be written."""
        data = line.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return 2
        return 0

    def flush(self, wait_ms: int) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """The descriptor stays open: it belongs to the process."""

    # There is no recorder to switch on, and nothing in it.
    recording = False

    def publish_record(
        self,
        line: str,
        levelno: int | None,
        component: str,
        request_id: str,
        kept: bool,
        json: str | None = None,
        rules: int | None = None,
        over: int | None = None,
    ) -> int:
        return self.publish(line, levelno) if kept else 0

    def recorded(self) -> int:
        return 0

    def unkept(self, request_id: str, after: int) -> tuple[list[tuple[int, str, str, str]], int]:
        return [], 0

    # There is no table of requests, no black box, and no file to lead what is printed into.

    def begin_request(self, id: str, method: str, path: str, client: str) -> int:
        return -1

    def end_request(self, token: int) -> None:
        return

    def requests(self) -> list[dict[str, Any]]:
        return []

    def capture_output(self, fds: list[int], bytes_max: int) -> None:
        raise OSError(_NO_STATE)

    def dying(self, cause: str) -> None:
        return

    def harvest(self, process: int, status: int | None = None, cause: str = "") -> list[dict[str, Any]]:
        return []

    def harvest_dead(self) -> list[dict[str, Any]]:
        return []

    # There is no table of rules.

    @property
    def rules_generation(self) -> int:
        raise OSError(_NO_STATE)

    def rules(self) -> list[dict[str, Any]]:
        return []

    def add_rule(
        self,
        component: str,
        *,
        condition: str = "",
        severity: int = 5,
        kept: bool = False,
        for_s: float = 600.0,
        made_by: str = "",
        worker: int = 0,
        held: bool = False,
    ) -> int:
        raise OSError(_NO_STATE)

    def remove_rule(self, number: int) -> bool:
        return False

    def forget_ended_rules(self) -> bool:
        return False

    def tell_levels(self, levels: list[tuple[str, int]]) -> None:
        return

    def toggle(
        self,
        components: list[str],
        *,
        severity: int = 5,
        for_s: float = 600.0,
        made_by: str = "",
        asked: tuple[int, int] | None = None,
    ) -> str | None:
        return None
