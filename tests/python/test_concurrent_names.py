"""A program leaves concurrent-log-handler by changing its import: order, names, attributes and archives stay."""

from __future__ import annotations

import gzip
import inspect
import os
import stat
from pathlib import Path

import pytest
from accounts import archives, assert_each_once, record, wait_until
from logboom import handlers

NAMES = ["ConcurrentRotatingFileHandler", "ConcurrentTimedRotatingFileHandler"]


@pytest.mark.parametrize("name", NAMES)
def test_the_arguments_are_the_other_packages(name: str) -> None:
    other = pytest.importorskip("concurrent_log_handler", reason="it is in tests/python/requirements.txt")

    def arguments(cls: type) -> list[tuple[str, object]]:
        every = inspect.signature(cls).parameters.values()
        return [(p.name, p.default) for p in every if p.kind is not inspect.Parameter.VAR_KEYWORD]

    assert arguments(getattr(handlers, name)) == arguments(getattr(other, name))


@pytest.mark.parametrize("name", NAMES)
def test_the_public_attributes_are_the_other_packages(name: str, tmp_path: Path) -> None:
    other = pytest.importorskip("concurrent_log_handler", reason="it is in tests/python/requirements.txt")
    ours = getattr(handlers, name)(tmp_path / "a.log", backupCount=2, encoding="utf-8")
    theirs = getattr(other, name)(tmp_path / "a.log", backupCount=2, encoding="utf-8")
    documented = (
        *("maxBytes", "backupCount", "use_gzip", "owner", "chmod", "umask", "newline", "terminator", "encoding"),
        *("unicode_error_policy", "lockFilename", "is_locked", "stream_lock", "num_rollovers", "baseFilename"),
    )
    for attribute in documented:
        model = theirs if hasattr(theirs, attribute) else theirs.clh
        if attribute == "stream_lock":
            assert hasattr(ours, attribute)
        else:
            assert getattr(ours, attribute) == getattr(model, attribute), attribute
    if name == NAMES[1]:
        assert ours.clh.maxBytes == theirs.clh.maxBytes
    ours.close()
    theirs.close()


def test_it_is_a_handler_of_the_librarys_kind(tmp_path: Path) -> None:
    import logging.handlers

    assert issubclass(handlers.ConcurrentRotatingFileHandler, logging.handlers.BaseRotatingHandler)
    assert issubclass(handlers.ConcurrentTimedRotatingFileHandler, logging.handlers.TimedRotatingFileHandler)


def test_positional_arguments_mean_what_they_mean_there(tmp_path: Path) -> None:
    handler = handlers.ConcurrentRotatingFileHandler(tmp_path / "a.log", "a", 500, 9, "utf-8", False, None, True)
    texts = [f"record {number:06}" for number in range(200)]
    for text in texts:
        handler.emit(record(text))
    wait_until(lambda: all(each.suffix == ".gz" for each in archives(tmp_path / "a.log")), "archives are compressed")
    newest = gzip.decompress((tmp_path / "a.log.1.gz").read_bytes()).decode()
    assert newest.splitlines()
    assert 3 <= len(archives(tmp_path / "a.log")) <= 9
    handler.doRollover()
    assert handler.num_rollovers == 1
    handler.close()


def test_the_file_is_created_by_the_first_record_with_the_mode_asked_for(tmp_path: Path) -> None:
    for name, options, mode in (("c.log", {"chmod": 0o640}, 0o640), ("u.log", {"umask": 0o077}, 0o600)):
        path = tmp_path / name
        handler = handlers.ConcurrentRotatingFileHandler(path, "a", 200, 3, **options)
        assert not path.exists()
        for number in range(40):
            handler.emit(record(f"record {number:06}"))
        handler.close()
        for each in [path, *archives(path)]:
            assert stat.S_IMODE(each.stat().st_mode) == mode, each


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_owner_takes_names_and_numbers(tmp_path: Path) -> None:
    for name, owner in (("a.log", ("nobody", "nogroup")), ("b.log", (65534, 65534))):
        handler = handlers.ConcurrentRotatingFileHandler(tmp_path / name, owner=owner)  # type: ignore[arg-type]
        handler.emit(record("x"))
        handler.close()
        assert (tmp_path / name).stat().st_uid == 65534


def test_newline_and_terminator_shape_the_line_ends(tmp_path: Path) -> None:
    one = handlers.ConcurrentRotatingFileHandler(tmp_path / "a.log", newline="", terminator="\r\n")
    one.emit(record("x\ny"))
    one.close()
    assert (tmp_path / "a.log").read_bytes() == b"x\ny\r\n"
    two = handlers.ConcurrentRotatingFileHandler(tmp_path / "b.log", newline="\r\n")
    two.emit(record("x\ny"))
    two.close()
    assert (tmp_path / "b.log").read_bytes() == b"x\r\ny\r\n"


@pytest.mark.parametrize(("policy", "text"), [("ignore", "ab\n"), ("replace", "a?b\n"), ("strict", "")])
def test_the_unicode_error_policy_is_kept(tmp_path: Path, policy: str, text: str) -> None:
    for name in NAMES:
        path = tmp_path / f"{name}.log"
        handler = getattr(handlers, name)(path, encoding="utf-8", unicode_error_policy=policy)
        handler.handleError = lambda _: None
        handler.emit(record("a\ud800b"))
        handler.close()
        assert path.read_text() == text


def test_finalize_handler_configuration_may_set_the_suffix_before_the_first_record(tmp_path: Path) -> None:
    class Custom(handlers.ConcurrentTimedRotatingFileHandler):
        def finalize_handler_configuration(self) -> None:
            super().finalize_handler_configuration()
            self.suffix = "%Y-%m-%d.old"

    path = tmp_path / "a.log"
    handler = Custom(path, when="midnight", backupCount=100, maxBytes=300, debug=False, mode="a")
    texts = [f"record {number:06}" for number in range(60)]
    for text in texts:
        handler.emit(record(text))
    handler.close()
    assert_each_once(path, texts)
    assert all(".old" in each.name for each in archives(path))
    assert len(archives(path)) >= 2


def test_a_timed_handler_with_gzip_counts_compressed_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.ConcurrentTimedRotatingFileHandler(path, "S", 1, 2, use_gzip=True, maxBytes=400)
    for number in range(200):
        handler.emit(record(f"record {number:06}"))
    wait_until(lambda: len(archives(path)) <= 2, "two archives are left")
    wait_until(lambda: all(each.suffix == ".gz" for each in archives(path)), "archives are compressed")
    handler.close()
