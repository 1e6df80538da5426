"""The application of `test_gunicorn_deaths`: `/buy/N` is answered, `/die/KIND/N` ends its worker while it is served.

Whatever comes to its end here does so in a function called `die_by_KIND`, so that a test can look for it in stacks.
"""

from __future__ import annotations

import _thread
import ctypes
import logging
import os
import signal
import sys
import time
from typing import Any

log = logging.getLogger("shop")
MUTEX_BYTES = 64
HOG_BYTES = 8 << 20


def die_by_sigkill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_by_sigsegv() -> None:
    ctypes.string_at(0)


def die_by_exit() -> None:
    # Not 3 or 4, which mean to Gunicorn that the application cannot be loaded.
    os._exit(7)


def die_by_exit_of_no_start() -> None:
    os._exit(3)


def die_by_timeout_in_python() -> None:
    while True:
        pass


def die_by_timeout_in_c() -> None:
    """A deadlock: no signal makes a thread leave it, and Python code runs on in the other threads."""
    _lock_twice(ctypes.CDLL(None))


def die_by_timeout_in_c_alone() -> None:
    """The same without giving the interpreter to any other thread."""
    _lock_twice(ctypes.PyDLL(None))


def die_by_memory() -> None:
    """Takes memory, and uses it, until the kernel has had enough; of all processes of its group it is the one to go."""
    _offer_to_the_kernel(1000)
    kept = []
    while True:
        kept.append(b"x" * HOG_BYTES)


def _offer_to_the_kernel(score: int) -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score))


def _lock_twice(library: ctypes.CDLL) -> None:
    mutex = ctypes.create_string_buffer(MUTEX_BYTES)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def idle_beside(started: Any) -> None:
    """A thread that has nothing to do with any request: for it, a lock that nobody releases."""
    lock = _plain("allocate_lock")()
    lock.acquire()
    started.release()
    lock.acquire()


def _plain(name: str) -> Any:
    """A function of `_thread` as it was before gevent: only threads of the kernel have stacks that are shown."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("_thread", name) if monkey is not None else getattr(_thread, name)


# Where memory is short, a worker goes before its master.
_offer_to_the_kernel(500)
_started = _plain("allocate_lock")()
_started.acquire()
_plain("start_new_thread")(idle_beside, (_started,))
_started.acquire()


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    kind, _, rest = environ["PATH_INFO"].strip("/").partition("/")
    if kind == "hold":
        log.info("order %s", rest)
        time.sleep(60)
    if kind == "die":
        how, _, number = rest.partition("/")
        _say(number)
        log.warning("dying %s", number)
        print("printed last", number)
        os.write(1, f"written last {number}\n".encode())
        os.write(2, f"complained last {number}\nunended {number}".encode())
        globals()[f"die_by_{how}"]()
    else:
        _say(rest)
        time.sleep(int(rest) % 7 * 0.005)
        log.info("sold %s", rest)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def _say(number: str) -> None:
    log.debug("detail %s", number)
    log.info("order %s", number)
    print("printed", number)
    os.write(1, f"written {number}\n".encode())
