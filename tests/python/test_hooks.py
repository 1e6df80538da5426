"""The user's own naming, renaming and deciding is asked exactly where the standard library asks it, live."""

from __future__ import annotations

import gzip
import logging
import logging.handlers
import os
import re
import time
from pathlib import Path

import pytest
from accounts import assert_each_once, record, run
from logboom import handlers


def fill(handler: logging.Handler, count: int, start: int = 0) -> list[str]:
    texts = [f"record {number:06}" for number in range(start, start + count)]
    for text in texts:
        handler.emit(record(text))
    return texts


def test_namer_names_every_archive_and_rotator_moves_the_newest(tmp_path: Path) -> None:
    def rotator(source: str, dest: str) -> None:
        with open(source, "rb") as plain, gzip.open(dest, "wb") as packed:
            packed.write(plain.read())
        os.remove(source)
        moved.append(os.path.basename(dest))

    path, moved = tmp_path / "a.log", []
    handler = handlers.RotatingFileHandler(path, maxBytes=200, backupCount=9)
    handler.namer = lambda name: name + ".gz"
    handler.rotator = rotator
    texts = fill(handler, 60)
    handler.close()
    assert set(moved) == {"a.log.1.gz"}
    assert len(moved) > 3
    assert_each_once(path, texts)


def test_hooks_set_after_records_were_written_count_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, maxBytes=200, backupCount=50)
    texts = fill(handler, 30)
    assert (tmp_path / "a.log.1").exists()
    handler.namer = lambda name: name + ".named"
    texts += fill(handler, 30, 30)
    assert (tmp_path / "a.log.1.named").exists()
    handler.namer = None
    texts += fill(handler, 30, 60)
    handler.close()
    assert_each_once(path, texts)


def test_settings_changed_later_reach_the_native_side(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path)
    texts = fill(handler, 30)
    assert [each.name for each in tmp_path.glob("a.log.[0-9]*")] == []
    handler.maxBytes, handler.backupCount = 200, 50
    texts += fill(handler, 30, 30)
    count = len(list(tmp_path.glob("a.log.[0-9]*")))
    assert count >= 2
    handler.maxBytes = 0
    texts += fill(handler, 30, 60)
    handler.close()
    assert len(list(tmp_path.glob("a.log.[0-9]*"))) == count
    assert_each_once(path, texts)


def test_an_overridden_should_rollover_is_asked_before_each_record_and_obeyed(tmp_path: Path) -> None:
    class EveryFifth(handlers.RotatingFileHandler):
        asked = 0

        def shouldRollover(self, record):
            self.asked += 1
            return int(record.getMessage().split()[1]) % 5 == 0 and self.stream.tell() > 0

    path = tmp_path / "a.log"
    handler = EveryFifth(path, maxBytes=20, backupCount=50)
    texts = fill(handler, 20)
    handler.close()
    assert handler.asked >= 20
    files = sorted(tmp_path.glob("a.log*"))
    assert [each.read_text().count("\n") for each in files if ".logboom" not in each.name] == [5, 5, 5, 5]
    assert_each_once(path, texts)


def test_an_overridden_do_rollover_runs_and_may_call_the_librarys(tmp_path: Path) -> None:
    class Marked(handlers.RotatingFileHandler):
        rolled = 0

        def doRollover(self):
            super().doRollover()
            self.rolled += 1

    path = tmp_path / "a.log"
    handler = Marked(path, maxBytes=200, backupCount=50)
    texts = fill(handler, 80)
    by_size = handler.rolled
    assert by_size == len(list(tmp_path.glob("a.log.[0-9]*"))) >= 3
    handler.doRollover()
    assert handler.rolled == by_size + 1
    handler.close()
    assert_each_once(path, texts)


def test_a_do_rollover_that_renames_by_itself_loses_nothing(tmp_path: Path) -> None:
    class Own(handlers.RotatingFileHandler):
        count = 0

        def doRollover(self):
            if self.stream:
                self.stream.close()
                self.stream = None
            self.count += 1
            os.rename(self.baseFilename, f"{self.baseFilename}.own{self.count}")
            self.stream = self._open()

    path = tmp_path / "a.log"
    handler = Own(path, maxBytes=200, backupCount=1)
    texts = fill(handler, 60)
    handler.close()
    assert handler.count >= 4
    assert_each_once(path, texts)


def test_a_hook_that_raises_goes_to_handle_error_and_loses_no_record(tmp_path: Path) -> None:
    def namer(name: str) -> str:
        raise RuntimeError("no name today")

    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, maxBytes=200, backupCount=5)
    errors = []
    handler.handleError = errors.append
    handler.namer = namer
    texts = fill(handler, 30)
    handler.namer = None
    texts += fill(handler, 30, 30)
    handler.close()
    assert errors
    assert_each_once(path, texts)


