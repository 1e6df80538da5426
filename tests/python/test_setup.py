"""A configuration in force: each record once, in the files that take it, at the levels that are said; no exception."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from accounts import run

# How each program begins: an installation that writes to `app.log` in the folder given, and a way to read it.
START = """
import json, logging, os, sys, warnings
import logboom
os.chdir(sys.argv[1])
def lines(name="app.log"):
    return open(name).read().splitlines() if os.path.exists(name) else []
def bodies(name="app.log"):
    return [json.loads(line)["body"] for line in lines(name)]
def configure(**overrides):
    files = {"main": {"path": "app.log"}} | overrides.pop("files", {})
    return logboom.configure(files=files, **({"format": {"kind": "json"}} | overrides))
def same(found, expected):
    assert found == expected, f"found {found!r} instead of {expected!r}"
"""


def check(folder: Path, code: str, **env: str) -> str:
    """Run a program after `START`; gives what it wrote to standard error."""
    return run(START + textwrap.dedent(code), folder, **env).stderr


def test_importing_logboom_does_not_load_what_configure_needs(tmp_path: Path) -> None:
    check(tmp_path, 'same([name for name in sys.modules if name in ("logboom._setup", "logboom.context")], [])')


def test_records_of_all_loggers_and_warnings_are_one_stream(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        configure()
        logging.getLogger("shop").info("one %d", 1)
        logging.info("two")
        logging.getLogger("shop").debug("not")
        warnings.warn("three")
        found = bodies()
        same(found[:2], ["one 1", "two"])
        assert "UserWarning: three" in found[2], found
        same(len(found), 3)
        """,
    )


def test_text_on_standard_error_is_the_default(tmp_path: Path) -> None:
    said = check(tmp_path, 'logboom.configure()\nlogging.getLogger("shop").warning("hello")')
    assert "WARNING" in said
    assert said.endswith("shop: hello\n")
    assert "\x1b" not in said


@pytest.mark.parametrize("kind", ["text", "logfmt", "json"])
def test_each_format_escapes_what_could_forge_a_line(tmp_path: Path, kind: str) -> None:
    check(
        tmp_path,
        """
        configure(format={"kind": sys.argv[2]} if len(sys.argv) > 2 else {"kind": os.environ["KIND"]})
        logging.info("a\\nb\\x1b[31m %s", "c\\u2028d", extra={"order": "1\\n2"})
        (line,) = open("app.log", newline="\\n").read().split("\\n")[:-1]
        assert "\\x1b" not in line and "\\u2028" not in line, line
        """,
        KIND=kind,
    )


def test_a_record_that_comes_by_two_loggers_is_written_once(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        handler = configure().handler
        shop = logging.getLogger("shop")
        shop.handlers = logging.root.handlers
        shop.info("one")
        shop.addHandler(handler)
        shop.info("two")
        # A copy of the record, as a queue makes one.
        import copy
        class Copying(logging.Handler):
            def emit(self, record):
                handler.handle(copy.copy(record))
        shop.addHandler(Copying())
        shop.info("three")
        # The same text twice is two records.
        shop.info("three")
        same(bodies(), ["one", "two", "three", "three"])
        """,
    )


def test_files_take_what_is_theirs(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        configure(files={
            "db": {"path": "db.log", "components": ["shop.db"]},
            "both": {"path": "both.log", "components": ["shop.web"], "alone": False},
            "error": {"path": "error.log", "level": "error", "format": "text"},
            "loud": {"path": "loud.log", "components": ["shop.loud"], "level": "warning"},
        })
        get = logging.getLogger
        get("shop").info("m1"); get("shop").error("m2")
        get("shop.db").info("d1"); get("shop.db.pool").error("d2"); get("shop.dbx").info("m3")
        get("shop.web").info("b1")
        get("shop.loud").info("m4"); get("shop.loud").warning("l1")
        same(bodies(), ["m1", "m2", "m3", "b1", "m4"])
        same(bodies("db.log"), ["d1", "d2"])
        same(bodies("both.log"), ["b1"])
        same(bodies("loud.log"), ["l1"])
        same([line.rsplit(": ", 1)[1] for line in lines("error.log")], ["m2", "d2"])
        """,
    )


