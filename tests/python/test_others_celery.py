"""A Celery worker with a pool of processes writes one stream, ruled by one level: docs/others/celery.md."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from accounts import wait_until
from pages import Page, Records, assert_none_doubled, environment, needed, of, pids, program

needed("celery")
TASKS = 10


class Worked(NamedTuple):
    """What a worker has written to its log, and what it has printed."""

    records: Records
    output: str


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Worked]:
    """A worker for each level, beside each other: ending one takes Celery five seconds."""
    program("celery")
    levels = ["info", "warning"]
    with ThreadPoolExecutor() as both:
        return dict(
            zip(levels, both.map(lambda level: work(tmp_path_factory.mktemp(level), level), levels), strict=True)
        )


def work(folder: Path, level: str) -> Worked:
    """Send the page's tasks, let its worker do them, and end it."""
    page = Page("celery", folder)
    page.run(page.command("mkdir broker"))
    page.run([sys.executable, *page.command("python send.py")[1:]], LOGBOOM_LEVEL=level)
    with open(folder / "out.txt", "wb") as out:
        worker = subprocess.Popen(
            page.command("celery"),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment(LOGBOOM_LEVEL=level),
        )
    try:
        wait_until(lambda: worker.poll() is not None or not any((folder / "broker").glob("*.msg")), page.output(), 30)
        if level == "warning":
            # Nothing says when the last task has ended.
            time.sleep(1)
        else:
            wait_until(lambda: len(succeeded(page.records())) == TASKS, "all tasks have ended", 30)
    finally:
        worker.terminate()
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            worker.kill()
            raise
    return Worked(page.records(), page.output())


def succeeded(records: Records) -> Records:
    return [record for record in of(records, "celery.app.trace") if "succeeded in" in record["body"]]


def test_every_record_of_every_process_is_there_once(worked: dict[str, Worked]) -> None:
    records, output = worked["info"]
    assert_none_doubled([record for record in records if not record["otel.scope.name"].startswith("kombu")])
    packed = of(records, "shop")
    tasks = {record["body"]: record["task_id"] for record in packed}
    assert sorted(tasks) == [f"packing {order}" for order in range(TASKS)]
    assert len(packed) == TASKS == len(set(tasks.values()))
    assert sorted((record["body"], record["request_id"], record["task"]) for record in packed) == [
        (f"packing {order}", f"request-{order}", "shop.pack") for order in range(TASKS)
    ]
    assert sorted((record["task_id"], record["request_id"]) for record in succeeded(records)) == sorted(
        (record["task_id"], record["request_id"]) for record in packed
    )
    received = [record for record in of(records, "celery.worker.strategy") if record["body"].endswith(" received")]
    assert len(received) == TASKS
    assert not pids(received) & pids(packed)
    # After its task, nothing of a task is left on a record.
    assert not any("task_id" in record for record in received)
    assert "packing" not in output
    assert "succeeded" not in output


def test_one_level_rules_celery_and_the_tasks(worked: dict[str, Worked]) -> None:
    records, output = worked["warning"]
    assert [record["body"] for record in records if record["severity_number"] < 13] == []
    assert of(records, "shop") + of(records, "celery") == []
    assert "packing" not in output
    assert "succeeded" not in output
