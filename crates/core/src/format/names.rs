//! The names of the fields that every record may have, in all formats.
//!
//! They are OpenTelemetry's where it has one; `docs/formats.md` names the source of each. A field of the user's with such
//! a name would stand twice in the record, and its reader could not tell which is ours: it is written with [`TAKEN`] before
//! its name instead.

use std::borrow::Cow;

use super::Request;

pub(super) const TIMESTAMP: &str = "timestamp";
pub(super) const SEVERITY_TEXT: &str = "severity_text";
pub(super) const SEVERITY_NUMBER: &str = "severity_number";
pub(super) const BODY: &str = "body";
pub(super) const COMPONENT: &str = "otel.scope.name";
pub(super) const TEMPLATE: &str = "log.record.template";
pub(super) const TRACE_ID: &str = "trace_id";
pub(super) const SPAN_ID: &str = "span_id";
pub(super) const REQUEST_ID: &str = "request_id";
pub(super) const METHOD: &str = "http.request.method";
pub(super) const PATH: &str = "url.path";
pub(super) const CLIENT: &str = "client.address";
pub(super) const ENDPOINT: &str = "http.route";
pub(super) const USER: &str = "user.id";
pub(super) const PROCESS: &str = "process.pid";
pub(super) const PROCESS_NAME: &str = "process.name";
pub(super) const THREAD: &str = "thread.id";
pub(super) const THREAD_NAME: &str = "thread.name";
pub(super) const FILE: &str = "code.file.path";
pub(super) const LINE: &str = "code.line.number";
pub(super) const FUNCTION: &str = "code.function.name";
pub(super) const STACK: &str = "code.stacktrace";
pub(super) const EXCEPTION_TYPE: &str = "exception.type";
pub(super) const EXCEPTION_MESSAGE: &str = "exception.message";
pub(super) const EXCEPTION_TRACE: &str = "exception.stacktrace";
/// How many fields are missing because the record would have become too long.
pub(super) const LEFT_OUT: &str = "logboom.fields_left_out";

/// Before the name of a field whose own is taken.
const TAKEN: &str = "extra.";

/// Python's name for a process that was not given one.
pub(super) const PROCESS_NAME_DEFAULT: &str = "MainProcess";

/// All of the above.
pub(super) const ALL: [&str; 26] = [
    TIMESTAMP,
    SEVERITY_TEXT,
    SEVERITY_NUMBER,
    BODY,
    COMPONENT,
    TEMPLATE,
    TRACE_ID,
    SPAN_ID,
    REQUEST_ID,
    METHOD,
    PATH,
    CLIENT,
    ENDPOINT,
    USER,
    PROCESS,
    PROCESS_NAME,
    THREAD,
    THREAD_NAME,
    FILE,
    LINE,
    FUNCTION,
    STACK,
    EXCEPTION_TYPE,
    EXCEPTION_MESSAGE,
    EXCEPTION_TRACE,
    LEFT_OUT,
];

/// Those that can be hidden: all that are text and not needed to read the rest.
pub(super) const HIDEABLE: [&str; 18] = [
    BODY,
    TEMPLATE,
    REQUEST_ID,
    TRACE_ID,
    SPAN_ID,
    METHOD,
    PATH,
    CLIENT,
    ENDPOINT,
    USER,
    PROCESS_NAME,
    THREAD_NAME,
    FILE,
    FUNCTION,
    STACK,
    EXCEPTION_TYPE,
    EXCEPTION_MESSAGE,
    EXCEPTION_TRACE,
];

/// The name under which a field is written. Names that tell of the request are free as long as the request is unknown: the
/// field is all there is to say then.
pub(super) fn given<'n>(name: &'n str, request: &Request<'_>) -> Cow<'n, str> {
    let mut bare = name;
    while let Some(rest) = bare.strip_prefix(TAKEN) {
        bare = rest;
    }
    let free = match bare {
        TRACE_ID => request.trace_id.is_empty(),
        SPAN_ID => request.span_id.is_empty(),
        REQUEST_ID => request.id.is_empty(),
        METHOD => request.method.is_empty(),
        PATH => request.path.is_empty(),
        CLIENT => request.client.is_empty(),
        ENDPOINT => request.endpoint.is_empty(),
        USER => request.user.is_empty(),
        _ => !is_ours(bare),
    };
    if free {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("{TAKEN}{name}"))
    }
}

fn is_ours(name: &str) -> bool {
    // Most fields of users begin otherwise, so this is one comparison.
    matches!(
        name.as_bytes().first(),
        Some(b't' | b's' | b'b' | b'o' | b'l' | b'p' | b'c' | b'e')
    ) && ALL.contains(&name)
}
