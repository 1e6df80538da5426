//! Records as they are shown: the lines of the log, JSON, or a compact form.
//!
//! What always holds: nothing in a record is obeyed by a terminal or passes for a record of its own. In text, control
//! characters are written out and every further line of a record is indented; in JSON, they are JSON's escapes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};
use logboom::files::escape::escape;
use logboom::format::{Encoder, Exception, Format, Record, Request, Value as Field};
use logboom::viewer::Seen;
use logboom::{Recorded, Severity};
use serde_json::{Map, Value, json};

use super::levels;
use super::seen::Look;
use crate::terminal::{BAD, NOTE};

const INDENT: &str = "    ";

/// The forms, as options of a command line.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Forms {
    /// Write each record as one JSON object a line
    #[arg(long, conflicts_with = "compact")]
    json: bool,
    /// Write one short line for each record
    #[arg(long)]
    compact: bool,
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
    Compact,
}

impl Forms {
    pub(crate) fn form(self) -> Form {
        match (self.json, self.compact) {
            (true, _) => Form::Json,
            (_, true) => Form::Compact,
            _ => Form::Text,
        }
    }
}

/// Writes records to standard output.
pub(crate) struct Printer {
    form: Form,
    encoder: Encoder,
    pub(crate) shown: u64,
}

impl Printer {
    pub(crate) fn new(form: Form) -> Printer {
        Printer {
            form,
            encoder: Encoder::new(Format::Text { colour: true }),
            shown: 0,
        }
    }

