//! The catalogue of scenarios: how the log is rotated, and what is done to the workers meanwhile.
//!
//! A scenario is one entry of [`SCENARIOS`]; a [`Case`] is a scenario with its numbers filled in.

use serde::Serialize;

/// How the log is rotated while the workers write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// Not at all.
    Never,
    /// By the handler, when the file would exceed its size limit.
    Size,
    /// By the handler, each second.
    Time,
    /// By calls of `doRollover()` in worker 0.
    Hand,
    /// By an outside `mv`.
    Move,
    /// By `logrotate` with `create`.
    LogrotateCreate,
    /// By `logrotate` with `copytruncate`, which destroys what is written between its copy and its truncation.
    LogrotateCopy,
}

/// Whom a SIGKILL hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// Any worker.
    Worker,
    /// The worker that holds the drain lease, where that can be seen.
    Holder,
    /// All processes at once.
    Group,
}

/// What else is done to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strain {
    /// Nothing.
    None,
    /// One at a time is stopped for a while (SIGSTOP).
    Stop,
    /// One at a time gets hardly any CPU (cgroup quota).
    Quota,
}

/// How worker processes come to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Forked from one master process.
    Fork,
    /// Each a fresh interpreter.
    Spawn,
}

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// How the log is rotated.
    pub rotation: Rotation,
    /// Whether each worker calls `doRollover()` before its first record.
    pub rollover_first: bool,
    /// Whom kills hit, and how many kills there are unless asked otherwise.
    pub kills: Option<(Victim, u32)>,
    /// What else is done to the workers.
    pub strain: Strain,
    /// The handler class of `logboom.handlers` or `logging.handlers` that it is about.
    pub class: &'static str,
    /// False where losses are to be expected from anybody, so that they are shown and not judged.
    pub judged: bool,
}

const PLAIN: Scenario = Scenario {
    name: "plain",
    about: "no rotation",
    rotation: Rotation::Never,
    rollover_first: false,
    kills: None,
    strain: Strain::None,
    class: "FileHandler",
    judged: true,
};

const SIZE: Scenario = Scenario {
    name: "size",
    about: "rotated by size",
    rotation: Rotation::Size,
    class: "RotatingFileHandler",
    ..PLAIN
};

/// All scenarios.
pub static SCENARIOS: [Scenario; 13] = [
    PLAIN,
    SIZE,
    Scenario {
        name: "time",
        about: "rotated each second",
        rotation: Rotation::Time,
        class: "TimedRotatingFileHandler",
        ..PLAIN
    },
    Scenario {
        name: "hand",
        about: "one worker calls doRollover()",
        rotation: Rotation::Hand,
        ..SIZE
    },
    Scenario {
        name: "rollover-first",
        about: "each handler calls doRollover() before its first record, then rotated by size",
        rollover_first: true,
        ..SIZE
    },
    Scenario {
        name: "mv",
        about: "an outside mv",
        rotation: Rotation::Move,
        class: "WatchedFileHandler",
        ..PLAIN
    },
    Scenario {
        name: "logrotate",
        about: "a real logrotate with `create`",
        rotation: Rotation::LogrotateCreate,
        class: "WatchedFileHandler",
        ..PLAIN
    },
    Scenario {
        name: "copytruncate",
        about: "a real logrotate with `copytruncate`, which itself destroys records: shown, not judged",
        rotation: Rotation::LogrotateCopy,
        class: "WatchedFileHandler",
        judged: false,
        ..PLAIN
    },
    Scenario {
        name: "kill",
        about: "rotated by size, workers killed at random moments",
        kills: Some((Victim::Worker, 100)),
        ..SIZE
    },
    Scenario {
        name: "kill-holder",
        about: "rotated by size, the lease holder killed",
        kills: Some((Victim::Holder, 50)),
        ..SIZE
    },
    Scenario {
        name: "kill-group",
        about: "rotated by size, all processes killed at once and restarted",
        kills: Some((Victim::Group, 10)),
        ..SIZE
    },
    Scenario {
        name: "stop",
        about: "rotated by size, one process stopped for a while",
        strain: Strain::Stop,
        ..SIZE
    },
    Scenario {
        name: "quota",
        about: "rotated by size, one process starved by a CPU quota (cgroup v1)",
        strain: Strain::Quota,
        ..SIZE
    },
];

