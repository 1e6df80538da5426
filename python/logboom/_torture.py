"""A worker of `logboom torture`: writes numbered records through a logging handler and keeps account of them.

    python -m logboom._torture CONFIG.json              forks a worker for each line "WORKER INCARNATION SPAWN" on stdin
    python -m logboom._torture CONFIG.json W I SPAWN    is one worker itself
    python -m logboom._torture --describe CLASS         says in JSON what the handler class accepts

The account is a file of 64-bit words, mapped and shared: word 1 is set when the workers shall end, word 2 counts the
rotations asked of worker 0; from word 8 on, each thread has eight words: records begun, records acknowledged, bytes,
errors, rotations. `begun` is stored before the emitting call and `acknowledged` after it, each by one store, so that
the account stays true when the process is killed between any two instructions. Needs nothing but the standard library
and runs without logboom installed.
"""

import importlib
import inspect
import json
import logging
import mmap
import os
import random
import select
import sys
import threading
import time
import traceback
import zlib

STOP, ROTATE, FIRST, STRIDE = 1, 2, 8, 8
BEGUN, ACKNOWLEDGED, BYTES, ERRORS, ROTATIONS = range(5)
TEXT = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789 ", k=1 << 17))
own = threading.local()


def resolve(name):
    """The class of that dotted name; one that the module lacks is looked for in `logging` itself."""
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute, None)
    return found if found is not None else getattr(logging, attribute)


def parameters(cls):
    """Names the constructor accepts, those behind a `**kwargs` included."""
    names = []
    for owner in cls.__mro__:
        if "__init__" not in vars(owner):
            continue
        found = list(inspect.signature(owner.__init__).parameters.values())[1:]
        names += [p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if not any(p.kind is p.VAR_KEYWORD for p in found):
            break
    return names


def describe(name):
    cls = resolve(name)
    facts = {
        "python": sys.version.split()[0],
        "class": f"{cls.__module__}.{cls.__qualname__}",
        "parameters": parameters(cls),
    }
    facts["methods"] = [m for m in ("doRollover", "reopenIfNeeded") if callable(getattr(cls, m, None))]
    print(json.dumps(facts))


class Torture:
    """What all workers of one run have in common: the configuration, the account, perhaps the handler."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.config = json.load(file)
        with open(self.config["account"], "r+b") as file:
            self.words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        self.parent = os.getppid()
        self.handler = None

    def make_handler(self):
        cls = resolve(self.config["class"])
        accepted = parameters(cls)
        arguments = {k: v for k, v in self.config["arguments"].items() if k in accepted}
        handler = cls(self.config["log"], **arguments, **self.config["extra"])
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.handleError = self.count_error
        if self.config["rollover_first"]:
            self.roll_over(handler)
        return handler

    def count_error(self, _record):
        slot = getattr(own, "slot", None)
        if slot is not None:
            self.words[slot + ERRORS] += 1
        if slot is None or self.words[slot + ERRORS] == 1:
            traceback.print_exc()

    def roll_over(self, handler):
        """Rotates by hand; notes when the call had returned and which file was rotated out."""
        before = inode(self.config["log"])
        handler.doRollover()
        returned_ns = time.monotonic_ns()
        if before is not None and inode(self.config["log"]) != before:
            line = json.dumps({"complete_ns": returned_ns, "inode": before}) + "\n"
            file = os.open(self.config["rotations"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(file, line.encode())
            os.close(file)
            return 1
        return 0

    def work(self, worker, incarnation, spawn):
        die_with(self.parent)
        handler = self.handler or self.make_handler()
        logger = logging.Logger("torture")
        logger.addHandler(handler)
        threads = [
            threading.Thread(target=self.write, args=(logger, handler, worker, incarnation, thread, spawn))
            for thread in range(self.config["threads"])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logging.shutdown()

    def write(self, logger, handler, worker, incarnation, thread, spawn):
        config, words = self.config, self.words
        own.slot = slot = FIRST + STRIDE * (spawn * config["threads"] + thread)
        small, large = config["size"]
        choose = random.Random(f"{config['seed']} {worker}.{incarnation} {thread}")
        rotates = worker == 0 and thread == 0 and config["by_hand"]
        rotated, number, sent, start_ns = words[ROTATE], 0, 0, time.monotonic_ns()
        while not words[STOP] and number < (config["records"] or number + 1):
            if rotates and words[ROTATE] != rotated:
                rotated = words[ROTATE]
                words[slot + ROTATIONS] += self.roll_over(handler)
            size = int(small * (large / small) ** choose.random())
            words[slot + BEGUN] = number + 1
            begun_ns = time.monotonic_ns()
            head = f"w{worker}.{incarnation} t{thread} n{number} b{begun_ns} l"
            length = max(1, size - len(head) - 16)
            start = choose.randrange(1 << 16)
            line = f"{head}{length} {TEXT[start : start + length]}"
            logger.info(f"{line} c{zlib.crc32(line.encode()):08x}")
            number += 1
            words[slot + ACKNOWLEDGED] = number
            sent += len(line) + 11
            words[slot + BYTES] = sent
            if config["bytes_per_s"]:
                ahead_s = (sent - config["burst"]) / config["bytes_per_s"] - (time.monotonic_ns() - start_ns) / 1e9
                if ahead_s > 0:
                    time.sleep(min(ahead_s, 0.05))


def inode(path):
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def die_with(parent):
    """Has the kernel kill this process when its parent dies (PR_SET_PDEATHSIG), and looks whether it already has."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, 9)
    except (ImportError, OSError, AttributeError):
        pass
    if os.getppid() != parent:
        os._exit(1)


def fork_workers(torture):
    """Forks a worker for each line on stdin, says on stdout which pid it got and how it ended; ends when stdin does."""
    die_with(torture.parent)
    importlib.import_module(torture.config["class"].rpartition(".")[0])
    if torture.config["preload"]:
        torture.handler = torture.make_handler()
    torture.parent = os.getpid()
    children, pending = {}, b""
    say("ready")
    while True:
        if select.select([0], [], [], 0.01)[0]:
            text = os.read(0, 65536)
            if not text:
                break
            *lines, pending = (pending + text).split(b"\n")
            for line in lines:
                worker, incarnation, spawn = map(int, line.split())
                pid = os.fork()
                if pid == 0:
                    be_child(torture, worker, incarnation, spawn)
                children[pid] = spawn
                say(f"started {spawn} {pid}")
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            say(f"ended {children.pop(pid)} {os.waitstatus_to_exitcode(status)}")


def be_child(torture, worker, incarnation, spawn):
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        torture.work(worker, incarnation, spawn)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def say(text):
    os.write(1, f"{text}\n".encode())


def main(arguments):
    if arguments[0] == "--describe":
        describe(arguments[1])
    elif len(arguments) == 1:
        fork_workers(Torture(arguments[0]))
    else:
        Torture(arguments[0]).work(*map(int, arguments[1:4]))


if __name__ == "__main__":
    main(sys.argv[1:])
