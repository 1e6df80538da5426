"""Flask logs the same way under every server, each line once, with the request on every record."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from seen import Seen, Table, free_port, serving

pytest.importorskip("flask", reason="flask is in tests/python/requirements.txt")

import flask
import logboom
from flask.logging import default_handler
from logboom import context
from logboom._stream_handler import Handler
from logboom.flask import LogBoom
from werkzeug.middleware.proxy_fix import ProxyFix


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    yield
    for name in ("shop", "other"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()


def shop(name: str = "shop", **options: Any) -> flask.Flask:
    app = flask.Flask(name)

    @app.get("/buy/<int:number>")
    def buy(number: int) -> str:
        app.logger.info("buying %d", number)
        return "ok"

    @app.get("/boom")
    def boom() -> str:
        raise ZeroDivisionError

    LogBoom(app, configure=False, **options)
    return app


def ask(app: flask.Flask, path: str, **headers: str) -> None:
    app.test_client().get(path, headers={n.replace("_", "-"): v for n, v in headers.items()}).close()


def test_records_have_the_request_and_its_endpoint(seen: Seen, table: Table) -> None:
    app = shop()
    ask(app, "/buy/7", X_Request_ID="r1")
    record = seen.message("buying 7")
    assert (record.id, record.method, record.path, record.client) == ("r1", "GET", "/buy/7", "127.0.0.1")
    assert record.endpoint == "/buy/<int:number>"
    (access,) = seen.access()
    assert (access.id, access.endpoint) == ("r1", "/buy/<int:number>")
    assert table.entries == {}
    assert context.current() is None


def test_flasks_record_of_an_exception_has_the_request(seen: Seen) -> None:
    ask(shop(), "/boom", X_Request_ID="r1")
    assert seen.message("Exception on /boom [GET]").id == "r1"
    assert seen.access()[0].fields["http.response.status_code"] == 500


def test_an_unknown_path_has_no_endpoint(seen: Seen) -> None:
    ask(shop(), "/nowhere")
    (access,) = seen.access()
    assert (access.endpoint, access.fields["http.response.status_code"]) == ("", 404)


@pytest.mark.parametrize(
    ("user", "expected"), [("ann", "ann"), (7, "7"), (True, ""), (object(), ""), (None, ""), ("u" * 9999, "u" * 256)]
)
def test_the_user_is_taken_from_g(user: object, expected: str, seen: Seen) -> None:
    app = shop()

    @app.before_request
    def load_user() -> None:
        flask.g.user = user

    ask(app, "/buy/1")
    for record in (seen.message("buying 1"), *seen.access()):
        assert (record.user or "")[:256] == expected


def test_the_user_is_what_the_function_says_also_when_the_view_logs_in(seen: Seen) -> None:
    app = shop(user=lambda: flask.g.get("account"))

    @app.get("/login")
    def login() -> str:
        flask.g.account = "ann"
        return "ok"

    ask(app, "/login")
    assert seen.access()[0].user == "ann"


def test_a_function_that_fails_is_told_once_and_harms_nothing(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logboom.flask._complained", False)
    app = shop(user=lambda: 1 / 0)
    for _ in range(3):
        assert app.test_client().get("/buy/1").status_code == 200
    assert len(seen.named("logboom.flask")) == 1


def test_the_client_behind_a_proxy_is_the_apps(seen: Seen) -> None:
    app = flask.Flask("shop")
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    app.add_url_rule("/", view_func=lambda: "ok")
    LogBoom(app, configure=False)
    ask(app, "/", X_Forwarded_For="192.0.2.7")
    assert seen.access()[0].client == "192.0.2.7"


def test_app_factories_and_several_apps(seen: Seen, table: Table) -> None:
    extension = LogBoom(configure=False)
    apps = []
    for name in ("shop", "other"):
        app = flask.Flask(name)
        app.add_url_rule("/", view_func=lambda: logging.getLogger("view").info("seen") or "ok")
        extension.init_app(app)
        extension.init_app(app)
        apps.append(app)
    for app in apps:
        ask(app, "/", X_Request_ID=app.name)
    assert [access.id for access in seen.access()] == ["shop", "other"]
    assert [record.id for record in seen.named("view")] == ["shop", "other"]
    assert table.begun == 2


def test_a_stream_and_its_teardown_belong_to_the_request(seen: Seen) -> None:
    app = shop()

    @app.get("/stream")
    def stream() -> flask.Response:
        def chunks() -> Iterator[str]:
            for number in range(2):
                app.logger.info("chunk %d", number)
                yield "x"

        response = flask.Response(flask.stream_with_context(chunks()))
        response.call_on_close(lambda: app.logger.info("closed"))
        return response

    response = app.test_client().get("/stream", headers={"X-Request-ID": "s"})
    assert response.data == b"xx"
    response.close()
    assert [record.id for record in seen.named("shop")] == ["s", "s", "s"]
    assert seen.access()[0].fields["http.response.body.size"] == 2


def test_a_file_is_sent_as_flask_sends_it(seen: Seen, tmp_path: Path) -> None:
    app = shop()
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    app.add_url_rule("/file", view_func=lambda: flask.send_file(tmp_path / "file"))
    response = app.test_client().get("/file")
    assert len(response.data) == 100_000
    response.close()
    assert seen.access()[0].fields["http.response.body.size"] == 100_000


def test_an_asynchronous_view_belongs_to_the_request(seen: Seen) -> None:
    pytest.importorskip("asgiref", reason="asgiref is in tests/python/requirements.txt")
    app = shop()

    @app.get("/async")
    async def view() -> str:
        app.logger.info("in a coroutine")
        context.bind(order=1)
        return "ok"

    ask(app, "/async", X_Request_ID="a")
    assert seen.message("in a coroutine").id == "a"
    assert seen.access()[0].bound == {"order": 1}


def test_threads_of_a_view_have_the_request_by_the_pool_alone(seen: Seen) -> None:
    app = shop()

    @app.get("/pool")
    def view() -> str:
        with context.ThreadPoolExecutor(1) as pool:
            pool.submit(app.logger.info, "from the pool").result()
        thread = threading.Thread(target=app.logger.info, args=("from a thread",))
        thread.start()
        thread.join()
        return "ok"

    ask(app, "/pool", X_Request_ID="p")
    assert seen.message("from the pool").id == "p"
    assert seen.message("from a thread").id is None


# --- Handlers: each line once ----------------------------------------------------------------------------------------


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Path]:
    """logboom's stream in force in this process; its file."""
    path = tmp_path / "stream.log"
    installation = logboom.configure(level="debug", files={"main": {"path": str(path)}}, format={"kind": "json"})
    yield path
    installation.remove()


