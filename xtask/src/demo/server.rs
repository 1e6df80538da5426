//! Gunicorn with the shop of `examples/shop`, on a free port of the loopback interface. It is stopped when the value
//! is dropped, unless it was told to outlive us. Its own output goes to `gunicorn.log` beside the shop's log.

use super::traffic::{self, Request};
use crate::paths;
use crate::process::{self, signal};
use crate::python::Venv;
use crate::screen::Progress;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);
/// Enough that no archive falls off the end: what is missing then was lost, not thrown away.
const BACKUPS: u32 = 1000;
/// What makes the shop log with us.
pub const LOGGER_CLASS: &str = "logboom.gunicorn.Logger";

/// How the server is to run.
pub struct Settings<'a> {
    /// Environment with Flask, Gunicorn and logboom.
    pub venv: &'a Venv,
    /// True: under our logger class. False: with the standard library's handler.
    pub ours: bool,
    /// True: the shop's records are numbered, and it is noted which calls have returned.
    pub counted: bool,
    /// Where `shop.log`, the other logs, the notes and `gunicorn.log` go.
    pub folder: &'a Path,
    /// Number of workers.
    pub workers: u32,
    /// Where its records are shipped to, if anywhere.
    pub ship_to: Option<String>,
    /// Size at which the log is rotated.
    pub max_bytes: u64,
    /// True if the server is to go on when we end.
    pub outlives_us: bool,
}

/// A running server.
pub struct Server {
    child: Option<Child>,
    pid: u32,
    port: u16,
}

impl Server {
    /// Starts it and waits until it answers.
    pub fn start(settings: &Settings) -> Result<Server> {
        let progress = Progress::start("starting the server");
        let port = free_port()?;
        let output = settings.folder.join("gunicorn.log");
        let file = File::create(&output)
            .with_context(|| format!("failed to create `{}`", output.display()))?;
        let mut command = command(settings, port);
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        if settings.outlives_us {
            command.process_group(0);
        }
        let child = command.spawn().context("failed to start Gunicorn")?;
        let mut server = Server {
            pid: child.id(),
            child: Some(child),
            port,
        };
        server.wait_until_it_answers(&output, settings.workers as usize)?;
        progress.end(&format!("{} answers, process {}", server.url(), server.pid));
        Ok(server)
    }

    fn wait_until_it_answers(&mut self, output: &Path, workers: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().transpose())
                .transpose()?;
            if ended.is_some() || started.elapsed() > START_MAX {
                let mut text = fs::read_to_string(output).unwrap_or_default();
                let log = output.with_file_name("shop.log");
                text.push_str(&fs::read_to_string(log).unwrap_or_default());
                bail!(
                    "failed to start the shop under Gunicorn; it says:\n{}",
                    text.trim_end()
                );
            }
            let answer = traffic::send(self.port, &Request::get("/"), "", &mut String::new());
            if self.workers().len() >= workers && matches!(answer, Ok(200)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The front page.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The process ids of the workers.
    pub fn workers(&self) -> Vec<u32> {
        process::children(self.pid)
    }

    /// Sends one POST that must succeed.
    pub fn post(&self, path: &'static str) -> Result<()> {
        let answer = traffic::send(self.port, &Request::post(path), "", &mut String::new());
        match answer.with_context(|| format!("failed to post `{path}` to the shop"))? {
            200 => Ok(()),
            status => bail!(
                "failed to post `{path}` to the shop: it answered {status}; see `gunicorn.log`"
            ),
        }
    }

    /// Ends the server as an administrator would, and waits for it.
    pub fn stop(mut self) -> Result<()> {
        if !self.end() {
            bail!(
                "failed to stop Gunicorn within {} s; it was killed",
                STOP_MAX.as_secs()
            );
        }
        Ok(())
    }

    /// Gives up the server without ending it; returns its address and process id.
    pub fn leave_running(mut self) -> (String, u32) {
        self.child = None;
        (self.url(), self.pid)
    }

    /// True if it ended in time and by itself.
    fn end(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        signal(self.pid, Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < STOP_MAX {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        process::kill_tree(self.pid);
        let _ = child.wait();
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Gunicorn's command line. It runs in the folder of the logs, where `logboom.toml`'s relative paths lead.
fn command(settings: &Settings, port: u16) -> Command {
    let shop = paths::root().join("examples/shop");
    let mut command = settings.venv.command("gunicorn");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("LOGBOOM_") && text != "LOGBOOM_STATE_DIR" {
            command.env_remove(name);
        }
    }
    command
        .args(["--pid", "gunicorn.pid", "--config"])
        .arg(shop.join("gunicorn.conf.py"))
        .current_dir(settings.folder)
        .env("SHOP_BIND", format!("127.0.0.1:{port}"))
        .env("SHOP_WORKERS", settings.workers.to_string());
    if settings.counted {
        command.env("SHOP_PROOF", settings.folder.join("proof"));
    }
    let (max_bytes, backups) = (settings.max_bytes.to_string(), BACKUPS.to_string());
    if settings.ours {
        command
            .env("LOGBOOM_CONFIG", shop.join("logboom.toml"))
            .env("LOGBOOM_FILES_MAIN_ROTATE_SIZE", max_bytes)
            .env("LOGBOOM_FILES_MAIN_KEEP_COUNT", &backups)
            .args(["--logger-class", LOGGER_CLASS, "shop:app"]);
        if let Some(address) = &settings.ship_to {
            command
                .env("LOGBOOM_SHIP_CENTRAL_TO", address)
                .env("LOGBOOM_SHIP_CENTRAL_RETRY_MOST", "500 ms");
        }
        for file in ["MAIN", "ACCESS", "ERROR"] {
            // With the logs, the state is made anew: what an earlier run knew of files that are gone goes with it.
            command.env(format!("LOGBOOM_FILES_{file}_STATE_DIR"), "beside");
        }
    } else {
        command
            .env("SHOP_MAX_BYTES", max_bytes)
            .env("SHOP_BACKUPS", backups)
            .args(["--access-logfile", "access.log", "before:app"]);
    }
    command
}

fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).context("failed to find a free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}
