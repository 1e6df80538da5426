"""docs/guide.md is true: its files are written, its commands are run in one shell, and what it shows is what comes.

A block whose first line is a comment with a name (`# app.py`) is that file. In a `console` block, lines that begin with
`$ ` are commands, the others what they print. There, `...` stands for any text, or on a line of its own for any lines;
times, process numbers, durations and made-up ids are taken as equal. Ports are replaced by free ones.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from logboom._native import load_config
from receivers import end_relays
from rsyslog import end_daemon, why_not
from servers import children, free_port

pytest.importorskip("flask", reason="flask is in tests/python/requirements.txt")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/guide.md"
COMMAND_S_MAX = 60
# How long a server may need until what is read of it is there.
SEEN_S_MAX = 20
# These only read, and may be run again until a server has written what they show.
READERS = ("cat ", "tail ", "grep ", "logboom blackbox", "logboom verify", "logboom status")
# The section that needs a syslog server; it only needs the application of the sections before it.
SYSLOG = "## From Flask to a central syslog server\n"
# The standard handler loses records nearly always; where it was lucky, it is asked again. Ours is asked once.
LUCKY = "20000 records, 0 lost"
TRIES_MAX = 10
CHANGING = [
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", "<time>"),
    (r"\[\d+\]", "[<pid>]"),
    (r"\((\d+)\)$", "(<pid>)"),
    (r"(worker|thread|pid:) ?\d+", r"\1 <number>"),
    (r"\d+\.\d ?(ms|s)\b", r"<duration>"),
    (r"request_id=[0-9a-f]{16}\b", "request_id=<made up>"),
    (r"\b[1-9]\d* lost", "<some> lost"),
    (r"workers\.log\.\d+: \d+ records in \d+\.\d KiB", "<an archive>"),
    (r"for \d+ files", "for <some> files"),
    (r" +$", ""),
]


class Block(NamedTuple):
    language: str
    text: str
    line: int


class Step(NamedTuple):
    """A command and what the page says it prints."""

    command: str
    shown: list[str]


def blocks(path: Path = PAGE) -> list[Block]:
    """All code blocks of a page."""
    page = path.read_text()
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(each[1], each[2], page.count("\n", 0, each.start()) + 1) for each in found]


def steps(block: Block) -> list[Step]:
    found: list[Step] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], []))
        else:
            found[-1].shown.append(line)
    return found


def plain(line: str) -> str:
    """`line` without what differs from run to run."""
    for pattern, word in CHANGING:
        line = re.sub(pattern, word, line)
    return line


def is_shown(shown: list[str], printed: list[str]) -> bool:
    """Whether the page's lines, with their wildcards, are those that were printed."""
    pattern = ""
    for line in shown:
        if line == "...":
            pattern += r"(.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in plain(line).split("...")) + r"\n"
    # Gunicorn says so from a thread of its own, at any moment after the start.
    expected = [plain(line) for line in printed if "Control socket listening at" not in line]
    return re.fullmatch(pattern, "".join(line + "\n" for line in expected)) is not None


class Shell:
    """One bash for the whole page, in a process group of its own."""

    END = "--- end of the output ---"

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=env,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def run(self, command: str) -> list[str]:
        """What `command` prints."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\necho '{self.END}'\n")
        self.process.stdin.flush()
        printed = []
        limit = time.monotonic() + COMMAND_S_MAX
        while True:
            try:
                line = self._lines.get(timeout=max(0.1, limit - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"`{command}` did not end; so far it printed {printed}")
            if line == self.END:
                return printed
            printed.append(line)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Guide:
    """The page at work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ("8000", "5000", "2514")}
        (folder / "home").mkdir()
        self.shell = Shell(folder, self._environment())

    def _environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("LOGBOOM_", "FLASK_"))}
        return env | {
            "LOGBOOM_STATE_DIR": os.environ["LOGBOOM_STATE_DIR"],
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), env["PATH"]]),
            # Newer versions of Gunicorn put a socket there.
            "HOME": str(self.folder / "home"),
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{self.ports['8000']}",
            "FLASK_RUN_PORT": self.ports["5000"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "TZ": "UTC",
        }

    def with_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = text.replace(f":{port}", f":{free}").replace(f'port="{port}"', f'port="{free}"')
        return text

    def write(self, block: Block) -> None:
        name = block.text.partition("\n")[0].removeprefix("# ")
        assert re.fullmatch(r"[a-z]+\.(py|toml|conf)", name), f"{PAGE}:{block.line}: the block names no file"
        (self.folder / name).write_text(self.with_ports(block.text))

    def do(self, block: Block) -> None:
        if block.language == "console":
            self.follow(block)
        else:
            self.write(block)

    def follow(self, block: Block) -> None:
        for command, shown in steps(block):
            shown = [self.with_ports(line) for line in shown]
            printed = self._run(self.with_ports(command))
            for _ in range(TRIES_MAX):
                if printed != [LUCKY] or shown == [LUCKY]:
                    break
                printed = self.shell.run(f"rm workers.log*; {command}")
            limit = time.monotonic() + SEEN_S_MAX
            while not is_shown(shown, printed) and command.startswith(READERS) and time.monotonic() < limit:
                time.sleep(0.2)
                printed = self.shell.run(self.with_ports(command))
            if not is_shown(shown, printed):
                told = "\n".join([f"{PAGE}:{block.line}: $ {command}", "prints", *printed, "and the page has", *shown])
                pytest.fail(told)

    def _run(self, command: str) -> list[str]:
        if command.startswith("kill -HUP"):
            return self._reload(command)
        if command.startswith("kill -KILL $(cat rsyslog.pid)"):
            wait_for(self._all_is_delivered, "all workers have logged, and nothing waits", COMMAND_S_MAX)
        printed = self.shell.run(command)
        if command.endswith("&"):
            port = self.ports["5000" if command.startswith("flask") else "8000"]
            wait_for(lambda: listens(int(port)), f"`{command}` answers", COMMAND_S_MAX)
        if asked := re.search(r"^gunicorn .*--workers (\d+)", command):
            # Gunicorn pauses between them, and one answers before the next is there.
            (server,) = self.shell.run("echo $!")
            wait_for(lambda: len(children(int(server))) == int(asked[1]), "all workers", COMMAND_S_MAX)
        return printed

    def _all_is_delivered(self) -> bool:
        """A person looks at the records before the server is killed; by then it has confirmed them, too."""
        status = json.loads("".join(self.shell.run("logboom status --json")))
        (server,) = self.shell.run("echo $!")
        silent = set(children(int(server))) - {each["pid"] for each in status["workers"] if each["published"]}
        return not silent and all(each["waiting"] == 0 for each in status["destinations"])

    def _reload(self, command: str) -> list[str]:
        """A person takes longer to type the next command than the workers need to be replaced."""
        (server,) = self.shell.run("echo $!")
        before = set(children(int(server)))
        printed = self.shell.run(command)
        wait_for(lambda: is_replaced(before, children(int(server))), "new workers", COMMAND_S_MAX)
        return printed


