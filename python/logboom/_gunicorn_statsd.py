"""`--statsd-host` with our logger class: Gunicorn's own `Statsd` counts, and we write.

Gunicorn takes its statsd logger only while its default class is set. Here it is a part of ours: an object of Gunicorn's
class of the installed version, with loggers that let nothing through, so that it sends its figures and logs nothing.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

# Set and never written to: what Statsd asks before it would write an access line by itself.
_SILENT = SimpleNamespace(
    accesslog=None,
    logconfig=None,
    logconfig_dict=None,
    logconfig_json=None,
    syslog=False,
    disable_redirect_access_to_syslog=True,
    access_log_format="",
)


def metrics(logger: Any, cfg: Any) -> Any:
    """The object that counts for `logger`; None without statsd, or if the logger's class does it by itself."""
    if cfg.statsd_host is None or hasattr(type(logger), "increment"):
        return None
    from gunicorn.instrument.statsd import Statsd  # type: ignore[import-untyped]

    class Metrics(Statsd):  # type: ignore[misc]
        """Gunicorn's figures without its records."""

        _access_log_enabled = False

        def setup(self, cfg: Any) -> None:
            """Called by the constructor, in place of opening any log."""
            self.cfg = _SILENT
            self.error_log = self.access_log = _silent_logger()

    return Metrics(cfg)


def _silent_logger() -> logging.Logger:
    """A logger of no tree: it has no handler and is enabled for nothing."""
    logger = logging.Logger("logboom.statsd", level=logging.CRITICAL + 1)
    logger.disabled = True
    return logger
