//! What several steps need: the Pythons, an environment with the linters, the wheel, and an environment per Python
//! with the wheel installed. Each is made once, by whoever asks first; `prepare` asks early, in the background.

use crate::paths;
use crate::python::{self, Python, Venv};
use crate::wheel;
use anyhow::{Result, anyhow};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Something that steps use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The environment with the linters.
    Tools,
    /// The wheel.
    Wheel,
    /// The test environment of the Python with this index.
    Venv(usize),
}

type Once<T> = OnceLock<Result<T, String>>;

/// The shared set-up of a test run.
pub struct Workbench {
    /// True if everything is to be run long.
    pub full: bool,
    /// One CPython per supported series, oldest first.
    pub pythons: Vec<Python>,
    in_background: OnceLock<Vec<Need>>,
    tools: Once<Venv>,
    wheel: Once<PathBuf>,
    venvs: Vec<Once<Venv>>,
}

impl Workbench {
    /// Looks for the Pythons; makes nothing yet.
    pub fn new(full: bool) -> Result<Workbench> {
        let mut pythons = python::all()?;
        pythons.reverse();
        let venvs = pythons.iter().map(|_| OnceLock::new()).collect();
        Ok(Workbench {
            full,
            pythons,
            in_background: OnceLock::new(),
            tools: OnceLock::new(),
            wheel: OnceLock::new(),
            venvs,
        })
    }

    /// Says what `prepare` is going to make.
    pub fn announce(&self, needs: Vec<Need>) {
        let _ = self.in_background.set(needs);
    }

    /// Makes what was announced, or waits until it is made. Failures are reported by the steps that need what failed.
    pub fn prepare(&self) {
        for need in self.in_background.get().into_iter().flatten() {
            let _ = match need {
                Need::Tools => self.tools().map(drop),
                Need::Wheel => self.wheel().map(drop),
                Need::Venv(index) => self.venv(*index).map(drop),
            };
        }
    }

    /// The environment with ruff and mypy, without the wheel.
    pub fn tools(&self) -> Result<&Venv> {
        made(&self.tools, || {
            let folder = paths::work().join("tools-venv");
            Venv::make(
                &folder,
                &python::newest()?,
                &paths::requirements("tools"),
                None,
            )
        })
    }

    /// The wheel, built in this run.
    pub fn wheel(&self) -> Result<&PathBuf> {
        made(&self.wheel, || wheel::build(None))
    }

    /// The environment of `pythons[index]` with what the Python tests need, and with the wheel.
    pub fn venv(&self, index: usize) -> Result<&Venv> {
        made(&self.venvs[index], || {
            let python = &self.pythons[index];
            let folder = paths::work().join(format!("test-venv-{}", python.series));
            let venv = Venv::make(
                &folder,
                python,
                &paths::root().join("tests/python/requirements.txt"),
                None,
            )?;
            if index + 1 == self.pythons.len() {
                venv.install_optional(&paths::root().join("tests/python/optional.txt"))?;
            }
            venv.install_wheel(self.wheel()?)?;
            Ok(venv)
        })
    }

    /// The environment of the newest Python.
    pub fn newest_venv(&self) -> Result<&Venv> {
        self.venv(self.pythons.len() - 1)
    }
}

fn made<T>(once: &Once<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    once.get_or_init(|| make().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|text| anyhow!("{text}"))
}
