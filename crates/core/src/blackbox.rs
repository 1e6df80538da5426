//! The black box of a worker: what the survivors tell of it when it is dead.
//!
//! A worker leaves in shared memory which requests it was serving, its recorder (or what is left in its queue), what it
//! printed and, when it saw its death coming, why. This file makes a [`Death`] of that, and a record of the death; who may
//! do so, and when, is `log::harvest`'s to say. The same is kept as a JSON line in one of [`DEATHS`](crate::layout::DEATHS)
//! entries of the state, the oldest overwritten, for `logboom blackbox`.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use crate::capture::{self, Stream};
use crate::clock;
use crate::format::{Encoder, Format, Record, Value};
use crate::layout::{ASIDE_OUTPUT, DEATH_BYTES_MAX, DEATHS, DeathEntry, Slot};
use crate::options::Severity;
use crate::recorder::{self, Recorded};
use crate::requests::{self, RequestInFlight};
use crate::slots::Place;
use crate::state::State;

/// The component of the record.
pub(crate) const COMPONENT: &str = "logboom.blackbox";
/// The component of the access records of requests that died.
pub(crate) const ACCESS: &str = "logboom.access";
/// How much of a worker's last records is told.
const RECORDS_BYTES_MAX: usize = 40 << 10;
/// How much unread output of a dead worker is looked at.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 1 << 20;
const STACKS_BYTES_MAX: usize = 16 << 10;

/// How `faulthandler` begins at SIGABRT, which is how Gunicorn ends a worker at its timeout.
const ABORTED: &str = "Fatal Python error: Aborted";

/// What is known of a dead worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Death {
    pub process: u32,
    /// "was killed by SIGKILL".
    pub how: String,
    /// It did not simply end.
    pub violent: bool,
    /// Until it died, as far as that is known.
    pub lived_ns: u64,
    /// When it is told.
    pub time_ns: u64,
    /// When it died, or gave its last sign of life.
    pub died_ns: u64,
    /// It was its parent who told, at once.
    pub seen_dying: bool,
    pub requests: Vec<RequestInFlight>,
    pub requests_missed: u64,
    pub records: Vec<Recorded>,
    /// What `faulthandler` wrote.
    pub stacks: String,
}

/// Whether a worker, dead, has left something to be told: a place is not given away before.
pub(crate) fn is_due(state: &State, slot: u16) -> bool {
    let aside = &state.slot(slot).aside;
    let output = ASIDE_OUTPUT | ASIDE_OUTPUT << 1;
    aside.flags.load(Ordering::Acquire) & output != 0
        || !aside.dying.to_vec().is_empty()
        || requests::any(state, slot)
}

/// A line that a dead worker printed and nobody has made a record of.
pub(crate) struct Printed {
    pub stream: Stream,
    pub text: String,
    /// Where it ends in the file.
    pub upto: u64,
}

/// What there is to tell, and the lines printed last that are to become records of their own.
pub(crate) fn collect(
    state: &State,
    place: &Place,
    status: Option<i32>,
    out_of_memory: bool,
    records_max: usize,
) -> (Death, Vec<Printed>) {
    let slot = state.slot(place.slot);
    let (stacks, printed) = printed(state, place);
    let now_ns = clock::wall_ns();
    let records = recorder::last_of(state, place.slot, records_max);
    let requests = requests::in_flight(state, place.slot);
    let joined_ns = slot.joined_ns.load(Ordering::Relaxed);
    let signs = records.last().map(|record| record.time_ns);
    let signs = signs
        .into_iter()
        .chain(requests.last().map(|request| request.started_ns));
    let died_ns = match status {
        Some(_) => now_ns,
        None => signs.fold(joined_ns, u64::max).min(now_ns),
    };
    let mut cause = slot.aside.dying.to_vec();
    if cause.is_empty() && stacks.contains(ABORTED) {
        // Its own code could not say so: it was in C code.
        cause = b"aborted".to_vec();
    }
    let (how, violent) = how(status, &cause, out_of_memory);
    let death = Death {
        process: slot.pid.load(Ordering::Relaxed),
        how,
        violent: violent || !stacks.is_empty(),
        lived_ns: died_ns.saturating_sub(joined_ns),
        time_ns: now_ns,
        died_ns,
        seen_dying: status.is_some(),
        requests,
        requests_missed: slot.aside.requests_missed.load(Ordering::Relaxed),
        records: bounded(records),
        stacks,
    };
    (death, printed)
}

