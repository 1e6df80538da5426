"""Any WSGI application: its answer is unchanged, its records belong to the request, and each request ends once."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from logboom import _access, _requests, context, wsgi
from seen import Seen, Table, free_port, serving, wait_for

log = logging.getLogger("shop")


def environ(**given: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"REMOTE_ADDR": "192.0.2.1", "SERVER_PROTOCOL": "HTTP/1.1", "PATH_INFO": "/buy"}
    setup_testing_defaults(made)
    return made | given


def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
    return lambda data: None


def answer(app: Any, of: dict[str, Any] | None = None, **options: Any) -> Any:
    return wsgi.Middleware(app, **options)(environ() if of is None else of, start_response)


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    log.info("in the app")
    context.bind(order=7)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello ", b"world"]


def test_the_applications_and_the_access_record_belong_to_the_request(seen: Seen, table: Table) -> None:
    of = environ(HTTP_X_REQUEST_ID="r1", QUERY_STRING="a=1", HTTP_USER_AGENT="curl/8", HTTP_REFERER="http://x/")
    body = answer(hello, of)
    assert list(table.entries.values()) == [("r1", "GET", "/buy", "192.0.2.1")]
    assert b"".join(body) == b"hello world"
    body.close()
    app = seen.message("in the app")
    assert (app.id, app.method, app.path, app.client) == ("r1", "GET", "/buy", "192.0.2.1")
    (access,) = seen.access()
    assert access.message.startswith('192.0.2.1 "GET /buy?a=1 HTTP/1.1" 200 11 ')
    assert access.message.endswith("ms")
    assert (access.id, access.bound) == ("r1", {"order": 7})
    duration = access.fields.pop("http.server.request.duration")
    assert 0 <= duration < 5
    assert access.fields == {
        "http.response.status_code": 200,
        "http.response.body.size": 11,
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "url.query": "a=1",
        "user_agent.original": "curl/8",
        "http.request.header.referer": "http://x/",
    }
    assert table.entries == {}
    assert context.current() is None


def test_a_second_middleware_inside_only_passes_on(seen: Seen, table: Table) -> None:
    body = answer(wsgi.Middleware(wsgi.Middleware(hello)))
    list(body)
    body.close()
    assert (table.begun, len(seen.access())) == (1, 1)


def test_a_request_inside_of_a_request_comes_back_to_the_outer_one(seen: Seen, table: Table) -> None:
    def outer(environ_: dict[str, Any], start_response: Any) -> list[bytes]:
        body = answer(hello, environ(HTTP_X_REQUEST_ID="inner"))
        list(body)
        body.close()
        log.info("outer again")
        return hello(environ_, start_response)

    body = answer(outer, environ(HTTP_X_REQUEST_ID="outer"))
    list(body)
    body.close()
    assert seen.message("outer again").id == "outer"
    assert [access.id for access in seen.access()] == ["inner", "outer"]
    assert table.entries == {}


def test_a_streaming_response_keeps_its_request_until_it_is_closed(seen: Seen, table: Table) -> None:
    def stream(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            for number in range(3):
                log.info("chunk %d", number)
                yield b"x" * 10
        finally:
            log.info("closing")

    body = answer(stream, environ(HTTP_X_REQUEST_ID="s"))
    assert next(body) == b"x" * 10
    assert len(table.entries) == 1
    body.close()
    assert {record.id for record in seen.records} == {"s"}
    assert seen.message("closing")
    (access,) = seen.access()
    assert (access.fields["http.response.body.size"], access.fields["unfinished"]) == (10, True)
    assert access.message.endswith(" unfinished")
    assert table.entries == {}


def test_the_write_callable_is_counted(seen: Seen) -> None:
    def writes(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"12345")
        return []

    body = answer(writes)
    list(body)
    body.close()
    assert seen.access()[0].fields["http.response.body.size"] == 5


def test_the_length_of_a_list_is_kept_and_the_body_of_a_head_is_no_loss(seen: Seen) -> None:
    body = answer(hello, environ(REQUEST_METHOD="HEAD"))
    assert len(body) == 2
    body.close()
    assert "unfinished" not in seen.access()[0].fields


def test_the_middleware_keeps_to_the_protocol(seen: Seen) -> None:
    of = environ(QUERY_STRING="", SCRIPT_NAME="")
    body = validator(wsgi.Middleware(validator(hello_without_pitfalls)))(of, start_response)
    assert b"".join(body) == b"hello"
    body.close()


def hello_without_pitfalls(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


# --- Errors ----------------------------------------------------------------------------------------------------------


def boom(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ZeroDivisionError


def boom_later(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"x"
    raise ZeroDivisionError


def test_an_exception_passes_and_the_server_speaks_of_the_request(seen: Seen, table: Table) -> None:
    with pytest.raises(ZeroDivisionError):
        answer(boom, environ(HTTP_X_REQUEST_ID="b"))
    log.info("the server says what happened")
    assert seen.message("the server says what happened").id == "b"
    (access,) = seen.access()
    assert (access.id, access.fields["http.response.status_code"]) == ("b", 500)
    assert table.entries == {}
    body = answer(hello)
    body.close()
    assert context.current() is None


def test_an_exception_in_a_stream_passes_and_is_marked(seen: Seen, table: Table) -> None:
    body = answer(boom_later)
    next(body)
    with pytest.raises(ZeroDivisionError):
        next(body)
    body.close()
    assert seen.access()[0].fields["unfinished"] is True
    assert table.entries == {}


@pytest.mark.parametrize("by_server", [False, True])
@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_request_whose_worker_is_ended_stays_in_flight(
    by_server: bool, ending: type[BaseException], seen: Seen, table: Table
) -> None:
    def dies(environ: dict[str, Any], start_response: Any) -> Any:
        raise ending

    with pytest.raises(ending):
        answer(dies, environ(HTTP_X_REQUEST_ID="d"), access_by_server=by_server)
    assert [entry[0] for entry in table.entries.values()] == ["d"]
    assert seen.access() == []
    # The thread that was to end has survived: it has the next request.
    answer(hello, access_by_server=by_server).close()
    assert table.entries == {}
    assert context.current() is None


@pytest.mark.parametrize("by_server", [False, True])
def test_a_streaming_request_whose_worker_is_ended_stays_in_flight(by_server: bool, seen: Seen, table: Table) -> None:
    def dies(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        sys.exit(1)

    def server() -> None:
        of = environ(HTTP_X_REQUEST_ID="d")
        body = answer(dies, of, access_by_server=by_server)
        try:
            for _ in body:
                pass
        finally:
            if by_server:
                _access.served(of[wsgi.REQUEST])
            body.close()

    with pytest.raises(SystemExit):
        server()
    assert [entry[0] for entry in table.entries.values()] == ["d"]
    assert seen.access() == []
    answer(hello, access_by_server=by_server).close()
    assert table.entries == {}


def test_a_server_that_does_not_close_leaves_nothing_behind(seen: Seen, table: Table) -> None:
    for _ in range(5):
        body = answer(hello)
        next(iter(body))
    del body
    assert context.current() is None
    assert table.entries == {}
    assert [access.fields["unfinished"] for access in seen.access()] == [True] * 5


def test_neither_a_closed_log_nor_a_failing_filter_reaches_the_application(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def recorded(self) -> int:
            return 0

        def begin_request(self, *entry: str) -> int:
            raise ValueError("closed")

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("filter")

    monkeypatch.setattr(_requests, "log", Closed())
    access = logging.getLogger("logboom.access")
    access.addFilter(fail)
    try:
        body = answer(hello)
        assert b"".join(body) == b"hello world"
        body.close()
    finally:
        access.removeFilter(fail)


# --- Under a server that writes access records ------------------------------------------------------------------------


def test_the_server_ends_the_request_and_gets_the_applications_own_iterator(seen: Seen, table: Table) -> None:
    chunks = iter([b"x"])

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return chunks

        def close(self) -> None:
            log.info("body closed")

    def app(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [])
        return Body()

    of = environ(HTTP_X_REQUEST_ID="g")
    of[wsgi.BY_SERVER] = True
    body = answer(app, of)
    assert iter(body) is chunks
    _access.served(of[wsgi.REQUEST])
    assert table.entries == {}
    body.close()
    assert seen.message("body closed").id == "g"
    assert seen.access() == []
    assert context.current() is None


def test_what_a_server_knows_by_identity_stays_itself(table: Table) -> None:
    already_handled = object()
    of = environ()
    assert answer(lambda environ, start: already_handled, of, access_by_server=True) is already_handled
    assert table.entries == {}
    _access.served(of[wsgi.REQUEST])
    assert context.current() is None


@pytest.mark.parametrize("by_server", [False, True])
def test_a_file_wrapper_is_not_wrapped(by_server: bool, seen: Seen, table: Table) -> None:
    closed = []

    class File(io.BytesIO):
        def close(self) -> None:
            closed.append(context.current())
            super().close()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](File(b"content"))

    of = environ(HTTP_X_REQUEST_ID="f")
    of["wsgi.file_wrapper"] = FileWrapper
    body = answer(app, of, access_by_server=by_server)
    assert type(body) is FileWrapper
    assert len(table.entries) == 1
    if by_server:
        _access.served(of[wsgi.REQUEST])
    body.close()
    assert len(closed) == 1
    assert table.entries == {}
    assert context.current() is None
    if not by_server:
        (access,) = seen.access()
        assert (access.id, access.fields["http.response.status_code"]) == ("f", 200)
        assert "http.response.body.size" not in access.fields


def test_a_file_that_the_server_knows_by_identity_is_not_wrapped(seen: Seen, table: Table) -> None:
    # As uWSGI has it: `wsgi.file_wrapper` is a function that gives back the file.
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file)

    of = environ()
    of["wsgi.file_wrapper"] = lambda file: file
    with open(os.devnull, "rb") as file:
        assert answer(app, of) is file
    assert len(seen.access()) == 1
    assert table.entries == {}


# --- Access records --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile",
    [
        '/a" 200 5 1.0ms\n192.0.2.9 "GET /forged HTTP/1.1',
        "/line\r\nfeed",
        "/\x1b[2Jescape",
        "/nul\0",
        "/next\x85line\u2028",
        "/\u202ebidi",
        "/\udc80surrogate",
        "/back\\slash\\",
    ],
)
def test_no_value_forges_a_field_or_a_line(hostile: str) -> None:
    request = context.Request("r", "GET", hostile, "192.0.2.1")
    record = _access.access_record(request, 200, 5, 0.0012, "HTTP/1.1")
    message = record.getMessage()
    assert message.isprintable()
    assert message.startswith('192.0.2.1 "GET /')
    quoted, rest = message[len('192.0.2.1 "') :].rsplit('" ', 1)
    assert rest == "200 5 1.2ms"
    assert '"' not in quoted.replace("\\\\", "").replace('\\"', "")


def test_a_path_is_decoded_and_bounded(seen: Seen) -> None:
    for path in ("/caf\u00c3\u00a9", "/\u00ff", "/" + "x" * 1_000_000, "/" + "\u00c3\u00a9" * 1_000_000):
        body = answer(hello, environ(PATH_INFO=path, SCRIPT_NAME="/shop"))
        body.close()
    paths = [access.path for access in seen.access()]
    assert paths[:2] == ["/shop/caf\u00e9", "/shop/\ufffd"]
    assert all(path is not None and len(path) < 2100 and path.endswith("]") for path in paths[2:])
    assert all(len(access.message) < 5000 for access in seen.access())


def test_headers_and_query_are_bounded(seen: Seen) -> None:
    long = "x" * 1_000_000
    body = answer(hello, environ(HTTP_USER_AGENT=long, HTTP_REFERER=long, QUERY_STRING=long, SERVER_PROTOCOL=long))
    body.close()
    (access,) = seen.access()
    assert all(len(str(value)) < 2200 for value in access.fields.values())


def test_health_probes_are_quiet_until_they_fail(seen: Seen) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(environ["test.status"], [])
        return [b""]

    _access.configure(quiet=["/healthz", "/probes/*"])
    try:
        for path in ("/healthz", "/probes/live", "/healthz/not", "/buy"):
            for status in ("204 No Content", "503 Service Unavailable"):
                body = answer(app, environ(PATH_INFO=path) | {"test.status": status})
                list(body)
                body.close()
        _access.configure(enabled=False)
        answer(hello).close()
    finally:
        _access.configure()
    assert [(access.path, access.fields["http.response.status_code"]) for access in seen.access()] == [
        ("/healthz", 503),
        ("/probes/live", 503),
        ("/healthz/not", 204),
        ("/healthz/not", 503),
        ("/buy", 204),
        ("/buy", 503),
    ]


def test_the_page_has_each_field_and_each_limit(seen: Seen) -> None:
    page = (Path(__file__).parents[2] / "docs/context.md").read_text()
    of = environ(QUERY_STRING="a=1", HTTP_USER_AGENT="curl/8", HTTP_REFERER="http://x/")
    body = answer(hello, of)
    next(body)
    body.close()
    (access,) = seen.access()
    assert len(access.fields) == 9
    for name in access.fields:
        assert f"`{name}`" in page, name
    for limit in (
        f"1 to {context.ID_CHARS_MAX} characters",
        f"path {context.PATH_CHARS_MAX} characters",
        f"client {context.TEXT_CHARS_MAX}",
        f"at most {context.BOUND_FIELDS_MAX} fields",
        f"`{context.FIELDS_DROPPED}`",
        f"query, {_access.QUERY_CHARS_MAX} characters",
        f"headers, {_access.HEADER_CHARS_MAX} characters",
    ):
        assert limit in page, limit


# --- Real servers ----------------------------------------------------------------------------------------------------


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_under_the_standard_librarys_server(seen: Seen, table: Table) -> None:
    server = make_server("127.0.0.1", 0, wsgi.Middleware(hello), handler_class=Quiet)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    asked = urllib.request.Request(f"http://127.0.0.1:{server.server_port}/buy", headers={"X-Request-ID": "real"})
    assert urllib.request.urlopen(asked, timeout=10).read() == b"hello world"
    thread.join()
    server.server_close()
    assert {record.id for record in seen.named("shop")} == {"real"}
    (access,) = seen.access()
    assert (access.id, access.client, access.fields["http.response.body.size"]) == ("real", "127.0.0.1", 11)


GEVENT = """
from gevent import monkey; monkey.patch_all()
import logging, time
import seen
seen.report_to({report!r})
from logboom import wsgi, context
def app(environ, start_response):
    logging.info("first")
    time.sleep(0.05)
    with context.bind(path=environ["PATH_INFO"]):
        logging.info("second")
    start_response("200 OK", [])
    return [b"ok"]
from gevent.pywsgi import WSGIServer
WSGIServer(("127.0.0.1", {port}), wsgi.Middleware(app), log=None).serve_forever()
"""


def test_under_gevents_server_requests_at_once_are_kept_apart(tmp_path: Path) -> None:
    pytest.importorskip("gevent", reason="gevent is in tests/python/requirements.txt")
    port, report = free_port(), tmp_path / "report"
    (tmp_path / "served.py").write_text(GEVENT.format(report=str(report), port=port))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with serving([sys.executable, "served.py"], tmp_path, port, env):

        def ask(number: int) -> None:
            url = f"http://127.0.0.1:{port}/{number}"
            urllib.request.urlopen(urllib.request.Request(url, headers={"X-Request-ID": f"g{number}"}), timeout=10)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = wait_for(report, 10)
    for number in range(10):
        mine = [record for record in records if record.id == f"g{number}"]
        assert sorted(record.path for record in mine) == [f"/{number}"] * 3
        assert [record.bound for record in mine if record.message == "second"] == [{"path": f"/{number}"}]
