"""`Handler`: every record of the program, encoded once and published to the files that take it.

What always holds: nothing raises into the application (`handleError` gets it); a record that reaches this handler by
several loggers is written once; a record whose `emit` has returned is in its files or in shared memory that outlives
this process. There is no lock around a record: routes are replaced, not changed, and the native side orders records.

The short way is `emit`. What it cannot do (a formatter of the user's own, a log that was closed, text that is no text)
takes the functions below it.
"""

from __future__ import annotations

import logging
import os
from logging import LogRecord
from typing import Any

from . import _logger, _requests, _rewind, context
from ._configuration import load
from ._file import _escaped
from ._native import publish_brief, stream_handler
from ._routes import Routes
from ._stdio import Printed
from ._stream import FLUSH_WAIT_MS

_current = context.current
_bound = context.bound
_plain = logging.Formatter()


class Handler(logging.Handler):
    """A `logging.Handler` for all files of one configuration.

    It keeps the level 0: which records are made at all is decided by the loggers' levels. A formatter of the user's own
    (`setFormatter`) makes the text instead of the configured format; it is redacted and, in text, escaped. `stream` is
    for code that expects a file: lines that are written there become records of the component `stderr`.
    """

    stream: Any

    def __init__(self, routes: Routes) -> None:
        super().__init__()
        self.routes = routes
        # In each record that was here. Other programs' records are told apart by it, copies of a record are not.
        self.mark = f"{os.getpid()}.{id(self)}"
        # Whether `close` leaves the logs; not while an installation holds them.
        self.held = False
        self._twins: list[Handler] = []
        self._complained = False
        self.stream = self._open()

    def handle(self, record: LogRecord) -> Any:
        """Filter and publish. In contrast to the standard library's, no lock is held meanwhile."""
        if self.filters:
            passed: Any = self.filter(record)
            if not passed:
                return passed
            if isinstance(passed, LogRecord):
                record = passed
        self.emit(record)
        return True

    def emit(self, record: LogRecord) -> None:
        """Publish one record."""
        values = record.__dict__
        if values.get("_logboom") == self.mark:
            return
        values["_logboom"] = self.mark
        if self.formatter is not None:
            self._emit_carefully(record, True)
            return
        try:
            name, levelno = record.name, record.levelno
            routes = self.routes
            try:
                encode, main, others, kept, _ = routes.found[name][levelno]
            except KeyError:
                encode, main, others, kept, _ = routes.decide(name, levelno)
            try:
                message = record.getMessage()
            except Exception:
                message = _marked(record)
            trace = record.exc_text
            if trace is None and record.exc_info:
                trace = _traceback(record)
            request = _current()
            if routes.rewinds is not None and request is not None and _rewind.asks(values, levelno):
                overwritten = _rewind.rewind(routes, request, routes.rewinds, levelno)
                if overwritten:
                    values[_rewind.OVERWRITTEN] = overwritten
            fields = _bound() or None
            line = encode(values, message, request, fields, trace) + "\n"
            over = _over(record, request)
            if main is not None:
                json = routes.json
                as_json = None if json is None else json(values, message, request, fields, trace)
                rules = None if routes.judge is None else routes.judge(name, levelno, request)
                id = "" if request is None else request.id
                main(line, levelno, name, id, kept, as_json, rules, *(over if kept else ()))
        except Exception:
            self._emit_carefully(record, True)
            return
        if others:
            self._publish_more(record, others, encode, line, message, trace, () if kept else over)

    def publish_brief(self, name: str, levelno: int, message: str, fields: dict[str, Any], request: Any) -> bool:
        """What `handle` would do with such a record of the current request, without one. False: nothing is done, since
        somebody wants to see a record, or because more than one file takes it."""
        if (
            type(self) is not Handler
            or self.filters
            or self.formatter is not None
            or self.level > levelno
            or not (logging.logThreads and logging.logProcesses and logging.logMultiprocessing)
        ):
            return False
        routes = self.routes
        try:
            way = routes.found[name][levelno][-1]
        except KeyError:
            way = routes.decide(name, levelno)[-1]
        if way is None or routes.json is not None or routes.judge is not None:
            return False
        if routes.rewinds is not None and _rewind.asks(fields, levelno):
            return False
        about = (name, levelno, logging.getLevelName(levelno))
        # The request is over in the moment in which its access record counts; one cut short may be its worker's last.
        over = None if request.token < 0 or "unfinished" in fields else request.token
        try:
            publish_brief(way, about, message, fields, _bound(), request, over)
        except Exception:
            # The way with a record says what is wrong, or mends it: a closed log is opened again.
            return False
        return True

    def keep(self, record: LogRecord) -> None:
        """A record below the level: for the recorder alone."""
        self.reveal(record, False)

    def reveal(self, record: LogRecord, kept: bool, rules: int | None = None) -> None:
        """A record that exists because of level rules (a bit for each): for viewers, and for the files where it is to
        be `kept`."""
        if self.filters and not self.filter(record):
            return
        values = record.__dict__
        if values.get("_logboom") != self.mark:
            values["_logboom"] = self.mark
            self._emit_carefully(record, kept, rules)

    def format(self, record: LogRecord) -> str:
        """The record as it is written to `main`, without its line end."""
        return self._line(record, self.routes.main.encode, self.routes)

    def flush(self) -> None:
        """Wait, within a bound, until the records of this process are in their files. Not needed for safety."""
        try:
            self.routes.flush(FLUSH_WAIT_MS)
        except ValueError:
            # Closed: nothing is on its way.
            return

    def close(self) -> None:
        """Publish what is begun. The logs are left unless an installation holds them; a later record opens them."""
        self.stream.drain()
        if not self.held:
            self.routes.close()
        super().close()

    def reopen(self) -> None:
        """For USR1 and its like. The native side follows a file that was moved away by itself: the next record makes it
        anew, a tenth of a second later at most. What was published before is in its file when this returns."""
        self.flush()

    def with_formatter(self, formatter: logging.Formatter | None) -> Handler:
        """Another handler on the same files, whose text `formatter` makes."""
        twin = type(self).__new__(type(self))
        Handler.__init__(twin, self.routes)
        twin.mark, twin.held = self.mark, True
        twin.setFormatter(formatter)
        self._twins.append(twin)
        return twin

    def replace_routes(self, routes: Routes) -> None:
        """From now on records go there. Those that are under way still use the old ones, or come back here."""
        self.routes = routes
        for twin in self._twins:
            twin.routes = routes
        if self.held:
            _requests.log = routes.log

    def _open(self) -> Any:
        """A new `stream`; the logs stay as they are."""
        return _Lines(self)

    def _emit_carefully(self, record: LogRecord, kept: bool, rules: int | None = None) -> None:
        """Publish a record for which the short way is not enough, or has failed."""
        try:
            try:
                self._publish(record, kept, rules)
            except ValueError:
                # The logs were closed: at the end of the process, or by a new configuration.
                self._revive()
                self._publish(record, kept, rules)
        except RecursionError:
            # Whatever is called here would fail in the same way; the application is about to find out by itself.
            return
        except Exception:
            self.handleError(record)

    def _publish(self, record: LogRecord, kept: bool, rules: int | None) -> None:
        routes = self.routes
        request = _current()
        if rules is None and routes.judge is not None:
            # What is only recorded is no rule's.
            rules = routes.judge(str(record.name), record.levelno, request) if kept else 0
        if not kept:
            line = self._line(record, routes.main.encode, routes)
            name, json = str(record.name), self._json(record, routes)
            routes.log.publish_record(_valid(line) + "\n", record.levelno, name, _id(request), False, json, rules)
            return
        encode, main, others, to_main, _ = routes.decide(record.name, record.levelno)
        line = _valid(self._line(record, encode, routes)) + "\n"
        over = _over(record, request)
        if main is not None:
            name, json = str(record.name), self._json(record, routes)
            ending = over if to_main else ()
            main(line, record.levelno, name, _id(request), to_main, json, rules, *ending)
        for index, (other, publish) in enumerate(others):
            text = line if other is encode else _valid(self._line(record, other, routes)) + "\n"
            publish(text, record.levelno, *(() if to_main or index else over))

    def _publish_more(
        self, record: LogRecord, others: Any, encode: Any, line: str, message: Any, trace: Any, over: tuple[int, ...]
    ) -> None:
        """The files beside `main`; one that fails does not keep the record from the others. `over`: see `_over`, of the
        first of them."""
        for index, (other, publish) in enumerate(others):
            try:
                if other is not encode:
                    line = other(record.__dict__, message, _current(), _bound() or None, trace) + "\n"
                    encode = other
                try:
                    publish(line, record.levelno, *(() if index else over))
                except ValueError:
                    self._revive()
                    self.routes.decide(record.name, record.levelno)[2][index][1](line, record.levelno)
            except Exception:
                self.handleError(record)

    def _line(self, record: LogRecord, encode: Any, routes: Routes) -> str:
        if self.formatter is not None:
            try:
                text: str = encode.__self__.redact(self.formatter.format(record))
                return _escaped(text, record) if routes.is_text(encode) else text
            except Exception:
                # The record is written as configured instead. One word about the formatter is enough.
                if not self._complained:
                    self._complained = True
                    self.handleError(record)
        return self._encoded(record, encode)

    def _json(self, record: LogRecord, routes: Routes) -> str | None:
        """The record as a JSON object for the recorder, where the line is none."""
        if routes.json is None:
            return None
        return self._encoded(record, routes.json)

    def _encoded(self, record: LogRecord, encode: Any) -> str:
        try:
            message = record.getMessage()
        except Exception:
            message = _marked(record)
        trace = record.exc_text or (_traceback(record) if record.exc_info else None)
        line: str = encode(record.__dict__, message, _current(), _bound() or None, trace)
        return line

    def _revive(self) -> None:
        """Open closed logs again."""
        self.acquire()
        try:
            routes = self.routes
            try:
                routes.log.fileno()
            except ValueError:
                self.replace_routes(Routes(routes.values, routes.main_path))
        finally:
            self.release()


