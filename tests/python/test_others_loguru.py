"""loguru's records are in the one stream, with their extras as fields: docs/others/loguru.md."""

from __future__ import annotations

import sys
from pathlib import Path

from pages import Page, assert_none_doubled, needed

needed("loguru")
# A fork with loguru's own locks, and a request.
MORE = """
import os
from logboom import context
child = os.fork()
with context.using(context.Request("request-1", "GET", "/buy")), context.bind(cart=3):
    logger.info("in a request")
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def run(folder: Path, level: str, more: str = "") -> Page:
    page = Page("loguru", folder)
    (command,) = page.commands
    (folder / "shop.py").write_text(page.files["shop.py"] + more)
    assert page.run([sys.executable, *command.split()[1:]], LOGBOOM_LEVEL=level) == ""
    return page


def test_records_with_fields_beside_those_of_libraries(tmp_path: Path) -> None:
    records = run(tmp_path, "debug").records()
    assert_none_doubled(records)
    assert [(record["body"], record["severity_text"]) for record in records] == [
        ("order paid", "INFO"),
        ("written at the level debug only", "DEBUG"),
        ("a level of loguru's own", "SUCCESS"),
        ("a library's record, beside", "INFO"),
        ("order failed", "ERROR"),
    ]
    failed = records[-1]
    assert records[0]["order"] == 7
    assert (failed["customer"], failed["exception.type"]) == ("jo", "ValueError")
    # Where it was logged, and not where the sink passes it on.
    assert {Path(record["code.file.path"]).name for record in records} == {"shop.py"}


def test_one_level_rules_loguru_and_libraries(tmp_path: Path) -> None:
    assert [record["body"] for record in run(tmp_path, "warning").records()] == ["order failed"]


def test_records_of_a_forked_process_belong_to_the_request(tmp_path: Path) -> None:
    records = [record for record in run(tmp_path, "info", MORE).records() if record["body"] == "in a request"]
    assert len({record["process.pid"] for record in records}) == 2
    assert [(record["request_id"], record["url.path"], record["cart"]) for record in records] == [
        ("request-1", "/buy", 3)
    ] * 2
