"""What is in force under Gunicorn: `logboom.toml`, the environment, and over both the server's own settings.

What always holds: a server setting counts only if somebody gave it (on the command line, in GUNICORN_CMD_ARGS or in the
configuration file of the server), so that Gunicorn's defaults never override a `logboom.toml`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shlex
import stat
import sys
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]

from ._native import load_config

ERROR = "gunicorn.error"
ACCESS = "gunicorn.access"
# The destination that the server's own syslog settings make.
SYSLOG = "gunicorn_syslog"

# A duplicate of standard error, made once: workers give the descriptor 2 away.
_stream_path: str | None = None


class Settings:
    """One configuration, checked. `values` is what `_setup.install` takes; `main_path` stands for the path `-`."""

    def __init__(self, values: dict[str, Any], main_path: str, notes: list[str]) -> None:
        self.values = values
        self.main_path = main_path
        # What is no mistake but deserves a look.
        self.notes = notes

    @classmethod
    def load(cls, cfg: Any) -> Settings:
        """Read everything. Raises `ValueError` with a text that says where the mistake is and what to write."""
        # Only ours: another variable may hold bytes that are no text.
        environment = {name: value for name, value in os.environ.items() if name.startswith("LOGBOOM_")}
        loaded = load_config(None, environment, _flags(cfg))
        values: dict[str, Any] = loaded["values"]
        _route_access(cfg, values)
        if (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
            for ship in values["ship"].values():
                ship["owner"] = (cfg.uid, cfg.gid)
        for path in (cfg.errorlog, cfg.accesslog):
            if path is not None and path != "-":
                _check_is_writable(path)
        settings = cls(values, stream_path(), list(loaded["notes"]))
        if not settings.is_recording:
            # The server's loggers have a level of their own in Gunicorn, and programs read it there. With the recorder
            # on it would be the recorder's, and a program that copied it would write what is only to be recorded.
            for name in (ERROR, ACCESS):
                values["levels"].setdefault(name, settings.level_of(name))
        return settings

    @property
    def level(self) -> int:
        """The level of everything that has none of its own."""
        level: int = self.values["level"]
        return level

    def level_of(self, component: str) -> int:
        """The level of a logger, by its own name or that of the nearest logger above it."""
        levels: dict[str, int] = self.values["levels"]
        name = component
        while name:
            if name in levels:
                return levels[name]
            name = name.rpartition(".")[0]
        return self.level

    @property
    def is_recording(self) -> bool:
        """Whether records below the level are made as well, for the recorder."""
        return self.values["recorder"]["level"] is not None

    @property
    def access_enabled(self) -> bool:
        """Whether access records are wanted at all."""
        enabled: bool = self.values["access"]["enabled"]
        return enabled

    @staticmethod
    def has_logconfig(cfg: Any) -> bool:
        """Whether the user has a logging configuration of their own. `logconfig_json` is there from 21.0 on."""
        return bool(cfg.logconfig or cfg.logconfig_dict or getattr(cfg, "logconfig_json", None))

    def give_files_away(self, cfg: Any) -> None:
        """Workers may run as another user: as in Gunicorn, the files that the server was told to write are theirs."""
        for path in (cfg.errorlog, cfg.accesslog):
            if path is not None and path != "-":
                try:
                    os.chown(path, cfg.user, cfg.group)
                except OSError:
                    # Not ours to give, or no file at all, such as /dev/null.
                    continue


def stream_path() -> str:
    """A path for standard error as it was at the start; the null device if that is closed."""
    global _stream_path
    if _stream_path is None:
        try:
            _stream_path = _path_of(os.dup(2))
        except OSError:
            _stream_path = os.devnull
        for descriptor in (1, 2):
            _append(descriptor)
    return _stream_path


def _path_of(descriptor: int) -> str:
    """The name of the file that it leads to, so that all processes of the domain mean the same one; where it has none
    (a pipe, a terminal, a file that was deleted), the descriptor itself."""
    link = f"/proc/self/fd/{descriptor}"
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        name = os.readlink(link)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(name), found):
                return name
    return link


def _append(descriptor: int) -> None:
    """A file that standard error was redirected to is appended to by others, too: who wrote at a place of their own
    would write over them."""
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    except OSError:
        return


def _flags(cfg: Any) -> dict[str, str]:
    """The server's settings as keys of `logboom.toml`."""
    flags: dict[str, str] = {}
    if _is_given(cfg, "loglevel"):
        level = str(cfg.loglevel).lower()
        # Gunicorn takes a name that it does not know for "info".
        flags["level"] = level if level in ("critical", "error", "warning", "info", "debug") else "info"
    if cfg.errorlog != "-":
        flags["files.main.path"] = str(cfg.errorlog)
    if cfg.accesslog is not None and cfg.accesslog != "-":
        flags["files.access.path"] = str(cfg.accesslog)
        flags["files.access.components"] = ACCESS
    if cfg.syslog:
        flags.update(_syslog_flags(cfg))
    return flags


