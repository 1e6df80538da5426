//! The relay of one spool directory: it holds the lease while there is traffic, and a shipper for each destination.
//!
//! It is driven by [`Relay::tick`], which never waits long. Always holds: one relay at a time for a domain (the kernel's lock says
//! which); a plan that cannot be used leaves the one before in force; on leaving, what is not shipped stays in the spool, with the
//! cursor behind the last settled record. When it is killed, the workers drain for each other again, and the next relay goes on there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logboom::{Error, Log, LogOptions, Relaying, Severity};
use logboom_config::beside;

use crate::figures::{Figures, Gauge, State, now_ns};
use crate::plan::{self, MainLog, Plan, PlanFile};
use crate::serving::Serving;
use crate::shipper::{Dropped, END_WAIT, Say, Shipper, Terms};
use crate::sink;
use crate::source::Began;
use crate::spool::Reader;
use crate::stop::Stop;
use crate::telling::Teller;

/// How often plans are looked at and figures stored.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A relay that was started on demand ends when nobody has needed it for so long.
const LINGER: Duration = Duration::from_secs(1);
/// How long an ending relay waits for its shippers; one that is connecting by then is left behind.
const LEAVE_WAIT: Duration = END_WAIT.saturating_add(Duration::from_millis(900));
/// How long another relay that is leaving may still have a spool before that is said.
const HAND_OVER: Duration = Duration::from_secs(30);
/// How long it is waited for a shipper's count of what is left; it counts many times within that.
const COUNT_WAIT: Duration = Duration::from_millis(500);

/// The relay of one spool directory.
pub struct Relay {
    root: PathBuf,
    on_demand: bool,
    destinations: BTreeMap<String, Destination>,
    /// Destinations that are told to end and have not yet: their spools are theirs until then.
    leaving: Vec<Destination>,
    /// The plans in force, of which some may wait for a spool.
    plans: BTreeMap<String, Plan>,
    /// Spools that another process has, and since when.
    taken: BTreeMap<String, Instant>,
    teller: Arc<Teller>,
    /// A spool of the domain.
    spool: Option<Arc<Log>>,
    serving: Vec<Serving>,
    /// The log of `main` that is served, as the plans name it.
    main: Option<MainLog>,
    relaying: Option<Relaying>,
    looked: Instant,
    idle_since: Option<Instant>,
    /// The files of the plans, as they were read.
    files: BTreeMap<String, Arc<PlanFile>>,
    /// Plans that cannot be used, each said once.
    refused: BTreeMap<String, Refusal>,
    /// Device and inode of the directory.
    identity: Option<(u64, u64)>,
}

/// A plan that cannot be used.
struct Refusal {
    why: String,
    /// What is shown of the destination if nobody serves it.
    figures: Figures,
}

/// A destination that is being served.
struct Destination {
    plan: Plan,
    spool: Arc<Log>,
    gauge: Gauge,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
    /// The figures as they were stored last.
    stored: Figures,
    spool_bytes: u64,
    rate: u64,
    /// Records delivered when that was looked at last, and when.
    delivered: (u64, Instant),
}

impl Relay {
    /// Becomes the relay of the spools in `root`. `on_demand`: it ends by itself when nobody needs it, see [`Relay::is_over`].
    /// `domain`: the id of the domain that whoever started it is in.
    ///
    /// # Errors
    /// Another process is the relay (the text names it), no destination is known there, a spool cannot be opened, or what can be seen
    /// from here is another domain.
    pub fn start(root: &Path, on_demand: bool, domain: Option<u64>) -> Result<Relay, String> {
        let root = root
            .canonicalize()
            .map_err(|error| format!("failed to open the spool `{}`: {error}", root.display()))?;
        let mut relay = Relay {
            teller: Arc::new(Teller::new()),
            root,
            on_demand,
            destinations: BTreeMap::new(),
            leaving: Vec::new(),
            plans: BTreeMap::new(),
            taken: BTreeMap::new(),
            spool: None,
            serving: Vec::new(),
            main: None,
            relaying: None,
            looked: Instant::now(),
            idle_since: None,
            files: BTreeMap::new(),
            refused: BTreeMap::new(),
            identity: None,
        };
        relay.identity = relay.present_identity();
        let plans = relay.read_plans()?;
        if plans.is_empty() {
            return Err(relay.nothing_to_do());
        }
        relay.claim(&plans, domain)?;
        relay.apply(plans);
        Ok(relay)
    }

