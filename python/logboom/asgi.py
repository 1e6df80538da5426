"""Request context, requests in flight and access records for any ASGI application.

``application = logboom.asgi.Middleware(application)``

What always holds: each request and each websocket is ended once, when the application's call returns; not by an
exception that ends the worker, so that the black box of the worker names it. The access record is written when the
answer is complete: work that goes on behind it is not in its duration. `lifespan` and unknown kinds of scope are passed
through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import _access, _requests, context
from ._access import DYING
from .context import Request
from .wsgi import BY_SERVER, REQUEST

__all__ = ["Middleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Middleware:
    """An ASGI application around `app`: everything logged while it answers belongs to the request.

    `access_by_server`: the server that calls this writes the access records and then calls `_access.served`.
    """

    def __init__(self, app: Application, *, access_by_server: bool = False) -> None:
        self.app = app
        self._by_server = access_by_server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the ASGI specification says. A request that already has its context is only passed on."""
        kind = scope["type"]
        if kind not in ("http", "websocket") or REQUEST in scope:
            await self.app(scope, receive, send)
            return
        request = scope[REQUEST] = request_of(scope)
        survived = context.begin(request)
        if survived is not None:
            _requests.end(survived)
        _requests.begin(request)
        # No server has access records for websockets.
        if kind == "http" and (self._by_server or BY_SERVER in scope):
            await self._answer_for_server(scope, receive, send, request)
        else:
            await self._answer(scope, receive, send, request)

    async def _answer_for_server(self, scope: Scope, receive: Receive, send: Send, request: Request) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except DYING:
            request.dying = True
            raise
        finally:
            if not request.dying:
                _name_endpoint(request, scope)
                _requests.end(request)
                # The server writes its records about this request now, in the same task.
                context.leave(request)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request: Request) -> None:
        answer = (_Websocket if scope["type"] == "websocket" else _Answer)(scope, send, request)
        try:
            await self.app(scope, answer.receiver(receive), answer.send)
        except DYING:
            request.dying = True
            raise
        except BaseException as error:
            # The server answers, and says what happened.
            answer.failed(error)
            _requests.end(request)
            context.leave(request)
            raise
        answer.end(unfinished=answer.status is not None)
        _requests.end(request)
        context.end(request)


def request_of(scope: Scope) -> Request:
    """The request that `scope` describes."""
    client = scope.get("client")
    return context.make_request(
        # Of a header that came twice the last one counts, as in WSGI servers that keep one.
        dict(scope["headers"]).get,
        context.settings.scope_keys,
        scope.get("method", "GET"),
        scope["path"],
        str(client[0]) if client else "",
    )


def _name_endpoint(request: Request, scope: Scope) -> None:
    """Starlette and FastAPI leave their route in the scope."""
    if not request.endpoint:
        path = getattr(scope.get("route"), "path", None)
        if isinstance(path, str):
            request.endpoint = context.cut(path, context.TEXT_CHARS_MAX)


class _Answer:
    """What the application answered, for the access record."""

    def __init__(self, scope: Scope, send: Send, request: Request) -> None:
        self.status: int | None = None
        self.bytes_sent: int | None = 0
        self.more: dict[str, Any] | None = None
        self._scope: Scope | None = scope
        self._send = send
        self._request = request

    async def send(self, message: Message) -> None:
        """The `send` that the application gets."""
        await self._send(message)
        kind = message["type"]
        if kind == "http.response.body":
            self._count(message.get("body"))
            if not message.get("more_body", False):
                self.end()
        elif kind == "http.response.start":
            self.status = self._request.status = message["status"]
        elif kind == "http.response.pathsend":
            self.end()

    def receiver(self, receive: Receive) -> Receive:
        """The `receive` that the application gets."""
        return receive

    def _count(self, data: bytes | None) -> None:
        if data:
            self.bytes_sent = (self.bytes_sent or 0) + len(data)

    def failed(self, error: BaseException) -> None:
        """The application raised `error`: the server answers with 500 if nothing was sent yet, or breaks off."""
        begun = self.status is not None
        if not begun and isinstance(error, Exception):
            self.status, self.bytes_sent = 500, None
        self.end(unfinished=begun or not isinstance(error, Exception))

    def end(self, unfinished: bool = False) -> None:
        """Write the access record, once."""
        scope, self._scope = self._scope, None
        if scope is None:
            return
        _name_endpoint(self._request, scope)
        headers = dict(scope["headers"])
        _access.write(
            self._request,
            self.status,
            self.bytes_sent,
            f"HTTP/{scope.get('http_version', '1.1')}",
            _text(headers.get(b"user-agent")),
            _text(headers.get(b"referer")),
            unfinished,
            _text(scope.get("query_string")),
            self.more,
        )


class _Websocket(_Answer):
    """A websocket's access record is written when it closes: 101 or the status of its refusal, and the close code."""

    async def send(self, message: Message) -> None:
        await self._send(message)
        kind = message["type"]
        if kind == "websocket.send":
            self._count(message.get("bytes") or (message.get("text") or "").encode())
        elif kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.close":
            self._closed(message)
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        elif kind == "websocket.http.response.body":
            self._count(message.get("body"))
            if not message.get("more_body", False):
                self.end()

    def receiver(self, receive: Receive) -> Receive:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self._closed(message)
            return message

        return received

    def _closed(self, message: Message) -> None:
        # Closing before accepting is a refusal, which servers answer with 403.
        self.status = self.status or 403
        self.more = {"websocket.close_code": message.get("code") or 1000}
        self.end()


def _text(value: bytes | None) -> str:
    return value.decode("latin-1") if value else ""
