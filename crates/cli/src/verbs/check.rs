//! `logboom check`: reads the configuration as a program would, says what is wrong, or what is in force and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use logboom_config::{Effective, Entry, Problem, Source, Value};
use logboom_relay::sink;
use serde_json::json;

use crate::exit::{Ending, Failure};
use crate::terminal::{BAD, GOOD, HEADING, NOTE};

const EXAMPLES: &str = "\
Examples:
  logboom check                          what a program started here would get
  logboom check /etc/shop/logboom.toml
  LOGBOOM_LEVEL=debug logboom check --set files.main.path=- --changed
  logboom check --connect                also tries to connect to each destination
  logboom check --json | jq '.values.\"files.main.path\"'

Without FILE it is the file that LOGBOOM_CONFIG names, else logboom.toml in this directory, else
the defaults. Environment variables (LOGBOOM_LEVEL ...) are read over it, --set over those.

The fields of --json (they stay; others may be added):
  version     1
  file        the path that was read, or null
  problems[]  file, line (or null), key, text, remedy
  notes[]     the same
  values      dotted key: value; bytes, seconds and levels as numbers, null for what is off
  sources     dotted key: default, FILE:LINE, environment VARIABLE, or the flag

Exit codes:
  0  the configuration is right
  1  it has mistakes, or a destination cannot be reached; each is printed with its file and line, its key and what to write
  2  wrong usage
  3  the file cannot be read";

/// Check a logboom.toml, and show what is in force and where each value came from.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file
    file: Option<PathBuf>,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
    /// Try to connect to each destination of [ship.NAME], sending nothing
    #[arg(long, conflicts_with = "json")]
    connect: bool,
    /// Show only what is not a default
    #[arg(long)]
    changed: bool,
    /// A value over file and environment, as a server's flag would be; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

/// Checks, and prints.
///
/// # Errors
/// The file cannot be read.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let env: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let flags = args.set.into_iter().collect();
    let loaded = logboom_config::load(args.file.as_deref(), &env, &flags);
    if let Some(unreadable) = loaded.as_ref().err().and_then(|problems| {
        problems
            .iter()
            .find(|problem| problem.line.is_none() && problem.key.is_empty())
    }) {
        return Err(Failure::could_not_run(unreadable.to_string()));
    }
    match &loaded {
        _ if args.json => anstream::println!("{:#}", json_of(&loaded)),
        Ok(effective) => anstream::print!("{}", text_of(effective, args.changed)),
        Err(problems) => {
            for problem in problems {
                anstream::println!("{BAD}wrong:{BAD:#} {problem}");
            }
        }
    }
    let reached = match &loaded {
        Ok(effective) if args.connect => connect(effective)?,
        _ => true,
    };
    Ok(if loaded.is_ok() && reached {
        Ending::Fine
    } else {
        Ending::FoundWrong
    })
}

/// Connects to each destination, and says how that went. True: all can be reached.
fn connect(effective: &Effective) -> Result<bool, Failure> {
    let plans = logboom_relay::plan::plans(effective).map_err(Failure::could_not_run)?;
    anstream::println!();
    let mut reached = true;
    for plan in plans {
        let destination = &plan.destination;
        let tried = sink::make(destination).and_then(|mut sink| {
            sink.connect()?;
            sink.close();
            Ok(())
        });
        let (name, to) = (&destination.name, &destination.address);
        match tried {
            Ok(()) => anstream::println!("{GOOD}reached:{GOOD:#} `{name}` ({to})"),
            Err(trouble) => {
                reached = false;
                anstream::println!("{BAD}not reached:{BAD:#} `{name}` ({to}): {}", trouble.text);
            }
        }
    }
    Ok(reached)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write a key, `=` and a value, such as level=debug")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// The configuration as it could be written down, with the source of each value.
fn text_of(effective: &Effective, changed_only: bool) -> String {
    let mut text = String::new();
    let read = effective.file.as_ref().map_or_else(
        || "no logboom.toml, so these are defaults and what the environment says".into(),
        |file| file.display().to_string(),
    );
    let _ = writeln!(text, "{GOOD}right:{GOOD:#} {read}");
    for note in &effective.notes {
        let _ = writeln!(text, "{NOTE}note:{NOTE:#} {note}");
    }
    let shown = |entry: &&Entry| !changed_only || entry.source != Source::Default;
    let entries: Vec<_> = effective.entries.iter().filter(shown).collect();
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| (entry, format!("{} = {}", entry.key, entry.value)))
        .collect();
    let width = lines
        .iter()
        .map(|(_, line)| line.chars().count())
        .filter(|width| *width <= 60)
        .max()
        .unwrap_or(0);
    let mut section = "";
    for (entry, line) in &lines {
        let top = entry.key.0.first().map_or("", String::as_str);
        if top != section {
            section = top;
            text.push('\n');
        }
        match &entry.source {
            Source::Default => {
                let _ = writeln!(text, "{line:width$}  # default");
            }
            source => {
                let _ = writeln!(text, "{line:width$}  {HEADING}# {source}{HEADING:#}");
            }
        }
    }
    text
}

fn json_of(loaded: &Result<Effective, Vec<Problem>>) -> serde_json::Value {
    let problem = |problem: &Problem| {
        json!({
            "file": problem.file, "line": problem.line, "key": problem.key,
            "text": problem.text, "remedy": problem.remedy,
        })
    };
    let problems: Vec<_> = loaded
        .as_ref()
        .err()
        .into_iter()
        .flatten()
        .map(problem)
        .collect();
    let effective = loaded.as_ref().ok();
    let entries = || effective.iter().flat_map(|effective| &effective.entries);
    let values: serde_json::Map<_, _> = entries()
        .map(|entry| (entry.key.to_string(), json_value(&entry.value)))
        .collect();
    let sources: BTreeMap<_, _> = entries()
        .map(|entry| (entry.key.to_string(), entry.source.to_string()))
        .collect();
    let notes = effective.iter().flat_map(|effective| &effective.notes);
    json!({
        "version": 1,
        "file": effective.and_then(|effective| effective.file.as_ref()),
        "problems": problems,
        "notes": notes.map(problem).collect::<Vec<_>>(),
        "values": values,
        "sources": sources,
    })
}

fn json_value(value: &Value) -> serde_json::Value {
    match value {
        Value::None(_) => serde_json::Value::Null,
        Value::Bool(yes) => json!(yes),
        Value::Count(number) | Value::Bytes(number) => json!(number),
        Value::Seconds(seconds) => json!(seconds),
        Value::Level(level) => json!(level),
        Value::TimeOfDay(number) | Value::Mode(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Texts(texts) => json!(texts),
    }
}
