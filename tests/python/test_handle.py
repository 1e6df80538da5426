"""A plain record is handled by one native call, and nobody can tell but by the time it takes.

Which way a record went is told by an argument whose text is the name of the function that asked for it: `info` where
no `LogRecord` is made (test_direct.py has more of those), the logger's `callHandlers` where the native side formats
one, and `getMessage` where the standard library does. All tests are about the first two ways.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from logboom.handlers import FileHandler, RotatingFileHandler, TimedRotatingFileHandler, WatchedFileHandler

DIRECT, QUICK, SLOW = "info", "callHandlers", "getMessage"


@pytest.fixture(params=[DIRECT, QUICK])
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """One without a parent: no other handler, pytest's neither, formats its records."""
    found = logging.Logger("component")
    if request.param == QUICK:
        # It sees the record, so there must be one.
        found.addFilter(lambda record: True)
    yield found
    for handler in found.handlers:
        handler.close()


class Asked:
    """Its text is who asks for it."""

    def __str__(self) -> str:
        return sys._getframe(1).f_code.co_name


@pytest.fixture
def handler(tmp_path: Path, logger: logging.Logger) -> FileHandler:
    """A handler that has had its first record."""
    made = FileHandler(tmp_path / "app.log")
    logger.addHandler(made)
    logger.info("first")
    return made


def way(logger: logging.Logger) -> str:
    """The way that a record takes now."""
    handler = logger.handlers[0]
    assert isinstance(handler, FileHandler)
    logger.info("%s", Asked())
    return last_line(handler).rpartition(" ")[2]


def shortest(logger: logging.Logger) -> str:
    """The way that a plain record takes."""
    return QUICK if logger.filters else DIRECT


def last_line(handler: FileHandler) -> str:
    handler.flush()
    return Path(handler.baseFilename).read_text().splitlines()[-1]


@pytest.mark.parametrize("kind", [FileHandler, RotatingFileHandler, TimedRotatingFileHandler, WatchedFileHandler])
def test_a_plain_record_takes_the_shortest_way(kind: Any, tmp_path: Path, logger: logging.Logger) -> None:
    logger.addHandler(kind(tmp_path / "app.log"))
    logger.info("first")
    assert way(logger) == shortest(logger)


def test_so_it_does_with_a_formatter_of_the_library(handler: FileHandler, logger: logging.Logger) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    assert way(logger) == shortest(logger)


class Quiet(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record)