/// The newest records that fit what is told.
fn bounded(mut records: Vec<Recorded>) -> Vec<Recorded> {
    let mut room = RECORDS_BYTES_MAX;
    let fitting = records.iter().rev().take_while(|record| {
        room = room.saturating_sub(record.line.len());
        room > 0
    });
    let keep = fitting.count();
    records.drain(..records.len() - keep);
    records
}

/// What the worker printed and nobody has read: stacks that `faulthandler` wrote, and lines.
fn printed(state: &State, place: &Place) -> (String, Vec<Printed>) {
    let flags = state.slot(place.slot).aside.flags.load(Ordering::Acquire);
    let (mut stacks, mut printed) = (String::new(), Vec::new());
    for stream in Stream::ALL {
        if flags & stream.flag() == 0 {
            continue;
        }
        let (bytes, start) = capture::rest(state, place, stream, OUTPUT_BYTES_MAX);
        let mut in_stack = false;
        // A fatal error is told where the program was just writing: in the middle of a line, too.
        let (before, fatal) = bytes.split_at(capture::fatal_error(&bytes).unwrap_or(bytes.len()));
        let lines =
            capture::lines(before, start).chain(capture::lines(fatal, start + before.len() as u64));
        for (line, upto) in lines.filter(|(line, _)| !line.trim().is_empty()) {
            in_stack = begins_stack(&line) || in_stack && is_of_stack(&line);
            if in_stack && stacks.len() + line.len() < STACKS_BYTES_MAX {
                stacks.push_str(&line);
                stacks.push('\n');
            } else if !in_stack {
                let text = line.into_owned();
                printed.push(Printed { stream, text, upto });
            }
        }
    }
    (stacks, printed)
}

/// How CPython's `faulthandler` begins (Python/traceback.c, Modules/faulthandler.c: "Fatal Python error",
/// "Current thread", "Thread", "Stack").
fn begins_stack(line: &str) -> bool {
    let begins = [
        capture::FATAL_ERROR,
        "Current thread 0x",
        "Thread 0x",
        "Stack (most recent call first)",
    ];
    begins.iter().any(|begin| line.starts_with(begin))
}

fn is_of_stack(line: &str) -> bool {
    line.starts_with("  ")
        || line.starts_with("Extension modules: ")
        || line.starts_with("Current thread's C stack")
}

/// How the worker ended: waitpid(2)'s status where the parent tells, and what the worker said of itself.
fn how(status: Option<i32>, dying: &[u8], out_of_memory: bool) -> (String, bool) {
    let cause = String::from_utf8_lossy(dying);
    let (how, violent) = match status {
        Some(status) if libc::WIFSIGNALED(status) => {
            let signal = signal_name(libc::WTERMSIG(status));
            let memory = match (out_of_memory, libc::WTERMSIG(status)) {
                (true, libc::SIGKILL) => ": out of memory",
                _ => "",
            };
            let asked = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];
            let violent = !asked.contains(&libc::WTERMSIG(status));
            (format!("was killed by {signal}{memory}"), violent)
        }
        Some(status) => {
            let code = libc::WEXITSTATUS(status);
            (
                format!("ended with exit code {code}"),
                code != 0 && !cause.is_empty(),
            )
        }
        None => ("is gone".to_owned(), false),
    };
    if cause.is_empty() {
        (how, violent)
    } else {
        (format!("{how} ({cause})"), true)
    }
}

fn signal_name(signal: i32) -> Cow<'static, str> {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        other => return Cow::Owned(format!("signal {other}")),
    };
    Cow::Borrowed(name)
}

impl Death {
    /// Whether it is worth a record: a worker that ended by itself with no request open is not.
    pub fn is_worth_telling(&self) -> bool {
        self.violent || !self.requests.is_empty()
    }

