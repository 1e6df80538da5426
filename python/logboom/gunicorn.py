"""`Logger`: one stream for Gunicorn, its access log, the application and what the workers print.

``gunicorn --logger-class logboom.gunicorn.Logger app:app``

It is written against the sources of Gunicorn 20.1 to 27 and does what their own class does (attributes, methods,
signals, `logconfig*`, syslog, statsd), with one handler of ours where theirs would open files. What always holds: a
configuration that is wrong is refused at the start and changes nothing at a reload; the user's own server hooks are
called as before; no call from the server raises because of a request or a log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.config
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from gunicorn import glogging, util  # type: ignore[import-untyped]

from . import _access, _gunicorn_hooks, _gunicorn_statsd, _requests, _setup, _stdio, _toggle, context, wsgi
from ._gunicorn_settings import Settings

__all__ = ["Logger"]

# Who calls `reopen_files` for SIGUSR1: the master and most workers, ASGI workers, dirty workers.
_USR1_HANDLERS = ("handle_usr1", "handle_usr1_signal", "_signal_handler")

# What is in force in this process: loggers are the process's, so there is one.
_installation: _setup.Installation | None = None


class Logger(glogging.Logger):  # type: ignore[misc]
    """Gunicorn's logger class. A class derived from it may override what it could override in Gunicorn's."""

    def __init__(self, cfg: Any) -> None:
        self._settings: Settings | None = None
        # A configuration that `reload` has dealt with already; from 26.1 on, the arbiter calls `setup` once more.
        self._dealt_with: Any = None
        self._metrics: Any = None
        self._access_enabled = True
        self._plain_access = True
        super().__init__(cfg)
        self._metrics = _gunicorn_statsd.metrics(self, cfg)

    def __getattr__(self, name: str) -> Any:
        # With --statsd-host, Gunicorn's logger has `gauge`, `increment`, `sock` ...
        metrics = self.__dict__.get("_metrics")
        if metrics is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(metrics, name)

    def setup(self, cfg: Any) -> None:
        """Put `cfg` and `logboom.toml` in force. May be called any number of times; raises `RuntimeError` at the start
        only, with a text that names the key, its place, and what to write."""
        if self._dealt_with is cfg:
            self._dealt_with = None
            return
        if self._settings is not None:
            self._put_in_force(cfg, self._reloaded(cfg))
            return
        try:
            self._put_in_force(cfg, Settings.load(cfg))
        except (ValueError, OSError) as error:
            # What Gunicorn shows without a traceback before it exits.
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise RuntimeError(text) from error

    def reload(self, cfg: Any) -> None:
        """What HUP does: `cfg` is put in force, or, if that fails, the one before again; the log says why."""
        before, settings = self.cfg, self._settings
        assert settings is not None
        try:
            self.setup(cfg)
        except Exception as error:
            try:
                self._put_in_force(before, settings)
            except Exception:
                # Its logging configuration cannot be applied any more either; the server goes on.
                self.exception("failed to restore the configuration of the log")
            self.error("failed to reload the configuration of the log: %s; the one from before stays in force", error)
            _gunicorn_hooks.wrap(self, cfg)
        self._dealt_with = cfg

    def _reloaded(self, cfg: Any) -> Settings:
        """The settings as they are now; those from before if they are wrong."""
        assert self._settings is not None
        try:
            return Settings.load(cfg)
        except (ValueError, OSError) as error:
            self.error("%s\nThe configuration from before stays in force", error)
            return self._settings

    def _put_in_force(self, cfg: Any, settings: Settings) -> None:
        self.cfg = cfg
        self._drop_own_handlers()
        handler = self._install(settings)
        self._settings = settings
        self.loglevel = settings.level
        for log in (self.error_log, self.access_log):
            if not settings.is_recording:
                # With the recorder on, they have the root logger's, which lets more through to be recorded.
                log.setLevel(settings.level_of(log.name))
            log.addHandler(handler)
        with _kept_open(handler):
            self._apply_logconfig(cfg, handler)
        self._access_enabled = settings.access_enabled
        self._plain_access = self._is_access_plain(cfg)
        _access.use_logger("gunicorn.access")
        _gunicorn_hooks.wrap(self, cfg)
        for note in settings.notes:
            self.warning("%s", note)
        if cfg.capture_output and cfg.errorlog != "-":
            _stdio.install(handler.handle, stdout=True, stderr=True)

    def _install(self, settings: Settings) -> Any:
        global _installation
        if _installation is None:
            _installation = _setup.install(settings.values, main_path=settings.main_path)
        else:
            _installation.reconfigure(settings.values, main_path=settings.main_path)
        settings.give_files_away(self.cfg)
        handler: Any = _installation.handler
        handler._gunicorn = True
        return handler

    def _drop_own_handlers(self) -> None:
        for log in (self.error_log, self.access_log):
            for handler in list(log.handlers):
                if getattr(handler, "_gunicorn", False):
                    log.removeHandler(handler)

    def capture(self) -> None:
        """Called in a worker after the fork: what is printed or written to descriptors 1 and 2 becomes records."""
        if self._settings is None or _installation is None:
            return
        wanted = self._settings.values["capture"]
        descriptors = [number for number, name in ((1, "stdout"), (2, "stderr")) if wanted[name]]
        if descriptors and _requests.log is not None:
            # Where it cannot be, descriptors stay as they are; what Python prints is taken all the same.
            with contextlib.suppress(OSError):
                _requests.log.capture_output(descriptors, wanted["bytes"])
        _stdio.install(_installation.handler.handle, wanted["stdout"], wanted["stderr"])

    # --- Records of the server -------------------------------------------------------------------------------------

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().critical(msg, *args, **kwargs)
        if self._metrics is not None:
            self._metrics.critical(msg, *args, **kwargs)

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().error(msg, *args, **kwargs)
        if self._metrics is not None:
            self._metrics.error(msg, *args, **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().warning(msg, *args, **kwargs)
        if self._metrics is not None:
            self._metrics.warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().exception(msg, *args, **kwargs)
        if self._metrics is not None:
            self._metrics.exception(msg, *args, **kwargs)

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if self._metrics is None:
            super().info(msg, *args, **kwargs)
        else:
            self.log(logging.INFO, msg, *args, **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if self._metrics is None:
            super().debug(msg, *args, **kwargs)
        else:
            self.log(logging.DEBUG, msg, *args, **kwargs)

    def log(self, lvl: Any, msg: Any, *args: Any, **kwargs: Any) -> None:
        if self._metrics is None:
            super().log(lvl, msg, *args, **kwargs)
            return
        self._metrics.log(lvl, msg, *args, **kwargs)
        # An empty message only carries a figure for statsd.
        if msg:
            super().log(lvl, msg, *args, **kwargs)

    # --- Access records --------------------------------------------------------------------------------------------

    @property
    def access_log_enabled(self) -> bool:
        """Whether an ASGI worker is to call `access`. The others always do."""
        if self._metrics is not None:
            return True
        return self._access_enabled and self.access_log.isEnabledFor(logging.INFO)

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write the access record of a request, and end the request. Never raises."""
        request = environ.get(wsgi.REQUEST) or context.current()
        try:
            if request is not None and (request.dying or _access.worker_dies()) and _gunicorn_hooks.aborted():
                # The worker is being ended at its timeout: the black box has this request, and its access record.
                return
            self._write_access(request, resp, req, environ, request_time)
            if self._metrics is not None:
                self._metrics.access(resp, req, environ, request_time)
        except Exception:
            self.error(traceback.format_exc())
        if request is not None:
            _access.served(request)

    def _write_access(self, request: Any, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        if not self._access_enabled or not self.access_log.isEnabledFor(logging.INFO):
            return
        if request is None:
            # A request that was refused before it came to the application.
            request = _refused(environ)
        status = _status(resp.status)
        unfinished = bool(request.dying)
        if not _access.wanted(request.path, status, unfinished):
            return
        message, fields = _access.described(
            request,
            status,
            getattr(resp, "sent", None),
            request_time.seconds + request_time.microseconds / 1e6,
            environ.get("SERVER_PROTOCOL", ""),
            environ.get("HTTP_USER_AGENT"),
            environ.get("HTTP_REFERER"),
            environ.get("REMOTE_ADDR"),
            unfinished,
            environ.get("QUERY_STRING"),
        )
        if self._plain_access and _access.publish(message, fields, request):
            return
        record = _access.record_of(message, fields)
        if not self._plain_access:
            record = self._by_format(record, self.atoms(resp, req, environ, request_time))
        _access.emit(record, request)

    def _by_format(self, record: logging.LogRecord, atoms: dict[str, Any]) -> logging.LogRecord:
        """`record` with the text that `access_log_format` makes of the request. In a text format that is all there is:
        who chose what stands in the line does not want the fields behind it."""
        assert self._settings is not None
        args = (self.atoms_wrapper_class(atoms),)
        if self._settings.values["format"]["kind"] == "text":
            plain: logging.LogRecord = self.access_log.makeRecord(
                record.name, record.levelno, "", 0, self.cfg.access_log_format, args, None
            )
            return plain
        record.msg, record.args = self.cfg.access_log_format, args[0]
        return record

    def _is_access_plain(self, cfg: Any) -> bool:
        """Whether nobody asked for Gunicorn's own format of access records: neither by setting it, nor by handlers of
        their own, whose readers expect it, nor by overriding what makes it."""
        kind = type(self)
        return (
            cfg.access_log_format == cfg.settings["access_log_format"].default
            and not Settings.has_logconfig(cfg)
            and not (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
            and kind.atoms is glogging.Logger.atoms
            and kind.atoms_wrapper_class is glogging.Logger.atoms_wrapper_class
        )

    # --- Files -----------------------------------------------------------------------------------------------------

    def reopen_files(self) -> None:
        """USR1: open the files of all handlers anew, the root logger's too."""
        for handler in _file_handlers():
            handler.acquire()
            try:
                if handler.stream:
                    handler.close()
                    handler.stream = handler._open()
            except OSError:
                handler.handleError(_failed_to_reopen(handler))
            finally:
                handler.release()
        if _installation is not None:
            _installation.handler.reopen()
            # A reload comes here as well, and toggles nothing.
            if _toggle.number() == signal.SIGUSR1 and sys._getframe(1).f_code.co_name in _USR1_HANDLERS:
                _toggle.toggle()

    def close_on_exec(self) -> None:
        """No program that a worker starts inherits a log. Our own files are opened that way."""
        for handler in _file_handlers():
            handler.acquire()
            try:
                if handler.stream:
                    util.close_on_exec(handler.stream.fileno())
            except (OSError, ValueError):
                # A stream that has no descriptor has none to be inherited.
                continue
            finally:
                handler.release()

    def _set_handler(self, log: logging.Logger, output: str | None, fmt: Any, stream: Any = None) -> None:
        """For classes derived from this one: `fmt` is how the records of `log` are written from now on."""
        for handler in list(log.handlers):
            if getattr(handler, "_gunicorn", False):
                log.removeHandler(handler)
        if output is not None and _installation is not None:
            own: Any = _installation.handler.with_formatter(fmt)
            own._gunicorn = True
            log.addHandler(own)

    # --- logconfig, logconfig_dict, logconfig_json -----------------------------------------------------------------

    def _apply_logconfig(self, cfg: Any, handler: logging.Handler) -> None:
        """Apply the user's own configuration, the first of the three that is there, as Gunicorn does. What it does not
        speak of is our stream, where Gunicorn would write to the console."""
        try:
            if cfg.logconfig_dict:
                logging.config.dictConfig(self._completed(cfg.logconfig_dict, handler))
            elif getattr(cfg, "logconfig_json", None):
                if os.path.exists(cfg.logconfig_json):
                    with open(cfg.logconfig_json, encoding="utf-8") as file:
                        logging.config.dictConfig(self._completed(json.load(file), handler))
            elif cfg.logconfig:
                if not os.path.exists(cfg.logconfig):
                    raise RuntimeError(f"Error: log config '{cfg.logconfig}' not found")
                defaults: dict[str, Any] = glogging.CONFIG_DEFAULTS.copy()
                defaults["__file__"] = cfg.logconfig
                defaults["here"] = os.path.dirname(cfg.logconfig)
                logging.config.fileConfig(cfg.logconfig, defaults=defaults, disable_existing_loggers=False)
        except (AttributeError, ImportError, ValueError, TypeError) as error:
            raise RuntimeError(str(error)) from error

    def _completed(self, config: dict[str, Any], handler: logging.Handler) -> dict[str, Any]:
        ours = {"level": logging.getLevelName(self.loglevel), "handlers": ["logboom"]}
        whole: dict[str, Any] = glogging.CONFIG_DEFAULTS.copy()
        whole["root"] = ours
        whole["loggers"] = {
            "gunicorn.error": {**ours, "propagate": False},
            "gunicorn.access": {**ours, "propagate": False, "level": "INFO"},
        }
        whole.update(config)
        whole["handlers"] = {"logboom": {"()": lambda: handler}, **whole["handlers"]}
        return whole


@contextlib.contextmanager
def _kept_open(handler: Any) -> Iterator[None]:
    """`dictConfig` and `fileConfig` close all handlers that exist; ours stays."""
    handler.close = _nothing
    try:
        yield
    finally:
        del handler.close


def _nothing() -> None:
    return


def _file_handlers() -> Iterator[logging.FileHandler]:
    """The file handlers of all loggers, each once."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    seen: set[int] = set()
    for logger in loggers:
        for handler in list(getattr(logger, "handlers", ())):
            if isinstance(handler, logging.FileHandler) and id(handler) not in seen:
                seen.add(id(handler))
                yield handler


def _failed_to_reopen(handler: logging.FileHandler) -> logging.LogRecord:
    text = f"failed to reopen `{handler.baseFilename}`"
    return logging.LogRecord("gunicorn.error", logging.ERROR, "", 0, text, None, sys.exc_info())


def _status(status: Any) -> int | None:
    """The number in a response's status, which is a text, bytes or a number."""
    if isinstance(status, bytes):
        status = status.decode("latin-1")
    if isinstance(status, str):
        status = status.split(None, 1)[0] if status.strip() else ""
        return int(status) if status.isdecimal() else None
    return status if isinstance(status, int) else None


def _refused(environ: Any) -> context.Request:
    path, _, _ = environ.get("RAW_URI", "").partition("?")
    return wsgi.request_at(path, environ)
