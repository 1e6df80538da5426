"""`sys.stdout` and `sys.stderr` of a worker: what is printed becomes records, line by line.

What always holds: no call raises into the program that prints, waits for a reader or loses a line. A line is published
when its newline has come; what has none yet is kept per thread, up to a bound, until `drain` at the end of the process.
A line that cannot be published (the log is closed, or the print comes from within the publishing itself) goes to the
real descriptor, which the native side captures.

A `logging.StreamHandler` of the application that writes here has a whole record in its hands, and that is what is
published: with its own name, level and fields, and once, however many handlers it passes through.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

# Longest line in characters: what is longer is published in pieces, so that no record has to be cut.
LINE_CHARS_MAX = 16_384
# Most threads whose unfinished lines are kept; beyond that the oldest is published as it is.
UNFINISHED_MAX = 1_000
# How many frames lie between a write here and the handler whose record it is: Gunicorn's and Flask's proxies for
# `wsgi.errors` are in between.
_HANDLER_FRAMES = 4

_EMIT = logging.StreamHandler.emit.__code__

Publish = Callable[[logging.LogRecord], object]

# Threads that are publishing a printed line just now.
_inside: set[int] = set()
os.register_at_fork(after_in_child=_inside.clear)


class Printed(io.TextIOBase):
    """A text stream whose lines become records of the component `name`, at `levelno`.

    `descriptor` is what it stands for: `fileno()` gives it, so that programs it is handed to can write there.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = True
    mode = "w"

    def __init__(self, name: str, descriptor: int, levelno: int, publish: Publish) -> None:
        super().__init__()
        self.name = f"<{name}>"
        self.buffer = _Bytes(self)
        self._component = name
        self._descriptor = descriptor
        self._levelno = levelno
        self._publish = publish
        self._unfinished: dict[int, str] = {}

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        record = _record_of(sys._getframe(1))
        if record is not None:
            self._hand_over(record, text)
            return len(text)
        thread = threading.get_ident()
        if "\n" not in text:
            self._keep(thread, text)
            return len(text)
        *lines, rest = (self._unfinished.pop(thread, "") + text).split("\n")
        self._lines(lines)
        if rest:
            self._keep(thread, rest)
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing to do: whole lines are published, and an unfinished one waits for its end."""

    def drain(self) -> None:
        """Publish the lines that have no end yet. Called when the process ends."""
        while self._unfinished:
            try:
                _, text = self._unfinished.popitem()
            except KeyError:
                return
            self._lines([text])

    def close(self) -> None:
        """Publish what is left. The stream stays usable, as long as somebody prints."""
        self.drain()

    def detach(self) -> Any:
        raise io.UnsupportedOperation("this stream has nothing below it that could be detached")

    def reconfigure(self, **_: object) -> None:
        """Accepted for programs that set encoding or buffering; both stay as they are."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<logboom {self._component}: lines become records>"

    def _keep(self, thread: int, text: str) -> None:
        kept = self._unfinished.pop(thread, "") + text
        if len(kept) >= LINE_CHARS_MAX:
            self._lines([kept])
            return
        if len(self._unfinished) >= UNFINISHED_MAX:
            self._lines([self._unfinished.pop(next(iter(self._unfinished)), "")])
        self._unfinished[thread] = kept

    def _lines(self, lines: list[str]) -> None:
        for line in lines:
            line = line.removesuffix("\r")
            for start in range(0, len(line), LINE_CHARS_MAX):
                piece = line[start : start + LINE_CHARS_MAX]
                record = logging.LogRecord(self._component, self._levelno, "", 0, piece, None, None)
                self._hand_over(record, piece)

    def _hand_over(self, record: logging.LogRecord, text: str) -> None:
        """Publish `record`; where that is not possible, `text` goes to the descriptor."""
        thread = threading.get_ident()
        if thread in _inside:
            self._write_raw(text)
            return
        _inside.add(thread)
        try:
            self._publish(record)
        except Exception:
            self._write_raw(text)
        finally:
            _inside.discard(thread)

    def _write_raw(self, text: str) -> None:
        data = (text if text.endswith("\n") else text + "\n").encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            # Nowhere to write to: the descriptor was closed by the application.
            return


class _Bytes(io.RawIOBase):
    """`buffer` of a `Printed` stream: bytes are taken as UTF-8, what is not is shown as `\\xNN`."""

    def __init__(self, text: Printed) -> None:
        super().__init__()
        self._text = text

    def write(self, data: Any, /) -> int:
        view = memoryview(data).tobytes()
        if view:
            self._text.write(view.decode("utf-8", "backslashreplace"))
        return len(view)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def close(self) -> None:
        """Stays open as the text stream does."""


def install(publish: Publish, stdout: bool, stderr: bool) -> list[Printed]:
    """Replace `sys.stdout` and `sys.stderr` of this process, those that are wanted; gives the new streams."""
    streams: list[Printed] = []
    if stdout:
        sys.stdout = _instead_of(sys.stdout, "stdout", 1, logging.INFO, publish, streams)
    if stderr:
        sys.stderr = _instead_of(sys.stderr, "stderr", 2, logging.WARNING, publish, streams)
    for stream in streams:
        atexit.register(stream.drain)
    return streams


def _take_over(old: Any, new: Printed) -> None:
    """Handlers that the application made before the fork hold the stream from then; their records would come twice."""
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in list(getattr(logger, "handlers", ())):
            if isinstance(handler, logging.StreamHandler) and getattr(handler, "stream", None) is old:
                handler.setStream(new)


def flush() -> None:
    """Empty the buffers of `sys.stdout` and `sys.stderr`: a fork would copy what is in them, to be written twice."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # There is no such stream, or it is closed or broken: then there is nothing to copy.
            continue


def _instead_of(old: Any, name: str, descriptor: int, levelno: int, publish: Publish, streams: list[Printed]) -> Any:
    if isinstance(old, Printed):
        # A worker that was forked from one: the same stream, with this process's way out.
        old._publish = publish
        return old
    new = Printed(name, descriptor, levelno, publish)
    streams.append(new)
    if old is not None:
        _take_over(old, new)
    return new


def _record_of(frame: FrameType | None) -> logging.LogRecord | None:
    """The record that a `StreamHandler` in one of the nearest frames is writing."""
    for _ in range(_HANDLER_FRAMES):
        if frame is None:
            return None
        if frame.f_code is _EMIT:
            record = frame.f_locals.get("record")
            return record if isinstance(record, logging.LogRecord) else None
        frame = frame.f_back
    return None
