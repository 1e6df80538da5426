"""Django: the request with its endpoint and user on every record.

``MIDDLEWARE = ["logboom.django.Middleware", ...]`` in the settings, first in the list. It serves both kinds of server.

Where the application is wrapped (`logboom.wsgi.Middleware(get_wsgi_application())`, `logboom.asgi.Middleware(...)`, or
any application under `logboom.gunicorn.Logger`) it adds endpoint and user to the request that is there; otherwise it
begins and ends one itself, which then does not cover what the server does before and after Django's middlewares, such
as sending a streaming response. What always holds: the user is never loaded for the sake of a record (that could ask
the database), only taken once the application has loaded it; nothing here raises into a request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _access, _requests, context, wsgi
from .context import Request

if TYPE_CHECKING:
    from django.http import HttpRequest  # type: ignore[import-untyped,unused-ignore]

__all__ = ["Middleware"]


class Middleware:
    """Django's middleware class, for synchronous and asynchronous chains."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        self._is_async = inspect.iscoroutinefunction(get_response)
        if self._is_async:
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)

    def __call__(self, asked: HttpRequest) -> Any:
        """Django's call for each request; a coroutine in an asynchronous chain."""
        if self._is_async:
            return self._answer_async(asked)
        request, own = _begin(asked)
        try:
            response = self.get_response(asked)
        except BaseException as error:
            _fail(asked, request, own, error)
            raise
        _finish(asked, request, own, response)
        return response

    async def _answer_async(self, asked: HttpRequest) -> Any:
        request, own = _begin(asked)
        try:
            response = await self.get_response(asked)
        except BaseException as error:
            _fail(asked, request, own, error)
            raise
        _finish(asked, request, own, response)
        return response

    def process_view(self, asked: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Django has found the view: the route is known, and the user if a middleware has asked for it."""
        request = _request_of(asked)
        if request is not None:
            _name(asked, request)


def _request_of(asked: HttpRequest) -> Request | None:
    """The request that the server or a middleware further out has begun."""
    found = asked.META.get(wsgi.REQUEST)
    if found is None:
        scope = getattr(asked, "scope", None)
        found = scope.get(wsgi.REQUEST) if scope is not None else None
    return found if isinstance(found, Request) else None


def _begin(asked: HttpRequest) -> tuple[Request, bool]:
    request = _request_of(asked)
    if request is not None:
        return request, False
    meta = asked.META
    request = context.make_request(
        meta.get, context.settings.environ_keys, asked.method or "", asked.path, meta.get("REMOTE_ADDR") or ""
    )
    meta[wsgi.REQUEST] = request
    survived = context.begin(request)
    if survived is not None:
        _requests.end(survived)
    _requests.begin(request)
    return request, True


def _finish(asked: HttpRequest, request: Request, own: bool, response: Any) -> None:
    _name(asked, request)
    if not own:
        return
    length = None if response.streaming else len(response.content)
    _end(asked, request, response.status_code, length, False)


def _fail(asked: HttpRequest, request: Request, own: bool, error: BaseException) -> None:
    if isinstance(error, _access.DYING):
        request.dying = True
    elif own:
        broken_off = not isinstance(error, Exception)
        _end(asked, request, None if broken_off else 500, None, broken_off)


def _end(asked: HttpRequest, request: Request, status: int | None, length: int | None, unfinished: bool) -> None:
    meta = asked.META
    _access.write(
        request,
        status,
        length,
        meta.get("SERVER_PROTOCOL") or f"HTTP/{getattr(asked, 'scope', {}).get('http_version', '1.1')}",
        meta.get("HTTP_USER_AGENT"),
        meta.get("HTTP_REFERER"),
        unfinished,
        meta.get("QUERY_STRING"),
    )
    _requests.end(request)
    context.end(request)


def _name(asked: HttpRequest, request: Request) -> None:
    """Set endpoint and user from what is known without asking anybody."""
    try:
        match = asked.resolver_match
        if match is not None and not request.endpoint:
            request.endpoint = context.cut(f"/{match.route or ''}", context.TEXT_CHARS_MAX)
        # AuthenticationMiddleware keeps the loaded user here; `asked.user` itself would load it.
        user = getattr(asked, "_cached_user", None)
        if user is None:
            user = getattr(asked, "_acached_user", None)
        if user is not None and user.is_authenticated:
            request.user = context.cut(str(user.pk), context.TEXT_CHARS_MAX)
    except Exception:
        # An application's own user class, or resolver: the request goes on without the name.
        return
