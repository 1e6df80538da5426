"""Each option is checked where it is written, and does what docs/handlers.md says."""

from __future__ import annotations

import dataclasses
import datetime
import grp
import logging
import os
import sys
from pathlib import Path

import pytest
from accounts import record, run
from logboom import Options, handlers
from logboom._native import Log


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"compress": "bzip2"}, ValueError),
        ({"durability": "maybe"}, ValueError),
        ({"on_full": "raise"}, ValueError),
        ({"keep_age": "a week"}, TypeError),
        ({"keep_age": -1}, ValueError),
        ({"keep_bytes": 1.5}, TypeError),
        ({"keep_bytes": -1}, ValueError),
        ({"on_full_wait": None}, TypeError),
        ({"queue_bytes": "1M"}, TypeError),
        ({"state_dir": 3}, TypeError),
        ({"state_group": 1.5}, TypeError),
        ({"state_group": "no such group"}, ValueError),
    ],
    ids=str,
)
@pytest.mark.parametrize("delay", [False, True])
def test_a_value_that_cannot_be_fails_at_once(tmp_path: Path, option: dict, error: type, delay: bool) -> None:
    with pytest.raises(error):
        handlers.RotatingFileHandler(tmp_path / "a.log", delay=delay, **option)


@pytest.mark.parametrize(
    ("option", "error", "says"),
    [
        ({"no_such": 1}, TypeError, "`no_such`"),
        ({"max_bytes": "much"}, TypeError, "`max_bytes`"),
        ({"max_bytes": -1}, ValueError, "`max_bytes`"),
        ({"backup_count": 2**40}, ValueError, "`backup_count`"),
        ({"when": "never"}, ValueError, "`when`"),
        ({"compress": "bzip2"}, ValueError, "'gzip' or 'zstd'"),
        ({"mode": "r"}, ValueError, "'a' or 'w'"),
        ({"preamble": b"12345"}, ValueError, "preamble"),
        ({"owner": "root"}, TypeError, "`owner`"),
        ({3: 4}, TypeError, "name of an option"),
    ],
    ids=str,
)
def test_the_native_side_names_the_key_of_a_wrong_option(tmp_path: Path, option: dict, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        Log(str(tmp_path / "a.log"), option)


def test_a_native_log_that_is_closed_says_so(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "a.log"), {})
    assert log.path == str(tmp_path / "a.log")
    log.close()
    log.close()
    for call in (lambda: log.publish("x\n", 20), lambda: log.publish_bytes(b"x\n", 20), log.size, log.fileno):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_ages_may_be_timedeltas(tmp_path: Path) -> None:
    options = Options(keep_age=datetime.timedelta(days=2), on_full_wait=datetime.timedelta(milliseconds=50))
    assert (options.keep_age, options.on_full_wait) == (172_800, 0.05)
    assert Options(keep_age=0.5).native()["keep_age_s"] == 1


def test_options_can_be_replaced_while_logging(tmp_path: Path) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log")
    handler.emit(record("one\nline"))
    handler.logboom_options = dataclasses.replace(handler.logboom_options, escape=True)
    handler.emit(record("two\nlines"))
    handler.close()
    assert (tmp_path / "a.log").read_text() == "one\nline\ntwo\\x0alines\n"


def test_escape_lets_no_value_begin_a_line_and_keeps_tracebacks_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path, escape=True)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.emit(record("user\r\nERROR forged\x1b[31m\u2028\x85"))
    try:
        raise ValueError("bad\nERROR forged too")
    except ValueError:
        handler.emit(logging.LogRecord("n", 40, "p", 1, "failed", None, sys.exc_info()))
    handler.close()
    text = path.read_text()
    assert text.startswith("INFO user\\x0d\\x0aERROR forged\\x1b[31m\\u2028\\x85\nERROR failed\n    Traceback")
    assert [line.split()[0] for line in text.splitlines() if not line.startswith("    ")] == ["INFO", "ERROR"]


def test_ledger_ids_are_written_at_the_end_of_each_record(tmp_path: Path) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log", ledger_ids=True)
    handler.emit(record("one"))
    handler.emit(record("two"))
    handler.close()
    first, second = (tmp_path / "a.log").read_text().splitlines()
    assert first.startswith("one ")
    assert second.startswith("two ")
    assert first.removeprefix("one") != second.removeprefix("two")


def test_durability_on_disk_writes_the_same_bytes(tmp_path: Path) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log", durability="disk")
    for number in range(20):
        handler.emit(record(f"{number}"))
    assert (tmp_path / "a.log").read_text() == "".join(f"{number}\n" for number in range(20))
    handler.close()


def test_state_beside_the_log_stays_there(tmp_path: Path) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log", state_dir="beside")
    handler.emit(record("one"))
    assert (tmp_path / "a.log").read_text() == "one\n"
    handler.close()


@pytest.mark.parametrize("cause", ["platform", "import"])
def test_where_the_native_part_cannot_run_the_handlers_are_the_librarys_with_one_warning(
    tmp_path: Path, cause: str
) -> None:
    run(
        """
        import logging, logging.handlers, sys, warnings
        if sys.argv[2] == "platform":
            sys.platform = "darwin"
        else:
            sys.modules["logboom._native"] = None
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            import logboom
            from logboom import handlers
            made = [
                handlers.FileHandler(sys.argv[1], durability="disk"),
                handlers.RotatingFileHandler(sys.argv[1], "a", 1000, 2, when="midnight", compress="gzip"),
                handlers.TimedRotatingFileHandler(sys.argv[1], "midnight", maxBytes=100),
                handlers.WatchedFileHandler(sys.argv[1], escape=True),
                handlers.ConcurrentRotatingFileHandler(sys.argv[1], "a", 1000, 2, use_gzip=True),
                handlers.ConcurrentTimedRotatingFileHandler(sys.argv[1], maxBytes=5),
            ]
        assert [w.category.__name__ for w in seen] == ["RuntimeWarning"], [str(w.message) for w in seen]
        assert isinstance(made[1], logging.handlers.RotatingFileHandler)
        for handler in made:
            handler.emit(logging.LogRecord("n", 20, "p", 1, type(handler).__name__, None, None))
            handler.close()
        assert len(open(sys.argv[1]).read().split()) == 6
        """,
        tmp_path / "a.log",
        cause,
    )


def test_the_default_state_folder_is_used_without_any_option(tmp_path: Path, state_folder: str) -> None:
    before = set(os.listdir(state_folder))
    handler = handlers.FileHandler(tmp_path / "a.log")
    handler.emit(record("one"))
    assert set(os.listdir(state_folder)) != before
    handler.close()


def test_a_group_may_look_at_the_state_and_not_change_it(tmp_path: Path) -> None:
    """Found by the claim beside the log, which the group may read as well."""
    group = os.getgroups()[-1] if os.getgroups() else os.getgid()
    for state_group in (group, str(group), grp.getgrgid(group).gr_name):
        handler = handlers.FileHandler(tmp_path / "a.log", state_dir=str(tmp_path / "state"), state_group=state_group)
        handler.emit(record("hello"))
        found = [*(tmp_path / "state").glob("*.state"), tmp_path / f".logboom-{os.geteuid()}"]
        assert [(path.stat().st_mode & 0o777, path.stat().st_gid) for path in found] == [(0o640, group)] * 2
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o750
        handler.close()
    handler = handlers.FileHandler(tmp_path / "a.log", state_dir=str(tmp_path / "state"))
    (state,) = (tmp_path / "state").glob("*.state")
    assert state.stat().st_mode & 0o777 == 0o600, "nobody asked for it any more"
    handler.close()
