"""Proof that a log is whole: numbers each record, and notes in shared memory which calls have returned.

Every record of the watched loggers from INFO on gets the mark ` #<worker>-<number>-<checksum>` at the end of its
message. When all handlers have returned, and not before, byte <number> of the worker's file `acks-<worker>` is set to
1. That file is mapped shared: what is noted there outlives a SIGKILL of the worker. Whoever reads log and notes
afterwards knows of each record whether it was acknowledged, and whether it arrived once, whole.

Records below INFO are left as they are: the shop keeps them in memory only (`[recorder]` in logboom.toml). A worker
that makes more than `RECORDS_MAX` records stops numbering; its further records carry no mark.
"""

import itertools
import logging
import mmap
import os
import zlib

RECORDS_MAX = 4 * 1024 * 1024


class Notes:
    """One process's notes: the next number, and the bytes that say which calls have returned."""

    def __init__(self, folder):
        self.worker, fd = self._create(folder)
        os.ftruncate(fd, RECORDS_MAX)
        self.returned = mmap.mmap(fd, RECORDS_MAX)
        os.close(fd)
        self.numbers = itertools.count()

    @staticmethod
    def _create(folder):
        pid = os.getpid()
        for name in itertools.chain([f"{pid}"], (f"{pid}.{again}" for again in itertools.count(1))):
            try:  # the kernel gives a process id out again; the name must be new all the same
                return name, os.open(os.path.join(folder, f"acks-{name}"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                continue


def install(folder, root):
    """Numbers and notes the records of the logger `root` and its children; call before they are made."""
    os.makedirs(folder, exist_ok=True)
    notes = None

    def forget():
        nonlocal notes
        notes = None

    def current():
        nonlocal notes
        if notes is None:
            notes = Notes(folder)
        return notes

    class CountedLogger(logging.Logger):
        """The standard logger, which numbers a record before the handlers get it and notes their return."""

        def handle(self, record):
            if record.levelno < logging.INFO or (self.name != root and not self.name.startswith(root + ".")):
                return super().handle(record)
            mine = current()
            number = next(mine.numbers)
            if number >= RECORDS_MAX:
                return super().handle(record)
            message = record.getMessage()
            checksum = zlib.crc32(message.encode("utf-8", "backslashreplace"))
            record.msg, record.args = f"{message} #{mine.worker}-{number}-{checksum:08x}", None
            super().handle(record)
            mine.returned[number] = 1

    os.register_at_fork(after_in_child=forget)
    logging.setLoggerClass(CountedLogger)
