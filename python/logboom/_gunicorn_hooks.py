"""What logboom does in Gunicorn's server hooks, around the user's own.

Each hook that is needed is replaced on the configuration by one of ours that does our part and calls the user's. What
always holds: the user's hook is called once, with the same arguments, and what it raises or returns is as before; our
part never raises; doing it all again (each reload brings a new configuration) wraps nothing twice.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from gunicorn.errors import HaltServer  # type: ignore[import-untyped]

from . import _deaths, _requests, _stdio, _toggle, asgi, wsgi

# The name of the attribute by which a hook of ours remembers the user's.
_USERS = "_logboom_users_hook"

# Workers whose `wsgi` attribute is a WSGI application, and those that hold an ASGI application there.
_WSGI_WORKERS = ("gunicorn.workers.sync", "gunicorn.workers.gthread", "gunicorn.workers.base_async")
_ASGI_PACKAGES = ("uvicorn", "uvicorn_worker")

# Whether this process is a worker that is being ended at its timeout.
_aborted = False

# How long the end of the server waits for its last workers, in seconds.
LAST_REAP_S = 1.0


def aborted() -> bool:
    """Whether this worker is being ended at its timeout."""
    return _aborted


def wrap(logger: Any, cfg: Any) -> None:
    """Replace the hooks of `cfg` by ours for `logger`."""
    for name, before in _BEFORE.items():
        setting = cfg.settings.get(name)
        if setting is not None:
            # Not `setting.set`: that would look at the number of arguments, which is the user's.
            setting.value = _hook(name, getattr(setting.value, _USERS, setting.value), before, logger)


def _hook(name: str, users: Any, before: Callable[..., None], logger: Any) -> Any:
    def hook(*args: Any) -> Any:
        try:
            before(logger, *args)
        except Exception:
            logger.exception("failed to do logboom's part of the server hook `%s`", name)
        return users(*args)

    hook.__name__ = hook.__qualname__ = name
    setattr(hook, _USERS, users)
    return hook


# --- In the master ---------------------------------------------------------------------------------------------------


def _on_starting(logger: Any, arbiter: Any) -> None:
    """From now on a reload (HUP) brings the log's configuration, too. Gunicorn does this by itself from 26.1 on; where
    both do, the second finds it done."""
    original = arbiter.setup

    def setup(app: Any) -> None:
        logger.reload(app.cfg)
        original(app)

    arbiter.setup = setup
    arbiter.reap_workers = _reaper(logger, arbiter.reap_workers)


def _when_ready(logger: Any, arbiter: Any) -> None:
    """The master has set its signals."""
    _toggle.install()


def _reaper(logger: Any, original: Callable[[], None]) -> Callable[[], None]:
    """A worker that ends with 3 or 4 makes Gunicorn halt before it calls `child_exit`: its black box comes here."""

    def reap_workers() -> None:
        try:
            original()
        except HaltServer as halt:
            try:
                _tell_of(halt)
            except Exception:
                logger.exception("failed to write the black box of a worker")
            raise

    return reap_workers


def _on_exit(logger: Any, arbiter: Any) -> None:
    """Workers that were killed at the end of the graceful timeout are told of, too. Bounded: it is to end."""
    end = time.monotonic() + LAST_REAP_S
    while arbiter.WORKERS and time.monotonic() < end:
        arbiter.reap_workers()
        time.sleep(0.02)


def _tell_of(halt: HaltServer) -> None:
    log, trace = _requests.log, halt.__traceback__
    while log is not None and trace is not None:
        known = trace.tb_frame.f_locals
        if trace.tb_frame.f_code.co_name == "reap_workers" and "wpid" in known:
            _deaths.write_unfinished(log.harvest(known["wpid"], known["status"]))
            return
        trace = trace.tb_next


def _pre_fork(logger: Any, arbiter: Any, worker: Any) -> None:
    _stdio.flush()
    log = _requests.log
    if log is not None:
        # Workers of a master that was killed have nobody else who could tell of them.
        _deaths.write_unfinished(log.harvest_dead())


def _child_exit(logger: Any, arbiter: Any, worker: Any) -> None:
    log = _requests.log
    if log is not None:
        cause = "timeout" if getattr(worker, "aborted", False) else ""
        _deaths.write_unfinished(log.harvest(worker.pid, _wait_status(), cause))


def _wait_status() -> int | None:
    """What `waitpid` said of the worker. The hook is not told, but its caller knows."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "reap_workers" and "status" in frame.f_locals:
            status = frame.f_locals["status"]
            return status if isinstance(status, int) else None
        frame = frame.f_back
    return None


