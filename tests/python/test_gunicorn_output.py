"""Whatever a worker writes to stdout or stderr is in the stream, line by line: by `print`, by C code, by a child, by
`faulthandler`; and nobody who prints ever waits for a reader."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from accounts import wait_until
from logboom import _stdio
from servers import serve

WRITER = """
import ctypes, faulthandler, os, subprocess, sys
libc = ctypes.CDLL(None)
def app(environ, start_response):
    kind = environ["PATH_INFO"]
    if kind == "/print":
        print("from print")
    elif kind == "/write":
        sys.stderr.write("from stderr")
        sys.stderr.write(" in two parts\\n")
    elif kind == "/buffer":
        sys.stdout.buffer.write("from büffer\\n".encode())
    elif kind == "/errors":
        environ["wsgi.errors"].write("from wsgi.errors\\n")
    elif kind == "/os":
        os.write(1, b"from os.write\\n")
    elif kind == "/libc":
        libc.puts(b"from puts")
        libc.fflush(None)
    elif kind == "/child":
        subprocess.run([sys.executable, "-c", "print('from a child')"])
    elif kind == "/stacks":
        faulthandler.dump_traceback()
    elif kind == "/unfinished":
        print("without an end", end="")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
WRITES = {
    "print": ("stdout", "from print"),
    "write": ("stderr", "from stderr in two parts"),
    "buffer": ("stdout", "from büffer"),
    "errors": ("stderr", "from wsgi.errors"),
    "os": ("stdout", "from os.write"),
    "libc": ("stdout", "from puts"),
    "child": ("stdout", "from a child"),
}


@pytest.mark.parametrize("to_file", [False, True], ids=["stderr", "errorlog"])
def test_every_way_of_writing_is_a_record_once(tmp_path: Path, to_file: bool) -> None:
    options = ["--error-logfile", "error.log", "--capture-output"] if to_file else []
    name = "error.log" if to_file else "out.txt"
    with serve(tmp_path, WRITER, *options, "--log-level=warning", path="/") as server:
        for way in (*WRITES, "stacks", "unfinished"):
            assert server.get(f"/{way}") == (200, b"ok")
        wait_until(lambda: "app.py" in str(server.messages("stderr", name)), "the stacks are there", 10)
    for component, text in [*WRITES.values(), ("stdout", "without an end")]:
        assert [line for line in server.messages(component, name) if text in line] == [text], (text, server.output)


def test_output_that_is_not_wanted_as_records_is_left_alone(tmp_path: Path) -> None:
    off = {"LOGBOOM_CAPTURE_STDOUT": "false", "LOGBOOM_CAPTURE_STDERR": "false"}
    with serve(tmp_path, WRITER, "--error-logfile", "error.log", path="/", **off) as server:
        for way in ("print", "write", "os"):
            assert server.get(f"/{way}") == (200, b"ok")
    assert sorted(server.output.splitlines()) == ["from os.write", "from print", "from stderr in two parts"]
    assert "from print" not in "".join(server.lines("error.log"))


