"""Debug by a signal in a program without a server: one toggle for all of its processes, told by whom, and given back.

Each test is a program of its own, since signals and loggers are the process's.
"""

from __future__ import annotations

from pathlib import Path

from test_setup import check

START = """
import signal, time
heard = []
signal.signal(signal.SIGUSR2, lambda *_: heard.append("own"))
installation = configure(app={"debug_signal": "SIGUSR2", "debug_components": ["shop"]})
shop = logging.getLogger("shop.payments")
def forked(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid
def toggles():
    return [body for body in bodies() if body.startswith("debug ")]
"""


def test_a_signal_toggles_debug_for_all_processes_once(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
def child():
    end = time.monotonic() + 10
    while not shop.isEnabledFor(10) and time.monotonic() < end:
        time.sleep(0.01)
    shop.debug("of the child")
pid = forked(child)
os.kill(os.getpid(), signal.SIGUSR2); os.kill(pid, signal.SIGUSR2)
shop.debug("of the parent")
os.waitpid(pid, 0)
time.sleep(1.1)
os.kill(os.getpid(), signal.SIGUSR2)
shop.debug("not any more")
same(sorted(body for body in bodies() if body.startswith("of")), ["of the child", "of the parent"])
by = f", by signal from pid {os.getpid()}"
assert toggles()[0].startswith("debug on for shop.* until ") and toggles()[0].endswith(by), toggles()
same(toggles()[1:], ["debug off for shop.*" + by])
same(heard, ["own", "own"])
installation.remove()
os.kill(os.getpid(), signal.SIGUSR2)
same(heard, ["own", "own", "own"])
""",
    )


def test_a_process_that_acts_late_on_a_signal_is_part_of_the_toggle_of_then(tmp_path: Path) -> None:
    """Python runs a handler when a call into C is over; what counts is when the signal came."""
    check(
        tmp_path,
        START
        + """
started = os.pipe()
begun = time.monotonic()
sum(range(4_000_000))
steps = int(4_000_000 * 2.5 / (time.monotonic() - begun))
def busy():
    os.write(started[1], b"x")
    sum(range(steps))  # in C, and deaf, for two seconds and more
pid = forked(busy)
os.read(started[0], 1)
time.sleep(0.1)
sender = forked(lambda: [os.kill(process, signal.SIGUSR2) for process in (os.getppid(), pid)])
os.waitpid(sender, 0)
os.waitpid(pid, 0)
same(len(toggles()), 1)
assert toggles()[0].endswith(f"by signal from pid {sender}"), toggles()
""",
    )


def test_a_toggle_that_finds_no_room_changes_nothing_and_says_so(tmp_path: Path) -> None:
    check(
        tmp_path,
        START
        + """
for _ in range(16):
    assert installation.log.add_rule("other")
os.kill(os.getpid(), signal.SIGUSR2)
shop.debug("not revealed")
same([body for body in bodies() if not body.startswith("debug stays off for shop.*: the table of rules is full")], [])
same(len(bodies()), 1)
""",
    )


def test_a_signal_whose_handler_was_set_anew_is_told_without_its_sender(tmp_path: Path) -> None:
    """The program took the signal after us and calls what it found there, as it should: the toggle is not lost."""
    check(
        tmp_path,
        START
        + """
found = signal.getsignal(signal.SIGUSR2)
signal.signal(signal.SIGUSR2, lambda *arguments: found(*arguments))
os.kill(os.getpid(), signal.SIGUSR2)
assert toggles()[0].endswith(f"by signal to pid {os.getpid()}"), toggles()
same(heard, ["own"])
""",
    )
