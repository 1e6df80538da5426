"""Tests of CPython's own suite that cannot hold for logboom's handlers, each with its reason.

The one source of the first table of docs/deviations.md (`run.py --table` prints it). Only tests that assert a detail of
the implementation may stand here. A test that is listed and passes is reported as a failure, so that no line outlives
its reason.
"""

from __future__ import annotations

# Name of the test -> why it cannot hold.
DEVIATIONS: dict[str, str] = {
    "MiscTestCase.test__all__": (
        "asserts that the class named `logging.FileHandler` was defined in the module `logging`; exchanging it is what "
        "this run is about"
    ),
}
