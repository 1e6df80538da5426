"""How the text of a handler becomes the bytes of its file.

The result is that of the standard library's text files: the same encodings, error handlers and byte order marks. UTF-8,
the normal case, needs no work here: the native side reads the text as it lies in memory (`direct`).
"""

from __future__ import annotations

import codecs
import io
import sys

# Encodings that begin a file with a byte order mark: the mark, and the encoding of everything after it. The mark goes
# to the native side as the preamble of each new file; records must never carry one.
_MARKED = {
    "utf-8-sig": (codecs.BOM_UTF8, "utf-8"),
    "utf-16": (codecs.BOM_UTF16, f"utf-16-{sys.byteorder[0]}e"),
    "utf-32": (codecs.BOM_UTF32, f"utf-32-{sys.byteorder[0]}e"),
}


class Codec:
    """Encoding, error handler and line ends of one open file.

    `encoding` and `errors` are what Python's own file object would show. In binary mode there is no encoding: text is
    refused, as the standard library's handlers refuse it.
    """

    def __init__(self, encoding: str | None, errors: str | None, mode: str, newline: str | None = None) -> None:
        self.preamble = b""
        self.newline = newline if newline in ("\r", "\r\n") else None
        self.binary = "b" in mode
        self.lossy = False
        if self.binary:
            if encoding is not None:
                raise ValueError("binary mode doesn't take an encoding argument")
            self.encoding = self.errors = None
            self.direct = False
            return
        # Python's own text layer knows best what "locale", None or an alias stands for here.
        probe = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
        self.encoding, self.errors = probe.encoding, probe.errors
        self.preamble, self._name = _MARKED.get(codecs.lookup(probe.encoding).name, (b"", probe.encoding))
        self.direct = codecs.lookup(self._name).name == "utf-8" and self.newline is None
        self.lossy = self.errors != "strict"

    def encode(self, text: str) -> bytes:
        """The bytes of `text`, without a byte order mark."""
        if self.binary:
            raise TypeError(f"a bytes-like object is required, not {type(text).__name__!r}")
        if self.newline is not None:
            text = text.replace("\n", self.newline)
        return text.encode(self._name, self.errors or "strict")