def test_the_application_never_sees_an_exception(tmp_path: Path) -> None:
    """Wrong arguments, values that raise, lone surrogates, NUL, cycles: each record is written, with a mark."""
    check(
        tmp_path,
        """
        handler = configure().handler
        class Bad:
            def __str__(self): raise ValueError("no")
            __repr__ = __str__
        class Worse:
            def __repr__(self): return repr(self)
        cycle = []; cycle.append(cycle)
        log = logging.getLogger("shop")
        log.info("too few %s %s", 1)
        log.info("bad %s", Bad())
        log.info(Bad())
        log.info("worse %r", Worse())
        log.info("surrogate \\udc80 and nul \\x00")
        log.info("fields", extra={"bad": Bad(), "cycle": cycle, "worse": Worse()})
        log.info("numbers %d", "x")
        handler.handle(logging.makeLogRecord({"msg": "made", "levelno": None, "name": 7}))
        class Cause(Exception):
            def __str__(self): raise RuntimeError
        try:
            raise Cause
        except Cause:
            log.exception("failed")
        same(len(lines()), 9)
        same([json.loads(line)["body"] for line in lines()][-1], "failed")
        """,
    )


def test_nothing_on_standard_error_when_all_is_well(tmp_path: Path) -> None:
    assert check(tmp_path, 'configure(); logging.info("x %s %s", 1)') == ""


def test_a_formatter_of_the_users_own_is_used_redacted_and_escaped(tmp_path: Path) -> None:
    said = check(
        tmp_path,
        """
        handler = configure(format={"kind": "text"}).handler
        handler.setFormatter(logging.Formatter("<%(levelname)s> %(message)s"))
        logging.info("a\\nb password=hunter2")
        try:
            1 / 0
        except ZeroDivisionError:
            logging.exception("oops")
        class Failing(logging.Formatter):
            def format(self, record): raise KeyError("nothing")
        handler.setFormatter(Failing())
        logging.info("still there")
        logging.info("again")
        text = open("app.log").read()
        first, second, *trace = text.splitlines()
        assert first.startswith("<INFO> a\\\\x0ab password=") and "hunter2" not in first, first
        same(second, "<ERROR> oops")
        assert trace[0] == "    Traceback (most recent call last):", trace
        assert "still there" in trace[-2] and "again" in trace[-1], trace
        """,
    )
    # It is told once, not with each record.
    assert said.count("KeyError: 'nothing'") == 1


def test_with_formatter_writes_to_the_same_files(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        installation = configure(format={"kind": "text"})
        twin = installation.with_formatter(logging.Formatter("T %(message)s"))
        access = logging.getLogger("access"); access.addHandler(twin)
        access.info("one")
        installation.reconfigure(installation.values | {"level": 10})
        access.info("two")
        same(lines(), ["T one", "T two"])
        """,
    )


def test_context_is_on_each_record(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        from logboom import context
        configure()
        request = context.Request("id-1", "GET", "/orders", "10.0.0.1")
        context.begin(request)
        with context.bind(order=7):
            logging.info("inside", extra={"more": 1.5})
        context.end(request)
        logging.info("outside")
        inside, outside = map(json.loads, lines())
        assert "id-1" in inside.values() and "/orders" in inside.values(), inside
        same((inside["order"], inside["more"]), (7, 1.5))
        assert "order" not in outside and "/orders" not in outside.values(), outside
        """,
    )


