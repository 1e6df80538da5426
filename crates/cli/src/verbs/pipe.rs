//! `logboom pipe`: a program's output, in any language, as the records of a rotated log.

use std::ffi::OsString;
use std::path::PathBuf;

use logboom::Severity;

use crate::exit::{Ending, Failure};
use crate::piping::settings::{self, Flags};
use crate::piping::{Linger, Long, Plan, Stamp, run as pump};
use crate::viewing::levels;

const EXAMPLES: &str = "\
Examples:
  logboom pipe --file app.log -- ./server --port 8080
  ./report.sh 2>&1 | logboom pipe --file report.log --size 10MB --keep-count 5
  logboom pipe --file app.log --when midnight --compress zstd --keep-age '14 days' -- node app.js
  logboom pipe --file app.log --format json --component shop -- java -jar shop.jar
  logboom pipe --file app.log --ship relp://logs.example.com:2514 -- ./server
  logboom pipe --file cron.log --stamp local -- backup --nightly

Each line is one record, and no record is torn: any number of these commands, and programs that log
with logboom, may share one log. With raw, the default, the bytes stay as they are; text, json and
logfmt add time, level, component, process and stream, and write what is no UTF-8 as \\xff. What
logboom.toml says of [files.main] and [ship.NAME] holds, and flags are over it.

TERM, INT, HUP, QUIT, USR1, USR2 and WINCH are passed on to the command; reading ends when it has
ended and its output is at its end. Without a command, a signal ends reading behind the last line
that is there. When the log takes nothing (a full disk), first the queue is filled, and then the
writers wait, or with --drop lose lines.

Exit codes:
  the command's own; 128 and the signal's number if one ended it; 126 or 127 if it cannot be started
  0  without a command: everything read is published
  1  without a command: lines were dropped
  2  wrong usage
  3  could not begin: the log cannot be opened, or the configuration is wrong";

/// The shortest limit of a line: marks must not be longer than what they stand for.
const LINE_BYTES_LEAST: u64 = 128;
/// The longest: eight times this is what a record can hold.
const LINE_BYTES_MOST: u64 = 1 << 20;

/// Write a command's output, or standard input, to a log that is rotated and shared safely.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "logboom pipe [OPTIONS] -- COMMAND [ARGS]...\n       COMMAND | logboom pipe [OPTIONS]")]
pub struct Args {
    #[command(flatten)]
    records: Records,
    #[command(flatten)]
    flags: Flags,
    /// The command to run, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
struct Records {
    /// How records look [default: what logboom.toml says, else raw]
    #[arg(long, value_name = "FORMAT", value_parser = ["raw", "text", "json", "logfmt"])]
    format: Option<String>,
    /// The time before a raw line
    #[arg(long, value_enum, default_value = "none")]
    stamp: Stamp,
    /// Write control characters in a raw line as \x1b
    #[arg(long)]
    escape: bool,
    /// The component of the records [default: the command's name, or stdin]
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    /// The level of what is printed
    #[arg(long, default_value = "info", value_parser = levels::parse)]
    level: Severity,
    /// The level of what is printed to standard error
    #[arg(long, value_name = "LEVEL", default_value = "warning", value_parser = levels::parse)]
    stderr_level: Severity,
    /// The longest line, 128 B to 1 MiB
    #[arg(long, value_name = "BYTES", default_value = "128 KiB", value_parser = line_bytes)]
    line_max: usize,
    /// What becomes of a longer line
    #[arg(long, value_enum, default_value = "cut")]
    long: Long,
    /// Write everything to standard output and standard error, too
    #[arg(long)]
    tee: bool,
    /// How long to read on when the command has ended but others keep its output open: a span, 0, or ever
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    linger: Linger,
    /// The configuration file [default: logboom.toml in this directory, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Pipes until the command, or the input, ends.
///
/// # Errors
/// The flags or the configuration are wrong, the log cannot be opened, or the command not be started.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let Records {
        format,
        stamp,
        escape,
        component,
        level,
        stderr_level,
        line_max,
        long,
        tee,
        linger,
        config,
    } = args.records;
    let settings = settings::read(config.as_deref(), &args.flags)?;
    let for_raw = stamp != Stamp::None || escape;
    let format = match format.as_deref().map(settings::format_of) {
        Some(Some(_)) if for_raw => {
            return Err(Failure::usage(
                "failed to use --stamp or --escape with this --format: they are for raw lines, the formats do both anyway",
            ));
        }
        Some(format) => format,
        None if for_raw => None,
        None => settings.format,
    };
    pump(Plan {
        settings,
        format,
        stamp,
        escape,
        component,
        severities: [level, stderr_level],
        lines: (line_max, long),
        tee,
        linger,
        command: args.command,
    })
}

fn line_bytes(text: &str) -> Result<usize, String> {
    let bytes = logboom_config::size(text).ok();
    bytes
        .filter(|bytes| (LINE_BYTES_LEAST..=LINE_BYTES_MOST).contains(bytes))
        .map(|bytes| bytes as usize)
        .ok_or_else(|| "write 128 B to 1 MiB, such as 64 KiB".into())
}
