"""Rotation gives the answers, the names and the number of files that the standard library gives."""

from __future__ import annotations

import datetime
import json
import logging
import logging.handlers
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from accounts import archives, assert_each_once, record, wait_until
from logboom import handlers

std = logging.handlers


def test_should_rollover_answers_as_the_library_at_every_length(tmp_path: Path) -> None:
    ours = handlers.RotatingFileHandler(tmp_path / "a.log", maxBytes=50, backupCount=3)
    theirs = std.RotatingFileHandler(tmp_path / "b.log", maxBytes=50, backupCount=3)
    for length in (1, 10, 20, 15, 3, 1, 47, 48, 49, 50, 51, 100, 1):
        one = record("x" * length)
        assert ours.shouldRollover(one) == theirs.shouldRollover(one), length
        assert type(ours.shouldRollover(one)) is type(theirs.shouldRollover(one))
        ours.emit(one)
        theirs.emit(one)
    ours.close()
    theirs.close()


def test_by_size_the_files_are_the_librarys(tmp_path: Path) -> None:
    trees = []
    for name, kind in (("ours", handlers.RotatingFileHandler), ("theirs", std.RotatingFileHandler)):
        folder = tmp_path / name
        folder.mkdir()
        # A first line, since some versions of the library rotate an empty file too.
        (folder / "a.log").write_text("0\n")
        handler = kind(folder / "a.log", maxBytes=100, backupCount=3)
        for number in range(200):
            handler.emit(record(f"{number:0{number % 30 + 1}}"))
        handler.close()
        trees.append({each.name: each.read_text() for each in [folder / "a.log", *archives(folder / "a.log")]})
    assert trees[0] == trees[1]


