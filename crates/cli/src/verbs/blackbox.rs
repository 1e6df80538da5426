//! `logboom blackbox`: which workers died, how, and what they were doing. It only looks.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::exit::{Ending, Failure};
use crate::terminal::{BAD, HEADING, NOTE};
use crate::words;

const EXAMPLES: &str = "\
Examples:
  logboom blackbox /var/log/shop          the workers that died, the last one at the end
  logboom blackbox /var/log/shop last     all that is known of the last one
  logboom blackbox /var/log/shop 17       ... of number 17
  logboom blackbox --json . | jq '.deaths[].requests[].path'

The last 64 deaths are kept until the machine starts anew; each is also a record of the log, of
the component logboom.blackbox. A worker that ended by itself with no request open is not a death.

The fields of --json (they stay; others may be added): deaths[] with number, time, pid, message, how,
lived_seconds, requests[] {id, method, path, client, thread, seconds}, requests_missed, stacks,
records[] {time_unix_nano, severity_number, component, request, line}

Exit codes:
  0  shown (also: nobody died)
  2  wrong usage, or there is no death of that number
  3  there is no domain, or it cannot be read";

/// Show which workers died, how, and which requests they were serving.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A log file, or its directory
    #[arg(default_value = ".")]
    path: PathBuf,
    /// A death's number, or `last`: show all that is known of it
    #[arg(value_name = "NUMBER")]
    which: Option<Which>,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// Which death is meant.
#[derive(Debug, Clone, Copy)]
enum Which {
    Last,
    Number(u64),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Which, String> {
        match text {
            "last" => Ok(Which::Last),
            _ => text
                .parse()
                .map(Which::Number)
                .map_err(|_| "it is neither a number nor `last`".into()),
        }
    }
}

/// Lists the deaths, or shows one.
///
/// # Errors
/// There is no domain, it cannot be read, or the number is not one of the list.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let directory = crate::owner::directory_of(&args.path)?;
    let kept = logboom::status::black_boxes(&args.path)
        .map_err(|error| crate::owner::refusal(&directory, &error))?;
    let mut deaths: Vec<_> = kept.iter().map(|(number, text)| death(*number, text)).collect();
    if let Some(which) = args.which {
        deaths = vec![chosen(deaths, which)?];
    }
    if args.json {
        anstream::println!("{:#}", json!({ "deaths": deaths }));
    } else if args.which.is_some() {
        anstream::print!("{}", whole(&deaths[0]));
    } else {
        anstream::print!("{}", list(&deaths));
    }
    Ok(Ending::Fine)
}

/// A death under the names of `--json`.
fn death(number: u64, text: &str) -> Value {
    let told: Value = serde_json::from_str(text).unwrap_or_default();
    let mut death = json!({
        "number": number,
        "time": told["timestamp"],
        "pid": told["process.pid"],
        "message": told["body"],
    });
    for (name, value) in told.as_object().into_iter().flatten() {
        if let Some(name) = name.strip_prefix("blackbox.") {
            death[name] = value.clone();
        }
    }
    death
}

fn chosen(deaths: Vec<Value>, which: Which) -> Result<Value, Failure> {
    let known = match (deaths.first(), deaths.last()) {
        (Some(first), Some(last)) => format!("there are {} to {}", first["number"], last["number"]),
        _ => "nobody died yet".into(),
    };
    let found = match which {
        Which::Last => deaths.into_iter().last(),
        Which::Number(number) => deaths.into_iter().find(|death| death["number"] == number),
    };
    found.ok_or_else(|| Failure::usage(format!("failed to show that black box: {known}")))
}

fn list(deaths: &[Value]) -> String {
    if deaths.is_empty() {
        return "Nobody died.\n".into();
    }
    let mut text = format!("{HEADING}{:>6}  {:<25}  what happened{HEADING:#}\n", "number", "when");
    for death in deaths {
        let _ = writeln!(
            text,
            "{:>6}  {:<25}  {}",
            death["number"],
            when(death),
            plain(&death["message"])
        );
    }
    text.push_str("`logboom blackbox PATH NUMBER` shows one of them.\n");
    text
}

fn whole(death: &Value) -> String {
    let mut text = format!("{}  {BAD}{}{BAD:#}\n", when(death), plain(&death["message"]));
    let lived = death["lived_seconds"].as_f64().unwrap_or(0.0);
    let _ = writeln!(text, "It lived for {lived:.1} s.");
    part(&mut text, "Requests it was serving", requests(death));
    let stacks = plain(&death["stacks"]);
    part(&mut text, "Stacks", stacks.lines().map(str::to_owned).collect());
    let records = death["records"].as_array().into_iter().flatten();
    let lines = records.flat_map(|record| plain(&record["line"]).lines().map(str::to_owned).collect::<Vec<_>>());
    part(&mut text, "Its last records", lines.collect());
    text
}

fn part(text: &mut String, heading: &str, lines: Vec<String>) {
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{HEADING}{heading}{HEADING:#}");
        lines.iter().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
    }
}

fn requests(death: &Value) -> Vec<String> {
    let mut lines: Vec<_> = death["requests"].as_array().into_iter().flatten().map(|request| {
        format!(
            "{} {} for {:.1} s  {NOTE}id {}{NOTE:#}, client {}, thread {}",
            plain(&request["method"]),
            plain(&request["path"]),
            request["seconds"].as_f64().unwrap_or(0.0),
            plain(&request["id"]),
            plain(&request["client"]),
            request["thread"],
        )
    })
    .collect();
    if let Some(missed) = death["requests_missed"].as_u64().filter(|missed| *missed > 0) {
        lines.push(format!("({} in its life found no room in the table)", words::of(missed, "request")));
    }
    lines
}

/// Local time, of the UTC that a black box has.
fn when(death: &Value) -> String {
    let stamp: Option<jiff::Timestamp> = death["time"].as_str().and_then(|text| text.parse().ok());
    stamp.map_or_else(String::new, |stamp| words::time(stamp.as_second()))
}

/// Text of others, with nothing in it that a terminal obeys.
fn plain(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    logboom::files::escape::escape(text, true).into_owned()
}
