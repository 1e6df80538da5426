"""The native half of logboom: one open log file, and text that cannot forge a record.

Private: `logboom.handlers` is the public face. Every call may be made from any thread and after a fork; calls that may
wait give the interpreter lock away and end after the wait they are given. Errors of the system are `OSError` with its
number; an option that cannot be is a `TypeError` or a `ValueError` that names its key.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

__all__ = [
    "Encoder",
    "Log",
    "Recording",
    "Way",
    "escape",
    "forget_threads_inside",
    "gate_follow",
    "gate_method",
    "handle_method",
    "keep_destination",
    "load_config",
    "log_method",
    "note_signal",
    "publish_brief",
    "read_conditions",
    "read_seconds",
    "severity_of",
    "signal_arrival",
    "stream_handler",
    "threads_inside",
    "user_spools",
]

@final
class Encoder:
    """Turns records into lines of one format: 'text', 'json' or 'logfmt'. Any thread may use it.

    `colour` and `utc` count for text. Nothing is written of a field whose name has one of `redact_names` in it as whole
    words, of a value that follows such a name in a text, and of what matches one of `redact_patterns` (the syntax of Rust's
    regex). A record becomes at most `record_bytes_max` bytes long: 128 KiB unless given, at least 16 KiB.
    """

    def __new__(
        cls,
        format: str,
        *,
        colour: bool = False,
        utc: bool = False,
        redact_names: Sequence[str] = ...,
        redact_patterns: Sequence[str] = ...,
        record_bytes_max: int = ...,
    ) -> Encoder: ...
    def encode(
        self,
        record: dict[str, Any],
        message: str,
        request: object | None,
        fields: Mapping[str, Any] | None,
        exc_text: str | None,
    ) -> str:
        """The line, without its line end, of the `LogRecord` that `record` is the `__dict__` of.

        What a `LogRecord` does not have of itself is a field, unless its name begins with an underscore; `fields` are more,
        those of the record come first. `request` has the attributes of `logboom.context.Request`. No `Exception` comes
        out of it, whatever the values are; what is none (SystemExit in a `__str__`) does.
        """

    def redact(self, text: str) -> str:
        """A text of somebody else's without what must not be written."""

