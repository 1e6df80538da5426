"""The documents say what the code does: the table of deviations, the options and their defaults."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from logboom import Options, handlers

ROOT = Path(__file__).parents[2]


def test_the_table_of_deviations_is_that_of_the_test_run() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests/cpython/run.py", "--table"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    page = (ROOT / "docs/deviations.md").read_text()
    found = re.search(r"<!-- deviations -->\n(.*)\n<!-- /deviations -->", page, re.DOTALL)
    assert found is not None
    assert found[1].strip() == done.stdout.strip()


def test_the_guide_has_each_option_with_its_default() -> None:
    page = (ROOT / "docs/handlers.md").read_text()
    for field in dataclasses.fields(Options):
        shown = str(field.default) if not isinstance(field.default, str) else f'"{field.default}"'
        assert f"| `{field.name}` | `{shown}` |" in page, field.name


def test_the_guide_has_each_class() -> None:
    page = (ROOT / "docs/handlers.md").read_text()
    assert all(f"| `{name}` |" in page for name in handlers.__all__)