def _syslog_flags(cfg: Any) -> dict[str, str]:
    """`--log-syslog` and its kin, as a destination: everything goes there, access records unless they are kept out."""
    ship = f"ship.{SYSLOG}"
    prefix = cfg.syslog_prefix or str(cfg.proc_name).replace(":", ".")
    flags = {
        f"{ship}.to": _syslog_address(str(cfg.syslog_addr)),
        f"{ship}.syslog.facility": str(cfg.syslog_facility).lower(),
        f"{ship}.syslog.app_name": f"gunicorn.{prefix}"[:48],
    }
    if cfg.disable_redirect_access_to_syslog:
        flags[f"{ship}.except"] = ACCESS
    return flags


def _syslog_address(address: str) -> str:
    """Gunicorn's way to write an address: `unix://PATH#dgram`, `udp://HOST:PORT`, `tcp://HOST:PORT`, port 514."""
    if address.startswith("unix://"):
        # Which of the two kinds of sockets it is shows when it is opened.
        return "unix:" + address.removeprefix("unix://").partition("#")[0]
    scheme, separator, place = address.partition("://")
    if not separator:
        # Refused like any other that is none.
        return address
    host, port = place.lower(), "514"
    if not place.endswith("]") and ":" in place.rpartition("]")[2]:
        host, _, port = place.lower().rpartition(":")
    return f"{scheme}://{host or 'localhost'}:{port}"


def _route_access(cfg: Any, values: dict[str, Any]) -> None:
    """Where access records go, and that they are written: who asks for an access log wants it at each level."""
    files: dict[str, Any] = values["files"]
    routed = [name for name, file in files.items() if file.get("components") == [ACCESS]]
    if cfg.accesslog == "-":
        for name in routed:
            if name != "main":
                del files[name]
    if cfg.accesslog is not None:
        values["access"]["enabled"] = True
    if routed or cfg.accesslog is not None or cfg.syslog or Settings.has_logconfig(cfg):
        values["levels"].setdefault(ACCESS, logging.INFO)


def _is_given(cfg: Any, name: str) -> bool:
    """Whether somebody set this setting. One that has its default may have been set to it."""
    setting = cfg.settings[name]
    if setting.value != setting.default:
        return True
    try:
        arguments = sys.argv[1:] + shlex.split(os.environ.get("GUNICORN_CMD_ARGS", ""))
    except ValueError:
        arguments = sys.argv[1:]
    for flag in setting.cli or ():
        if any(argument == flag or argument.startswith(flag + "=") for argument in arguments):
            return True
    return name in _server_file(cfg)


def _server_file(cfg: Any) -> dict[str, Any]:
    """The names in Gunicorn's configuration file, which is a module that was imported."""
    module = str(cfg.config or "")
    name = module.removeprefix("python:") if module.startswith("python:") else "__config__"
    return vars(sys.modules[name]) if name in sys.modules else {}


def _check_is_writable(path: str) -> None:
    # Gunicorn 20 spells it differently.
    check = getattr(util, "check_is_writable", None) or util.check_is_writeable
    try:
        check(path)
    except RuntimeError as error:
        raise ValueError(f"failed to open the log `{path}`: {error}") from error
