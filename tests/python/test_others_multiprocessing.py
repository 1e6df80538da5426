"""Forked, spawned and pooled processes write one stream: docs/others/multiprocessing.md and its example."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pages import Page, assert_none_doubled, example, of, pids

ORDERS = range(100)


def test_the_page_shows_the_example(tmp_path: Path) -> None:
    files = Page("multiprocessing", tmp_path).files
    assert files.pop("pool.py")
    assert files == example("processes")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_every_record_of_every_process_is_there_once(tmp_path: Path, method: str) -> None:
    page = Page("multiprocessing", tmp_path)
    command = [sys.executable, *page.command(f"python work.py {method}")[1:]]
    assert page.run(command, LOGBOOM_LEVEL="debug") == ""
    records = page.records("work.log")
    assert_none_doubled(records)
    work = of(records, "work")
    said = sorted((record["body"], record["order"]) for record in work if "order" in record)
    assert said == sorted((text, order) for order in ORDERS for text in ("packed", "written at the level debug only"))
    assert [record["body"] for record in work if "order" not in record] == ["done"]
    # Four processes, at least one of the pool's, and their parent.
    assert len(pids(work)) >= 6


def test_one_level_rules_all_processes(tmp_path: Path) -> None:
    page = Page("multiprocessing", tmp_path)
    assert page.run([sys.executable, *page.command("python work.py spawn")[1:]], LOGBOOM_LEVEL="warning") == ""
    assert page.records("work.log") == []


def test_a_pool_of_spawned_processes_is_configured_by_its_initializer(tmp_path: Path) -> None:
    page = Page("multiprocessing", tmp_path)
    assert page.run([sys.executable, *page.command("python pool.py")[1:]]) == ""
    records = page.records("work.log")
    assert sorted(record["body"] for record in records) == sorted(f"number {number}" for number in range(20))