# --- In a worker -----------------------------------------------------------------------------------------------------


def _post_fork(logger: Any, arbiter: Any, worker: Any) -> None:
    """Output of any kind is taken from here on, so that what the application prints while it is loaded is there."""
    global _aborted
    _aborted = False
    _toggle.forwarder = os.getppid()
    logger.capture()


def _post_worker_init(logger: Any, worker: Any) -> None:
    """Gunicorn has set its signals, and the application is loaded; that may have set a signal, too."""
    _enable_faulthandler()
    _toggle.install()
    _wrap_application(logger, worker)
    if "flask" in sys.modules:
        from . import flask

        flask.install()


def _worker_abort(logger: Any, worker: Any) -> None:
    global _aborted
    _aborted = True
    log = _requests.log
    if log is not None:
        log.dying("timeout")


def _dirty_worker_init(logger: Any, worker: Any) -> None:
    """A dirty worker has no hook before its applications are loaded."""
    logger.capture()
    _enable_faulthandler()
    _toggle.forwarder = os.getppid()
    _toggle.install()


def _dirty_worker_exit(logger: Any, arbiter: Any, worker: Any) -> None:
    log = _requests.log
    if log is not None and isinstance(worker.pid, int):
        _deaths.write_unfinished(log.harvest(worker.pid))


def _enable_faulthandler() -> None:
    """At a fatal signal and at the timeout (SIGABRT) the stacks of all threads are written, before Gunicorn's handler.

    It has to be enabled after Gunicorn has set its handlers, since it calls those that it finds.
    """
    if faulthandler.is_enabled():
        faulthandler.disable()
        # That brought back what was there when it was enabled, which was before Gunicorn's handler.
        handler = signal.getsignal(signal.SIGABRT)
        if handler is not None:
            signal.signal(signal.SIGABRT, handler)
    faulthandler.enable(2, all_threads=True)


def _wrap_application(logger: Any, worker: Any) -> None:
    """Put our middleware around the application, of the kind that this worker calls."""
    modules = [kind.__module__ for kind in type(worker).__mro__]
    by_server = logger.access_log_enabled
    if getattr(worker, "asgi", None) is not None:
        worker.asgi = asgi.Middleware(worker.asgi, access_by_server=by_server)
    elif any(module.partition(".")[0] in _ASGI_PACKAGES for module in modules):
        # uvicorn writes its access lines itself, without Gunicorn; the middleware's records take their place.
        worker.wsgi = asgi.Middleware(worker.wsgi)
        logging.getLogger("uvicorn.access").handlers = []
    elif any(module in _WSGI_WORKERS for module in modules):
        worker.wsgi = wsgi.Middleware(worker.wsgi, access_by_server=True)


_BEFORE: dict[str, Callable[..., None]] = {
    "on_starting": _on_starting,
    "when_ready": _when_ready,
    "pre_fork": _pre_fork,
    "child_exit": _child_exit,
    "on_exit": _on_exit,
    "post_fork": _post_fork,
    "post_worker_init": _post_worker_init,
    "worker_abort": _worker_abort,
    "dirty_worker_init": _dirty_worker_init,
    "dirty_worker_exit": _dirty_worker_exit,
}
