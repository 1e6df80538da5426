"""What was only recorded of a request is written after all, when the request logs an error or ends with one.

The lines are those of the recorder, marked as rewound, in their order, before the record that asked for them. What
always holds: no line is written twice (the request remembers the last one), and none of another request. What the
recorder had overwritten by then is counted, and the record that asked says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .context import Request

if TYPE_CHECKING:
    from ._routes import Routes

# A field of the record that asked.
OVERWRITTEN = "rewind_overwritten"
MARKS = {"text": " rewound=true", "logfmt": " rewound=true", "json": ',"rewound":true}'}
# A bar divides the message from the fields in text.
_DIVIDER = " | "


def asks(values: dict[str, Any], levelno: int) -> bool:
    """Whether a record, by its attributes and level, makes the trail of its request worth writing."""
    if levelno >= logging.ERROR:
        return True
    status = values.get("http.response.status_code")
    return isinstance(status, int) and status >= 500


def rewind(routes: Routes, request: Request, kind: str, levelno: int) -> int:
    """Write what this process recorded of `request` and nobody has asked for until now, and ship it where that goes.

    Gives how many records that the process made meanwhile, of this request or of others that it served beside it, are
    overwritten; 0 where it is not known when the request began.
    """
    after = request.rewound
    found, overwritten = routes.log.unkept(request.id, max(after, 0))
    for number, component, line, json in found:
        request.rewound = number
        text = marked(line, kind) + "\n"
        routes.log.publish(text, levelno)
        shipped = marked(json, "json") + "\n" if json else text
        for ship in routes.ships:
            if ship.takes(component, levelno):
                ship.log.publish(shipped, levelno)
    if after < 0:
        return 0
    # They are counted once.
    request.rewound = max(request.rewound, after + overwritten)
    return overwritten


def marked(line: str, kind: str) -> str:
    """`line` with the mark that it is rewound; in text, on its first line."""
    if kind == "json":
        return line.removesuffix("}") + MARKS[kind]
    first, end, rest = line.partition("\n")
    divider = "" if kind == "logfmt" or _DIVIDER in first else _DIVIDER.rstrip()
    return first + divider + MARKS[kind] + end + rest
