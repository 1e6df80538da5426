"""No rituals: fork, spawn, threads, `os._exit`, a fork in the middle of a call. Each record is there once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from accounts import assert_each_once, lines, record, run
from logboom import handlers

WORKERS, EACH = 4, 1500
HEAD = (
    f"EACH, WORKERS = {EACH}, {WORKERS}"
    + """
import logging, multiprocessing, os, sys, threading, time
from logboom import handlers
path = sys.argv[1]
def record(text):
    return logging.LogRecord("n", 20, "p", 1, text, None, None)
def make():
    return handlers.RotatingFileHandler(path, maxBytes=30_000, backupCount=10_000)
def work(handler, worker):
    for number in range(EACH):
        handler.handle(record(f"{worker} {number:06}"))
def children(target):
    pids = []
    for worker in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            try:
                target(worker)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
"""
)


def expected(workers: int = WORKERS) -> list[str]:
    return [f"{worker} {number:06}" for worker in range(workers) for number in range(EACH)]


def run_workers(path: Path, body: str) -> None:
    import textwrap

    run(HEAD + textwrap.dedent(body), path)


def test_a_handler_made_before_the_fork_is_good_in_every_child(tmp_path: Path) -> None:
    run_workers(tmp_path / "a.log", "handler = make()\nchildren(lambda worker: work(handler, worker))")
    assert_each_once(tmp_path / "a.log", expected())


def test_a_handler_used_before_the_fork_is_good_in_parent_and_children(tmp_path: Path) -> None:
    run_workers(
        tmp_path / "a.log",
        """
        handler = make()
        work(handler, 4)
        children(lambda worker: work(handler, worker))
        work(handler, 5)
        """,
    )
    assert_each_once(tmp_path / "a.log", expected(6))


def test_a_handler_made_in_each_child_joins_the_others(tmp_path: Path) -> None:
    run_workers(tmp_path / "a.log", "children(lambda worker: work(make(), worker))")
    assert_each_once(tmp_path / "a.log", expected())


def test_os_exit_right_after_the_last_record_loses_nothing(tmp_path: Path) -> None:
    run_workers(
        tmp_path / "a.log",
        """
        handler = make()
        for worker in range(4):
            if os.fork() == 0:
                work(handler, worker)
                os._exit(0)
        for worker in range(4):
            os.wait()
        os._exit(0)
        """,
    )
    assert_each_once(tmp_path / "a.log", expected())


def test_spawned_processes_join_the_others(tmp_path: Path) -> None:
    script = tmp_path / "spawning.py"
    script.write_text(
        HEAD
        + """
def child(worker):
    work(make(), worker)
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    found = [context.Process(target=child, args=(worker,)) for worker in range(4)]
    for each in found:
        each.start()
    for each in found:
        each.join(60)
        assert each.exitcode == 0
"""
    )
    run(f"import runpy, sys; runpy.run_path({str(script)!r}, run_name='__main__')", tmp_path / "a.log")
    assert_each_once(tmp_path / "a.log", expected())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_pool_logs_by_a_configured_logger(tmp_path: Path, method: str) -> None:
    script = tmp_path / "pool.py"
    script.write_text(
        HEAD
        + f"""
def setup():
    logging.basicConfig(handlers=[make()], format="%(message)s", level=20, force=True)
def job(number):
    logging.info("%06d", number)
if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(3, setup) as pool:
        pool.map(job, range(2000), 50)
