"""What holds of a formatted record: it never raises, it cannot be forged, and it says what it was given."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import logging
import logging.config
import math
import pickle
import threading
import uuid
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import pytest
from logboom import context, formats
from logboom._native import Encoder
from logboom.formats import JsonFormatter, LogfmtFormatter, TextFormatter, safe_message

ALL = [TextFormatter, JsonFormatter, LogfmtFormatter]


class Unprintable:
    """As bad as a class in an application can be."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__


class Endless:
    """Asks itself for its text."""

    def __str__(self) -> str:
        return str(self)

    __repr__ = __str__


def record(msg: object = "hello", *args: object, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    """A record as `logging.Logger` makes it."""
    return logging.getLogger("shop.pay").makeRecord(
        "shop.pay", level, "/srv/pay.py", 12, msg, args, extra.pop("exc_info", None), "pay", extra or None
    )


def as_json(made: logging.LogRecord, **options: Any) -> dict[str, Any]:
    """The record's JSON line, read; a name that stands twice is an error."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(set(names)) == len(names), names
        return dict(pairs)

    line = JsonFormatter(**options).format(made)
    assert "\n" not in line
    read = json.loads(line, object_pairs_hook=once)
    assert isinstance(read, dict)
    return read


def failed(error: BaseException) -> Any:
    """`exc_info` of `error`, raised."""
    try:
        raise error
    except BaseException as raised:
        return (type(raised), raised, raised.__traceback__)


class TestWhatARecordSays:
    def test_json_has_typed_fields_under_opentelemetrys_names(self) -> None:
        made = record("paid %d", 7, order=7, total=1.5, paid=True, note=None, code="12")
        read = as_json(made)
        assert datetime.datetime.fromisoformat(read["timestamp"].removesuffix("000Z") + "+00:00").timestamp() == (
            pytest.approx(made.created, abs=1e-5)
        )
        expected = {
            "severity_text": "INFO",
            "severity_number": 9,
            "otel.scope.name": "shop.pay",
            "body": "paid 7",
            "log.record.template": "paid %d",
            "order": 7,
            "total": 1.5,
            "paid": True,
            "note": None,
            "code": "12",
            "code.file.path": "/srv/pay.py",
            "code.line.number": 12,
            "code.function.name": "pay",
            "process.pid": made.process,
            "thread.id": threading.get_ident(),
            "thread.name": "MainThread",
        }
        assert {name: value for name, value in read.items() if name != "timestamp"} == expected

    def test_values_of_all_types(self) -> None:
        class Status(IntEnum):
            OK = 200

        moment = datetime.datetime(2026, 11, 20, 16, 30, tzinfo=datetime.timezone.utc)
        id_ = uuid.UUID(int=5)
        values: dict[str, tuple[object, object]] = {
            "status": (Status.OK, 200),
            "large": (2**64 - 1, 2**64 - 1),
            "huge": (10**30, str(10**30)),
            "gigantic": (10**10000, "<unprintable int: ValueError>"),
            "nan": (math.nan, "NaN"),
            "inf": (-math.inf, "-Infinity"),
            "bytes": (b"caf\xc3\xa9 \xff\x00", "café \\xff\x00"),
            "moment": (moment, "2026-11-20T16:30:00+00:00"),
            "id": (id_, str(id_)),
            "price": (decimal.Decimal("1.50"), "1.50"),
            "error": (KeyError("x"), "KeyError('x')"),
            "list": ([1, "a", None], [1, "a", None]),
            "tuple": ((1, (2,)), [1, [2]]),
            "set": ({1}, [1]),
            "map": ({"a": {1: b"x"}}, {"a": {"1": "x"}}),
        }
        read = as_json(record(**{name: given for name, (given, _) in values.items()}))
        assert {name: read[name] for name in values} == {name: shown for name, (_, shown) in values.items()}

    def test_text_is_aligned_and_only_the_level_is_coloured(self) -> None:
        for level, colour in [(10, "90"), (20, "32"), (30, "33"), (40, "31"), (50, "97;41")]:
            made = record("hi", level=level, order=7)
            plain = TextFormatter(utc=True).format(made)
            name = logging.getLevelName(level)
            assert plain[23:] == f"Z {name:8} [{made.process}] shop.pay: hi | order=7"
            coloured = TextFormatter(utc=True, colour=True).format(made)
            assert coloured == plain.replace(name, f"\x1b[{colour}m{name}\x1b[0m", 1)

    def test_local_time_is_the_machines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        made = record()
        made.created = 1_784_565_001.5
        assert TextFormatter().format(made).startswith("2026-07-20 18:30:01.500 INFO ")

    def test_an_exception_and_a_stack(self) -> None:
        made = record("boom", exc_info=failed(ValueError("a\nb")))
        made.stack_info = "Stack:\n  here"
        read = as_json(made)
        assert read["exception.type"] == "ValueError"
        assert read["exception.message"] == "a\nb"
        assert read["exception.stacktrace"].startswith("Traceback (most recent call last):\n")
        assert read["code.stacktrace"] == "Stack:\n  here"
        lines = TextFormatter().format(made).split("\n")
        assert lines[1] == "    Traceback (most recent call last):"
        assert lines[-4:] == ["    ValueError: a", "    b", "    Stack:", "      here"]

    def test_exception_info_without_an_exception(self) -> None:
        made = record("fine", exc_info=(None, None, None))
        assert "NoneType" not in TextFormatter().format(made)
        assert not [name for name in as_json(made) if name.startswith("exception")]

    def test_a_pickled_record_reads_the_same(self) -> None:
        """What `QueueHandler` sends: the message made, no arguments, keys that are other objects."""
        made = record("paid %s", "x", order=7)
        copy = logging.makeLogRecord(pickle.loads(pickle.dumps(made.__dict__)))
        assert JsonFormatter().format(copy) == JsonFormatter().format(made)

    def test_the_request_and_what_is_bound(self) -> None:
        request = context.Request("r-1", "GET", "/pay me", "10.0.0.1")
        context.begin(request)
        try:
            context.set_user("bob")
            with context.bind(order=7, total=1):
                made = record("paid", total=2)
                read = as_json(made)
                text = TextFormatter().format(made)
        finally:
            context.end(request)
        assert (read["request_id"], read["http.request.method"], read["url.path"]) == ("r-1", "GET", "/pay me")
        assert (read["client.address"], read["user.id"]) == ("10.0.0.1", "bob")
        assert (read["order"], read["total"]) == (7, 2), "what the record says itself comes first"
        assert text.endswith("paid | total=2 order=7 request_id=r-1")
        assert "request_id" not in as_json(record("later"))

    def test_private_attributes_and_leftovers_are_no_fields(self) -> None:
        made = record(_seen=True, color_message="\x1b[1mx")
        made.__dict__.update(asctime="now", message="hello", taskName="Task-1")
        before = set(as_json(record()))
        assert set(as_json(made)) == before


class TestNothingIsForged:
    FORGED = "x\r\n2026-11-20 16:30:01.123 INFO     [1] root: logged in | user=root\x1b[2J\u2028\x85\x00\u202e"

    def everywhere(self) -> logging.LogRecord:
        """A record with the forgery in each of its places."""
        made = record(self.FORGED, **{"field": self.FORGED, self.FORGED: 1, "deep": {self.FORGED: [self.FORGED]}})
        for name in ("name", "levelname", "pathname", "funcName", "threadName", "processName"):
            setattr(made, name, self.FORGED)
        made.stack_info = self.FORGED
        made.exc_info = failed(ValueError(self.FORGED))
        return made

    def test_no_value_begins_a_line_or_repaints_a_terminal(self) -> None:
        request = context.Request(self.FORGED, self.FORGED, self.FORGED, self.FORGED)
        context.begin(request)
        try:
            for kind in ALL:
                lines = kind().format(self.everywhere()).split("\n")
                assert all(line.startswith("    ") for line in lines[1:])
                assert len(lines) == 1 or kind is TextFormatter
                for line in lines:
                    assert not {c for c in line if c < " " or c in "\x7f\x85\u2028\u202e"}, line
        finally:
            context.end(request)

    @pytest.mark.parametrize("message", ["x | user=root", "| user=root", "x |", "x  | user=root"])
    def test_a_message_has_no_fields(self, message: str) -> None:
        line = TextFormatter().format(record(message, order=7))
        assert line.split(" | ")[1:] == ["order=7"]
        assert " | " not in TextFormatter().format(record(message))

    def test_a_field_of_the_user_never_replaces_ours(self) -> None:
        ours = as_json(record("real"))
        read = as_json(record("real", **dict.fromkeys(ours, "forged")))
        same = [name for name in ours if name != "timestamp"]
        assert {name: read[name] for name in same} == {name: ours[name] for name in same}
        assert read["extra.body"] == "forged"

    def test_logfmt_quotes_what_would_be_another_pair(self) -> None:
        line = LogfmtFormatter().format(record("a user.id=root", who='" user.id="root', **{"a b=c": 1}))
        assert ' body="a user.id=root" ' in line
        assert ' who="\\" user.id=\\"root" ' in line
        assert " a\\x20b\\x3dc=1 " in line


class TestNothingRaises:
    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize(
        "error", [ValueError("x"), RecursionError(), MemoryError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")]
    )
    def test_values_that_cannot_be_shown(self, kind: Callable[[], logging.Formatter], error: Exception) -> None:
        bad = Unprintable(error)
        mark = f"<unprintable {{}}Unprintable: {type(error).__name__}>"
        made = record("of %s and %r by %s", "x", bad, bad, field=bad, deep=[{"a": bad}], bad=1)
        made.__dict__[bad] = bad  # type: ignore[index]
        line = kind().format(made)
        assert f"of x and {mark.format('')} by {mark.format('')}" in line
        assert line.replace("\\x20", " ").count(mark.format(f"{__name__}.")) == 4
        assert mark.format("") in kind().format(record(bad))

    @pytest.mark.parametrize("kind", ALL)
    def test_endless_recursion_is_a_mark(self, kind: Callable[[], logging.Formatter]) -> None:
        line = kind().format(record("of %s", Endless(), field=Endless()))
        assert line.count("Endless: RecursionError>") == 2

    @pytest.mark.parametrize(
        ("made", "shown"),
        [
            (("%s %s", 1), "%s %s <not formatted: TypeError: not enough arguments for format string; arguments: (1,)>"),
            (("a %s", 1, 2), "arguments: (1, 2)>"),
            (("a %d", "x"), "arguments: ('x',)>"),
            (("a %(b)s", {"c": 1}), "KeyError: 'b'; arguments: {'c': 1}>"),
            (("a %", 1), "ValueError: incomplete format; arguments: (1,)>"),
            (("a %s", {}), "a {}"),
            (("100%",), "100%"),
        ],
    )
    def test_arguments_that_do_not_fit_stand_behind_the_message(self, made: tuple[Any, ...], shown: str) -> None:
        made_record = record(*made)
        assert shown in safe_message(made_record)
        for kind in ALL:
            assert kind().format(made_record)

    def test_many_and_long_arguments_are_cut(self) -> None:
        message = safe_message(record("none", *["x" * 10_000] * 1000))
        assert "990 more" in message
        assert len(message) < 4000

    @pytest.mark.parametrize("kind", ALL)
    def test_text_that_is_no_text(self, kind: Callable[[], logging.Formatter]) -> None:
        line = kind().format(record("a\udc80\x00b", field="\ud800", path=b"\xff\xfe", **{"\udcff": 1}))
        assert "udc80" in line
        assert "ud800" in line
        line.encode()

    @pytest.mark.parametrize("kind", ALL)
    def test_what_is_too_long_is_cut_with_a_mark(self, kind: Callable[..., logging.Formatter]) -> None:
        long = "é\n" * 1_000_000
        made = record(long, field=long, deep=[long] * 100, wide=dict.fromkeys(range(100_000)), **{long: 1})
        made.exc_info = failed(ValueError(long))
        request = context.Request("r", "GET", long, "c")
        request.path = long
        context.begin(request)
        try:
            for most in (16 << 10, 128 << 10):
                line = kind(record_bytes_max=most).format(made)
                assert len(line.encode()) < most
                assert "[logboom: cut, 3000000 bytes in all]" in line
                assert "more left out" in line
        finally:
            context.end(request)

    @pytest.mark.parametrize("kind", ALL)
    def test_a_long_traceback_keeps_both_ends(self, kind: Callable[[], logging.Formatter]) -> None:
        made = record("x")
        made.exc_text = "first line\n" + "middle\n" * 100_000 + "ValueError: last"
        line = kind().format(made)
        assert "first line" in line
        assert "ValueError: last" in line
        assert "[logboom: cut, " in line

    @pytest.mark.parametrize("kind", ALL)
    def test_containers_in_themselves(self, kind: Callable[[], logging.Formatter]) -> None:
        cycle: list[Any] = [1]
        cycle.append({"me": cycle})
        deep: list[Any] = []
        for _ in range(10_000):
            deep = [deep]
        line = kind().format(record(cycle=cycle, deep=deep))
        assert "contains itself" in line
        assert "too deep" in line

    def test_sets_of_a_class_of_their_own(self) -> None:
        class Own(set):  # type: ignore[type-arg]
            def __iter__(self) -> Any:
                raise ValueError

            __repr__ = __iter__

        assert as_json(record(field=[Own()]))["field"][0].endswith("Own: ValueError>")

    def test_containers_that_change_while_they_are_shown(self) -> None:
        victims: list[Any] = []

        class Changes:
            def __str__(self) -> str:
                for victim in victims:
                    victim.clear()
                made.__dict__.clear()
                return "changed"

        victims.extend([[Changes(), 1, 2], {"a": Changes(), "b": 1}, {Changes(), 1}])
        made = record("x", list=victims[0], map=victims[1], set=victims[2], last=Changes())
        assert as_json(made)["last"] == "changed"

    def test_exceptions_that_cannot_be_shown(self) -> None:
        class Bad(ValueError):
            def __str__(self) -> str:
                raise RuntimeError

            __repr__ = __str__

        made = record("x", exc_info=failed(Bad()))
        read = as_json(made)
        assert read["exception.message"].startswith("<unprintable ")
        assert "Traceback" in read["exception.stacktrace"]

    def test_a_traceback_that_cannot_be_made_is_a_mark(self) -> None:
        class Broken(JsonFormatter):
            def formatException(self, ei: Any) -> str:
                raise RuntimeError

        made = record("x", exc_info=failed(ValueError("why")))
        read = json.loads(Broken().format(made))
        assert read["exception.stacktrace"] == "<traceback not made: RuntimeError>"
        assert read["exception.message"] == "why"

    def test_attributes_of_the_wrong_type(self) -> None:
        for value in (None, "x", -5, 10**30, math.nan, [], Unprintable(ValueError())):
            made = record("still here")
            for name in list(made.__dict__):
                if name not in ("msg", "args", "exc_info", "exc_text"):
                    setattr(made, name, value)
            for kind in ALL:
                assert "still here" in kind().format(made)

    def test_a_record_with_nothing_in_it(self) -> None:
        for kind in ("text", "json", "logfmt"):
            assert "1970-01-01" in Encoder(kind, utc=True).encode({}, "", None, None, None)
            assert Encoder(kind).encode({}, "", object(), {}, None), "a request without attributes"

    def test_a_request_that_raises(self) -> None:
        class Bad:
            @property
            def id(self) -> str:
                raise ValueError

            method = Unprintable(ValueError())

        line = Encoder("json").encode({}, "x", Bad(), None, None)
        assert json.loads(line)["http.request.method"] == f"<unprintable {__name__}.Unprintable: ValueError>"

    @pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
    def test_who_wants_to_end_the_process_may(self, error: BaseException) -> None:
        """A signal handler (Gunicorn's at a worker's timeout) raises wherever the program is."""
        for made in (record("x", field=Unprintable(error)), record("%s", Unprintable(error))):
            with pytest.raises(type(error)):
                JsonFormatter().format(made)

    def test_a_value_that_logs_while_it_is_shown(self) -> None:
        stream = io.StringIO()
        logger = logging.getLogger("logboom.test.inner")
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        logger.propagate = False

        class Logs:
            def __str__(self) -> str:
                logger.warning("inner")
                return "outer value"

        try:
            logger.warning("outer", extra={"field": Logs()})
        finally:
            logger.removeHandler(handler)
        inner, outer = map(json.loads, stream.getvalue().splitlines())
        assert inner["body"] == "inner"
        assert (outer["body"], outer["field"]) == ("outer", "outer value")


class TestRedaction:
    NAMES = ("password", "authorization", "cookie")

    @pytest.mark.parametrize("kind", ALL)
    def test_a_secret_is_hidden_in_every_place(self, kind: Callable[..., logging.Formatter]) -> None:
        made = record(
            "login(password='HUNTER2') with card 4111111111111111 %s",
            {"Authorization": "Bearer HUNTER2"},
            Password="HUNTER2",
            headers={"Cookie": "sid=HUNTER2", "n": [4111111111111111]},
            pairs=[("x", b"4111111111111111")],
            card=4111111111111111,
        )
        made.exc_info = failed(ValueError("password=HUNTER2 4111111111111111"))
        made.stack_info = '{"password": "HUNTER2"} 4111111111111111'
        line = kind(redact_names=self.NAMES, redact_patterns=[r"\b\d{13,19}\b"]).format(made)
        assert "HUNTER2" not in line
        assert "4111" not in line
        assert line.count("[redacted]") >= 8
        assert "HUNTER2" in kind().format(made), "nothing is hidden unless it is said"

    def test_the_lines_of_other_formatters(self) -> None:
        encoder = Encoder("text", redact_names=self.NAMES, redact_patterns=[r"\d{13,19}"])
        shown = "password=[redacted] card=[redacted] \\udc80"
        assert encoder.redact("password=x card=4111111111111111 \udc80") == shown
        clean = "nothing here"
        assert encoder.redact(clean) is clean

    @pytest.mark.parametrize("pattern", ["(", r"(?=x)", "x*", ""])
    def test_a_pattern_that_is_none_is_refused_by_name(self, pattern: str) -> None:
        with pytest.raises(ValueError, match="redact_patterns: `") as refused:
            JsonFormatter(redact_patterns=[pattern])
        assert f"`{pattern}`" in str(refused.value)

    def test_a_text_in_place_of_a_list_is_refused(self) -> None:
        with pytest.raises(TypeError, match="'password'"):
            JsonFormatter(redact_names="password")


class TestAsFormatters:
    def configured(self, formatter: Mapping[str, Any]) -> str:
        """What a handler of the standard library writes with this `dictConfig` formatter."""
        stream = io.StringIO()
        logger = logging.getLogger("logboom.test.configured")
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"ours": dict(formatter)},
                "handlers": {"h": {"class": "logging.StreamHandler", "stream": stream, "formatter": "ours"}},
                "loggers": {logger.name: {"handlers": ["h"], "propagate": False}},
            }
        )
        logger.warning("hello %s", "you", extra={"order": 7})
        logger.handlers.clear()
        return stream.getvalue()

    def test_by_class_in_dict_config(self) -> None:
        line = self.configured({"class": "logboom.formats.JsonFormatter"})
        assert json.loads(line)["body"] == "hello you"

    def test_by_factory_with_options(self) -> None:
        line = self.configured({"()": "logboom.formats.TextFormatter", "utc": True, "redact_names": ["order"]})
        assert line.endswith(" logboom.test.configured: hello you | order=[redacted]\n")

    def test_a_format_string_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"JsonFormatter has a format of its own, so fmt='%\(message\)s'"):
            JsonFormatter("%(message)s")

    def test_unknown_words_are_refused(self) -> None:
        with pytest.raises(ValueError, match="'text', 'json' or 'logfmt', not 'xml'"):
            Encoder("xml")
        with pytest.raises(ValueError, match="colour must be"):
            TextFormatter(colour="maybe")
        with pytest.raises(TypeError):
            JsonFormatter(colours=True)

    def test_colour_follows_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setattr("sys.stderr", Terminal())
        assert "\x1b[" in TextFormatter(colour="auto").format(record())
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b[" not in TextFormatter(colour="auto").format(record())

    def test_the_traceback_is_made_once_and_shared(self) -> None:
        made = record("x", exc_info=failed(ValueError("y")))
        JsonFormatter().format(made)
        assert made.exc_text == logging.Formatter().formatException(made.exc_info)  # type: ignore[arg-type]
        assert formats.exception_text(made) is made.exc_text

    def test_threads_share_a_formatter(self) -> None:
        formatter = JsonFormatter()
        lines: list[str] = []

        def work(number: int) -> None:
            for _ in range(200):
                lines.append(formatter.format(record("x" * number, number=number)))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        read = [json.loads(line) for line in lines]
        assert len(read) == 1600
        assert all(len(one["body"]) == one["number"] for one in read)
