"""structlog's events are records with typed fields in the one stream: docs/others/structlog.md."""

from __future__ import annotations

import sys
from pathlib import Path

from pages import Page, assert_none_doubled, needed

needed("structlog")


def run(folder: Path, level: str) -> Page:
    page = Page("structlog", folder)
    (command,) = page.commands
    assert page.run([sys.executable, *command.split()[1:]], LOGBOOM_LEVEL=level) == ""
    return page


def test_events_are_records_with_fields_beside_those_of_libraries(tmp_path: Path) -> None:
    records = run(tmp_path, "debug").records()
    assert_none_doubled(records)
    bodies = ["order paid", "written at the level debug only", "a library's record, beside", "order failed"]
    assert [record["body"] for record in records] == bodies
    paid, debug, library, failed = records
    assert (paid["shop"], paid["order"], paid["euros"], paid["severity_text"]) == ("north", 7, 12.5, "INFO")
    assert (debug["severity_text"], library["otel.scope.name"]) == ("DEBUG", "stock")
    assert (failed["order"], failed["customer"], failed["exception.type"]) == (8, "jo", "ValueError")
    # Where the event was logged, and not where structlog passes it on.
    assert {Path(record["code.file.path"]).name for record in records} == {"shop.py"}


def test_one_level_rules_structlog_and_libraries(tmp_path: Path) -> None:
    assert [record["body"] for record in run(tmp_path, "warning").records()] == ["order failed"]


def test_events_belong_to_the_request(tmp_path: Path) -> None:
    page = Page("structlog", tmp_path)
    more = """
from logboom import context
with context.using(context.Request("request-1", "GET", "/buy")), context.bind(cart=3):
    log.info("in a request")
"""
    (tmp_path / "shop.py").write_text(page.files["shop.py"] + more)
    assert page.run([sys.executable, "shop.py"]) == ""
    names = ("body", "request_id", "url.path", "cart")
    assert [page.records()[-1][name] for name in names] == ["in a request", "request-1", "/buy", 3]
