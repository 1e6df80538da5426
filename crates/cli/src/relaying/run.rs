//! The loop of a relay: it lets its relays do what is due, answers its owner, and hears the signals.
//!
//! SIGTERM and SIGINT end it: the shippers wait up to three seconds for answers to what is under way. SIGHUP reads the configuration
//! anew; one that is wrong is told, and the old one stays in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logboom_relay::admin::{Admin, Question};
use logboom_relay::metrics::{self, Shown};
use logboom_relay::relay::Relay;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Spools, last_words};
use crate::exit::{Context, Ending, Failure};

const TICK: Duration = Duration::from_millis(50);

/// How a relay is run.
pub struct Running {
    /// What it serves.
    pub spools: Spools,
    /// It ends when nobody needs it any more.
    pub on_demand: bool,
    /// The domain of whoever started it.
    pub domain: Option<u64>,
    /// Where Prometheus is told, over what the configuration says.
    pub metrics: Option<String>,
}

/// The flags that signals and questions set.
#[derive(Clone, Default)]
struct Asked {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

/// Runs until it is told to end. One on demand leaves the reason in its spool's directory if it cannot.
///
/// # Errors
/// Another process is the relay, the configuration is wrong, or an address is taken.
pub fn run(running: Running) -> Result<Ending, Failure> {
    let root = match &running.spools {
        Spools::In(root) if running.on_demand => Some(root.clone()),
        _ => None,
    };
    let ended = run_in(running);
    if let (Some(root), Err(failure)) = (root, &ended) {
        last_words::leave(&root, &failure.to_string());
    }
    ended
}

fn run_in(mut running: Running) -> Result<Ending, Failure> {
    let asked = Asked::default();
    for (signal, flag) in [
        (SIGTERM, &asked.stop),
        (SIGINT, &asked.stop),
        (SIGHUP, &asked.reload),
    ] {
        signal_hook::flag::register(signal, Arc::clone(flag)).or_failed("catch", "signals")?;
    }
    let mut relays = Vec::new();
    for root in running.spools.roots()? {
        relays.push(begin(root, &running)?);
    }
    let shown = Shown::default();
    match serve_metrics(&mut running, &shown) {
        // Nobody would hear of it, and records are to be shipped all the same.
        Err(_) if running.on_demand => {}
        told => told?,
    }
    while !asked.stop.load(Ordering::Relaxed) && !is_over(&mut relays) {
        if asked.reload.swap(false, Ordering::Relaxed) {
            reload(&mut running, &mut relays);
        }
        for (relay, admin) in &mut relays {
            relay.tick();
            admin.answer(|question| answer(relay, question, &asked));
        }
        let figures = relays.iter().flat_map(|(relay, _)| relay.figures());
        *shown
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = figures.collect();
        std::thread::sleep(TICK);
    }
    for (relay, admin) in relays {
        relay.end();
        drop(admin);
    }
    if !running.on_demand && !asked.stop.load(Ordering::Relaxed) {
        return Err(Failure::could_not_run(
            "failed to go on: the spool directories are gone; start the relay again when there are some",
        ));
    }
    Ok(Ending::Fine)
}

fn serve_metrics(running: &mut Running, shown: &Shown) -> Result<(), Failure> {
    let said = running.metrics.take();
    let Some(address) =
        said.map_or_else(|| running.spools.metrics(), |address| Ok(Some(address)))?
    else {
        return Ok(());
    };
    let at = metrics::serve(&address, shown.clone()).or_failed("listen at", &address)?;
    say(
        running,
        &format!("Prometheus is told at http://{at}/metrics"),
    );
    Ok(())
}

fn say(running: &Running, text: &str) {
    if !running.on_demand {
        anstream::eprintln!("logboom: {text}");
    }
}

fn begin(root: PathBuf, running: &Running) -> Result<(Relay, Admin), Failure> {
    let started = Relay::start(&root, running.on_demand, running.domain);
    let relay = started.map_err(Failure::could_not_run)?;
    let admin = Admin::listen(relay.root()).or_failed("listen in", root.display())?;
    last_words::forget(relay.root());
    if !running.on_demand {
        for figures in relay.figures() {
            anstream::eprintln!(
                "logboom: `{}` is shipped to {}, from {}",
                figures.name,
                figures.to,
                root.display()
            );
        }
    }
    Ok((relay, admin))
}

/// Relays that nobody needs any more end, all others go on.
fn is_over(relays: &mut Vec<(Relay, Admin)>) -> bool {
    for (relay, admin) in relays.extract_if(.., |(relay, _)| relay.is_over()) {
        relay.end();
        drop(admin);
    }
    relays.is_empty()
}

fn reload(running: &mut Running, relays: &mut Vec<(Relay, Admin)>) {
    let roots = match running.spools.roots() {
        Ok(roots) => roots,
        Err(wrong) => {
            return say(
                running,
                &format!("the configuration stays as it was: {wrong}"),
            );
        }
    };
    for root in roots {
        let known = |(relay, _): &&mut (Relay, Admin)| {
            root.canonicalize().is_ok_and(|root| root == relay.root())
        };
        match relays.iter_mut().find(known) {
            Some((relay, _)) => relay.reload(),
            None => match begin(root, running) {
                Ok(more) => relays.push(more),
                Err(failure) => say(running, &failure.to_string()),
            },
        }
    }
}

fn answer(relay: &Relay, question: Question, asked: &Asked) -> Value {
    match question {
        Question::Status {} => json!({
            "version": 1,
            "relay": std::process::id(),
            "root": relay.root(),
            "destinations": relay.figures(),
        }),
        Question::Reload {} => {
            asked.reload.store(true, Ordering::Relaxed);
            json!({"done": "reload"})
        }
        Question::Stop {} => {
            asked.stop.store(true, Ordering::Relaxed);
            json!({"done": "stop"})
        }
    }
}