@final
class Log:
    """One open log file of this process.

    `options` has the keys `mode` ('a' or 'w'), `max_bytes`, `backup_count`, `when`, `interval`, `at_time_s`, `utc`,
    `suffix`, `compress` (None, 'gzip', 'zstd'), `keep_age_s`, `keep_bytes`, `durability` ('kernel', 'disk'), `watch`,
    `ledger_ids`, `state_dir` (None, 'beside' or a directory), `state_group` (None or a gid), `on_full` ('block', 'drop'), `on_full_wait_ms`,
    `queue_bytes`, `recorder_bytes` (0: nothing is recorded), `encoder` (an `Encoder`: how the records are written that
    the native side makes itself), `black_box_copies` (black boxes are another log's business and copied here),
    `blackbox_records`, `preamble`, `hooks`, `create_mode`, `owner`, `spool_bytes` (it is a spool of so many bytes at most),
    `spool_full` ('oldest', 'newest' or 'block': what happens then) and `relay_program` (is started as the relay of the spool when
    there is none); a missing key keeps its default.

    `beside` are logs of other domains that get a copy of the records which the native side makes itself: the log, how it writes
    them, of which components (none: all), of which not, and from which level on.
    """

    def __new__(
        cls,
        path: str | os.PathLike[str],
        options: dict[str, Any],
        beside: list[tuple[Log, Encoder, list[str], list[str], int]] = ...,
    ) -> Log: ...
    @property
    def path(self) -> str:
        """The path that the log was opened with."""

    def publish(self, line: str, levelno: int | None, over: int | None = None) -> int:
        """Publish one finished line, its terminator included, at a level of the module `logging`
        (None: unspecified). `over` is the token of the request that is over with it.

        0: published. 1: published, and the rotation by this process's hooks is due. 2: dropped and counted.
        """

    def publish_bytes(self, line: bytes, levelno: int | None) -> int:
        """The same with a line that is already encoded."""

    def publish_record(
        self,
        line: str,
        levelno: int | None,
        component: str,
        request_id: str,
        kept: bool,
        json: str | None = None,
        rules: int | None = None,
        over: int | None = None,
    ) -> int:
        """Like `publish`, and into the recorder if that is on. Not `kept`: into the recorder alone.

        `json` is the same record as a JSON object, for viewers, where the line is none itself. `rules` are those that want
        the record, a bit for each place of the table; None: it was not asked.
        """

    def unkept(self, request_id: str, after: int) -> tuple[list[tuple[int, str, str, str]], int]:
        """What this process recorded of a request and wrote to no file, after the record of this number, oldest first:
        numbers, components, lines, and the records as JSON (empty where a line is JSON itself). And how many records
        after that, of whatever request, are overwritten."""

    def recorded(self) -> int:
        """Number of the last record that this process recorded; 0: there is none."""

    def toggle(
        self,
        components: list[str],
        *,
        severity: int = 5,
        for_s: float = 600.0,
        made_by: str = "",
        asked: tuple[int, int] | None = None,
    ) -> str | None:
        """Put rules for these components in force ('on'), or end those that the last toggle put in force ('off').

        'full': neither, the table of rules is full. None: there was a toggle within the last second, and this one is part
        of it; `asked` (of `signal_arrival`) tells when the signal came that asks for it.
        """

    recording: bool
    """Whether this process's recorder is on."""

    def begin_request(self, id: str, method: str, path: str, client: str) -> int:
        """Note that this process serves a request; its token, or -1 if there is no room (64 a process), which is counted.

        Should the process die before `end_request`, its black box names the request.
        """

    def end_request(self, token: int) -> None:
        """The request is served. A token that is not of a living request of this process, and -1, are ignored."""

    def requests(self) -> list[dict[str, Any]]:
        """The requests that this process serves, oldest first: `id`, `method`, `path`, `client`, `started`, `thread`."""

    def capture_output(self, fds: list[int], bytes_max: int) -> None:
        """Lead descriptors (1, 2) into bounded files in the state; their lines come back as records.

        The components are `stdout` and `stderr`. It ends with `close`. OSError: it could not be, and nothing is changed.
        """

    def dying(self, cause: str) -> None:
        """This process sees its death coming: its black box says why, also if it then ends in order."""

    def harvest(self, process: int, status: int | None = None, cause: str = "") -> list[dict[str, Any]]:
        """Write the black box of the dead worker `process`, if there is something to tell; for its parent.

        `status` is what `os.waitpid` said, `cause` what the parent knows beyond that (a timeout). Gives the requests that died, as `requests` does. Waits a second at most.
        """

    def harvest_dead(self) -> list[dict[str, Any]]:
        """The same for workers that are dead for two seconds and nobody has told of; looks once a second at most."""

    def rules(self) -> list[dict[str, Any]]:
        """The level rules in force, oldest first.

        Keys: `number`, `index` (its place in the table, 0 to 15), `component`, `condition`, `worker` (0: all), `severity` (255: nothing is revealed), `kept`,
        `held`, `made`, `expires` (seconds since 1970; 0: never), `maker`, `made_by`.
        """

    def add_rule(
        self,
        component: str,
        *,
        condition: str = "",
        severity: int = 5,
        kept: bool = False,
        for_s: float = 600.0,
        made_by: str = "",
        worker: int = 0,
        held: bool = False,
    ) -> int:
        """Put a rule in force; its number. `for_s` 0: for ever. `held`: it ends with this process at the latest.

        OSError: the table (16) is full. ValueError: a text is too long, or a condition cannot be read.
        """

    def tell_levels(self, levels: list[tuple[str, int]]) -> None:
        """Tell viewers which levels this program has set: component ('': all others, '*': the recorder) and level."""

    def remove_rule(self, number: int) -> bool:
        """End a rule; False if there is none of this number."""

    def forget_ended_rules(self) -> bool:
        """Remove the rules whose time is over or whose viewer is gone; True if there was one."""

    @property
    def rules_generation(self) -> int:
        """Grows with each change of the rules: whoever knew this number before reading `rules()` knows the rules."""

    def flush(self, wait_ms: int) -> bool:
        """Wait until all that this process published is out of its queue; False if `wait_ms` was not enough."""

    def rotate(self, wait_ms: int) -> bool:
        """Rotate the file now. True if a file was archived."""

    def begin_hook_rotation(self, wait_ms: int, on_demand: bool) -> bool:
        """Take the file for a rotation by the caller's own code. True: rename it, then `end_hook_rotation`.

        False: another process does so already or, unless `on_demand`, has done so.
        """

    def end_hook_rotation(self, rotated: bool) -> bool:
        """Give the file back. True: what was waiting has made another rotation due."""

    def reconfigure(self, options: dict[str, Any]) -> None:
        """Change the options of the open file; `mode` and `preamble` count only at the opening."""

    def size(self) -> int:
        """Bytes in the current file and in this process's queue."""

    def fileno(self) -> int:
        """The descriptor of the current file. It stays the log's: do not close it."""

    def close(self) -> None:
        """Leave the log. Every later call but this one raises ValueError."""

def load_config(path: str | os.PathLike[str] | None, env: dict[str, str], flags: dict[str, str]) -> dict[str, Any]:
    """Read and check the configuration: `path`, else `LOGBOOM_CONFIG` in `env`, else ./logboom.toml, else the defaults.

    `env` are environment variables (those that begin with `LOGBOOM_` count), `flags` override them and have keys as in
    the file. The result has `values` (nested; bytes, seconds and levels as numbers, None for what is off), `sources`
    (dotted key: where its value comes from), `path` (the file, or None) and `notes` (texts). A wrong configuration is a
    ValueError with one line for each mistake: file, line, key, what is wrong, what to write.
    """

def keep_destination(root: str | os.PathLike[str], name: str, text: str) -> None:
    """Write `text` (that of `load_config`, `ship.NAME.text`) beside the spool of the destination, for the relay. The
    directory is made, for its owner alone, if it is missing."""

