//! What a printed line looks like in the log: as it came, or as a record of one of the formats.
//!
//! What always holds: a printed line gives one record, which ends with a line feed. As it came means its very bytes, NUL and
//! what is no UTF-8 included; in everything else bytes that are no UTF-8 are written as `\xff`, and the line's end (a line feed,
//! with or without a carriage return) is not part of the text.

use std::borrow::Cow;

use logboom::Severity;
use logboom::files::escape::escape;
use logboom::files::schedule::Zone;
use logboom::format::{self, Encoder, Format, Record, Value};

use super::lines::{Extent, Line};

/// The name that OpenTelemetry's registry has for the stream of a record.
const STREAM: &str = "log.iostream";
const PART: &str = "logboom.part";
const LAST_PART: &str = "logboom.last_part";

/// Where a line was printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The command's standard output.
    Output,
    /// The command's standard error.
    Error,
    /// Our standard input: whatever the writers of the pipe lead into it.
    Input,
}

impl Stream {
    fn name(self) -> Option<&'static str> {
        match self {
            Stream::Output => Some("stdout"),
            Stream::Error => Some("stderr"),
            Stream::Input => None,
        }
    }
}

/// A line that was printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printed<'b> {
    /// What it says.
    pub(crate) line: Line<'b>,
    /// Where it was printed to.
    pub(crate) stream: Stream,
    /// When it was read, nanoseconds since 1970.
    pub(crate) time_ns: u64,
}

/// The time before a line that is written as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stamp {
    /// None.
    None,
    /// UTC with nanoseconds: 2026-11-20T16:30:01.123456789Z.
    Rfc3339,
    /// Local time with milliseconds: 2026-11-20 16:30:01.123.
    Local,
}

/// How records look.
pub(crate) enum Look {
    /// As they came.
    Raw {
        /// The time before each.
        stamp: Stamp,
        /// Control characters are written as digits.
        escape: bool,
    },
    /// In one of the formats.
    Encoded(Encoder),
}

/// Makes records of printed lines.
pub(crate) struct Form {
    look: Look,
    /// JSON of the same records, for those who need their parts.
    json: Encoder,
    /// Who prints.
    pub(crate) component: String,
    /// Their process, if that is known.
    pub(crate) process: Option<u32>,
    /// How severe what they print is.
    pub(crate) severity: Severity,
    /// The same for standard error.
    pub(crate) error_severity: Severity,
    zone: Zone,
    /// The last stamp, and its time: all lines of a read have the same.
    stamp: (u64, Vec<u8>),
}

impl Form {
    /// Records that look like this, of a component. `json`: an encoder of JSON.
    pub(crate) fn new(
        look: Look,
        json: Encoder,
        component: String,
        severities: [Severity; 2],
    ) -> Form {
        Form {
            look,
            json,
            component,
            process: None,
            severity: severities[0],
            error_severity: severities[1],
            zone: Zone::system(),
            stamp: (0, Vec::new()),
        }
    }

    /// How severe a line of this stream is.
    pub(crate) fn severity_of(&self, stream: Stream) -> Severity {
        match stream {
            Stream::Error => self.error_severity,
            Stream::Output | Stream::Input => self.severity,
        }
    }

    /// The bytes to publish: the line's own where it stays as it is, else made in `space`.
    pub(crate) fn finish<'s>(&mut self, printed: &Printed<'s>, space: &'s mut Vec<u8>) -> &'s [u8] {
        space.clear();
        match &self.look {
            Look::Raw {
                stamp: Stamp::None,
                escape: false,
            } if printed.line.extent == Extent::Whole && printed.line.bytes.ends_with(b"\n") => {
                return printed.line.bytes;
            }
            Look::Raw { stamp, escape } => {
                let (stamp, escape) = (*stamp, *escape);
                self.push_stamp(stamp, printed.time_ns, space);
                push_raw(&printed.line, escape, space);
            }
            Look::Encoded(encoder) => encoder.encode(&self.record(printed), space),
        }
        space
    }

    /// The record as JSON; empty where its line is JSON.
    pub(crate) fn json(&self, printed: &Printed<'_>) -> Vec<u8> {
        match &self.look {
            Look::Encoded(encoder) if encoder.format() == Format::Json => Vec::new(),
            _ => {
                let mut json = self.json.line(&self.record(printed));
                json.pop();
                json
            }
        }
    }

