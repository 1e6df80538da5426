"""The table of requests in flight: which request each worker is serving, for the black box of one that dies.

The table lies in shared memory and belongs to the native log of the stream (`log`, set when the stream is installed);
without a stream there is none. Neither call raises or waits.
"""

from __future__ import annotations

from typing import Any

from .context import Request

# The `_native.Log` of the stream.
log: Any = None
# When to look for dead workers again, as `time.monotonic` has it.
_look_at = 0.0


def begin(request: Request) -> None:
    """Enter `request` into the table. A full table is counted there, and the request gets no entry."""
    global _look_at
    table = log
    if table is not None:
        if request.started_monotonic >= _look_at:
            from . import _deaths

            _look_at = request.started_monotonic + _deaths.LOOK_EVERY_S
            _deaths.look(table)
        try:
            request.rewound = table.recorded()
            request.token = table.begin_request(request.id, request.method, request.path, request.client)
        except Exception:
            # A log that was just closed, or a path with a lone surrogate: the request goes on without an entry.
            request.token = -1


def end(request: Request) -> None:
    """Take `request` out of the table. May be called twice."""
    token = request.token
    if token >= 0:
        request.token = -1
        table = log
        if table is not None:
            try:
                table.end_request(token)
            except Exception:
                # The log was closed, and its table went with it.
                return