    fn nothing_to_do(&self) -> String {
        let why: Vec<_> = self.refused.values().map(|of| of.why.as_str()).collect();
        let root = self.root.display();
        match why.is_empty() {
            true => format!(
                "failed to ship from `{root}`: no destination is known there; start the program that logs, or name its logboom.toml with --config"
            ),
            false => format!("failed to ship from `{root}`: {}", why.join("; ")),
        }
    }

    /// Opens the first spool, which is a way into the domain, and becomes its relay.
    fn claim(&mut self, plans: &BTreeMap<String, Plan>, domain: Option<u64>) -> Result<(), String> {
        let Some(plan) = plans.values().next() else {
            return Ok(());
        };
        let spool = open_spool(&self.root, plan).map_err(|error| error.to_string())?;
        let own = spool.status().domain_id;
        if domain.is_some_and(|domain| domain != own) {
            return Err(format!(
                "failed to ship from `{}`: its writers share a state that this user cannot reach; start the relay as the user who started them",
                self.root.display()
            ));
        }
        self.relaying = Some(spool.relay().map_err(|error| error.to_string())?);
        self.serving.push(Serving::begin(spool.clone()));
        self.spool = Some(spool);
        Ok(())
    }

    fn present_identity(&self) -> Option<(u64, u64)> {
        let found = std::fs::metadata(&self.root).ok()?;
        Some((found.dev(), found.ino()))
    }

    /// Whether its directory was deleted, or is another one now: whoever logs there is in another domain.
    pub fn is_gone(&self) -> bool {
        self.present_identity() != self.identity
    }

    /// The directory of its spools.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The figures of all destinations.
    pub fn figures(&self) -> Vec<Figures> {
        let served = self.destinations.values().map(Destination::figures);
        served.chain(self.unserved().cloned()).collect()
    }

    /// The figures of those that cannot be served.
    fn unserved(&self) -> impl Iterator<Item = &Figures> {
        let refused = self.refused.iter();
        refused
            .filter(|(name, _)| !self.destinations.contains_key(*name))
            .map(|(_, refusal)| &refusal.figures)
    }

    /// What is due: looks at the plans, stores figures, opens spools again that have room. Waits for nothing.
    pub fn tick(&mut self) {
        for destination in self.destinations.values() {
            if destination.spool.is_spool_full() {
                destination.spool.look_for_room();
            }
        }
        if self.reap() {
            self.begin_what_waits();
        }
        let is_new_plan = !self.files.values().all(|file| file.is_the_same());
        if !is_new_plan && self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        self.look_at_plans();
        for destination in self.destinations.values_mut() {
            destination.store_figures(&self.root);
        }
        for figures in self.unserved() {
            let _ = figures.store(&self.root);
        }
    }

    /// Reads the plans again, and goes by what has changed. One that cannot be used is said, and the one before stays in force.
    fn look_at_plans(&mut self) {
        if let Ok(plans) = self.read_plans() {
            self.apply(plans);
        }
    }

    /// Begins anew with all plans, so that changed certificates count as well. A destination whose certificates cannot be used now goes
    /// on as it is.
    pub fn reload(&mut self) {
        let Ok(plans) = self.read_plans() else { return };
        let mut anew = Vec::new();
        for (name, plan) in &plans {
            match sink::make(&plan.destination) {
                Ok(_) => anew.push(name.clone()),
                Err(trouble) => self.refuse(name.clone(), trouble.text),
            }
        }
        self.send_off(&anew);
        self.apply(plans);
    }