def user_spools() -> str:
    """The directory below which spools of this user lie that belong beside no log."""

def escape(text: str, continuation: bool) -> str:
    """Show control characters and line breaks of `text` as `\\xNN` and `\\uNNNN`.

    With `continuation`, a line feed stays and is followed by four spaces.
    """

@final
class Recording:
    """Where the records of one logger go that are below its level: for the cache of that logger, see `log_method`.

    `log` and `encoder` are those of the main file, `json` makes a JSON object where its line is none; records from the
    level `below` on are none of its business. `handler` is whose filters and formatter would be asked, `current` and
    `bound` give the request and the fields of now.
    """

    def __new__(
        cls,
        log: Log,
        below: int,
        encoder: Encoder,
        json: Encoder | None,
        handler: Any,
        current: Callable[[], Any],
        bound: Callable[[], Any],
    ) -> Recording: ...

@final
class Way:
    """Where records of one component and level go, if that is one file: the last word of a route (`_routes`).

    `to_main`: they are published as `Log.publish_record` does with what is kept, otherwise as `Log.publish` does.
    """

    def __new__(cls, log: Log, encoder: Encoder, to_main: bool) -> Way: ...

def publish_brief(
    way: Way,
    about: tuple[str, int, str],
    message: str,
    fields: dict[str, Any],
    bound: Mapping[str, Any],
    request: Any,
    over: int | None,
) -> int:
    """Publish a record of which there is no `LogRecord`, made now in this thread; see `Handler.publish_brief`.

    `about` are name, level and the level's name, `over` is the token of the request that is over with the record. An exception means that nothing is published.
    """

def stream_handler(handler: type, current: Callable[[], Any], bound: Callable[[], Any]) -> None:
    """Tell `log_method` of the class of the stream's handlers, and who gives the request and the fields of now. The first
    call counts.
    """

def log_method(logger: type, original: Callable[..., None], key: str, rules_key: str, is_standard: bool) -> Any:
    """`_log` for the class `logger`: where nobody would see a `LogRecord`, none is made.

    What a `Recording` under `key` in a logger's cache takes is recorded, unless the cache has not the token of the rules in
    force under `rules_key`. What is written by one handler alone, of `handle_method` or `stream_handler`, is published, if
    `is_standard`: the methods of the class that make and pass on a record are the library's at the first call of this
    function; they are still, and neither replaced in the logger nor in its class; no filters; the record factory is
    `LogRecord`; the clock is the module `time`'s; a file's template asks for nothing that needs a `LogRecord`, and the stream
    has a `Way` for the record. Everything else goes to `original`. The first call of this function counts.
    """

def handle_method(handler: type, slow: Callable[[Any, Any], Any]) -> Any:
    """`handle` for the class `handler`: a record that only the standard library's code would see is formatted and published
    by one native call, if the handler names the open log as `_quick`. All else is done by `slow(handler, record)`.

    Only the standard library's code: no filters; `emit` is that of `handler`, `format`, `filter` and the record's
    `getMessage` are the library's; the formatter is none or a `logging.Formatter` of the style `%` on which nothing else was
    set; no exception, no stack; message and terminator are of the class `str` itself. What fails before the record is
    published is done again by `slow`. A rotation by the handler's own code is asked for by `_rotate_after(record)`. The first
    call of this function counts.
    """

def gate_method(logger: type, ask: Callable[[Any, Any], bool], key: str) -> Any:
    """`isEnabledFor` for the class `logger`, as a method that needs no interpreter where no rule is about the logger.

    `ask(logger, level)` is called where the logger's cache has no answer, the rules have changed, or rules are in force and
    the cache has not the token of `gate_follow` under `key`. The first call of this function counts.
    """

def threads_inside() -> int:
    """How many threads are inside of a native method that may call Python code."""

def forget_threads_inside() -> None:
    """The other threads are not there: this process was forked."""

def gate_follow(log: Log | None, seen: int, token: object | None) -> None:
    """The rules of `log` are known as they were at the generation `seen`. `token`: see `gate_method`; None: no rule
    reveals anything here."""

def read_conditions(text: str) -> list[tuple[str, str, str]]:
    """The conditions of a rule, one a line: field, operator (`=`, `!=`, `^=`, `*=`) and value of each.

    ValueError: what is wrong with the first that cannot be read.
    """

def read_seconds(text: str) -> float | None:
    """A span of time as `logboom.toml` has it (`10 minutes`, `10m`, `90`), in seconds; None for what is none."""

def severity_of(levelno: int) -> int:
    """OpenTelemetry's severity number of a level of the module `logging`; 0 below DEBUG."""

def note_signal(number: int) -> bool:
    """Have the sender of this signal noted, in front of the handler that it has. False: it has none. OSError: it cannot be.

    Whoever sets the signal's handler anew undoes this.
    """

def signal_arrival(number: int) -> tuple[int, int] | None:
    """The last of these signals since the last call: its sender's process id (0: unknown) and when it came (monotonic, in
    nanoseconds). None: none came, or it was not noted."""
