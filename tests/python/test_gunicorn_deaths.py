"""A worker that dies in the middle of a request leaves one black box, which names the request, however it died; and no
record is lost or doubled by its death. Real Gunicorn, real kills, other requests all the while.

How it works: threads send `/buy/N` for as long as the test lasts, and one after the other `/die/KIND/N` is sent until
so many workers have died of each kind. Each request has a number of its own, which is its id. In the end every request
is looked up in the stream: it was answered and has a finished access record, or its worker died and it is named by one
black box and has an unfinished one, or it never came to the application and there is nothing of it.

LOGBOOM_FULL=1: 100 deaths of each kind with each kind of worker.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from accounts import wait_until
from servers import Server, serve, worker_options

APP = Path(__file__).with_name("deaths_app.py").read_text()
FULL = bool(os.environ.get("LOGBOOM_FULL"))
DEATHS = 100 if FULL else 3
TOML = """
level = "info"
[recorder]
level = "debug"
[capture]
stdout = true
stderr = true
"""
# What a black box says of each kind. Code in C gives Python's signal handler no time to say why.
HOW = {
    "sigkill": "was killed by SIGKILL",
    "sigsegv": "was killed by SIGSEGV",
    "exit": "ended with exit code 7",
    "timeout_in_python": r"(ended with exit code \d+|was killed by SIGKILL) \(timeout\)",
    "timeout_in_c": r"was killed by SIGKILL \((timeout|aborted)\)",
    "timeout_in_c_alone": r"was killed by SIGKILL \((timeout|aborted)\)",
    "memory": "was killed by SIGKILL: out of memory",
}
WITH_STACKS = ("sigsegv", "timeout_in_python", "timeout_in_c", "timeout_in_c_alone")
# How many of the last records are told, unless set.
RECORDS = 50
# The longest time from the end of a worker to its record.
TOLD_WITHIN_S = 30
CGROUP = Path("/sys/fs/cgroup/memory")
CGROUP_BYTES = 512 << 20


class Stream:
    """The records of a server, read as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""
        self.all: list[dict[str, Any]] = []
        self.deaths: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._lock = threading.Lock()

    def read(self) -> None:
        with self._lock:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                data = file.read()
            self._at += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                record = json.loads(line)
                self.all.append(record)
                if record["otel.scope.name"] == "logboom.blackbox":
                    for request in record["blackbox.requests"]:
                        self.deaths[request["id"]].append(record)

    def named(self, request: str) -> list[dict[str, Any]]:
        self.read()
        return self.deaths[request]