"""
    )
    run(f"import runpy, sys; runpy.run_path({str(script)!r}, run_name='__main__')", tmp_path / "a.log")
    assert_each_once(tmp_path / "a.log", [f"{number:06}" for number in range(2000)])


def test_threads_of_several_processes_share_a_handler(tmp_path: Path) -> None:
    run_workers(
        tmp_path / "a.log",
        """
        handler = make()
        def threads(worker):
            found = [threading.Thread(target=work, args=(handler, worker * 4 + number)) for number in range(4)]
            for each in found:
                each.start()
            for each in found:
                each.join()
        children(threads)
        """,
    )
    assert_each_once(tmp_path / "a.log", expected(16))


def test_a_fork_in_the_middle_of_another_threads_call_neither_hangs_nor_doubles(tmp_path: Path) -> None:
    run_workers(
        tmp_path / "a.log",
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        handler = make()
        stop = threading.Event()
        counts = [0, 0, 0]
        def busy(number):
            while not stop.is_set():
                handler.handle(record(f"thread{number} {counts[number]:06}"))
                counts[number] += 1
        found = [threading.Thread(target=busy, args=(number,)) for number in range(3)]
        for each in found:
            each.start()
        for fork in range(60):
            pid = os.fork()
            if pid == 0:
                handler.handle(record(f"child {fork:06}"))
                os._exit(0)
            end = time.monotonic() + 20
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > end:
                    os.kill(pid, 9)
                    os._exit(3)
                time.sleep(0.001)
        stop.set()
        for each in found:
            each.join()
        handler.close()
        open(path + "-counts", "w").write(repr(counts))
        """,
    )
    counts = eval((tmp_path / "a.log-counts").read_text())
    (tmp_path / "a.log-counts").unlink()
    texts = [f"thread{number} {count:06}" for number in range(3) for count in range(counts[number])]
    assert_each_once(tmp_path / "a.log", texts + [f"child {number:06}" for number in range(60)])


def test_records_of_one_worker_stay_in_order(tmp_path: Path) -> None:
    run_workers(
        tmp_path / "a.log",
        """
        handler = handlers.FileHandler(path)
        children(lambda worker: work(handler, worker))
        """,
    )
    for worker in range(WORKERS):
        mine = [line for line in lines(tmp_path / "a.log") if line.startswith(f"{worker} ")]
        assert mine == sorted(mine)


def test_a_handler_that_logs_while_it_logs_neither_hangs_nor_tears(tmp_path: Path, logger: logging.Logger) -> None:
    class Chatty(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            if record.args:
                logger.info(f"inner of {record.args[0]}")
            return super().format(record)

    handler = handlers.FileHandler(tmp_path / "a.log")
    handler.setFormatter(Chatty("%(message)s"))
    logger.addHandler(handler)
    for number in range(100):
        logger.info("outer %s", number)
    logger.removeHandler(handler)
    handler.close()
    texts = [f"{kind} {number}" for number in range(100) for kind in ("inner of", "outer")]
    assert (tmp_path / "a.log").read_text().splitlines() == texts


def test_a_signal_handler_and_a_finalizer_that_log_do_not_hang(tmp_path: Path) -> None:
    run_workers(
        tmp_path / "a.log",
        """
        import gc, signal
        handler = handlers.FileHandler(path)
        class Ring:
            def __init__(self): self.me = self
            def __del__(self): handler.handle(record("finalizer"))
        count = 0
        def on_alarm(*_):
            global count
            count += 1
            handler.handle(record("signal"))
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        gc.set_threshold(5)
        for number in range(20_000):
            if number % 100 == 0:
                Ring()
            handler.handle(record("main"))
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        handler.close()
        found = open(path).read().splitlines()
        assert found.count("main") == 20_000
        assert found.count("finalizer") == 200
        assert found.count("signal") == count > 0, count
        assert set(found) == {"main", "finalizer", "signal"}
        """,
    )


def test_big_records_are_whole(tmp_path: Path) -> None:
    run_workers(
        tmp_path / "a.log",
        """
        handler = handlers.FileHandler(path)
        def big(worker):
            for length in (10, 4096, 65_536, 300_000, 3_000_000):
                handler.handle(record(str(worker) * length))
        children(big)
        """,
    )
    found = sorted(lines(tmp_path / "a.log"))
    assert [(line[0], len(line)) for line in found] == sorted(
        (str(worker), length) for worker in range(WORKERS) for length in (10, 4096, 65_536, 300_000, 3_000_000)
    )
    assert all(set(line) == {line[0]} for line in found)


def test_two_handlers_of_one_process_on_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    pair = [handlers.RotatingFileHandler(path, maxBytes=500, backupCount=100) for _ in range(2)]
    texts = [f"record {number:06}" for number in range(200)]
    for number, text in enumerate(texts):
        pair[number % 2].emit(record(text))
    for handler in pair:
        handler.close()
    assert_each_once(path, texts)
