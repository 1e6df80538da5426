"""Request context, requests in flight and access records for any WSGI application.

``application = logboom.wsgi.Middleware(application)``

What always holds: what the application answers reaches the server unchanged, a `wsgi.file_wrapper` as itself; the
request is ended once, when its response is closed; but not by an exception that ends the worker, so that the black box
of the worker names it. Under a server whose own access log is ours (`logboom.gunicorn`), the server writes the access
record.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import _access, _requests, context
from ._access import DYING, access_record
from .context import PATH_CHARS_MAX, Request

__all__ = ["BY_SERVER", "REQUEST", "Middleware", "access_record"]

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

# Keys in the environ: the `Request`, the flag of a server that writes the access records, and the answer until it ends.
REQUEST = "logboom.request"
BY_SERVER = "logboom.access_by_server"
_ANSWER = "logboom.answer"


class Middleware:
    """A WSGI application around `app`: everything logged while it answers belongs to the request.

    `access_by_server`: the server that calls this writes the access records and then calls `_access.served`.
    """

    def __init__(self, app: Application, *, access_by_server: bool = False) -> None:
        self.app = app
        self._by_server = access_by_server

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """As PEP 3333 says. A request that already has its context (a middleware further out) is only passed on."""
        if REQUEST in environ:
            return self.app(environ, start_response)
        request = environ[REQUEST] = request_of(environ)
        survived = context.begin(request)
        if survived is not None:
            _requests.end(survived)
        _requests.begin(request)
        if self._by_server or BY_SERVER in environ:
            return self._answer_for_server(environ, start_response, request)
        answer: Iterable[bytes] = self._answer(environ, start_response, request)
        return answer

    def _answer_for_server(self, environ: Environ, start_response: Any, request: Request) -> Iterable[bytes]:
        def start(status: str, *rest: Any) -> Any:
            """What the server does, and the request's status is known from here on."""
            request.status = status_of(status)
            return start_response(status, *rest)

        try:
            result = self.app(environ, start)
        except DYING:
            request.dying = True
            raise
        except BaseException:
            _requests.end(request)
            context.leave(request)
            raise
        if _is_file(result, environ):
            # It is in flight until the server has written its access record.
            context.leave(request)
            return result
        if not hasattr(result, "__iter__"):
            # Gunicorn's ALREADY_HANDLED, which is compared with.
            _requests.end(request)
            context.leave(request)
            return result
        request.held = True
        return _Body(result, request)

    def _answer(self, environ: Environ, start_response: Any, request: Request) -> Any:
        answer = environ[_ANSWER] = _Answer(environ, start_response, request)
        try:
            result = self.app(environ, answer.start)
        except DYING:
            request.dying = True
            raise
        except BaseException:
            # The server answers, and says what happened.
            answer.failed()
            raise
        if _is_file(result, environ):
            return answer.watch_file(result)
        if not hasattr(result, "__iter__"):
            answer.end()
            return result
        return (_CountedList if isinstance(result, (list, tuple)) else _Counted)(result, answer)


