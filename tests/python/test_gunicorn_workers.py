"""With every kind of worker, preloaded or not: the application's records, what it prints and the access records are one
stream, each once, and those of a request bear its id."""

from __future__ import annotations

from pathlib import Path

import pytest
from accounts import wait_until
from servers import app_for, serve, worker_options

KINDS = ["sync", "gthread", "gevent", "asgi", "uvicorn"]
REQUESTS = 10


@pytest.mark.parametrize("preload", [False, True], ids=["forked", "preloaded"])
@pytest.mark.parametrize("worker", KINDS)
def test_each_record_of_a_request_is_there_once_with_its_id(tmp_path: Path, worker: str, preload: bool) -> None:
    options = [*worker_options(worker), "-w", "2", *(["--preload"] if preload else [])]
    with serve(tmp_path, app_for(worker), *options, path="/buy/first") as server:
        for number in range(REQUESTS):
            assert server.get(f"/buy/{number}", {"X-Request-ID": f"id-{number}"})[0] == 200
        server.get("/boom", {"X-Request-ID": "id-boom"})
        wait_until(lambda: len(access_of(server, "/boom")) == 1, "the last access record")
    records = server.records()
    for number in range(REQUESTS):
        own = [record for record in records if record.get("request_id") == f"id-{number}"]
        told = sorted((record["otel.scope.name"], record["body"]) for record in own)
        assert [component for component, _ in told] == ["gunicorn.access", "shop", "stdout"], told
        assert told[1:] == [("shop", f"order {number}"), ("stdout", f"printed {number}")]
        access = next(record for record in own if record["otel.scope.name"] == "gunicorn.access")
        assert access["http.response.status_code"] == 200
        assert access["http.response.body.size"] == 2
        assert access["url.path"] == f"/buy/{number}"
        assert access["http.server.request.duration"] >= 0
    for number in range(REQUESTS):
        assert len([record for record in records if record["body"] == f"order {number}"]) == 1
        assert len([record for record in records if record["body"] == f"printed {number}"]) == 1
    failed = [record for record in records if record.get("request_id") == "id-boom"]
    assert [record["http.response.status_code"] for record in failed if "http.response.status_code" in record] == [500]
    assert len([record for record in failed if "ValueError: boom" in record.get("exception.stacktrace", "")]) == 1
    assert not [record for record in records if "Traceback" in record["body"]]


def access_of(server, path: str) -> list[dict]:
    return [
        record
        for record in server.records()
        if record["otel.scope.name"] == "gunicorn.access" and record["url.path"] == path
    ]


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_file_response_is_still_sent_by_the_server(tmp_path: Path, worker: str) -> None:
    app = """
import io
def app(environ, start_response):
    kind = environ["wsgi.file_wrapper"]
    start_response("200 OK", [("Content-Length", "5")])
    return kind(open("five.bin", "rb"))
"""
    (tmp_path / "five.bin").write_bytes(b"12345")
    with serve(tmp_path, app, *worker_options(worker), path="/") as server:
        assert server.get("/file") == (200, b"12345")
        wait_until(lambda: access_of(server, "/file"), "the access record")
    (record,) = access_of(server, "/file")
    assert record["http.response.status_code"] == 200


def test_hooks_of_the_user_are_called_once_each_with_their_arguments(tmp_path: Path) -> None:
    config = "\n".join(
        f"def {name}({', '.join(arguments)}):\n"
        f"    print('{name}', *(type(x).__name__ for x in ({', '.join(arguments)},)), file=open('hooks.txt', 'a'))"
        for name, arguments in {
            "on_starting": ["server"],
            "when_ready": ["server"],
            "pre_fork": ["server", "worker"],
            "post_fork": ["server", "worker"],
            "post_worker_init": ["worker"],
            "worker_exit": ["server", "worker"],
            "child_exit": ["server", "worker"],
            "on_exit": ["server"],
        }.items()
    )
    from servers import FLASK_APP

    with serve(tmp_path, FLASK_APP, config=config):
        pass
    assert (tmp_path / "hooks.txt").read_text().splitlines() == [
        "on_starting Arbiter",
        "when_ready Arbiter",
        "pre_fork Arbiter SyncWorker",
        "post_fork Arbiter SyncWorker",
        "post_worker_init SyncWorker",
        "worker_exit Arbiter SyncWorker",
        "child_exit Arbiter SyncWorker",
        "on_exit Arbiter",
    ]