    /// The record of the death, in the format of its log, in at most `bytes_max` bytes. What does not fit is left out:
    /// older records before newer ones, and those before the stacks.
    pub fn encode(&self, encoder: &Encoder, bytes_max: usize) -> Vec<u8> {
        // An encoder gives a field only a part of what the record may have; here the whole is measured.
        let generous = encoder.clone().record_bytes_max(bytes_max * 16);
        let mut death = Cow::Borrowed(self);
        loop {
            let line = death.encode_whole(&generous);
            if line.len() <= bytes_max {
                return line;
            }
            let death = death.to_mut();
            if !death.records.is_empty() {
                death.records.drain(..death.records.len().div_ceil(4));
            } else if !death.stacks.is_empty() {
                death.stacks.clear();
            } else {
                return death.encode_whole(&encoder.clone().record_bytes_max(bytes_max));
            }
        }
    }

    fn encode_whole(&self, encoder: &Encoder) -> Vec<u8> {
        let text = matches!(encoder.format(), Format::Text { .. });
        let mut record = self.record();
        if text {
            record.stack = Cow::Owned(self.told());
        } else {
            record.fields = self.fields();
        }
        encoder.line(&record)
    }

    /// The access record of a request that died with the worker.
    pub fn encode_unfinished(&self, request: &RequestInFlight, encoder: &Encoder) -> Vec<u8> {
        let lasted = seconds_between(request.started_ns, self.died_ns);
        let record = Record {
            time_ns: self.time_ns,
            severity: Severity::ERROR,
            level: "ERROR",
            component: ACCESS,
            message: Cow::Owned(format!(
                "{} \"{} {}\" unfinished after {}: worker {} {}",
                request.client,
                request.method,
                request.path,
                self.lasted(request),
                self.process,
                self.how
            )),
            process: Some(self.process),
            request: crate::format::Request {
                id: &request.id,
                method: &request.method,
                path: &request.path,
                client: &request.client,
                ..Default::default()
            },
            fields: vec![
                ("http.server.request.duration".into(), Value::Float(lasted)),
                ("unfinished".into(), Value::Bool(true)),
            ],
            ..Record::default()
        };
        encoder.line(&record)
    }

    fn record(&self) -> Record<'_> {
        let serving = match self.requests.len() {
            0 => ", no request was open".to_owned(),
            1 => format!(" while serving {}", self.named(&self.requests[0])),
            many => format!(" while serving {many} requests"),
        };
        Record {
            time_ns: self.time_ns,
            severity: Severity::ERROR,
            level: "ERROR",
            component: COMPONENT,
            message: Cow::Owned(format!("worker {} {}{serving}", self.process, self.how)),
            process: Some(self.process),
            ..Record::default()
        }
    }

    /// What is told in text, below the message.
    fn told(&self) -> String {
        let mut told = String::new();
        for request in &self.requests {
            told += &format!(
                "request {} (thread {}, client {})\n",
                self.named(request),
                request.thread,
                request.client
            );
        }
        if self.requests_missed > 0 {
            told += &format!(
                "and {} more requests in its life for which there was no room\n",
                self.requests_missed
            );
        }
        if !self.stacks.is_empty() {
            told += "stacks:\n";
            self.stacks
                .lines()
                .for_each(|line| told += &format!("  {line}\n"));
        }
        if !self.records.is_empty() {
            told += &format!("its last {} records:\n", self.records.len());
            let lines = self.records.iter().flat_map(|record| record.line.lines());
            lines.for_each(|line| told += &format!("  {line}\n"));
        }
        told.truncate(told.trim_end().len());
        told
    }

    fn fields(&self) -> Vec<(Cow<'_, str>, Value<'_>)> {
        let requests = self.requests.iter().map(|request| {
            Value::Map(vec![
                ("id".into(), text(&request.id)),
                ("method".into(), text(&request.method)),
                ("path".into(), text(&request.path)),
                ("client".into(), text(&request.client)),
                ("thread".into(), Value::Uint(request.thread)),
                (
                    "seconds".into(),
                    Value::Float(seconds_between(request.started_ns, self.died_ns)),
                ),
            ])
        });
        let records = self.records.iter().map(|record| {
            Value::Map(vec![
                ("time_unix_nano".into(), Value::Uint(record.time_ns)),
                (
                    "severity_number".into(),
                    Value::Uint(u64::from(record.severity.0)),
                ),
                ("component".into(), text(&record.component)),
                ("request".into(), text(&record.request)),
                ("line".into(), text(&record.line)),
            ])
        });
        vec![
            ("blackbox.how".into(), text(&self.how)),
            (
                "blackbox.lived_seconds".into(),
                Value::Float(self.lived_ns as f64 / 1e9),
            ),
            ("blackbox.requests".into(), Value::List(requests.collect())),
            (
                "blackbox.requests_missed".into(),
                Value::Uint(self.requests_missed),
            ),
            ("blackbox.stacks".into(), text(&self.stacks)),
            ("blackbox.records".into(), Value::List(records.collect())),
        ]
    }
}

