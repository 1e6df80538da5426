"""Level rules: what was asked for is revealed from the very next record on, to whom it was asked for, and then no more.

Each test is a program of its own, since loggers are the process's.
"""

from __future__ import annotations

from pathlib import Path

from test_setup import check

# A program whose log is `app.log`, with rules made as another process would make them: in the shared table.
RULES = """
import time
from logboom import context, _setup
configure()
log = _setup._current.log
shop, other = logging.getLogger("shop.payments"), logging.getLogger("other")
"""


def test_a_rule_reveals_a_component_and_ends_without_a_trace(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
shop.debug("before")
number = log.add_rule("shop", kept=True)
shop.debug("during")
other.debug("of another component")
logging.getLogger("shopping").debug("no child of it")
assert log.remove_rule(number)
shop.debug("after")
same(bodies(), ["during"])
same((shop.level, logging.root.level, shop.isEnabledFor(10)), (0, 20, False))
""",
    )


def test_nothing_of_python_stands_in_its_way(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
shop.setLevel("ERROR")
assert not shop.isEnabledFor(10)  # in the logger's cache now
logging.disable("CRITICAL")
log.add_rule("shop", kept=True)
shop.debug("in spite of a level of its own, its cache and logging.disable")
same(len(bodies()), 1)
same((shop.level, logging.root.manager.disable), (40, 50))
""",
    )


def test_no_other_handler_of_the_application_sees_what_a_rule_reveals(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
seen = []
class Console(logging.Handler):
    def emit(self, record):
        seen.append(record.getMessage())
logging.root.addHandler(Console()); shop.addHandler(Console())
number = log.add_rule("shop", kept=True)
shop.debug("only for a rule"); shop.info("anyway")
same(bodies(), ["only for a rule", "anyway"])
same(seen, ["anyway", "anyway"])
""",
    )


def test_conditions_ask_about_the_request(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
log.add_rule("", kept=True, condition="path^=/checkout\\nheader.x-debug=1")
from logboom.wsgi import Middleware
def application(environ, start_response):
    shop.debug("in %s", environ["PATH_INFO"])
    start_response("200 OK", [])
    return [b""]
def request(path, **headers):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "logboom.access_by_server": True, **headers}
    list(Middleware(application)(environ, lambda *_: None))
shop.debug("outside of a request")
request("/checkout/1", HTTP_X_DEBUG="1")
request("/checkout/2")
request("/cart", HTTP_X_DEBUG="1")
same([body for body in bodies() if body.startswith(("in", "out"))], ["in /checkout/1"])
""",
    )


def test_a_condition_counts_for_a_request_that_began_before_the_rule(tmp_path: Path) -> None:
    """Its headers can be asked for while it lives; its status is known from the answer on."""
    check(
        tmp_path,
        RULES
        + """
from logboom import asgi, wsgi
import asyncio
def rules(path):
    log.add_rule("", kept=True, condition="header.x-debug=1\\npath=" + path)
    log.add_rule("", kept=True, condition="status^=5\\npath=" + path)
def application(environ, start_response):
    shop.debug("before")
    rules(environ["PATH_INFO"])
    shop.debug("with %s", environ.get("HTTP_X_DEBUG"))
    start_response("503 Oh", [])
    shop.debug("answered %s", environ.get("HTTP_X_DEBUG"))
    return [b""]
async def asgi_application(scope, receive, send):
    rules(scope["path"])
    shop.debug("with %s", dict(scope["headers"]).get(b"x-debug", b"None").decode())
    await send({"type": "http.response.start", "status": 503, "headers": []})
    shop.debug("answered %s", dict(scope["headers"]).get(b"x-debug", b"None").decode())
    await send({"type": "http.response.body"})
async def nothing(*_):
    pass
for by_server in (True, False):
    for headers in ({}, {"HTTP_X_DEBUG": "1"}):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/{by_server}/{len(headers)}", **headers}
        list(wsgi.Middleware(application, access_by_server=by_server)(environ, lambda *_: None))
        scope = {"type": "http", "method": "GET", "path": f"/asgi/{by_server}/{len(headers)}",
                 "headers": [(b"x-debug", b"1")] if headers else []}
        asyncio.run(asgi.Middleware(asgi_application, access_by_server=by_server)(scope, nothing, nothing))
        for rule in log.rules():
            log.remove_rule(rule["number"])
one = ["answered None", "answered None", "with 1", "answered 1", "with 1", "answered 1"]
same([body for body in bodies() if body.startswith(("before", "with", "answered"))], one * 2)
""",
    )