def _replaced(name: str, of: str = "logging.Handler") -> Callable[[FileHandler, pytest.MonkeyPatch], None]:
    def replace(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
        owner: Any = {
            "logging.Handler": type(handler),
            "logging.Formatter": logging.Formatter,
            "logging.LogRecord": logging.LogRecord,
            "handler": handler,
        }[of]
        before = getattr(owner, name)

        def getMessage(*args: Any) -> Any:
            return before(*args)

        monkeypatch.setattr(owner, name, getMessage)

    return replace


def _filtered(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.addFilter(lambda record: True)


def _other_formatter(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.setFormatter(Quiet())


def _other_style(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.setFormatter(logging.Formatter("{message}", style="{"))


def _with_defaults(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.setFormatter(logging.Formatter("%(order)s %(message)s", defaults={"order": 7}))


def _method_on_formatter(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    formatter: Any = logging.Formatter()
    formatter.formatMessage = lambda record: record.message
    handler.setFormatter(formatter)


def _method_on_style(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    formatter: Any = logging.Formatter()
    formatter._style.format = lambda record: record.message
    handler.setFormatter(formatter)


def _other_default_formatter(handler: FileHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "_defaultFormatter", Quiet())


@pytest.mark.parametrize(
    "change",
    [
        *(_replaced(name) for name in ("emit", "format", "filter")),
        *(_replaced(name, "handler") for name in ("emit", "format", "filter", "acquire", "release")),
        _replaced("format", "logging.Formatter"),
        _replaced("getMessage", "logging.LogRecord"),
        *(_filtered, _other_formatter, _other_style, _with_defaults, _method_on_formatter, _method_on_style),
        _other_default_formatter,
    ],
)
def test_whoever_wants_to_see_a_record_sees_it(
    change: Callable[[FileHandler, pytest.MonkeyPatch], None],
    handler: FileHandler,
    logger: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert way(logger) == shortest(logger)
    change(handler, monkeypatch)
    assert way(logger) == SLOW


def test_methods_of_a_derived_class_are_called(tmp_path: Path, logger: logging.Logger) -> None:
    calls: list[str] = []

    class Mine(FileHandler):
        def acquire(self) -> None:
            calls.append("acquire")
            super().acquire()

        def handle(self, record: logging.LogRecord) -> Any:
            calls.append("handle")
            return super().handle(record)

    logger.addHandler(Mine(tmp_path / "app.log"))
    logger.info("first")
    calls.clear()
    assert way(logger) == SLOW
    assert "handle" in calls
    if sys.version_info < (3, 13):
        # From then on, the library's `handle` takes the lock itself.
        assert "acquire" in calls


CALLS: list[tuple[Any, ...]] = [
    ("plain",),
    ("no arguments: 100%",),
    ("%s and %d", "text", 7),
    ("%(a)s and %(b)r", {"a": 1, "b": "two"}),
    ("%s", {}),
    ("%s", ("a", "tuple")),
    ("%s", None),
    ("umlauts \xe4\xf6\xfc \u20ac %s", "\U0001f600"),
    (b"bytes",),
    (7,),
    ("two\nlines",),
    ("",),
]


TEMPLATES = [None, "%(levelname)-8s|%(name)s|%(message)s", "%(asctime)s %(msecs)03d %(message)s"]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_line_and_record_are_the_librarys(
    call: tuple[Any, ...], template: str | None, tmp_path: Path, logger: logging.Logger
) -> None:
    lines, records = [], []
    for handler in (FileHandler(tmp_path / "ours"), logging.FileHandler(tmp_path / "theirs", encoding="utf-8")):
        if template is not None:
            handler.setFormatter(logging.Formatter(template))
        record = logger.makeRecord("component", logging.WARNING, __file__, 1, call[0], call[1:], None)
        record.created, record.msecs = 1700000000.25, 250.0
        handler.handle(logging.makeLogRecord({"msg": "first"}))
        answer = handler.handle(record)
        assert answer is (record if sys.version_info >= (3, 12) else True)
        handler.close()
        lines.append(Path(handler.baseFilename).read_text(encoding="utf-8").splitlines()[1:])
        # The values that every record has of its own.
        own = {"relativeCreated", "thread"}
        records.append({name: value for name, value in vars(record).items() if name not in own})
    assert lines[0] == lines[1]
    assert records[0] == records[1]


def test_exceptions_and_stacks_are_written(handler: FileHandler, logger: logging.Logger) -> None:
    assert way(logger) == shortest(logger)
    try:
        raise KeyError("lost")
    except KeyError:
        logger.exception("failed")
    assert last_line(handler) == "KeyError: 'lost'"
    logger.info("here", stack_info=True)
    assert "stack_info=True" in last_line(handler)


def test_a_terminator_that_is_set_counts_at_once(handler: FileHandler, logger: logging.Logger) -> None:
    handler.terminator = ";\n"
    assert way(logger) == shortest(logger) + ";"


class Broken:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error


def test_what_fails_is_handled_once_and_written_never(
    handler: FileHandler, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[BaseException | None] = []
    monkeypatch.setattr(FileHandler, "handleError", lambda self, record: handled.append(sys.exc_info()[1]))
    error = ValueError("no text")
    logger.info("%s", Broken(error))
    logger.info("%s and %s", 1)
    logger.info("lone surrogate \udc80")
    assert handled[0] is error
    assert [type(found) for found in handled] == [ValueError, TypeError, UnicodeEncodeError]
    assert last_line(handler) == "first"


def test_what_ends_the_program_passes_and_leaves_no_lock(handler: FileHandler, logger: logging.Logger) -> None:
    with pytest.raises(KeyboardInterrupt):
        logger.info("%s", Broken(KeyboardInterrupt()))
    done = threading.Thread(target=logger.info, args=("from another thread",))
    done.start()
    done.join(10)
    assert not done.is_alive()
    assert last_line(handler) == "from another thread"


def test_the_handlers_lock_is_held(handler: FileHandler, logger: logging.Logger) -> None:
    assert handler.lock is not None
    with handler.lock:
        other = threading.Thread(target=logger.info, args=("later",))
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert last_line(handler) == "first"
    other.join(10)
    assert last_line(handler) == "later"


def test_a_record_that_logs_while_it_is_formatted_is_written_after_what_it_logged(
    handler: FileHandler, logger: logging.Logger
) -> None:
    class Talkative:
        def __str__(self) -> str:
            logger.info("inner")
            return "outer"

    logger.info("%s", Talkative())
    assert last_line(handler) == "outer"
    assert Path(handler.baseFilename).read_text().splitlines() == ["first", "inner", "outer"]


def test_a_handler_that_is_closed_while_a_record_is_formatted_opens_again(
    handler: FileHandler, logger: logging.Logger
) -> None:
    class Closing:
        def __str__(self) -> str:
            handler.close()
            return "closed"

    logger.info("%s", Closing())
    assert last_line(handler) == "closed"