    /// Tells destinations to end.
    fn send_off(&mut self, names: &[String]) {
        for name in names {
            if let Some(destination) = self.destinations.remove(name) {
                destination.stop.set();
                self.leaving.push(destination);
            }
        }
    }

    /// Lets go of the destinations that have ended. True: there was one.
    fn reap(&mut self) -> bool {
        let before = self.leaving.len();
        let (over, leaving) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(Destination::has_ended);
        self.leaving = leaving;
        for destination in over {
            destination.let_go(&self.root);
        }
        self.leaving.len() < before
    }

    fn read_plans(&mut self) -> Result<BTreeMap<String, Plan>, String> {
        let names = beside::names(&self.root)
            .map_err(|error| format!("failed to read `{}`: {error}", self.root.display()))?;
        let mut plans = BTreeMap::new();
        self.files.retain(|name, _| names.contains(name));
        for name in names {
            let file = self.files.entry(name.clone());
            file.or_insert_with(|| Arc::new(PlanFile::new(&self.root, &name)))
                .look();
            let read = plan::read(&self.root, &name).and_then(|plan| self.tried(plan));
            match read {
                Ok(plan) => {
                    let there = self.destinations.get(&name);
                    if there.is_some_and(|there| there.plan == plan) {
                        self.refused.remove(&name);
                    }
                    plans.insert(name, plan);
                }
                Err(why) => {
                    if let Some(there) = self.destinations.get(&name) {
                        plans.insert(name.clone(), there.plan.clone());
                    }
                    self.refuse(name, why);
                }
            }
        }
        Ok(plans)
    }

    /// A plan that is in force already, or whose sink can be made.
    fn tried(&self, plan: Plan) -> Result<Plan, String> {
        let there = self.destinations.get(&plan.destination.name);
        if there.is_none_or(|there| there.plan != plan) {
            sink::make(&plan.destination).map_err(|trouble| trouble.text)?;
        }
        Ok(plan)
    }

    fn refuse(&mut self, name: String, why: String) {
        if self.refused.get(&name).is_some_and(|of| of.why == why) {
            return;
        }
        self.teller.say(
            Severity::ERROR,
            &format!("the destination `{name}` cannot be used as it is configured now: {why}"),
        );
        let before = Figures::load(&self.root, &name);
        let mut figures = before.unwrap_or_else(|| Gauge::new(&name, "").read());
        figures.relay = std::process::id();
        figures.state = State::Down;
        figures.since_ns = now_ns();
        figures.last_error.clone_from(&why);
        figures.last_error_ns = now_ns();
        figures.stored_ns = now_ns();
        (figures.rate, figures.in_flight) = (0, 0);
        self.refused.insert(name, Refusal { why, figures });
    }

    fn apply(&mut self, plans: BTreeMap<String, Plan>) {
        self.follow_main_log(&plans);
        let gone = |name: &String, there: &Destination| plans.get(name) != Some(&there.plan);
        let changed: Vec<String> = self
            .destinations
            .iter()
            .filter(|(name, there)| gone(name, there))
            .map(|(name, _)| name.clone())
            .collect();
        self.send_off(&changed);
        self.plans = plans;
        self.begin_what_waits();
    }

    /// Begins to serve the plans that nobody serves, as far as their spools are free.
    fn begin_what_waits(&mut self) {
        for (name, plan) in self.plans.clone() {
            let is_leaving = |there: &Destination| there.plan.destination.name == name;
            if self.destinations.contains_key(&name) || self.leaving.iter().any(is_leaving) {
                continue;
            }
            let Some(file) = self.files.get(&name).cloned() else {
                continue;
            };
            match Destination::begin(&self.root, plan, file, &self.teller) {
                Ok(mut destination) => {
                    // Its figures have a place on the disk then, also when that is full.
                    destination.store_figures(&self.root);
                    self.taken.remove(&name);
                    self.refused.remove(&name);
                    self.destinations.insert(name, destination);
                }
                Err(Unbegun::Taken(why)) => {
                    let since = *self.taken.entry(name.clone()).or_insert_with(Instant::now);
                    if since.elapsed() > HAND_OVER {
                        self.refuse(name, why);
                    }
                }
                Err(Unbegun::Failed(why)) => self.refuse(name, why),
            }
        }
    }