def request_of(environ: Environ) -> Request:
    """The request that `environ` describes."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return request_at(path if path.isascii() else _decoded(path), environ)


def request_at(path: str, environ: Environ) -> Request:
    """The same, with a path that is known otherwise."""
    return context.make_request(
        environ.get,
        context.settings.environ_keys,
        environ.get("REQUEST_METHOD", ""),
        path,
        environ.get("REMOTE_ADDR", ""),
    )


def status_of(status: object) -> int:
    """The number at the beginning of a status line; 0 if there is none."""
    digits = status[:3] if isinstance(status, str) else ""
    return int(digits) if digits.isdecimal() else 0


def end_unclosed(environ: Environ) -> None:
    """End the request of `environ` if its server is done with it and did not close the response."""
    answer = environ.get(_ANSWER)
    if answer is not None and not answer.request.dying:
        answer.end(unfinished=answer.is_cut())


def _decoded(path: str) -> str:
    """PEP 3333 gives the bytes of a path as latin-1; what is beyond the limit is not worth decoding."""
    text = path[:PATH_CHARS_MAX].encode("latin-1", "replace").decode("utf-8", "replace")
    return text if len(path) <= PATH_CHARS_MAX else f"{text}...[{len(path)} bytes]"


def _is_file(result: Any, environ: Environ) -> bool:
    """Whether the server may send `result` by itself, which it tells by its type (Gunicorn) or identity (uWSGI)."""
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper is None:
        return False
    return isinstance(result, wrapper) if isinstance(wrapper, type) else hasattr(result, "read")


class _Body:
    """A response's body for a server that counts for itself: it iterates over the application's own iterator."""

    __slots__ = ("_body", "_request")

    def __init__(self, body: Iterable[bytes], request: Request) -> None:
        self._body = body
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        request = self._request
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if _access.worker_dies():
                request.dying = True
            else:
                _requests.end(request)
                context.end(request)


class _Answer:
    """What the application answered, for the access record."""

    __slots__ = ("_environ", "_start_response", "bytes_sent", "finished", "request", "status")

    def __init__(self, environ: Environ, start_response: Any, request: Request) -> None:
        self._environ: Environ | None = environ
        self._start_response = start_response
        self.request = request
        self.status: int | None = None
        self.bytes_sent: int | None = 0
        self.finished = False

    def start(self, status: str, headers: Any, *exc_info: Any) -> Any:
        """The `start_response` that the application gets."""
        write = self._start_response(status, headers, *exc_info)
        self.request.status = status_of(status)
        self.status = self.request.status or None

        def counted(data: bytes) -> Any:
            self.bytes_sent = (self.bytes_sent or 0) + len(data)
            return write(data)

        return counted

    def end(self, unfinished: bool = False, leave: bool = False) -> None:
        """Write the access record and end the request, once."""
        environ, self._environ = self._environ, None
        if environ is None:
            return
        environ.pop(_ANSWER, None)
        _access.write(
            self.request,
            self.status,
            self.bytes_sent,
            environ.get("SERVER_PROTOCOL", ""),
            environ.get("HTTP_USER_AGENT"),
            environ.get("HTTP_REFERER"),
            unfinished,
            environ.get("QUERY_STRING"),
        )
        _requests.end(self.request)
        if leave:
            context.leave(self.request)
        else:
            context.end(self.request)

    def failed(self) -> None:
        """The application raised: the server answers with 500 if nothing was sent yet, or breaks off."""
        begun = bool(self.bytes_sent)
        if not begun:
            self.status, self.bytes_sent = 500, None
        self.end(unfinished=begun, leave=True)

    def is_cut(self) -> bool:
        """Whether the server let go of the body before its end."""
        return not self.finished and self.request.method != "HEAD" and self.status not in (204, 304)

    def watch_file(self, result: Any) -> Any:
        """The server's own file object gets a `close` that ends the request; where it cannot, the request ends now."""
        close = getattr(result, "close", None)
        self.bytes_sent = None

        def closed() -> None:
            try:
                if close is not None:
                    close()
            finally:
                if not _access.worker_dies():
                    self.end()

        try:
            result.close = closed
        except AttributeError:
            self.end()
        return result


class _Counted:
    """A response's body whose bytes are counted on their way."""

    __slots__ = ("_answer", "_body", "_iterator")

    def __init__(self, body: Iterable[bytes], answer: _Answer) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._answer = answer

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> bytes:
        answer = self._answer
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            chunk = next(self._iterator)
        except StopIteration:
            answer.finished = True
            raise
        except DYING:
            answer.request.dying = True
            raise
        answer.bytes_sent = (answer.bytes_sent or 0) + len(chunk)
        return chunk

    def close(self) -> None:
        answer = self._answer
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if answer.request.dying or _access.worker_dies():
                answer.request.dying = True
            else:
                answer.end(unfinished=answer.is_cut())

    def __del__(self) -> None:
        # Never closed, as by some test clients.
        answer = self._answer
        if not answer.request.dying and not sys.is_finalizing():
            answer.end(unfinished=answer.is_cut())


class _CountedList(_Counted):
    """The same for a list: some servers take its length for that of the answer."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
