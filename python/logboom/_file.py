"""`FileHandler`: the standard library's class, with the file in the hands of the native log.

What always holds: a record whose `emit` has returned is in the file or in shared memory that outlives this process;
nothing raises into the application (`handleError` gets it, as in the standard library); and everything that can be seen
from outside (attributes, `stream`, hooks) behaves as the standard library documents it.

There are three ways for a record. A plain one takes the shortest, a single native call from `handle` on, if the
standard library's own code is all that would see it: no filter, no method replaced, a `logging.Formatter`
(`_native.handle_method` says exactly when). The short way through `emit` is a single native call for the finished line,
taken when nothing that is set asks for more. Everything else (the first record, an encoding other than UTF-8,
overridden methods, a `stream` of the user's own) takes `_emit_carefully`. Setting an attribute that matters leads back
there, once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from io import text_encoding  # type: ignore[attr-defined]
from logging import FileHandler as _StdFileHandler
from logging import Handler as _StdHandler
from logging import LogRecord
from logging import StreamHandler as _StdStreamHandler
from typing import TYPE_CHECKING, Any

from . import _exit, _hooks, _logger
from ._codec import Codec
from ._logger import is_standard
from ._native import Log, escape, handle_method
from ._options import OptionArgs, Options
from ._stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Methods that the shortest way takes the place of.
_BYPASSED = ("emit", "format", "filter", "acquire", "release")
# Attributes that change how the next record is written.
_LIVE = frozenset(
    [
        *_BYPASSED,
        *("stream", "logboom_options", "maxBytes", "backupCount", "when", "interval", "utc", "atTime"),
        *("suffix", "extMatch", "namer", "rotator", "rolloverAt"),
        *_hooks.NAMING,
        *_hooks.ASKED,
    ]
)


class FileHandler(_StdFileHandler):
    """`logging.FileHandler`, safe for any number of processes that log to the same file.

    Beyond the standard library's arguments it takes logboom's options as keywords (docs/handlers.md); they can be read
    and replaced as `logboom_options`.
    """

    # In the instance once the short way is open: the native log's `publish`.
    _publish: Callable[[str, int], int] | None = None
    # The same for the shortest way: the native log itself.
    _quick: Log | None = None
    _log: Log | None = None
    _log_path: str | None = None
    _native_options: dict[str, Any] | None = None
    # What `_settle` found out; `__setattr__` makes it ask again.
    _settled: bool = False
    _asks: bool = False
    _flushes: bool = False
    _in_rotation: bool = False
    # What `emit` does with a RecursionError: logging.FileHandler lets it pass, the rotating handlers do not.
    _handles_recursion: bool = False
    _newline: str | None = None

    logboom_options: Options
    stream: Any
    _closed: bool

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "a",
        encoding: str | None = None,
        delay: bool = False,
        errors: str | None = None,
        **options: Unpack[OptionArgs],
    ) -> None:
        if "b" not in mode:
            encoding = text_encoding(encoding)
        self._take(options)
        _StdFileHandler.__init__(self, filename, mode=mode, encoding=encoding, delay=True, errors=errors)
        self._start(delay)

    if TYPE_CHECKING:

        def handle(self, record: LogRecord) -> Any: ...

    def emit(self, record: LogRecord) -> None:
        """Publish one record.

        `handle` calls this with the handler's lock held, as in the standard library. The native call may wait (for
        space in a full queue at most `on_full_wait` once per stall, as next holder of the lease for one batch), and it
        waits without the interpreter lock: other threads run, also those that fork or log elsewhere. Threads that log
        to this handler queue behind its lock meanwhile. They would wait for the same full queue, and they keep their
        order. No native code ever asks for a Python lock, so the two cannot wait for each other; in a forked child the
        module `logging` makes the lock new, and the native side notices the new process by itself.
        """
        publish = self._publish
        try:
            if publish is None:
                self._emit_carefully(record)
            elif publish(self.format(record) + self.terminator, record.levelno) == 1:
                self._rotation_due()
        except RecursionError:
            if not self._handles_recursion:
                raise
            self.handleError(record)
        except UnicodeEncodeError:
            self._emit_encoded(record)
        except Exception:
            if publish is not None and publish.__self__ is not self._log:  # type: ignore[attr-defined]
                self._emit_again(record)
            else:
                self.handleError(record)

    def close(self) -> None:
        """Publish what is left, leave the log and close the stream. A later record opens it again, as always."""
        self.acquire()
        try:
            try:
                _StdFileHandler.close(self)
            finally:
                log, self._log = self._log, None
                if log is not None:
                    log.close()
        finally:
            self.release()

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in _LIVE:
            object.__setattr__(self, "_publish", None)
            object.__setattr__(self, "_quick", None)
            object.__setattr__(self, "_settled", False)

    def _take(self, options: OptionArgs) -> None:
        """Store the options; the first call counts (the standard library's constructors may come back here)."""
        if "logboom_options" not in vars(self):
            self.logboom_options = Options.of(self, options)

    def _start(self, delay: bool) -> None:
        """Last step of each constructor: all attributes are there, so the log may be opened."""
        self.delay = delay
        if not delay:
            self.stream = self._open()

    def _open(self) -> Any:
        """Open the log and return a stream on it; a mode that the native side has no part in is the standard's."""
        kind = self.mode.translate(str.maketrans("", "", "bt+"))
        if kind not in ("a", "w", "x"):
            return _StdFileHandler._open(self)
        codec = Codec(self.encoding, self.errors, self.mode, self._newline)
        if self._log is not None and self._log_path != self.baseFilename:
            self._log.close()
            self._log = None
        if self._log is None:
            if kind == "x":
                os.close(os.open(self.baseFilename, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            options = self._options_for_native()
            opening = {"mode": "w" if kind == "w" else "a", "preamble": codec.preamble}
            self._log = Log(self.baseFilename, options | opening)
            self._log_path, self._native_options = self.baseFilename, options
        stream = Stream(self._log, self.baseFilename, self.mode, codec)
        stream.held = self._in_rotation
        return stream

    def _options_for_native(self) -> dict[str, Any]:
        """The native options that the attributes ask for now."""
        return self.logboom_options.native()

    def _settle(self, stream: Stream) -> None:
        """Carry changed attributes to the native side, and open the short way through `emit` if nothing forbids it."""
        if self._settled:
            return
        self._asks = any(_hooks.is_own(self, name) for name in _hooks.ASKED)
        self._flushes = _hooks.is_own(self, "flush")
        options = self._options_for_native()
        log = self._log
        assert log is not None
        if options != self._native_options:
            log.reconfigure(options)
            self._native_options = options
        codec = stream.codec
        in_use = stream is self.stream and not stream.closed
        if in_use and codec.direct and not self._asks and not self.logboom_options.escape:
            self._publish = log.publish
            if self._is_plain():
                self._quick = log
                _logger.use("handlers")
        self._settled = True

    def _is_plain(self) -> bool:
        """Whether the methods that the shortest way takes the place of are the standard library's, as far as that can
        be known beforehand. Those that are replaced in a class later are noticed natively, but for the lock's."""
        if not _STANDARD or any(name in vars(self) for name in _BYPASSED):
            return False
        after_ours = super().handle
        kind = type(self)
        return (
            getattr(after_ours, "__func__", None) is _StdHandler.handle
            and kind.acquire is _StdHandler.acquire
            and kind.release is _StdHandler.release
        )

    def _emit_carefully(self, record: LogRecord) -> None:
        stream = self._current_stream()
        if isinstance(stream, Stream):
            self._settle(stream)
            if self._asks:
                self._ask(record)
            line = self._line(record)
            # The user's code that just ran may have closed the stream or opened another.
            stream = self._current_stream()
        if stream is None:
            return
        if not isinstance(stream, Stream):
            self._emit_elsewhere(record)
            return
        self._settle(stream)
        if self._write(stream, line, record.levelno) == 1:
            self._rotation_due()
        if self._flushes:
            self.flush()

    def _current_stream(self) -> Any:
        """The stream, opened if it is not; None if it was closed and opening it would begin the file anew."""
        if self.stream is None and (self.mode != "w" or not self._closed):
            self.stream = self._open()
        return self.stream

    def _emit_again(self, record: LogRecord) -> None:
        """The log was closed or opened anew after `emit` had begun: by a signal handler, as Gunicorn's for USR1."""
        try:
            self._emit_carefully(record)
        except Exception:
            self.handleError(record)

    def _write(self, stream: Stream, line: str, levelno: int) -> int:
        stream.check_open()
        log = self._log
        assert log is not None
        if stream.codec.direct:
            try:
                return log.publish(line, levelno)
            except UnicodeEncodeError:
                if not stream.codec.lossy:
                    raise
        return log.publish_bytes(stream.codec.encode(line), levelno)

    def _emit_encoded(self, record: LogRecord) -> None:
        """Second attempt for text that is not UTF-8 (a lone surrogate), if `errors` says what to do with it."""
        stream = self.stream
        if not isinstance(stream, Stream) or not stream.codec.lossy:
            self.handleError(record)
            return
        try:
            if self._write(stream, self._line(record), record.levelno) == 1:
                self._rotation_due()
        except Exception:
            self.handleError(record)

    def _emit_elsewhere(self, record: LogRecord) -> None:
        """The stream is not ours (`setStream`, an overridden `_open`): the standard library's way."""
        _StdStreamHandler.emit(self, record)

    def _line(self, record: LogRecord) -> str:
        text = self.format(record)
        if self.logboom_options.escape:
            text = _escaped(text, record)
        return text + self.terminator

    def _ask(self, record: LogRecord) -> None:
        """Called before a record when a method that decides about files is overridden."""
        if _hooks.is_own(self, "reopenIfNeeded"):
            self.reopenIfNeeded()  # type: ignore[attr-defined]

    def _rotation_due(self) -> None:
        """The native side asks for the hooks of this handler; a plain file has none."""

    def _rotate_after(self, record: LogRecord) -> None:
        """`_rotation_due` after a record that took the shortest way."""
        try:
            self._rotation_due()
        except RecursionError:
            if not self._handles_recursion:
                raise
            self.handleError(record)
        except Exception:
            self.handleError(record)


def _handle(handler: FileHandler, record: LogRecord) -> Any:
    """`handle` without the shortest way."""
    return super(FileHandler, handler).handle(record)


_Style: Any = logging.PercentStyle
# Whether all that the shortest way takes the place of is what it was written against.
_STANDARD = all(
    map(
        is_standard,
        (
            *(_StdHandler.handle, _StdHandler.format, _StdHandler.filter, _StdHandler.acquire, _StdHandler.release),
            *(logging.Formatter.format, logging.Formatter.usesTime, logging.Formatter.formatMessage),
            *(_Style.format, _Style._format, _Style.usesTime),
            logging.LogRecord.getMessage,
        ),
    )
)
FileHandler.handle = handle_method(FileHandler, _handle)  # type: ignore[method-assign]
_exit.remember(FileHandler, "handle", vars(FileHandler)["handle"], _handle)


def _escaped(text: str, record: LogRecord) -> str:
    """`text` with its control characters shown. A traceback keeps its lines, indented; no value begins a line."""
    trail = record.exc_text or record.stack_info
    at = text.rfind("\n" + trail) if trail else -1
    if at < 0:
        return escape(text, False)
    return escape(text[:at], False) + escape(text[at:], True)
