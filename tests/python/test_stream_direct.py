"""A record that the handler of the stream alone would see makes no `LogRecord`, and says what that would have said.

Which way a record went is told by an argument whose text is the name of the function that asked for it: `info` where no
`LogRecord` is made, `getMessage` where there is one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from test_setup import check

START = """
import json as j, threading, time
from logboom import _setup, context
KIND = os.environ.get("KIND", "json")
installation = configure(format={"kind": KIND}, redact={"patterns": ["4[0-9]{3}"]})
shop = logging.getLogger("shop.db")
class Asked:
    def __str__(self):
        return sys._getframe(1).f_code.co_name
def way(logger=shop, level=20, **named):
    # The first call of a logger and a level finds out where it goes.
    logger.log(level, "first")
    logger.log(level, "%s", Asked(), **named)
    return {"log": "direct", "getMessage": "slow"}[bodies()[-1]]
def both_ways(call):
    # What is written directly, and by way of a `LogRecord`.
    found = []
    for filters in ([], [lambda record: True]):
        installation.handler.filters[:] = filters
        call()
        before = len(lines())
        call()
        found.append(lines()[before:])
    del installation.handler.filters[:]
    return found
def timeless(line):
    if KIND == "json":
        return {key: value for key, value in j.loads(line).items() if key != "timestamp"}
    if KIND == "text":
        return line[23:]
    return [part for part in line.split(" ") if not part.startswith("timestamp=")]
"""


@pytest.mark.parametrize("kind", ["text", "logfmt", "json"])
def test_both_ways_write_the_same(tmp_path: Path, kind: str) -> None:
    check(
        tmp_path,
        START.replace("bodies()[-1]", "lines()[-1].split()[-1].rpartition('=')[2].rpartition(' ')[2]")
        + """
class Order:
    def __str__(self):
        return "order 4711"
calls = [
    lambda: shop.info("plain"),
    lambda: shop.info("order %s paid in %d ms", "4711-ab", 7),
    lambda: shop.info("%(a)s and %(b)s", {"a": 1, "b": "x"}),
    lambda: shop.info("%s", {}),
    lambda: shop.info("one: %s", Order()),
    lambda: shop.info(Order()),
    lambda: shop.info(b"bytes"),
    lambda: shop.info("100 %"),
    lambda: shop.info("tuple %s", (1, 2)),
    lambda: shop.info("caf\\u00e9 \\x1b[2J %s", "\\ud800"),
    lambda: shop.info("two\\nlines"),
    lambda: shop.warning("warned"),
    lambda: shop.error("wrong"),
    lambda: shop.log(35, "by number"),
    lambda: logging.info("of root"),
]
for number, call in enumerate(calls):
    direct, slow = both_ways(call)
    same((number, len(direct), len(slow)), (number, 1, 1))
    same(timeless(direct[0]), timeless(slow[0]))
    assert "4711" not in direct[0]
""",
        KIND=kind,
    )


def test_plain_records_take_the_short_way(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
for logger in (shop, logging.getLogger("other"), logging.root):
    for level in (20, 30, 40, 50, 35):
        same((logger.name, level, way(logger, level)), (logger.name, level, "direct"))
""",
    )


