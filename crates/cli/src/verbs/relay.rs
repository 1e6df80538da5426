//! `logboom relay`: ships what waits in spools.

use std::path::{Path, PathBuf};

use logboom_relay::admin::{self, Question};

use crate::exit::{Ending, Failure};
use crate::relaying::{self, Running, Spools, root_of};
use crate::terminal::GOOD;

const EXAMPLES: &str = "\
Examples:
  logboom relay                              the destinations of ./logboom.toml, in the foreground
  logboom relay --config /etc/shop/logboom.toml --metrics 127.0.0.1:9109
  logboom relay /var/log/shop                what waits beside the logs in that directory
  logboom relay --status /var/log/shop       how its destinations fare, as JSON
  logboom relay --stop /var/log/shop         ends it; what is not shipped waits for the next one

Without this command, the first worker that logs for a destination starts a relay, which ends when
the last worker has left and all is shipped (relay.start = \"on-demand\"). With relay.start =
\"by-hand\", run it under a supervisor. SIGHUP reads the configuration again, SIGTERM ends it within
four seconds. One relay at a time serves a spool directory; a second one says who does.

Exit codes:
  0  it was told to end
  2  wrong usage
  3  could not run: another relay is there, or the configuration is wrong";

/// Ship what is logged to the destinations of `[ship.NAME]`, without losing a record.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A spool directory, or the log directory it lies in; else the destinations of the configuration
    #[arg(conflicts_with = "config")]
    directory: Option<PathBuf>,
    /// The configuration; else LOGBOOM_CONFIG, else ./logboom.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve figures to Prometheus here, over what relay.metrics says
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
    /// Go into the background, and end when nobody needs it any more
    #[arg(long, requires = "directory", conflicts_with_all = ["status", "reload", "stop"])]
    on_demand: bool,
    /// The id of the domain, as its writers know it (hexadecimal)
    #[arg(long, hide = true, value_name = "ID", value_parser = hexadecimal)]
    domain: Option<u64>,
    /// Ask the running relay how its destinations fare
    #[arg(long, requires = "directory", conflicts_with_all = ["reload", "stop"])]
    status: bool,
    /// Have the running relay read its configuration again
    #[arg(long, requires = "directory", conflicts_with = "stop")]
    reload: bool,
    /// End the running relay
    #[arg(long, requires = "directory")]
    stop: bool,
}

/// Runs a relay, or asks one.
///
/// # Errors
/// There is a relay already or, asked, there is none; the configuration is wrong.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let root = args.directory.as_deref().map(|path| absolute(&root_of(path)));
    let question = match &args {
        Args { status: true, .. } => Some(Question::Status {}),
        Args { reload: true, .. } => Some(Question::Reload {}),
        Args { stop: true, .. } => Some(Question::Stop {}),
        _ => None,
    };
    if let (Some(question), Some(root)) = (question, &root) {
        let answer = admin::ask(root, question).map_err(Failure::could_not_run)?;
        match answer.get("done").and_then(serde_json::Value::as_str) {
            Some(what) => anstream::println!("{GOOD}told:{GOOD:#} {what}"),
            None => anstream::println!("{answer:#}"),
        }
        return Ok(Ending::Fine);
    }
    if args.on_demand
        && let Some(root) = &root
    {
        relaying::detach(root)?;
    }
    relaying::run(Running {
        spools: match root {
            Some(root) => Spools::In(root),
            None => Spools::Of {
                config: args.config,
                known: Default::default(),
            },
        },
        on_demand: args.on_demand,
        domain: args.domain,
        metrics: args.metrics,
    })
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|error| error.to_string())
}
