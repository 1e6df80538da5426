"""What is only recorded says what a `LogRecord` would have said, without one.

What the application has a say in is left to the standard library's way.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from test_setup import check

START = """
import json as j, time
from logboom import _levels, _setup, context
KIND = os.environ.get("KIND", "json")
configure(recorder={"level": "debug"}, format={"kind": KIND}, redact={"patterns": ["4[0-9]{3}"]})
current = _setup._current
made = []
class Told:
    # Sees the records that took the standard library's way.
    def __init__(self, log):
        self.log = log
    def __getattr__(self, name):
        return getattr(self.log, name)
    def publish_record(self, line, levelno, name, request, kept, json=None, rules=None):
        made.append((line, kept))
        return self.log.publish_record(line, levelno, name, request, kept, json, rules)
real = current.handler.routes.main.log
current.handler.routes.main.log = Told(real)
current.handler.routes.found = {}
_levels.Recording = lambda log, *rest: _native.Recording(real, *rest)
from logboom import _native
shop = logging.getLogger("shop.db")
def recorded(request=""):
    # What is in the recorder of this process, and in no file.
    return [line for _, _, line, _ in real.unkept(request, 0)[0]]
def slow_then_fast(call):
    # The first call of a logger takes the standard library's way, which finds out that the next need not.
    logging.root.manager._clear_cache()
    before = len(recorded())
    del made[:]
    call(); call(); call()
    ways = len(made)
    return ways, recorded()[before:]
"""


def test_both_ways_record_the_same(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
class Order:
    def __str__(self):
        return "order 4711"
calls = [
    lambda: shop.debug("plain"),
    lambda: shop.debug("order %s paid in %d ms", "4711-ab", 7),
    lambda: shop.debug("%(a)s and %(b)s", {"a": 1, "b": "x"}),
    lambda: shop.debug("%s", {}),
    lambda: shop.debug("one: %s", Order()),
    lambda: shop.debug(Order()),
    lambda: shop.debug(b"bytes"),
    lambda: shop.debug("100 %"),
    lambda: shop.debug("tuple %s", (1, 2)),
    lambda: shop.debug("caf\\u00e9 \\x1b[2J %s", "\\ud800"),
    lambda: shop.log(10, "by number"),
    lambda: shop.log(15, "between"),
    lambda: logging.debug("of root"),
]
for call in calls:
    ways, lines = slow_then_fast(call)
    same((calls.index(call), len(lines), ways), (calls.index(call), 3, 1))
    told = [j.loads(line) for line in lines] if KIND == "json" else lines
    if KIND == "json":
        times = [record.pop("timestamp") for record in told]
        assert times == sorted(times), times
        same(told[0]["code.function.name"], "<lambda>")
    else:
        told = [line[23:] for line in told]
    same(told[1], told[0]); same(told[2], told[0])
    assert "4711" not in str(told), told
""",
        KIND="json",
    )


@pytest.mark.parametrize("kind", ["text", "logfmt"])
def test_in_every_format(tmp_path: Path, kind: str) -> None:
    check(
        tmp_path,
        START
        + """
ways, lines = slow_then_fast(lambda: shop.debug("order %s", "7", ))
same(ways, 1)
def without_time(line):
    return line[23:] if KIND == "text" else [part for part in line.split(" ") if not part.startswith("timestamp=")]
same([without_time(line) for line in lines], [without_time(lines[0])] * 3)
assert "order 7" in lines[0], lines
""",
        KIND=kind,
    )


