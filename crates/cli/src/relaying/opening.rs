//! Logging to destinations: the spools of a configuration, open for a program that logs through this command.

use std::sync::Arc;

use logboom::format::Encoder;
use logboom::{Beside, Log, LogOptions};
use logboom_config::{Effective, Value, beside};
use logboom_relay::plan;

use crate::exit::{Context, Failure};

/// The destinations of a configuration, each with its spool open and what the relay needs beside it; `encoder` writes JSON.
///
/// # Errors
/// A spool cannot be made or opened.
pub(crate) fn ships(effective: &Effective, encoder: &Encoder) -> Result<Vec<Beside>, Failure> {
    let on_demand = match effective.value("relay.start") {
        Some(Value::Text(word)) => word == "on-demand",
        _ => false,
    };
    let program = std::env::current_exe().ok().filter(|_| on_demand);
    let plans = plan::plans(effective).map_err(Failure::could_not_run)?;
    let open = |plan: &plan::Plan| {
        let name = &plan.destination.name;
        let root = beside::root(effective, name);
        let kept = beside::keep(&root, name, &effective.of_destination(name));
        kept.or_failed("prepare the spool", root.display())?;
        let options = LogOptions {
            relay_program: program.clone(),
            ..plan.spool.options()
        };
        let log = Log::open(plan::spool_path(&root, name), &options)
            .map_err(|error| Failure::could_not_run(error.to_string()))?;
        Ok(Beside {
            log: Arc::new(log),
            encoder: encoder.clone(),
            components: plan.route.components.clone(),
            except: plan.route.except.clone(),
            severity: plan.route.severity,
        })
    };
    plans.iter().map(open).collect()
}