class Clients:
    """What was sent, and what became of it as a client sees it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self.answered: set[str] = set()
        self.failed: set[str] = set()
        self.path: dict[str, str] = {}

    def send(self, path: str) -> str:
        number = str(next(self._numbers))
        self.path[number] = path = f"{path}/{number}"
        try:
            status, body = self._server.get(path, {"X-Request-ID": number}, timeout_s=40)
            # At a timeout in Python code, Gunicorn's sync worker answers with 500 before it ends.
            (self.answered if (status, body) == (200, b"ok") else self.failed).add(number)
        except (OSError, http.client.HTTPException):
            self.failed.add(number)
        return number

    @contextlib.contextmanager
    def buying(self, threads: int) -> Iterator[None]:
        def buy() -> None:
            while not self._stopping.is_set():
                self.send("/buy")
                time.sleep(0.005)

        with ThreadPoolExecutor(threads) as pool:
            ends = [pool.submit(buy) for _ in range(threads)]
            try:
                yield
            finally:
                self._stopping.set()
        for end in ends:
            end.result()


class Deaths:
    """Deaths of one server, and the account of them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stream = Stream(server.folder / "out.txt")
        self.clients = Clients(server)
        self.kinds: dict[str, str] = {}

    def die(self, kind: str) -> str:
        """One death of this kind; gives the request's number. A request that did not come to the application, since
        its worker died of another one, is followed by the next."""
        while True:
            assert self.server.process.poll() is None, f"Gunicorn has ended:\n{self.server.output[-5000:]}"
            number = self.clients.send(f"/die/{kind}")
            assert number in self.clients.failed, f"the worker that was to die ({kind}) has answered"
            limit = time.monotonic() + TOLD_WITHIN_S
            while not self.stream.named(number):
                if not self._has_said(f"order {number}") and time.monotonic() > limit - TOLD_WITHIN_S + 1:
                    break
                assert time.monotonic() < limit, f"no black box names {number} ({kind}):\n{self._of(number)}"
                time.sleep(0.01)
            # Where it was named, its worker may have died of another one before this one came so far.
            if self._has_said(f"complained last {number}"):
                self.kinds[number] = kind
                return number

    def _has_said(self, text: str) -> bool:
        return any(record["body"] == text for record in self.stream.all)

    def _of(self, number: str) -> str:
        return "\n".join(str(record)[:500] for record in self.stream.all if f" {number}" in record["body"])

    def die_often(self, kinds: list[str], at_once: int = 1) -> None:
        with self.clients.buying(3):
            time.sleep(0.1)
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(self.die, kinds))
            time.sleep(0.1)
        wait_until(self._is_quiet, "all access records")

    def _is_quiet(self) -> bool:
        """The last answered requests have their access records, which come after the answers."""
        self.stream.read()
        found = {record.get("request_id") for record in self.stream.all if is_access(record)}
        return self.clients.answered <= found

    # --- The account -----------------------------------------------------------------------------------------------

    def check(self) -> Counter[str]:
        """The server has ended. Raises where something is missing, doubled or wrong; gives figures."""
        self.stream.read()
        figures: Counter[str] = Counter()
        self._check_deaths(figures)
        self._check_requests(figures)
        self._check_numbers(figures)
        return figures

    def _check_deaths(self, figures: Counter[str]) -> None:
        boxes = [record for record in self.stream.all if record["otel.scope.name"] == "logboom.blackbox"]
        workers = {
            number: record["process.pid"]
            for number in self.kinds
            for record in self.stream.all
            if record["body"] == f"dying {number}"
        }
        # Shortly after it has killed, the kernel may kill once more in a memory cgroup.
        beside = [box for box in boxes if box["process.pid"] not in workers.values()]
        assert not beside or {box["blackbox.how"] for box in beside} == {HOW["memory"]}, beside
        figures["killed beside"] += len(beside)
        told = Counter(box["process.pid"] for box in boxes if box not in beside)
        assert told == Counter(set(workers.values())), "one box for each death"
        for number, kind in self.kinds.items():
            (box,) = self.stream.deaths[number]
            assert box["process.pid"] == workers[number]
            others = [other for other in self.kinds if workers[other] == workers[number]]
            expected = "|".join(HOW[self.kinds[other]] for other in others)
            if kind.startswith("timeout") and not box["blackbox.stacks"] and self._was_hurried(box["process.pid"]):
                figures["killed at once at the timeout"] += 1
            elif kind == "memory" and box["blackbox.how"] == HOW["sigkill"]:
                # The kernel's count says how many it killed, not whom: of two at once, one is known.
                figures["memory not said"] += 1
            else:
                assert re.fullmatch(expected, box["blackbox.how"]), (kind, box["blackbox.how"])
                self._check_stacks(box, kind)
            self._check_box(box, number, kind)
            figures[kind] += 1

        assert figures["memory not said"] <= figures["killed beside"]

    def _check_box(self, box: dict[str, Any], number: str, kind: str) -> None:
        assert box["severity_text"] == "ERROR"
        told = {request["id"]: request for request in box["blackbox.requests"]}
        request = told[number]
        assert (request["method"], request["path"]) == ("GET", f"/die/{kind}/{number}")
        assert request["client"] == "127.0.0.1"
        assert 0 <= request["seconds"] < 60
        assert box["blackbox.lived_seconds"] >= request["seconds"]
        assert f"worker {box['process.pid']} {box['blackbox.how']} while serving " in box["body"]
        if len(told) == 1:
            assert f"GET /die/{kind}/{number} for " in box["body"]
            assert f"id {number}" in box["body"]
        records = [json.loads(record["line"]) for record in box["blackbox.records"]]
        own = [record["body"] for record in records if record.get("request_id") == number]
        # Where other threads log much, what came first is not among the last records any more.
        (order,) = [record for record in self.stream.all if record["body"] == f"order {number}"]
        is_full = len(records) == RECORDS and records[0]["timestamp"] >= order["timestamp"]
        texts = [f"detail {number}", f"order {number}", f"dying {number}", f"printed last {number}"]
        for text in texts if not is_full else []:
            assert own.count(text) == 1, (kind, text, own)
        assert all(record["process.pid"] == box["process.pid"] for record in records)

    def _check_stacks(self, box: dict[str, Any], kind: str) -> None:
        stacks = box["blackbox.stacks"]
        if kind in WITH_STACKS:
            assert f"in die_by_{kind}" in stacks, (kind, stacks)
            assert "in idle_beside" in stacks, (kind, stacks)
        else:
            assert stacks == "", (kind, stacks)

    def _was_hurried(self, worker: int) -> bool:
        """A master that is woken by another worker's death sends SIGKILL right after SIGABRT, when its worker may have
        said nothing yet."""
        times = [
            datetime.fromisoformat(record["timestamp"])
            for record in self.stream.all
            if record["body"].startswith((f"WORKER TIMEOUT (pid:{worker})", f"Worker (pid:{worker}) was sent SIGKILL"))
        ]
        return len(times) == 2 and times[1] - times[0] < timedelta(seconds=0.9)

    def _check_requests(self, figures: Counter[str]) -> None:
        finished: Counter[str] = Counter()
        unfinished: Counter[str] = Counter()
        begun = {record["body"].split()[1] for record in self.stream.all if record["body"].startswith("order ")}
        for record in self.stream.all:
            if is_access(record) and record["request_id"] in self.clients.path:
                which = unfinished if record.get("unfinished") else finished
                which[record["request_id"]] += 1
        wrong = []
        for number, path in self.clients.path.items():
            named, ends = len(self.stream.deaths.get(number, [])), (finished[number], unfinished[number])
            answered = number in self.clients.answered
            if answered and ends == (0, 1) and named == 1:
                # The worker died after its answer had left and before the request was over.
                figures["answered and named"] += 1
                continue
            over = (1, 0, 0) if answered else (0, 1, 1) if number in begun else (0, 0, 0)
            if not answered and number in begun and (*ends, named) == (1, 0, 0):
                # It was over, and the client did not get the answer any more.
                figures["over but not received"] += 1
                continue
            if (*ends, named) != over:
                wrong.append((number, path, answered, number in begun, ends, named))
            figures["answered" if answered else "died" if number in begun else "not begun"] += 1
        assert wrong == [], "number, path, answered, begun, (finished, unfinished), named"

    def _check_numbers(self, figures: Counter[str]) -> None:
        """What was logged, printed and written is there, and once."""
        seen = Counter((record["otel.scope.name"], record["body"]) for record in self.stream.all)
        for number in [*self.clients.answered, *self.kinds]:
            expected = [("shop", f"order {number}"), ("stdout", f"printed {number}"), ("stdout", f"written {number}")]
            if number in self.kinds:
                expected += [("shop", f"dying {number}"), ("stdout", f"printed last {number}")]
                expected += [("stdout", f"written last {number}"), ("stderr", f"complained last {number}")]
                # What `faulthandler` writes afterwards is on the same line.
                unended = [key for key in seen if key[0] == "stderr" and key[1].startswith(f"unended {number}")]
                assert unended, f"unended {number}"
            else:
                expected.append(("shop", f"sold {number}"))
            for key in expected:
                assert seen[key] >= 1, f"{key} is lost"
                if "written" in key[1] or "complained" in key[1]:
                    # A worker that dies between two steps of reading its own output leaves it to be read again.
                    figures["captured twice"] += seen[key] - 1
                else:
                    assert seen[key] == 1, f"{key} {seen[key]} times"
        assert not [key for key in seen if key[1].startswith("detail ")], "below the level"

    def check_list(self) -> None:
        """`logboom blackbox` shows the same."""
        program = shutil.which("logboom")
        if program is None:
            return
        shown = subprocess.run(
            [program, "blackbox", "--json", self.server.folder / "out.txt"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        listed = [
            (death["pid"], death["message"], death["how"], death["requests"], death["stacks"])
            for death in json.loads(shown.stdout)["deaths"]
        ]
        boxes = [
            (box["process.pid"], box["body"], *(box[f"blackbox.{name}"] for name in ("how", "requests", "stacks")))
            for box in self.stream.all
            if box["otel.scope.name"] == "logboom.blackbox"
        ]
        assert listed == boxes[-64:]


def is_access(record: dict[str, Any]) -> bool:
    return record["otel.scope.name"] in ("gunicorn.access", "logboom.access")


def output_files() -> set[Path]:
    """What is captured of workers, living or dead, lies in these."""
    folder = Path(os.environ["LOGBOOM_STATE_DIR"])
    return {*folder.rglob("*.out"), *folder.rglob("*.err")}


def report(title: str, figures: Counter[str]) -> None:
    sys.stderr.write(f"\n{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(figures.items())) + "\n")


def died(
    tmp_path: Path,
    worker: str,
    kinds: list[str],
    timeout_s: int,
    at_once: int = 1,
    group: Path | None = None,
) -> None:
    """Each of `kinds` happens `DEATHS` times to the workers of one server, which runs in the cgroup `group`."""
    before = output_files()
    options = [*worker_options(worker), "-w", "3", "--timeout", str(timeout_s)]
    with contextlib.ExitStack() as stack:
        with within(group):
            server = stack.enter_context(serve(tmp_path, APP, *options, toml=TOML))
        deaths = Deaths(server)
        deaths.die_often([kind for _ in range(DEATHS) for kind in kinds], at_once)
        deaths.check_list()
        wait_until(lambda: len(server.workers()) == 3, "as many workers as before")
        wait_until(lambda: len(output_files() - before) == 6, "captured output of the living alone")
        # The last one is to be told to end when it has come far enough to end in order.
        time.sleep(1)
    assert output_files() == before
    figures = deaths.check()
    report(f"{worker} {'+'.join(kinds)}", figures)
    assert {kind: figures[kind] for kind in kinds} == dict.fromkeys(kinds, DEATHS)


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_worker_that_is_gone_at_once_leaves_a_black_box(tmp_path: Path, worker: str) -> None:
    died(tmp_path, worker, ["sigkill", "sigsegv", "exit"], timeout_s=60)


@pytest.mark.parametrize(
    ("worker", "kinds"),
    [
        ("sync", ["timeout_in_python", "timeout_in_c"]),
        ("gthread", ["timeout_in_c_alone"]),
        ("gevent", ["timeout_in_python"]),
    ],
)
def test_a_worker_that_is_ended_at_its_timeout_leaves_one(tmp_path: Path, worker: str, kinds: list[str]) -> None:
    died(tmp_path, worker, kinds, timeout_s=2, at_once=3 if FULL else 2)


def memory_group() -> Path:
    """A memory cgroup for one server; the test is left out where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("making a memory cgroup takes root")
    if not (CGROUP / "memory.limit_in_bytes").exists():
        pytest.skip("there is no version 1 memory controller at /sys/fs/cgroup/memory")
    group = CGROUP / f"logboom-tests-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    (group / "memory.limit_in_bytes").write_text(str(CGROUP_BYTES))
    # Without it, what is too much would go to swap.
    with contextlib.suppress(OSError):
        (group / "memory.memsw.limit_in_bytes").write_text(str(CGROUP_BYTES))
    return group


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_worker_that_has_no_memory_left_leaves_a_black_box_that_says_so(tmp_path: Path, worker: str) -> None:
    """And one that is killed in another way, before or after, is not said to have had none."""
    group = memory_group()
    try:
        died(tmp_path, worker, ["sigkill", "memory"], timeout_s=60, group=group)
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()


@contextlib.contextmanager
def within(group: Path | None) -> Iterator[None]:
    """What is started inside is in the memory cgroup `group`; the test itself only so long."""
    if group is None:
        yield
        return
    own = next(line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (CGROUP / own.strip("/") / "cgroup.procs").write_text(str(os.getpid()))


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_what_ends_the_server_as_well_is_told_of_when_it_ends(tmp_path: Path, worker: str) -> None:
    """Exit code 3 is what Gunicorn's workers have that cannot be started: it ends the server without asking hooks."""
    before = output_files()
    with serve(tmp_path, APP, *worker_options(worker), toml=TOML) as server:
        send(server, "/die/exit_of_no_start/1", "1")
        server.process.wait(30)
    wait_until(lambda: "Reason: Worker failed to boot" in (tmp_path / "out.txt").read_text(), "the server's end")
    stream = Stream(tmp_path / "out.txt")
    wait_until(lambda: stream.named("1"), "the black box")
    (box,) = stream.named("1")
    assert box["blackbox.how"] in ("is gone", "ended with exit code 3")
    assert len([record for record in stream.all if is_access(record) and record["request_id"] == "1"]) == 1
    wait_until(lambda: output_files() == before, "nothing stays")


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_group_that_was_killed_as_a_whole_is_told_of_at_the_next_start(tmp_path: Path, worker: str) -> None:
    before = output_files()
    options = [*worker_options(worker), "-w", "3"]
    rounds = DEATHS // 3 + 1
    held: list[str] = []
    for number in range(rounds):
        ids = [f"held-{number}-{index}" for index in range(3)]
        with serve(tmp_path, APP, *options, toml=TOML) as server:
            with ThreadPoolExecutor(3) as pool:
                for each in ids:
                    pool.submit(send, server, f"/hold/{each}", each)
                wait_until(lambda: all(f"order {each}" in server.output for each in ids), "all are held")  # noqa: B023
                for pid in [server.process.pid, *server.workers()]:
                    os.kill(pid, signal.SIGKILL)
                server.process.wait()
            wait_until(lambda: not server.answers(), "nobody answers")
        held += ids
    with serve(tmp_path, APP, *options, toml=TOML) as server:
        pass
    assert output_files() == before
    stream = Stream(tmp_path / "out.txt")
    report(
        f"{worker} killed with its master",
        Counter(died=len(held), named=sum(bool(stream.named(each)) for each in held)),
    )
    for each in held:
        (box,) = stream.named(each)
        (told,) = [request for request in box["blackbox.requests"] if request["id"] == each]
        assert (told["method"], told["path"]) == ("GET", f"/hold/{each}")
        assert box["blackbox.how"] == "is gone"
        (access,) = [record for record in stream.all if is_access(record) and record["request_id"] == each]
        assert access["unfinished"]
        assert len([record for record in stream.all if record["body"] == f"order {each}"]) == 1
    boxes = [record for record in stream.all if record["otel.scope.name"] == "logboom.blackbox"]
    assert sum(len(box["blackbox.requests"]) for box in boxes) == len(held), "nobody else is named"


def send(server: Server, path: str, request: str) -> None:
    """A request that gets no answer."""
    with pytest.raises((OSError, http.client.HTTPException)):
        server.get(path, {"X-Request-ID": request}, timeout_s=60)
