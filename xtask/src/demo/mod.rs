//! `cargo xtask demo`: a real Flask shop under a real Gunicorn with our logger class, traffic, rotation by size and by
//! hand, one request looked at by `logboom debug`, a worker killed by SIGKILL in the middle of a request, its black box;
//! then every record is accounted for. The same traffic again with the standard library's handler, to compare.
//!
//! With a real rsyslog, where one is installed, ours is shipped to it, and it is killed and started again in between.
//!
//! The command ends with 0 only if ours lost, doubled and tore nothing, every answered request has its access record,
//! `logboom debug` showed the detail of its request and of no other, the black box names the request that died, and
//! nothing is missing at the syslog server. What the standard handler loses is shown and changes nothing.

mod access;
mod count;
mod detail;
mod scene;
pub mod server;
mod shipping;
mod table;
pub mod traffic;
mod victim;

use crate::paths;
use crate::process;
use crate::python::{Venv, newest};
use crate::screen::{Progress, bad, good, strong};
use crate::wheel;
use anyhow::{Context, Result, bail};
use scene::{Act, Scene};
use shipping::Receiver;
use std::fs;
use std::path::{Path, PathBuf};

const OURS: &str = "gunicorn --logger-class logboom.gunicorn.Logger shop:app";
const STANDARD: &str = "gunicorn before:app, with logging.handlers.RotatingFileHandler";

/// Runs a shop under Gunicorn, rotates, kills a worker in the middle of a request, and counts every record.
#[derive(clap::Args)]
pub struct Arguments {
    /// Leave the server with our logger running at the end, and say how to stop it.
    #[arg(long)]
    keep: bool,
    /// Requests that each of the two servers gets.
    #[arg(long, default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    requests: u32,
    /// Gunicorn workers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// The log is rotated when it is about this large.
    #[arg(long, value_name = "BYTES", default_value_t = 32768, value_parser = clap::value_parser!(u64).range(4096..))]
    max_bytes: u64,
}

/// Runs both acts and prints the table; true if ours lost nothing.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let logs = paths::root().join("demo-logs");
    refuse_if_kept_server_lives(&logs)?;
    let venv = set_up()?;
    let scene = Scene {
        venv: &venv,
        arguments,
    };

    let mut ours = scene.play(&Act {
        title: OURS,
        folder: logs.join("logboom"),
        ours: true,
    })?;
    let standard = scene.play(&Act {
        title: STANDARD,
        folder: logs.join("standard"),
        ours: false,
    })?;

    println!();
    table::print(&ours.result, &standard.result);
    println!(
        "\nlogs: {} and {}",
        shown(&logs.join("logboom")),
        shown(&logs.join("standard"))
    );
    if let Some(server) = ours.server.take() {
        let (url, pid) = server.leave_running();
        println!(
            "\nthe shop is still open: {url}\n  its logs: {}",
            shown(&logs.join("logboom"))
        );
        let syslog = ours.receiver.take().and_then(Receiver::leave_running);
        let pids = [Some(pid), syslog]
            .into_iter()
            .flatten()
            .map(|pid| pid.to_string());
        println!("  stop it:  kill {}", pids.collect::<Vec<_>>().join(" "));
    }
    let whole = ours.result.is_whole();
    if whole && ours.result.shipped.is_some() {
        println!(
            "\n{}",
            good("the syslog server was killed in the middle, and has every record")
        );
    }
    println!(
        "\n{}",
        verdict(whole, &ours.result.count, &standard.result.count)
    );
    Ok(whole)
}

fn verdict(whole: bool, ours: &count::Count, standard: &count::Count) -> String {
    if !whole {
        return bad(
            "FAILED: a record, the detail or the black box is missing; the table says what, see also the logs",
        );
    }
    let other = format!(
        "the standard handler lost {} of {}, and {} went to a file that had been rotated out",
        standard.lost, standard.acknowledged, standard.misplaced
    );
    good(&format!(
        "nothing lost: {} records acknowledged, {} found, and the black box names the request\n{other}",
        ours.acknowledged, ours.found
    ))
}

/// The environment with Flask, Gunicorn and our wheel.
pub fn set_up() -> Result<Venv> {
    println!("{}", strong("Set-up"));
    let python = newest()?;
    let progress = Progress::start(&format!(
        "environment with Flask and Gunicorn (CPython {})",
        python.version
    ));
    let folder = paths::target().join("demo-venv");
    let venv = Venv::make(
        &folder,
        &python,
        &paths::requirements("demo"),
        Some(&progress),
    )?;
    progress.end("ready");

    let progress = Progress::start("logboom, built from this source");
    let wheel = wheel::build(Some(&progress))?;
    venv.install_wheel(&wheel)?;
    progress.end("installed");
    Ok(venv)
}

/// The logs of the last run are replaced; not under a server that still writes them.
fn refuse_if_kept_server_lives(logs: &Path) -> Result<()> {
    let Ok(text) = fs::read_to_string(logs.join("logboom/gunicorn.pid")) else {
        return Ok(());
    };
    let pid: u32 = text.trim().parse().unwrap_or(0);
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if process::is_alive(pid) && words.contains("gunicorn") {
        bail!(
            "failed to start the demo: the server of an earlier `--keep` runs as {pid}; stop it with `kill {pid}`"
        );
    }
    Ok(())
}

/// A path relative to the repository where possible.
fn shown(path: &Path) -> String {
    path.strip_prefix(paths::root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Makes a folder anew.
pub fn fresh_folder(folder: &Path) -> Result<PathBuf> {
    wheel::remove_folder(folder)?;
    fs::create_dir_all(folder)
        .with_context(|| format!("failed to create `{}`", folder.display()))?;
    Ok(folder.to_owned())
}