def is_replaced(before: set[int], now: list[int]) -> bool:
    return len(now) == len(before) and not before.intersection(now)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(is_so: Callable[[], bool], what: str, limit_s: float) -> None:
    limit = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < limit, f"waited in vain: {what}"
        time.sleep(0.1)


@pytest.fixture
def guide(tmp_path: Path) -> Iterator[Guide]:
    for program in ("bash", "curl", "logboom", "gunicorn"):
        places = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        if shutil.which(program, path=places) is None:
            pytest.skip(f"the guide's commands need `{program}`, which is not installed")
    guide = Guide(tmp_path)
    yield guide
    guide.shell.end()


def test_every_block_of_the_guide_does_what_the_page_says(guide: Guide) -> None:
    for block in blocks():
        if block.line < line_of(SYSLOG):
            guide.do(block)


def test_the_way_to_a_syslog_server_is_what_the_page_says(guide: Guide, tmp_path: Path) -> None:
    if reason := why_not("imrelp"):
        pytest.skip(reason)
    sections = [block for block in blocks() if block.line > line_of(SYSLOG)]
    assert sections
    try:
        guide.write(next(block for block in blocks() if block.text.startswith("# app.py\n")))
        for block in sections:
            guide.do(block)
    finally:
        end_daemon(tmp_path / "rsyslog.pid")
        guide.shell.end()
        end_relays(tmp_path)


def line_of(heading: str) -> int:
    page = PAGE.read_text()
    return page.count("\n", 0, page.index(heading)) + 1


def test_no_code_of_the_guide_is_left_out() -> None:
    """Every block is a file or commands; nothing stands in the page that is not run."""
    found = blocks()
    assert {block.language for block in found} == {"console", "python", "toml", "rsyslog"}
    assert PAGE.read_text().count("```") == 2 * len(found)
    ran = "".join(block.text for block in found if block.language == "console")
    for block in found:
        if block.language == "python":
            module = block.text.partition("\n")[0].removeprefix("# ").removesuffix(".py")
            assert re.search(rf"\b{module}(:|\.py|\b)", ran), f"{module}.py is not run"


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/shipping.md", "examples/shop/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    text = path.read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:docs|examples)/[\w./]+)`", text)
    lost = [link for link in links if not (path.parent / link).exists()]
    assert lost + [name for name in named if not (ROOT / name).exists()] == []


def test_the_configurations_that_are_shown_elsewhere_are_right(tmp_path: Path) -> None:
    """Those of the README, of the page on shipping, and of the examples."""
    pages = [blocks(ROOT / page) for page in ("README.md", "docs/shipping.md")]
    shown = [[block.text for block in page if block.language == "toml"] for page in pages]
    assert all(shown)
    files = [(ROOT / f"examples/{name}/logboom.toml").read_text() for name in ("shop", "relay")]
    for text in [*itertools.chain(*shown), *files]:
        path = tmp_path / "logboom.toml"
        path.write_text(text)
        assert load_config(str(path), {}, {})["notes"] == [], text


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["sum: 3"], ["sum: 4"]),
        (["a", "..."], ["b", "c"]),
        (["0 lost"], ["7 lost"]),
        (["a ... z"], ["a b c"]),
        (["order=7 request_id=visit-77"], ["order=7 request_id=visit-78"]),
        ([], ["an error"]),
        (["a"], []),
    ],
)
def test_what_differs_is_found(shown: list[str], printed: list[str]) -> None:
    assert not is_shown(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["...", "end"], ["one", "two", "end"]),
        (["2026-11-20 17:01:45.310 INFO [4711] a"], ["2027-01-02 03:04:05.006 INFO [9] a"]),
        (["took ... or so"], ["took long or so"]),
        (["12 lost"], ["3456 lost"]),
    ],
)
def test_what_may_differ_is_taken_as_equal(shown: list[str], printed: list[str]) -> None:
    assert is_shown(shown, printed)
