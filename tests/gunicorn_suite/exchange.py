"""A pytest plugin: puts logboom's logger class where Gunicorn's is, before any of Gunicorn's tests is imported.

`Statsd` derives from the class it finds there, so Gunicorn's tests of it run on ours, too.
"""

from __future__ import annotations

import sys

import gunicorn.glogging
import logboom.gunicorn

if "gunicorn.instrument.statsd" in sys.modules:
    sys.exit("failed to exchange the logger class: Gunicorn's statsd logger was imported before")
gunicorn.glogging.Logger = logboom.gunicorn.Logger  # type: ignore[misc]
