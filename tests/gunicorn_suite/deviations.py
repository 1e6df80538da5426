"""Gunicorn's tests that cannot hold for logboom's logger class, by name, with the reason."""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {}
