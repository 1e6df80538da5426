"""Standard error where no shared state can be made: each record is written, and what needs the state is left out."""

from __future__ import annotations

import inspect
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from logboom import _native
from logboom._descriptor import Descriptor

# What only a log in a file has.
OF_FILES = {"publish_bytes", "rotate", "begin_hook_rotation", "end_hook_rotation", "reconfigure", "size"}

START = """
import logging, logboom
from logboom import _setup, context, wsgi
"""
PROGRAM = """
logboom.configure(**VALUES)
assert type(_setup._current.log).__name__ == "Descriptor"
shop = logging.getLogger("shop")
shop.warning("hello %d", 1)
shop.debug("below")
def application(environ, start_response):
    shop.error("in the request")
    start_response("500 Oh", [])
    return [b"x"]
body = wsgi.Middleware(application)({"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}, lambda *rest: len)
list(body)
body.close()
try:
    with logboom.debug("shop"):
        pass
except OSError as error:
    shop.info("no debug: %s", error)
assert logboom.rules() == []
import os
pid = os.fork()
if not pid:
    shop.info("of the child")
    os._exit(0)
os.waitpid(pid, 0)
"""


def said(tmp_path: Path, values: str, state_dir: str = "/proc/none") -> list[str]:
    """What such a program writes to standard error, a socket as service managers have it."""
    ours, its = socket.socketpair()
    with ours, its:
        program = START + f"VALUES = {values}" + PROGRAM
        env = {"LOGBOOM_STATE_DIR": state_dir}
        subprocess.run([sys.executable, "-c", program], stderr=its, cwd=tmp_path, env=env, timeout=60, check=False)
        its.close()
        return b"".join(iter(lambda: ours.recv(1 << 16), b"")).decode().splitlines()


@pytest.mark.parametrize("values", ["{}", "{'recorder': {'level': 'debug', 'rewind_on': 'error'}}"])
def test_records_are_written_and_nothing_raises(tmp_path: Path, values: str) -> None:
    lines = said(tmp_path, values)
    ends = ["shop: hello 1", "shop: in the request", "logboom.access: - ", "shop: no debug: ", "shop: of the child"]
    assert len(lines) == len(ends), "\n".join(lines)
    for line, end in zip(lines, ends, strict=True):
        assert end in line, "\n".join(lines)
    assert '"GET /x" 500 1 ' in lines[2]
    assert "logboom doctor" in lines[3]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_it_stands_in_for_all_that_a_stream_asks_of_its_log() -> None:
    assert public(_native.Log) - public(Descriptor) == OF_FILES
    assert public(Descriptor) <= public(_native.Log)
    for name in public(Descriptor):
        own, native = (getattr(kind, name) for kind in (Descriptor, _native.Log))
        if callable(own):
            own_names, native_names = (list(inspect.signature(method).parameters) for method in (own, native))
            assert own_names == native_names, name