impl Death {
    fn named(&self, request: &RequestInFlight) -> String {
        let lasted = self.lasted(request);
        format!(
            "{} {} for {lasted}, id {}",
            request.method, request.path, request.id
        )
    }

    /// How long a request took until the worker died; a survivor only knows its last sign of life.
    fn lasted(&self, request: &RequestInFlight) -> String {
        let seconds = seconds_between(request.started_ns, self.died_ns);
        let more = if self.seen_dying { "" } else { " or more" };
        format!("{seconds:.1} s{more}")
    }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

/// Keeps a death in the state. The lease is held. A second telling of the same worker, after the first teller was
/// killed, takes the first one's entry.
pub(crate) fn keep(state: &State, place: &Place, death: &Death, encoder: &Encoder) {
    let counter = &state.control().counters.deaths;
    let worker = u64::from(place.epoch) << 16 | u64::from(place.slot);
    let last = counter.load(Ordering::Relaxed);
    let again = last > 0 && state.death(last).worker.load(Ordering::Relaxed) == worker;
    let number = if again { last } else { last + 1 };
    if state
        .allocate(state.death_at(number), size_of::<DeathEntry>())
        .is_err()
    {
        return;
    }
    let line = death.encode(&encoder.clone().with_format(Format::Json), DEATH_BYTES_MAX);
    let entry = state.death(number);
    entry.number.store(0, Ordering::Release);
    entry.text.set(&line);
    entry.time_ns.store(death.time_ns, Ordering::Relaxed);
    entry.worker.store(worker, Ordering::Relaxed);
    // ORDERING: the entry is complete before it counts; pairs with `kept`.
    entry.number.store(number, Ordering::Release);
    counter.store(number, Ordering::Release);
}

/// The deaths that are kept, oldest first: their numbers and JSON lines.
pub(crate) fn kept(state: &State) -> Vec<(u64, String)> {
    let last = state.control().counters.deaths.load(Ordering::Acquire);
    let first = last.saturating_sub(DEATHS as u64 - 1).max(1);
    let entries = (first..=last).map(|number| (number, state.death(number)));
    entries
        .filter(|(number, entry)| entry.number.load(Ordering::Acquire) == *number)
        .map(|(number, entry)| {
            let text = String::from_utf8_lossy(&entry.text.to_vec())
                .trim_end()
                .to_owned();
            (number, text)
        })
        .collect()
}

/// How often the kernel has killed for lack of memory in this process's memory cgroup (cgroups v1 memory.oom_control,
/// cgroup v2 memory.events: `oom_kill`). None: it does not say.
pub(crate) fn out_of_memory_kills() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let paths = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        match (parts.next()?, parts.next()?, parts.next()?) {
            ("0", "", path) => Some(format!("/sys/fs/cgroup{path}/memory.events")),
            (_, "memory", path) => Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control")),
            _ => None,
        }
    });
    let counts = paths.filter_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    });
    counts.reduce(u64::max)
}

/// A worker has a message for its survivors.
pub(crate) fn expect(slot: &Slot, cause: &str) {
    slot.aside.dying.set(cause.as_bytes());
}
