//! A plan: everything that `[ship.NAME]` says of one destination, as values.
//!
//! It is read from the file beside the spool ([`logboom_config::beside`]), so that a relay which is started long after the program
//! knows what the program was told.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use logboom::{Durability, LogOptions, Severity, SpoolFull, StateDir};
use logboom_config::schema::FACILITIES;
use logboom_config::{Effective, Value, beside};

use crate::destination::{Destination, Dialect, Framing, Long, Syslog, Tls, TlsVersion};

/// How one destination is to be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where to, and how.
    pub destination: Destination,
    /// Which records go there.
    pub route: Route,
    /// Where records wait.
    pub spool: Spool,
    /// What happens after a failure.
    pub retry: Retry,
    /// How long it may be down before the log says so; zero: never.
    pub say_after: Duration,
    /// The log in which it is said; None: it is standard error.
    pub log: Option<MainLog>,
}

/// The log of `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MainLog {
    /// Its path.
    pub path: PathBuf,
    /// Where its shared state lies.
    pub state_dir: StateDir,
}

/// Which records go to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Those of these components and their children; empty: all.
    pub components: Vec<String>,
    /// But not of these.
    pub except: Vec<String>,
    /// From this severity on.
    pub severity: Severity,
}

/// Where records wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// Bytes on disk at most.
    pub bytes: u64,
    /// What happens when there are as many.
    pub full: SpoolFull,
    /// How long who logs waits for room then.
    pub wait: Duration,
    /// When a record counts as logged.
    pub durability: Durability,
    /// Where the shared state of those who log there lies.
    pub state_dir: StateDir,
}

impl Spool {
    /// How the spool is opened.
    pub fn options(&self) -> LogOptions {
        LogOptions {
            durability: self.durability,
            on_full_wait_ms: self.wait.as_millis() as u64,
            state_dir: self.state_dir.clone(),
            ..LogOptions::for_spool(self.bytes, self.full)
        }
    }
}

/// What happens after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// When records are given up; None: never.
    pub deadline: Option<Duration>,
}

/// The plans of a configuration, by name.
///
/// # Errors
/// An address cannot be used; the text says which.
pub fn plans(effective: &Effective) -> Result<Vec<Plan>, String> {
    let names = effective.entries.iter().filter(|entry| {
        let key = &entry.key.0;
        key.len() == 3 && key[0] == "ship" && key[2] == "to"
    });
    let names = names.map(|entry| entry.key.0[1].as_str());
    names
        .map(|name| Reading { effective, name }.plan())
        .collect()
}

/// One table of the configuration.
struct Reading<'a> {
    effective: &'a Effective,
    name: &'a str,
}

