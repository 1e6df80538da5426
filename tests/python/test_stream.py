"""Code that treats `handler.stream` as a file, and opens and closes it itself, works as with the standard library."""

from __future__ import annotations

import copy
import fcntl
import io
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from accounts import record, run
from logboom import handlers


def test_with_delay_there_is_no_file_and_no_stream_before_the_first_record(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path, delay=True)
    assert handler.stream is None
    assert not path.exists()
    handler.emit(record("one"))
    assert handler.stream is not None
    handler.close()
    assert handler.stream is None
    assert path.read_text() == "one\n"


def test_a_record_after_close_opens_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path)
    handler.emit(record("one"))
    handler.close()
    handler.emit(record("two"))
    handler.close()
    assert path.read_text() == "one\ntwo\n"


def test_mode_w_begins_anew_and_a_record_after_close_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n")
    handler = handlers.FileHandler(path, mode="w")
    handler.emit(record("one"))
    handler.close()
    handler.emit(record("two"))
    assert path.read_text() == "one\n"


def test_mode_x_refuses_a_file_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path, mode="x")
    handler.emit(record("one"))
    handler.close()
    with pytest.raises(FileExistsError):
        handlers.FileHandler(path, mode="x")


def test_an_impossible_mode_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode"):
        handlers.FileHandler(tmp_path / "a.log", mode="q")


def test_a_missing_folder_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        handlers.FileHandler(tmp_path / "none" / "a.log")


def test_gunicorns_reopen_leaves_a_working_handler(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.WatchedFileHandler(path)
    handler.emit(record("one"))
    path.rename(tmp_path / "a.old")
    handler.acquire()
    try:
        if handler.stream:
            handler.close()
            handler.stream = handler._open()
    finally:
        handler.release()
    handler.emit(record("two"))
    handler.close()
    assert (tmp_path / "a.old").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_a_reopening_in_the_middle_of_a_record_loses_it_not(tmp_path: Path) -> None:
    class Interrupting(logging.Formatter):
        """Stands for a signal handler: it runs in the same thread, after `emit` has begun."""

        def format(self, record: logging.LogRecord) -> str:
            if record.levelno == logging.ERROR:
                handler.close()
                handler.stream = handler._open()
            return super().format(record)

    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path)
    handler.setFormatter(Interrupting("%(message)s"))
    handler.emit(record("one"))
    handler.emit(record("two", logging.ERROR))
    handler.emit(record("three"))
    handler.close()
    assert path.read_text() == "one\ntwo\nthree\n"


def test_the_descriptor_is_the_files_and_takes_close_on_exec(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path)
    handler.emit(record("one"))
    number = handler.stream.fileno()
    assert os.path.samestat(os.fstat(number), os.stat(path))
    flags = fcntl.fcntl(number, fcntl.F_GETFD)
    fcntl.fcntl(number, fcntl.F_SETFD, flags | fcntl.FD_CLOEXEC)
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.fstat({number})"], close_fds=False, capture_output=True, timeout=60
    )
    assert b"Bad file descriptor" in done.stderr
    handler.close()


def test_what_is_written_to_the_stream_is_in_the_file_between_the_records(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path)
    handler.emit(record("one"))
    print("two", 2, file=handler.stream)
    handler.stream.writelines(["three\n", "fo"])
    handler.stream.write("ur\n")
    handler.emit(record("five"))
    handler.stream.write("begun")
    handler.flush()
    handler.close()
    assert path.read_text() == "one\ntwo 2\nthree\nfour\nfive\nbegun"


def test_the_stream_answers_like_a_file_open_for_appending(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path)
    stream = handler.stream
    assert (stream.name, stream.mode, stream.closed) == (str(path), "a", False)
    assert (stream.readable(), stream.writable(), stream.isatty()) == (False, True, False)
    assert stream.tell() == 0
    handler.emit(record("12345"))
    assert stream.tell() == stream.seek(0, os.SEEK_END) == 6
    for refused in (stream.read, stream.truncate, lambda: stream.seek(0)):
        with pytest.raises(io.UnsupportedOperation):
            refused()
    with pytest.raises(TypeError):
        stream.write(b"bytes")
    handler.close()
    assert stream.closed
    for refused in (stream.flush, stream.fileno, stream.tell, lambda: stream.write("x")):
        with pytest.raises(ValueError, match="closed file"):
            refused()