def test_records_tell_which_rules_wanted_them(tmp_path: Path) -> None:
    """Also those that are logged anyway, and also a rule that reveals nothing but asks for requests of a kind."""
    check(
        tmp_path,
        RULES
        + """
told = []
real = log.publish_record
_setup._current.handler.routes.found = {}
class Told:
    def __getattr__(self, name):
        return getattr(log, name)
    def publish_record(self, line, levelno, name, request, kept, json=None, rules=None):
        told.append((json_of(line), kept, rules))
        return real(line, levelno, name, request, kept, json, rules)
import json as j
json_of = lambda line: j.loads(line)["body"]
routes = _setup._current.handler.routes
routes.main.log = Told()
shop.info("no rule")
first = log.add_rule("shop", condition="path=/a")
second = log.add_rule("", severity=255, condition="path^=/")
third = log.add_rule("", severity=255)
for request in (None, context.Request("1", "GET", "/a"), context.Request("2", "GET", "/b")):
    with context.using(request):
        shop.debug("detail"); shop.info("anyway"); other.info("anyway")
same(told, [("no rule", True, None), ("anyway", True, 0), ("anyway", True, 0),
            ("detail", False, 1), ("anyway", True, 3), ("anyway", True, 2), ("anyway", True, 2), ("anyway", True, 2)])
""",
    )


def test_a_rule_ends_with_its_time(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
log.add_rule("shop", kept=True, for_s=0.2)
shop.debug("in time")
time.sleep(0.3)
shop.debug("too late")
same(bodies(), ["in time"])
same(log.rules(), [])
""",
    )


def test_a_worker_that_is_born_later_has_the_rule_and_one_that_sleeps_obeys_at_its_next_record(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
def forked(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid
def sleeper():
    open("sleeps", "w").close()
    time.sleep(0.5)
    shop.debug("of the sleeper")
pid = forked(sleeper)
while not os.path.exists("sleeps"):
    time.sleep(0.01)
log.add_rule("shop", kept=True)
os.waitpid(pid, 0)
os.waitpid(forked(lambda: shop.debug("of the newborn")), 0)
same(bodies(), ["of the sleeper", "of the newborn"])
""",
    )


def test_a_rule_for_viewers_alone_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
assert not log.recording
number = log.add_rule("shop")
shop.debug("for viewers")
shop.info("for all")
assert log.recording
same(bodies(), ["for all"])
log.remove_rule(number)
shop.info("and then")
assert not log.recording
""",
    )


def test_rules_that_cannot_be_understood_reveal_nothing(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
class Later:  # Rules of a later version.
    def __getattr__(self, name):
        return getattr(log, name)
    def rules(self):
        return [rule | {"condition": "colour=red"} for rule in log.rules()]
_setup._current._rules._log = Later()
try:
    log.add_rule("", kept=True, condition="colour=red")
except ValueError as error:
    assert "there is no field `colour`" in str(error), error
log.add_rule("", kept=True)
shop.debug("not this")
shop.info("this")
same(bodies(), ["this"])
""",
    )


