"""Flask: one stream, and the request with its endpoint and user on every record.

``LogBoom(app)``, or ``LogBoom()`` and ``init_app(app)`` in an app factory. Under `logboom.gunicorn.Logger` no call is
needed.

What always holds: no line is doubled, whatever server runs the app: Flask's `default_handler` goes where logboom's
stream takes the app's records, and Werkzeug's request lines where an access record takes their place; nothing here
raises into a request. Flask is imported when one of these is first called.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _access, _requests, context, wsgi

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["LogBoom", "install"]

_EXTENSION = "logboom"
# Beside it: the app has had its first request.
_TIDY = "logboom.tidy"
# Written into the environ by Werkzeug's handler once the access record stands for its request line.
_LINE_REPLACED = "logboom.line_replaced"


class LogBoom:
    """The extension. Applies to one app, or by `init_app` to any number of them.

    `user` is called without arguments in each request's context, after the `before_request` functions and again when
    the response is made, and gives the name or number of the user, or None; without it, `flask.g.user` is taken if it
    is a text or a number. `configure=False` leaves the handlers alone; otherwise `logboom.configure()` is called unless
    logboom's stream is installed already.
    """

    def __init__(
        self, app: Flask | None = None, *, user: Callable[[], object] | None = None, configure: bool = True
    ) -> None:
        self.user = user
        self._configure = configure
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put `app` into request contexts and its records into the stream. A second call only takes the new options."""
        if self._configure and _requests.log is None:
            from . import configure

            configure()
        install()
        _drop_default_handler(app)
        known = _EXTENSION in app.extensions
        app.extensions[_EXTENSION] = self
        if not known:
            app.wsgi_app = wsgi.Middleware(app.wsgi_app)  # type: ignore[method-assign]


def install() -> None:
    """Name endpoint and user in the requests of all apps of this process. May be called twice.

    This is done around two methods that Flask calls for each request and that apps may override. Its signals would do
    as well, and take several times as long.
    """
    global _request_of, _g_of
    import flask

    _request_of, _g_of = flask.request._get_current_object, flask.g._get_current_object  # type: ignore[attr-defined]
    kind: Any = flask.Flask
    if not hasattr(kind, "_logboom"):
        kind._logboom = True
        _wrap_methods(kind, kind.preprocess_request, kind.process_response)
    _adapt_werkzeug()


def _wrap_methods(kind: Any, original_preprocess: Callable[..., Any], original_process: Callable[..., Any]) -> None:
    # Before the `before_request` functions the endpoint is known, behind them often the user.
    @functools.wraps(original_preprocess)
    def preprocess_request(self: Flask, *args: Any, **kwargs: Any) -> Any:
        request = context.current()
        if request is None:
            return original_preprocess(self, *args, **kwargs)
        _name_endpoint(self, request)
        answer = original_preprocess(self, *args, **kwargs)
        _name_user(self, request)
        return answer

    # And now it is known whether the view has logged somebody in.
    @functools.wraps(original_process)
    def process_response(self: Flask, *args: Any, **kwargs: Any) -> Any:
        response = original_process(self, *args, **kwargs)
        request = context.current()
        if request is not None:
            _name_user(self, request)
        return response

    kind.preprocess_request = preprocess_request
    kind.process_response = process_response


def _name_endpoint(app: Flask, request: context.Request) -> None:
    try:
        asked = _request_of()
        rule = asked.url_rule
        if rule is not None:
            request.endpoint = context.cut(rule.rule, context.TEXT_CHARS_MAX)
        environ = asked.environ
        if "werkzeug.proxy_fix.orig" in environ:
            request.client = context.cut(environ.get("REMOTE_ADDR") or "", context.TEXT_CHARS_MAX)
        if _TIDY not in app.extensions:
            app.extensions[_TIDY] = True
            _drop_default_handler(app)
    except Exception:
        _complain(app)


def _name_user(app: Flask, request: context.Request) -> None:
    extension = app.extensions.get(_EXTENSION)
    try:
        user = _user_in_g() if extension is None or extension.user is None else extension.user()
        if user is not None:
            request.user = context.text(user)
    except Exception:
        _complain(app)


def _user_in_g() -> object:
    """`g.user` where it is one; a database's row is not looked into: that could ask the database."""
    user = _g_of().get("user")
    return user if isinstance(user, (str, int)) and not isinstance(user, bool) else None


_complained = False

# Flask's own of the current context, without the proxies; set by `install`.
_request_of: Callable[[], Any]
_g_of: Callable[[], Any]


def _complain(app: Flask) -> None:
    """Once: a `user` function that fails would fail in every request."""
    global _complained
    if not _complained:
        _complained = True
        logging.getLogger("logboom.flask").exception("failed to name the user or endpoint of a request of %r", app.name)


def _drop_default_handler(app: Flask) -> None:
    """What Flask itself would have done had the stream been there when `app.logger` was first used: not add its own."""
    from flask.logging import default_handler

    logger = logging.getLogger(app.name)
    if default_handler in logger.handlers and _is_in_stream(logger):
        logger.removeHandler(default_handler)


def _is_in_stream(logger: logging.Logger | None) -> bool:
    """Whether records of `logger` come to logboom's stream."""
    stream = sys.modules.get(f"{__package__}._stream_handler")
    if stream is None:
        return False
    while logger is not None:
        if any(isinstance(handler, stream.Handler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _adapt_werkzeug() -> None:
    """Under Werkzeug's server an access record stands for the request line, where there is one."""
    from werkzeug import serving

    if hasattr(serving, "_log_add_style") and _is_in_stream(logging.getLogger("werkzeug")):
        # Colours in a message would be shown as escapes.
        serving._log_add_style = False
    kind = serving.WSGIRequestHandler
    if hasattr(kind, "_logboom"):
        return
    kind._logboom = True  # type: ignore[attr-defined]
    original_line, original_run = kind.log_request, kind.run_wsgi

    def log_request(self: Any, code: int | str = "-", size: int | str = "-") -> None:
        environ = getattr(self, "environ", None)
        if environ and wsgi.REQUEST in environ and _LINE_REPLACED not in environ and _replaces_line():
            environ[_LINE_REPLACED] = True
        else:
            original_line(self, code, size)

    def run_wsgi(self: Any) -> None:
        try:
            original_run(self)
        finally:
            # It does not close the response when the client has reset the connection.
            environ = getattr(self, "environ", None)
            if environ:
                wsgi.end_unclosed(environ)

    kind.log_request = log_request  # type: ignore[method-assign]
    kind.run_wsgi = run_wsgi  # type: ignore[method-assign]


def _replaces_line() -> bool:
    # Switched off by configuration means no lines; a logger that nobody hears means that the line must stay.
    return not _access.enabled() or _access.reaches_somebody()
