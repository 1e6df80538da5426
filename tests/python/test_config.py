"""Configurations reach our handlers by name, with all their options, and also under the other package's names."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
from pathlib import Path

import pytest
from accounts import run
from logboom import handlers


@pytest.fixture(autouse=True)
def clean_root():
    before = logging.root.handlers[:]
    level = logging.root.level
    yield
    for handler in logging.root.handlers[:]:
        if handler not in before:
            logging.root.removeHandler(handler)
            handler.close()
    logging.root.setLevel(level)


def test_dict_config_builds_ours_with_our_options(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"f": {"format": "%(levelname)s %(message)s"}},
            "handlers": {
                "file": {
                    "class": "logboom.handlers.RotatingFileHandler",
                    "formatter": "f",
                    "filename": str(path),
                    "maxBytes": 10_000,
                    "backupCount": 3,
                    "compress": "gzip",
                    "keep_age": 3600,
                    ".": {"terminator": "!\n"},
                }
            },
            "loggers": {"logboom.test.dict": {"handlers": ["file"], "level": "INFO", "propagate": False}},
        }
    )
    found = logging.getLogger("logboom.test.dict")
    found.info("hello %s", "you")
    (handler,) = found.handlers
    assert isinstance(handler, handlers.RotatingFileHandler)
    assert (handler.maxBytes, handler.backupCount) == (10_000, 3)
    assert (handler.logboom_options.compress, handler.logboom_options.keep_age) == ("gzip", 3600)
    found.removeHandler(handler)
    handler.close()
    assert path.read_text() == "INFO hello you!\n"


def test_dict_config_reports_a_wrong_option_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file") as raised:
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {
                    "file": {
                        "class": "logboom.handlers.FileHandler",
                        "filename": str(tmp_path / "a.log"),
                        "durability": "maybe",
                    }
                },
            }
        )
    assert "'durability' must be one of 'kernel', 'disk'" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("logboom.handlers.TimedRotatingFileHandler", "TimedRotatingFileHandler"),
        ("handlers.ConcurrentRotatingFileHandler", "ConcurrentRotatingFileHandler"),
        ("handlers.ConcurrentTimedRotatingFileHandler", "ConcurrentTimedRotatingFileHandler"),
    ],
)
def test_file_config_finds_ours(tmp_path: Path, name: str, kind: str) -> None:
    run(
        """
        import logging, logging.config, sys
        import logboom.handlers
        logging.config.fileConfig(sys.argv[1])
        (handler,) = logging.root.handlers
        assert type(handler).__module__ == "logboom.handlers", type(handler)
        assert type(handler).__name__ == sys.argv[2], type(handler)
        logging.warning("hello")
        logging.shutdown()
        assert open(sys.argv[3]).read() == "WARNING:hello\\n"
        """,
        write_ini(tmp_path, name),
        kind,
        tmp_path / "app.log",
    )


def write_ini(folder: Path, name: str) -> Path:
    ini = folder / "log.ini"
    ini.write_text(
        f"""
[loggers]
keys=root
[handlers]
keys=file
[formatters]
keys=plain
[logger_root]
level=INFO
handlers=file
[handler_file]
class={name}
formatter=plain
args=({str(folder / "app.log")!r},)
[formatter_plain]
format=%(levelname)s:%(message)s
"""
    )
    return ini


def test_the_other_packages_own_classes_are_not_displaced(tmp_path: Path) -> None:
    run(
        """
        import concurrent_log_handler, logging.handlers
        import logboom.handlers
        assert logging.handlers.ConcurrentRotatingFileHandler is concurrent_log_handler.ConcurrentRotatingFileHandler
        """
    )


def test_basic_config_takes_our_handler(tmp_path: Path) -> None:
    run(
        """
        import logging, sys
        from logboom.handlers import FileHandler
        logging.basicConfig(handlers=[FileHandler(sys.argv[1], encoding="utf-8")], format="%(message)s", level=20)
        logging.info("one")
        assert open(sys.argv[1]).read() == "one\\n"
        """,
        tmp_path / "app.log",
    )