impl Reading<'_> {
    fn plan(&self) -> Result<Plan, String> {
        let deadline = self.time("retry.deadline");
        Ok(Plan {
            destination: Destination {
                name: self.name.to_owned(),
                address: self.text("to").parse()?,
                window: self.number("window") as usize,
                batch: self.number("batch") as usize,
                timeout: self.time("timeout"),
                syslog: self.syslog(),
                tls: self.tls(),
            },
            route: Route {
                components: self.texts("components"),
                except: self.texts("except"),
                severity: match self.effective.value(&self.key("level")) {
                    Some(Value::Level(level)) => Severity::from_python(*level),
                    _ => Severity(0),
                },
            },
            spool: Spool {
                bytes: self.number("spool.bytes"),
                full: match self.text("spool.full").as_str() {
                    "newest" => SpoolFull::DropNewest,
                    "block" => SpoolFull::Block,
                    _ => SpoolFull::DropOldest,
                },
                wait: self.time("spool.wait"),
                durability: match self.text("spool.durability").as_str() {
                    "disk" => Durability::Disk,
                    _ => Durability::Kernel,
                },
                state_dir: beside::state_dir(self.effective, self.name)
                    .unwrap_or_default()
                    .as_str()
                    .into(),
            },
            retry: Retry {
                first: self.time("retry.first"),
                most: self.time("retry.most"),
                deadline: (!deadline.is_zero()).then_some(deadline),
            },
            say_after: self.time("say_after"),
            log: main_log(self.effective),
        })
    }

    fn syslog(&self) -> Syslog {
        let is_local = self.text("to").starts_with("unix:");
        let dialect = match self.text("syslog.format").as_str() {
            "rfc3164" => Dialect::Rfc3164,
            "plain" => Dialect::Plain,
            "auto" if is_local => Dialect::Rfc3164,
            _ => Dialect::Rfc5424,
        };
        let facility = self.text("syslog.facility");
        let facility = FACILITIES.iter().position(|name| **name == facility);
        Syslog {
            dialect,
            framing: match self.text("syslog.framing").as_str() {
                "lines" => Framing::LineFeed,
                _ => Framing::Octets,
            },
            facility: facility.unwrap_or(1) as u8,
            hostname: self.text("syslog.hostname"),
            app_name: self.text("syslog.app_name"),
            structured_data_id: self.text("syslog.data_id"),
            message_bytes_max: self.number("syslog.bytes") as usize,
            long: match self.text("syslog.long").as_str() {
                "split" => Long::Split,
                _ => Long::Cut,
            },
        }
    }

    fn tls(&self) -> Tls {
        Tls {
            ca: self.path("tls.ca"),
            certificate: self.path("tls.certificate"),
            key: self.path("tls.key"),
            server_name: self.text("tls.name"),
            oldest: match self.text("tls.oldest").as_str() {
                "1.3" => TlsVersion::V1_3,
                _ => TlsVersion::V1_2,
            },
        }
    }

    fn key(&self, key: &str) -> String {
        format!("ship.{}.{key}", self.name)
    }

    /// Empty where nothing is said.
    fn text(&self, key: &str) -> String {
        match self.effective.value(&self.key(key)) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match self.effective.value(&self.key(key)) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        let text = self.text(key);
        (!text.is_empty()).then(|| text.into())
    }

    fn number(&self, key: &str) -> u64 {
        match self.effective.value(&self.key(key)) {
            Some(Value::Count(number) | Value::Bytes(number)) => *number,
            _ => 0,
        }
    }

    fn time(&self, key: &str) -> Duration {
        match self.effective.value(&self.key(key)) {
            Some(Value::Seconds(seconds)) => Duration::from_secs_f64(*seconds),
            _ => Duration::ZERO,
        }
    }
}

fn main_log(effective: &Effective) -> Option<MainLog> {
    let path = match effective.value("files.main.path") {
        Some(Value::Text(path)) if path != "-" => path.into(),
        _ => return None,
    };
    let state_dir = match effective.value("files.main.state_dir") {
        Some(Value::Text(word)) => word.as_str().into(),
        _ => StateDir::Default,
    };
    Some(MainLog { path, state_dir })
}

/// The spool of a destination.
pub fn spool_path(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.spool"))
}

/// The file of a plan, as it was when it was looked at last.
#[derive(Debug)]
pub struct PlanFile {
    path: PathBuf,
    seen: Mutex<Option<(u64, i64, i64)>>,
}

impl PlanFile {
    /// The file of a destination, not looked at yet.
    pub fn new(root: &Path, name: &str) -> PlanFile {
        PlanFile {
            path: beside::path(root, name),
            seen: Mutex::new(None),
        }
    }

    /// Notes which file is there; call it before the file is read.
    pub fn look(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = self.present();
    }

    /// Whether it still is that file. A new plan is a new file.
    pub fn is_the_same(&self) -> bool {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == self.present()
    }

    fn present(&self) -> Option<(u64, i64, i64)> {
        let found = std::fs::metadata(&self.path).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec()))
    }
}

/// Reads a plan that is kept beside its spool.
///
/// # Errors
/// The file cannot be read or says something else, with the text for people.
pub fn read(root: &Path, name: &str) -> Result<Plan, String> {
    let path = beside::path(root, name);
    let nothing = Default::default();
    let effective = logboom_config::load(Some(&path), &nothing, &nothing).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let mut plans = plans(&effective)?;
    plans.retain(|plan| plan.destination.name == name);
    plans
        .pop()
        .ok_or_else(|| format!("`{}` says nothing of `ship.{name}`", path.display()))
}
