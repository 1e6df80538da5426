"""Access records under Gunicorn: typed fields, `access_log_format`, statsd, syslog and the three `logconfig*` settings
as in Gunicorn's own class; and nothing that a client sends forges a field or a line."""

from __future__ import annotations

import json
import logging
import socket
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accounts import wait_until
from gunicorn.config import Config
from logboom import _access, _requests, gunicorn
from receivers import Receiver
from servers import FLASK_APP, VERSION, Server, lines_with, serve, worker_options

HELLO = """
import logging
def app(environ, start_response):
    logging.getLogger("shop").info("order %s", environ["PATH_INFO"])
    status = "503 Down" if environ["QUERY_STRING"] == "down" else "200 OK"
    start_response(status, [("Content-Length", "2"), ("X-Own", "own")])
    return [b"ok"]
"""


def accesses(server: Server, name: str = "out.txt") -> list[dict[str, Any]]:
    return [record for record in server.records(name) if record["otel.scope.name"] == "gunicorn.access"]


RAISING = """
def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/late":
        raise ValueError("behind the status")
    return [b"ok"]
"""


def test_the_status_is_the_one_that_the_server_answered_with(tmp_path: Path) -> None:
    """An application that raises behind its `start_response` is answered for by the server."""
    with serve(tmp_path, RAISING, path="/none") as server:
        assert server.get("/late")[0] == 500
    (record,) = [record for record in accesses(server) if record["url.path"] == "/late"]
    assert record["http.response.status_code"] == 500


def test_a_format_of_the_users_own_is_the_text_and_the_fields_stay(tmp_path: Path) -> None:
    form = '%(h)s "%(r)s" %(s)s %(b)s %({x-mine}i)s %({x-own}o)s %(nothing)s'
    with serve(tmp_path, HELLO, "--access-logformat", form, path="/none") as server:
        server.get("/a?b=c", {"X-Mine": "mine"})
    (record,) = [record for record in accesses(server) if record["url.path"] == "/a"]
    assert record["body"] == '127.0.0.1 "GET /a?b=c HTTP/1.1" 200 2 mine own -'
    assert (record["http.response.status_code"], record["url.query"]) == (200, "b=c")


def test_in_text_a_format_of_the_users_own_is_all_of_the_line(tmp_path: Path) -> None:
    options = ["--access-logformat", "%(m)s %(U)s %(s)s", "--access-logfile", "access.log"]
    with serve(tmp_path, HELLO, *options, path="/none", json_lines=False) as server:
        server.get("/a", {"X-Request-ID": "own-id"})
    (line,) = [line for line in server.lines("access.log") if "/a" in line]
    assert "gunicorn.access: GET /a 200" in line
    assert "http." not in line
    assert "own-id" in line


def test_access_records_may_have_a_file_of_their_own(tmp_path: Path) -> None:
    options = ["--access-logfile", "access.log", "--error-logfile", "error.log"]
    with serve(tmp_path, HELLO, *options, path="/none") as server:
        server.get("/a")
    assert [record["url.path"] for record in accesses(server, "access.log")][-1] == "/a"
    assert accesses(server, "error.log") == []
    assert "order /a" in server.messages("shop", "error.log")
    assert server.output == ""


def test_a_dash_brings_the_access_log_back_into_the_stream(tmp_path: Path) -> None:
    toml = '[files.access]\npath = "access.log"\ncomponents = ["gunicorn.access"]\n'
    with serve(tmp_path, HELLO, "--access-logfile", "-", path="/none", toml=toml) as server:
        server.get("/a")
    assert [record["url.path"] for record in accesses(server)][-1] == "/a"
    assert not (tmp_path / "access.log").exists()


def test_health_probes_that_succeed_leave_no_record_and_those_that_fail_do(tmp_path: Path) -> None:
    with serve(tmp_path, HELLO, path="/none", toml='[access]\nquiet = ["/healthz"]\n') as server:
        server.get("/healthz")
        server.get("/healthz?down")
        server.get("/after")
    found = [(record["url.path"], record["http.response.status_code"]) for record in accesses(server)]
    assert found[-2:] == [("/healthz", 503), ("/after", 200)]
    assert ("/healthz", 200) not in found


def test_access_records_can_be_switched_off(tmp_path: Path) -> None:
    with serve(tmp_path, HELLO, path="/none", toml="[access]\nenabled = false\n") as server:
        server.get("/a")
    assert accesses(server) == []
    assert "order /a" in server.messages("shop")


