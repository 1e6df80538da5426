//! `logboom torture`: proves that a handler loses, doubles, tears and misplaces nothing while its processes are tormented.
//!
//! `plan` makes the cases, `run_case` runs one in rounds of `round`, `evaluate` judges what stands in the files, `report`
//! shows it. The workers are Python (`_torture.py`), everything else is here; nothing here knows how a handler works.

pub mod account;
mod chaos;
pub mod crew;
pub mod evaluate;
pub mod family;
mod interpreter;
pub mod native;
mod outside;
pub mod plan;
mod quota;
pub mod record;
pub mod report;
mod round;
pub mod scenario;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use self::account::Words;
use self::interpreter::{Class, Interpreter};
use self::report::{CaseReport, Verdict};
use self::round::{Outcome, Subject};
use self::scenario::{Case, Rotation, Strain};
use crate::exit::{Context, Failure};

/// Whose records are counted.
#[derive(Debug)]
pub enum Handlers {
    /// A Python class, or a module of classes.
    Python {
        /// Its dotted name.
        name: String,
        /// The interpreter, unless the usual one.
        interpreter: Option<PathBuf>,
        /// Constructor arguments besides those the scenarios need.
        extra: BTreeMap<String, Value>,
    },
    /// The Rust crate itself.
    Native,
}

/// The handlers under test, and the place where it is done.
#[derive(Debug)]
pub struct Bench {
    handlers: Handlers,
    command: Vec<PathBuf>,
    interpreter: Interpreter,
    directory: PathBuf,
    keep: bool,
    interrupted: Arc<AtomicBool>,
    classes: HashMap<String, Class>,
}

impl Bench {
    /// Makes a bench in `directory`; what belongs to a failed round is left there if `keep` is set.
    ///
    /// # Errors
    /// The directory cannot be written, or this machine lacks something.
    pub fn new(directory: PathBuf, keep: bool, handlers: Handlers) -> Result<Self, Failure> {
        crew::check_pidfd().or_failed("watch processes by", "pidfd")?;
        let interrupted = crate::terminal::interrupted().or_failed("catch", "SIGINT")?;
        let program = match &handlers {
            Handlers::Python { interpreter, .. } => interpreter.clone(),
            Handlers::Native => None,
        };
        let interpreter = Interpreter::new(program, &directory)?;
        let command = match &handlers {
            Handlers::Python { .. } => vec![
                interpreter.program.clone(),
                "-B".into(),
                interpreter.script.clone(),
            ],
            Handlers::Native => {
                let us = std::env::current_exe().or_failed("find", "this program")?;
                vec![us, "torture".into(), "--native-worker".into()]
            }
        };
        Ok(Self {
            handlers,
            command,
            interpreter,
            directory,
            keep,
            interrupted,
            classes: HashMap::new(),
        })
    }

    /// The name of what is under test.
    #[must_use]
    pub fn subject(&self) -> &str {
        match &self.handlers {
            Handlers::Python { name, .. } => name,
            Handlers::Native => NATIVE,
        }
    }

    /// Looks whether the classes of all cases are there.
    ///
    /// # Errors
    /// One cannot be imported.
    pub fn find_classes(&mut self, cases: &[Case]) -> Result<(), Failure> {
        cases.iter().try_for_each(|case| self.class(case).map(drop))
    }

    /// Runs one case, or says why it cannot be run here. `asked_for` is false for a case of the default set, which is passed over
    /// when the handler is not made for it.
    ///
    /// # Errors
    /// The case could not be run.
    pub fn run_case(
        &mut self,
        case: &Case,
        asked_for: bool,
        progress: &dyn Fn(&Words, u32),
    ) -> Result<CaseReport, Failure> {
        let class = self.class(case)?;
        if let Some(reason) = impossible(case, &class) {
            return Ok(CaseReport::skipped(case, &class, reason));
        }
        if !asked_for && let Some(reason) = not_made_for(case, &class) {
            return Ok(CaseReport::skipped(case, &class, reason));
        }
        let mut report = CaseReport::new(case, &class);
        let subject = Subject {
            command: self.command.clone(),
            class: class.class,
            extra: match &self.handlers {
                Handlers::Python { extra, .. } => extra.clone(),
                Handlers::Native => BTreeMap::new(),
            },
            interrupted: Arc::clone(&self.interrupted),
        };
        let kills = case.kills.map_or(0, |(_, count)| count);
        for number in 1.. {
            let directory = self
                .directory
                .join(format!("{}-{}", case.directory_name(), number));
            let outcome = round::run(
                case,
                &subject,
                &directory,
                kills - report.outcome.kills,
                progress,
            );
            let outcome = outcome.inspect_err(|_| {
                if !self.keep {
                    forget(&directory);
                }
            })?;
            let done = self.book(&mut report, outcome, &directory, number);
            if done || report.outcome.kills >= kills {
                break;
            }
        }
        report.judge();
        Ok(report)
    }

