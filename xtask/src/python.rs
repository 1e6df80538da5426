//! Finds the CPythons of the machine and makes virtual environments with them.
//!
//! A virtual environment carries a stamp (interpreter and list of packages); it is made anew when either differs,
//! or when its making was cut short, so that it is always whole.

use crate::paths;
use crate::process;
use crate::screen::Progress;
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The versions that the package supports, newest first: the minor of 3.x.
const MINORS: [u32; 4] = [13, 12, 11, 10];
const SETUP_LIMIT: Duration = Duration::from_secs(600);

/// One CPython of the machine.
pub struct Python {
    /// `3.12.1`
    pub version: String,
    /// `3.12`
    pub series: String,
    /// The interpreter.
    pub program: PathBuf,
}

/// One CPython per supported series, newest series first. Fails if there is none at all.
pub fn all() -> Result<Vec<Python>> {
    let found: Vec<Python> = MINORS.iter().filter_map(|minor| find(*minor)).collect();
    if found.is_empty() {
        bail!(
            "failed to find a CPython 3.10 to 3.13 with the `venv` module; install one (apt install python3-venv)"
        );
    }
    Ok(found)
}

/// The newest supported CPython.
pub fn newest() -> Result<Python> {
    Ok(all()?.swap_remove(0))
}

fn find(minor: u32) -> Option<Python> {
    let series = format!("3.{minor}");
    let mut candidates = in_pyenv(&series);
    candidates.extend(process::on_path(&format!("python{series}")));
    candidates.extend(process::on_path("python3"));
    candidates
        .into_iter()
        .find_map(|program| probe(&program, &series))
}

/// Interpreters of that series under pyenv, newest first. Its shims on PATH answer for one version only.
fn in_pyenv(series: &str) -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    let Some(pyenv) = env::var_os("PYENV_ROOT").map(PathBuf::from).or(home) else {
        return Vec::new();
    };
    let versions = fs::read_dir(pyenv.join("versions"))
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let patch = name.strip_prefix(series)?.strip_prefix('.')?.parse().ok()?;
            Some((
                patch,
                entry.path().join("bin").join(format!("python{series}")),
            ))
        })
        .collect();
    found.sort_by_key(|(patch, _)| std::cmp::Reverse(*patch));
    found.into_iter().map(|(_, program)| program).collect()
}

/// Asks an interpreter for its version; None if it does not run, is another series, or cannot make environments.
fn probe(program: &Path, series: &str) -> Option<Python> {
    let question = "import platform, sys, venv, ensurepip; print(platform.python_implementation(), \
                    platform.python_version(), sys.executable)";
    let answer = Command::new(program).args(["-c", question]).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let mut words = text.split_whitespace();
    let (implementation, version, executable) = (words.next()?, words.next()?, words.next()?);
    let fits = implementation == "CPython" && version.strip_prefix(series)?.starts_with('.');
    fits.then(|| Python {
        version: version.to_owned(),
        series: series.to_owned(),
        program: executable.into(),
    })
}

/// A virtual environment.
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment in `folder` with the packages of the file `requirements`; made, or left as it is if it fits.
    pub fn make(
        folder: &Path,
        python: &Python,
        requirements: &Path,
        progress: Option<&Progress>,
    ) -> Result<Venv> {
        let venv = Venv {
            folder: folder.to_owned(),
        };
        let pins = paths::requirements("pins");
        let (list, versions) = (read(requirements)?, read(&pins)?);
        let program = python.program.display();
        let stamp = format!("{program} {}\n{list}{versions}", python.version);
        let stamp_file = folder.join("xtask-stamp");
        if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
            return Ok(venv);
        }
        let note = |line: &str| {
            if let Some(progress) = progress {
                progress.note(line);
            }
        };
        let mut create = Command::new(&python.program);
        create.args(["-m", "venv", "--clear"]).arg(folder);
        process::run_ok(create, SETUP_LIMIT, &note)?;
        let mut install = venv.pip("install");
        install
            .arg("--requirement")
            .arg(requirements)
            .arg("--constraint")
            .arg(&pins);
        process::run_ok(install, SETUP_LIMIT, &note)?;
        fs::write(&stamp_file, stamp)
            .with_context(|| format!("failed to write `{}`", stamp_file.display()))?;
        Ok(venv)
    }

    /// Installs what can be had of a list, each for itself; what cannot is left out.
    pub fn install_optional(&self, list: &Path) -> Result<()> {
        let stamp_file = self.folder.join("xtask-optional");
        let list = read(list)?;
        if fs::read_to_string(&stamp_file).is_ok_and(|found| found == list) {
            return Ok(());
        }
        let packages = list.lines().filter(|line| !line.starts_with('#'));
        for package in packages.filter(|line| !line.trim().is_empty()) {
            let mut install = self.pip("install");
            install.arg(package);
            // Its tests are skipped, and say why.
            let _ = process::run_ok(install, SETUP_LIMIT, &|_| ());
        }
        fs::write(&stamp_file, list)
            .with_context(|| format!("failed to write `{}`", stamp_file.display()))
    }

    /// Installs a wheel over whatever build of it is there; its dependencies are not touched.
    pub fn install_wheel(&self, wheel: &Path) -> Result<()> {
        let mut install = self.pip("install");
        install
            .args(["--force-reinstall", "--no-deps", "--no-index"])
            .arg(wheel);
        process::run_ok(install, SETUP_LIMIT, &|_| ()).map(drop)
    }

    /// A program of the environment.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// A command that runs a program of the environment, with the environment first on PATH.
    pub fn command(&self, name: &str) -> Command {
        self.activated(Command::new(self.program(name)))
    }

    /// The command, which finds the programs of the environment first.
    pub fn activated(&self, mut command: Command) -> Command {
        let old = env::var_os("PATH").unwrap_or_default();
        let path =
            env::join_paths(std::iter::once(self.folder.join("bin")).chain(env::split_paths(&old)));
        command
            .env("PATH", path.unwrap_or(old))
            .env("VIRTUAL_ENV", &self.folder);
        command
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn pip(&self, verb: &str) -> Command {
        let mut command = self.command("python");
        command.args([
            "-m",
            "pip",
            verb,
            "--disable-pip-version-check",
            "--no-input",
        ]);
        command
    }

    /// `pip wheel` without isolation: the build's needs are in this environment already.
    pub fn pip_wheel(&self, source: &Path, into: &Path) -> Command {
        let mut command = self.pip("wheel");
        command
            .args(["--no-deps", "--no-build-isolation", "--wheel-dir"])
            .arg(into)
            .arg(source);
        command
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))
}