@pytest.mark.parametrize("form", [None, '%(h)s "%(r)s" "%(f)s" "%(a)s" %({x-mine}i)s'], ids=["fields", "format"])
@pytest.mark.parametrize("json_lines", [True, False], ids=["json", "text"])
def test_headers_forge_neither_fields_nor_lines(tmp_path: Path, json_lines: bool, form: str | None) -> None:
    """Sent as raw bytes, since no client library would."""
    options = ["--access-logformat", form] if form else []
    evil = b'x" status=999 \x1b[31m\x85\xe2\x80\xa8 \\" 2026-01-01 00:00:00.000 ERROR [1] forged: line'
    with serve(tmp_path, HELLO, *options, path="/none", json_lines=json_lines) as server:
        for name in (b"User-Agent", b"Referer", b"X-Request-ID", b"X-Mine"):
            with socket.create_connection(("127.0.0.1", server.port), 10) as client:
                client.sendall(b"GET /evil HTTP/1.1\r\nHost: a\r\n" + name + b": " + evil + b"\r\n\r\n")
                client.recv(65536)
        for path in (b"/%0aforged", b"/\xff\xfe", b"/" + b"a" * 4000):
            with socket.create_connection(("127.0.0.1", server.port), 10) as client:
                client.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
                client.recv(65536)
        server.get("/after")
        wait_until(lambda: "/after" in server.output, "the last record")
    if json_lines:
        for record in server.records():
            assert record["otel.scope.name"] != "forged"
            assert record.get("http.response.status_code") != 999
    for line in server.lines():
        assert line.startswith(("{", "    ")) or line[:4].isdigit(), line
        assert not line.startswith("2026-01-01")
        assert not any(ord(char) < 32 or char in "\x1b\x85\u2028" for char in line)


