"""granian with several workers writes one stream, ruled by one level: docs/others/granian.md."""

from __future__ import annotations

import time
from pathlib import Path

from accounts import wait_until
from pages import Page, Records, assert_orders, assert_quiet, needed, of, pids

needed("granian")
ORDERS = range(40)


def started(page: Page) -> Records:
    return [record for record in of(page.records(), "_granian") if record["body"].startswith("Started worker-")]


def test_every_record_of_every_process_is_there_once(tmp_path: Path) -> None:
    page = Page("granian", tmp_path)
    with page.serve(page.command("granian"), LOGBOOM_LEVEL="debug"):
        page.buy(ORDERS)
        wait_until(lambda: len(started(page)) == 4, "all workers have started", 20)
    records = page.records()
    assert_orders(records, ORDERS, debug=True)
    server = of(records, "_granian")
    workers = started(page)
    assert (len(workers), len(pids(workers)), len(pids(server))) == (4, 4, 5)
    assert pids(of(records, "shop")) <= pids(workers)
    assert "order" not in page.output()
    assert "granian" not in page.output()


def test_one_level_rules_server_and_application(tmp_path: Path) -> None:
    page = Page("granian", tmp_path)
    with page.serve(page.command("granian"), LOGBOOM_LEVEL="warning"):
        page.buy(range(8))
        # Nothing says when all workers have started, and granian can miss one that starts while it ends.
        time.sleep(1)
    assert_quiet(page, page.records())