def test_a_stream_of_the_users_own_is_written_instead(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, maxBytes=100, backupCount=1)
    other = io.StringIO()
    before = handler.setStream(other)
    handler.emit(record("elsewhere"))
    assert other.getvalue() == "elsewhere\n"
    handler.setStream(before)
    handler.emit(record("one"))
    handler.close()
    assert path.read_text() == "one\n"


def test_an_overridden_open_is_used(tmp_path: Path) -> None:
    class Loud(handlers.FileHandler):
        def _open(self):
            opened.append(self.baseFilename)
            return super()._open()

    class Plain(handlers.FileHandler):
        def _open(self):
            return open(self.baseFilename, "a")

    opened: list[str] = []
    for kind in (Loud, Plain):
        handler = kind(tmp_path / "a.log")
        handler.emit(record(kind.__name__))
        handler.close()
    assert opened == [str(tmp_path / "a.log")]
    assert (tmp_path / "a.log").read_text() == "Loud\nPlain\n"


def test_copying_and_pickling_do_what_they_do_in_the_library(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for kind in (handlers.FileHandler, logging.FileHandler):
        handler = kind(path)
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(handler)
        with pytest.raises(TypeError, match="pickle"):
            copy.deepcopy(handler)
        twin = copy.copy(handler)
        twin.emit(record("twin"))
        handler.emit(record("first"))
        handler.close()
    assert path.read_text() == "twin\nfirst\n" * 2


def test_the_terminator_is_live(tmp_path: Path) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log")
    handler.emit(record("a"))
    handler.terminator = "|"
    handler.emit(record("b"))
    handler.close()
    assert (tmp_path / "a.log").read_text() == "a\nb|"


def test_a_changed_file_name_counts_from_the_next_opening(tmp_path: Path) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log")
    handler.emit(record("a"))
    handler.baseFilename = str(tmp_path / "b.log")
    handler.close()
    handler.emit(record("b"))
    handler.close()
    assert (tmp_path / "a.log").read_text() == "a\n"
    assert (tmp_path / "b.log").read_text() == "b\n"


def test_the_watched_handler_shows_the_file_in_use(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.WatchedFileHandler(path, delay=True)
    assert (handler.dev, handler.ino) == (-1, -1)
    handler.emit(record("one"))
    assert (handler.dev, handler.ino) == (os.stat(path).st_dev, os.stat(path).st_ino)
    path.rename(tmp_path / "a.old")
    path.touch()
    handler.emit(record("two"))
    assert handler.ino == os.stat(path).st_ino
    handler.reopenIfNeeded()
    handler.close()
    assert path.read_text() == "two\n"


def test_exceptions_of_the_formatter_go_to_handle_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log")
    handler.emit(logging.LogRecord("n", 20, "p", 1, "%d", ("not a number",), None))
    handler.emit(record("next"))
    handler.close()
    assert "--- Logging error ---" in capsys.readouterr().err
    assert (tmp_path / "a.log").read_text() == "next\n"


def test_a_recursion_error_passes_as_in_the_library(tmp_path: Path) -> None:
    class Deep(logging.Formatter):
        def format(self, record):
            return self.format(record)

    for kind in (handlers.FileHandler, logging.FileHandler):
        handler = kind(tmp_path / "a.log")
        handler.setFormatter(Deep())
        with pytest.raises(RecursionError):
            handler.emit(record())
        handler.close()


def test_raise_exceptions_off_is_silent(tmp_path: Path) -> None:
    done = run(
        """
        import logging, sys
        from logboom.handlers import FileHandler
        logging.raiseExceptions = False
        handler = FileHandler(sys.argv[1])
        handler.emit(logging.LogRecord("n", 20, "p", 1, "%d", ("no",), None))
        """,
        tmp_path / "a.log",
    )
    assert done.stderr == ""
