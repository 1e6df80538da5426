//! What kind of log it is to be: `[files.main]` of the configuration, with this command's flags over it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use logboom::format::redact::{Names, REDACTED, Redact};
use logboom::format::{Encoder, Format};
use logboom::{Compress, Durability, LogOptions, OnFull, Schedule, When};
use logboom_config::{Effective, Patterns, Problem, Source, Value};

use crate::exit::Failure;

/// Where the keys of the log stand.
const MAIN: &str = "files.main.";
/// The destination of `--ship`.
const SHIP: &str = "ship.pipe.to";

/// The flags of the log itself: each is a key of `[files.main]`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The log (each is a key of [files.main] in logboom.toml)")]
pub(crate) struct Flags {
    /// The log file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Rotate when a record would bring the file to this size
    #[arg(long, value_name = "BYTES")]
    size: Option<String>,
    /// Rotate by time: S, M, H, D, midnight, W0 (Monday) to W6
    #[arg(long, value_name = "WHEN")]
    when: Option<String>,
    /// Each so many units of --when
    #[arg(long, value_name = "N")]
    interval: Option<String>,
    /// Time of day for midnight and W0 to W6
    #[arg(long, value_name = "HH:MM")]
    at: Option<String>,
    /// Days begin in UTC
    #[arg(long)]
    utc: bool,
    /// strftime format behind the names of archives
    #[arg(long, value_name = "FORMAT")]
    suffix: Option<String>,
    /// How many archives are kept [default: 10]
    #[arg(long, value_name = "N")]
    keep_count: Option<String>,
    /// Delete archives older than this
    #[arg(long, value_name = "TIME")]
    keep_age: Option<String>,
    /// Delete the oldest archives while all files together are longer than this
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<String>,
    /// Compress archives: gzip or zstd
    #[arg(long, value_name = "METHOD")]
    compress: Option<String>,
    /// kernel, or disk: each batch is synced before more is read
    #[arg(long, value_name = "WHERE")]
    durability: Option<String>,
    /// End each record with its ledger id, for `logboom verify`
    #[arg(long)]
    ledger_ids: bool,
    /// Permissions of a file that is created, such as 0640
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Where the shared state lies: a directory, or `beside` the log
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Ship each record to this address, too, such as relp://logs.example.com:2514
    #[arg(long, value_name = "ADDRESS", help_heading = "Shipping")]
    ship: Option<String>,
    /// Never hold the writers up: what the log does not take is dropped, counted, and said in the log
    #[arg(long)]
    drop: bool,
}

impl Flags {
    /// What was said, by key.
    fn said(&self) -> Result<BTreeMap<String, String>, Failure> {
        let file = self.file.as_ref().map(|path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| {
                Failure::usage(format!(
                    "failed to use the file `{}`: its name is not UTF-8; rename it",
                    path.display()
                ))
            })
        });
        let word = |said: bool, word: &str| said.then(|| word.to_owned());
        let values = [
            ("path", file.transpose()?),
            ("rotate.size", self.size.clone()),
            ("rotate.when", self.when.clone()),
            ("rotate.interval", self.interval.clone()),
            ("rotate.at", self.at.clone()),
            ("rotate.utc", word(self.utc, "true")),
            ("rotate.suffix", self.suffix.clone()),
            ("keep.count", self.keep_count.clone()),
            ("keep.age", self.keep_age.clone()),
            ("keep.bytes", self.keep_bytes.clone()),
            ("compress", self.compress.clone()),
            ("durability", self.durability.clone()),
            ("ledger_ids", word(self.ledger_ids, "true")),
            ("mode", self.mode.clone()),
            ("state_dir", self.state_dir.clone()),
            ("on_full", word(self.drop, "drop")),
        ];
        let said = values.into_iter();
        let said = said.filter_map(|(key, value)| Some((format!("{MAIN}{key}"), value?)));
        let ship = self.ship.clone().map(|address| (SHIP.to_owned(), address));
        Ok(said.chain(ship).collect())
    }
}

/// The flag that stands for a key below `files.main`.
fn flag_of(key: &str) -> String {
    let name = match key {
        "path" => "file",
        "on_full" => "drop",
        key => key.strip_prefix("rotate.").unwrap_or(key),
    };
    format!("--{}", name.replace(['.', '_'], "-"))
}

/// What kind of log it is to be.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where the log is.
    pub(crate) path: PathBuf,
    /// How it is written, rotated and kept.
    pub(crate) options: LogOptions,
    /// The format of its records; None: nobody said.
    pub(crate) format: Option<Format>,
    /// Times in text are UTC.
    utc: bool,
    /// What must not be written, in the formats.
    redaction: Option<Arc<Redaction>>,
    /// All of it, for the destinations.
    pub(crate) effective: Effective,
}

impl Settings {
    /// An encoder for this format, with everything else as it is configured.
    pub(crate) fn encoder(&self, format: Format) -> Encoder {
        let redact = self.redaction.clone().map(|redaction| redaction as Arc<_>);
        Encoder::new(format).utc(self.utc).redact(redact)
    }
}

/// Reads the configuration (a file that is named, else `logboom.toml` here) with the flags over it.
///
/// # Errors
/// A flag or the configuration is wrong, or no file is named anywhere.
pub(crate) fn read(config: Option<&Path>, flags: &Flags) -> Result<Settings, Failure> {
    let env: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let effective =
        logboom_config::load(config, &env, &flags.said()?).map_err(|problems| refuse(&problems))?;
    settings_of(&effective)
}

