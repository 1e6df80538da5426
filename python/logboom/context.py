"""The request that a record belongs to, and the fields that are bound to what is being done.

Both lie in context variables, so that threads, greenlets and tasks see their own: a task starts with those of whoever
started it, a thread or a greenlet with none unless `ThreadPoolExecutor` or `wrap` carries them over.

What always holds: a `Request` keeps short texts of the request and never the framework's object or its body, and its
headers can be asked for until it ends; what is bound is replaced and never changed in place, so that a record can read
it while another thread binds; no call raises because of what a client sent.
"""

from __future__ import annotations

import concurrent.futures
import functools
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "Binding",
    "Request",
    "Settings",
    "ThreadPoolExecutor",
    "bind",
    "bound",
    "configure",
    "current",
    "set_endpoint",
    "set_user",
    "using",
    "wrap",
]

P = ParamSpec("P")
R = TypeVar("R")

# Longest texts in a request, in characters. What is longer is cut, with a mark that says how long it was.
ID_CHARS_MAX = 128
PATH_CHARS_MAX = 2048
TEXT_CHARS_MAX = 256
# Most fields that are in force at once. Those beyond are left out and counted in the field `fields_dropped`.
BOUND_FIELDS_MAX = 64
FIELDS_DROPPED = "fields_dropped"

# Visible ASCII without quotes, backslash and brackets: what proxies and tracers make ids of.
_valid_id = re.compile(rf"[A-Za-z0-9._~:;,/+=@|#-]{{1,{ID_CHARS_MAX}}}").fullmatch
# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace-id, parent-id, flags; later ones add more.
_traceparent = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?").fullmatch
_NO_TRACE = ("", "")
_ZEROS = frozenset("0")

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_OUTER: tuple[None, Mapping[str, Any]] = (None, _NOTHING)


