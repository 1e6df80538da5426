"""`[ship.NAME]`: which records are shipped, that they are redacted, and that the native side's own are there."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import logboom
import pytest
from accounts import wait_until
from receivers import Receiver, end_relays, free_port
from servers import FLASK_APP, serve


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    end_relays(tmp_path)


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Any]:
    """Puts configurations in force, and takes the last one back."""
    installed: list[Any] = []

    def configure(**overrides: Any) -> Any:
        files = {"main": {"path": str(tmp_path / "app.log")}}
        installed.append(logboom.configure(**{"files": files, **overrides}))
        return installed[-1]

    yield configure
    if installed:
        installed[-1].remove()


def test_routes_decide_what_is_shipped(configured: Any) -> None:
    with Receiver() as receiver, Receiver() as errors:
        ships = {
            "all": {"to": f"tcp://127.0.0.1:{receiver.port}", "components": "shop", "except": "shop.noise"},
            "errors": {"to": f"tcp://127.0.0.1:{errors.port}", "level": "error"},
        }
        configured(ship=ships)
        logging.getLogger("other").error("an error of another")
        logging.getLogger("shop.noise").error("noise")
        logging.getLogger("shop.db").info("a query")
        logging.getLogger("shop").debug("below the level")
        logging.getLogger("shop").error("last")
        receiver.wait_for_text("last")
        errors.wait_for_text("last")
        assert [message.text for message in receiver.messages()] == ["a query", "last"]
        assert [message.text for message in errors.messages()] == ["an error of another", "noise", "last"]


def test_nothing_secret_leaves_the_process(configured: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        configured(ship={"a": {"to": f"tcp://127.0.0.1:{receiver.port}"}})
        logging.getLogger("shop").warning("login password=%s", "hunter2", extra={"token": "sesame", "user": "eve"})
        [message] = receiver.wait_for(1)
    assert message.data["token"] == "[redacted]"
    assert message.data["user"] == "eve"
    spooled = b"".join(path.read_bytes() for path in (tmp_path / ".logboom-spool").iterdir() if path.is_file())
    for secret in (b"hunter2", b"sesame"):
        assert secret not in b"".join(receiver.got) + spooled


def test_a_new_address_is_used_without_a_new_start(configured: Any) -> None:
    with Receiver() as first, Receiver() as second:
        configured(ship={"a": {"to": f"tcp://127.0.0.1:{first.port}"}})
        logging.getLogger("shop").warning("to the first")
        first.wait_for_text("to the first")
        configured(ship={"a": {"to": f"tcp://127.0.0.1:{second.port}"}})
        logging.getLogger("shop").warning("to the second")
        second.wait_for_text("to the second")
        assert [message.text for message in first.messages()] == ["to the first"]


TRAIL = """
import logging
log = logging.getLogger("shop")
from flask import Flask
app = Flask("app")
@app.get("/buy/<number>")
def buy(number):
    log.debug("looking at %s", number)
    if number == "13":
        log.error("no %s", number)
    return "ok"
"""


@pytest.mark.parametrize("kind", ["text", "json"])
def test_the_trail_of_a_failed_request_is_shipped(tmp_path: Path, kind: str) -> None:
    with Receiver() as receiver:
        toml = f"""
recorder = {{ level = "debug", rewind_on = "error" }}
[files.main]
path = "app.log"
[ship.central]
to = "tcp://127.0.0.1:{receiver.port}"
components = ["shop"]
"""
        with serve(tmp_path, TRAIL, toml=toml, json_lines=False, LOGBOOM_FORMAT=kind) as server:
            server.get("/buy/12")
            server.get("/buy/13")
            receiver.wait_for_text("no 13")
        trail, error = receiver.messages()
    assert (trail.text, trail.data["rewound"], error.text) == ("looking at 13", "true", "no 13")


def test_spools_can_be_read_by_their_owner_alone(configured: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        configured(ship={"a": {"to": f"tcp://127.0.0.1:{receiver.port}"}})
        logging.getLogger("shop").warning("hello")
        receiver.wait_for(1)
        root = tmp_path / ".logboom-spool"
        wait_until((root / "a.status").exists, "figures are stored")
        assert root.stat().st_mode & 0o777 == 0o700
        modes = {path.name: path.stat().st_mode & 0o777 for path in root.iterdir() if not path.name.startswith(".")}
        assert set(modes) >= {"a.spool", "a.toml", "a.cursor", "a.status", "relay.sock"}
        assert set(modes.values()) == {0o600}, modes


def test_a_spool_that_cannot_be_made_is_refused_at_the_start(configured: Any, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("no directory")
    with pytest.raises(OSError, match=r"failed to open the spool of `ship\.a`"):
        configured(ship={"a": {"to": "tcp://127.0.0.1:1", "spool": {"path": str(tmp_path / "blocked")}}})


DIES = (
    FLASK_APP
    + """
