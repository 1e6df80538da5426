"""What `logboom.configure` reads: the file, the environment over it, keywords over both; mistakes with their lines."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest
from accounts import run
from logboom import _configuration
from logboom._native import load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a logboom.toml, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("LOGBOOM_CONFIG", "LOGBOOM_LEVEL", "LOGBOOM_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(folder: Path, text: str, name: str = "logboom.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_values_are_numbers_and_off_is_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        level = "warning"
        levels = { "shop.db" = "debug" }
        [files.main]
        path = "app.log"
        rotate = { size = "100 MB", when = "midnight", at = "03:00" }
        keep = { age = "14 days", bytes = "1 GB" }
        """,
    )
    loaded = _configuration.load()
    main = loaded.values["files"]["main"]
    assert (loaded.values["level"], loaded.values["levels"]) == (30, {"shop.db": 10})
    assert (main["rotate"]["size"], main["rotate"]["when"], main["rotate"]["at"]) == (100_000_000, "MIDNIGHT", 10_800)
    assert (main["keep"]["age"], main["keep"]["bytes"], main["on_full_wait"]) == (1_209_600, 10**9, 0.2)
    assert loaded.values["recorder"]["level"] is None
    assert loaded.path == "logboom.toml"
    assert loaded.sources["files.main.keep.age"] == "logboom.toml:7"
    assert loaded.sources["access.enabled"] == "default"


def test_each_layer_wins_over_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 'level = "error"\n')
    assert _configuration.load().values["level"] == 40
    monkeypatch.setenv("LOGBOOM_LEVEL", "warning")
    loaded = _configuration.load()
    assert (loaded.values["level"], loaded.sources["level"]) == (30, "environment LOGBOOM_LEVEL")
    loaded = _configuration.load(None, {"level": 15})
    assert (loaded.values["level"], loaded.sources["level"]) == (15, "argument level")


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 'level = "error"\n')
    other = write(tmp_path, 'level = "debug"\n', "other.toml")
    monkeypatch.setenv("LOGBOOM_CONFIG", str(other))
    assert _configuration.load().values["level"] == 10
    assert _configuration.load(tmp_path / "logboom.toml").values["level"] == 40


def test_keywords_take_python_values(tmp_path: Path) -> None:
    overrides = {
        "format": {"utc": True, "kind": None},
        "levels": {"shop.db": "debug"},
        "files": {"main": {"path": tmp_path / "a.log", "keep": {"age": datetime.timedelta(days=2), "count": 3}}},
        "redact": {"names": ("pin, or so", 'with "quotes"'), "patterns": [r"\d{3,4}"]},
    }
    values = _configuration.load(None, overrides).values
    main = values["files"]["main"]
    assert (values["format"]["utc"], values["format"]["kind"]) == (True, "text")
    assert values["levels"] == {"shop.db": 10}
    assert (main["path"], main["keep"]["age"], main["keep"]["count"]) == (str(tmp_path / "a.log"), 172_800, 3)
    assert values["redact"] == {"names": ["pin, or so", 'with "quotes"'], "patterns": [r"\d{3,4}"]}


def test_a_mistake_has_its_file_line_key_and_remedy(tmp_path: Path) -> None:
    path = write(tmp_path, 'level = "loud"\n\n[format]\nknd = "json"\n')
    with pytest.raises(ValueError, match="failed to load the configuration") as raised:
        _configuration.load(path, {"files": {"main": {"pth": "x"}}})
    first, *mistakes = str(raised.value).splitlines()
    assert first == "failed to load the configuration:"
    assert mistakes[0].startswith(f'{path}:1: `level` cannot be "loud"; write "trace", "debug"')
    assert mistakes[1] == f"{path}:4: `format.knd` is no key of `[format]`; did you mean `format.kind`?"
    assert mistakes[2] == "flags: `files.main.pth` is no key of `[files.main]`; did you mean `files.main.path`?"
    assert len(mistakes) == 3


def test_an_unknown_variable_is_a_note() -> None:
    notes = load_config(None, {"LOGBOOM_LEVL": "info"}, {})["notes"]
    assert notes == [
        "environment: `LOGBOOM_LEVL` is no variable of the configuration; did you mean LOGBOOM_LEVEL?",
    ]


def test_variables_of_others_may_hold_what_is_no_text() -> None:
    env = {"OTHER": "\udcff", "\udcff": "x", "LOGBOOM_LEVEL": "debug"}
    assert load_config(None, env, {})["values"]["level"] == 10
    with pytest.raises(ValueError, match="environment: `LOGBOOM_LEVEL`"):
        load_config(None, {"LOGBOOM_LEVEL": "\udcff"}, {})


def test_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "[redact]\npatterns = ['(']\n")
    run(
        """
        import logging, logboom
        before = (logging.root.handlers[:], logging.root.level, logging.Logger.callHandlers)
        try:
            logboom.configure()
        except ValueError as error:
            assert "logboom.toml:2: `redact.patterns` has the expression" in str(error), error
        else:
            raise AssertionError("no error")
        assert (logging.root.handlers[:], logging.root.level, logging.Logger.callHandlers) == before
        """
    )


def test_the_examples_of_the_guide_can_be_loaded(tmp_path: Path) -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert examples
    for text in examples:
        load_config(write(tmp_path, text), {}, {})
