"""`Logger.isEnabledFor` answers as the standard library's does, whatever it is asked, and knows rules besides."""

from __future__ import annotations

from pathlib import Path

from test_rules import RULES
from test_setup import check

# The same questions to both: what the standard library answers, and what it raises.
COMPARE = (
    """
plain = logging.Logger.isEnabledFor
"""
    + RULES
    + """
class Odd:
    def __bool__(self):
        return True
class Wide(logging.Logger):
    def isEnabledFor(self, level):
        return level == 5 or super().isEnabledFor(level)
class Unruly(logging.Logger):
    disabled = property(lambda self: 1 // 0, lambda self, value: None)
def answer(method, *arguments, **named):
    try:
        return method(*arguments, **named)
    except Exception as error:
        return type(error)
def loggers():
    quiet = logging.getLogger("quiet"); quiet.setLevel("ERROR")
    off = logging.getLogger("off"); off.disabled = True
    odd = logging.getLogger("odd"); odd.disabled = Odd()
    bare = logging.Logger("bare"); del bare._cache
    return [logging.root, shop, quiet, off, odd, bare, Wide("wide"), Unruly("unruly"), logging.LoggerAdapter(shop, {})]
def compare(state):
    for logger in loggers():
        target = getattr(logger, "logger", logger)
        for level in (0, 5, 10, 15, 20, 30, 50, 10**30, True, 10.5, "INFO", None, [], object):
            for _ in range(2):  # at the second time the cache knows
                same((state, logger, level, answer(logging.Logger.isEnabledFor, target, level)),
                     (state, logger, level, answer(plain, target, level)))
"""
)


def test_without_rules_it_is_the_standard_librarys(tmp_path: Path) -> None:
    check(
        tmp_path,
        COMPARE
        + """
compare("no rule")
number = log.add_rule("elsewhere", kept=True)
compare("a rule elsewhere")
log.add_rule("shop", kept=True, condition="path=/x")
compare("a rule for requests, outside of one")
log.add_rule("", worker=os.getpid() + 1, kept=True)
compare("a rule for another worker")
logging.disable("ERROR")
compare("disabled from above")
""",
    )


def test_it_takes_its_argument_as_the_standard_librarys(tmp_path: Path) -> None:
    check(
        tmp_path,
        COMPARE
        + """
method = logging.Logger.isEnabledFor
assert method is not plain
same((shop.isEnabledFor(level=20), shop.isEnabledFor(level=10)), (True, False))
wrong = [((), {}), ((10, 20), {}), ((), {"lvl": 10}), ((10,), {"level": 10}), ((), {"level": 1, "x": 2})]
for arguments, named in wrong:
    same(answer(shop.isEnabledFor, *arguments, **named), TypeError)
same(answer(method, 7, 10), TypeError)
import inspect
same(list(inspect.signature(method).parameters), ["self", "level"])
assert method.__doc__
""",
    )


def test_a_disabled_logger_reveals_nothing(tmp_path: Path) -> None:
    check(
        tmp_path,
        COMPARE
        + """
log.add_rule("", kept=True)
for name in ("fresh", "shop.payments"):
    logger = logging.getLogger(name)
    assert logger.isEnabledFor(10) and logger.isEnabledFor(10)
    logger.disabled = True
    assert not logger.isEnabledFor(10) and not logger.isEnabledFor(20), name
    logger.disabled = False
    assert logger.isEnabledFor(10)
""",
    )


def test_loggers_that_are_born_with_a_rule_have_it_and_changes_of_levels_count(tmp_path: Path) -> None:
    check(
        tmp_path,
        COMPARE
        + """
log.add_rule("shop", kept=True)
late, apart = logging.getLogger("shop.late"), logging.getLogger("apart")
assert late.isEnabledFor(10) and not apart.isEnabledFor(10)
late.setLevel("ERROR"); apart.setLevel("DEBUG")
assert late.isEnabledFor(10) and apart.isEnabledFor(10)
apart.setLevel("ERROR")
assert late.isEnabledFor(10) and not apart.isEnabledFor(20)
for rule in log.rules():
    log.remove_rule(rule["number"])
assert not late.isEnabledFor(30) and late.isEnabledFor(40)
""",
    )


def test_an_interruption_in_the_middle_of_a_question_gets_through(tmp_path: Path) -> None:
    """Ctrl-C while a condition is asked ends the program as ever; an error in it only reveals nothing."""
    check(
        tmp_path,
        COMPARE
        + """
from logboom import context
log.add_rule("shop", kept=True, condition="header.x=1")
def get(raised):
    def ask(key):
        raise raised
    return ask
for raised, expected in ((KeyboardInterrupt, KeyboardInterrupt), (RuntimeError, RuntimeError)):
    request = context.Request("1", "GET", "/")
    request._get_header = get(raised)
    with context.using(request):
        for _ in range(2):
            try:
                found = shop.isEnabledFor(10)
            except BaseException as error:
                found = type(error)
            assert found in (False, expected), found
            if expected is KeyboardInterrupt:
                same(found, expected)
shop.debug("goes on")
""",
    )
