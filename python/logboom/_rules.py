"""Level rules in this process: what was asked to be revealed, for which component, request and worker.

The rules lie in the domain's shared memory, beside a word that changes with them. `logging.Logger.isEnabledFor` is
replaced by a native method that looks at that word (`_native.gate_method`), so that a new rule counts from the next
call on, in a process that slept as in one that is busy, without a signal and without polling. No logger's level is
touched.

What always holds: a record that exists only because of a rule goes to our handler and to no other; a disabled call of a
logger that no rule is about does not come here; what cannot be understood reveals nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from operator import attrgetter
from time import monotonic, time
from typing import Any

from . import _exit, context
from ._levels import Levels
from ._logger import RULES
from ._native import gate_follow, gate_method, read_conditions
from ._stream_handler import Handler

# A rule that reveals nothing: its viewer wants to see what is logged anyway.
NOTHING_MORE = 255
# How often a process that makes use of rules looks whether they have ended, in seconds.
LOOK_EVERY_S = 1.0
# Decisions by logger that are kept.
NAMES_MAX = 4096

Holds = Callable[[context.Request], bool]

_active: Rules | None = None
_method: Any = None
_is_enabled_before: Any = None
_call_handlers_before: Any = None


class Rule:
    """One rule, ready to be asked. Raises `ValueError` for a condition that it does not know."""

    __slots__ = ("bit", "component", "holds", "kept", "level", "reveals_nothing")

    def __init__(self, values: dict[str, Any]) -> None:
        self.component: str = values["component"]
        self.reveals_nothing = values["severity"] == NOTHING_MORE
        self.level = 0 if self.reveals_nothing else level_of(values["severity"])
        self.kept: bool = values["kept"]
        self.bit = 1 << values["index"]
        self.holds = conditions(values["condition"])

    def takes(self, name: str) -> bool:
        component = self.component
        return not component or name == component or name.startswith(component + ".")

    def wants(self, levelno: int, request: context.Request | None) -> bool:
        """Whether it is about a record of this level and request."""
        if levelno < self.level:
            return False
        return self.holds is None or (request is not None and self.holds(request))


class Rules:
    """The rules of a log's domain, applied to the loggers of this process."""

    def __init__(self, handler: Handler, levels: Levels) -> None:
        self._handler = handler
        self._levels = levels
        self._recorded = False
        self._log: Any = None
        # The same, if rules could be read of it.
        self._followed: Any = None
        self._generation = -1
        # Whether any rule is in force, those that reveal something, and those that are to be told in records.
        self.any = False
        self._revealing: tuple[Rule, ...] = ()
        self._told: tuple[Rule, ...] = ()
        self._by_name: dict[str, tuple[Rule, ...]] = {}
        self._token: object | None = None
        # When to look whether rules have ended, as `monotonic` has it.
        self._look_at = 0.0

    def apply(self, recorded: bool) -> None:
        """Follow the handler's present log; `recorded`: its recorder is on without any rule."""
        self._recorded = recorded
        self._log = self._handler.routes.log

    def refresh(self) -> None:
        """Read the rules. Never raises: rules that cannot be read are none."""
        log = self._log
        try:
            # In this order: what changes meanwhile is read next time.
            self._generation = log.rules_generation
            found = log.rules()
        except Exception:
            self._generation, found, log = 0, [], None
        self._followed = log
        pid = os.getpid()
        mine = [rule for rule in found if rule["worker"] in (0, pid)]
        understood = [rule for rule in map(_understood, mine) if rule is not None]
        self._revealing = tuple(rule for rule in understood if not rule.reveals_nothing)
        self._told = tuple(rule for rule in understood if not rule.reveals_nothing or rule.holds is not None)
        self._by_name = {}
        self.any = bool(found)
        first_end = min((rule["expires"] for rule in found if rule["expires"]), default=float("inf"))
        self._look_at = monotonic() + min(max(first_end - time(), 0.0), LOOK_EVERY_S)
        routes = self._handler.routes
        routes.record(self._recorded or bool(mine))
        routes.judge = self.judge if self._told else None
        if _active is self:
            self._token = object() if self._revealing else None
            gate_follow(log, self._generation, self._token)
            _sort_out(self.any)

    def is_enabled(self, logger: logging.Logger, levelno: int) -> bool:
        """`isEnabledFor`, where the logger's cache does not know."""
        try:
            if self._log.rules_generation != self._generation:
                self.refresh()
        except Exception:
            # The log was closed: rules ended with it.
            return _is_plainly_enabled(logger, levelno)
        plainly = _is_plainly_enabled(logger, levelno)
        if plainly or not self._revealing or logger.disabled:
            return plainly
        self.tick()
        name = logger.name
        # From here on the native method knows, until the rules change or the logger's level does.
        wants = self._asker(name) if self.of(name) else None
        logger._cache[RULES] = self._token if wants is None else (self._token, wants)  # type: ignore[attr-defined]
        return wants is not None and wants(levelno)

    def _asker(self, name: str) -> Callable[[int], bool]:
        """Whether the rules of now want a record of this component and a level, as its request is when it is called."""
        found, token, current = self.of(name), self._token, context.current

        def wants(levelno: int) -> bool:
            rules = found
            if monotonic() >= self._look_at:
                self.tick()
                if self._token is not token:
                    rules = self.of(name)
            request = current()
            for rule in rules:
                if levelno >= rule.level and (rule.holds is None or (request is not None and rule.holds(request))):
                    return True
            return False

        return wants

    def forget(self) -> None:
        """Read the rules anew at the next question."""
        self._generation = -1
        if _active is self:
            gate_follow(self._followed, -1 & (1 << 64) - 1, None)

    def tick(self) -> None:
        """Now and then: rules whose time is over, or whose viewer is gone, end."""
        if monotonic() >= self._look_at:
            self._look_at = monotonic() + LOOK_EVERY_S
            try:
                self._log.forget_ended_rules()
                changed = self._log.rules_generation != self._generation
            except Exception:
                changed = True
            if changed:
                self.refresh()

    def of(self, name: str) -> tuple[Rule, ...]:
        """The rules that reveal something of this component."""
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= NAMES_MAX:
                self._by_name = {}
            found = self._by_name[name] = tuple(rule for rule in self._revealing if rule.takes(name))
        return found

    def judge(self, name: str, levelno: int, request: context.Request | None) -> int:
        """Which rules want a record that is made anyway: a bit for each."""
        bits = 0
        for rule in self._told:
            if rule.takes(name) and rule.wants(levelno, request):
                bits |= rule.bit
        return bits

    def handle(self, logger: logging.Logger, record: logging.LogRecord) -> bool:
        """Take a record that exists only because of a rule. False: it does not, and goes its usual way."""
        self.tick()
        levelno = record.levelno
        found = self.of(logger.name)
        if not found or (_is_plainly_enabled(logger, levelno) and levelno >= self._levels.written_from(logger)):
            return False
        request = context.current()
        bits, kept = 0, False
        for rule in found:
            if rule.wants(levelno, request):
                bits |= rule.bit
                kept = kept or rule.kept
        if not bits:
            return False
        self._handler.reveal(record, kept, bits)
        return True

    def install(self) -> None:
        """Be asked by all loggers from now on."""
        global _active, _method, _is_enabled_before
        _active = self
        if logging.Logger.isEnabledFor not in (_method, _is_enabled_for_also):
            _is_enabled_before = logging.Logger.isEnabledFor
            if getattr(_is_enabled_before, "__module__", None) == "logging":
                _method = _method or gate_method(logging.Logger, _ask, RULES)
                _exit.remember(logging.Logger, "isEnabledFor", _method, _is_enabled_for_also)
                logging.Logger.isEnabledFor = _method  # type: ignore[method-assign]
            else:
                logging.Logger.isEnabledFor = _is_enabled_for_also  # type: ignore[method-assign]
        self.refresh()

    def remove(self) -> None:
        """Be asked no more. Methods that somebody has put on top of ours keep ours below them, which pass all on."""
        global _active
        if _active is not self:
            return
        _active = None
        gate_follow(None, 0, None)
        self._handler.routes.judge = None
        if logging.Logger.isEnabledFor in (_method, _is_enabled_for_also):
            logging.Logger.isEnabledFor = _is_enabled_before  # type: ignore[method-assign]
        _sort_out(False)


