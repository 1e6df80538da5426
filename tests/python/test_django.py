"""Django, under WSGI and ASGI: records belong to the request, with its route and its user once that is known."""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from seen import Record, free_port, serving, wait_for

pytest.importorskip("django", reason="django is in tests/python/requirements.txt")

# The whole application; the tests start it in processes of their own, since Django is configured once per process.
APP = """
import asyncio, json, logging, sys, threading
import django
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
import seen
seen.report_to({report!r})

class Accounts:
    # What AuthenticationMiddleware does: the user is loaded when somebody asks for it.
    def __init__(self, get_response):
        self.get_response = get_response
    def __call__(self, request):
        class User:
            is_authenticated, pk = True, 42
        def load():
            request._cached_user = User()
            return request._cached_user
        request.load_user = load
        return self.get_response(request)

settings.configure(
    DEBUG=False, SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING_CONFIG=None,
    MIDDLEWARE=["logboom.django.Middleware", "served.Accounts"],
)
log = logging.getLogger("shop")

def buy(request, number):
    from logboom import context
    log.info("buying")
    context.bind(order=number)
    return HttpResponse("ok")
async def buy_async(request, number):
    await asyncio.sleep(0.01)
    log.info("buying")
    from logboom import context
    context.bind(order=number)
    return HttpResponse("ok")
def account(request):
    request.load_user()
    return HttpResponse("ok")
def boom(request):
    raise ZeroDivisionError
def stream(request):
    def chunks():
        for part in range(3):
            log.info("chunk")
            yield "x"
    return StreamingHttpResponse(chunks())

urlpatterns = [
    path("buy/<int:number>/", buy), path("async/<int:number>/", buy_async), path("account/", account),
    path("boom/", boom), path("stream/", stream),
]
sys.modules.setdefault("served", sys.modules[__name__])
django.setup()
wrapped = {wrapped!r}
if {kind!r} == "wsgi":
    from django.core.wsgi import get_wsgi_application
    from logboom.wsgi import Middleware
    application = get_wsgi_application()
else:
    from django.core.asgi import get_asgi_application
    from logboom.asgi import Middleware
    application = get_asgi_application()
if wrapped:
    application = Middleware(application)
if __name__ == "__main__":
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIServer, make_server
    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
    make_server("127.0.0.1", int(sys.argv[1]), application, Server).serve_forever()
"""

PATHS = ("/buy/7/", "/async/8/", "/account/", "/boom/", "/stream/", "/nowhere/")


def get(port: int, path: str) -> int:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-Request-ID": path.strip("/")})
    try:
        with urllib.request.urlopen(asked, timeout=20) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def served(tmp_path: Path, kind: str, wrapped: bool) -> list[Record]:
    """All records of a server that was asked for each of the paths, at once."""
    port, report = free_port(), tmp_path / "report"
    (tmp_path / "served.py").write_text(APP.format(report=str(report), kind=kind, wrapped=wrapped))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))}
    command = [sys.executable, "served.py", str(port)]
    if kind == "asgi":
        pytest.importorskip("uvicorn", reason="uvicorn is in tests/python/requirements.txt")
        options = ["--no-access-log", "--lifespan", "off", "--port", str(port)]
        command = [sys.executable, "-m", "uvicorn", *options, "served:application"]
    statuses: dict[str, int] = {}
    with serving(command, tmp_path, port, env):
        threads = [
            threading.Thread(target=lambda path: statuses.update({path: get(port, path)}), args=(path,))
            for path in PATHS
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = wait_for(report, len(PATHS))
    assert statuses == dict(zip(PATHS, (200, 200, 200, 500, 200, 404), strict=True)), (tmp_path / "out.txt").read_text()
    return records


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "middleware alone"])
@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_records_have_the_request_its_route_and_its_user(kind: str, wrapped: bool, tmp_path: Path) -> None:
    records = served(tmp_path, kind, wrapped)
    access = {record.path: record for record in records if record.name == "logboom.access"}
    assert sorted(access) == sorted(PATHS)
    assert sum(record.name == "logboom.access" for record in records) == len(PATHS)
    for path, route in (("/buy/7/", "/buy/<int:number>/"), ("/async/8/", "/async/<int:number>/")):
        (view,) = [record for record in records if record.message == "buying" and record.id == path.strip("/")]
        for record in (view, access[path]):
            assert (record.path, record.client, record.endpoint) == (path, "127.0.0.1", route)
        assert access[path].bound == {"order": 7 if "7" in path else 8}
        assert access[path].fields["http.response.status_code"] == 200
        assert access[path].fields["http.response.body.size"] == 2
    assert [access[path].user for path in PATHS] == ["", "", "42", "", "", ""]
    assert access["/boom/"].fields["http.response.status_code"] == 500
    assert access["/nowhere/"].endpoint == ""
    # Django's own record of the exception.
    (error,) = [record for record in records if record.message.startswith("Internal Server Error")]
    assert error.id == "boom"
    chunks = [record.id for record in records if record.message == "chunk"]
    # What is sent after the middlewares have ended is covered by a wrapped application alone.
    assert chunks == (["stream"] * 3 if wrapped else [None] * 3)


def test_health_probes_and_settings_are_those_of_the_stream(tmp_path: Path) -> None:
    """Through the real stream: one line for each request, in JSON, with the route."""
    (tmp_path / "logboom.toml").write_text(
        '[files.main]\npath = "stream.log"\n[format]\nkind = "json"\n[access]\nquiet = ["/account/"]\n'
    )
    source = APP.replace("import seen\nseen.report_to({report!r})", "import logboom; logboom.configure()")
    port = free_port()
    (tmp_path / "served.py").write_text(source.format(kind="wsgi", wrapped=True))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), *sys.path]))}
    with serving([sys.executable, "served.py", str(port)], tmp_path, port, env):
        assert [get(port, path) for path in ("/account/", "/buy/7/")] == [200, 200]
    found = [json.loads(line) for line in (tmp_path / "stream.log").read_text().splitlines()]
    assert [record["otel.scope.name"] for record in found] == ["shop", "logboom.access"]
    assert {record["request_id"] for record in found} == {"buy/7"}
    assert {record["http.route"] for record in found} == {"/buy/<int:number>/"}