    /// Writes them at once. False: nobody reads any more (a pipe was closed).
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn print(&mut self, records: &[Seen]) -> io::Result<bool> {
        if records.is_empty() {
            return Ok(true);
        }
        let mut text = String::new();
        for seen in records {
            self.push(&mut text, &Look::of(seen));
        }
        self.shown += records.len() as u64;
        let written = match self.form {
            // No colours are in it, and its bytes are for programs.
            Form::Json => write_all(io::stdout().lock(), &text),
            _ => write_all(anstream::stdout().lock(), &text),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn push(&self, text: &mut String, record: &Look<'_>) {
        match self.form {
            Form::Json => push_json(text, record),
            Form::Compact => push_compact(text, record),
            Form::Text if record.is_json_line() => self.push_fields(text, record),
            Form::Text => push_line(text, &record.seen.record.line),
        }
    }

    /// A record that has only fields, as the text formatter writes it.
    fn push_fields(&self, text: &mut String, record: &Look<'_>) {
        let Some(fields) = record.fields() else {
            return;
        };
        let mut line = Vec::new();
        self.encoder
            .encode(&record_of(record.seen, fields), &mut line);
        text.push_str(&String::from_utf8_lossy(&line));
    }
}

fn write_all(mut out: impl io::Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A finished line; what stands behind its first line is indented, if it is not yet.
fn push_line(text: &mut String, line: &str) {
    for (index, part) in line.trim_end().split('\n').enumerate() {
        if index > 0 && !part.starts_with(INDENT) {
            text.push_str(INDENT);
        }
        text.push_str(&escape(part.trim_end_matches('\r'), false));
        text.push('\n');
    }
}

fn push_json(text: &mut String, record: &Look<'_>) {
    match record.object() {
        Some(object) => push_object(text, object),
        None => {
            let Recorded {
                severity,
                line,
                number,
                ..
            } = &record.seen.record;
            let made = jiff::Timestamp::from_nanosecond(i128::from(record.seen.record.time_ns));
            let mut object = json!({
                "timestamp": made.map(|made| format!("{made:.9}")).unwrap_or_default(),
                "severity_text": levels::name(*severity).to_uppercase(),
                "severity_number": severity.0,
                "otel.scope.name": record.component(),
                "body": line,
                "request_id": record.request(),
                "process.pid": record.seen.process,
                "logboom.number": number,
            });
            if let Some(fields) = object.as_object_mut() {
                fields.retain(|_, value| value != "" && value != 0);
            }
            push_object(text, &object.to_string());
        }
    }
    text.push('\n');
}

/// Valid JSON stays valid: outside of texts a control character can only be white space.
fn push_object(text: &mut String, object: &str) {
    for letter in object.chars() {
        match letter {
            '\0'..='\x1f' => text.push(' '),
            '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
}

/// `16:30:01.123 WARNING  4711 shop.payments 9f2c: paid`: the first line of the message, without fields.
fn push_compact(text: &mut String, record: &Look<'_>) {
    let seen = record.seen;
    let made =
        jiff::Timestamp::from_nanosecond(i128::from(seen.record.time_ns)).unwrap_or_default();
    let made = made.to_zoned(jiff::tz::TimeZone::system());
    let style = style_of(seen.record.severity);
    let level = levels::name(seen.record.severity).to_uppercase();
    let _ = write!(
        text,
        "{} {style}{level:<8}{style:#} {}",
        made.strftime("%H:%M:%S%.3f"),
        seen.process
    );
    for name in [record.component(), record.request()] {
        if !name.is_empty() {
            let _ = write!(text, " {}", escape(&name, false));
        }
    }
    let body = record.text("body");
    let body = body.as_deref().unwrap_or(&seen.record.line);
    let mut lines = body.trim_end().lines();
    let _ = write!(
        text,
        ": {}",
        escape(lines.next().unwrap_or_default(), false)
    );
    let more = lines.count() as u64;
    if more > 0 {
        let _ = write!(text, " (+{})", crate::words::of(more, "line"));
    }
    text.push('\n');
}

fn style_of(severity: Severity) -> Style {
    match severity.0 {
        17.. => BAD,
        13.. => NOTE,
        9.. => Style::new(),
        _ => AnsiColor::Cyan.on_default(),
    }
}

/// The fields of a JSON line as a record that can be written in another format.
fn record_of<'a>(seen: &'a Seen, fields: &'a Map<String, Value>) -> Record<'a> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let trace = Exception {
        type_name: Cow::Borrowed(text("exception.type")),
        message: Cow::Borrowed(text("exception.message")),
        traceback: Cow::Borrowed(text("exception.stacktrace")),
    };
    let level = match text("severity_text") {
        "" => levels::name(seen.record.severity),
        told => told,
    };
    let others = fields
        .iter()
        .filter(|(name, _)| !OURS.contains(&name.as_str()));
    Record {
        time_ns: seen.record.time_ns,
        severity: seen.record.severity,
        level,
        component: text("otel.scope.name"),
        message: Cow::Borrowed(text("body")),
        process: Some(seen.process),
        request: Request {
            id: text("request_id"),
            ..Request::default()
        },
        fields: others
            .map(|(name, value)| (Cow::Borrowed(name.as_str()), field(value)))
            .collect(),
        exception: (!trace.traceback.is_empty()).then_some(trace),
        stack: Cow::Borrowed(text("code.stacktrace")),
        ..Record::default()
    }
}

/// Names of a record that the text form has another place for, or does not show.
const OURS: [&str; 25] = [
    "timestamp",
    "severity_text",
    "severity_number",
    "body",
    "otel.scope.name",
    "log.record.template",
    "request_id",
    "trace_id",
    "span_id",
    "http.request.method",
    "url.path",
    "client.address",
    "http.route",
    "user.id",
    "process.pid",
    "process.name",
    "thread.id",
    "thread.name",
    "code.file.path",
    "code.line.number",
    "code.function.name",
    "code.stacktrace",
    "exception.type",
    "exception.message",
    "exception.stacktrace",
];

fn field(value: &Value) -> Field<'_> {
    match value {
        Value::Null => Field::Null,
        Value::Bool(is) => Field::Bool(*is),
        Value::String(text) => Field::Text(Cow::Borrowed(text)),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => Field::Int(whole),
            (_, Some(whole), _) => Field::Uint(whole),
            (.., float) => Field::Float(float.unwrap_or(f64::NAN)),
        },
        Value::Array(_) | Value::Object(_) => Field::Text(Cow::Owned(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewing::seen::tests::seen;

    fn printed(form: Form, record: &Seen) -> String {
        let mut text = String::new();
        Printer::new(form).push(&mut text, &Look::of(record));
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn nothing_in_a_record_is_obeyed() {
        let evil = "paid \x1b[2J\u{9b}31m\u{202e}\nforged\n    indented\r";
        let text = printed(Form::Text, &seen("a\x1bb", "", evil));
        assert_eq!(
            text,
            "paid \\x1b[2J\\x9b31m\\u202e\n    forged\n    indented\n"
        );

        let compact = printed(Form::Compact, &seen("a\x1bb", "", evil));
        assert!(
            compact.ends_with(
                " INFO     7 shop.db a\\x1bb: paid \\x1b[2J\\x9b31m\\u202e (+2 lines)\n"
            ),
            "{compact}"
        );

        let json = printed(Form::Json, &seen("a\x1bb", "", evil));
        assert!(
            json.bytes().filter(|byte| *byte == b'\n').count() == 1 && !json.contains('\u{9b}'),
            "{json}"
        );
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&read["body"], &read["request_id"]),
            (&evil.into(), &"a\x1bb".into())
        );
        assert_eq!(read["timestamp"], "2001-09-09T01:46:40.123456789Z");
    }

    #[test]
    fn an_object_stays_what_its_program_wrote() {
        let object = "{\"z\":1.50,\n\"a\":\"\u{85}\"}";
        assert_eq!(
            printed(Form::Json, &seen("", object, "x")),
            "{\"z\":1.50, \"a\":\"\\u0085\"}\n"
        );
    }

    #[test]
    fn a_json_line_is_text_for_people() {
        let line = r#"{"timestamp":"x","severity_text":"INFO","severity_number":9,"body":"paid\u001b","order":7,"otel.scope.name":"shop","request_id":"9f2c","exception.stacktrace":"Traceback:\n  x"}"#;
        let text = printed(Form::Text, &seen("", "", line));
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(
            first.ends_with(" INFO     [7] shop: paid\\x1b | order=7 request_id=9f2c"),
            "{first}"
        );
        assert_eq!(rest, "    Traceback:\n      x\n");
        let compact = printed(Form::Compact, &seen("", "", line));
        assert!(compact.ends_with(": paid\\x1b\n"), "{compact}");
    }
}
