//! What the relay tells people: as records of the log of `main`, with the component `logboom.relay`, or on standard error.

use std::sync::{Arc, Mutex, PoisonError};

use logboom::format::{Encoder, Record};
use logboom::{Log, Severity};

use crate::figures::now_ns;

/// The component of such records.
pub const COMPONENT: &str = "logboom.relay";

/// Tells people what happens.
#[derive(Default)]
pub struct Teller(Mutex<Option<Arc<Log>>>);

impl Teller {
    /// One that knows no log yet.
    pub fn new() -> Teller {
        Teller::default()
    }

    /// From now on it is told in this log.
    pub fn tell_in(&self, log: Arc<Log>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(log);
    }

    /// Tells.
    pub fn say(&self, severity: Severity, text: &str) {
        let log = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match log {
            Some(log) => {
                let level = match severity {
                    Severity::ERROR => "ERROR",
                    Severity::WARN => "WARNING",
                    _ => "INFO",
                };
                let line = Encoder::new(log.own_format()).line(&Record {
                    time_ns: now_ns(),
                    severity,
                    level,
                    component: COMPONENT,
                    message: text.into(),
                    process: Some(std::process::id()),
                    ..Record::default()
                });
                let _ = log.publish(severity, &line);
            }
            None => eprintln!("logboom: {text}"),
        }
    }
}