def test_a_stopped_writer_does_not_make_do_rollover_raise(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    child = os.fork()
    if child == 0:
        busy = handlers.RotatingFileHandler(log, maxBytes=0)
        while True:
            busy.emit(record("x"))
    try:
        wait_until(lambda: log.exists() and log.stat().st_size, "it logs")
        stop_as_holder(child, log)
        # It has not opened the file, and cannot: that takes the lease.
        late = handlers.RotatingFileHandler(log, maxBytes=0)
        with pytest.raises(TimeoutError, match=f"process {child} holds the drain lease"):
            late.stream.fileno()
        late.doRollover()
        late.emit(record("late"))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    late.close()
    assert "late\n" in log.read_text()


def stop_as_holder(pid: int, log: Path) -> None:
    """Stop a process that logs all the time while it holds the drain lease."""

    def is_caught() -> bool:
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        said = subprocess.run(["logboom", "status", "--json", log], capture_output=True, check=True, text=True).stdout
        if (json.loads(said)["holder"] or {}).get("pid") == pid:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    wait_until(is_caught, "it is stopped as the holder")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_what_is_no_regular_file_is_never_rotated(device: str) -> None:
    before = os.stat(device)
    one = record("x" * 100)
    timed = handlers.TimedRotatingFileHandler(device, when="S", maxBytes=1, backupCount=1)
    sized = handlers.RotatingFileHandler(device, maxBytes=1, backupCount=1)
    time.sleep(1.1)
    for handler in (timed, sized):
        assert not handler.shouldRollover(one)
        handler.emit(one)
        handler.emit(one)
        handler.doRollover()
        handler.namer = lambda name: name + ".x"
        handler.emit(one)
        handler.close()
    after = os.stat(device)
    assert stat.S_ISCHR(after.st_mode)
    assert (before.st_rdev, before.st_ino) == (after.st_rdev, after.st_ino)
    assert not Path(device + ".1").exists()


@pytest.mark.parametrize("delay", [False, True])
def test_do_rollover_before_the_first_record_is_harmless(tmp_path: Path, delay: bool) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n")
    handler = handlers.RotatingFileHandler(path, maxBytes=1000, backupCount=2, delay=delay)
    handler.doRollover()
    handler.emit(record("new"))
    handler.close()
    assert path.read_text() == "new\n"
    assert (tmp_path / "a.log.1").read_text() == "old\n"


def test_without_backups_nothing_is_rotated_by_size(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, maxBytes=20)
    for number in range(20):
        handler.emit(record(f"{number}"))
    handler.doRollover()
    handler.close()
    assert archives(path) == []
    assert path.read_text() == "".join(f"{number}\n" for number in range(20))


@pytest.mark.parametrize("when", ["S", "M", "H", "D", "MIDNIGHT", "midnight", "W0", "w6"])
@pytest.mark.parametrize("interval", [1, 3])
def test_the_schedule_shows_the_librarys_attributes(tmp_path: Path, when: str, interval: int) -> None:
    at = datetime.time(3, 30) if when.upper()[0] in "W" or when.upper() == "MIDNIGHT" else None
    (tmp_path / "a.log").touch()
    (tmp_path / "b.log").touch()
    os.utime(tmp_path / "a.log", (1_700_000_000, 1_700_000_000))
    os.utime(tmp_path / "b.log", (1_700_000_000, 1_700_000_000))
    ours = handlers.TimedRotatingFileHandler(tmp_path / "a.log", when, interval, 2, atTime=at)
    theirs = std.TimedRotatingFileHandler(tmp_path / "b.log", when, interval, 2, atTime=at)
    for name in ("when", "interval", "suffix", "extMatch", "atTime", "backupCount", "utc", "rolloverAt"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for moment in (0, 1_700_000_000, 1_712_345_678):
        assert ours.computeRollover(moment) == theirs.computeRollover(moment)
    ours.close()
    theirs.close()


def test_a_wrong_when_is_a_value_error(tmp_path: Path) -> None:
    for when in ("X", "W", "W7", ""):
        with pytest.raises(ValueError, match="rollover"):
            handlers.TimedRotatingFileHandler(tmp_path / "a.log", when)


@pytest.mark.parametrize("kind", ["timed", "sized with when"])
def test_by_time_each_boundary_rotates_once_and_rollover_at_moves_on(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.log"
    if kind == "timed":
        handler = handlers.TimedRotatingFileHandler(path, "S", 1, 0)
    else:
        handler = handlers.RotatingFileHandler(path, when="S", maxBytes=10_000_000, backupCount=100)
    texts = []
    first = handler.rolloverAt
    end = time.monotonic() + 3.3
    while time.monotonic() < end:
        texts.append(f"record {len(texts):06}")
        handler.emit(record(texts[-1]))
        time.sleep(0.01)
    assert handler.rolloverAt > first + 1
    handler.close()
    assert_each_once(path, texts)
    names = [each.name for each in archives(path)]
    assert 2 <= len(names) <= 4
    assert all(len(name) == len("a.log.2000-01-01_00-00-00") for name in names), names


def test_size_and_time_together_number_the_archives_of_one_interval(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.TimedRotatingFileHandler(path, "midnight", backupCount=100, maxBytes=500)
    texts = [f"record {number:06}" for number in range(200)]
    for text in texts:
        handler.emit(record(text))
    handler.close()
    assert_each_once(path, texts)
    day = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
    assert len(list(tmp_path.glob(f"a.log.{day}"))) == 1
    assert len(list(tmp_path.glob(f"a.log.{day}.[0-9]*"))) >= 4


def test_compressed_archives_hold_the_records(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, maxBytes=2000, backupCount=100, compress="gzip")
    texts = [f"record {number:06}" for number in range(600)]
    for text in texts:
        handler.emit(record(text))
    wait_until(lambda: all(each.suffix == ".gz" for each in archives(path)), "all archives are compressed")
    handler.close()
    assert len(archives(path)) >= 3
    assert_each_once(path, texts)


def test_archives_beyond_an_age_or_a_total_are_deleted(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, maxBytes=1000, backupCount=1000, keep_bytes=5000)
    for number in range(2000):
        handler.emit(record(f"record {number:06}"))
    handler.close()
    wait_until(lambda: sum(each.stat().st_size for each in archives(path)) <= 5000, "old archives are gone")
    assert len(archives(path)) >= 2

    for day in range(1, 5):
        old = tmp_path / f"b.log.2001-01-0{day}"
        old.write_text("x\n")
        os.utime(old, (1_000_000_000, 1_000_000_000))
    aged = handlers.TimedRotatingFileHandler(
        tmp_path / "b.log", "midnight", backupCount=100, keep_age=datetime.timedelta(days=7)
    )
    aged.emit(record("new"))
    aged.doRollover()
    aged.close()
    wait_until(lambda: not list(tmp_path.glob("b.log.2001*")), "aged archives are gone")


def test_an_interval_of_a_fraction_is_counted_in_seconds(tmp_path: Path) -> None:
    handler = handlers.TimedRotatingFileHandler(tmp_path / "a.log", "H", 0.5)  # type: ignore[arg-type]
    handler.emit(record("x"))
    assert 0 < handler.rolloverAt - time.time() <= 1800
    assert handler.suffix == "%Y-%m-%d_%H"
    handler.close()


@pytest.mark.parametrize("kind", [handlers.FileHandler, handlers.WatchedFileHandler, handlers.RotatingFileHandler])
@pytest.mark.parametrize("how", ["renamed", "removed", "created"])
def test_an_outside_rotation_is_followed_and_no_record_is_lost(tmp_path: Path, how: str, kind: type) -> None:
    path = tmp_path / "a.log"
    handler = kind(path)
    handler.emit(record("one"))
    if how == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "a.old")
        if how == "created":
            path.touch()
    texts: list[str] = []

    def new_file_is_written() -> bool:
        texts.append(f"record {len(texts):04}")
        handler.emit(record(texts[-1]))
        return path.exists() and path.stat().st_size > 0

    wait_until(new_file_is_written, "records are in the new file", 2)
    handler.close()
    if how != "removed":
        found = (tmp_path / "a.old").read_text() + path.read_text()
        assert found == "".join(f"{text}\n" for text in ["one", *texts])


def test_watching_can_be_turned_off(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.FileHandler(path, watch=False)
    handler.emit(record("one"))
    path.rename(tmp_path / "a.old")
    handler.emit(record("two"))
    handler.close()
    assert (tmp_path / "a.old").read_text() == "one\ntwo\n"
