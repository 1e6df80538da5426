"""Records of a process that is ending are written too, and ending neither hangs nor prints."""

from __future__ import annotations

from pathlib import Path

from accounts import run

HEAD = """
import atexit, builtins, logging, sys, threading, time
from logboom import handlers
path = sys.argv[1]
"""


def test_atexit_code_registered_before_and_after_logs(tmp_path: Path) -> None:
    done = run(
        """
        import atexit
        atexit.register(lambda: logging.warning("after shutdown"))
        import logging, sys
        from logboom import handlers
        logging.basicConfig(handlers=[handlers.FileHandler(sys.argv[1])], format="%(message)s")
        atexit.register(lambda: logging.warning("before shutdown"))
        """,
        tmp_path / "a.log",
    )
    assert done.stderr == ""
    assert (tmp_path / "a.log").read_text() == "before shutdown\nafter shutdown\n"


def test_a_finalizer_at_the_very_end_logs_even_without_builtins_open(tmp_path: Path) -> None:
    done = run(
        HEAD
        + """
logging.basicConfig(handlers=[handlers.FileHandler(path, encoding="utf-8")], format="%(message)s")
class A:
    def __del__(self):
        logging.error("log in __del__")
a = A()
del builtins.open
""",
        tmp_path / "a.log",
    )
    assert done.stderr == ""
    assert (tmp_path / "a.log").read_text() == "log in __del__\n"


def test_daemon_threads_that_log_to_the_end_do_not_hang_or_crash_it(tmp_path: Path) -> None:
    done = run(
        HEAD
        + """
logging.basicConfig(handlers=[handlers.RotatingFileHandler(path, maxBytes=20_000, backupCount=5)], level=20)
def busy():
    while True:
        logging.info("busy")
for _ in range(4):
    threading.Thread(target=busy, daemon=True).start()
time.sleep(0.3)
logging.info("last words")
""",
        tmp_path / "a.log",
    )
    assert done.stderr == ""
    assert "INFO:root:busy" in (tmp_path / "a.log").read_text() + (tmp_path / "a.log.1").read_text()


def test_logging_shutdown_writes_what_a_stream_still_holds(tmp_path: Path) -> None:
    run(
        HEAD
        + """
handler = handlers.FileHandler(path)
handler.stream.write("begun and never ended")
""",
        tmp_path / "a.log",
    )
    assert (tmp_path / "a.log").read_text() == "begun and never ended"


def test_an_unhandled_exception_is_logged_by_an_excepthook(tmp_path: Path) -> None:
    run(
        HEAD
        + """
logging.basicConfig(handlers=[handlers.FileHandler(path)])
sys.excepthook = lambda *error: logging.critical("uncaught", exc_info=error)
raise RuntimeError("the end")
""",
        tmp_path / "a.log",
        expect=1,
    )
    assert "RuntimeError: the end" in (tmp_path / "a.log").read_text()


def test_a_handler_without_close_is_collected_and_its_records_are_there(tmp_path: Path) -> None:
    run(
        HEAD
        + """
import gc, os, weakref
handler = handlers.FileHandler(path)
handler.emit(logging.makeLogRecord({"msg": "one"}))
gone = weakref.ref(handler)
del handler
gc.collect()
assert gone() is None
before = len(os.listdir("/proc/self/fd"))
for number in range(50):
    handlers.FileHandler(path).emit(logging.makeLogRecord({"msg": "more"}))
gc.collect()
assert len(os.listdir("/proc/self/fd")) <= before + 3
""",
        tmp_path / "a.log",
    )
    assert (tmp_path / "a.log").read_text() == "one\n" + "more\n" * 50