def test_requests_and_bound_fields_are_on_it(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
request = context.Request("9f2c", "GET", "/cart", "192.0.2.1")
with context.using(request), context.bind(order=7):
    shop.debug("first"); shop.debug("second")
first, second = [j.loads(line) for line in recorded("9f2c")]
for record in (first, second):
    same((record["request_id"], record["url.path"], record["order"]), ("9f2c", "/cart", 7))
same(len(made), 1)
import threading
def named():
    shop.debug("in a thread")
thread = threading.Thread(target=named, name="the other"); thread.start(); thread.join()
same(j.loads(recorded()[-1])["thread.name"], "the other")
pid = os.fork()
if pid == 0:
    shop.debug("in a child")
    assert j.loads(recorded()[-1])["process.pid"] == os.getpid()
    os._exit(0)
same(os.waitpid(pid, 0)[1], 0)
""",
    )


def test_what_the_application_has_a_say_in_goes_the_standard_librarys_way(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
def always(call):
    ways, lines = slow_then_fast(call)
    same((ways, len(lines)), (3, 3))
    return lines
def raises():
    try:
        1 / 0
    except ZeroDivisionError:
        shop.debug("failed", exc_info=True)
assert "ZeroDivisionError" in always(raises)[2]
assert '"order":7' in always(lambda: shop.debug("x", extra={"order": 7}))[2]
always(lambda: logging.LoggerAdapter(shop, {"order": 7}).debug("x"))
always(lambda: shop.debug("x", stack_info=True))
always(lambda: shop.debug("x", stacklevel=2))
always(lambda: shop.debug("too few %s %s", 1))
class Breaks:
    def __str__(self):
        raise ValueError("no")
always(lambda: shop.debug("%s", Breaks()))

seen = []
class Watch(logging.Filter):
    def filter(self, record):
        seen.append(record.getMessage())
        return True
watch = Watch()
for owner in (shop, current.handler):
    owner.addFilter(watch)
    always(lambda: shop.debug("filtered"))
    owner.removeFilter(watch)
same(seen, ["filtered"] * 6)

def factory(*arguments, **named):
    record = logging.LogRecord(*arguments, **named)
    record.from_factory = True
    return record
logging.setLogRecordFactory(factory)
assert '"from_factory":true' in always(lambda: shop.debug("x"))[2]
logging.setLogRecordFactory(logging.LogRecord)

class Own(logging.Logger):
    def makeRecord(self, *arguments, **named):
        record = super().makeRecord(*arguments, **named)
        record.own = 1
        return record
logging.setLoggerClass(Own)
own = logging.getLogger("own")
assert '"own":1' in always(lambda: own.debug("x"))[2]
""",
    )


def test_a_rule_that_comes_is_obeyed_by_the_next_record(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
shop.debug("one"); shop.debug("two")
same((len(recorded()), bodies()), (2, []))
elsewhere = real.add_rule("elsewhere", kept=True)
shop.debug("three"); shop.debug("four"); shop.debug("five")
same((len(recorded()), bodies()), (5, []))
number = real.add_rule("shop", kept=True)
shop.debug("six"); shop.debug("seven")
same((len(recorded()), bodies()), (5, ["six", "seven"]))
real.remove_rule(number)
shop.debug("eight"); shop.debug("nine")
same((len(recorded()), bodies()), (7, ["six", "seven"]))
shop.setLevel("DEBUG")
shop.debug("ten"); shop.debug("eleven")
same((len(recorded()), bodies()), (7, ["six", "seven", "ten", "eleven"]))
shop.setLevel("INFO")
shop.debug("not at all")
same((len(recorded()), len(bodies())), (7, 4))
""",
    )


def test_when_it_is_taken_back_the_loggers_are_as_before(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
before = logging.Logger._log, logging.Logger.callHandlers, logging.Logger.isEnabledFor
installation = configure(recorder={"level": "debug"})
shop = logging.getLogger("shop")
shop.debug("one"); shop.debug("two")
assert logging.Logger._log is not before[0]
installation.remove()
same((logging.Logger._log, logging.Logger.callHandlers, logging.Logger.isEnabledFor), before)
shop.debug("three")
installation = configure()
shop.debug("four"); shop.info("five"); shop.info("six")
same(bodies(), ["five", "six"])
installation.remove()
same((logging.Logger._log, logging.Logger.callHandlers, logging.Logger.isEnabledFor), before)
""",
    )


def test_somebody_elses_log_method_is_still_called(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
original, seen = logging.Logger._log, []
def theirs(self, level, msg, args, **named):
    seen.append(msg)
    original(self, level, msg, args, **named)
logging.Logger._log = theirs
configure(recorder={"level": "debug"})
logging.getLogger("shop").debug("one"); logging.getLogger("shop").debug("two")
same((seen, logging.Logger._log), (["one", "two"], theirs))
""",
    )
