"""What was only recorded of a request is written after all, when the request logs an error or ends with one.

The lines are those of the recorder, marked as rewound, in their order, before the record that asked for them. What
always holds: no line is written twice (the request remembers the last one), and none of another request.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .context import Request

if TYPE_CHECKING:
    from ._routes import Routes

MARKS = {"text": " rewound=true", "logfmt": " rewound=true", "json": ',"rewound":true}'}
# A bar divides the message from the fields in text.
_DIVIDER = " | "


def asks(values: dict[str, Any], levelno: int) -> bool:
    """Whether a record, by its attributes and level, makes the trail of its request worth writing."""
    if levelno >= logging.ERROR:
        return True
    status = values.get("http.response.status_code")
    return isinstance(status, int) and status >= 500


def rewind(routes: Routes, request: Request, kind: str, levelno: int) -> None:
    """Write what this process recorded of `request` and nobody has asked for until now, and ship it where that goes."""
    for number, component, line, json in routes.log.unkept(request.id, request.rewound):
        request.rewound = number
        text = marked(line, kind) + "\n"
        routes.log.publish(text, levelno)
        shipped = marked(json, "json") + "\n" if json else text
        for ship in routes.ships:
            if ship.takes(component, levelno):
                ship.log.publish(shipped, levelno)


def marked(line: str, kind: str) -> str:
    """`line` with the mark that it is rewound; in text, on its first line."""
    if kind == "json":
        return line.removesuffix("}") + MARKS[kind]
    first, end, rest = line.partition("\n")
    divider = "" if kind == "logfmt" or _DIVIDER in first else _DIVIDER.rstrip()
    return first + divider + MARKS[kind] + end + rest