    /// The log of `main` is served too, and told what happens to the destinations.
    fn follow_main_log(&mut self, plans: &BTreeMap<String, Plan>) {
        let main = plans.values().find_map(|plan| plan.log.clone());
        if self.main == main {
            return;
        }
        self.main.clone_from(&main);
        self.serving.truncate(1);
        let opened = main.map(|main| {
            let options = LogOptions {
                state_dir: main.state_dir,
                ..LogOptions::default()
            };
            Log::open_as_it_is(&main.path, &options).map(Arc::new)
        });
        match opened {
            Some(Ok(log)) => {
                self.teller.tell_in(log.clone());
                self.serving.push(Serving::begin(log));
            }
            Some(Err(error)) => self.teller.say(Severity::WARN, &error.to_string()),
            None => {}
        }
    }

    /// True when this relay was started on demand, everything is shipped, and nobody is there who could log more; it then is no
    /// longer the relay, and whoever logs starts the next one. True also when its directory is gone.
    pub fn is_over(&mut self) -> bool {
        if self.is_gone() {
            return true;
        }
        let is_idle = self.on_demand && self.is_drained() && !self.is_needed();
        if !is_idle {
            self.idle_since = None;
            return false;
        }
        if self.idle_since.get_or_insert_with(Instant::now).elapsed() < LINGER {
            return false;
        }
        // Whoever logs from now on sees that there is no relay; what was logged just before is seen here.
        self.relaying = None;
        let is_over = !self.is_needed() && self.is_drained_since(Instant::now());
        if !is_over {
            self.idle_since = None;
            let spool = self.spool.as_ref();
            self.relaying = spool.and_then(|spool| spool.relay().ok());
            // Another process has become the relay meanwhile: it ships what is left.
            return self.relaying.is_none();
        }
        true
    }

    fn is_drained(&self) -> bool {
        let is_served = |name: &String| self.destinations.contains_key(name);
        let is_refused = |name: &String| self.refused.contains_key(name);
        let mut names = self.plans.keys();
        if !names.all(|name| is_served(name) || is_refused(name)) {
            return false;
        }
        let mut gauges = self.destinations.values().map(|there| &there.gauge);
        gauges.all(|gauge| gauge.read().waiting_bytes == 0)
    }

    /// The same by a count that was begun after that; false, too, where none is.
    fn is_drained_since(&self, since: Instant) -> bool {
        let mut gauges = self.destinations.values().map(|there| &there.gauge);
        gauges.all(|gauge| gauge.wait_for_count(since, COUNT_WAIT)) && self.is_drained()
    }

    fn is_needed(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.is_in_use())
    }

    /// Ends the shippers, which wait for the answers to what is under way, and leaves within a bound.
    pub fn end(mut self) {
        let until = Instant::now() + LEAVE_WAIT;
        let names: Vec<String> = self.destinations.keys().cloned().collect();
        self.send_off(&names);
        while !self.leaving.is_empty() && Instant::now() < until {
            self.reap();
            std::thread::sleep(Duration::from_millis(5));
        }
        // One that cannot be waited for had stored its cursor before it began to connect.
    }
}

fn open_spool(root: &Path, plan: &Plan) -> Result<Arc<Log>, Error> {
    let path = plan::spool_path(root, &plan.destination.name);
    Log::open_as_it_is(path, &plan.spool.options()).map(Arc::new)
}

/// Why a destination is not served.
enum Unbegun {
    /// Another process reads its spool.
    Taken(String),
    Failed(String),
}

