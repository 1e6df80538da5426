"""A record that one plain handler writes makes no `LogRecord`, and its line says what that would have said.

Which way a record went is told as in test_handle.py, which also has what is common to both short ways.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from logboom import _logger
from logboom.handlers import FileHandler, RotatingFileHandler
from test_handle import CALLS, DIRECT, QUICK, SLOW, last_line, way


def run_in(folder: Path, program: str) -> None:
    """Runs a program in a process of its own."""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=folder)


Change = Callable[[logging.Logger, FileHandler, pytest.MonkeyPatch], None]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """One without a parent: no other handler, pytest's neither, sees its records."""
    found = logging.Logger("shop.\xe4")
    yield found
    for handler in found.handlers:
        handler.close()


@pytest.fixture
def handler(tmp_path: Path, logger: logging.Logger) -> FileHandler:
    """A handler that has had its first record."""
    made = FileHandler(tmp_path / "app.log", encoding="utf-8")
    logger.addHandler(made)
    logger.info("first")
    assert way(logger) == DIRECT
    return made


TEMPLATES = [
    "%(message)s",
    "%(levelname)-8s|%(levelno)05d|%(name)s|%(message)s",
    "%(pathname)s|%(filename)s|%(module)s|%(lineno)d|%(funcName)s %(message)s",
    "%(process)d %(thread)d %(threadName)s %(processName)s %(message)s",
    "%(message)r %(message).3s 100%% %(message)s",
    "%%(name)s %(message)s",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_the_line_is_the_librarys(
    call: tuple[Any, ...], template: str, handler: FileHandler, logger: logging.Logger
) -> None:
    handler.setFormatter(logging.Formatter(template))
    lines, ways = [], []
    for seeing in (False, True):
        if seeing:
            handler.addFilter(lambda record: True)
        before = len(Path(handler.baseFilename).read_text(encoding="utf-8"))
        logger.log(logging.WARNING, *call)
        lines.append(Path(handler.baseFilename).read_text(encoding="utf-8")[before:])
        handler.setFormatter(logging.Formatter("%(message)s"))
        ways.append(way(logger))
        handler.setFormatter(logging.Formatter(template))
    assert ways == [DIRECT, SLOW]
    assert lines[0] == lines[1] != ""


@pytest.mark.parametrize("template", TEMPLATES)
def test_these_templates_are_filled_in_without_a_record(
    template: str, handler: FileHandler, logger: logging.Logger
) -> None:
    handler.setFormatter(logging.Formatter(template + "%(message)s"))
    assert way(logger).endswith(DIRECT)


@pytest.mark.parametrize("level", [1, 15, logging.CRITICAL, 10**6, logging.DEBUG])
def test_every_level_has_its_name(level: int, handler: FileHandler, logger: logging.Logger) -> None:
    logger.setLevel(1)
    handler.setFormatter(logging.Formatter("%(levelno)d %(levelname)s"))
    logger.log(level, "text")
    assert last_line(handler) == f"{level} {logging.getLevelName(level)}"


def test_names_of_levels_that_are_added_later_count(
    handler: FileHandler, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "_levelToName", logging._levelToName)
    handler.setFormatter(logging.Formatter("%(levelname)s"))
    logger.log(17, "text")
    assert last_line(handler) == "Level 17"
    logging.addLevelName(17, "TRACE")
    try:
        logger.log(17, "text")
    finally:
        del logging._levelToName[17], logging._nameToLevel["TRACE"]
    assert last_line(handler) == "TRACE"


@pytest.mark.parametrize("name", ["a.b.py", ".hidden", "..py", "plain", "dir.d/mod.py", "..a.py", "/x/y.z/"])
def test_module_and_file_are_those_of_os_path(name: str, handler: FileHandler, logger: logging.Logger) -> None:
    handler.setFormatter(logging.Formatter("%(pathname)s|%(filename)s|%(module)s"))
    exec(compile("logger.info('text')", name, "exec"), {"logger": logger})
    base = os.path.basename(name)
    assert last_line(handler) == f"{name}|{base}|{os.path.splitext(base)[0]}"


def test_time_and_milliseconds_are_of_now_and_of_each_other(handler: FileHandler, logger: logging.Logger) -> None:
    handler.setFormatter(logging.Formatter("%(created)r %(msecs)r %(asctime)s"))
    for _ in range(300):
        earliest = time.time()
        logger.info("text")
        latest = time.time()
        created, milliseconds, text = last_line(handler).split(" ", 2)
        assert earliest <= float(created) <= latest
        assert abs(float(created) % 1 * 1000 - float(milliseconds)) < 1.001
        assert float(milliseconds).is_integer()
        if sys.version_info < (3, 13):
            assert float(milliseconds) == int((float(created) - int(float(created))) * 1000)
        record = logging.makeLogRecord({"created": float(created), "msecs": float(milliseconds)})
        assert text == logging.Formatter().formatTime(record)
        time.sleep(0.005)


class Twice:
    """A record that is there already, for the way of `handle`."""

    def __init__(self, handler: FileHandler) -> None:
        self.handler = handler

    def time(self, created: float, milliseconds: float) -> str:
        record = logging.makeLogRecord({"msg": "text", "created": created, "msecs": milliseconds, "levelno": 20})
        self.handler.handle(record)
        return last_line(self.handler)


FORMS = [None, "", "%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%a %d %b %y %Z", "%c", "%j%%", "\xe4 %S"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "XYZ-7:30"])
@pytest.mark.parametrize("form", FORMS)
def test_times_are_the_librarys(
    form: str | None, zone: str, handler: FileHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        plain = logging.Formatter("%(asctime)s", form)
        handler.setFormatter(plain)
        twice = Twice(handler)
        # Both changes of the clock in Berlin in 2026, and what is before the epoch.
        changes = [1774746000, 1792890000, 0, -1, -86400, 4102444800]
        for created in [change + step for change in changes for step in (-1, -0.001, 0, 0, 0.25, 1)]:
            record = logging.makeLogRecord({"created": created, "msecs": 7.0})
            assert twice.time(float(created), 7.0) == plain.formatTime(record, form), created
    finally:
        monkeypatch.undo()
        time.tzset()


def test_another_zone_counts_within_the_second(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s"))
    twice, texts = Twice(handler), []
    for zone in ("UTC0", "JST-9", "UTC0"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        texts.append(twice.time(1700000000.5, 500.0))
    monkeypatch.undo()
    time.tzset()
    assert texts == ["2023-11-14 22:13:20,500", "2023-11-15 07:13:20,500", "2023-11-14 22:13:20,500"]


def test_what_is_set_on_the_formatters_class_counts_at_once(
    handler: FileHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    formatter = logging.Formatter("%(asctime)s")
    handler.setFormatter(formatter)
    twice = Twice(handler)
    changes: list[tuple[str, Any]] = [
        ("converter", time.gmtime),
        ("default_msec_format", "%s.%03d"),
        ("default_msec_format", None),
        ("default_time_format", "%H:%M"),
        ("converter", staticmethod(lambda seconds: time.gmtime(seconds + 3600))),
        ("formatTime", lambda self, record, datefmt=None: "never"),
    ]
    texts = [twice.time(1700000000.5, 500.0)]
    for name, value in changes:
        monkeypatch.setattr(logging.Formatter, name, value)
        record = logging.makeLogRecord({"created": 1700000000.5, "msecs": 500.0})
        texts.append(twice.time(1700000000.5, 500.0))
        assert texts[-1] == formatter.formatTime(record), name
    assert texts[-1] == "never"
    assert len(set(texts)) >= len(changes)


def _replaced(name: str, of: Any = logging.Logger) -> Change:
    def replace(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
        owner = {"logger": logger, "handler": handler}.get(of, of) if isinstance(of, str) else of
        before = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **names: before(*args, **names))

    replace.__name__ = f"{getattr(of, '__name__', of)}.{name}"
    return replace


def _filter(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    logger.addFilter(lambda record: True)


def _factory(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "_logRecordFactory", lambda *args, **names: logging.LogRecord(*args, **names))


def _second_handler(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    logger.addHandler(logging.NullHandler())


def _handler_above(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    logger.parent = logging.Logger("above")
    logger.parent.addHandler(logging.NullHandler())


def _other_class_above(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    class Above(logging.Logger):
        pass

    logger.parent = Above("above")


def _field_of_its_own(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.setFormatter(logging.Formatter("%(relativeCreated)d %(message)s"))


def _no_processes(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "logProcesses", False)
    handler.setFormatter(logging.Formatter("%(process)s %(message)s"))


def _no_threads(logger: logging.Logger, handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "logThreads", False)
    handler.setFormatter(logging.Formatter("%(threadName)s %(message)s"))


CLOCK = "time_ns" if sys.version_info >= (3, 13) else "time"
METHODS = ["findCaller", "makeRecord", "handle", "filter", "callHandlers"]


@pytest.mark.parametrize(
    "change",
    [
        *(_replaced(name) for name in METHODS),
        *(_replaced(name, "logger") for name in METHODS),
        _replaced("handle", "handler"),
        _replaced("handle", FileHandler),
        *(_replaced(name, logging.LogRecord) for name in ("__init__", "getMessage")),
        *(_replaced(name, time) for name in (CLOCK, "strftime")),
        *(_filter, _factory, _second_handler, _handler_above, _other_class_above),
        *(_field_of_its_own, _no_processes, _no_threads),
    ],
    ids=lambda change: change.__name__,
)
def test_whoever_wants_to_see_a_record_sees_it(
    change: Change, handler: FileHandler, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    if change.__name__ == "time.strftime":
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    assert way(logger) == DIRECT
    change(logger, handler, monkeypatch)
    assert way(logger) != DIRECT


def test_a_logger_of_another_class_is_asked(tmp_path: Path) -> None:
    class Mine(logging.Logger):
        pass

    mine = Mine("mine")
    mine.addHandler(FileHandler(tmp_path / "app.log"))
    mine.info("first")
    assert way(mine) == QUICK
    mine.handlers[0].close()


@pytest.mark.parametrize(
    "names",
    [{"extra": {"order": 7}}, {"exc_info": True}, {"stack_info": True}, {"stacklevel": 2}],
    ids=lambda names: next(iter(names)),
)
def test_what_is_more_than_a_message_makes_a_record(
    names: dict[str, Any], handler: FileHandler, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    before = logging.Logger.makeRecord
    monkeypatch.setattr(logging.Logger, "makeRecord", lambda *args: made.append(args) or before(*args))
    logger.info("text", **names)
    assert len(made) == 1


def test_other_handlers_that_do_not_want_the_level_are_no_hindrance(
    handler: FileHandler, logger: logging.Logger
) -> None:
    console = logging.StreamHandler()
    console.setLevel(logging.ERROR)
    logger.addHandler(console)
    logger.parent = logging.Logger("above")
    assert way(logger) == DIRECT
    handler.setLevel(logging.WARNING)
    logger.info("below")
    assert "below" not in last_line(handler)


def test_above_a_logger_that_does_not_propagate_nobody_is_asked(
    handler: FileHandler, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _handler_above(logger, handler, monkeypatch)
    logger.propagate = False
    assert way(logger) == DIRECT


def test_a_handler_of_a_parent_writes_its_childrens_records(handler: FileHandler, logger: logging.Logger) -> None:
    child = logging.Logger("shop.child")
    child.parent, child.handlers = logger, []
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    child.info("%s", "text")
    assert last_line(handler) == "shop.child text"
    logger.disabled = True
    child.info("a disabled parent is not asked")
    assert last_line(handler) == "shop.child a disabled parent is not asked"


def test_a_disabled_logger_writes_nothing(handler: FileHandler, logger: logging.Logger) -> None:
    logger.disabled = True
    logger.info("text")
    logger._log(logging.INFO, "text", ())
    assert last_line(handler) == DIRECT


def test_the_level_in_a_record_is_what_was_asked_for(handler: FileHandler, logger: logging.Logger) -> None:
    """A level that is no plain number, as of an `IntEnum`, goes the long way and is written as there."""
    from enum import IntEnum

    class Level(IntEnum):
        NOTICE = 25

    handler.setFormatter(logging.Formatter("%(levelno)d %(message)s"))
    logger.log(Level.NOTICE, "text")
    assert last_line(handler) == "25 text"


def test_the_root_logger_goes_that_way_too(tmp_path: Path) -> None:
    """In a process of its own, with what `basicConfig` sets up."""
    program = (
        "import logging, sys\n"
        "from logboom.handlers import FileHandler\n"
        f"handler = FileHandler({str(tmp_path / 'app.log')!r})\n"
        "logging.basicConfig(level=logging.INFO, handlers=[handler])\n"
        "class Asked:\n"
        "    def __str__(self):\n"
        "        return sys._getframe(1).f_code.co_name\n"
        "logging.info('first')\n"
        "logging.info('%s', Asked())\n"
        "logging.getLogger('shop').warning('%s', Asked())\n"
    )
    run_in(tmp_path, program)
    lines = (tmp_path / "app.log").read_text().splitlines()
    assert lines == ["INFO:root:first", "INFO:root:info", "WARNING:shop:warning"]


def test_hooks_that_rotate_are_called_with_a_record_that_says_where(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = RotatingFileHandler(tmp_path / "app.log", maxBytes=100, backupCount=3)
    seen: list[logging.LogRecord] = []

    def fails(name: str) -> str:
        raise ValueError("no name")

    handler.namer = fails
    monkeypatch.setattr(RotatingFileHandler, "handleError", lambda self, record: seen.append(record))
    logger.addHandler(handler)
    for number in range(40):
        line = sys._getframe().f_lineno + 1
        logger.info("record number %d", number)
    assert seen
    record = seen[-1]
    assert (record.name, record.levelno, record.filename) == (logger.name, logging.INFO, "test_direct.py")
    assert re.fullmatch(r"record number \d+", record.getMessage())
    assert record.lineno == line


def test_threads_keep_their_names_and_lose_nothing(handler: FileHandler, logger: logging.Logger) -> None:
    handler.setFormatter(logging.Formatter("%(threadName)s %(message)s"))

    def work() -> None:
        for number in range(500):
            logger.info("%d", number)

    threads = [threading.Thread(target=work, name=f"T{index}") for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = Path(handler.baseFilename).read_text().splitlines()[2:]
    for thread in threads:
        own = [line for line in lines if line.startswith(thread.name + " ")]
        assert own == [f"{thread.name} {number}" for number in range(500)]


def test_whoever_replaced_the_method_first_is_left_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: logging.Logger, *args: Any, **names: Any) -> None: ...

    monkeypatch.setattr(_logger, "_users", set())
    monkeypatch.setattr(logging.Logger, "_log", other)
    _logger.use("test")
    assert logging.Logger._log is other
    _logger.leave("test")
    assert logging.Logger._log is other


def test_the_librarys_method_comes_back_with_the_last_user(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _logger._PLAIN
    monkeypatch.setattr(_logger, "_users", set())
    monkeypatch.setattr(logging.Logger, "_log", plain)
    _logger.use("one")
    _logger.use("other")
    assert logging.Logger._log is not plain
    _logger.leave("one")
    assert logging.Logger._log is not plain
    _logger.leave("other")
    assert logging.Logger._log is plain


def test_what_is_only_recorded_is_not_written_by_a_file_handler(tmp_path: Path) -> None:
    """With the recorder on before the first file handler logs: the application's own handler gets what is enabled."""
    (tmp_path / "logboom.toml").write_text(
        'level = "info"\n[files.main]\npath = "main.log"\n[recorder]\nlevel = "debug"\n'
    )
    program = (
        "import logging, logboom\n"
        "logboom.configure()\n"
        "from logboom.handlers import FileHandler\n"
        "own = logging.getLogger('own')\n"
        "own.propagate = False\n"
        "own.addHandler(FileHandler('own.log'))\n"
        "for number in range(4):\n"
        "    own.debug('debug')\n"
        "    own.info('info')\n"
        "root = logging.getLogger('shop')\n"
        "root.addHandler(FileHandler('shop.log'))\n"
        "for number in range(4):\n"
        "    root.debug('debug')\n"
        "    root.info('info')\n"
    )
    run_in(tmp_path, program)
    assert (tmp_path / "own.log").read_text() == "info\n" * 4
    assert (tmp_path / "shop.log").read_text() == "info\n" * 4
    assert [line.rpartition(" ")[2] for line in (tmp_path / "main.log").read_text().splitlines()] == ["info"] * 4


def test_the_clock_of_the_text_is_the_clock_of_the_record(handler: FileHandler, logger: logging.Logger) -> None:
    """To the second, over the turn of one: the text that is kept is not that of the second before."""
    handler.setFormatter(logging.Formatter("%(created).3f %(asctime)s"))
    end = time.time() + 1.2
    while time.time() < end:
        logger.info("text")
        time.sleep(0.01)
    for line in Path(handler.baseFilename).read_text().splitlines()[2:]:
        created, text = line.split(" ", 1)
        told = datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()
        assert abs(told - float(created)) < 0.002


@pytest.mark.parametrize("seeing", [False, True])
def test_the_handlers_lock_is_held_while_its_own_code_rotates(
    seeing: bool, tmp_path: Path, logger: logging.Logger
) -> None:
    handler = RotatingFileHandler(tmp_path / "app.log", maxBytes=100, backupCount=3)
    found: list[bool] = []

    def namer(name: str) -> str:
        def acquire() -> None:
            assert handler.lock is not None
            found.append(handler.lock.acquire(blocking=False))
            if found[-1]:
                handler.lock.release()

        other = threading.Thread(target=acquire)
        other.start()
        other.join()
        return name

    handler.namer = namer
    logger.addHandler(handler)
    if seeing:
        logger.addFilter(lambda record: True)
    for number in range(40):
        logger.info("record number %d", number)
    assert found
    assert not any(found)
