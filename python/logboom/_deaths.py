"""Requests that died with their worker: their access records, and looking for workers that nobody has told of.

The black boxes are written by the native side; it gives the requests, whose access records go where those of living
requests go.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from . import _access, context

# How often a process that serves requests looks for dead ones, in seconds.
LOOK_EVERY_S = 1.0


def write_unfinished(died: list[dict[str, Any]]) -> None:
    """Write the access record of each of these requests (of `_native.Log.harvest`)."""
    for each in died:
        request = context.Request(each["id"], each["method"], each["path"], each["client"])
        if _access.wanted(request.path, None, unfinished=True):
            lasted_s = max(0.0, time.time() - each["started"])
            record = _access.access_record(request, None, None, lasted_s, "", unfinished=True)
            record.levelno, record.levelname = logging.ERROR, "ERROR"
            _access.emit(record, request)


def look(log: Any) -> None:
    """Tell of workers that are dead for a while and have no parent who did. Never raises."""
    try:
        write_unfinished(log.harvest_dead())
    except Exception:
        # A log that was just closed: another process tells.
        return