def test_levels_by_component_and_the_applications_own(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        get = logging.getLogger
        get("early").setLevel(logging.ERROR)
        installation = configure(level="warning", levels={"shop.db": "debug", "early": "info"})
        get("shop").info("not"); get("shop.db.pool").debug("1"); get("early").info("2")
        get("own").setLevel(logging.INFO); get("own").info("3")
        # What the application sets later stays, also when the configuration changes.
        get("shop.db").setLevel(logging.ERROR)
        configure(level="info", levels={"shop.db": "debug"})
        get("shop").info("4"); get("shop.db").info("not")
        same(get("early").level, logging.ERROR)
        same(bodies(), ["1", "2", "3", "4"])
        installation.remove()
        same((logging.root.level, get("shop.db").level, get("own").level), (30, 40, 20))
        same(logging.root.handlers, [])
        """,
    )


def test_records_below_the_level_reach_the_recorder_and_no_handler(tmp_path: Path) -> None:
    """With the recorder on: our handler gets them as not to be kept, others' handlers do not get them at all."""
    check(
        tmp_path,
        """
        seen = []
        class Console(logging.Handler):
            def emit(self, record): seen.append(record.getMessage())
        logging.root.addHandler(Console())
        before = logging.Logger.callHandlers
        installation = configure(level="warning", levels={"shop.db": "info"}, recorder={"level": "debug"})
        recorded = []
        installation.handler.keep = lambda record: recorded.append(record.getMessage())
        get = logging.getLogger
        get("shop").debug("a"); get("shop").warning("b"); get("shop.db").debug("c"); get("shop.db").info("d")
        get("shop").log(5, "never")
        # The application's own level wins: what it keeps out is not made.
        get("own").setLevel(logging.ERROR); get("own").warning("never"); get("own").error("e")
        same(recorded, ["a", "c"])
        same(seen, ["b", "d", "e"])
        same(bodies(), ["b", "d", "e"])
        del installation.handler.keep
        get("shop").debug("f")
        same(bodies(), ["b", "d", "e"])
        configure(level="warning")
        get("shop").info("never")
        same((logging.root.level, get("shop.db").level), (30, 0))
        configure(level="error", recorder={"level": "info"})
        installation.remove()
        same((logging.Logger.callHandlers, logging.root.level), (before, 30))
        """,
    )


def test_a_wrong_configuration_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        installation = configure()
        for wrong in ({"level": "loud"}, {"level": "error", "files": {"x": {"path": "no/such/x.log"}}}):
            try:
                configure(**wrong)
            except (ValueError, OSError) as error:
                assert "level" in str(error) or "files.x.path" in str(error), error
            else:
                raise AssertionError(wrong)
            logging.info("still")
        same(bodies(), ["still", "still"])
        same(logging.root.handlers, [installation.handler])
        """,
    )


def test_another_configuration_takes_the_place_of_the_first(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        first = configure()
        logging.info("1")
        second = logboom.configure(level="error", format={"kind": "json"}, files={"main": {"path": "other.log"}})
        assert first is second
        logging.info("not"); logging.error("2")
        same((bodies(), bodies("other.log")), (["1"], ["2"]))
        same(logging.root.handlers, [first.handler])
        """,
    )


def test_configure_leaves_a_servers_configuration_in_force(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        from logboom import _configuration, _setup
        values = _configuration.load(None, {"files": {"main": {"path": "app.log"}}, "format": {"kind": "json"}}).values
        servers = _setup.install(values)
        assert logboom.configure(level="debug") is servers
        logging.debug("not"); logging.info("1")
        same(bodies(), ["1"])
        """,
    )


def test_a_closed_handler_opens_its_logs_again(tmp_path: Path) -> None:
    """`dictConfig` closes every handler there is; Gunicorn closes and opens on USR1; atexit code still logs."""
    said = check(
        tmp_path,
        """
        import atexit, logging.config
        @atexit.register
        def last():
            logging.info("at exit")
            same(bodies(), ["1", "2", "3", "4", "5", "at exit"])
            print("seen", file=sys.__stderr__)
        handler = configure(files={"error": {"path": "error.log", "level": "error"}}).handler
        logging.info("1")
        handler.close(); handler.stream = handler._open()
        logging.info("2")
        logging.shutdown()
        logging.info("3")
        handler.routes.close()
        logging.error("4")
        handler.routes.close()
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "incremental": False})
        logging.root.addHandler(handler)
        logging.info("5")
        same(bodies("error.log"), ["4"])
        """,
    )
    assert said == "seen\n"


def test_the_stream_takes_what_expects_a_file(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        handler = configure().handler
        handler.stream.write("half "); handler.stream.write("line\\nnext\\n"); handler.stream.flush()
        print("printed", file=handler.stream)
        found = [json.loads(line) for line in lines()]
        same([record["body"] for record in found], ["half line", "next", "printed"])
        assert all("stderr" in record.values() for record in found), found
        assert os.fstat(handler.stream.fileno()).st_ino == os.stat("app.log").st_ino
        # A level for printed lines is in force although no logger makes them.
        configure(levels={"stderr": "error"})
        print("not", file=handler.stream)
        same(len(lines()), 3)
        """,
    )