stream_handler(Handler, _current, _bound)


class Stream(Handler):
    """The same for a configuration of the standard library's: `"class": "logboom.handlers.Stream"`.

    `config` is the path of a `logboom.toml`, with the usual search without it; further keywords override it (nested, as
    in the file). Files, formats and redaction are as configured; which records are made is up to the loggers' levels.
    """

    def __init__(self, config: str | os.PathLike[str] | None = None, **overrides: Any) -> None:
        super().__init__(Routes(load(config, overrides).values))
        _logger.use("handlers")


class _Lines(Printed):
    """The `stream` of a handler."""

    def __init__(self, handler: Handler) -> None:
        super().__init__("stderr", 2, logging.WARNING, handler.handle)
        self._handler = handler

    def fileno(self) -> int:
        """The descriptor of the main log; it stays the log's."""
        descriptor: int = self._handler.routes.log.fileno()
        return descriptor


def _over(record: LogRecord, request: Any) -> tuple[int, ...]:
    """The token of the request that is over once `record` counts in its first file; nothing for none."""
    if request is None or request.last_record is not record or request.token < 0:
        return ()
    return (request.token,)


def _id(request: context.Request | None) -> str:
    return "" if request is None else request.id


def _valid(text: str) -> str:
    """Text without the lone surrogates that a user's formatter may have left in it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _marked(record: LogRecord) -> str:
    from .formats import safe_message

    return safe_message(record)


def _traceback(record: LogRecord) -> str:
    try:
        return _plain.formatException(record.exc_info)  # type: ignore[arg-type]
    except Exception as error:
        return f"<unprintable traceback: {type(error).__name__}>"
