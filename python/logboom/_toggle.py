"""Debug by a signal, where that is asked for: one signal to any process switches it on for all, the next one off.

The native side notes who sent the signal and when it came (`_native.note_signal`), in front of the handler that Python
has. A server that passes its signal on to its workers makes one toggle all the same: what comes from the server's own
process (`forwarder`) was passed on, and toggles within a second, counted from when the signals came, are one.

Under Gunicorn the signal that reopens files (USR1) comes here from `reopen_files`, since its handler is Gunicorn's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from typing import Any

from ._native import note_signal, signal_arrival

# Whose handlers come here by themselves, with `reopen_files`, or are an event loop's.
_SERVERS = ("gunicorn", "uvicorn", "uvicorn_worker", "asyncio", "uvloop")

# By the numbers of signals that are ours: what was there before.
_before: dict[int, Any] = {}
# The configuration of the present installation, and the handler that says what happened.
_app: dict[str, Any] = {}
_handler: Any = None
# The process of the server that passes its signals on to this one; 0: there is none.
forwarder = 0


def configure(app: dict[str, Any], handler: Any) -> None:
    """`app` is the table of the configuration; the signal is taken with `install`."""
    global _app, _handler
    _app, _handler = app, handler


def number() -> int:
    """The signal that toggles, 0 for none."""
    name = _app.get("debug_signal", "off")
    if name == "off":
        return 0
    base, _, more = name.partition("+")
    return int(getattr(signal, base)) + int(more or 0)


def install() -> None:
    """Take the signal in this process, if it is asked for and this is the main thread. What was there goes on; a
    server's own handler stays the only one. To be called again when somebody may have set another handler."""
    wanted = number()
    for taken in [taken for taken in _before if taken != wanted]:
        _give_back(taken)
    if wanted:
        # Not the main thread, or a signal that cannot be taken: another process of the group can be signalled.
        with contextlib.suppress(ValueError, OSError):
            there = signal.getsignal(wanted)
            if there is not _on_signal and not _is_servers(there):
                _before[wanted] = signal.signal(wanted, _on_signal)
            note_signal(wanted)


def remove() -> None:
    """Give the signal back."""
    for taken in list(_before):
        _give_back(taken)


def _is_servers(handler: Any) -> bool:
    module = getattr(handler, "__module__", None)
    return callable(handler) and isinstance(module, str) and module.partition(".")[0] in _SERVERS


def _give_back(taken: int) -> None:
    before = _before.pop(taken)
    with contextlib.suppress(ValueError, OSError, TypeError):
        if signal.getsignal(taken) is _on_signal:
            signal.signal(taken, before)


def _on_signal(signum: int, frame: Any) -> None:
    toggle()
    before = _before.get(signum)
    if callable(before):
        before(signum, frame)


def toggle() -> None:
    """Switch debug on for the whole group, or off, and say so; not for a signal that was passed on. Never raises."""
    try:
        if _handler is None or not number():
            return
        asked = signal_arrival(number())
        if asked is not None and forwarder and asked[0] == forwarder:
            return
        components, for_s = _app["debug_components"] or [""], _app["debug_for"]
        by = f"signal from pid {asked[0]}" if asked is not None and asked[0] else f"signal to pid {os.getpid()}"
        state = _handler.routes.log.toggle(components, for_s=for_s, made_by=by, asked=asked)
        if state is not None:
            _say(state, components, for_s, by)
    except Exception:
        # A log that was just closed; the signal must not end what it interrupted.
        return


def _say(state: str, components: list[str], for_s: float, by: str) -> None:
    names = ", ".join(f"{component}.*" if component else "everything" for component in components)
    until = time.strftime("%H:%M", time.localtime(time.time() + for_s))
    text = {
        "on": f"debug on for {names} until {until}, by {by}",
        "off": f"debug off for {names}, by {by}",
        "full": f"debug stays off for {names}: the table of rules is full, `logboom level --reset` ends them ({by})",
    }[state]
    record = logging.LogRecord("logboom", logging.WARNING, "", 0, text, None, None)
    _handler.handle(record)
