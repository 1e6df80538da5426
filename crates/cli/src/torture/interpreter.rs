//! The Python that runs the workers, and what a handler class there accepts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::exit::{Context, Failure};

/// The worker script; it needs nothing but the standard library, so it runs under any Python 3.10 or newer.
const SCRIPT: &str = include_str!("../../../../python/logboom/_torture.py");

/// A Python with the worker script.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// The program.
    pub program: PathBuf,
    /// The script, in the directory of this run.
    pub script: PathBuf,
}

/// A handler class, as the interpreter describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Class {
    /// The version of the interpreter.
    pub python: String,
    /// The class's full name.
    pub class: String,
    /// Names that its constructor accepts.
    pub parameters: Vec<String>,
    /// Which of the methods that matter here it has.
    pub methods: Vec<String>,
}

impl Class {
    /// Whether the constructor accepts this parameter.
    #[must_use]
    pub fn accepts(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|name| name == parameter)
    }

    /// Whether the class has this method.
    #[must_use]
    pub fn has(&self, method: &str) -> bool {
        self.methods.iter().any(|name| name == method)
    }
}

impl Interpreter {
    /// Takes `program`, else the Python beside this executable, else `python3` in `PATH`; writes the script to `directory`.
    ///
    /// # Errors
    /// The script cannot be written.
    pub fn new(program: Option<PathBuf>, directory: &Path) -> Result<Self, Failure> {
        let script = directory.join("_torture.py");
        fs::write(&script, SCRIPT).or_failed("write", script.display())?;
        Ok(Self {
            program: program
                .or_else(beside_us)
                .unwrap_or_else(|| PathBuf::from("python3")),
            script,
        })
    }

    /// Asks what the class of this dotted name accepts.
    ///
    /// # Errors
    /// The interpreter cannot be run, or the class cannot be imported by it.
    pub fn describe(&self, class: &str) -> Result<Class, Failure> {
        let mut command = Command::new(&self.program);
        command
            .arg("-B")
            .arg(&self.script)
            .args(["--describe", class])
            .stdin(Stdio::null());
        let output = command.output().or_failed("run", self.program.display())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let cause = said
                .trim()
                .lines()
                .last()
                .unwrap_or("it said nothing")
                .to_owned();
            return Err(Failure::could_not_run(format!(
                "failed to import `{class}` with `{}`: {cause}; install its package for that Python, or name another Python with --python",
                self.program.display()
            )));
        }
        serde_json::from_slice(&output.stdout).or_failed("understand the description of", class)
    }
}

fn beside_us() -> Option<PathBuf> {
    let python = std::env::current_exe().ok()?.with_file_name("python3");
    python.is_file().then_some(python)
}