    /// The printed line as a record: for the formats, and for whoever needs its parts.
    pub(crate) fn record<'s>(&'s self, printed: &Printed<'s>) -> Record<'s> {
        let severity = self.severity_of(printed.stream);
        let mut fields = Vec::new();
        if let Some(name) = printed.stream.name() {
            fields.push((Cow::Borrowed(STREAM), Value::Text(Cow::Borrowed(name))));
        }
        let mut message = text_of(printed.line.text());
        match printed.line.extent {
            Extent::Whole => {}
            Extent::Cut { bytes_in_all } => message.to_mut().push_str(&cut_mark(bytes_in_all)),
            Extent::Part { number, last } => {
                fields.push((Cow::Borrowed(PART), Value::Uint(number.into())));
                if last {
                    fields.push((Cow::Borrowed(LAST_PART), Value::Bool(true)));
                }
            }
        }
        Record {
            time_ns: printed.time_ns,
            severity,
            level: level_name(severity),
            component: &self.component,
            message,
            process: self.process,
            fields,
            ..Record::default()
        }
    }

    /// A record of our own, in the look of the others.
    pub(crate) fn say(&mut self, text: &str, time_ns: u64, space: &mut Vec<u8>) {
        space.clear();
        match &self.look {
            Look::Raw { stamp, .. } => {
                let stamp = *stamp;
                self.push_stamp(stamp, time_ns, space);
                space.extend_from_slice(format!("[logboom: {text}]\n").as_bytes());
            }
            Look::Encoded(encoder) => encoder.encode(
                &Record {
                    time_ns,
                    severity: Severity::WARN,
                    level: level_name(Severity::WARN),
                    component: "logboom.pipe",
                    message: Cow::Borrowed(text),
                    process: Some(std::process::id()),
                    ..Record::default()
                },
                space,
            ),
        }
    }

    fn push_stamp(&mut self, stamp: Stamp, time_ns: u64, out: &mut Vec<u8>) {
        if stamp == Stamp::None {
            return;
        }
        if self.stamp.0 != time_ns {
            self.stamp.1.clear();
            match stamp {
                Stamp::Local => {
                    format::push_text_time(&mut self.stamp.1, time_ns, Some(&self.zone));
                }
                _ => format::push_rfc3339(&mut self.stamp.1, time_ns),
            }
            self.stamp.1.push(b' ');
            self.stamp.0 = time_ns;
        }
        out.extend_from_slice(&self.stamp.1);
    }
}

fn push_raw(line: &Line<'_>, escaped: bool, out: &mut Vec<u8>) {
    if escaped {
        out.extend_from_slice(escape(&text_of(line.text()), false).as_bytes());
    } else {
        out.extend_from_slice(line.bytes.strip_suffix(b"\n").unwrap_or(line.bytes));
    }
    match line.extent {
        Extent::Whole => {}
        Extent::Cut { bytes_in_all } => out.extend_from_slice(cut_mark(bytes_in_all).as_bytes()),
        Extent::Part { number, last } => {
            let last = if last { ", the last" } else { "" };
            out.extend_from_slice(format!(" [logboom: part {number}{last}]").as_bytes());
        }
    }
    out.push(b'\n');
}

fn cut_mark(bytes_in_all: u64) -> String {
    format!(" [logboom: cut, {bytes_in_all} bytes in all]")
}

/// Bytes as text; what is no UTF-8 is written as digits.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(text)
}