impl Destination {
    fn begin(
        root: &Path,
        plan: Plan,
        file: Arc<PlanFile>,
        teller: &Arc<Teller>,
    ) -> Result<Destination, Unbegun> {
        let name = &plan.destination.name;
        let spool = open_spool(root, &plan).map_err(|error| Unbegun::Failed(error.to_string()))?;
        let sink = sink::make(&plan.destination);
        let sink = sink.map_err(|trouble| Unbegun::Failed(trouble.text))?;
        let source = Reader::open(root, name, Default::default()).map_err(|error| {
            let why = format!("failed to open the spool `{name}`: {error}");
            match error.kind() {
                std::io::ErrorKind::WouldBlock => Unbegun::Taken(why),
                _ => Unbegun::Failed(why),
            }
        })?;
        if let Began::CursorLost(why) = source.began() {
            teller.say(
                Severity::WARN,
                &format!("how far `{name}` is shipped is not known ({why}): what is left in its spool is sent from the beginning, some of it again"),
            );
        }
        let gauge = Gauge::new(name, &plan.destination.address.to_string());
        let stop = Arc::new(Stop::default());
        let teller = teller.clone();
        let say: Say = Arc::new(move |severity, text| teller.say(severity, text));
        let counted = spool.clone();
        let dropped: Dropped = Arc::new(move || dropped(&counted));
        let shipper = Shipper {
            terms: Terms {
                window: plan.destination.window,
                batch: plan.destination.batch,
                timeout: plan.destination.timeout,
                retry: plan.retry,
                say_after: plan.say_after,
            },
            source: Box::new(source),
            sink,
            gauge: gauge.clone(),
            say,
            dropped,
            // What is logged after a new plan was made goes where that says.
            may_send: Arc::new(move || file.is_the_same()),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("ship {name}"))
            .spawn(move || shipper.run())
            .map_err(|error| Unbegun::Failed(format!("failed to start a thread: {error}")))?;
        Ok(Destination {
            plan,
            spool,
            gauge,
            stop,
            thread: Some(thread),
            stored: Figures::default(),
            spool_bytes: 0,
            rate: 0,
            delivered: (0, Instant::now()),
        })
    }

    fn figures(&self) -> Figures {
        let mut figures = self.gauge.read();
        figures.stored_ns = now_ns();
        figures.dropped = dropped(&self.spool);
        figures.spool_bytes = self.spool_bytes;
        figures.spool_bytes_max = self.plan.spool.bytes;
        figures.rate = self.rate;
        figures
    }

    /// How fast records get through, since the figures were looked at last.
    fn note_rate(&mut self) {
        let delivered = self.gauge.read().delivered;
        let (before, at) = std::mem::replace(&mut self.delivered, (delivered, Instant::now()));
        let seconds = at.elapsed().as_secs_f64().max(0.001);
        self.rate = ((delivered - before) as f64 / seconds).round() as u64;
    }

    /// Stores the figures if anything but the time has changed, or they are not fresh any more.
    fn store_figures(&mut self, root: &Path) {
        self.note_rate();
        self.spool_bytes = spool_bytes(root, &self.plan.destination.name);
        let figures = self.figures();
        let before = Figures {
            stored_ns: figures.stored_ns,
            ..self.stored.clone()
        };
        let is_fresh = figures.stored_ns.saturating_sub(self.stored.stored_ns) < 10_000_000_000;
        if figures == before && is_fresh {
            return;
        }
        // A full disk leaves old figures, which say when they were stored.
        if figures.store(root).is_ok() {
            self.stored = figures;
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// It has ended: its last figures are stored.
    fn let_go(mut self, root: &Path) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.store_figures(root);
    }
}

/// Records for a spool that nobody will ship, since there was no room for them.
fn dropped(spool: &Log) -> u64 {
    let status = spool.status();
    let of_this = |file: &&logboom::status::FileStatus| file.path == spool.path();
    let evicted = status
        .files
        .iter()
        .find(of_this)
        .and_then(|file| file.spool);
    let refused: u64 = status.ledger.dropped.iter().sum();
    refused + evicted.map_or(0, |spool| spool.evicted_records)
}

fn spool_bytes(root: &Path, name: &str) -> u64 {
    let prefix = format!("{name}.spool");
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let segments = entries.filter(|entry| {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    segments
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
