"""`logboom.debug` reveals while its block runs, in all processes, and never longer; `logboom.rules` shows the table."""

from __future__ import annotations

import datetime
from pathlib import Path

import logboom
import pytest
from logboom import _debug
from test_rules import RULES
from test_setup import check

FORKED = (
    RULES
    + """
def forked(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid
"""
)


def test_a_block_reveals_in_all_processes_and_no_longer_than_it_runs(tmp_path: Path) -> None:
    check(
        tmp_path,
        FORKED
        + """
shop.debug("before")
with logboom.debug("shop", for_="5m") as debug:
    shop.debug("in the block")
    os.waitpid(forked(lambda: shop.debug("of another process")), 0)
    (rule,) = logboom.rules()
    same((rule["number"], rule["component"], rule["level"]), (debug.number, "shop", 10))
    assert rule["kept"] and rule["held"], rule
    same(rule["made_by"], f"the program, pid {os.getpid()}")
    assert 290 < rule["expires"] - time.time() <= 300.1, rule
shop.debug("after")
same((debug.number, logboom.rules()), (0, []))
try:
    with logboom.debug("shop"):
        raise LookupError
except LookupError:
    pass
shop.debug("after an error")
same(bodies(), ["in the block", "of another process"])
""",
    )


def test_it_takes_what_a_rule_takes(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
with logboom.debug(where=["path^=/checkout", "user=bob"], level=15, for_=None, keep=False, worker=os.getpid()):
    (rule,) = logboom.rules()
same({name: rule[name] for name in ("component", "condition", "level", "kept", "worker", "expires")},
     {"component": "", "condition": "path^=/checkout\\nuser=bob", "level": 13, "kept": False,
      "worker": os.getpid(), "expires": 0})
with logboom.debug("*", where="path=/a"):
    with context.using(context.Request("1", "GET", "/a")):
        shop.debug("of a")
    with context.using(context.Request("2", "GET", "/b")):
        shop.debug("of b")
same(bodies(), ["of a"])
""",
    )


def test_a_child_that_leaves_the_block_ends_nothing(tmp_path: Path) -> None:
    check(
        tmp_path,
        FORKED
        + """
with logboom.debug("shop") as debug:
    pid = os.fork()
    if pid == 0:
        debug.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(pid, 0)
    shop.debug("still")
same(bodies(), ["still"])
""",
    )


def test_a_process_that_dies_in_the_block_takes_its_rule_along(tmp_path: Path) -> None:
    check(
        tmp_path,
        FORKED
        + """
def dies():
    logboom.debug("shop").__enter__()
    assert log.forget_ended_rules() is False
    shop.debug("while it lives")
    os.kill(os.getpid(), 9)
os.waitpid(forked(dies), 0)
log.forget_ended_rules()
same(logboom.rules(), [])
shop.debug("afterwards")
same(bodies(), ["while it lives"])
""",
    )


def test_what_cannot_be_is_refused_before_anything_changes(tmp_path: Path) -> None:
    check(
        tmp_path,
        RULES
        + """
def refused(kind, text, **arguments):
    try:
        with logboom.debug(**arguments):
            raise AssertionError("it ran")
    except kind as error:
        assert text in str(error), error
refused(ValueError, "there is no field `pth`", where="pth=/x")
refused(ValueError, "longer than 120 bytes", component="x" * 121)
refused(ValueError, "longer than 192 bytes", where="path=" + "x" * 200)
refused(ValueError, "no level 'LOUD'", level="LOUD")
same(logboom.rules(), [])
blocks = [logboom.debug("x") for _ in range(16)]
for block in blocks:
    block.__enter__()
refused(OSError, "as many as fit (16)", component="x")
""",
    )


def test_it_needs_logboom_set_up() -> None:
    with pytest.raises(RuntimeError, match=r"call logboom\.configure"), logboom.debug("shop"):
        pass
    with pytest.raises(RuntimeError, match=r"call logboom\.configure"):
        logboom.rules()


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("10m", 600), ("90", 90), ("1 hour", 3600), (1.5, 1.5), (datetime.timedelta(minutes=2), 120), (None, 0)],
)
def test_spans_of_time(span: object, seconds: float) -> None:
    assert _debug.seconds(span) == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize("span", ["soon", "", "0", -1, 0, float("nan"), "99999 days", datetime.timedelta(0)])
def test_what_is_no_span_of_time(span: object) -> None:
    with pytest.raises(ValueError, match="span of time"):
        _debug.seconds(span)  # type: ignore[arg-type]