def test_requests_bound_fields_threads_and_processes_are_on_it(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
last = lambda: j.loads(lines()[-1])
request = context.Request("9f2c", "GET", "/cart", "192.0.2.1")
with context.using(request), context.bind(order=7):
    same(way(), "direct")
    record = last()
    same((record["request_id"], record["url.path"], record["order"]), ("9f2c", "/cart", 7))
assert "request_id" not in (way(), last())[1]
thread = threading.Thread(target=way, name="the other"); thread.start(); thread.join()
same((last()["thread.name"], last()["body"]), ("the other", "log"))
pid = os.fork()
if pid == 0:
    same(way(), "direct")
    same(last()["process.pid"], os.getpid())
    os._exit(0)
same(os.waitpid(pid, 0)[1], 0)
def named():
    shop.info("here")
named()
same((last()["code.function.name"], last()["otel.scope.name"]), ("named", "shop.db"))
before = time.time()
shop.info("now")
from datetime import datetime
told = datetime.fromisoformat(last()["timestamp"][:26] + "+00:00").timestamp()
assert before - 0.001 <= told <= time.time(), (before, told)
""",
    )


def test_whoever_wants_to_see_a_record_sees_it(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
from contextlib import contextmanager
@contextmanager
def replaced(owner, name, value):
    own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value(before))
    yield
    setattr(owner, name, before) if own else delattr(owner, name)
passing = lambda before: lambda *args, **named: before(*args, **named)
handler = installation.handler
kind = type(handler)
for owner, name in [
    *((logging.Logger, name) for name in ("findCaller", "makeRecord", "handle", "callHandlers")),
    *((shop, name) for name in ("findCaller", "makeRecord", "handle", "callHandlers", "filter")),
    *((logging.LogRecord, name) for name in ("__init__", "getMessage")),
    *((handler, name) for name in ("handle", "emit")),
    *((kind, name) for name in ("handle", "emit")),
]:
    same(way(), "direct")
    with replaced(owner, name, passing):
        shop.info("%s", Asked())
        same((owner, name, bodies()[-1]), (owner, name, "getMessage"))
same(way(), "direct")

watch = lambda record: True
for owner in (shop, handler):
    owner.addFilter(watch)
    same(way(), "slow")
    owner.removeFilter(watch)
other = logging.NullHandler()
for owner in (shop, logging.root):
    owner.addHandler(other)
    same(way(), "slow")
    owner.removeHandler(other)
logging.setLogRecordFactory(lambda *arguments, **named: logging.LogRecord(*arguments, **named))
same(way(), "slow")
logging.setLogRecordFactory(logging.LogRecord)
with replaced(logging, "logThreads", lambda before: False):
    same(way(), "slow")
clock = "time_ns" if sys.version_info >= (3, 13) else "time"
with replaced(time, clock, passing):
    same(way(), "slow")
same(way(extra={"order": 7}), "slow")
same(j.loads(lines()[-1])["order"], 7)
same(way(stack_info=True), "slow")
same(way(), "direct")
handler.setFormatter(logging.Formatter("%(message)s"))
shop.info("%s", Asked())
same(lines()[-1], "getMessage")
""",
    )


def test_what_cannot_be_formatted_is_told_as_ever(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
class Breaks:
    def __str__(self):
        raise ValueError("no")
direct, slow = both_ways(lambda: shop.info("%s", Breaks()))
same(timeless(direct[0]), timeless(slow[0]))
direct, slow = both_ways(lambda: shop.info("too few %s %s", 1))
same(timeless(direct[0]), timeless(slow[0]))
""",
    )


def test_files_that_take_a_record_alone_or_beside_others_get_it(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
files = {
    "main": {"path": "app.log"},
    "errors": {"path": "errors.log", "level": "error"},
    "audit": {"path": "audit.log", "components": ["audit"], "alone": True},
}
logboom.configure(files=files, format={"kind": "json"})
audit, shop = logging.getLogger("audit.money"), logging.getLogger("shop")
for number in range(3):
    audit.warning("a%d", number); shop.warning("s%d", number); shop.error("e%d", number); audit.error("x%d", number)
logging.getLogger().handlers[0].flush()
same(bodies("app.log"), ["s0", "e0", "s1", "e1", "s2", "e2"])
same(bodies("errors.log"), ["e0", "x0", "e1", "x1", "e2", "x2"])
same(bodies("audit.log"), ["a0", "x0", "a1", "x1", "a2", "x2"])
""",
    )


def test_a_new_configuration_and_closed_logs_lose_nothing(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
same(way(), "direct")
installation.handler.routes.close()
shop.info("after it was closed")
same(bodies()[-1], "after it was closed")
same(way(), "direct")
logboom.configure(files={"main": {"path": "other.log"}}, format={"kind": "json"}, level="info")
shop.info("one"); shop.info("two")
same(bodies("other.log"), ["one", "two"])
logging.getLogger().setLevel("WARNING")
shop.info("not at all"); shop.warning("three")
same(bodies("other.log"), ["one", "two", "three"])
""",
    )


def test_with_a_rule_in_force_or_the_recorder_on_its_viewers_see_all(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
same(way(), "direct")
log = installation.log
number = log.add_rule("shop", kept=True)
shop.info("%s", Asked()); shop.debug("debug")
same(bodies()[-2:], ["getMessage", "debug"])
log.remove_rule(number)
shop.info("%s", Asked())
same(way(), "direct")
installation.remove()
installation = configure(format={"kind": KIND}, recorder={"level": "debug"})
for _ in range(3):
    shop.debug("recorded"); shop.info("written")
kept = [line for _, _, line, _ in installation.log.unkept("", 0)[0]]
same([j.loads(line)["body"] for line in kept], ["recorded"] * 3)
same(bodies()[-3:], ["written"] * 3)
""",
    )