def test_statsd_counts_and_gauges_as_with_gunicorns_own_class(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        address = f"127.0.0.1:{collector.getsockname()[1]}"
        options = ["--statsd-host", address, "--statsd-prefix", "shop", "-w", "2"]
        with serve(tmp_path, HELLO, *options, path="/none") as server:
            for number in range(5):
                server.get(f"/{number}")
            server.get("/?down")
            got: list[str] = []
            wanted = {
                "shop.gunicorn.request.status.200:1",
                "shop.gunicorn.request.status.503:1",
                "shop.gunicorn.requests:1",
            }
            wanted |= {"shop.gunicorn.workers:2"}
            while not wanted <= {figure.partition("|")[0] for figure in got}:
                got.append(collector.recv(4096).decode())
        assert [figure for figure in got if figure.startswith("shop.gunicorn.request.duration:")]
    # The records are there, too, each once.
    assert len([record for record in accesses(server) if record["url.path"] == "/3"]) == 1
    assert server.messages("shop").count("order /3") == 1


def test_gunicorns_own_syslog_settings_are_a_destination(tmp_path: Path) -> None:
    with Receiver(tcp=False) as receiver:
        options = ["--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{receiver.port}", "--log-syslog-prefix", "shop"]
        with serve(tmp_path, HELLO, *options, path="/none") as server:
            server.get("/a")
            access = receiver.wait_for_text("GET /a")
    assert (access.app_name, access.kind, access.data["url.path"]) == ("gunicorn.shop", "gunicorn.access", "/a")
    assert len([record for record in accesses(server) if record["url.path"] == "/a"]) == 1


LOGCONFIG: dict[str, Any] = {
    "version": 1,
    "formatters": {"own": {"format": "OWN %(name)s %(message)s"}},
    "handlers": {"own": {"class": "logboom.handlers.FileHandler", "filename": "own.log", "formatter": "own"}},
}
LOGGERS: dict[str, Any] = {
    "root": {"handlers": ["own"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"handlers": ["own"], "level": "INFO", "propagate": False},
        "gunicorn.access": {"handlers": ["own"], "level": "INFO", "propagate": False},
    },
}
INI = """
[loggers]
keys=root,gunicorn.error,gunicorn.access
[handlers]
keys=own
[formatters]
keys=own
[logger_root]
level=INFO
handlers=own
[logger_gunicorn.error]
level=INFO
handlers=own
propagate=0
qualname=gunicorn.error
[logger_gunicorn.access]
level=INFO
handlers=own
propagate=0
qualname=gunicorn.access
[handler_own]
class=FileHandler
formatter=own
args=("own.log",)
[formatter_own]
format=OWN %(name)s %(message)s
"""


@pytest.mark.parametrize("way", ["dict", "json", "file"])
def test_a_logging_configuration_of_the_users_own_is_honoured(tmp_path: Path, way: str) -> None:
    options, config = [], None
    if way == "dict":
        config = f"logconfig_dict = {LOGCONFIG | LOGGERS!r}"
    elif way == "json":
        if VERSION < (21,):
            pytest.skip("logconfig_json came with Gunicorn 21")
        (tmp_path / "log.json").write_text(json.dumps(LOGCONFIG | LOGGERS))
        options = ["--log-config-json", "log.json"]
    else:
        (tmp_path / "log.ini").write_text(INI)
        options = ["--log-config", "log.ini"]
    with serve(tmp_path, HELLO, *options, path="/none", config=config) as server:
        server.get("/a")
    own = server.lines("own.log")
    assert [line for line in own if line.startswith("OWN gunicorn.error Booting worker")]
    assert "OWN shop order /a" in own
    (access,) = [line for line in own if "gunicorn.access" in line and "/a " in line]
    assert access.startswith("OWN gunicorn.access 127.0.0.1 - - [")
    assert "order /a" not in server.output


def test_what_a_logging_configuration_does_not_speak_of_stays_in_the_stream(tmp_path: Path) -> None:
    part = LOGCONFIG | {"loggers": {"shop": {"handlers": ["own"], "propagate": True}}}
    with serve(tmp_path, HELLO, path="/none", config=f"logconfig_dict = {part!r}") as server:
        server.get("/a")
    assert "OWN shop order /a" in server.lines("own.log")
    assert server.messages("shop").count("order /a") == 1
    assert [text for text in server.messages("gunicorn.error") if "Booting worker" in text]


def test_a_class_derived_from_ours_may_set_its_own_formatter(tmp_path: Path) -> None:
    (tmp_path / "derived.py").write_text(
        """
import logging
from logboom.gunicorn import Logger
class Derived(Logger):
    def setup(self, cfg):
        super().setup(cfg)
        self._set_handler(self.error_log, cfg.errorlog, logging.Formatter("DERIVED %(levelname)s %(message)s"))
    def atoms(self, resp, req, environ, request_time):
        return super().atoms(resp, req, environ, request_time) | {"a": "hidden"}
"""
    )
    options = ["--logger-class", "derived.Derived"]
    with serve(tmp_path, HELLO, *options, path="/none", json_lines=False, PYTHONPATH=pythonpath(tmp_path)) as server:
        server.get("/a", {"User-Agent": "secret agent"})
    assert lines_with(server, "DERIVED INFO Booting worker")
    (line,) = lines_with(server, "GET /a ")
    assert '"hidden"' in line
    assert "secret" not in line


def pythonpath(folder: Path) -> str:
    import os

    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_request_that_the_server_refuses_has_its_access_record(tmp_path: Path, worker: str) -> None:
    with serve(tmp_path, FLASK_APP, *worker_options(worker)) as server:
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nBad Name: b\r\n\r\n")
            assert client.recv(65536).split()[1] == b"400"
        server.get("/buy/1")
    bad = [record for record in accesses(server) if record.get("http.response.status_code") == 400]
    # Some versions and workers write none for a request that they could not read at all; never more than one.
    assert len(bad) <= 1


# --- The class by itself ---------------------------------------------------------------------------------------------


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = gunicorn.Logger(Config())
    found: list[logging.LogRecord] = []
    collect = logging.Handler()
    collect.emit = found.append  # type: ignore[method-assign]
    made.access_log.addHandler(collect)
    made.found = found
    yield made
    made.access_log.removeHandler(collect)
    assert gunicorn._installation is not None
    gunicorn._installation.remove()
    gunicorn._installation = None
    _access.use_logger("logboom.access")
    assert _requests.log is None


ENVIRON = {
    "REQUEST_METHOD": "GET",
    "RAW_URI": "/a?b",
    "PATH_INFO": "/a",
    "QUERY_STRING": "b",
    "SERVER_PROTOCOL": "HTTP/1.1",
}


@pytest.mark.parametrize(
    ("status", "number"),
    [("200 OK", 200), (b"404 Not Found", 404), (201, 201), ("503", 503), ("", None), (None, None), ("abc", None)],
)
def test_statuses_of_all_kinds(logger: Any, status: Any, number: int | None) -> None:
    logger.access(SimpleNamespace(status=status, sent=7, headers=[]), [], dict(ENVIRON), timedelta(seconds=2))
    (record,) = logger.found
    assert record.__dict__.get("http.response.status_code") == number
    assert record.__dict__["http.response.body.size"] == 7
    assert record.__dict__["http.server.request.duration"] == 2.0


def test_access_never_raises(logger: Any) -> None:
    for resp, req, environ in [
        (None, None, {}),
        (SimpleNamespace(status="200"), None, {}),
        (SimpleNamespace(status="200", sent=None, headers=None), object(), {"PATH_INFO": None}),
    ]:
        logger.access(resp, req, environ, timedelta(seconds=1))
        logger.access(resp, req, environ, SimpleNamespace(seconds=1, microseconds=2))


def test_attributes_that_other_code_reads(logger: Any) -> None:
    assert logger.error_log is logging.getLogger("gunicorn.error")
    assert logger.access_log is logging.getLogger("gunicorn.access")
    assert (logger.error_log.propagate, logger.access_log.propagate) == (False, False)
    assert (logger.error_handlers, logger.access_handlers, logger.logfile) == ([], [], None)
    assert logger.loglevel == logger.error_log.level == logging.INFO
    assert logger.LOG_LEVELS["critical"] == logging.CRITICAL
    assert logger.access_log_enabled is True
    assert logger._get_gunicorn_handler(logger.error_log)._gunicorn is True
    assert logger.now().startswith("[")
    assert "%(message)s" in logger.error_fmt + logger.access_fmt + logger.syslog_fmt
    with pytest.raises(AttributeError):
        logger.increment("x", 1)
