"""Receivers of syslog messages for the tests: they listen on loopback and keep what they get."""

from __future__ import annotations

import re
import socket
import socketserver
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accounts import wait_until
from logboom import _relay

_HEADER = re.compile(rb"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) ")
_PARAM = re.compile(rb' ([^ =\]"]+)="((?:[^"\\\]]|\\.)*)"')


@dataclass
class Message:
    """An RFC 5424 message, taken apart by the letter of its section 6."""

    priority: int
    stamp: str
    app_name: str
    process: str
    kind: str
    data: dict[str, str]
    text: str


def parse(message: bytes) -> Message:
    found = _HEADER.match(message)
    assert found is not None, message
    rest = message[found.end() :]
    data: dict[str, str] = {}
    if rest.startswith(b"["):
        end = re.match(rb'\[[^ \]]+(?: [^ =\]"]+="(?:[^"\\\]]|\\.)*")*\]', rest)
        assert end is not None, message
        for name, value in _PARAM.findall(end.group()):
            data[name.decode()] = re.sub(rb'\\(["\\\]])', rb"\1", value).decode()
        rest = rest[end.end() :]
    else:
        rest = rest.removeprefix(b"-")
    text = rest.removeprefix(b" ").removeprefix(b"\xef\xbb\xbf").decode()
    priority, stamp, _, app_name, process, kind = (part.decode() for part in found.groups())
    return Message(int(priority), stamp, app_name, process, kind, data, text)


@dataclass
class Receiver:
    """Takes octet-counted messages over TCP (RFC 6587, section 3.4.1), or one a datagram over UDP."""

    tcp: bool = True
    port: int = 0
    got: list[bytes] = field(default_factory=list)
    _server: Any = None

    def __enter__(self) -> Receiver:
        outer = self

        class Stream(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while length := _length(self.rfile):
                    outer.got.append(self.rfile.read(length))

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.got.append(self.request[0])

        class TcpServer(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        kind, handler = (TcpServer, Stream) if self.tcp else (socketserver.UDPServer, Datagram)
        self._server = kind(("127.0.0.1", self.port), handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def messages(self) -> list[Message]:
        return [parse(message) for message in list(self.got)]

    def wait_for(self, count: int, limit_s: float = 30) -> list[Message]:
        """The first messages, as soon as there are so many."""
        wait_until(lambda: len(self.got) >= count, f"{count} messages, not {len(self.got)}", limit_s)
        return self.messages()

    def wait_for_text(self, text: str, limit_s: float = 30) -> Message:
        def is_there() -> bool:
            return any(text in message.text for message in self.messages())

        wait_until(is_there, f"{text!r} among {[message.text for message in self.messages()]}", limit_s)
        return next(message for message in self.messages() if text in message.text)


def _length(stream: Any) -> int:
    digits = b""
    while (byte := stream.read(1)) not in (b" ", b""):
        digits += byte
    return int(digits or b"0")


def end_relays(folder: Path) -> None:
    """End the relays of all spools below a folder: one whose receiver never comes back would stay for ever."""
    for spool in {path.parent for path in folder.rglob("relay.sock")}:
        subprocess.run([_relay.program() or "logboom", "relay", "--stop", str(spool)], capture_output=True, check=False)
    wait_until(lambda: not any(folder.rglob("relay.sock")), "the relays have ended")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def quiet_for(receiver: Receiver, seconds: float) -> int:
    """How many messages there are when none has come for so long."""
    count = -1
    while count != len(receiver.got):
        count = len(receiver.got)
        time.sleep(seconds)
    return count