def ours() -> logging.Handler:
    (found,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, Handler)]
    return found


def written(path: Path) -> list[dict[str, Any]]:
    ours().flush()
    return [json.loads(line) for line in path.read_text().splitlines()]


def bodies(path: Path) -> list[str]:
    return [record["body"] for record in written(path)]


def test_flask_adds_no_handler_beside_the_stream(stream: Path, capfd: pytest.CaptureFixture[str]) -> None:
    app = shop()
    app.logger.info("once")
    assert app.logger.handlers == []
    assert bodies(stream) == ["once"]
    assert capfd.readouterr().err == ""


def test_a_handler_that_flask_added_before_is_dropped(stream: Path, capfd: pytest.CaptureFixture[str]) -> None:
    app = flask.Flask("shop")
    app.logger.addHandler(default_handler)
    LogBoom(app)
    app.logger.warning("once")
    assert bodies(stream) == ["once"]
    assert capfd.readouterr().err == ""


def test_flasks_handler_stays_where_there_is_no_stream() -> None:
    app = flask.Flask("shop")
    app.logger.addHandler(default_handler)
    LogBoom(app, configure=False)
    assert app.logger.handlers == [default_handler]


def test_a_rotating_handler_beside_the_default_one_gives_one_line_in_each_place(stream: Path, tmp_path: Path) -> None:
    app = flask.Flask("shop")
    app.logger.addHandler(default_handler)
    rotating = logging.handlers.RotatingFileHandler(tmp_path / "app.log", maxBytes=100_000, backupCount=1)
    rotating.setLevel(logging.INFO)
    app.logger.addHandler(rotating)
    LogBoom(app)
    app.logger.debug("debug")
    app.logger.info("info")
    app.logger.error("error")
    assert bodies(stream) == ["debug", "info", "error"]
    assert (tmp_path / "app.log").read_text().splitlines() == ["info", "error"]