def test_output_of_a_program_that_never_reads_its_pipe_stops_nobody(tmp_path: Path) -> None:
    """The stream is a pipe whose reader has stopped: printing a megabyte goes on at once."""
    app = """
def app(environ, start_response):
    for number in range(2000):
        print(f"line {number:05}", "x" * 500)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
    (tmp_path / "app.py").write_text(app)
    from servers import command, environment, free_port

    port = free_port()
    process = subprocess.Popen(
        [*command("-b", f"127.0.0.1:{port}", "--timeout", "20"), "app:app"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(False),
    )
    try:
        from servers import Server

        server = Server(tmp_path, process, port)
        wait_until(lambda: server.answers("/"), "an answer although nobody reads", 30)
        assert server.get("/", timeout_s=15) == (200, b"ok")
    finally:
        assert process.stderr is not None
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        reader.join()
        process.stderr.close()


# --- The stream itself -----------------------------------------------------------------------------------------------


class Sink:
    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []

    def __call__(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


def printed(sink: Sink, descriptor: int = 2) -> _stdio.Printed:
    return _stdio.Printed("stdout", descriptor, logging.INFO, sink)


def test_lines_are_published_when_they_end() -> None:
    sink = Sink()
    out = printed(sink)
    print("one", 1, file=out)
    print("two\nthree", end="", file=out)
    assert sink.lines == ["one 1", "two"]
    out.flush()
    assert sink.lines == ["one 1", "two"]
    print("!", file=out)
    print(file=out)
    out.writelines(["a\n", "b"])
    out.drain()
    out.drain()
    assert sink.lines == ["one 1", "two", "three!", "a", "b"]
    assert {record.name for record in sink.records} == {"stdout"}


def test_percent_signs_are_no_format() -> None:
    sink = Sink()
    print("100 %s %d", file=printed(sink))
    assert sink.lines == ["100 %s %d"]


def test_threads_do_not_mix_their_lines() -> None:
    sink = Sink()
    out = printed(sink)
    meet = threading.Barrier(2)

    def work(name: str) -> None:
        for _ in range(100):
            out.write(name)
            meet.wait()
            out.write(name + "\n")

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sink.lines) == ["aa"] * 100 + ["bb"] * 100


def test_a_line_without_end_is_bounded_and_whole() -> None:
    sink = Sink()
    out = printed(sink)
    text = "0123456789" * 10_000
    for start in range(0, len(text), 1000):
        out.write(text[start : start + 1000])
    out.write("\n" + text + "\n")
    assert "".join(sink.lines) == text * 2
    assert max(map(len, sink.lines)) <= 2 * _stdio.LINE_CHARS_MAX


def test_a_print_from_within_the_publishing_goes_to_the_descriptor() -> None:
    read, write = os.pipe()

    def publish(record: logging.LogRecord) -> None:
        print("inner", file=out)
        raise ValueError("and it fails, too")

    out = _stdio.Printed("stdout", write, logging.INFO, publish)
    print("outer", file=out)
    os.close(write)
    with open(read, "rb") as file:
        assert file.read() == b"inner\nouter\n"


def test_a_handler_that_writes_here_gives_its_record_instead_of_its_text() -> None:
    sink = Sink()
    handler = logging.StreamHandler(printed(sink))
    handler.setFormatter(logging.Formatter("text of the handler: %(message)s"))
    record = logging.LogRecord("shop", logging.ERROR, "shop.py", 1, "order %d", (7,), None)
    handler.emit(record)
    assert sink.records == [record]


def test_it_is_what_programs_expect_of_a_standard_stream() -> None:
    sink = Sink()
    out = printed(sink, 2)
    assert isinstance(out, io.TextIOBase)
    assert (out.fileno(), out.isatty(), out.writable(), out.readable()) == (2, False, True, False)
    assert (out.encoding, out.errors) == ("utf-8", "backslashreplace")
    out.reconfigure(line_buffering=True)
    assert out.write("four") == 4
    assert out.buffer.write(b" bytes \xff\n") == 9
    out.buffer.flush()
    assert sink.lines == ["four bytes \\xff"]
    with pytest.raises(TypeError, match="must be str"):
        out.write(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(io.UnsupportedOperation):
        out.detach()
    out.write("left")
    out.close()
    out.write("still open\n")
    assert sink.lines[1:] == ["left", "still open"]


def test_a_child_of_a_printing_process_prints_for_itself() -> None:
    sink = Sink()
    out = printed(sink)
    _stdio._inside.add(threading.get_ident())
    child = os.fork()
    if child == 0:
        print("in the child", file=out)
        os._exit(0 if sink.lines == ["in the child"] else 1)
    _stdio._inside.discard(threading.get_ident())
    assert os.waitpid(child, 0)[1] == 0


def test_buffers_are_flushed_before_a_fork() -> None:
    """What stands in a buffer when a process forks would be written twice."""
    code = """
import os, sys
from logboom import _stdio
sys.stdout.write("once ")
_stdio.flush()
if os.fork() == 0:
    sys.exit()
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "once "


def test_without_shared_state_the_stream_is_written_all_the_same(tmp_path: Path) -> None:
    """Standard error is written directly then, through reload and death of workers, and nothing is said of what is not
    there."""
    with serve(tmp_path, WRITER, path="/", LOGBOOM_STATE_DIR="/proc/none") as server:

        def has(count: int, text: str) -> bool:
            return sum(text in record["body"] for record in server.records()) == count

        server.get("/print")
        server.signal(signal.SIGHUP)
        wait_until(lambda: has(2, "Booting worker") and len(server.workers()) == 1, "another worker", 20)
        server.get("/write")
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_until(lambda: has(3, "Booting worker"), "a third worker", 20)
        wait_until(lambda: server.answers("/errors"), "an answer", 20)
        for said in ("from print", "from stderr in two parts", "from wsgi.errors", '"GET /print HTTP/1.1"'):
            assert has(1, said), server.output
    assert "Traceback" not in server.output
