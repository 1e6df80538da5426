//! Logs of other domains that get a copy of the records this crate makes itself: black boxes, what a process printed, the access
//! records of requests that died. A spool lies in a domain of its own, and what a file of the log directory gets through the table of
//! files, it gets from here.

use std::sync::Arc;

use super::{Log, Next, Outcome, Ticket};
use crate::format::Encoder;
use crate::options::Severity;

/// A log that gets copies, and of what.
#[derive(Clone)]
pub struct Beside {
    /// The log.
    pub log: Arc<Log>,
    /// How it writes records.
    pub encoder: Encoder,
    /// It gets records of these components and their children; empty: of all.
    pub components: Vec<String>,
    /// But not of these.
    pub except: Vec<String>,
    /// It gets records from this severity on.
    pub severity: Severity,
}

impl Beside {
    /// Whether it gets a record of this component and severity.
    pub fn takes(&self, component: &str, severity: Severity) -> bool {
        let is_below = |name: &String| {
            component
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        severity >= self.severity
            && (self.components.is_empty() || self.components.iter().any(is_below))
            && !self.except.iter().any(is_below)
    }
}

/// Copies that are in their queues, or were to be, while the lease of another domain was held: that must not wait for them.
#[derive(Default)]
pub(super) struct Copies(Vec<(Arc<Log>, Next, Severity, Vec<u8>)>);

impl Copies {
    /// Enqueues a record for those that take it; `line` makes it.
    pub fn enqueue(
        &mut self,
        beside: &[Beside],
        component: &str,
        severity: Severity,
        line: impl Fn(&Encoder) -> Vec<u8>,
    ) {
        for beside in beside.iter().filter(|to| to.takes(component, severity)) {
            let line = line(&beside.encoder);
            // This thread is inside of a log, but it interrupts nobody.
            let next = beside.log.enqueue_alone(severity, &line, None);
            self.0.push((beside.log.clone(), next, severity, line));
        }
    }

    /// Does what is left to do, with no lease held.
    pub fn settle(self) {
        for (log, next, severity, line) in self.0 {
            let _: Outcome = log.settle_alone(Ticket(next), severity, &line);
            log.look_for_relay();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    #[test]
    fn a_log_beside_takes_its_components_and_their_children_from_its_severity_on() {
        let place = tempfile::tempdir().unwrap();
        let options = crate::LogOptions {
            state_dir: crate::StateDir::Beside,
            ..crate::LogOptions::default()
        };
        let log = Arc::new(Log::open(place.path().join("a.log"), &options).unwrap());
        let beside = |components: &[&str]| Beside {
            log: log.clone(),
            encoder: Encoder::new(Format::Json),
            components: components.iter().map(|name| (*name).to_owned()).collect(),
            except: vec!["shop.secret".to_owned()],
            severity: Severity::WARN,
        };
        let some = beside(&["stderr", "shop"]);
        assert!(some.takes("shop", Severity::WARN) && some.takes("shop.db", Severity::ERROR));
        assert!(!some.takes("shopping", Severity::ERROR) && !some.takes("stdout", Severity::ERROR));
        assert!(!some.takes("shop", Severity::INFO));
        assert!(!some.takes("shop.secret.key", Severity::ERROR));
        assert!(beside(&[]).takes("anything", Severity::WARN));
    }
}
