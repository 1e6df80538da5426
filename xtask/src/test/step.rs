//! The list of steps. A new check or runner is one function in `checks` or `runners` and one line here.

use super::report::Report;
use super::workbench::{Need, Workbench};
use super::{checks, runners};
use crate::screen::Progress;
use anyhow::Result;

type Run = Box<dyn Fn(&Workbench, &Progress) -> Result<Report> + Send + Sync>;

/// One step.
pub struct Step {
    /// For `--only`.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What it uses; made in the background while earlier steps run.
    pub needs: Vec<Need>,
    /// True if it mostly waits and disturbs nobody, so that a neighbour of the same kind may run beside it.
    pub beside: bool,
    /// Does it. An error is a failure of the step.
    pub run: Run,
}

impl Step {
    fn new(
        name: &str,
        title: &str,
        run: impl Fn(&Workbench, &Progress) -> Result<Report> + Send + Sync + 'static,
    ) -> Step {
        let (name, title) = (name.to_owned(), title.to_owned());
        let (needs, run) = (Vec::new(), Box::new(run));
        Step {
            name,
            title,
            needs,
            beside: false,
            run,
        }
    }

    fn with(mut self, needs: impl IntoIterator<Item = Need>) -> Step {
        self.needs.extend(needs);
        self
    }

    fn beside_its_neighbours(mut self) -> Step {
        self.beside = true;
        self
    }

    /// True for the step's name and for the beginning of it.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.starts_with(&format!("{name}-"))
    }
}

/// All steps of this run, in order.
pub fn all(bench: &Workbench) -> Vec<Step> {
    let newest = Need::Venv(bench.pythons.len() - 1);
    let every = (0..bench.pythons.len()).map(Need::Venv);
    let mut steps = vec![
        Step::new("tools", "programs that some tests need", checks::tools),
        Step::new("fmt", "the Rust code is formatted", checks::fmt),
        Step::new("clippy", "no warning in any Rust target", checks::clippy),
        Step::new(
            "ruff",
            "the Python code is formatted, without a warning",
            checks::ruff,
        )
        .with([Need::Tools]),
        Step::new(
            "doc",
            "the Rust documentation, without a warning",
            checks::doc,
        ),
        Step::new(
            "nextest",
            "Rust tests, a process for each",
            runners::nextest,
        ),
        Step::new(
            "doctest",
            "examples in the Rust documentation",
            runners::doctest,
        ),
        Step::new("loom", "models under every order of memory", runners::loom),
        Step::new("wheel", "one wheel for every CPython", checks::wheel).with(every),
        Step::new(
            "stubtest",
            "the stub fits the extension module",
            checks::stubtest,
        )
        .with([Need::Tools, Need::Wheel]),
    ];
    for (index, python) in bench.pythons.iter().enumerate() {
        let title = format!("Python tests on CPython {}", python.version);
        let run = move |bench: &_, progress: &_| runners::pytest(bench, index, progress);
        let name = format!("pytest-{}", python.series);
        steps.push(Step::new(&name, &title, run).with([Need::Venv(index)]));
    }
    let with_servers = if bench.full {
        0
    } else {
        bench.pythons.len() - 1
    };
    for (index, python) in bench.pythons.iter().enumerate().skip(with_servers) {
        for half in runners::HALVES {
            let title = format!("tests with servers on CPython {}, {half}", python.version);
            let run = move |bench: &_, progress: &_| runners::servers(bench, index, half, progress);
            let name = format!("servers-{}-{half}", python.series);
            let step = Step::new(&name, &title, run).with([Need::Venv(index)]);
            steps.push(step.beside_its_neighbours());
        }
    }
    for (index, python) in bench.pythons.iter().enumerate() {
        let title = format!("the handler tests of CPython {} itself", python.version);
        let run = move |bench: &_, progress: &_| runners::cpython(bench, index, progress);
        let name = format!("cpython-{}", python.series);
        let step = Step::new(&name, &title, run).with([Need::Venv(index)]);
        steps.push(step.beside_its_neighbours());
    }
    let last = bench.pythons.len() - 1;
    let run = move |bench: &_, progress: &_| runners::gunicorn(bench, last, progress);
    steps.push(Step::new("gunicorn", "the logger tests of Gunicorn itself", run).with([newest]));
    steps.extend([
        Step::new("examples", "the Rust examples run", runners::examples),
        Step::new(
            "torture",
            "workers, rotations, kills: nothing lost",
            runners::torture,
        )
        .with([newest]),
        Step::new(
            "demo",
            "the shop under Gunicorn: nothing lost",
            runners::demo,
        )
        .with([Need::Wheel]),
        Step::new(
            "picture",
            "the README's picture shows what it is for",
            runners::picture,
        )
        .with([Need::Wheel]),
    ]);
    if bench.full {
        steps.push(Step::new(
            "fuzz",
            "any bytes are decoded or refused",
            runners::fuzz,
        ));
    }
    steps
}
