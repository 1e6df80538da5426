"""HUP re-reads the level and `logboom.toml`; a wrong configuration is refused at the start, by key and line, and
changes nothing at a reload."""

from __future__ import annotations

import signal
from pathlib import Path

from accounts import wait_until
from servers import FLASK_APP, Server, refused, serve

LEVELLED = """
import logging
log = logging.getLogger("shop")
def app(environ, start_response):
    number = environ["PATH_INFO"]
    log.debug("debug %s", number); log.info("info %s", number); log.warning("warning %s", number)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def reload(server: Server) -> None:
    """HUP, and wait until all workers are new."""
    before = set(server.workers())
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.workers() and not before & set(server.workers()), "new workers", 30)
    wait_until(lambda: server.answers("/none"), "an answer", 30)


def levels(server: Server, path: str) -> list[str]:
    server.get(path)
    wait_until(lambda: [text for text in server.messages("shop") if path in text], "a record")
    return [text.split()[0] for text in server.messages("shop") if text.endswith(path)]


def test_hup_reads_the_servers_level_again(tmp_path: Path) -> None:
    with serve(tmp_path, LEVELLED, "-w", "2", path="/none", config='loglevel = "info"') as server:
        assert levels(server, "/a") == ["info", "warning"]
        (tmp_path / "conf.py").write_text('loglevel = "debug"')
        reload(server)
        assert levels(server, "/b") == ["debug", "info", "warning"]
        (tmp_path / "conf.py").write_text('loglevel = "warning"')
        reload(server)
        assert levels(server, "/c") == ["warning"]


def test_hup_reads_the_configuration_file_again(tmp_path: Path) -> None:
    with serve(tmp_path, LEVELLED, path="/none", toml='level = "warning"') as server:
        assert levels(server, "/a") == ["warning"]
        (tmp_path / "logboom.toml").write_text('level = "warning"\n[levels]\nshop = "debug"\n')
        reload(server)
        assert levels(server, "/b") == ["debug", "info", "warning"]


def test_hup_opens_a_new_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    with serve(tmp_path, LEVELLED, path="/none", config='errorlog = "one.log"') as server:
        server.get("/a")
        (tmp_path / "conf.py").write_text('errorlog = "two.log"')
        reload(server)
        server.get("/b")
    assert [text for text in server.messages("shop", "one.log") if "/b" in text] == []
    assert "info /a" in server.messages("shop", "one.log")
    assert "info /b" in server.messages("shop", "two.log")
    assert "info /a" not in server.messages("shop", "two.log")


def test_a_wrong_configuration_is_refused_by_key_and_line(tmp_path: Path) -> None:
    said = refused(tmp_path, FLASK_APP, toml='level = "info"\n[files.main]\nroatte = { size = "1 MB" }\n')
    assert "logboom.toml:3" in said
    assert "roatte" in said
    assert "rotate" in said
    assert "Traceback" not in said
    assert "Booting worker" not in said


def test_a_log_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, FLASK_APP, toml='[files.main]\npath = "/proc/nowhere/error.log"\n')
    assert "/proc/nowhere" in said
    assert "Traceback" not in said


def test_a_wrong_configuration_changes_nothing_at_a_reload(tmp_path: Path) -> None:
    with serve(tmp_path, LEVELLED, path="/none", toml='level = "warning"') as server:
        (tmp_path / "logboom.toml").write_text('level = "debug"\nlevle = "info"\n')
        reload(server)
        assert levels(server, "/a") == ["warning"]
        (text,) = [text for text in server.messages("gunicorn.error") if "levle" in text]
        assert "logboom.toml:2" in text
        (tmp_path / "logboom.toml").write_text('level = "info"')
        reload(server)
        assert levels(server, "/b") == ["info", "warning"]
    assert "Traceback" not in server.output


def test_a_log_that_cannot_be_opened_changes_nothing_at_a_reload(tmp_path: Path) -> None:
    with serve(tmp_path, LEVELLED, path="/none", toml='level = "warning"') as server:
        (tmp_path / "logboom.toml").write_text('level = "debug"\n[files.more]\npath = "/proc/nowhere/more.log"\n')
        reload(server)
        assert levels(server, "/a") == ["warning"]
        assert len([text for text in server.messages("gunicorn.error") if "/proc/nowhere" in text]) == 1


def test_a_wrong_logging_configuration_changes_nothing_at_a_reload(tmp_path: Path) -> None:
    right = """
logconfig_dict = {"version": 1, "formatters": {"own": {"format": "OWN %(message)s"}},
    "handlers": {"own": {"class": "logging.FileHandler", "filename": "own.log", "formatter": "own"}},
    "root": {"level": "INFO", "handlers": ["own"]}}
"""
    with serve(tmp_path, LEVELLED, path="/none", config=right) as server:
        (tmp_path / "conf.py").write_text(right.replace("logging.FileHandler", "logging.NoSuchHandler"))
        reload(server)
        server.get("/a")
        assert [text for text in server.messages("gunicorn.error") if "NoSuchHandler" in text or "own" in text]
    assert "OWN info /a" in server.lines("own.log")


def test_hup_again_and_again_adds_no_handler_and_no_descriptor(tmp_path: Path) -> None:
    with serve(tmp_path, LEVELLED, path="/none") as server:
        reload(server)
        descriptors = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        for _ in range(4):
            reload(server)
        assert levels(server, "/a") == ["info", "warning"]
        assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) <= descriptors