/// The level's name as Python has it.
fn level_name(severity: Severity) -> &'static str {
    match severity.0 {
        0 => "NOTSET",
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARNING",
        17..=20 => "ERROR",
        _ => "CRITICAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_NS: u64 = 1_795_192_201_123_456_789;

    fn form(look: Look) -> Form {
        let json = Encoder::new(Format::Json);
        let mut form = Form::new(look, json, "shop".into(), [Severity::INFO, Severity::WARN]);
        form.process = Some(4711);
        form.zone = Zone::from_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        form
    }

    fn raw(stamp: Stamp, escape: bool) -> Form {
        form(Look::Raw { stamp, escape })
    }

    fn printed(bytes: &[u8], extent: Extent) -> Printed<'_> {
        Printed {
            line: Line { bytes, extent },
            stream: Stream::Error,
            time_ns: NOON_NS,
        }
    }

    #[track_caller]
    fn check(mut form: Form, bytes: &[u8], extent: Extent, expected: &[u8]) {
        let mut space = Vec::new();
        let finished = form.finish(&printed(bytes, extent), &mut space);
        assert_eq!(
            String::from_utf8_lossy(finished),
            String::from_utf8_lossy(expected)
        );
        assert_eq!(finished, expected);
    }

    #[test]
    fn a_raw_line_keeps_its_bytes() {
        for line in [&b"a\0b\xff\xc3\r\n"[..], b"\n", b"\x1b[31mred\n"] {
            check(raw(Stamp::None, false), line, Extent::Whole, line);
        }
        check(
            raw(Stamp::None, false),
            b"no end",
            Extent::Whole,
            b"no end\n",
        );
    }

    #[test]
    fn stamps_stand_before_the_line() {
        let utc = b"2026-11-20T16:30:01.123456789Z a\r\n";
        check(raw(Stamp::Rfc3339, false), b"a\r\n", Extent::Whole, utc);
        let local = b"2026-11-20 17:30:01.123 a\n";
        check(raw(Stamp::Local, false), b"a", Extent::Whole, local);
    }

    #[test]
    fn escaped_lines_have_no_control_characters_and_no_bytes_that_are_no_text() {
        let line = b"\x1b[31m\xff\xc3\xa9\0\r\n";
        check(
            raw(Stamp::None, true),
            line,
            Extent::Whole,
            "\\x1b[31m\\xffé\\x00\n".as_bytes(),
        );
    }

    #[test]
    fn cut_and_split_lines_have_marks() {
        let cut = Extent::Cut { bytes_in_all: 99 };
        check(
            raw(Stamp::None, false),
            b"abc",
            cut,
            b"abc [logboom: cut, 99 bytes in all]\n",
        );
        let part = |number, last| Extent::Part { number, last };
        check(
            raw(Stamp::None, false),
            b"abc",
            part(1, false),
            b"abc [logboom: part 1]\n",
        );
        check(
            raw(Stamp::None, false),
            b"d\n",
            part(2, true),
            b"d [logboom: part 2, the last]\n",
        );
    }

    #[test]
    fn formats_have_time_level_component_process_and_stream() {
        let json = |text: &str| {
            format!(
                "{{\"timestamp\":\"2026-11-20T16:30:01.123456789Z\",\"severity_text\":\"WARNING\",\"severity_number\":13,\
                 \"otel.scope.name\":\"shop\",{text},\"process.pid\":4711}}\n"
            )
        };
        let encoded = |format| form(Look::Encoded(Encoder::new(format).utc(true)));
        let body = r#""body":"a\u0000\\xff","log.iostream":"stderr""#;
        check(
            encoded(Format::Json),
            b"a\0\xff\r\n",
            Extent::Whole,
            json(body).as_bytes(),
        );
        let last = Extent::Part {
            number: 3,
            last: true,
        };
        let body =
            r#""body":"a","log.iostream":"stderr","logboom.part":3,"logboom.last_part":true"#;
        check(encoded(Format::Json), b"a\n", last, json(body).as_bytes());
        let cut = Extent::Cut { bytes_in_all: 99 };
        let text = b"2026-11-20 16:30:01.123Z WARNING  [4711] shop: a [logboom: cut, 99 bytes in all] | log.iostream=stderr\n";
        check(encoded(Format::Text { colour: false }), b"a", cut, text);
        let logfmt = b"timestamp=2026-11-20T16:30:01.123456789Z severity_text=WARNING severity_number=13 otel.scope.name=shop \
            body=a log.iostream=stderr process.pid=4711\n";
        check(encoded(Format::Logfmt), b"a\n", Extent::Whole, logfmt);
    }

    #[test]
    fn what_we_say_looks_like_the_rest() {
        let mut space = Vec::new();
        raw(Stamp::Rfc3339, false).say("3 lines dropped", NOON_NS, &mut space);
        assert_eq!(
            space,
            b"2026-11-20T16:30:01.123456789Z [logboom: 3 lines dropped]\n"
        );
        form(Look::Encoded(Encoder::new(Format::Logfmt))).say("x", NOON_NS, &mut space);
        let said = String::from_utf8(space).unwrap();
        assert!(
            said.contains("otel.scope.name=logboom.pipe body=x"),
            "{said}"
        );
    }
}
