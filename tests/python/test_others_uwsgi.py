"""uWSGI with several processes writes one stream, ruled by one level: docs/others/uwsgi.md and its example.

uWSGI is optional: it has no wheel, and building it takes a C compiler and a minute.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from accounts import wait_until
from pages import Page, assert_orders, assert_quiet, example, of, pids, program

program("uwsgi")
ORDERS = range(200)
OPTIONS = {
    "forked": [],
    "lazy": ["--lazy-apps"],
    "recycled": ["--max-requests", "20", "--min-worker-lifetime", "0"],
}


def wait_until_up(page: Page, loaded: int) -> None:
    """uWSGI never ends a worker that was still starting when SIGTERM came, and says only some of what it waits for."""
    wait_until(lambda: page.output().count("WSGI app 0") >= loaded, "the application is loaded", 20)
    wait_until(lambda: "spawned uWSGI worker 4" in page.output(), "all workers are forked", 20)
    time.sleep(0.5)


def test_the_page_shows_the_example(tmp_path: Path) -> None:
    assert Page("uwsgi", tmp_path).files == example("uwsgi")


@pytest.mark.parametrize("kind", ["forked", "lazy", "recycled"])
def test_every_record_of_every_process_is_there_once(tmp_path: Path, kind: str) -> None:
    page = Page("uwsgi", tmp_path)
    with page.serve([*page.command("uwsgi"), *OPTIONS[kind]], LOGBOOM_LEVEL="debug"):
        page.buy(ORDERS)
        wait_until_up(page, 4 if kind == "lazy" else 1)
    records = page.records()
    assert_orders(records, ORDERS, debug=True)
    workers = pids(of(records, "shop"))
    assert len(workers) > (4 if kind == "recycled" else 0), workers
    assert "/buy/" not in page.output()
    assert "goodbye to uWSGI" in page.output()


def test_one_level_rules_the_application_and_access_records(tmp_path: Path) -> None:
    page = Page("uwsgi", tmp_path)
    with page.serve(page.command("uwsgi"), LOGBOOM_LEVEL="warning"):
        page.buy(range(8))
        wait_until_up(page, 1)
    assert_quiet(page, page.records())
