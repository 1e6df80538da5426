//! `cargo xtask picture`: records the picture of the README. In one terminal the log of the shop runs by, in another
//! `logboom debug` shows the detail of one request. Both are real: a shell, the shop under Gunicorn, requests, the command as
//! a user types it. Nothing is drawn that was not shown.
//!
//! The command ends with 0 only if the picture shows what it is for: the request's debug records live in the one pane, none in
//! the other, and no rule afterwards.

mod cells;
mod pane;
mod svg;

use crate::demo::server::{Server, Settings};
use crate::demo::traffic::{self, Request};
use crate::demo::{fresh_folder, set_up};
use crate::paths;
use crate::screen::{Progress, good, strong};
use anyhow::{Context, Result, bail};
use pane::Pane;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const COLUMNS: usize = 124;
const LOG_ROWS: usize = 13;
const DEBUG_ROWS: usize = 14;
const ALT: &str = "Two panes of a terminal. Above, the log of a running server, records from level INFO on. Below, \
                   `logboom debug` reveals the debug records of one request, live, and takes its rule back with Ctrl-C.";
const LOG: &str = "tail -n 0 -f shop.log";
const DEBUG: &str = "logboom debug shop --where path=/cart/4 --compact";
const LEVEL: &str = "logboom level | tail -n 2";
/// What only the viewer sees, and what both see.
const DETAIL: [&str; 2] = ["POST /cart/4 from 127.0.0.1", "cart line: 1 x product 4"];
const LAST: &str = "POST /cart/4 -> 302";
const NO_RULE: &str = "none: every worker logs what its application has set";
/// Between what happens, so that one can follow.
const PAUSE: Duration = Duration::from_millis(700);
const BETWEEN_VISITS: Duration = Duration::from_millis(1600);

/// Records the picture of the README.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where it goes.
    #[arg(long, value_name = "FILE", default_value = "docs/debug.svg")]
    output: PathBuf,
}

/// Records, checks and writes the picture.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let venv = set_up()?;
    println!("\n{}", strong("Recording"));
    let folder = fresh_folder(&paths::work().join("picture"))?;
    let server = Server::start(&Settings {
        venv: &venv,
        ours: true,
        counted: false,
        ship_to: None,
        folder: &folder,
        workers: 4,
        max_bytes: 1_000_000,
        outlives_us: false,
    })?;
    let progress = Progress::start("a request among others");
    let since = Instant::now();
    let shell = || {
        let mut shell = venv.activated(Command::new("sh"));
        shell.current_dir(&folder);
        shell
    };
    let mut log = Pane::start(shell(), COLUMNS, LOG_ROWS, since)?;
    let mut debug = Pane::start(shell(), COLUMNS, DEBUG_ROWS, since)?;
    play(&mut log, &mut debug, server.port())?;
    progress.end("recorded");
    check(&log.text(), &debug.text())?;
    let panes = [
        svg::Pane {
            title: "the log of a running server: gunicorn --logger-class logboom.gunicorn.Logger shop:app",
            cells: log.end(),
            rows: LOG_ROWS,
        },
        svg::Pane {
            title: "meanwhile, in another terminal",
            cells: debug.end(),
            rows: DEBUG_ROWS,
        },
    ];
    server.stop()?;
    let output = paths::root().join(&arguments.output);
    fs::write(&output, svg::draw(&panes, COLUMNS, ALT))
        .with_context(|| format!("failed to write `{}`", output.display()))?;
    println!(
        "{}",
        good(&format!("the picture: {}", arguments.output.display()))
    );
    Ok(true)
}

/// What happens in front of the two terminals.
fn play(log: &mut Pane, debug: &mut Pane, port: u16) -> Result<()> {
    let mut cart = String::new();
    for path in ["/cart/1", "/cart/2"] {
        send(port, &Request::post(path), &mut cart)?;
    }
    log.type_line(LOG)?;
    thread::sleep(PAUSE);
    let visitors = Visitors::come(port);
    thread::sleep(PAUSE);
    debug.type_line(DEBUG)?;
    debug.wait_for("Ctrl-C ends it")?;
    thread::sleep(PAUSE);
    send(port, &Request::post("/cart/4"), &mut cart)?;
    debug.wait_for(LAST)?;
    thread::sleep(2 * PAUSE);
    debug.press(b"\x03")?;
    debug.wait_for_prompt()?;
    thread::sleep(PAUSE);
    debug.type_line(LEVEL)?;
    debug.wait_for(NO_RULE)?;
    debug.wait_for_prompt()?;
    visitors.go()
}

/// The picture must show what it is for.
fn check(log: &str, debug: &str) -> Result<()> {
    for text in DETAIL.into_iter().chain([LAST, "back to normal", NO_RULE]) {
        if !debug.contains(text) {
            bail!("failed to record the picture: `{text}` is missing in\n{debug}");
        }
    }
    let is_stray = |line: &&str| line.contains("GET /") || line.contains("catalogue");
    if let Some(line) = debug.lines().find(is_stray) {
        bail!("failed to record the picture: `{line}` is of another request");
    }
    if !log.contains(LAST) || log.contains("DEBUG") {
        bail!(
            "failed to record the picture: the log should have `{LAST}`, and no debug record:\n{log}"
        );
    }
    Ok(())
}

/// People who look around in the shop meanwhile.
struct Visitors {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Visitors {
    fn come(port: u16) -> Visitors {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let paths = ["/", "/product/3", "/product/1", "/"];
            for path in paths.into_iter().cycle() {
                if asked.load(Ordering::Relaxed) {
                    break;
                }
                send(port, &Request::get(path), &mut String::new())?;
                thread::sleep(BETWEEN_VISITS);
            }
            Ok(())
        });
        Visitors { stop, thread }
    }

    fn go(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a visitor does not panic")
    }
}

fn send(port: u16, request: &Request, cookie: &mut String) -> Result<()> {
    match traffic::send(port, request, "", cookie) {
        Ok(200 | 302) => Ok(()),
        other => bail!("failed to record: the shop answered {other:?}"),
    }
}
