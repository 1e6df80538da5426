"""Any ASGI application: its messages are unchanged, its records belong to the request, and each request ends once."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
import struct
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from logboom import _access, asgi, context, wsgi
from seen import Seen, Table, free_port, serving, wait_for

log = logging.getLogger("shop")


def http(*headers: tuple[bytes, bytes], **given: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/buy",
        "query_string": b"a=1",
        "headers": list(headers),
        "client": ("192.0.2.1", 4711),
    } | given


def websocket(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    found = http(*headers, type="websocket", path="/live")
    del found["method"]
    return found


def ask(app: Any, scope: dict[str, Any], *incoming: dict[str, Any], **options: Any) -> list[Any]:
    """The messages that `app` sends for these."""
    sent: list[Any] = []
    messages = list(incoming)

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asgi.Middleware(app, **options)(scope, receive, send))
    return sent


START = {"type": "http.response.start", "status": 201, "headers": []}


async def hello(scope: Any, receive: Any, send: Any) -> None:
    log.info("in the app")
    context.bind(order=7)
    await send(START)
    await send({"type": "http.response.body", "body": b"hello ", "more_body": True})
    log.info("streaming")
    await send({"type": "http.response.body", "body": b"world"})
    log.info("background")


def test_the_applications_and_the_access_record_belong_to_the_request(seen: Seen, table: Table) -> None:
    sent = ask(hello, http((b"x-request-id", b"r1"), (b"user-agent", b"curl/8")))
    assert [message.get("body") for message in sent] == [None, b"hello ", b"world"]
    assert [record.id for record in seen.named("shop")] == ["r1"] * 3
    assert seen.message("in the app").client == "192.0.2.1"
    (access,) = seen.access()
    assert access.message.startswith('192.0.2.1 "GET /buy?a=1 HTTP/1.1" 201 11 ')
    assert (access.id, access.bound) == ("r1", {"order": 7})
    del access.fields["http.server.request.duration"]
    assert access.fields == {
        "http.response.status_code": 201,
        "http.response.body.size": 11,
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "url.query": "a=1",
        "user_agent.original": "curl/8",
    }
    # The record is there when the answer is complete, not when the work behind it is.
    assert seen.records[-1].message == "background"
    assert (table.begun, table.entries) == (1, {})


def test_lifespan_and_unknown_scopes_pass_through(seen: Seen, table: Table) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        log.info("%s %s", scope["type"], (await receive())["type"])

    for kind in ("lifespan", "sponge"):
        ask(app, {"type": kind}, {"type": "startup"})
    assert [(record.message, record.id) for record in seen.named("shop")] == [
        ("lifespan startup", None),
        ("sponge startup", None),
    ]
    assert table.begun == 0


def test_a_second_middleware_inside_only_passes_on(seen: Seen, table: Table) -> None:
    ask(asgi.Middleware(hello), http())
    assert (table.begun, len(seen.access())) == (1, 1)


def test_an_exception_passes_and_the_server_speaks_of_the_request(seen: Seen, table: Table) -> None:
    async def boom(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def server() -> None:
        with pytest.raises(ZeroDivisionError):
            await asgi.Middleware(boom)(http((b"x-request-id", b"b")), None, None)  # type: ignore[arg-type]
        log.info("the server says what happened")

    asyncio.run(server())
    assert seen.message("the server says what happened").id == "b"
    (access,) = seen.access()
    assert access.fields["http.response.status_code"] == 500
    assert table.entries == {}


def test_an_answer_that_breaks_off_is_marked(seen: Seen, table: Table) -> None:
    async def begins(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        raise ZeroDivisionError

    async def stops(scope: Any, receive: Any, send: Any) -> None:
        await send(START)

    with pytest.raises(ZeroDivisionError):
        ask(begins, http())
    ask(stops, http())
    assert [access.fields["unfinished"] for access in seen.access()] == [True, True]
    assert table.entries == {}


def test_a_cancelled_request_ends_and_is_marked(seen: Seen, table: Table) -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def server() -> None:
        task = asyncio.create_task(asgi.Middleware(waits)(http(), None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(server())
    (access,) = seen.access()
    assert (access.fields["unfinished"], "http.response.status_code" in access.fields) == (True, False)
    assert table.entries == {}


@pytest.mark.parametrize("by_server", [False, True])
def test_a_request_whose_worker_is_ended_stays_in_flight(by_server: bool, seen: Seen, table: Table) -> None:
    async def dies(scope: Any, receive: Any, send: Any) -> None:
        sys.exit(1)

    with pytest.raises(SystemExit):
        ask(dies, http((b"x-request-id", b"d")), access_by_server=by_server)
    assert [entry[0] for entry in table.entries.values()] == ["d"]
    assert seen.access() == []


def test_under_a_server_that_writes_access_records_the_context_stays_for_it(seen: Seen, table: Table) -> None:
    async def server() -> None:
        for name in (b"one", b"two"):
            scope = http((b"x-request-id", name)) | {wsgi.BY_SERVER: True}

            async def send(message: Any) -> None:
                pass

            await asgi.Middleware(hello)(scope, None, send)  # type: ignore[arg-type]
            log.info("the server, after %s", name.decode())
            if name == b"two":
                _access.served(scope[wsgi.REQUEST])
                assert context.current() is None

    asyncio.run(server())
    assert seen.message("the server, after one").id == "one"
    assert seen.message("the server, after two").id == "two"
    assert (seen.access(), table.entries) == ([], {})


def test_the_route_of_starlette_and_fastapi_names_the_endpoint(seen: Seen) -> None:
    class Route:
        path = "/buy/{number}"

    async def routed(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = Route()
        await hello(scope, receive, send)

    ask(routed, http())
    assert seen.access()[0].endpoint == "/buy/{number}"


# --- Websockets ------------------------------------------------------------------------------------------------------


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            log.info("gone")
            return
        log.info("message %s", message["text"])
        await send({"type": "websocket.send", "text": message["text"]})


CONNECT = {"type": "websocket.connect"}


@pytest.mark.parametrize("by_server", [False, True])
def test_a_websocket_is_one_request_with_one_access_record(by_server: bool, seen: Seen, table: Table) -> None:
    text = {"type": "websocket.receive", "text": "h\u00e9"}
    gone = {"type": "websocket.disconnect", "code": 1001}
    scope = websocket((b"x-request-id", b"w"))
    ask(echo, scope, CONNECT, text, text, gone, access_by_server=by_server)
    assert {record.id for record in seen.named("shop")} == {"w"}
    (access,) = seen.access()
    assert access.message.startswith('192.0.2.1 "GET /live?a=1 HTTP/1.1" 101 6 ')
    assert access.fields["websocket.close_code"] == 1001
    assert "unfinished" not in access.fields
    assert table.entries == {}


def test_a_refused_websocket(seen: Seen) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    async def deny(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    ask(refuse, websocket(), CONNECT)
    ask(deny, websocket(), CONNECT)
    assert [access.fields["http.response.status_code"] for access in seen.access()] == [403, 401]
    assert seen.access()[1].fields["http.response.body.size"] == 2


# --- A real server ---------------------------------------------------------------------------------------------------

APP = """
import asyncio, logging
import seen
seen.report_to({report!r})
# Uvicorn's own records do not go to the root logger.
logging.getLogger("uvicorn.error").addHandler(logging.getLogger().handlers[0])
import logboom.asgi
from logboom import context
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({{"type": "lifespan.startup.complete"}})
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    if scope["path"] == "/boom":
        raise ZeroDivisionError
    logging.info("first")
    await asyncio.sleep(0.05)
    with context.bind(path=scope["path"]):
        await asyncio.to_thread(logging.info, "second")
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"o", "more_body": True}})
    await send({{"type": "http.response.body", "body": b"k"}})