class Request:
    """What is known of one request. All texts are bounded; an empty one is unknown.

    `endpoint` is the route as the framework writes it (`/orders/<int:number>`), `fields` is what was bound to the whole
    request, `token` the place in the table of requests in flight, -1 without one.
    """

    __slots__ = (
        *("id", "method", "path", "client", "endpoint", "user", "trace_id", "span_id"),
        *("started_monotonic", "fields", "token", "held", "dying", "status", "rewound", "_outer"),
        *("last_record", "_get_header", "_headers"),
    )

    def __init__(
        self, id: str, method: str = "", path: str = "", client: str = "", trace_id: str = "", span_id: str = ""
    ) -> None:
        self.id = id
        self.method = method
        self.path = path
        self.client = client
        self.endpoint = ""
        self.user = ""
        self.trace_id = trace_id
        self.span_id = span_id
        self.started_monotonic = monotonic()
        self.fields: Mapping[str, Any] = _NOTHING
        self.token = -1
        # Its access record, while that is being written: with it the request is over.
        self.last_record: object = None
        # Whether a response body of ours will end this request; see `_access.served`.
        self.held = False
        # Whether the worker was being ended while it served this request.
        self.dying = False
        # Of the answer, once it is known; 0 before.
        self.status = 0
        # Gives a header by the keys that WSGI and ASGI have it under, and those that were asked for by now.
        self._get_header: Callable[[Any], Any] | None = None
        self._headers: dict[str, str] | None = None
        # Number of the last recorded record that was written although nobody had asked for it, or of the last one
        # before the request; -1: that is not known. See `_rewind`.
        self.rewound = -1
        # What was in force when this request began, until it ends.
        self._outer: tuple[Request | None, Mapping[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"<logboom request {self.id} {self.method} {self.path}>"

    def header(self, name: str) -> str | None:
        """A header by its name in small letters; an empty text if it has none. None: the request has ended, and nobody
        asked before."""
        known = self._headers
        if known is not None and name in known:
            return known[name]
        get = self._get_header
        if get is None:
            return None
        wsgi = name.upper().replace("-", "_")
        # These two have no prefix in the environ of WSGI, nor may they have one.
        keys = (wsgi if wsgi in _UNPREFIXED else "HTTP_" + wsgi, name.encode())
        found = next((value for value in map(get, keys) if value is not None), "")
        # Replaced, since another thread may look into it.
        self._headers = {**(known or {}), name: text(found.decode("latin-1") if isinstance(found, bytes) else found)}
        return self._headers[name]

    @property
    def started(self) -> float:
        """When the request began, as `time.time()` has it."""
        return time.time() - self.seconds()

    def seconds(self) -> float:
        """How long ago the request began, in seconds."""
        return monotonic() - self.started_monotonic


_request: ContextVar[Request | None] = ContextVar("logboom_request", default=None)
_bound: ContextVar[Mapping[str, Any]] = ContextVar("logboom_bound", default=_NOTHING)

# Two threads of one request may bind at once. Reentrant: a signal handler may bind, too.
_binding = threading.RLock()


_UNPREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")

# Ids for requests to come: asking the kernel for each costs more than the rest of a request's context.
_ids: list[str] = []
_IDS_AT_ONCE = 256


def _in_child() -> None:
    global _binding
    _binding = threading.RLock()
    _ids.clear()


os.register_at_fork(after_in_child=_in_child)

# The request that records made now belong to, or None.
current: Callable[[], Request | None] = _request.get


def bound() -> Mapping[str, Any]:
    """The fields that are bound now: the request's, and over them those of the `with bind(...)` blocks around."""
    inner = _bound.get()
    request = _request.get()
    if request is None or not request.fields:
        return inner
    if not inner:
        return request.fields
    return _joined(request.fields, inner)


class Binding:
    """What `bind` gives. As a context manager it takes the fields back at the end of the block."""

    __slots__ = ("_before", "_fields", "_hidden", "_old", "_request")

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields
        self._before: Mapping[str, Any] | None = None
        self._request = _request.get()
        self._old: Mapping[str, Any] = _NOTHING
        self._hidden: Mapping[str, Any] = _NOTHING
        self._apply()

    def __enter__(self) -> Binding:
        self.end()
        self._before = _bound.get()
        _bound.set(_joined(self._before, self._fields))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            _bound.set(self._before)
            self._before = None

    def _apply(self) -> None:
        """For the whole request, or without one for this thread or task."""
        request = self._request
        if request is None:
            self._old = _bound.get()
            _bound.set(_joined(self._old, self._fields))
            return
        with _binding:
            self._old = request.fields
            request.fields = _joined(self._old, self._fields)
        inner = _bound.get()
        names = inner.keys() & self._fields.keys()
        if names:
            # A block around binds the same name: what was said last counts, until that block ends.
            self._hidden = {name: inner[name] for name in names}
            _bound.set(_joined(inner, {name: self._fields[name] for name in names}))

    def end(self) -> None:
        """Take the fields back: what they had replaced is in force again."""
        request = self._request
        if request is None:
            _bound.set(_without(_bound.get(), self._fields, self._old))
            return
        with _binding:
            request.fields = _without(request.fields, self._fields, self._old)
        if self._hidden:
            added = {name: self._fields[name] for name in self._hidden}
            _bound.set(_without(_bound.get(), added, self._hidden))


def bind(**fields: Any) -> Binding:
    """Add `fields` to every record that is made from now on.

    ``with bind(order=7):`` adds them inside the block, in this thread or task and in the tasks it starts.
    ``bind(order=7)`` alone adds them until the request ends, wherever its records are made, its access record included;
    outside of a request until the thread or task ends, or `Binding.end`. Values may be of any type; they are written
    when a record is.
    """
    return Binding(fields)


def _joined(fields: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    joined = {**fields, **more}
    if len(joined) > BOUND_FIELDS_MAX:
        dropped = joined.pop(FIELDS_DROPPED, 0)
        for name in list(joined)[BOUND_FIELDS_MAX - 1 :]:
            del joined[name]
            dropped += 1
        joined[FIELDS_DROPPED] = dropped
    return joined


def _without(fields: Mapping[str, Any], added: Mapping[str, Any], old: Mapping[str, Any]) -> Mapping[str, Any]:
    left = dict(fields)
    for name, value in added.items():
        if left.get(name, left) is value:
            if name in old:
                left[name] = old[name]
            else:
                del left[name]
    return left


def set_user(user: object) -> None:
    """Name the user of the current request; nothing happens outside of one."""
    request = _request.get()
    if request is not None:
        request.user = text(user)


def set_endpoint(endpoint: object) -> None:
    """Name the route or function that answers the current request; nothing happens outside of one."""
    request = _request.get()
    if request is not None:
        request.endpoint = text(endpoint)


def begin(request: Request) -> Request | None:
    """Make `request` the current one. What was in force before comes back when it ends; nothing of it is inherited.

    A request that has ended is no outer request: it was left here for the server's last records, or has ended in
    another thread. Nor is one whose worker was to end and did not; that one is the result, for the table of requests in
    flight.
    """
    outer, inner = _request.get(), _bound.get()
    survived = None
    if outer is None:
        request._outer = (None, inner) if inner else _NO_OUTER
    elif outer.dying:
        survived = outer
        request._outer = _NO_OUTER
    elif outer._outer is None:
        request._outer = _NO_OUTER
    else:
        request._outer = (outer, inner)
    _request.set(request)
    if inner:
        _bound.set(_NOTHING)
    return survived


def end(request: Request) -> None:
    """End `request`: where it is the current one, what was before it is again. May be called twice."""
    outer = request._outer
    request._outer = None
    request._get_header = None
    if outer is None:
        # It has ended before; `leave` may have let it stay.
        outer = _NO_OUTER
    if _request.get() is request:
        around, fields = outer
        if around is not None and around._outer is None:
            around, fields = None, _NOTHING
        _request.set(around)
        if fields is not _bound.get():
            _bound.set(fields)


def leave(request: Request) -> None:
    """End `request`, but let what the server says after it belong to it: until the next request, or `end`."""
    outer = request._outer
    request._get_header = None
    if outer is not None and outer[0] is None:
        request._outer = None
        _bound.set(_NOTHING)
    else:
        end(request)


@contextmanager
def using(request: Request | None, fields: Mapping[str, Any] = _NOTHING) -> Iterator[None]:
    """Records made inside belong to `request`, wherever that began; it is neither begun nor ended by this."""
    before = (_request.get(), _bound.get())
    _request.set(request)
    _bound.set(fields)
    try:
        yield
    finally:
        _request.set(before[0])
        _bound.set(before[1])


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with the request and the bound fields of now, for a thread, a pool or a callback.

    Only logboom's own context is carried: `contextvars.copy_context` would keep the framework's objects alive.
    """
    request, fields = _request.get(), _bound.get()

    @functools.wraps(function)
    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        with using(request, fields):
            return function(*args, **kwargs)

    return in_context


class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """The standard library's, whose calls log with the request and the bound fields of their submitter."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[R]:
        """As in the standard library."""
        return super().submit(_carried, _request.get(), _bound.get(), fn, args, kwargs)


def _carried(request: Request | None, fields: Mapping[str, Any], fn: Callable[..., R], args: Any, kwargs: Any) -> R:
    with using(request, fields):
        return fn(*args, **kwargs)


class Settings:
    """Where a request's id comes from: the headers that are looked at, in order. Immutable.

    `headers` has for each header its name, whether it is a `traceparent`, and whether it gives the id; `environ_keys`
    and `scope_keys` the same with names as WSGI and ASGI write them. A `traceparent` is read in any case.
    """

    __slots__ = ("environ_keys", "headers", "scope_keys")

    def __init__(self, id_headers: Iterable[str] = ("X-Request-ID", "traceparent")) -> None:
        headers = [(name, name.lower() == "traceparent", True) for name in id_headers]
        if not any(is_trace for _, is_trace, _ in headers):
            headers.append(("traceparent", True, False))
        self.headers = tuple(headers)
        self.environ_keys = tuple(("HTTP_" + name.upper().replace("-", "_"), *rest) for name, *rest in headers)
        self.scope_keys = tuple((name.lower().encode("latin-1", "replace"), *rest) for name, *rest in headers)


settings = Settings()


def configure(id_headers: Iterable[str]) -> None:
    """Set for all middlewares which headers give a request's id; `[request] id_headers` of the configuration."""
    global settings
    settings = Settings(id_headers)


def request_from_headers(
    get_header: Callable[[str], str | None], method: str, path: str, client: str, settings: Settings
) -> Request:
    """The `Request` that these headers describe: with the first valid id, or a new one.

    `get_header` takes a header's name as HTTP writes it and gives its value or None.
    """
    return make_request(get_header, settings.headers, method, path, client)


def make_request(get: Callable[[Any], Any], keys: Iterable[Any], method: str, path: str, client: str) -> Request:
    """`request_from_headers` with the keys that `get` takes; values may be bytes."""
    id = trace_id = span_id = ""
    for key, is_trace, gives_id in keys:
        value = get(key)
        if value is not None:
            if is_trace:
                found, span_id = parse_traceparent(value)
                trace_id = found
            else:
                found = checked_id(value)
            if gives_id and not id:
                id = found
    if len(path) > PATH_CHARS_MAX:
        path = cut(path, PATH_CHARS_MAX)
    if not path.isascii():
        # A lone surrogate could not be written.
        path = path.encode("utf-8", "backslashreplace").decode()
    if len(method) + len(client) > TEXT_CHARS_MAX:
        method, client = cut(method, TEXT_CHARS_MAX), cut(client, TEXT_CHARS_MAX)
    request = Request(id or new_id(), method, path, client, trace_id, span_id)
    request._get_header = get
    return request


def new_id() -> str:
    """A new request id: 64 random bits of the kernel's as 16 hexadecimal digits; a forked child makes its own."""
    try:
        return _ids.pop()
    except IndexError:
        random = os.urandom(8 * _IDS_AT_ONCE).hex()
        _ids.extend(random[at : at + 16] for at in range(16, len(random), 16))
        return random[:16]


def checked_id(value: str | bytes) -> str:
    """`value` if it may be a request's id, else an empty text."""
    text = _ascii(value, ID_CHARS_MAX)
    return text if _valid_id(text) else ""


def parse_traceparent(value: str | bytes) -> tuple[str, str]:
    """Trace id and span id of a W3C `traceparent` header; two empty texts if it is not valid."""
    text = _ascii(value, TEXT_CHARS_MAX)
    match = _traceparent(text)
    if match is None:
        return _NO_TRACE
    version, trace_id, span_id, more = match.groups()
    if version == "ff" or (version == "00" and more) or _ZEROS.issuperset(trace_id) or _ZEROS.issuperset(span_id):
        return _NO_TRACE
    return trace_id, span_id


def cut(text: str, chars_max: int) -> str:
    """`text`, or its beginning and a mark that says how long it was."""
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}...[{len(text)} characters]"


def _ascii(value: str | bytes, chars_max: int) -> str:
    if len(value) > chars_max:
        return ""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.strip(" \t")


def text(value: object) -> str:
    """`value` as a bounded text, whatever its `__str__` does."""
    if value is None:
        return ""
    try:
        return cut(str(value), TEXT_CHARS_MAX)
    except Exception as error:
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"
