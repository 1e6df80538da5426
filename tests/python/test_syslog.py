"""`SysLogHandler` sends what it is told in the format it is told, and waits for a server that is away."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounts import wait_until
from logboom import context
from logboom.handlers import SysLogHandler
from receivers import Receiver, end_relays, free_port


@pytest.fixture(autouse=True)
def spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    end_relays(tmp_path)


def test_signature_and_constants_are_the_standard_library_s() -> None:
    std = logging.handlers.SysLogHandler
    assert issubclass(SysLogHandler, std)
    for name in ("LOG_USER", "LOG_LOCAL7", "LOG_ERR", "priority_names", "facility_names", "priority_map", "append_nul"):
        assert getattr(SysLogHandler, name) == getattr(std, name)
    handler = SysLogHandler(("127.0.0.1", free_port()), SysLogHandler.LOG_LOCAL3, socket.SOCK_DGRAM)
    try:
        assert (handler.facility, handler.socktype, handler.unixsocket) == (19, socket.SOCK_DGRAM, False)
        assert handler.encodePriority("local3", "warning") == 19 << 3 | 4
    finally:
        handler.close()


def test_fields_and_priority_arrive_as_structured_data(logger: logging.Logger) -> None:
    with Receiver() as receiver:
        handler = SysLogHandler(f"tcp://127.0.0.1:{receiver.port}", SysLogHandler.LOG_LOCAL1)
        logger.addHandler(handler)
        with context.bind(tenant='a"b]c\\'):
            logger.warning("paid %s", "ß", extra={"order": 7})
        [message] = receiver.wait_for(1)
    assert message.priority == (17 << 3) + 4
    assert message.text == "paid ß"
    assert message.app_name == "logboom.test"
    assert message.process == str(os.getpid())
    assert (message.data["order"], message.data["tenant"]) == ("7", 'a"b]c\\')
    assert "syslog.priority" not in message.data
    assert len(message.data["id"].split(".")) == 3


def test_a_server_that_is_away_costs_nothing_and_gets_everything_later(logger: logging.Logger) -> None:
    port = free_port()
    logger.addHandler(SysLogHandler(("127.0.0.1", port), socktype=socket.SOCK_STREAM, retry={"most": "200 ms"}))
    begun = time.monotonic()
    for number in range(500):
        logger.info("number %d", number)
    assert time.monotonic() - begun < 10
    time.sleep(0.5)
    with Receiver(port=port) as receiver:
        messages = receiver.wait_for(500)
    assert [message.text for message in messages] == [f"number {number}" for number in range(500)]


def test_a_server_that_reads_nothing_does_not_hold_anybody_up(logger: logging.Logger) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        logger.addHandler(SysLogHandler(listener.getsockname(), socktype=socket.SOCK_STREAM))
        longest = 0.0
        for _ in range(2000):
            begun = time.monotonic()
            logger.info("x" * 2000)
            longest = max(longest, time.monotonic() - begun)
        assert longest < 5


def test_the_plain_format_is_the_standard_library_s(logger: logging.Logger) -> None:
    got: dict[str, list[bytes]] = {}
    for name, kind in (("std", logging.handlers.SysLogHandler), ("ours", SysLogHandler)):
        with Receiver(tcp=False) as receiver:
            options = {} if name == "std" else {"format": "plain"}
            handler = kind(("127.0.0.1", receiver.port), SysLogHandler.LOG_DAEMON, **options)
            handler.ident = "shop: "
            handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
            logger.addHandler(handler)
            logger.error("sp\xe4m")
            handler.append_nul = False
            logger.critical("two")
            wait_until(lambda receiver=receiver: len(receiver.got) == 2, "both messages")
            logger.removeHandler(handler)
            handler.close()
            got[name] = receiver.got
    assert got["ours"] == got["std"]
    assert got["ours"][0].endswith(b"sp\xc3\xa4m\x00")


def test_no_nul_on_a_stream(logger: logging.Logger) -> None:
    with Receiver() as receiver:
        logger.addHandler(SysLogHandler(("127.0.0.1", receiver.port), socktype=socket.SOCK_STREAM, format="plain"))
        logger.error("text")
        wait_until(lambda: receiver.got != [], "the message")
    assert receiver.got == [b"<11>text"]


def test_a_local_socket_gets_what_syslog_3_writes(logger: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(20)
        logger.addHandler(SysLogHandler(str(path)))
        logger.warning("hello")
        message = receiver.recv(9000).decode()
    priority, rest = message[:4], message[4:]
    assert priority == "<12>"
    assert rest[16:] == f"logboom.test[{os.getpid()}]: hello"
    time.strptime(rest[:15], "%b %d %H:%M:%S")


def test_a_closed_handler_opens_again(logger: logging.Logger) -> None:
    with Receiver() as receiver:
        handler = SysLogHandler(("127.0.0.1", receiver.port), socktype=socket.SOCK_STREAM)
        logger.addHandler(handler)
        logger.info("one")
        handler.close()
        logger.info("two")
        messages = receiver.wait_for(2)
    assert [message.text for message in messages] == ["one", "two"]


def test_what_cannot_be_is_refused_and_names_the_key() -> None:
    for options, part in (
        ({"spool": {"byts": 1}}, "did you mean `ship.syslog.spool.bytes`?"),
        ({"tls": {"ca": "x"}}, "the address is one without TLS"),
        ({"format": "rfc9999"}, "ship.syslog.syslog.format"),
    ):
        with pytest.raises(ValueError, match=r".") as refused:
            SysLogHandler(("127.0.0.1", 1), **options)
        assert part in str(refused.value)
        # `logging` flushes all handlers that it knows: when something is configured, and at the interpreter's end.
        for known in (reference() for reference in logging._handlerList):
            if isinstance(known, SysLogHandler):
                known.flush()
    with pytest.raises(ValueError, match="with one of the schemes"):
        SysLogHandler("ftp://127.0.0.1:1")


def test_raising_arguments_are_handled_and_never_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = SysLogHandler(("127.0.0.1", free_port()))
    failed: list[logging.LogRecord] = []
    monkeypatch.setattr(handler, "handleError", failed.append)
    handler.handle(logging.LogRecord("shop", logging.INFO, __file__, 1, "%d", ("x",), None))
    handler.close()
    assert len(failed) == 1


def test_dict_config_and_threads(logger: logging.Logger) -> None:
    with Receiver() as receiver:
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {
                    "syslog": {
                        "class": "logboom.handlers.SysLogHandler",
                        "address": ["127.0.0.1", receiver.port],
                        "socktype": socket.SOCK_STREAM.value,
                        "facility": "local0",
                    }
                },
                "loggers": {"logboom.test": {"handlers": ["syslog"]}},
            }
        )

        def work(thread: int) -> None:
            for number in range(100):
                logger.info("%d %d", thread, number)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        messages = receiver.wait_for(400)
    assert {message.text for message in messages} == {f"{t} {n}" for t in range(4) for n in range(100)}
    for each in range(4):
        own = [message.text for message in messages if message.text.startswith(f"{each} ")]
        assert own == [f"{each} {number}" for number in range(100)]
