"""Formatters: text for people, JSON lines, logfmt; and how a record is made into text without ever raising.

Each formatter is a `logging.Formatter` for any handler of anybody's. It writes the record's own facts, its further
fields (`extra=`), the request it belongs to and what is bound (`logboom.context`).

What always holds: `format` raises no `Exception`, whatever the record contains; no value of a record can pass for
another field or another record. docs/formats.md shows each format and says where the names come from.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import context
from ._native import Encoder

__all__ = ["JsonFormatter", "LogfmtFormatter", "TextFormatter", "exception_text", "safe_message"]

# Longest text of one argument in a message whose arguments do not fit, in characters.
_ARGUMENT_CHARS_MAX = 200
_ARGUMENTS_MAX = 10

_get_message = logging.LogRecord.getMessage
_format_exception = logging.Formatter().formatException


def safe_message(record: logging.LogRecord) -> str:
    """The message with its arguments filled in: `record.getMessage()`, which never raises here.

    An argument that cannot be shown becomes ``<unprintable Order: ValueError>``. Arguments that do not fit the message
    stand behind it: ``paid %s by %s <not formatted: TypeError: not enough arguments ...; arguments: (7,)>``.
    """
    try:
        message = record.getMessage()
        return message if isinstance(message, str) else str(message)
    except Exception as error:
        try:
            return _marked(record, error)
        except Exception:
            return "<message not made>"


def exception_text(record: logging.LogRecord, format_exception: Callable[[Any], str] = _format_exception) -> str | None:
    """The traceback of the record's exception or None; made once and kept in the record, as the standard library does.

    A traceback that cannot be made is a mark. None, too, for ``exc_info=True`` where there was no exception.
    """
    text: str | None = record.exc_text
    info: Any = record.exc_info
    if text or not info:
        return text or None
    try:
        if info[0] is None:
            return None
        text = format_exception(info)
    except Exception as error:
        return f"<traceback not made: {type(error).__name__}>"
    record.exc_text = text
    return text


class _Formatter(logging.Formatter):
    """What the three have in common."""

    _kind: str

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,
        *,
        defaults: Mapping[str, Any] | None = None,
        redact_names: Sequence[str] = (),
        redact_patterns: Sequence[str] = (),
        record_bytes_max: int | None = None,
        **options: Any,
    ) -> None:
        for name, value in (("fmt", fmt), ("datefmt", datefmt), ("defaults", defaults)):
            if value is not None:
                raise ValueError(
                    f"{type(self).__name__} has a format of its own, so {name}={value!r} means nothing to it: "
                    "leave it out, or use logging.Formatter"
                )
        logging.Formatter.__init__(self)
        if record_bytes_max is not None:
            options["record_bytes_max"] = record_bytes_max
        encoder = Encoder(
            self._kind, redact_names=_words(redact_names), redact_patterns=_words(redact_patterns), **options
        )
        self.encoder = encoder
        self._encode = encoder.encode

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without a line end."""
        record.message = message = safe_message(record)
        trace = exception_text(record, self.formatException) if record.exc_info or record.exc_text else None
        return self._encode(record.__dict__, message, context.current(), context.bound(), trace)


class TextFormatter(_Formatter):
    """Aligned text for people.

    `colour`, which only the level ever has, is True, False or "auto": when standard error is a terminal and NO_COLOR is
    not set. `utc` tells UTC instead of local time. `redact_names` and `redact_patterns` say what is not written,
    `record_bytes_max` how long a record may become.
    """

    _kind = "text"

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,
        *,
        colour: bool | str = False,
        utc: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(fmt, datefmt, style, validate, colour=_coloured(colour), utc=utc, **options)


class JsonFormatter(_Formatter):
    """JSON lines with typed fields and OpenTelemetry's names. Takes the `redact_...` options of `TextFormatter`."""

    _kind = "json"


class LogfmtFormatter(_Formatter):
    """Lines of ``name=value`` pairs, names as in JSON. Takes the `redact_...` options of `TextFormatter`."""

    _kind = "logfmt"


class _Shown:
    """Stands for an argument whose `str()` or `repr()` may raise."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return _said(str, self._value)

    def __repr__(self) -> str:
        return _said(repr, self._value)


def _said(how: Callable[[object], str], value: object) -> str:
    try:
        return how(value)
    except Exception as error:
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"


def _marked(record: logging.LogRecord, error: Exception) -> str:
    """The message in spite of `error`: marks for arguments that cannot be shown, or all arguments behind."""
    message, args = _said(str, record.msg), record.args
    if type(record).getMessage is _get_message:
        if not args:
            return message
        try:
            filled: str = message % _shown(args)
            return filled
        except Exception as second:
            error = second
    cause = f"{type(error).__name__}: {_said(str, error)}"
    return f"{message} <not formatted: {cause}; arguments: {_listed(args)}>"


def _shown(args: Any) -> Any:
    if isinstance(args, Mapping):
        return {name: _safe(value) for name, value in args.items()}
    return tuple(_safe(value) for value in args)


def _safe(value: object) -> object:
    return value if type(value) in (int, float, str, bool) else _Shown(value)


def _listed(args: Any) -> str:
    if isinstance(args, Mapping):
        return _cut(_said(repr, _shown(args)))
    texts = [_cut(_said(repr, value)) for value in args[:_ARGUMENTS_MAX]]
    if len(args) > _ARGUMENTS_MAX:
        texts.append(f"{len(args) - _ARGUMENTS_MAX} more")
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def _cut(text: str) -> str:
    if len(text) <= _ARGUMENT_CHARS_MAX:
        return text
    return f"{text[:_ARGUMENT_CHARS_MAX]}[logboom: cut, {len(text)} characters in all]"


def _coloured(colour: bool | str) -> bool:
    if colour == "auto":
        return not os.environ.get("NO_COLOR") and sys.stderr is not None and sys.stderr.isatty()
    if isinstance(colour, bool):
        return colour
    raise ValueError(f"colour must be True, False or 'auto', not {colour!r}")


def _words(words: Sequence[str]) -> list[str]:
    if isinstance(words, str):
        raise TypeError(f"a list of names or patterns is expected, not the text {words!r}")
    return list(words)