/// The scenario of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// A scenario with its numbers.
#[derive(Debug, Clone)]
pub struct Case {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// How the workers start.
    pub start: Start,
    /// Whether the handler is made before the fork.
    pub preload: bool,
    /// Worker processes alive at a time.
    pub process_count: u32,
    /// Threads of each that write.
    pub thread_count: u32,
    /// Smallest and largest record, in bytes.
    pub size: (u32, u32),
    /// Records of each thread; 0 = no limit.
    pub record_count: u64,
    /// How long a round without kills takes, in milliseconds.
    pub duration_ms: u64,
    /// Bytes after which a round ends.
    pub budget: u64,
    /// Whom the kills hit, and how many there are.
    pub kills: Option<(Victim, u32)>,
}

/// So long the budget of a round with kills lasts, if its rotations come by the clock: a second and a half for the first.
const KILLS_MS: u64 = 3000;

impl Case {
    /// The middle of the sizes as they are drawn (evenly in their logarithm).
    #[must_use]
    pub fn mean_size(&self) -> f64 {
        let (small, large) = (f64::from(self.size.0), f64::from(self.size.1));
        if small < large {
            (large - small) / (large / small).ln()
        } else {
            small
        }
    }

    /// The size limit of a file, where the handler rotates by size: up to 200 files per round, each of at least two records.
    #[must_use]
    pub fn bytes_max(&self) -> Option<u64> {
        let (small, large) = (20_000, u64::from(self.size.1));
        let limit = match self.pace() {
            Some((bytes_per_s, _)) => {
                let threads = u64::from(self.process_count * self.thread_count);
                (bytes_per_s * threads * self.duration_ms / 1000 / 40).max(2 * large)
            }
            None => (self.budget / 200).max(8 * large),
        };
        let limit = limit.max(small);
        (self.scenario.rotation == Rotation::Size).then_some(limit)
    }

    /// So many archives that retention never deletes evidence.
    #[must_use]
    pub fn backup_count(&self) -> u64 {
        100 + 2 * self
            .bytes_max()
            .map_or(200, |bytes_max| self.budget / bytes_max)
    }

    /// Bytes a second and thread at which the workers write, and how far they may run ahead; `None` = as fast as they can.
    ///
    /// A stopped or starved lease holder delays the files; what the others write meanwhile has to fit in their queues (128 KiB at
    /// the smallest), since dropping beyond that is the stated policy. Rotations that come by the clock need the budget to last.
    #[must_use]
    pub fn pace(&self) -> Option<(u64, u64)> {
        let threads = u64::from(self.process_count * self.thread_count);
        if self.scenario.strain != Strain::None {
            return Some((
                96 * 1024 / u64::from(self.thread_count),
                16 * 1024 / u64::from(self.thread_count),
            ));
        }
        if self.record_count > 0 {
            return None;
        }
        let duration_ms = self.duration_ms.max(1);
        match (self.scenario.rotation, self.kills) {
            (Rotation::Size, _) | (Rotation::Never, Some(_)) => None,
            (_, None) => {
                let bytes_per_s = self.budget * 1000 / duration_ms / threads;
                Some((bytes_per_s, self.budget / 50 / threads))
            }
            // Not slower than has to be, and each worker that takes a killed one's place runs ahead anew.
            (_, Some(_)) => {
                let bytes_per_s = self.budget * 1000 / duration_ms.min(KILLS_MS) / threads;
                Some((bytes_per_s, bytes_per_s / 100))
            }
        }
    }

    /// The case in a few words.
    #[must_use]
    pub fn label(&self) -> String {
        let kills = if self.kills.is_some() && self.scenario.kills.is_none() {
            "+kills"
        } else {
            ""
        };
        format!("{}{kills}", self.scenario.name)
    }

    /// A name for the case's directories.
    #[must_use]
    pub fn directory_name(&self) -> String {
        let start = self.start_label().replace(", ", "-");
        format!(
            "{}-{start}-{}p",
            self.label().replace('+', "-"),
            self.process_count
        )
    }

    /// How the workers start, in a word or two.
    #[must_use]
    pub fn start_label(&self) -> &'static str {
        match (self.start, self.preload) {
            (Start::Fork, false) => "fork",
            (Start::Fork, true) => "fork, preload",
            (Start::Spawn, _) => "spawn",
        }
    }
}
