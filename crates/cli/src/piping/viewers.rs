//! Viewers of the log (`logboom tail`, `debug`, `rewind`, `top`): while one has a rule, what is published is recorded, too, where they
//! can see it.
//!
//! Nobody watching costs one load for each line. A rule reveals nothing here: everything that is printed is published anyway.

use logboom::{Log, Severity};

/// How often rules whose viewer is gone are looked for, while there are some.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// Whether somebody watches.
#[derive(Default)]
pub(crate) struct Viewers {
    /// The rules that are known.
    generation: Option<u64>,
    watch: bool,
    looked_ns: u64,
}

impl Viewers {
    /// Whether a record of now is to be recorded.
    pub(crate) fn watch(&mut self, log: &Log, now_ns: u64) -> bool {
        if self.watch && now_ns.saturating_sub(self.looked_ns) >= LOOK_EVERY_NS {
            self.looked_ns = now_ns;
            log.forget_ended_rules();
        }
        let generation = log.rules_generation();
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            let own = std::process::id();
            self.watch = log
                .rules()
                .iter()
                .any(|rule| rule.worker == 0 || rule.worker == own);
            log.set_recording(self.watch);
        }
        self.watch
    }
}

/// Records what was published as well.
pub(crate) fn record(log: &Log, severity: Severity, component: &str, json: &[u8], line: &[u8]) {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    log.record_published(severity, component, "", json, line);
}
