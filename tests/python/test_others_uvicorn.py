"""uvicorn with several workers writes one stream, ruled by one level: docs/others/uvicorn.md and its example."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import Page, assert_orders, assert_quiet, example, needed, of, pids

needed("uvicorn")
ORDERS = range(40)


def test_the_page_shows_the_example(tmp_path: Path) -> None:
    assert Page("uvicorn", tmp_path).files == example("uvicorn")


@pytest.mark.parametrize("command", ["uvicorn", "python serve.py"])
def test_every_record_of_every_process_is_there_once(tmp_path: Path, command: str) -> None:
    page = Page("uvicorn", tmp_path)
    with page.serve(page.command(command), LOGBOOM_LEVEL="debug"):
        page.buy(ORDERS)
    records = page.records()
    assert_orders(records, ORDERS, debug=True)
    server = of(records, "uvicorn")
    parents = [record for record in server if record["body"].startswith("Started parent process")]
    workers = [record for record in server if record["body"].startswith("Started server process")]
    assert (len(parents), len(workers), len(pids(parents + workers))) == (1, 4, 5)
    assert pids(of(records, "shop")) <= pids(workers)
    assert of(records, "uvicorn.access") == []
    assert page.output() == ""


def test_one_level_rules_server_and_application(tmp_path: Path) -> None:
    page = Page("uvicorn", tmp_path)
    with page.serve(page.command("uvicorn"), LOGBOOM_LEVEL="warning"):
        page.buy(range(8))
    assert_quiet(page, page.records())
