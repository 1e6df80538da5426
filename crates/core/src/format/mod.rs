//! From a record to its line: text for people, JSON lines, logfmt.
//!
//! Values in, bytes out: no file, no clock, no Python. What always holds, whatever a record contains:
//!
//! - One record is one line that ends with `\n`; only the text format adds further lines, for a traceback and a stack,
//!   and each of those begins with four spaces.
//! - No value can pass for a field or a record: line breaks, control characters and the characters that reorder text are
//!   written out as digits, what could end a value is quoted, and a field whose name is already taken gets another one.
//! - Nothing panics and nothing fails. What is too long, too deep or too much is cut, and says so with `[logboom: ...]`.
//! - An encoded record is never longer than [`Encoder::record_bytes_max`] said.
//!
//! `docs/formats.md` tells users what each format looks like and where the names of the fields come from.

mod budget;
mod json;
mod logfmt;
mod names;
mod number;
mod pairs;
pub mod redact;
mod scan;
mod stamp;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use crate::files::schedule::Zone;
use crate::options::Severity;

use budget::Budget;
pub use redact::Redact;
pub use stamp::{push_rfc3339, push_text as push_text_time};

/// What a record looks like when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned text for people. With `colour`, the level is coloured by escape sequences, and nothing else.
    Text {
        /// Whether the level is coloured.
        colour: bool,
    },
    /// One JSON object per line.
    Json,
    /// One line of `name=value` pairs.
    Logfmt,
}

/// The value of a field, with its type.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value<'a> {
    /// Nothing: Python's `None`.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that may be too large for [`Value::Int`].
    Uint(u64),
    /// A number; what JSON has no number for (NaN, infinities) is written as text.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Several values.
    List(Vec<Value<'a>>),
    /// Named values, in this order.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// The request a record belongs to; an empty text is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request<'a> {
    /// The id that all records of the request have.
    pub id: &'a str,
    /// `GET`, `POST` ...
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The address of the client.
    pub client: &'a str,
    /// The route or view that answers.
    pub endpoint: &'a str,
    /// Who is logged in.
    pub user: &'a str,
    /// W3C trace context: 32 hexadecimal digits.
    pub trace_id: &'a str,
    /// W3C trace context: 16 hexadecimal digits.
    pub span_id: &'a str,
}

/// The exception a record tells of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exception<'a> {
    /// Its class, with the module; empty is unknown.
    pub type_name: Cow<'a, str>,
    /// What it says; empty is unknown.
    pub message: Cow<'a, str>,
    /// The traceback, several lines.
    pub traceback: Cow<'a, str>,
}

/// One record, before it is a line. Everything may be left at its default, and is not written then.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// Nanoseconds since 1970, UTC.
    pub time_ns: u64,
    /// How severe it is, as a number.
    pub severity: Severity,
    /// The level as its owner calls it: `INFO`.
    pub level: &'a str,
    /// The logger's name.
    pub component: &'a str,
    /// What happened, arguments filled in.
    pub message: Cow<'a, str>,
    /// The message before its arguments were filled in.
    pub template: &'a str,
    /// Process id.
    pub process: Option<u32>,
    /// Name of the process; `MainProcess`, Python's default, is not written.
    pub process_name: &'a str,
    /// Thread id.
    pub thread: Option<u64>,
    /// Name of the thread.
    pub thread_name: &'a str,
    /// Path of the source file.
    pub file: &'a str,
    /// Line in the source file; 0 is unknown.
    pub line: u32,
    /// The function that logged.
    pub function: &'a str,
    /// The request it belongs to.
    pub request: Request<'a>,
    /// Further fields. A name that is already taken is changed; of two with the same name the first counts.
    pub fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The exception it tells of.
    pub exception: Option<Exception<'a>>,
    /// The stack at which it was logged, several lines.
    pub stack: Cow<'a, str>,
}

impl Default for Record<'_> {
    fn default() -> Self {
        Record {
            time_ns: 0,
            severity: Severity(0),
            level: "",
            component: "",
            message: Cow::Borrowed(""),
            template: "",
            process: None,
            process_name: "",
            thread: None,
            thread_name: "",
            file: "",
            line: 0,
            function: "",
            request: Request::default(),
            fields: Vec::new(),
            exception: None,
            stack: Cow::Borrowed(""),
        }
    }
}

/// The smallest length that a record can be limited to.
pub const RECORD_BYTES_LEAST: usize = 16 << 10;

/// How long a record gets at most unless told otherwise: half of what a queue of 1 MiB takes at once.
pub const RECORD_BYTES_MAX: usize = 128 << 10;

/// Turns records into lines. A clone shares what it has been given.
#[derive(Clone)]
pub struct Encoder {
    format: Format,
    redact: Option<Arc<dyn Redact>>,
    /// Those of our own names that `redact` hides.
    hidden: Arc<[&'static str]>,
    record_bytes_max: usize,
    zone: Option<Zone>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Encoder");
        shown.field("format", &self.format).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder that redacts nothing and, in text, tells the local time.
    pub fn new(format: Format) -> Encoder {
        Encoder {
            format,
            redact: None,
            hidden: Arc::new([]),
            record_bytes_max: RECORD_BYTES_MAX,
            zone: None,
        }
        .utc(false)
    }

    /// Text tells UTC instead of local time. JSON and logfmt always do.
    #[must_use]
    pub fn utc(mut self, utc: bool) -> Encoder {
        let local = matches!(self.format, Format::Text { .. }) && !utc;
        self.zone = local.then(Zone::system);
        self
    }

    /// The same in another format.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Encoder {
        self.format = format;
        self
    }

    /// What must not leave the process.
    #[must_use]
    pub fn redact(mut self, redact: Option<Arc<dyn Redact>>) -> Encoder {
        self.hidden = match &redact {
            Some(redact) => names::HIDEABLE
                .iter()
                .copied()
                .filter(|name| redact.name(name))
                .collect(),
            None => Arc::new([]),
        };
        self.redact = redact;
        self
    }

    /// The most bytes that a record takes, its line end included; at least [`RECORD_BYTES_LEAST`].
    #[must_use]
    pub fn record_bytes_max(mut self, bytes: usize) -> Encoder {
        self.record_bytes_max = bytes.max(RECORD_BYTES_LEAST);
        self
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Appends the record to `out` as one line with its `\n` (and, in text, its indented lines).
    pub fn encode(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        self.encode_within(record, self.record_bytes_max, out);
        if out.len() - start > self.record_bytes_max {
            // Values that grow when they are escaped. No byte becomes more than seven, see `budget`.
            out.truncate(start);
            self.encode_within(record, self.record_bytes_max / budget::GROWTH_MAX, out);
        }
    }

    /// The record as one line of its own, see [`Encoder::encode`].
    pub fn line(&self, record: &Record<'_>) -> Vec<u8> {
        let mut line = Vec::new();
        self.encode(record, &mut line);
        line
    }

    /// A text without what must not leave the process, for lines that somebody else made.
    pub fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.redact {
            Some(redact) => redact.text(text),
            None => Cow::Borrowed(text),
        }
    }

    fn encode_within(&self, record: &Record<'_>, bytes: usize, out: &mut Vec<u8>) {
        let mut budget = Budget::new(bytes, self, record);
        match self.format {
            Format::Text { colour } => {
                text::encode(record, colour, self.zone.as_ref(), &mut budget, out);
            }
            Format::Json => json::encode(record, &mut budget, out),
            Format::Logfmt => logfmt::encode(record, &mut budget, out),
        }
        out.push(b'\n');
    }
}
