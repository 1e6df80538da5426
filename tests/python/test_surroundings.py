"""What surrounds a worker may change under it: user, descriptors, a reader that stops reading. It goes on logging."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from accounts import assert_each_once, record, run
from logboom import handlers


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
@pytest.mark.parametrize("logged_before", [True, False], ids=["used", "unused"])
def test_a_worker_that_drops_privileges_after_the_fork_logs_and_rotates(logged_before: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path = Path(folder) / "a.log"
        run(
            """
            import logging, os, sys
            from logboom import handlers
            handler = handlers.RotatingFileHandler(sys.argv[1], maxBytes=5000, backupCount=100)
            os.chown(sys.argv[1], 65534, 65534)
            def say(text):
                handler.handle(logging.LogRecord("n", 20, "p", 1, text, None, None))
            if sys.argv[2] == "True":
                say("master 000000")
            pids = []
            for worker in range(3):
                pid = os.fork()
                if pid == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                    for number in range(500):
                        say(f"{worker} {number:06}")
                    os._exit(0)
                pids.append(pid)
            for pid in pids:
                assert os.waitpid(pid, 0)[1] == 0
            """,
            path,
            logged_before,
        )
        texts = [f"{worker} {number:06}" for worker in range(3) for number in range(500)]
        assert_each_once(path, [*texts, "master 000000"] if logged_before else texts)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
def test_a_worker_that_may_not_rename_goes_on_writing(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "a.log"
        run(
            """
            import logging, os, sys
            from logboom import handlers
            handler = handlers.RotatingFileHandler(sys.argv[1], maxBytes=2000, backupCount=100)
            os.chown(sys.argv[1], 65534, 65534)
            def say(text):
                handler.handle(logging.LogRecord("n", 20, "p", 1, text, None, None))
            pid = os.fork()
            if pid == 0:
                os.setuid(65534)
                for number in range(500):
                    say(f"worker {number:06}")
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            say("master 000000")
            handler.close()
            """,
            path,
        )
        assert_each_once(path, [*(f"worker {number:06}" for number in range(500)), "master 000000"])


def test_a_daemonizer_that_closes_every_descriptor_does_not_stop_the_log(tmp_path: Path) -> None:
    run(
        """
        import logging, os, sys
        from logboom import handlers
        handler = handlers.RotatingFileHandler(sys.argv[1], maxBytes=3000, backupCount=100)
        def say(text):
            handler.handle(logging.LogRecord("n", 20, "p", 1, text, None, None))
        for number in range(100):
            say(f"before {number:06}")
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.closerange(3, 256)
            other = os.open(sys.argv[1] + "-other", os.O_WRONLY | os.O_CREAT)
            others = [os.dup(other) for _ in range(40)]
            for number in range(100):
                say(f"after {number:06}")
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        os.closerange(3, 256)
        for number in range(100):
            say(f"again {number:06}")
        handler.close()
        assert os.path.getsize(sys.argv[1] + "-other") == 0
        os.unlink(sys.argv[1] + "-other")
        """,
        tmp_path / "a.log",
    )
    texts = [f"{word} {number:06}" for word in ("before", "after", "again") for number in range(100)]
    assert_each_once(tmp_path / "a.log", texts)


PIPED = """
import logging, os, sys, time
from logboom import handlers
handler = handlers.RotatingFileHandler(sys.argv[1], maxBytes=10, backupCount=2, on_full_wait=0.2, queue_bytes=131072)
slowest = 0.0
for number in range(int(sys.argv[2])):
    begun = time.monotonic()
    handler.handle(logging.LogRecord("n", 20, "p", 1, f"record {number:06} " + "x" * 80, None, None))
    slowest = max(slowest, time.monotonic() - begun)
print(slowest, file=sys.stderr, flush=True)
handler.close()
"""


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1"])
def test_stdout_that_is_a_pipe_gets_every_record_in_order(path: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PIPED, path, "3000"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == [f"record {number:06} " + "x" * 80 for number in range(3000)]


def test_two_programs_with_a_stdout_of_their_own_do_not_mix(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PIPED, "/dev/stdout", "3000"]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        outs = list(pool.map(lambda each: each.communicate(timeout=60)[0], pair))
    expected = [f"record {number:06} " + "x" * 80 for number in range(3000)]
    assert [out.splitlines() == expected for out in outs] == [True, True]


def test_a_reader_that_stops_reading_delays_the_program_within_its_bound_and_never_hangs_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PIPED, "/dev/stdout", "20000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            # The program reports its slowest call although nobody has read a byte of its output.
            end = time.monotonic() + 60
            while time.monotonic() < end and not said.replace(".", "").strip().isdigit():
                said = process.stderr.readline()
            assert float(said) < 2.0
            out, _ = process.communicate(timeout=60)
            found = out.splitlines()
            assert found == sorted(found)
            assert len(set(found)) == len(found) >= 500
            assert all(len(line) == len("record 000000 ") + 80 for line in found)
        finally:
            process.kill()


def test_a_full_disk_raises_nothing_and_what_fits_in_the_queue_comes_later(tmp_path: Path) -> None:
    run(
        """
        import logging, os, resource, signal, sys
        from logboom import handlers
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        handler = handlers.FileHandler(sys.argv[1])
        def say(number):
            handler.handle(logging.LogRecord("n", 20, "p", 1, f"record {number:06}", None, None))
        say(0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        for number in range(1, 1000):
            say(number)
        assert os.path.getsize(sys.argv[1]) <= 8192
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for number in range(1000, 1010):
            say(number)
        handler.flush()
        handler.close()
        """,
        tmp_path / "a.log",
    )
    assert_each_once(tmp_path / "a.log", [f"record {number:06}" for number in range(1010)])


def test_a_removed_and_recreated_log_directory_is_found_again(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "logs"
    folder.mkdir()
    handler = handlers.FileHandler(folder / "a.log")
    handler.emit(record("one"))
    shutil.rmtree(folder)
    handler.emit(record("two"))
    folder.mkdir()
    end = time.monotonic() + 5
    number = 0
    while time.monotonic() < end and not (folder / "a.log").exists():
        handler.emit(record(f"more {number}"))
        number += 1
        time.sleep(0.05)
    handler.close()
    found = (folder / "a.log").read_text().splitlines()
    assert found[-1] == f"more {number - 1}"


def test_a_directory_that_may_not_be_written_fails_with_what_to_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    run(
        """
        import os, sys
        from logboom import handlers
        folder = sys.argv[1]
        if os.geteuid() == 0:
            # This run's state folder is root's alone.
            del os.environ["LOGBOOM_STATE_DIR"]
            folder = "/root"
            os.setuid(65534)
        try:
            handlers.FileHandler(folder + "/a.log")
        except PermissionError as error:
            assert "failed to" in str(error) and "permission" in str(error), error
        else:
            raise AssertionError("it was opened")
        """,
        tmp_path,
    )
