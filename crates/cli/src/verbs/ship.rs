//! `logboom ship`: ships log files of any program.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use logboom_relay::follow::{Begin, Format, Options};
use logboom_relay::stop::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{Context, Ending, Failure};
use crate::relaying::following::{self, Following};

const EXAMPLES: &str = "\
Examples:
  logboom ship /var/log/shop/app.log --to relp://logs.example.com:2514
  logboom ship access.log error.log --as central        a [ship.central] of ./logboom.toml
  logboom ship old/*.log --to tcp://logs:514 --once     what is there, then end
  logboom ship app.log --to tls://logs:6514 --set tls.ca=ca.pem --set syslog.facility=local0
  logboom ship app.log --to unix:/dev/log --from now    what comes from now on

For software that cannot be changed: each FILE is followed through rotations of any kind, rotated and
compressed files first. How far it is shipped is kept in a cursor, so that nothing is left out and
nothing sent twice when this command is started again; after a failure some lines may come again.
Lines that are logboom's JSON are taken apart into fields, all others are a message each.

Exit codes:
  0  told to end, or with --once: all is shipped
  1  the receiver refused some records for good, or not all was shipped
  2  wrong usage
  3  could not run: a file, the cursor or a certificate cannot be used";

/// Ship log files of any program, following them through rotations.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The logs, each by the path that is written to
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where to: unix:/dev/log, or udp, tcp, tls, relp, relp+tls with ://host:port
    #[arg(long, value_name = "ADDRESS", required_unless_present = "name")]
    to: Option<String>,
    /// A destination of the configuration
    #[arg(long = "as", value_name = "NAME", conflicts_with = "to")]
    name: Option<String>,
    /// The configuration; else LOGBOOM_CONFIG, else ./logboom.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A key below [ship.NAME] and its value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Where a log begins of which nothing was shipped yet
    #[arg(long, value_enum, default_value_t = From::Start)]
    from: From,
    /// What a line is
    #[arg(long, value_enum, default_value_t = Lines::Auto)]
    format: Lines,
    /// Where it is kept how far the logs are shipped; else in the user's state directory
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Forget what was shipped before
    #[arg(long)]
    anew: bool,
    /// End when all that is there is shipped
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum From {
    /// With the oldest file that is there
    Start,
    /// With the next line
    Now,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Lines {
    /// JSON of logboom where it is, else a message
    Auto,
    /// A message
    Plain,
}

/// Ships.
///
/// # Errors
/// The files, the cursor or the destination cannot be used.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let plan = following::plan(
        args.config.as_deref(),
        args.to.as_deref(),
        args.name.as_deref(),
        &args.set,
    )?;
    let options = Options {
        begin: match args.from {
            From::Start => Begin::Start,
            From::Now => Begin::Now,
        },
        begin_anew: args.anew,
        format: match args.format {
            Lines::Auto => Format::Auto,
            Lines::Plain => Format::Plain,
        },
        name_files: args.files.len() > 1,
        ends: args.once,
        end_wait: if args.once { Duration::ZERO } else { Options::default().end_wait },
        ..Options::default()
    };
    let stop = Arc::new(Stop::default());
    let mut signals = Signals::new([SIGINT, SIGTERM]).or_failed("catch", "signals")?;
    let told = stop.clone();
    std::thread::spawn(move || signals.forever().for_each(|_| told.set()));
    following::ship(
        Following {
            files: args.files,
            options,
            cursor: args.cursor,
            once: args.once,
        },
        plan,
        &stop,
    )
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write a key below [ship.NAME], `=` and a value, such as syslog.facility=local0")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
