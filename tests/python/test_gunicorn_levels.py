"""One level, the server's, rules server and application alike, and each line is there once: with the programs that
people publish, as they publish them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from servers import lines_with, serve

LEVELS = ("debug", "info", "warning", "error", "critical")
CALLS = "\n".join(f'    app.logger.{level}("this is a {level} message")' for level in LEVELS)

PLAIN = f"""
from flask import Flask
app = Flask(__name__)
@app.route("/")
def hello():
{CALLS}
    return "hello"
"""

# What many posts advise: the application takes the server's handlers and level.
SNIPPET = PLAIN.replace(
    "@app.route",
    """import logging
gunicorn_logger = logging.getLogger("gunicorn.error")
app.logger.handlers = gunicorn_logger.handlers
app.logger.setLevel(gunicorn_logger.level)
@app.route""",
)

ROTATING = PLAIN.replace(
    "@app.route",
    """import logging
from logging.handlers import RotatingFileHandler
handler = RotatingFileHandler("own.log", maxBytes=100_000, backupCount=3)
handler.setLevel(logging.INFO)
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
app.logger.addHandler(handler)
@app.route""",
)

# "The default stderr handler", put there by hand.
WITH_STDERR = ROTATING.replace(
    "@app.route",
    """from flask.logging import default_handler
app.logger.addHandler(default_handler)
logging.getLogger().addHandler(logging.StreamHandler())
@app.route""",
)

# The first example of Flask's own page on logging.
DOCUMENTED = (
    """
from logging.config import dictConfig
dictConfig({
    'version': 1,
    'formatters': {'default': {
        'format': '[%(asctime)s] %(levelname)s in %(module)s: %(message)s',
    }},
    'handlers': {'wsgi': {
        'class': 'logging.StreamHandler',
        'stream': 'ext://flask.logging.wsgi_errors_stream',
        'formatter': 'default'
    }},
    'root': {
        'level': 'INFO',
        'handlers': ['wsgi']
    }
})
"""
    + PLAIN
)


def counts(lines: list[str]) -> dict[str, int]:
    return {level: len([line for line in lines if f"this is a {level} message" in line]) for level in LEVELS}


def shown(level: str) -> dict[str, int]:
    return {name: int(LEVELS.index(name) >= LEVELS.index(level)) for name in LEVELS}


@pytest.mark.parametrize("preload", [False, True], ids=["forked", "preloaded"])
@pytest.mark.parametrize("program", [PLAIN, SNIPPET], ids=["plain", "snippet"])
@pytest.mark.parametrize("level", ["debug", "warning"])
def test_the_servers_level_rules_the_application(tmp_path: Path, level: str, program: str, preload: bool) -> None:
    options = [f"--log-level={level}", *(["--preload"] if preload else [])]
    with serve(tmp_path, program, *options, path="/none", json_lines=False) as server:
        assert server.get("/") == (200, b"hello")
    assert counts(server.lines()) == shown(level), server.output
    below = [line for line in server.lines() if re.search(r" (DEBUG|INFO) ", line)]
    assert bool(below) == (level == "debug"), below
    assert bool(lines_with(server, "Booting worker")) == (level == "debug")
    assert bool(lines_with(server, '"GET / HTTP/1.1" 200')) == (level == "debug")


@pytest.mark.parametrize("program", [PLAIN, SNIPPET], ids=["plain", "snippet"])
def test_what_is_only_recorded_is_not_written(tmp_path: Path, program: str) -> None:
    toml = '[recorder]\nlevel = "debug"\n'
    with serve(tmp_path, program, "--log-level=warning", path="/none", toml=toml, json_lines=False) as server:
        assert server.get("/") == (200, b"hello")
    assert counts(server.lines()) == shown("warning"), server.output
    assert not lines_with(server, "Booting worker")
    assert not lines_with(server, '"GET / HTTP/1.1"')


@pytest.mark.parametrize("preload", [False, True], ids=["forked", "preloaded"])
@pytest.mark.parametrize("program", [ROTATING, WITH_STDERR], ids=["rotating", "stderr"])
def test_a_rotating_handler_of_the_applications_own_beside_the_stream(
    tmp_path: Path, program: str, preload: bool
) -> None:
    options = ["--log-level=debug", *(["--preload"] if preload else [])]
    with serve(tmp_path, program, *options, path="/none", json_lines=False) as server:
        assert server.get("/") == (200, b"hello")
    assert counts(server.lines()) == shown("debug"), server.output
    assert server.lines("own.log") == [
        f"{level.upper()} this is a {level} message" for level in LEVELS if level != "debug"
    ]


def test_the_documented_configuration_of_flask_goes_on_working(tmp_path: Path) -> None:
    with serve(tmp_path, DOCUMENTED, path="/none", json_lines=False) as server:
        assert server.get("/") == (200, b"hello")
    assert counts(server.lines()) == shown("info"), server.output


def test_a_level_that_nobody_gave_leaves_the_one_of_the_configuration_in_force(tmp_path: Path) -> None:
    with serve(tmp_path, PLAIN, path="/none", toml='level = "error"\n', json_lines=False) as server:
        assert server.get("/") == (200, b"hello")
    assert counts(server.lines()) == shown("error"), server.output


@pytest.mark.parametrize("way", ["flag", "file", "variable"])
def test_a_level_that_was_given_is_over_the_configuration_even_if_it_is_the_default(tmp_path: Path, way: str) -> None:
    options = ["--log-level", "info"] if way == "flag" else []
    config = 'loglevel = "info"' if way == "file" else None
    more = {"GUNICORN_CMD_ARGS": "--log-level=info"} if way == "variable" else {}
    toml = 'level = "error"\n'
    with serve(tmp_path, PLAIN, *options, path="/none", toml=toml, config=config, json_lines=False, **more) as server:
        assert server.get("/") == (200, b"hello")
    assert counts(server.lines()) == shown("info"), server.output


def test_an_access_log_that_was_asked_for_is_written_at_each_level(tmp_path: Path) -> None:
    options = ["--log-level=warning", "--access-logfile", "access.log"]
    with serve(tmp_path, PLAIN, *options, path="/none", json_lines=False) as server:
        assert server.get("/") == (200, b"hello")
    assert [line for line in server.lines("access.log") if '"GET / HTTP/1.1" 200' in line]
    assert not lines_with(server, '"GET / HTTP/1.1"')


def test_warnings_are_records(tmp_path: Path) -> None:
    app = PLAIN.replace('    return "hello"', '    import warnings; warnings.warn("look out")\n    return "hello"')
    with serve(tmp_path, app, path="/none", PYTHONWARNINGS="always::UserWarning") as server:
        assert server.get("/") == (200, b"hello")
    assert len([text for text in server.messages("py.warnings") if "UserWarning: look out" in text]) == 1
