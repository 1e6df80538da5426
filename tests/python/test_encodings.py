"""The bytes in the file are those that the standard library's handler would have written, in every encoding."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest
from accounts import record
from logboom import handlers

TEXTS = ["plain", "grüße 世界 🪵", "", "tab\tand\nnewline", "\x00\x1b[31m"]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "UTF8", None, "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "gb18030"],
)
@pytest.mark.parametrize("existing", [b"", b"A\n"], ids=["new", "appended"])
def test_a_file_is_the_librarys_byte_for_byte(tmp_path: Path, encoding: str | None, existing: bytes) -> None:
    ours, theirs = tmp_path / "ours.log", tmp_path / "theirs.log"
    for path, kind in ((ours, handlers.FileHandler), (theirs, logging.FileHandler)):
        if existing:
            path.write_bytes(existing)
        handler = kind(path, encoding=encoding)
        for text in TEXTS:
            handler.emit(record(text))
        handler.close()
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("errors", ["ignore", "replace", "backslashreplace", "xmlcharrefreplace", "surrogateescape"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_errors_does_what_the_librarys_does(tmp_path: Path, encoding: str, errors: str) -> None:
    ours, theirs = tmp_path / "ours.log", tmp_path / "theirs.log"
    texts = ["fine", "euro €", "lone \udc80 surrogate", "fine again"]
    for path, kind in ((ours, handlers.FileHandler), (theirs, logging.FileHandler)):
        handler = kind(path, encoding=encoding, errors=errors)
        handler.handleError = lambda _: None
        for text in texts:
            handler.emit(record(text))
        handler.close()
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_cannot_be_encoded_goes_to_handle_error_and_not_to_the_application(tmp_path: Path, encoding: str) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log", encoding=encoding)
    seen = []
    handler.handleError = lambda rec: seen.append((rec.msg, sys.exc_info()[0]))
    for text in ("one", "lone \ud800", "two"):
        handler.emit(record(text))
    handler.close()
    assert seen == [("lone \ud800", UnicodeEncodeError)]
    assert (tmp_path / "a.log").read_text() == "one\ntwo\n"


def test_a_byte_order_mark_begins_each_new_file_once(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    handler = handlers.RotatingFileHandler(path, encoding="utf-16", maxBytes=200, backupCount=50)
    for number in range(40):
        handler.emit(record(f"record {number:04}"))
    handler.close()
    files = [path, *(each for each in tmp_path.glob("a.log.[0-9]*"))]
    assert len(files) > 3
    found = []
    for each in files:
        text = each.read_bytes().decode("utf-16")
        assert "\ufeff" not in text
        found += text.split("\n")[:-1]
    assert sorted(found) == [f"record {number:04}" for number in range(40)]


def test_an_unknown_encoding_fails_where_the_handler_is_made(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        handlers.FileHandler(tmp_path / "a.log", encoding="no-such")


def test_binary_mode_refuses_text_as_the_library_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = handlers.FileHandler(tmp_path / "a.log", mode="ab")
    handler.emit(record("text"))
    assert "TypeError" in capsys.readouterr().err
    assert handler.stream.write(b"bytes\n") == 6
    handler.close()
    assert (tmp_path / "a.log").read_bytes() == b"bytes\n"


def test_the_stream_shows_the_encoding_as_a_file_does(tmp_path: Path) -> None:
    for encoding in ("utf-8", "UTF-16", "latin-1", None):
        handler = handlers.FileHandler(tmp_path / "a.log", encoding=encoding)
        with open(tmp_path / "b.log", "a", encoding=io.text_encoding(encoding)) as model:
            assert handler.stream.encoding == model.encoding
            assert handler.stream.errors == model.errors
        handler.close()
