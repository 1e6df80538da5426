"""The two handlers of the package concurrent-log-handler, under its names, argument order and attributes.

A program switches by its import alone. What that package does with a lock file is done by the group's shared state
here: the options that are about locks and about keeping files open are accepted and have no effect, and the lock
attributes show an unlocked handler. The file is opened by the first record, as there.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ._options import OptionArgs
from ._rotating import RotatingFileHandler, TimedRotatingFileHandler, _Rotating

if TYPE_CHECKING:
    from typing_extensions import Unpack

_POLICIES = ("ignore", "replace", "strict")


class _Concurrent(_Rotating):
    """The attributes that both classes share."""

    owner: Any
    chmod: int | None
    umask: int | None
    newline: str | None
    unicode_error_policy: str
    lockFilename: str
    is_locked = False
    stream_lock = None
    num_rollovers = 0

    def _adopt(
        self,
        *,
        owner: Any,
        chmod: int | None,
        umask: int | None,
        newline: str | None,
        terminator: str,
        policy: str,
        keep_file_open: bool,
    ) -> None:
        """Store what the standard library's constructors do not know."""
        if policy not in _POLICIES:
            raise ValueError(f"unicode_error_policy must be one of {', '.join(_POLICIES)}, not {policy!r}")
        self.owner = owner
        self.chmod = chmod
        self.umask = umask
        self.newline = self._newline = newline
        self.terminator = terminator or "\n"
        self.unicode_error_policy = policy
        self.keep_file_open = keep_file_open

    @property
    def use_gzip(self) -> bool:
        """Whether archives are compressed with gzip: the option `compress` under the other package's name."""
        return self.logboom_options.compress == "gzip"

    @use_gzip.setter
    def use_gzip(self, wanted: bool) -> None:
        self.logboom_options = replace(self.logboom_options, compress="gzip" if wanted else None)

    def _name_lock(self, folder: str | None) -> None:
        """`lockFilename`, where the other package would have its lock."""
        own_folder, name = os.path.split(self.baseFilename)
        self.lockFilename = os.path.join(folder or own_folder, f".__{name.removesuffix('.log')}.lock")

    def doRollover(self) -> None:
        super().doRollover()
        self.num_rollovers += 1

    def _options_for_native(self) -> dict[str, Any]:
        options = super()._options_for_native()
        if self.chmod is not None:
            options["create_mode"] = self.chmod
        elif self.umask is not None:
            options["create_mode"] = 0o666 & ~self.umask
        if self.owner:
            options["owner"] = _ids(self.owner)
        return options


class ConcurrentRotatingFileHandler(_Concurrent, RotatingFileHandler):
    """concurrent-log-handler's rotation by size, with logboom's options as further keywords."""

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "a",
        maxBytes: int = 0,
        backupCount: int = 0,
        encoding: str | None = None,
        debug: bool = False,
        delay: None = None,
        use_gzip: bool = False,
        owner: tuple[str, str] | None = None,
        chmod: int | None = None,
        umask: int | None = None,
        newline: str | None = None,
        terminator: str = "\n",
        unicode_error_policy: str = "ignore",
        lock_file_directory: str | None = None,
        keep_file_open: bool = True,
        **options: Unpack[OptionArgs],
    ) -> None:
        if use_gzip:
            options.setdefault("compress", "gzip")
        self.debug = debug
        self._adopt(
            owner=owner,
            chmod=chmod,
            umask=umask,
            newline=newline,
            terminator=terminator,
            policy=unicode_error_policy,
            keep_file_open=keep_file_open,
        )
        RotatingFileHandler.__init__(
            self, filename, mode, maxBytes, backupCount, encoding, True, unicode_error_policy, **options
        )
        self._name_lock(lock_file_directory)


class ConcurrentTimedRotatingFileHandler(_Concurrent, TimedRotatingFileHandler):  # type: ignore[misc]
    """concurrent-log-handler's rotation by time and size, with logboom's options as further keywords."""

    def __init__(
        self,
        filename: str | os.PathLike[str],
        when: str = "h",
        interval: int = 1,
        backupCount: int = 0,
        encoding: str | None = None,
        delay: bool = False,
        utc: bool = False,
        atTime: datetime.time | None = None,
        errors: str | None = None,
        maxBytes: int = 0,
        use_gzip: bool = False,
        owner: tuple[str, str] | None = None,
        chmod: int | None = None,
        umask: int | None = None,
        newline: str | None = None,
        terminator: str = "\n",
        unicode_error_policy: str = "ignore",
        lock_file_directory: str | None = None,
        keep_file_open: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("mode", None)
        self.debug = kwargs.pop("debug", False)
        if use_gzip:
            kwargs.setdefault("compress", "gzip")
        self._adopt(
            owner=owner,
            chmod=chmod,
            umask=umask,
            newline=newline,
            terminator=terminator,
            policy=unicode_error_policy,
            keep_file_open=keep_file_open,
        )
        TimedRotatingFileHandler.__init__(
            self,
            filename,
            when,
            interval,
            backupCount,
            encoding,
            True,
            utc,
            atTime,
            errors or unicode_error_policy,
            maxBytes=maxBytes,
            **kwargs,
        )
        self._name_lock(lock_file_directory)
        self.finalize_handler_configuration()

    def finalize_handler_configuration(self) -> None:
        """For subclasses: called once, before the first record, to set `suffix`, `namer` and the like."""

    @property
    def clh(self) -> ConcurrentTimedRotatingFileHandler:
        """The other package keeps a second handler here; its attributes are this one's."""
        return self


def _ids(owner: Any) -> tuple[int, int]:
    """User and group id of a pair of names or numbers."""
    import grp
    import pwd

    user, group = owner
    uid = user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
    gid = group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    return uid, gid
