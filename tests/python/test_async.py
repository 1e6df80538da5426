"""gevent and asyncio programs log without hanging their loop, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from accounts import assert_each_once, lines, run


@pytest.mark.parametrize("patched", [True, False], ids=["patched", "plain"])
def test_greenlets_of_several_processes_log(tmp_path: Path, patched: bool) -> None:
    pytest.importorskip("gevent", reason="gevent is in tests/python/requirements.txt")
    run(
        """
        import sys
        if sys.argv[2] == "True":
            from gevent import monkey
            monkey.patch_all()
        import gevent, logging, os
        from logboom import handlers
        handler = handlers.RotatingFileHandler(sys.argv[1], maxBytes=20_000, backupCount=1000)
        logging.basicConfig(handlers=[handler], format="%(message)s", level=20)
        def work(name):
            for number in range(100):
                logging.info("%s %06d", name, number)
                gevent.sleep(0)
        pids = []
        for worker in range(3):
            pid = gevent.os.fork() if sys.argv[2] == "True" else os.fork()
            if pid == 0:
                gevent.joinall([gevent.spawn(work, f"{worker}-{each}") for each in range(10)], timeout=60)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        """,
        tmp_path / "a.log",
        patched,
    )
    assert_each_once(
        tmp_path / "a.log",
        [f"{worker}-{each} {number:06}" for worker in range(3) for each in range(10) for number in range(100)],
    )


def test_asyncio_tasks_log_and_the_loop_keeps_turning(tmp_path: Path) -> None:
    run(
        """
        import asyncio, logging, sys
        from logboom import handlers
        logging.basicConfig(handlers=[handlers.FileHandler(sys.argv[1])], format="%(message)s", level=20)
        async def work(name):
            for number in range(200):
                logging.info("%s %06d", name, number)
                await asyncio.sleep(0)
        async def main():
            ticks = 0
            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0.001)
            ticker = asyncio.create_task(tick())
            await asyncio.gather(*(work(str(each)) for each in range(20)))
            await asyncio.to_thread(logging.info, "thread 000000")
            ticker.cancel()
            assert ticks > 1
        asyncio.run(main())
        """,
        tmp_path / "a.log",
    )
    found = lines(tmp_path / "a.log")
    assert len(found) == 4001
    assert sorted(found) == sorted(
        ["thread 000000", *(f"{each} {number:06}" for each in range(20) for number in range(200))]
    )
