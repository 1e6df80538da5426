"""An access record that only our handler would see is written without a `LogRecord`, and says the same.

Whoever wants to see a record sees one."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from accounts import run

# A program with an application in our middleware; `brief` counts the records that were written without a `LogRecord`.
START = """
import json, logging, os, sys
import logboom
from logboom import _access, _stream_handler, context, wsgi
os.chdir(sys.argv[1])
brief, native = [], _stream_handler.publish_brief
def counted(*args):
    answer = native(*args)
    brief.append(args[4])
    return answer
_stream_handler.publish_brief = counted
def application(environ, start_response):
    context.bind(order="7\\n8", password="hush")
    start_response("200 OK", [])
    return [b"hello"]
middleware = wsgi.Middleware(application)
def ask(path="/caf\\u00c3\\u00a9"):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "a=\\u00e9", "REMOTE_ADDR": "192.0.2.1",
               "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_USER_AGENT": "who\\x1b", "HTTP_REFERER": "/token=abcdef",
               "HTTP_X_REQUEST_ID": "r-1"}
    body = middleware(environ, lambda status, headers, exc_info=None: len)
    list(body)
    body.close()
def configure(**values):
    values = {"files": {"main": {"path": "app.log"}}} | values
    return logboom.configure(**values)
class Seen(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []
    def emit(self, record):
        self.records.append(record)
    def filter(self, record):
        self.records.append(record)
        return True
seen = Seen()
"""


def check(folder: Path, code: str) -> None:
    run(START + textwrap.dedent(code), folder)


def said(folder: Path, kind: str, name: str = "app.log") -> list[str]:
    """The lines without what is another each time."""
    found = []
    for line in (folder / name).read_text().splitlines():
        if kind == "json":
            values = json.loads(line)
            for key in ("timestamp", "time", "http.server.request.duration"):
                values.pop(key, None)
            values["body"] = values["body"].rpartition(" ")[0]
            found.append(json.dumps([list(values), values]))
        else:
            words = line.split(" ")
            changing = ("time=", "timestamp=", "http.server.request.duration=")
            found.append(" ".join(word for word in words[2:] if not word.startswith(changing) and "ms" not in word))
    return found


@pytest.mark.parametrize("kind", ["text", "logfmt", "json"])
@pytest.mark.parametrize("own_file", [False, True])
def test_both_ways_write_the_same(tmp_path: Path, kind: str, own_file: bool) -> None:
    files = '{"main": {"path": "app.log"}}'
    if own_file:
        own = '{"path": "app.log", "components": ["logboom.access"], "alone": True}'
        files = f'{{"main": {{"path": "main.log"}}, "own": {own}}}'
    check(
        tmp_path,
        f"""
        configure(format={{"kind": "{kind}"}}, files={files}, redact={{"patterns": ["token=[a-f]+"]}})
        ask()
        assert len(brief) == 1, brief
        logging.root.handlers[0].addFilter(lambda record: True)
        ask()
        assert len(brief) == 1, brief
        """,
    )
    short, long = said(tmp_path, kind)
    assert short == long
    assert "hush" not in short
    assert "abcdef" not in short
    assert "192.0.2.1" in short


@pytest.mark.parametrize(
    "wish",
    [
        "logging.getLogger('logboom.access').addHandler(seen)",
        "logging.root.addHandler(seen)",
        "logging.getLogger('logboom.access').addFilter(seen)",
        "logging.root.handlers[0].addFilter(seen)",
        "logging.setLogRecordFactory(lambda *a, **k: seen.records.append(1) or logging.LogRecord(*a, **k))",
        "logging.getLogger('logboom.access').handle = lambda record: seen.emit(record)",
        "logging.Logger.callHandlers = lambda self, record: seen.emit(record)",
        "logging.Logger.handle = lambda self, record: seen.emit(record)",
        "logging.Logger.makeRecord = lambda self, *a, **k: seen.records.append(1) or logging.makeLogRecord({})",
        "logging.LogRecord.getMessage = lambda self: seen.records.append(1) or 'text'",
        "logging.root.handlers[0].setFormatter(type('F', (logging.Formatter,), "
        "{'format': lambda self, record: seen.records.append(1) or 'text'})())",
    ],
)
def test_whoever_wants_to_see_the_record_sees_it(tmp_path: Path, wish: str) -> None:
    check(
        tmp_path,
        f"""
        configure()
        ask()
        assert len(brief) == 1, "the short way is not taken at all"
        {wish}
        ask()
        assert seen.records, "nobody saw the record"
        assert len(brief) == 1, brief
        """,
    )


def test_a_level_of_the_handler_holds(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        configure()
        logging.root.handlers[0].setLevel(logging.WARNING)
        ask()
        assert not os.path.getsize("app.log")
        """,
    )


