"""Gunicorn's tests that cannot hold for logboom's logger class, by name, with the reason."""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {
    "test_setup_twice_does_not_stack_syslog_handlers": (
        "`--log-syslog` is a destination of the relay: neither logger has a `SysLogHandler` of its own, once or twice"
    ),
}