application = logboom.asgi.Middleware(app)
"""


def test_under_uvicorn_requests_at_once_are_kept_apart(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is in tests/python/requirements.txt")
    port, report = free_port(), tmp_path / "report"
    (tmp_path / "served.py").write_text(APP.format(report=str(report)))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))}
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-access-log", "served:application"]
    with serving(command, tmp_path, port, env):

        def one(number: int) -> None:
            url = f"http://127.0.0.1:{port}/{number}"
            asked = urllib.request.Request(url, headers={"X-Request-ID": f"u{number}"})
            assert urllib.request.urlopen(asked, timeout=10).read() == b"ok"

        threads = [threading.Thread(target=one, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Twice over one connection: uvicorn may begin a request in what the one before has left.
        two = [f"GET /k{n} HTTP/1.1\r\nHost: x\r\nX-Request-ID: k{n}\r\n\r\n".encode() for n in (1, 2)]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"".join(two))
            wait_for(report, 12)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{port}/boom", headers={"X-Request-ID": "boom"}), timeout=10
            )
        records = wait_for(report, 13)
    for id in [*(f"u{number}" for number in range(10)), "k1", "k2"]:
        mine = [record for record in records if record.id == id]
        assert sorted(record.path or "" for record in mine) == [f"/{id.lstrip('u')}"] * 3
        assert [record.bound for record in mine if record.message == "second"] == [{"path": f"/{id.lstrip('u')}"}]
    boom = [(record.name, record.message.split("\n")[0]) for record in records if record.id == "boom"]
    assert boom[0][0] == "logboom.access"
    assert boom[1] == ("uvicorn.error", "Exception in ASGI application")


def test_a_websocket_under_uvicorn(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is in tests/python/requirements.txt")
    pytest.importorskip("wsproto", reason="wsproto is in tests/python/requirements.txt")
    port, report = free_port(), tmp_path / "report"
    (tmp_path / "served.py").write_text(ECHO.format(report=str(report)))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))}
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-access-log", "--lifespan", "off"]
    with serving([*command, "served:application"], tmp_path, port, env):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            key = base64.b64encode(os.urandom(16)).decode()
            connection.sendall(
                (
                    "GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nX-Request-ID: ws\r\n\r\n"
                ).encode()
            )
            file = connection.makefile("rb")
            while file.readline() != b"\r\n":
                pass
            # A text frame from a client, masked with zeros, and its echo.
            connection.sendall(b"\x81\x85\0\0\0\0hello")
            assert file.read(7) == b"\x81\x05hello"
            connection.sendall(b"\x88\x82\0\0\0\0" + struct.pack("!H", 1000))
            file.read(4)
        records = wait_for(report, 1)
    assert {record.id for record in records if record.name in ("shop", "logboom.access")} == {"ws"}
    (access,) = [record for record in records if record.name == "logboom.access"]
    assert access.fields["http.response.status_code"] == 101
    assert access.fields["websocket.close_code"] == 1000


ECHO = """
import logging
import seen
seen.report_to({report!r})
import logboom.asgi
async def app(scope, receive, send):
    await receive()
    await send({{"type": "websocket.accept"}})
    while (message := await receive())["type"] != "websocket.disconnect":
        logging.getLogger("shop").info("echo")
        await send({{"type": "websocket.send", "text": message["text"]}})
application = logboom.asgi.Middleware(app)
"""