def test_a_hook_that_logs_to_its_own_handler_neither_hangs_nor_loses(tmp_path: Path, logger: logging.Logger) -> None:
    def rotator(source: str, dest: str) -> None:
        logger.info("rotating")
        os.rename(source, dest)

    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, maxBytes=200, backupCount=50)
    handler.rotator = rotator
    logger.addHandler(handler)
    for number in range(60):
        logger.info("record %06d", number)
    logger.removeHandler(handler)
    handler.close()
    found = [
        line
        for each in tmp_path.glob("a.log*")
        if ".logboom" not in each.name
        for line in each.read_text().splitlines()
    ]
    assert found.count("rotating") >= 3
    assert sorted(line for line in found if line != "rotating") == [f"record {n:06}" for n in range(60)]


@pytest.mark.parametrize(
    ("suffix", "native"), [("%Y%m%d-%H%M%S", True), ("%Y-%m-%d_%H-%M-%S.txt", True), ("%Y-%j", False), ("%A", False)]
)
def test_any_suffix_is_honoured(tmp_path: Path, suffix: str, native: bool) -> None:
    path = tmp_path / "a.log"
    handler = handlers.TimedRotatingFileHandler(path, when="S", backupCount=0)
    handler.suffix = suffix
    handler.emit(record("before"))
    due = handler.rolloverAt
    wait_past(due)
    handler.emit(record("after"))
    handler.close()
    expected = path.with_name("a.log." + time.strftime(suffix, time.localtime(due - 1)))
    assert expected.read_text() == "before\n"
    assert path.read_text() == "after\n"


def wait_past(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()) + 0.02)


def test_a_replaced_ext_match_decides_what_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for name in ("2001-01-01", "2001-01-02", "2001-01-03", "keep"):
        (tmp_path / f"a.log.{name}").touch()
    handler = handlers.TimedRotatingFileHandler(path, when="midnight", backupCount=2)
    handler.extMatch = re.compile(r"^2001-01-0[12]$", re.ASCII)
    handler.emit(record("x"))
    handler.doRollover()
    handler.close()
    assert (tmp_path / "a.log.2001-01-03").exists()
    assert (tmp_path / "a.log.keep").exists()


def test_get_files_to_delete_can_be_overridden(tmp_path: Path) -> None:
    class Reluctant(handlers.TimedRotatingFileHandler):
        def getFilesToDelete(self):
            return [found for found in super().getFilesToDelete() if not found.endswith("2001-01-01")]

    for day in range(1, 6):
        (tmp_path / f"a.log.2001-01-0{day}").touch()
    handler = Reluctant(tmp_path / "a.log", when="midnight", backupCount=1)
    handler.emit(record("x"))
    handler.doRollover()
    handler.close()
    assert (tmp_path / "a.log.2001-01-01").exists()
    assert not (tmp_path / "a.log.2001-01-02").exists()


def test_a_rollover_time_set_by_hand_forces_one_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.TimedRotatingFileHandler(path, when="midnight", backupCount=5)
    handler.emit(record("before"))
    handler.rolloverAt = time.time() - 1
    handler.emit(record("after"))
    handler.emit(record("after too"))
    assert handler.rolloverAt > time.time()
    handler.close()
    assert path.read_text() == "after\nafter too\n"
    assert len(list(tmp_path.glob("a.log.[12]*"))) == 1


def test_two_rotations_of_one_interval_keep_both_archives(tmp_path: Path) -> None:
    for number, namer in enumerate((None, lambda name: name)):
        path = tmp_path / f"{number}.log"
        handler = handlers.TimedRotatingFileHandler(path, when="midnight", backupCount=9)
        handler.namer = namer
        for text in ("one", "two", "three"):
            handler.emit(record(text))
            handler.doRollover()
        handler.close()
        assert_each_once(path, ["one", "two", "three"])


def test_hooks_of_one_of_several_processes_rotate_once_for_all(tmp_path: Path) -> None:
    run(
        """
        import os, sys, time
        sys.path.insert(0, sys.argv[2])
        from accounts import record
        from logboom import handlers
        path = sys.argv[1]
        handler = handlers.RotatingFileHandler(path, maxBytes=20_000, backupCount=1000)
        handler.namer = lambda name: name + ".n"
        for worker in range(4):
            if os.fork() == 0:
                for number in range(2000):
                    handler.emit(record(f"{worker} {number:06}"))
                os._exit(0)
        for worker in range(4):
            assert os.wait()[1] == 0
        handler.close()
        """,
        tmp_path / "a.log",
        Path(__file__).parent,
    )
    assert_each_once(tmp_path / "a.log", [f"{worker} {number:06}" for worker in range(4) for number in range(2000)])
    sizes = [each.stat().st_size for each in tmp_path.glob("a.log.*.n")]
    assert len(sizes) >= 2
    assert max(sizes) < 40_000


def test_compression_that_hooks_make_impossible_is_said(tmp_path: Path) -> None:
    handler = handlers.RotatingFileHandler(tmp_path / "a.log", maxBytes=100, backupCount=1, compress="gzip")
    handler.namer = lambda name: name
    with pytest.warns(RuntimeWarning, match="compress"):
        handler.emit(record("x"))
    handler.close()
