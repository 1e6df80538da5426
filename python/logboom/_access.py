"""Access records: one for each request that was answered, with typed fields instead of a template.

What always holds: no value that a client sent can forge a field or a line, whatever formatter and handler the record
goes to; health probes leave no record while they succeed, and always one when they fail; nothing raises.

Method, path, client and ids are not repeated among the fields: the record belongs to its request, and is written while
that is the current one.
"""

from __future__ import annotations

import functools
import logging
import sys
import traceback
from collections.abc import Iterable
from typing import Any

from . import _requests, context
from .context import TEXT_CHARS_MAX, Request, cut

# The standard library's own, unless somebody was here before: what stands in their place later wants to see the record.
_make_record, _handle = logging.Logger.makeRecord, logging.Logger.handle
_call_handlers, _get_message = logging.Logger.callHandlers, logging.LogRecord.getMessage
_METHODS = ("makeRecord", "handle", "filter", "callHandlers")
_is_original = all(
    getattr(getattr(method, "__code__", None), "co_filename", None) == logging.Logger.info.__code__.co_filename
    for method in (_make_record, _handle, _call_handlers, _get_message)
)

# Under Gunicorn `use_logger` sets "gunicorn.access".
_name = "logboom.access"
# Made when it is first used: `dictConfig` disables loggers that are there before it, unless it is told not to.
_logger: logging.Logger | None = None
_enabled = True
_quiet_paths: frozenset[str] = frozenset()
_quiet_prefixes: tuple[str, ...] = ()
_complained = False

# What ends a worker: Gunicorn's abort at its timeout is a SystemExit.
DYING = (SystemExit, KeyboardInterrupt, GeneratorExit)

# Longest header texts and query in an access record, in characters.
HEADER_CHARS_MAX = 512
QUERY_CHARS_MAX = 2048


def configure(enabled: bool = True, quiet: Iterable[str] = ()) -> None:
    """`[access]` of the configuration. `quiet` are paths of health probes; one ending in `*` stands for all below."""
    global _enabled, _quiet_paths, _quiet_prefixes, _logger
    _logger = None
    paths = list(quiet)
    _enabled = enabled
    _quiet_paths = frozenset(path for path in paths if not path.endswith("*"))
    _quiet_prefixes = tuple(path[:-1] for path in paths if path.endswith("*"))


def use_logger(name: str) -> None:
    """From now on access records are made under this name."""
    global _name, _logger
    _name, _logger = name, None


def _access_logger() -> logging.Logger:
    global _logger
    if _logger is None:
        _logger = logging.getLogger(_name)
        _logger.disabled = False
    return _logger


def enabled() -> bool:
    """Whether access records are wanted at all."""
    return _enabled


def reaches_somebody() -> bool:
    """Whether an access record would be written by some handler."""
    logger = _access_logger()
    return logger.isEnabledFor(logging.INFO) and logger.hasHandlers()


def wanted(path: str, status: int | None, unfinished: bool = False) -> bool:
    """Whether such a request gets an access record: all but health probes that succeed."""
    if not _enabled:
        return False
    if unfinished or status is None or status >= 400:
        return True
    return not (path in _quiet_paths or (_quiet_prefixes and path.startswith(_quiet_prefixes)))


def access_record(
    request: Request,
    status: int | None,
    bytes_sent: int | None,
    duration_s: float,
    protocol: str,
    user_agent: str | None = None,
    referer: str | None = None,
    remote: str | None = None,
    unfinished: bool = False,
    query: str | None = None,
) -> logging.LogRecord:
    """The access record of `request`; names of fields are OpenTelemetry's where it has one (docs/context.md).

    `status` and `bytes_sent` are None where unknown, `protocol` is as in `HTTP/1.1`, `remote` is the request's client
    unless given. `unfinished`: the answer was cut short, or its worker died.
    """
    return record_of(
        *described(request, status, bytes_sent, duration_s, protocol, user_agent, referer, remote, unfinished, query)
    )


def record_of(message: str, fields: dict[str, Any]) -> logging.LogRecord:
    """The access record with this message and these fields."""
    record = _access_logger().makeRecord(_name, logging.INFO, "", 0, message, (), None)
    record.__dict__.update(fields)
    return record