def test_the_servers_handlers_given_to_the_app_double_nothing(stream: Path) -> None:
    server = logging.getLogger("gunicorn.error")
    server.propagate = False
    server.addHandler(ours())
    try:
        app = flask.Flask("shop")
        LogBoom(app)
        app.logger.handlers = server.handlers
        app.logger.setLevel(server.level)
        app.logger.info("once")
        server.error("once, too")
    finally:
        server.handlers = []
        server.propagate = True
    assert bodies(stream) == ["once", "once, too"]


def test_the_stream_has_the_request_on_every_record(stream: Path) -> None:
    app = shop()
    ask(app, "/buy/7", X_Request_ID="r1", User_Agent='x" forged="1')
    app_record, access = written(stream)
    assert "r1" in json.dumps(app_record)
    for record in (app_record, access):
        attributes = record.get("attributes", record)
        assert attributes["http.route"] == "/buy/<int:number>"
        assert attributes["http.request.method"] == "GET"
        assert attributes["url.path"] == "/buy/7"
    assert access.get("attributes", access)["http.response.status_code"] == 200
    assert access.get("attributes", access)["user_agent.original"] == 'x" forged="1'


# --- Flask's own server ----------------------------------------------------------------------------------------------

SERVED = """
import logging, sys
import flask, logboom.flask
{before}
app = flask.Flask("shop")
@app.get("/buy/<int:number>")
def buy(number):
    app.logger.debug("debug %d", number)
    app.logger.info("info %d", number)
    return "ok"
@app.get("/boom")
def boom():
    raise ZeroDivisionError
{extension}
if __name__ == "__main__":
    app.run(port=int(sys.argv[1]){run})
"""


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))} | more


def get(port: int, path: str, **headers: str) -> int:
    url = f"http://127.0.0.1:{port}{path}"
    asked = urllib.request.Request(url, headers={n.replace("_", "-"): v for n, v in headers.items()})
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("start", ["app.run", "flask run", "flask run --debug"])
def test_under_flasks_own_server_everything_is_one_stream(start: str, tmp_path: Path) -> None:
    port = free_port()
    source = SERVED.format(before="", extension="logboom.flask.LogBoom(app)", run="")
    (tmp_path / "served.py").write_text(source)
    command = {
        "app.run": [sys.executable, "served.py", str(port)],
        "flask run": [sys.executable, "-m", "flask", "--app", "served", "run", "-p", str(port)],
        # Without the reloader, which would start a second process.
        "flask run --debug": [
            *(sys.executable, "-m", "flask", "--app", "served", "--debug"),
            *("run", "--no-reload", "-p", str(port)),
        ],
    }[start]
    (tmp_path / "logboom.toml").write_text('[files.main]\npath = "stream.log"\n[format]\nkind = "json"\n')
    with serving(command, tmp_path, port, environment(tmp_path)):
        assert get(port, "/buy/7", X_Request_ID="r1") == 200
        assert get(port, "/boom", X_Request_ID="r2") == 500
        assert get(port, "/nowhere", X_Request_ID="r3") == 404
        # The server writes an access record a little after the client has the answer.
        for text in ("GET /buy/7", "GET /boom ", "GET /nowhere"):
            wait_for_lines(tmp_path / "stream.log", text)
    records = [json.loads(line) for line in (tmp_path / "stream.log").read_text().splitlines()]
    texts = [re.sub(r"[\d.]+ms$", "MS", record["body"].split("\n")[0]) for record in records]
    werkzeugs = ("WARNING: This is", " * ", "Press CTRL+C")
    mine = [text for text in texts if not text.startswith(werkzeugs)]
    debug = "--debug" in start
    assert mine[:2] == ["debug 7", "info 7"] if debug else mine[0] == "info 7"
    assert mine.count('127.0.0.1 "GET /buy/7 HTTP/1.1" 200 2 MS') == 1
    assert mine.count('127.0.0.1 "GET /nowhere HTTP/1.1" 404 207 MS') == 1
    assert sum(text.startswith('127.0.0.1 "GET /boom HTTP/1.1" 500 ') for text in mine) == 1
    ids = {record.get("request_id") for record in records if record["body"].startswith(("info", "Exception", "127."))}
    assert ids == {"r1", "r2", "r3"}
    # Without the debugger, Flask logs the exception.
    assert len(mine) == 5, mine
    # Werkzeug's own word about the server is in the stream as well, without colours.
    assert any("Running on" in record["body"] and "\x1b" not in record["body"] for record in records)
    # And nothing of this is on the terminal.
    out = (tmp_path / "out.txt").read_text()
    assert "GET" not in out
    assert "info 7" not in out


