"""What a rule's conditions ask of a request is the same in Python as in Rust: one table of cases for both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from logboom import _rules, context

TABLE: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "crates" / "core" / "tests" / "conditions.json").read_text()
)


def request_of(values: dict[str, Any]) -> context.Request:
    request = context.Request(values["id"], values["method"], values["path"], values["client"])
    request.user, request.endpoint = values["user"], values["endpoint"]
    request.status = values["status"] or 0
    if values["headers"] is not None:
        environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in values["headers"].items()}
        request._get_header = environ.get
    return request


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: repr(case["condition"]) + " " + case["request"])
def test_a_condition_holds_as_the_table_says(case: dict[str, Any]) -> None:
    request = request_of(TABLE["requests"][case["request"]])
    holds = _rules.conditions(case["condition"])
    assert (holds is None or holds(request)) is case["holds"]


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: repr(case["condition"]))
def test_what_cannot_be_read_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(case["why"])):
        _rules.conditions(case["condition"])


def test_headers_are_found_by_the_names_of_wsgi_and_asgi() -> None:
    for headers in (
        {"HTTP_X_DEBUG": "1", "CONTENT_TYPE": "text/plain"},
        {b"x-debug": b"1", b"content-type": b"text/plain"},
    ):
        request = context.make_request(headers.get, (), "GET", "/", "")
        assert (request.header("x-debug"), request.header("content-type"), request.header("x-none")) == (
            "1",
            "text/plain",
            "",
        )
        context.begin(request)
        context.end(request)
        assert request.header("x-debug") == "1", "what was asked for is kept"
        assert request.header("accept") is None, "the request has ended"


def test_a_request_keeps_nothing_of_its_server_when_it_has_ended() -> None:
    for finish in (context.end, context.leave):
        request = context.make_request({"HTTP_X_DEBUG": "1"}.get, (), "GET", "/", "")
        context.begin(request)
        finish(request)
        assert request._get_header is None
        context.end(request)
