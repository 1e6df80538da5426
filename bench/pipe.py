"""Measures `logboom pipe` beside the programs that do the same: cat, multilog, s6-log, rotatelogs and cronolog.

Each gets the same lines through a pipe, one program after the other in each round, so that all see the same machine;
the tables have the medians. What is measured is the program at the end of the pipe: lines a second from its start to
its end, and its own seconds of processor time. The lines in what it wrote are counted. A program that is not installed
is left out, and said.

    cargo build --release -p logboom-cli
    python3 bench/pipe.py                         # 1,000,000 lines of 120 bytes, 7 rounds
    python3 bench/pipe.py --lines 200000 --rounds 3 --directory /var/tmp

The writer of the first two tables is `cat`, which fills the pipe as fast as it can; that of the third writes each line
by itself, as a program does that logs.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGBOOM = ROOT / "target" / "release" / "logboom"
MIB = 1 << 20
# No more than 16: multilog takes no larger size.
ROTATE_MIB = 10


@dataclass
class Program:
    """One program at the end of the pipe."""

    name: str
    arguments: list[str]
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    lost: int = 0


def programs(rotate: bool) -> list[Program]:
    """The programs, writing into the working directory, rotating each ROTATE_MIB or not at all."""
    size = str(ROTATE_MIB * MIB)
    logboom = [str(LOGBOOM), "pipe", "--file", "app.log", "--state-dir", "state"]
    if rotate:
        found = [
            Program("logboom pipe", [*logboom, "--size", size, "--keep-count", "1000"]),
            Program("logboom pipe, stamped", [*logboom, "--size", size, "--keep-count", "1000", "--stamp", "rfc3339"]),
            Program("multilog", ["multilog", f"s{size}", "n1000", "./out"]),
            Program("multilog, stamped", ["multilog", "t", f"s{size}", "n1000", "./out"]),
            Program("s6-log", ["s6-log", f"s{size}", "n1000", "./out"]),
            Program("s6-log, stamped", ["s6-log", "T", f"s{size}", "n1000", "./out"]),
            Program("rotatelogs", ["rotatelogs", "out.log", f"{ROTATE_MIB}M"]),
        ]
    else:
        found = [
            Program("cat", ["sh", "-c", "exec cat >> out.log"]),
            Program("logboom pipe", logboom),
            Program("logboom pipe, JSON", [*logboom, "--format", "json"]),
            Program("logboom pipe, --drop", [*logboom, "--drop"]),
            Program("s6-log", ["s6-log", "s268435455", "n1000", "./out"]),
            Program("rotatelogs", ["rotatelogs", "out.log", "86400"]),
            Program("cronolog", ["cronolog", "out.%Y%m%d.log"]),
        ]
    missing = sorted({program.arguments[0] for program in found if not shutil.which(program.arguments[0])})
    for name in missing:
        print(f"left out: {name} is not installed", file=sys.stderr)
    return [program for program in found if program.arguments[0] not in missing]


def run(program: Program, writer: list[str], lines: int, place: Path) -> None:
    """One run of one program, in a directory of its own."""
    with tempfile.TemporaryDirectory(dir=place) as directory:
        (Path(directory) / "state").mkdir(mode=0o700)
        started = time.monotonic()
        source = subprocess.Popen(writer, stdout=subprocess.PIPE)
        end = subprocess.Popen(program.arguments, stdin=source.stdout, cwd=directory)
        assert source.stdout is not None
        source.stdout.close()
        _, _, usage = os.wait4(end.pid, 0)
        program.seconds.append(time.monotonic() - started)
        program.cpu.append(usage.ru_utime + usage.ru_stime)
        source.wait()
        found = count(Path(directory))
        program.lost += lines - found
        if found != lines:
            print(f"{program.name}: {found} of {lines} lines", file=sys.stderr)


def count(directory: Path) -> int:
    """Lines in all logs, archives included; not what the programs keep of their own beside them."""
    found = 0
    for path in directory.rglob("*"):
        own = path.parent.name == "state" or path.name in ("lock", "state") or path.name.startswith(".")
        if path.is_file() and not own:
            with path.open("rb") as file:
                while chunk := file.read(MIB):
                    found += chunk.count(b"\n")
    return found


def measure(
    title: str, contestants: list[Program], writer: list[str], lines: int, arguments: argparse.Namespace
) -> None:
    """All programs in turn, several times; prints the table."""
    for _ in range(arguments.rounds):
        for program in contestants:
            run(program, writer, lines, arguments.directory)
    print(f"\n{title}\n")
    print("| program | lines/s | CPU s per million lines | lost |")
    print("|---|---|---|---|")
    for program in contestants:
        rate = lines / statistics.median(program.seconds)
        cpu = statistics.median(program.cpu) / lines * 1e6
        print(f"| {program.name} | {rate:,.0f} | {cpu:.3f} | {program.lost} |")


def main() -> None:
    """Read the arguments, make the lines, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="where to write logs")
    arguments = parser.parse_args()
    if not LOGBOOM.exists():
        sys.exit("build it first: cargo build --release -p logboom-cli")
    with tempfile.NamedTemporaryFile(dir=arguments.directory, suffix=".lines") as data:
        for number in range(arguments.lines):
            data.write(b"%08d %s\n" % (number, b"x" * 110))
        data.flush()
        machine = f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}"
        print(f"{machine}, {arguments.rounds} rounds")
        whole = ["cat", data.name]
        single = [sys.executable, "-c", SINGLE, data.name]
        fewer = f"{arguments.lines:,} lines of 120 bytes"
        measure(f"Without rotation, {fewer}", programs(False), whole, arguments.lines, arguments)
        measure(f"With a rotation each {ROTATE_MIB} MiB, {fewer}", programs(True), whole, arguments.lines, arguments)
        measure(f"Each line written by itself, {fewer}", programs(False), single, arguments.lines, arguments)


SINGLE = """
import os, sys
write = os.write
for line in open(sys.argv[1], "rb"):
    write(1, line)
"""

if __name__ == "__main__":
    main()