def wait_for_lines(path: Path, text: str) -> None:
    limit = 200
    while not (path.exists() and text in path.read_text()) and limit:
        threading.Event().wait(0.05)
        limit -= 1


def test_a_client_that_resets_the_connection_leaves_an_access_record(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "served.py").write_text(SERVED.format(before="", extension="logboom.flask.LogBoom(app)", run=""))
    (tmp_path / "logboom.toml").write_text('[files.main]\npath = "stream.log"\n')
    with serving([sys.executable, "served.py", str(port)], tmp_path, port, environment(tmp_path)):
        for number in range(20):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(f"GET /buy/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                connection.recv(1)
        for number in range(20):
            wait_for_lines(tmp_path / "stream.log", f"GET /buy/{number} ")
    stream = (tmp_path / "stream.log").read_text()
    assert [stream.count(f"GET /buy/{number} ") for number in range(20)] == [1] * 20


def test_without_a_stream_werkzeugs_lines_stay(tmp_path: Path) -> None:
    port = free_port()
    extension = "logboom.flask.LogBoom(app, configure=False)"
    (tmp_path / "served.py").write_text(SERVED.format(before="", extension=extension, run=""))
    with serving([sys.executable, "served.py", str(port)], tmp_path, port, environment(tmp_path)):
        assert get(port, "/buy/7") == 200
        wait_for_lines(tmp_path / "out.txt", "GET /buy/7")
    out = (tmp_path / "out.txt").read_text()
    assert out.count('"GET /buy/7 HTTP/1.1" 200') == 1


# https://flask.palletsprojects.com/en/stable/logging/#basic-configuration, in the test's own words.
BASICS = """
from logging.config import dictConfig
dictConfig({
    "version": 1,
    "formatters": {"short": {"format": "BASIC %(levelname)s %(message)s"}},
    "handlers": {"errors": {"class": "logging.StreamHandler", "stream": "ext://flask.logging.wsgi_errors_stream",
                            "formatter": "short"}},
    "root": {"level": "INFO", "handlers": ["errors"]},
})
"""


def test_the_basics_of_flasks_documentation_keep_working(tmp_path: Path) -> None:
    port = free_port()
    extension = "logboom.flask.LogBoom(app)"
    (tmp_path / "served.py").write_text(SERVED.format(before=BASICS, extension=extension, run=""))
    (tmp_path / "logboom.toml").write_text('[files.main]\npath = "stream.log"\n')
    with serving([sys.executable, "served.py", str(port)], tmp_path, port, environment(tmp_path)):
        assert get(port, "/buy/7") == 200
        wait_for_lines(tmp_path / "stream.log", "GET /buy/7")
    out = (tmp_path / "out.txt").read_text()
    stream = (tmp_path / "stream.log").read_text()
    # The application's handler and the stream have each line once.
    assert out.count("BASIC INFO info 7") == 1
    assert stream.count("info 7") == 1
    assert out.count("GET /buy/7") == stream.count("GET /buy/7") == 1
    # It is the access record, although `dictConfig` disables the loggers that are there before it.
    assert re.search(r'"GET /buy/7 HTTP/1.1" 200 2 [\d.]+ms \| ', stream)


def test_importing_logboom_imports_no_framework() -> None:
    code = (
        "import sys, logboom, logboom.context, logboom.wsgi, logboom.asgi, logboom.flask, logboom.django\n"
        "print([name for name in ('flask', 'django', 'werkzeug', 'asgiref', 'gevent') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], env=environment(Path())).decode() == "[]\n"
