"""Answers questions about CPython's TimedRotatingFileHandler, for schedule_vs_cpython.rs.

Reads one question per line from standard input, fields separated by tabs, and prints one answer per line:

zone VALUE                             sets TZ; no answer
next WHEN INTERVAL AT UTC NOW OURS     boundary computed at NOW, its second of the day, that of OURS, and whether the
                                       boundary is the second time its clock time comes that day
name WHEN INTERVAL AT UTC BOUNDARY     name of the archive rotated at BOUNDARY, the time one interval before, whether
                                       daylight saving was the same then, and the second of the day of BOUNDARY
match WHEN TEXT                        whether TEXT is taken for the suffix of an archive

AT is a second of the day or `-`, UTC is 0 or 1. Names and times are printed as 2024-03-31_02-00-00. Boundaries and
names come from the real class; only its clock is replaced.
"""

import datetime
import functools
import logging.handlers
import os
import sys
import tempfile
import time

FULL = "%Y-%m-%d_%H-%M-%S"
TARGET = os.path.join(tempfile.gettempdir(), "schedule_vs_cpython.log")


class Clock:
    """The module `time` as the handlers see it, with the present chosen."""

    localtime = staticmethod(time.localtime)
    gmtime = staticmethod(time.gmtime)
    strftime = staticmethod(time.strftime)

    def __init__(self):
        self.now = 0

    def time(self):
        return self.now


class Named(Exception):
    """Carries the name out of a rotation that must not happen."""


class Probe(logging.handlers.TimedRotatingFileHandler):
    """The standard handler, stopped before it touches a file."""

    def rotation_filename(self, default_name):
        raise Named(default_name)


clock = Clock()
logging.handlers.time = clock


@functools.cache
def probe(when, interval, at, utc):
    at_time = None if at == "-" else (datetime.datetime.min + datetime.timedelta(seconds=int(at))).time()
    return Probe(TARGET, when, int(interval), delay=True, utc=utc == "1", atTime=at_time, encoding="utf-8")


def second_of_day(moment, utc):
    at = time.gmtime(moment) if utc == "1" else time.localtime(moment)
    return at.tm_hour * 3600 + at.tm_min * 60 + at.tm_sec


def is_repeat(moment):
    shown = time.localtime(moment)[:6]
    return any(time.localtime(moment - gap)[:6] == shown for gap in range(900, 10801, 900))


def answer_next(when, interval, at, utc, now, ours):
    theirs = probe(when, interval, at, utc).computeRollover(int(now))
    repeat = utc == "0" and is_repeat(theirs)
    return theirs, second_of_day(theirs, utc), second_of_day(int(ours), utc), int(repeat)


def answer_name(when, interval, at, utc, boundary):
    handler = probe(when, interval, at, utc)
    clock.now = handler.rolloverAt = int(boundary)
    handler.suffix = FULL
    try:
        handler.doRollover()
    except Named as named:
        name = str(named)[len(handler.baseFilename) + 1 :]
    before = clock.now - handler.interval
    told = time.gmtime if utc == "1" else time.localtime
    same = told(before).tm_isdst == told(clock.now).tm_isdst
    return name, time.strftime(FULL, told(before)), int(same), second_of_day(clock.now, utc)


def answer_match(when, text):
    return (int(bool(probe(when, "1", "-", "0").extMatch.fullmatch(text))),)


def main():
    answers = {"next": answer_next, "name": answer_name, "match": answer_match}
    for line in sys.stdin:
        kind, *fields = line.rstrip("\n").split("\t")
        if kind == "zone":
            os.environ["TZ"] = fields[0]
            time.tzset()
        else:
            print(*answers[kind](*fields), sep="\t")


main()