def test_when_the_configuration_is_taken_back_the_loggers_are_as_before(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
before = logging.Logger.isEnabledFor, logging.Logger.callHandlers
"""
        + RULES
        + """
assert logging.Logger.isEnabledFor is not before[0]
_setup._current.remove()
same((logging.Logger.isEnabledFor, logging.Logger.callHandlers), before)
""",
    )


def test_somebody_elses_is_enabled_for_is_still_asked(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
original = logging.Logger.isEnabledFor
logging.Logger.isEnabledFor = lambda self, level: self.name != "mute" and original(self, level)
"""
        + RULES
        + """
logging.getLogger("mute").error("never")
log.add_rule("mute", kept=True)
logging.getLogger("mute").debug("revealed")
same(bodies(), ["revealed"])
""",
    )


def test_the_trail_of_a_request_is_written_when_it_logs_an_error(tmp_path: Path) -> None:
    """In order, before the error, marked, never twice, and nothing of another request."""
    check(
        tmp_path,
        """
import re
from logboom import context
for kind in ("text", "json", "logfmt"):
    installation = configure(files={"main": {"path": kind + ".log"}}, format={"kind": kind},
                             recorder={"level": "debug", "rewind_on": "error"})
    shop = logging.getLogger("shop")
    def request(name, error):
        made = context.Request(name, "GET", "/")
        context.begin(made)
        shop.debug("first of %s", name); shop.debug("second of %s", name)
        if error:
            shop.error("failed %s", name); shop.debug("third of %s", name); shop.error("again %s", name)
        context.end(made)
    request("a", False); request("b", True); shop.error("outside of a request")
    found = lines(kind + ".log")
    seen = [re.search("(first|second|third|failed|again|outside) o?f? ?(.)", line).group(1) for line in found]
    same(seen, ["first", "second", "failed", "third", "again", "outside"])
    assert not any("of a" in line and "outside" not in line for line in found), found
    marked = ['"rewound":true' in line if kind == "json" else "rewound=true" in line for line in found]
    same(marked, [True, True, False, True, False, False])
    if kind == "json":
        same([json.loads(line).get("rewound", False) for line in found], marked)
    installation.remove()
""",
    )


def test_an_answer_of_500_rewinds_too(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
configure(recorder={"level": "debug", "rewind_on": "error"})
from logboom.wsgi import Middleware
def application(environ, start_response):
    logging.getLogger("shop").debug("in %s", environ["PATH_INFO"])
    start_response(environ["PATH_INFO"].strip("/") + " Whatever", [])
    return [b""]
for status in ("200", "503"):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/" + status, "SERVER_PROTOCOL": "HTTP/1.1"}
    answer = Middleware(application)(environ, lambda *_: None)
    list(answer); answer.close()
found = bodies()
same([body for body in found if body.startswith("in ")], ["in /503"])
assert found.index("in /503") < next(index for index, body in enumerate(found) if " 503 " in body), found
""",
    )


def test_what_the_recorder_has_overwritten_of_a_trail_is_counted_and_said(tmp_path: Path) -> None:
    """By the record that asked, once; by one whose trail is whole not at all, whatever was overwritten before it."""
    check(
        tmp_path,
        """
configure(recorder={"level": "debug", "rewind_on": "error", "bytes": "64 kB"}, format={"kind": "json"})
from logboom.wsgi import Middleware
shop = logging.getLogger("shop")
def application(environ, start_response):
    for number in range(int(environ["PATH_INFO"].strip("/"))):
        shop.debug("detail %d", number)
    shop.error("failed"); shop.error("failed again")
    start_response("200 OK", [])
    return [b""]
def serve(details):
    before = len(lines())
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/{details}", "SERVER_PROTOCOL": "HTTP/1.1"}
    answer = Middleware(application)(environ, lambda *_: None)
    list(answer); answer.close()
    return [json.loads(line) for line in lines()[before:]]
for details in (2000, 5):
    found = serve(details)
    shown = [record["body"] for record in found if record.get("rewound")]
    gone = details - len(shown)
    same(shown, [f"detail {number}" for number in range(gone, details)])
    said = [record.get("rewind_overwritten") for record in found if record["body"].startswith("failed")]
    same(said, [gone or None, None])
    assert (gone > 1000) == (details == 2000), gone
""",
    )