/// The first mistake, in the words of the command line if it was made there.
fn refuse(problems: &[Problem]) -> Failure {
    let of_flag = |problem: &&Problem| problem.file == "flags";
    if let Some(problem) = problems.iter().find(of_flag) {
        let key = problem.key.as_str();
        let name = match key.strip_prefix(MAIN) {
            Some(key) => flag_of(key),
            None if key == SHIP => "--ship".to_owned(),
            None => key.to_owned(),
        };
        return Failure::usage(format!("`{name}` {}; {}", problem.text, problem.remedy));
    }
    let first = problems.first().map(Problem::to_string);
    Failure::could_not_run(format!(
        "failed to use the configuration: {} (`logboom check` shows all of it)",
        first.unwrap_or_default()
    ))
}

fn settings_of(effective: &Effective) -> Result<Settings, Failure> {
    let path = text(effective, "path").unwrap_or_default();
    if path == "-" || path.is_empty() {
        return Err(Failure::usage(
            "failed to choose a log: name it with --file, or as files.main.path in logboom.toml",
        ));
    }
    Ok(Settings {
        path: path.into(),
        options: options(effective)?,
        format: format(effective),
        utc: effective.value("format.utc") == Some(&Value::Bool(true)),
        redaction: Redaction::of(effective)?.map(Arc::new),
        effective: effective.clone(),
    })
}

fn options(effective: &Effective) -> Result<LogOptions, Failure> {
    let number = |key: &str| match value(effective, key) {
        Some(Value::Bytes(number) | Value::Count(number)) => *number,
        _ => 0,
    };
    let yes = |key: &str| matches!(value(effective, key), Some(Value::Bool(true)));
    let seconds = |key: &str| match value(effective, key) {
        Some(Value::Seconds(seconds)) => *seconds,
        _ => 0.0,
    };
    let word = |key: &str| text(effective, key).unwrap_or_default();
    Ok(LogOptions {
        max_bytes: number("rotate.size"),
        backup_count: number("keep.count") as u32,
        schedule: schedule(effective, number("rotate.interval"), yes("rotate.utc"))?,
        suffix: text(effective, "rotate.suffix"),
        compress: match word("compress").as_str() {
            "gzip" => Compress::Gzip,
            "zstd" => Compress::Zstd,
            _ => Compress::None,
        },
        // A part of a second still means "older than that".
        keep_age_s: seconds("keep.age").ceil() as u64,
        keep_bytes: number("keep.bytes"),
        durability: match word("durability").as_str() {
            "disk" => Durability::Disk,
            _ => Durability::Kernel,
        },
        watch: yes("watch"),
        ledger_ids: yes("ledger_ids"),
        state_dir: word("state_dir").as_str().into(),
        on_full: match word("on_full").as_str() {
            "drop" => OnFull::Drop,
            _ => OnFull::Block,
        },
        on_full_wait_ms: (seconds("on_full_wait") * 1e3) as u64,
        queue_bytes: number("queue_bytes"),
        create_mode: match value(effective, "mode") {
            Some(Value::Mode(mode)) => Some(*mode),
            _ => None,
        },
        ..LogOptions::default()
    })
}

fn schedule(effective: &Effective, interval: u64, utc: bool) -> Result<Option<Schedule>, Failure> {
    let Some(when) = text(effective, "rotate.when") else {
        return Ok(None);
    };
    let when = When::from_str(&when).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(Schedule {
        when,
        interval: interval as u32,
        at_time_s: match value(effective, "rotate.at") {
            Some(Value::TimeOfDay(seconds)) => Some(*seconds),
            _ => None,
        },
        utc,
    }))
}

/// The format that the configuration asks for. A default is nobody's wish.
fn format(effective: &Effective) -> Option<Format> {
    let said = |key: &str| {
        let entry = effective
            .entries
            .iter()
            .find(|entry| entry.key.to_string() == key);
        let entry = entry.filter(|entry| entry.source != Source::Default)?;
        match &entry.value {
            Value::Text(word) if word != "default" => format_of(word),
            _ => None,
        }
    };
    said("files.main.format").or_else(|| said("format.kind"))
}

/// What `[redact]` says: names of fields, and patterns.
#[derive(Debug)]
struct Redaction {
    names: Names,
    patterns: Patterns,
}

impl Redaction {
    fn of(effective: &Effective) -> Result<Option<Redaction>, Failure> {
        let texts = |key: &str| match effective.value(key) {
            Some(Value::Texts(texts)) => &texts[..],
            _ => &[],
        };
        let names = Names::new(texts("redact.names").iter().map(String::as_str));
        let patterns = Patterns::new(texts("redact.patterns")).map_err(|why| {
            Failure::could_not_run(format!("failed to use redact.patterns: {why}"))
        })?;
        let is_empty = names.is_empty() && patterns.is_empty();
        Ok((!is_empty).then_some(Redaction { names, patterns }))
    }
}

impl Redact for Redaction {
    fn name(&self, field: &str) -> bool {
        self.names.matches(field)
    }

    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.patterns.hide_in(self.names.hide_in(text), REDACTED)
    }
}

/// The format of this name.
pub(crate) fn format_of(name: &str) -> Option<Format> {
    match name {
        "text" => Some(Format::Text { colour: false }),
        "json" => Some(Format::Json),
        "logfmt" => Some(Format::Logfmt),
        _ => None,
    }
}

fn value<'e>(effective: &'e Effective, key: &str) -> Option<&'e Value> {
    effective.value(&format!("{MAIN}{key}"))
}

fn text(effective: &Effective, key: &str) -> Option<String> {
    match value(effective, key) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}