def test_a_filter_may_drop_or_replace_a_record(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        handler = configure().handler
        class No(logging.Filter):
            def filter(self, record): return "secret" not in record.getMessage()
        handler.addFilter(No())
        logging.info("secret"); logging.info("open")
        same(bodies(), ["open"])
        """,
    )


def test_forked_and_threaded_records_are_each_there_once(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        import threading
        configure()
        def work(who):
            for number in range(200):
                logging.info("%s-%d", who, number)
        children = []
        for child in range(3):
            pid = os.fork()
            if pid == 0:
                threads = [threading.Thread(target=work, args=(f"{child}.{n}",)) for n in range(2)]
                [thread.start() for thread in threads]; [thread.join() for thread in threads]
                os._exit(0)
            children.append(pid)
        [os.waitpid(pid, 0) for pid in children]
        logging.info("end")
        found = bodies()
        same(sorted(found), sorted([f"{c}.{t}-{n}" for c in range(3) for t in range(2) for n in range(200)] + ["end"]))
        """,
    )


def test_dict_config_takes_the_stream_as_a_handler(tmp_path: Path) -> None:
    (tmp_path / "logboom.toml").write_text('[format]\nkind = "json"\n[files.main]\npath = "app.log"\n')
    check(
        tmp_path,
        """
        import logging.config
        logging.config.dictConfig({
            "version": 1,
            "handlers": {"all": {"class": "logboom.handlers.Stream", "config": "logboom.toml"}},
            "root": {"handlers": ["all"], "level": "INFO"},
        })
        logging.info("one"); logging.debug("not")
        same(bodies(), ["one"])
        logging.shutdown()
        logging.info("two")
        same(bodies(), ["one", "two"])
        """,
    )


def test_options_reach_the_files(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        configure(files={"main": {"path": "app.log", "rotate": {"size": "2 kB"}, "keep": {"count": 2}, "mode": "0600"}})
        for number in range(50):
            logging.info("%d", number)
        same(sorted(name for name in os.listdir() if name.startswith("app.log")), ["app.log", "app.log.1", "app.log.2"])
        same(os.stat("app.log").st_mode & 0o777, 0o600)
        assert all(os.stat(name).st_size <= 2000 for name in ("app.log", "app.log.1", "app.log.2"))
        """,
    )


def test_standard_error_that_is_a_socket(tmp_path: Path) -> None:
    """systemd gives a service a socket as standard error, which cannot be opened by a path."""
    check(
        tmp_path,
        """
        import socket
        ours, theirs = socket.socketpair()
        os.dup2(theirs.fileno(), 2)
        logboom.configure(level="debug")
        logging.getLogger("shop").info("hello")
        ours.settimeout(5)
        said = ours.recv(4096).decode()
        assert said.endswith("shop: hello\\n"), said
        """,
    )


def test_json_fields_are_typed(tmp_path: Path) -> None:
    check(tmp_path, 'configure(); logging.info("x", extra={"n": 1, "f": 1.5, "yes": True, "none": None, "list": [1]})')
    record = json.loads((tmp_path / "app.log").read_text())
    assert [record["n"], record["f"], record["yes"], record["list"]] == [1, 1.5, True, [1]]


def test_the_recorder_has_what_the_file_has_not(tmp_path: Path) -> None:
    """A worker that dies: its black box shows records below the level, redacted as all others."""
    check(
        tmp_path,
        """
        import signal
        installation = configure(level="warning", recorder={"level": "debug"}, format={"kind": "text"})
        logging.warning("before")
        pid = os.fork()
        if pid == 0:
            logging.getLogger("shop").debug("query password=hunter2")
            logging.getLogger("shop").log(5, "below the recorder's level")
            os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert "query" not in open("app.log").read()
        installation.log.harvest(pid, status)
        text = open("app.log").read()
        assert "SIGKILL" in text and "shop: query password=" in text, text
        assert "hunter2" not in text and "below the recorder" not in text, text
        """,
    )


@pytest.mark.parametrize(("colour", "coloured"), [("auto", True), ("never", False)])
def test_colour_is_for_terminals(tmp_path: Path, colour: str, coloured: bool) -> None:
    check(
        tmp_path,
        f"""
        import pty
        master, slave = pty.openpty()
        os.dup2(slave, 2)
        logboom.configure(format={{"colour": {colour!r}}})
        logging.error("hello")
        said = os.read(master, 4096).decode()
        assert "hello" in said and ("\\x1b[" in said) == {coloured}, said
        """,
        NO_COLOR="",
        TERM="xterm",
    )


def test_a_file_that_was_moved_away_is_there_again(tmp_path: Path) -> None:
    check(
        tmp_path,
        """
        handler = configure().handler
        logging.info("1")
        os.rename("app.log", "old.log")
        handler.reopen()
        logging.info("2")
        handler.flush()
        same((bodies("old.log"), bodies()), (["1"], ["2"]))
        """,
    )