def _forget_after_fork() -> None:
    # Rules may be for one process.
    if _active is not None:
        _active.forget()


os.register_at_fork(after_in_child=_forget_after_fork)


def _ask(self: logging.Logger, level: int) -> bool:
    """What the native method does not know."""
    rules = _active
    return _is_plainly_enabled(self, level) if rules is None else rules.is_enabled(self, level)


def _is_enabled_for_also(self: logging.Logger, level: int) -> bool:
    """`isEnabledFor` on top of somebody else's replacement, which is always asked."""
    return _ask(self, level)


def _sort_out(revealed: bool) -> None:
    """Keep what a rule reveals from other handlers, as long as there are rules."""
    global _call_handlers_before
    if revealed and _call_handlers_before is None:
        _call_handlers_before = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]
    elif not revealed and logging.Logger.callHandlers is _call_handlers:
        logging.Logger.callHandlers = _call_handlers_before  # type: ignore[method-assign]
        _call_handlers_before = None


def _call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
    """`logging.Logger.callHandlers` while rules are in force."""
    rules, pass_on = _active, _call_handlers_before
    if rules is not None and rules.any and rules.handle(self, record):
        return
    pass_on(self, record)


def _is_plainly_enabled(logger: logging.Logger, levelno: int) -> bool:
    enabled: bool = _is_enabled_before(logger, levelno)
    return enabled


def level_of(severity: int) -> int:
    """The lowest level of `logging` that has at least this OpenTelemetry severity number."""
    tens, step = divmod(max(severity - 5, 0), 4)
    return 1 if severity < 5 else 10 * (tens + 1) + step


def _understood(values: dict[str, Any]) -> Rule | None:
    try:
        return Rule(values)
    except ValueError:
        return None


def conditions(text: str) -> Holds | None:
    """What the conditions of a rule ask of a request, one a line; None: nothing. Raises `ValueError` for what cannot be
    read."""
    each = tuple(_condition(*parts) for parts in read_conditions(text))
    if len(each) <= 1:
        return each[0] if each else None
    return lambda request: all(holds(request) for holds in each)


def _condition(field: str, operator: str, wanted: str) -> Holds:
    if field == "status":
        return _comparison(operator, wanted, lambda request: str(request.status) if request.status else None)
    if field.startswith("header."):
        name = field.removeprefix("header.")
        return _comparison(operator, wanted, lambda request: request.header(name))
    # Known of every request.
    return _comparison(operator, wanted, attrgetter(field))


def _comparison(operator: str, wanted: str, find: Callable[[context.Request], str | None]) -> Holds:
    """Whether what is found is as wanted; what is not known is not. This is asked for each call of a logger."""
    if operator == "=":
        return lambda request: find(request) == wanted
    if operator == "!=":
        return lambda request: (found := find(request)) is not None and found != wanted
    if operator == "^=":
        return lambda request: (found := find(request)) is not None and found.startswith(wanted)
    return lambda request: (found := find(request)) is not None and wanted in found
