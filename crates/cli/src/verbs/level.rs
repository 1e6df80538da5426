//! `logboom level`: the rules in force, new ones that stay until their time is over, and an end to all of them.

use std::collections::BTreeMap;

use logboom::Severity;
use logboom::files::escape::escape;
use logboom::rules::{Condition, Rule};
use logboom::viewer::{Seen, Viewer};
use serde_json::json;

use crate::exit::{Ending, Failure};
use crate::terminal::{HEADING, NOTE};
use crate::viewing::conditions;
use crate::viewing::places::{self, Place};
use crate::viewing::seen::Look;
use crate::viewing::spans::Lasting;
use crate::viewing::{filters, levels, ruling, spans, who};
use crate::words;

const EXAMPLES: &str = "\
Examples:
  logboom level                            levels, components that were heard of, and the rules in force
  logboom level shop.db=debug --for 5m     a rule that stays for five minutes, kept in the files
  logboom level '*=info' --worker 4711     everything from INFO on, in one worker
  logboom level --reset                    end all rules: every worker is back to what its application set

A rule reveals; it hides nothing that is logged anyway. Its records go to the files of this log
and to no other handler of the application. The components listed are those of records that the
recorders have.

The fields of --json (they stay; others may be added):
  levels[]      component (empty: all others; *: the recorder), level, number
  components[]  component, records, lowest_level
  rules[]       number, component, conditions[], worker, level, severity_number, kept, held,
                since, until, left_seconds, by, pid

Exit codes:
  0  shown or done
  2  wrong usage
  3  there is no domain, it cannot be read, or there are too many rules";

/// Show or change the levels of a running server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// COMPONENT=LEVEL: put a rule in force; `*` is all components
    #[arg(value_name = "COMPONENT=LEVEL", conflicts_with = "reset")]
    settings: Vec<Setting>,
    /// When they end: 90s, 10m, 1h, or `ever`
    #[arg(
        long = "for",
        value_name = "SPAN",
        default_value = "10m",
        requires = "settings"
    )]
    lasting: Lasting,
    /// Only requests like this: FIELD OP VALUE (see `logboom debug --help`)
    #[arg(long = "where", value_name = "CONDITION", requires = "settings")]
    conditions: Vec<Condition>,
    /// Only this worker
    #[arg(long, value_name = "PID", requires = "settings")]
    worker: Option<u32>,
    /// End all rules
    #[arg(long)]
    reset: bool,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// A component and its level.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    component: String,
    level: Severity,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let Some((component, level)) = text.split_once('=') else {
            return Err(
                "a level is missing; write COMPONENT=LEVEL, for example shop.db=debug".into(),
            );
        };
        Ok(Setting {
            component: filters::component(component),
            level: levels::parse(level)?,
        })
    }
}

/// Shows, makes or ends rules.
///
/// # Errors
/// There is no domain, it cannot be read, or a rule does not fit.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let made_ns = spans::now_ns();
    let rules = args
        .settings
        .iter()
        .map(|setting| rule_of(&args, setting, made_ns));
    let rules: Vec<_> = rules.collect::<Result<_, _>>()?;
    let viewer = places::open(&args.place.find()?)?;
    if args.reset {
        viewer
            .may_change()
            .map_err(|error| Failure::could_not_run(error.to_string()))?;
    }
    let mut said = Vec::new();
    for rule in &rules {
        let number = viewer
            .add_rule(rule)
            .map_err(|error| Failure::could_not_run(error.to_string()))?;
        said.push(format!(
            "{number}  {}; {}",
            ruling::what(rule),
            ruling::until(rule, made_ns)
        ));
    }
    if args.reset {
        let ended = viewer
            .rules()
            .iter()
            .filter(|rule| viewer.remove_rule(rule.number))
            .count();
        said.push(format!("{} ended", words::of(ended as u64, "rule")));
    }
    if args.json {
        show_json(&viewer);
    } else if said.is_empty() {
        show(&viewer);
    }
    for line in said {
        match args.json {
            true => anstream::eprintln!("{NOTE}logboom:{NOTE:#} {line}"),
            false => anstream::println!("{line}"),
        }
    }
    Ok(Ending::Fine)
}

fn rule_of(args: &Args, setting: &Setting, made_ns: u64) -> Result<Rule, Failure> {
    let rule = Rule {
        component: setting.component.clone(),
        condition: conditions::of_rule(&args.conditions),
        worker: args.worker.unwrap_or(0),
        severity: setting.level,
        kept: true,
        held: false,
        made_ns,
        expires_ns: args.lasting.end_ns(made_ns),
        maker: std::process::id(),
        made_by: who::made_by(),
        ..Rule::default()
    };
    match rule.check() {
        Ok(()) => Ok(rule),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

/// By component: how many records, and the lowest severity among them.
fn components(seen: &[Seen]) -> BTreeMap<String, (u64, Severity)> {
    let mut found = BTreeMap::new();
    for seen in seen {
        let severity = seen.record.severity;
        let entry = found
            .entry(Look::of(seen).component())
            .or_insert((0, severity));
        *entry = (entry.0 + 1, entry.1.min(severity));
    }
    found
}

fn show(viewer: &Viewer) {
    let now_ns = spans::now_ns();
    let levels = viewer.levels();
    if !levels.is_empty() {
        anstream::println!("{HEADING}Levels that are set{HEADING:#}");
        for (component, level) in &levels {
            let name = match component.as_str() {
                "" => "all others".into(),
                "*" => "the recorder".into(),
                name => escape(name, false),
            };
            let from = levels::name(Severity::from_python(*level));
            anstream::println!("  {name:<32}  {from} and above");
        }
        anstream::println!();
    }
    anstream::println!("{HEADING}Components heard of{HEADING:#}");
    let components = components(&viewer.recorded().0);
    for (component, (count, lowest)) in &components {
        let name = match component.as_str() {
            "" => "(unknown)".into(),
            name => escape(name, false),
        };
        let records = words::of(*count, "record");
        anstream::println!("  {name:<32}  {:<9}  {records}", levels::name(*lowest));
    }
    if components.is_empty() {
        anstream::println!("  none: nothing is recorded");
    }
    anstream::println!("\n{HEADING}Rules in force{HEADING:#}");
    let rules = viewer.rules();
    for rule in &rules {
        anstream::print!("{}", ruling::whole(rule, now_ns));
    }
    if rules.is_empty() {
        anstream::println!("  none: every worker logs what its application has set");
    }
}

fn show_json(viewer: &Viewer) {
    let now_ns = spans::now_ns();
    let components: Vec<_> = components(&viewer.recorded().0)
        .into_iter()
        .map(|(component, (records, lowest))| {
            json!({ "component": component, "records": records, "lowest_level": levels::name(lowest) })
        })
        .collect();
    let rules: Vec<_> = viewer
        .rules()
        .iter()
        .map(|rule| ruling::json_of(rule, now_ns))
        .collect();
    let levels: Vec<_> = viewer
        .levels()
        .into_iter()
        .map(|(component, level)| {
            let name = levels::name(Severity::from_python(level));
            json!({ "component": component, "level": name, "number": level })
        })
        .collect();
    anstream::println!(
        "{:#}",
        json!({ "levels": levels, "components": components, "rules": rules })
    );
}
