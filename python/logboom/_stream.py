"""The `stream` of a handler: what a log file looks like to code that expects a file object.

It is a view: the native log belongs to the handler and stays open when a view is closed, so that a rotation by hooks
(`stream.close()`, rename, `stream = _open()`) never leaves the group of processes. What is written here is published
like a record. A line begun by one `write` and ended by the next is kept together until its end or a `flush`.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from ._codec import Codec
from ._native import Log

# A flush waits at most this long for the records of this process to leave its queue. They are safe before that; the
# wait is for code that reads the file next.
FLUSH_WAIT_MS = 1_000


class Stream:
    """A file object, open for writing, on a log that several processes write."""

    def __init__(self, log: Log, name: str, mode: str, codec: Codec) -> None:
        self._log = log
        self._codec = codec
        self._begun: Any = b"" if codec.binary else ""
        self.name = name
        self.mode = mode
        self.closed = False
        # While hooks rotate the file nothing can leave the queue, and waiting for it would be in vain.
        self.held = False

    @property
    def encoding(self) -> str | None:
        return self._codec.encoding

    @property
    def errors(self) -> str | None:
        return self._codec.errors

    @property
    def codec(self) -> Codec:
        """How this stream encodes; for the handler."""
        return self._codec

    def write(self, data: Any) -> int:
        """Publish `data` as it is (text, or bytes in binary mode) and return its length."""
        self.check_open()
        if self._codec.binary:
            data = bytes(data) if not isinstance(data, str) else self._codec.encode(data)
            end = data.rfind(b"\n") + 1
        elif isinstance(data, str):
            end = data.rfind("\n") + 1
        else:
            raise TypeError(f"write() argument must be str, not {type(data).__name__}")
        if end:
            whole, self._begun = self._begun + data[:end], data[end:]
            self._publish(whole)
        else:
            self._begun += data
        return len(data)

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Publish what is begun and wait, within a bound, until this process's records are in their files."""
        self.check_open()
        self._publish_begun()
        if not self.held:
            self._log.flush(FLUSH_WAIT_MS)

    def close(self) -> None:
        """Close this view; the handler's log stays open. Closing twice is allowed."""
        if not self.closed:
            try:
                self._publish_begun()
            finally:
                self.closed = True

    def fileno(self) -> int:
        """The descriptor of the current file; it stays the log's."""
        self.check_open()
        return self._log.fileno()

    def tell(self) -> int:
        """Bytes in the file, with those of this process on their way to it."""
        self.check_open()
        return self._log.size() + len(self._begun)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Only to the end, where every write goes anyway."""
        if (offset, whence) != (0, os.SEEK_END):
            raise io.UnsupportedOperation("a log can only be written at its end")
        return self.tell()

    def isatty(self) -> bool:
        return os.isatty(self.fileno())

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1, /) -> Any:
        raise io.UnsupportedOperation("not readable")

    def truncate(self, size: int | None = None, /) -> int:
        raise io.UnsupportedOperation("a log can only be written at its end")

    def __enter__(self) -> Stream:
        self.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<logboom stream name={self.name!r} mode={self.mode!r} encoding={self.encoding!r}>"

    def _publish_begun(self) -> None:
        if self._begun:
            rest, self._begun = self._begun, self._begun[:0]
            self._publish(rest)

    def _publish(self, data: Any) -> None:
        if self._codec.binary:
            self._log.publish_bytes(data, logging.INFO)
        elif self._codec.direct and not self._codec.lossy:
            self._log.publish(data, logging.INFO)
        else:
            self._log.publish_bytes(self._codec.encode(data), logging.INFO)

    def check_open(self) -> None:
        """Raise what Python's files raise when they are closed."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
