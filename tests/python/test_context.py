"""A record belongs to the request that it was made for, and to no other: in threads, greenlets, tasks and pools."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import threading
import weakref
from collections.abc import Iterator

import pytest
from logboom import context
from logboom.context import Request, bind, bound, current
from seen import Seen

log = logging.getLogger("shop")


@pytest.fixture
def request_in_force() -> Iterator[Request]:
    found = Request("r1", "GET", "/buy", "192.0.2.1")
    context.begin(found)
    yield found
    context.end(found)


def headers(**given: str) -> Request:
    names = {name.replace("_", "-").lower(): value for name, value in given.items()}
    return context.request_from_headers(lambda name: names.get(name.lower()), "GET", "/", "192.0.2.1", context.settings)


def test_nothing_is_in_force_outside_of_a_request() -> None:
    assert current() is None
    assert bound() == {}


def test_requests_nest_and_end_in_any_order() -> None:
    outer, inner = Request("outer"), Request("inner")
    context.begin(outer)
    context.begin(inner)
    assert current() is inner
    context.end(outer)
    assert current() is inner
    context.end(inner)
    context.end(inner)
    assert current() is None


def test_what_was_left_for_the_server_is_no_outer_request() -> None:
    first, second = Request("first"), Request("second")
    context.begin(first)
    bind(a=1)
    context.leave(first)
    assert current() is first
    context.begin(second)
    context.end(second)
    assert current() is None
    context.begin(first)
    context.leave(first)
    context.end(first)
    assert current() is None


def test_a_worker_that_survived_its_end_hands_out_the_request_that_was_dying() -> None:
    dying = Request("dying")
    context.begin(dying)
    dying.dying = True
    following = Request("following")
    assert context.begin(following) is dying
    context.end(following)
    assert current() is None


# --- bind ------------------------------------------------------------------------------------------------------------


def test_bind_as_a_block(request_in_force: Request) -> None:
    with bind(order=7):
        with bind(part=1, order=8):
            assert bound() == {"order": 8, "part": 1}
        assert bound() == {"order": 7}
    assert bound() == {}
    assert request_in_force.fields == {}


def test_bind_alone_lasts_until_the_request_ends(request_in_force: Request) -> None:
    bind(order=7)
    with bind(part=1):
        assert bound() == {"order": 7, "part": 1}
    thread_saw = []
    thread = threading.Thread(target=context.wrap(lambda: thread_saw.append(dict(bound()))))
    thread.start()
    thread.join()
    assert thread_saw == [{"order": 7}]
    context.end(request_in_force)
    assert bound() == {}


def test_bind_alone_inside_a_block_of_the_same_name_counts_at_once(request_in_force: Request) -> None:
    with bind(order=1):
        bind(order=2)
        assert bound() == {"order": 2}
    assert bound() == {"order": 2}


def test_bind_can_be_taken_back(request_in_force: Request) -> None:
    bind(order=1)
    second = bind(order=2, part=1)
    second.end()
    assert bound() == {"order": 1}


def test_bind_without_a_request_lasts_until_it_is_taken_back() -> None:
    job = bind(job="nightly")
    try:
        with bind(part=1):
            assert bound() == {"job": "nightly", "part": 1}
        assert bound() == {"job": "nightly"}
    finally:
        job.end()
    assert bound() == {}


def test_a_request_inherits_no_fields_and_gives_them_back() -> None:
    with bind(job="nightly"):
        request = Request("r")
        context.begin(request)
        assert bound() == {}
        context.end(request)
        assert bound() == {"job": "nightly"}


def test_fields_are_bounded_and_what_is_left_out_is_counted(request_in_force: Request) -> None:
    for number in range(1000):
        bind(**{f"field{number}": number})
    fields = bound()
    assert len(fields) == context.BOUND_FIELDS_MAX
    assert fields[context.FIELDS_DROPPED] == 1000 - context.BOUND_FIELDS_MAX + 1


def test_what_a_record_reads_does_not_change_under_it(request_in_force: Request) -> None:
    bind(order=1)
    before = bound()
    bind(order=2, part=3)
    assert before == {"order": 1}


def test_threads_of_a_request_bind_without_losing_one_anothers_fields(request_in_force: Request) -> None:
    def bind_some(first: int) -> None:
        for number in range(first, first + 10):
            bind(**{f"f{number}": number})

    threads = [threading.Thread(target=context.wrap(bind_some), args=(first,)) for first in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bound().values()) == list(range(40))


# --- Where code runs -------------------------------------------------------------------------------------------------


def test_a_bare_thread_has_no_context_and_a_wrapped_one_has(request_in_force: Request, seen: Seen) -> None:
    with bind(order=7):
        for target in (lambda: log.info("bare"), context.wrap(lambda: log.info("wrapped"))):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen.message("bare").id is None
    assert (seen.message("wrapped").id, seen.message("wrapped").bound) == ("r1", {"order": 7})


def test_copy_context_carries_the_request(request_in_force: Request, seen: Seen) -> None:
    copied = contextvars.copy_context()
    thread = threading.Thread(target=copied.run, args=(log.info, "copied"))
    thread.start()
    thread.join()
    assert seen.message("copied").id == "r1"


def test_the_pool_gives_each_call_its_submitters_context(seen: Seen) -> None:
    with context.ThreadPoolExecutor(max_workers=1) as pool:
        for name in ("a", "b"):
            request = Request(name)
            context.begin(request)
            with bind(order=name):
                pool.submit(log.info, "from %s", name)
                list(pool.map(log.info, [f"mapped {name}"]))
            context.end(request)
        pool.submit(log.info, "from nobody")
    for name in ("a", "b"):
        for message in (f"from {name}", f"mapped {name}"):
            assert (seen.message(message).id, seen.message(message).bound) == (name, {"order": name})
    assert (seen.message("from nobody").id, seen.message("from nobody").bound) == (None, {})


def test_the_pool_passes_on_arguments_results_and_errors() -> None:
    with context.ThreadPoolExecutor(max_workers=1) as pool:
        assert pool.submit(dict, fn=1, self=2).result() == {"fn": 1, "self": 2}
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()


def test_tasks_have_their_own_requests(seen: Seen) -> None:
    async def part(name: str) -> None:
        log.info("part of %s", name)

    async def answer(name: str) -> None:
        request = Request(name)
        context.begin(request)
        await asyncio.sleep(0.001)
        with bind(order=name):
            await asyncio.create_task(part(name))
            await asyncio.to_thread(log.info, "thread of %s", name)
        context.end(request)

    async def everybody() -> None:
        await asyncio.gather(*(answer(f"t{number}") for number in range(20)))

    asyncio.run(everybody())
    for number in range(20):
        for message in (f"part of t{number}", f"thread of t{number}"):
            found = seen.message(message)
            assert (found.id, found.bound) == (f"t{number}", {"order": f"t{number}"})


def test_greenlets_have_their_own_requests(seen: Seen) -> None:
    gevent = pytest.importorskip("gevent", reason="gevent is in tests/python/requirements.txt")

    def answer(name: str) -> None:
        request = Request(name)
        context.begin(request)
        gevent.sleep(0.001)
        with bind(order=name):
            # As a thread, a greenlet starts without a context.
            gevent.spawn(context.wrap(log.info), "child of %s", name).join()
            gevent.spawn(log.info, "bare child of %s", name).join()
        log.info("end of %s", name)
        context.end(request)

    gevent.joinall([gevent.spawn(answer, f"g{number}") for number in range(20)], raise_error=True)
    for number in range(20):
        assert seen.message(f"end of g{number}").id == f"g{number}"
        child = seen.message(f"child of g{number}")
        assert (child.id, child.bound) == (f"g{number}", {"order": f"g{number}"})
        assert seen.message(f"bare child of g{number}").id is None


def test_a_wrapped_call_leaves_nothing_behind(request_in_force: Request) -> None:
    wrapped = context.wrap(bound)
    context.end(request_in_force)
    wrapped()
    assert current() is None


def test_a_request_that_ended_is_not_kept(request_in_force: Request) -> None:
    class Value:
        pass

    value = Value()
    alive = weakref.ref(value)
    request = Request("short")
    context.begin(request)
    bind(value=value)
    context.end(request)
    del value, request
    gc.collect()
    assert alive() is None


# --- Ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        ("8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", True),
        ("Root=1-67891233-abcdef012345678912345678;Self=1", True),
        (" padded ", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("x" * 1_000_000, False),
        ("", False),
        ("two words", False),
        ('quote"', False),
        ("back\\slash", False),
        ("line\nfeed", False),
        ("end\n", False),
        ("escape\x1b[31m", False),
        ("nul\0", False),
        ("\udc80", False),
        ("é", False),
    ],
)
def test_an_id_is_taken_only_if_it_is_harmless(given: str, valid: bool) -> None:
    id = headers(X_Request_ID=given).id
    if valid:
        assert id == given.strip()
    else:
        assert len(id) == 16
        assert set(id) <= set("0123456789abcdef")


TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"00-{TRACE}-{SPAN}-00", TRACE),
        # A later version may say more, after another dash.
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", TRACE),
        (f"00-{TRACE}-{SPAN}-01-more", ""),
        (f"cc-{TRACE}-{SPAN}-01.more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        (f"00-{TRACE}-{SPAN}-1", ""),
        ("x" * 100_000, ""),
    ],
)
def test_traceparent_is_read_as_the_w3c_says(given: str, trace: str) -> None:
    request = headers(traceparent=given)
    assert request.trace_id == trace
    assert request.span_id == (SPAN if trace else "")
    if trace:
        assert request.id == trace


def test_the_first_valid_header_gives_the_id() -> None:
    trace = f"00-{TRACE}-{SPAN}-01"
    assert headers(X_Request_ID="mine", traceparent=trace).id == "mine"
    assert headers(X_Request_ID="not mine", traceparent=trace).id == TRACE
    assert headers(X_Request_ID="mine", traceparent=trace).trace_id == TRACE


def test_the_headers_are_configured() -> None:
    before = context.settings
    try:
        context.configure(["X-Amzn-Trace-Id"])
        assert headers(X_Request_ID="no", X_Amzn_Trace_Id="yes").id == "yes"
        # The trace is known, also where it is not the id.
        trace = headers(traceparent=f"00-{TRACE}-{SPAN}-01")
        assert (trace.trace_id, len(trace.id)) == (TRACE, 16)
    finally:
        context.settings = before


def test_new_ids_differ_also_in_forked_children() -> None:
    ids = {context.new_id() for _ in range(1000)}
    assert len(ids) == 1000
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, context.new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 16).decode()
    assert theirs not in {context.new_id() for _ in range(1000)}
    os.close(read)
    os.close(write)


def test_texts_are_bounded() -> None:
    request = context.request_from_headers(
        lambda name: None, "M" * 100_000, "/" + "p" * 1_000_000, "c" * 100_000, context.settings
    )
    assert len(request.path) < context.PATH_CHARS_MAX + 40
    assert request.path.endswith("...[1000001 characters]")
    assert len(request.method) < 300
    assert len(request.client) < 300


def test_a_path_is_always_text_that_can_be_written() -> None:
    request = context.request_from_headers(lambda name: None, "GET", "/caf\u00e9/\udc80", "", context.settings)
    assert request.path == "/caf\u00e9/\\udc80"


def test_user_and_endpoint_are_texts_whatever_is_given(request_in_force: Request) -> None:
    class Rude:
        def __str__(self) -> str:
            raise ValueError

    context.set_user(Rude())
    context.set_endpoint("e" * 10_000)
    assert request_in_force.user == "<unprintable Rude: ValueError>"
    assert len(request_in_force.endpoint) < 300
    context.set_user(42)
    assert request_in_force.user == "42"
    context.set_user(None)
    assert request_in_force.user == ""