def test_what_is_recorded_goes_the_long_way(tmp_path: Path) -> None:
    """A viewer gets it as JSON, whatever the file's format."""
    check(
        tmp_path,
        """
        installed = configure(format={"kind": "text"}, recorder={"level": "debug"})
        ask()
        assert not brief
        assert installed.handler.routes.log.recorded() == 1
        """,
    )


def test_what_goes_to_several_files_goes_the_long_way(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        configure(files={"main": {"path": "app.log"}, "more": {"path": "more.log"}})
        ask()
        assert not brief
        assert len(open("app.log").readlines()) == len(open("more.log").readlines()) == 1
        """,
    )


def test_a_closed_log_is_opened_again(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        installed = configure()
        ask()
        installed.handler.routes.close()
        ask()
        ask()
        assert len(open("app.log").readlines()) == 3
        """,
    )


def test_a_request_of_another_context_goes_the_long_way(tmp_path: Path) -> None:
    """Bound fields of the current request are not those of the one that the record is of."""
    check(
        tmp_path,
        """
        configure(format={"kind": "json"})
        request = context.Request("other", "GET", "/", "192.0.2.1")
        context.begin(context.Request("mine", "GET", "/", "192.0.2.1"))
        context.bind(order=7)
        _access.write(request, 200, 5, "HTTP/1.1")
        (record,) = map(json.loads, open("app.log"))
        assert "other" in record.values() and "order" not in record, record
        assert not brief
        """,
    )


@pytest.mark.parametrize(
    ("wish", "unfinished"),
    [
        ("configure()", False),
        ("configure(format={'kind': 'json'}, recorder={'level': 'debug'})", False),
        ("configure(recorder={'level': 'debug'})", False),
        ("configure(); _setup._current.log.add_rule('logboom.access', kept=True)", False),
        ("configure(); logging.root.handlers[0].addFilter(seen)", False),
        ("configure(); logging.root.handlers[0].setFormatter(logging.Formatter('%(message)s'))", False),
        ("configure(files=files)", False),
        ("configure(files=files, recorder={'level': 'debug'})", False),
        ("configure(files=files); logging.root.handlers[0].addFilter(seen)", False),
        ("configure()", True),
        ("configure(recorder={'level': 'debug'})", True),
    ],
)
def test_a_request_is_over_when_its_access_record_counts(tmp_path: Path, wish: str, unfinished: bool) -> None:
    """However the record is written: a kill before the request has left the table leaves no second, unfinished one. One
    that is cut short leaves the table by itself."""
    check(
        tmp_path,
        f"""
        from logboom import _requests, _setup
        own = {{"path": "access.log", "components": ["logboom.access"], "alone": True}}
        files = {{"main": {{"path": "app.log"}}, "own": own}}
        {wish}
        in_flight, end = [], _requests.end
        def ending(request):
            in_flight.append([found["id"] for found in _requests.log.requests()])
            end(request)
        wsgi._requests.end = ending
        if {unfinished}:
            environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_X_REQUEST_ID": "r-1"}}
            middleware(environ, lambda *rest: len).close()
        else:
            ask()
        assert in_flight == [["r-1"] if {unfinished} else []], in_flight
        assert _requests.log.requests() == []
        """,
    )
    text = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert text.count("unfinished") == int(unfinished), text