def described(
    request: Request,
    status: int | None,
    bytes_sent: int | None,
    duration_s: float,
    protocol: str,
    user_agent: str | None = None,
    referer: str | None = None,
    remote: str | None = None,
    unfinished: bool = False,
    query: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """Message and fields of `access_record`."""
    path = request.path
    if query:
        query = cut(query, QUERY_CHARS_MAX)
        path = f"{path}?{query}"
    line = _shown(f"{request.method} {path} {protocol}".rstrip())
    remote = _shown(remote or request.client or "-").replace(" ", "_")
    message = (
        f'{remote} "{line}" {"-" if status is None else status} {"-" if bytes_sent is None else bytes_sent} '
        f"{duration_s * 1000:.1f}ms{' unfinished' if unfinished else ''}"
    )
    fields: dict[str, Any] = {}
    if status is not None:
        request.status = status
        fields["http.response.status_code"] = status
    if bytes_sent is not None:
        fields["http.response.body.size"] = bytes_sent
    fields["http.server.request.duration"] = round(duration_s, 6)
    fields.update(_protocol_fields(protocol))
    if query:
        fields["url.query"] = query
    if user_agent:
        fields["user_agent.original"] = cut(user_agent, HEADER_CHARS_MAX)
    if referer:
        fields["http.request.header.referer"] = cut(referer, HEADER_CHARS_MAX)
    if unfinished:
        fields["unfinished"] = True
    return message, fields


@functools.lru_cache(maxsize=16)
def _protocol_fields(protocol: str) -> dict[str, str]:
    name, _, version = protocol.partition("/")
    fields = {"network.protocol.name": name.lower(), "network.protocol.version": version}
    return {name: cut(value, TEXT_CHARS_MAX) for name, value in fields.items() if value}


def write(
    request: Request,
    status: int | None,
    bytes_sent: int | None,
    protocol: str,
    user_agent: str | None = None,
    referer: str | None = None,
    unfinished: bool = False,
    query: str | None = None,
    more: dict[str, Any] | None = None,
) -> None:
    """Make the access record of `request`, which took until now, and give it to its logger; `more` are extra fields."""
    global _complained
    try:
        if not wanted(request.path, status, unfinished) or not _access_logger().isEnabledFor(logging.INFO):
            return
        message, fields = described(
            request, status, bytes_sent, request.seconds(), protocol, user_agent, referer, None, unfinished, query
        )
        if more:
            fields.update(more)
        if not publish(message, fields, request):
            emit(record_of(message, fields), request)
    except Exception:
        # A filter or a record factory of the application failed: its request must not.
        if logging.raiseExceptions and not _complained:
            _complained = True
            traceback.print_exc()


def publish(message: str, fields: dict[str, Any], request: Request) -> bool:
    """Write the record without a `LogRecord` if nobody but a handler of ours would see one. False: not written."""
    logger = _access_logger()
    kind = type(logger)
    if (
        not _is_original
        or kind.makeRecord is not _make_record
        or kind.handle is not _handle
        or kind.callHandlers is not _call_handlers
        or logging.LogRecord.getMessage is not _get_message
        or logging._logRecordFactory is not logging.LogRecord  # type: ignore[attr-defined]
        or logger.filters
        or not logger.__dict__.keys().isdisjoint(_METHODS)
        or context.current() is not request
    ):
        return False
    brief = getattr(_only_handler(logger), "publish_brief", None)
    return brief is not None and brief(_name, logging.INFO, message, fields, request)


def _only_handler(logger: logging.Logger) -> logging.Handler | None:
    """The handler that gets the records of `logger`, if there is exactly one."""
    found = None
    above: logging.Logger | None = logger
    while above is not None:
        for handler in above.handlers:
            if found is not None:
                return None
            found = handler
        above = above.parent if above.propagate else None
    return found


def emit(record: logging.LogRecord, request: Request) -> None:
    """Give `record` to its logger as one of `request`'s, whatever thread or task this is."""
    logger = _access_logger()
    if "unfinished" not in record.__dict__:
        request.last_record = record
    try:
        if context.current() is request:
            logger.handle(record)
        else:
            with context.using(request):
                logger.handle(record)
    finally:
        request.last_record = None


def served(request: Request) -> None:
    """Called by a server that writes access records by itself, after it has written the one of `request`.

    The request has left the table of those in flight. Its context ends with the response's body, where that is ours to
    end, otherwise now. With a worker that is being ended nothing is taken away.
    """
    if worker_dies():
        request.dying = True
        return
    _requests.end(request)
    if not request.held:
        context.end(request)


def worker_dies() -> bool:
    """Whether the code that runs now is cleaning up after an exception that ends the worker."""
    kind = sys.exc_info()[0]
    return kind is not None and issubclass(kind, DYING)


def _shown(text: str) -> str:
    """`text` for use between double quotes: nothing in it ends them, or the line."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