import ctypes
@app.get("/native")
def native():
    ctypes.CDLL(None).puts(b"printed by C")
    ctypes.CDLL(None).fflush(None)
    return "ok"
@app.get("/die")
def die():
    log.warning("before")
    os.kill(os.getpid(), 9)
"""
)


def test_gunicorn_ships_everything_its_stream_has(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = f"""
[files.main]
path = "app.log"
[ship.central]
to = "tcp://127.0.0.1:{receiver.port}"
"""
        with serve(tmp_path, DIES, "-w", "2", toml=toml) as server:
            server.get("/buy/7", headers={"X-Request-ID": "r-7"})
            server.get("/native")
            with pytest.raises(ConnectionError):
                server.get("/die", headers={"X-Request-ID": "r-die"})
            order = receiver.wait_for_text("order 7")
            assert (order.app_name, order.data["request_id"], order.data["url.path"]) == ("shop", "r-7", "/buy/7")
            assert receiver.wait_for_text("printed 7").app_name == "stdout"
            assert receiver.wait_for_text("printed by C").app_name == "stdout"
            box = receiver.wait_for_text("was killed by SIGKILL")
            assert box.app_name == "logboom.blackbox"
            receiver.wait_for_text("Listening at")
            server.get("/buy/8")
            receiver.wait_for_text("order 8")
        receiver.wait_for_text("Shutting down: Master")
        wait_until(lambda: not (tmp_path / ".logboom-spool/relay.sock").exists(), "the relay has left with the server")
        shipped = {message.data["id"] for message in receiver.messages()}
        assert len(shipped) == len(receiver.messages()), "nothing was sent twice"
        written = list(server.records("app.log"))
        kinds = [(record["otel.scope.name"], record["body"]) for record in written]
        got = [(message.app_name, message.text) for message in receiver.messages()]
        assert sorted(kinds) == sorted(got)


def test_gunicorn_s_own_syslog_settings_are_a_destination(tmp_path: Path) -> None:
    with Receiver(tcp=False) as receiver:
        options = ["--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{receiver.port}", "--log-syslog-prefix", "shop"]
        env = {"XDG_STATE_HOME": str(tmp_path / "state")}
        with serve(tmp_path, FLASK_APP, *options, "--log-syslog-facility", "local2", **env) as server:
            server.get("/buy/9")
            order = receiver.wait_for_text("order 9")
            assert (order.priority, order.app_name, order.kind) == ((18 << 3) + 6, "gunicorn.shop", "shop")
            access = receiver.wait_for_text("GET /buy/9")
            assert access.kind == "gunicorn.access"


def test_gunicorn_keeps_access_records_from_syslog_when_told_to(tmp_path: Path) -> None:
    with Receiver(tcp=False) as receiver:
        options = ["--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{receiver.port}"]
        env = {"XDG_STATE_HOME": str(tmp_path / "state")}
        options += ["--disable-redirect-access-to-syslog"]
        with serve(tmp_path, FLASK_APP, *options, **env) as server:
            server.get("/buy/9")
            server.get("/buy/10")
            receiver.wait_for_text("order 10")
            assert "gunicorn.access" not in {message.kind for message in receiver.messages()}


def test_a_worker_killed_with_its_relay_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    toml = f"""
[files.main]
path = "app.log"
[ship.central]
to = "tcp://127.0.0.1:{port}"
retry = {{ most = "200 ms" }}
"""
    with serve(tmp_path, FLASK_APP, "-w", "2", toml=toml) as server:
        for number in range(20):
            server.get(f"/buy/{number}")
        root = tmp_path / ".logboom-spool"
        wait_until((root / "central.status").exists, "a relay runs")
        relay = int((root / "central.status").read_text().partition('"relay":')[2].partition(",")[0])
        os.kill(relay, signal.SIGKILL)
        os.kill(server.workers()[0], signal.SIGKILL)
        for number in range(20, 40):
            wait_until(lambda number=number: server.answers(f"/buy/{number}"), "it is answered")
        with Receiver(port=port) as receiver:
            for number in range(40):
                receiver.wait_for_text(f"order {number}")