    /// Adds a round to the report; true when no further round makes sense.
    fn book(
        &self,
        report: &mut CaseReport,
        outcome: Outcome,
        directory: &Path,
        number: u32,
    ) -> bool {
        let fruitless = report.kills_asked > 0 && outcome.kills == 0;
        let failed = !outcome.findings.clean() || !outcome.troubles.is_empty() || fruitless;
        report.add(outcome, number);
        if fruitless {
            report.outcome.troubles.push(
                "a round ended before it had killed anybody: give it a larger --budget".to_owned(),
            );
        }
        if failed && self.keep {
            report.directory = Some(directory.to_owned());
        } else {
            forget(directory);
        }
        failed
    }

    fn class(&mut self, case: &Case) -> Result<Class, Failure> {
        let Handlers::Python { name, .. } = &self.handlers else {
            return Ok(native_class());
        };
        let name = class_name(name, case);
        if let Some(class) = self.classes.get(&name) {
            return Ok(class.clone());
        }
        let class = self.interpreter.describe(&name)?;
        self.classes.insert(name, class.clone());
        Ok(class)
    }
}

/// A round fills a quarter of a gigabyte, and there are hundreds of them.
fn forget(round: &Path) {
    let _ = std::fs::remove_dir_all(round);
}

const NATIVE: &str = "logboom::Log";

/// The Rust crate, described as if it were a class.
fn native_class() -> Class {
    Class {
        python: String::new(),
        class: NATIVE.to_owned(),
        parameters: ["maxBytes", "backupCount", "when", "watch"]
            .map(str::to_owned)
            .to_vec(),
        methods: vec!["doRollover".to_owned()],
    }
}

/// A dotted name whose last part begins with a small letter is a module: the scenario says which of its classes.
fn class_name(named: &str, case: &Case) -> String {
    let last = named.rsplit('.').next().unwrap_or(named);
    if last.starts_with(char::is_lowercase) {
        format!("{named}.{}", case.scenario.class)
    } else {
        named.to_owned()
    }
}

/// Why this machine or this class cannot run the case at all.
fn impossible(case: &Case, class: &Class) -> Option<String> {
    let lacks = |parameter: &str| {
        (!class.accepts(parameter))
            .then(|| format!("{} has no parameter `{parameter}`", class.class))
    };
    let scenario = case.scenario;
    match scenario.rotation {
        Rotation::Size => lacks("maxBytes"),
        Rotation::Time => lacks("when"),
        Rotation::LogrotateCreate | Rotation::LogrotateCopy if !outside::has_logrotate() => {
            Some("logrotate is not installed (apt-get install logrotate)".to_owned())
        }
        _ => None,
    }
    .or_else(|| {
        let by_hand = scenario.rotation == Rotation::Hand || scenario.rollover_first;
        (by_hand && !class.has("doRollover"))
            .then(|| format!("{} has no method `doRollover`", class.class))
    })
    .or_else(|| {
        if scenario.strain == Strain::Quota {
            quota::Quota::new().err()
        } else {
            None
        }
    })
}

/// Why a class is not meant for the case, though it could be tried.
fn not_made_for(case: &Case, class: &Class) -> Option<String> {
    let outside = matches!(
        case.scenario.rotation,
        Rotation::Move | Rotation::LogrotateCreate | Rotation::LogrotateCopy
    );
    let watches = class.has("reopenIfNeeded") || class.accepts("watch");
    let reason = || {
        format!(
            "{} does not claim to follow a rotation from outside; --scenario {} tries it",
            class.class, case.scenario.name
        )
    };
    (outside && !watches).then(reason)
}

/// True when nothing in the reports is wrong.
#[must_use]
pub fn all_fine(reports: &[CaseReport]) -> bool {
    reports
        .iter()
        .all(|report| report.verdict != Verdict::Failed)
}
