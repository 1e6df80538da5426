"""`SysLogHandler`: the standard library's class, with the network in the hands of the relay.

What always holds: a logging call puts its record into shared memory and never waits for a server, whatever that does;
a record waits on disk while the server is away, and is delivered when it is back; nothing raises into the application
(`handleError` gets it). The handler itself opens no socket: `socket` stays None.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket as _socket
from logging import LogRecord
from logging.handlers import SYSLOG_UDP_PORT
from logging.handlers import SysLogHandler as _StdSysLogHandler
from typing import Any

from ._configuration import flattened
from ._native import Encoder, Log, load_config, user_spools
from ._ships import open_spool
from ._stream import FLUSH_WAIT_MS

# The name of the destination in its spool; the directory is its own.
_NAME = "syslog"
# A formatter's text is sent as it is. Its own marks against forged records are the formatter's business.
_SECRET_NAMES = ("password", "passwd", "authorization", "cookie", "set-cookie", "token", "secret", "api_key")


class SysLogHandler(_StdSysLogHandler):
    """`logging.handlers.SysLogHandler`, which loses nothing and never blocks.

    `address` is a pair of host and port (UDP, or TCP with `socktype=socket.SOCK_STREAM`), the path of a local socket,
    or a URL: `tls://host:6514`, `relp://host:2514`, `relp+tls://host:2514`, `tcp://...`, `udp://...`, `unix:/dev/log`.

    `format` is `"rfc5424"` (the default over a network: fields, the request's id and the ledger id are structured
    data), `"rfc3164"` (the default for a local socket) or `"plain"`: what the standard library's handler sends.
    `options` are those of `[ship.NAME]` in `logboom.toml`, nested as there: `tls={"ca": "ca.pem"}`,
    `spool={"bytes": "1 GB"}`, `retry=...`, `syslog={"long": "split"}`.
    """

    # Here already for a handler that was refused: `logging.shutdown` flushes it, too.
    _log: Log | None = None

    def __init__(
        self,
        address: tuple[str, int] | str = ("localhost", SYSLOG_UDP_PORT),
        facility: int | str = _StdSysLogHandler.LOG_USER,
        socktype: int | None = None,
        timeout: float | None = None,
        *,
        format: str = "auto",
        **options: Any,
    ) -> None:
        # Here, so that importing logboom for another handler does not load it.
        from . import context

        # First what may be refused: `logging` flushes each handler that it knows, at the latest at the end.
        self._url = _url(address, socktype)
        self._values = _values(self._url, format, timeout, options)
        logging.Handler.__init__(self)
        self._context = context
        self.address = address
        self.facility = facility  # type: ignore[assignment]
        self.socktype = socktype  # type: ignore[assignment]
        self.timeout = timeout
        self.unixsocket = isinstance(address, str) and "://" not in address
        self.socket: Any = None
        self._format_kind = format
        # Datagrams end with a NUL in the standard library's format; on a stream it never was of use.
        self._is_datagram = self._url.startswith("udp:") or self.unixsocket
        self._encode = Encoder("json", redact_names=_SECRET_NAMES).encode
        self._open()

    def _open(self) -> Log:
        if self._log is None:
            self._log = open_spool(_NAME, self._values["ship"][_NAME], self._values["relay"]["start"])
        return self._log

    def createSocket(self) -> None:
        """The standard library connects here. The relay connects by itself, and again when it has to."""

    def emit(self, record: LogRecord) -> None:
        """Put the record into the spool."""
        try:
            line = self._line(record)
            try:
                self._open().publish(line, record.levelno)
            except ValueError:
                # It was closed; like the standard library's, it opens again for a record.
                self._log = None
                self._open().publish(line, record.levelno)
        except Exception:
            self.handleError(record)

    def _line(self, record: LogRecord) -> str:
        message = self.format(record)
        if self.ident:
            message = self.ident + message
        if self._format_kind == "plain" and self.append_nul and self._is_datagram:
            message += "\000"
        fields = {"syslog.priority": self.encodePriority(self.facility, self.mapPriority(record.levelname))}
        # The text has the traceback already, in the formatter's way.
        values = {**record.__dict__, "exc_info": None, "stack_info": None}
        fields.update(self._context.bound() or {})
        return self._encode(values, message, self._context.current(), fields, None) + "\n"

    def flush(self) -> None:
        """Wait, within a bound, until the records of this process are in the spool. Not needed for safety."""
        log = self._log
        if log is not None:
            try:
                log.flush(FLUSH_WAIT_MS)
            except ValueError:
                return

    def close(self) -> None:
        """Leave the spool; a later record opens it again."""
        self.acquire()
        try:
            log, self._log = self._log, None
            if log is not None:
                log.close()
            logging.Handler.close(self)
        finally:
            self.release()


def _url(address: tuple[str, int] | str, socktype: int | None) -> str:
    if isinstance(address, str):
        return address if "://" in address or address.startswith("unix:") else "unix:" + os.path.abspath(address)
    host, port = address
    scheme = "tcp" if socktype == _socket.SOCK_STREAM else "udp"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host or 'localhost'}:{port}"


def _values(url: str, format: str, timeout: float | None, options: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the destination, checked; a mistake is a `ValueError` that names the key."""
    syslog = {"format": format, **options.pop("syslog", {})}
    start = options.pop("relay_start", None)
    flags = flattened({"ship": {_NAME: {"to": url, "timeout": timeout, "syslog": syslog, **options}}})
    if start is not None:
        flags["relay.start"] = start
    if "spool" not in options or "path" not in options["spool"]:
        flags[f"ship.{_NAME}.spool.path"] = os.path.join(user_spools(), _folder(url, flags))
    values: dict[str, Any] = load_config(os.devnull, {}, flags)["values"]
    return values


def _folder(url: str, flags: dict[str, str]) -> str:
    """One directory for each destination: handlers that say the same of it share its spool."""
    said = "\n".join(f"{key}={value}" for key, value in sorted(flags.items()))
    digest = hashlib.sha256(said.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9.]+", "-", url).strip("-")[:60] + "-" + digest
