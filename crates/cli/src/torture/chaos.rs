//! What is done to the workers while they write: SIGKILL at random moments, SIGSTOP for a while, a CPU quota.
//!
//! Driven by [`Chaos::tick`] from the round's loop. Always holds: what was stopped or starved runs again after [`Chaos::end`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::account::Account;
use super::crew::{Crew, Ended};
use super::quota::Quota;
use super::scenario::{Case, Rotation, Start, Strain, Victim};
use crate::exit::Failure;

/// The strain on the workers of one round.
#[derive(Debug)]
pub struct Chaos {
    victim: Option<Victim>,
    kills_max: u32,
    /// Kills so far.
    pub kills: u32,
    /// Of these, the ones that hit the lease holder.
    pub holder_kills: u32,
    mean: Duration,
    due: Instant,
    strain: Strain,
    strained: Option<u32>,
    strain_due: Instant,
    quota: Option<Quota>,
    log: PathBuf,
}

impl Chaos {
    /// Plans at most `kills_max` kills in this round.
    #[must_use]
    pub fn new(case: &Case, kills_max: u32, quota: Option<Quota>, log: &Path) -> Self {
        let victim = case.kills.map(|(victim, _)| victim);
        let by_size = case.scenario.rotation == Rotation::Size;
        let mean_ms = match (victim, case.start) {
            (Some(Victim::Group), Start::Fork) => 120,
            (Some(Victim::Group), Start::Spawn) => 300 + 50 * u64::from(case.process_count),
            // Seldom enough that several rotations by the clock fall among the kills.
            (_, Start::Fork) if !by_size => 20,
            (_, Start::Fork) => 6,
            (_, Start::Spawn) => 60,
        };
        let (mean, now) = (Duration::from_millis(mean_ms), Instant::now());
        let strain = case.scenario.strain;
        Self {
            victim,
            kills_max,
            kills: 0,
            holder_kills: 0,
            mean,
            due: now + mean,
            strain,
            strained: None,
            strain_due: now + Duration::from_millis(200),
            quota,
            log: log.to_owned(),
        }
    }

    /// True when all kills that were planned have happened.
    #[must_use]
    pub fn kills_done(&self) -> bool {
        self.victim.is_some() && self.kills >= self.kills_max
    }

    /// Plans no further kill.
    pub fn cease_kills(&mut self) {
        self.kills_max = self.kills;
    }

    /// Does what is due; gives the workers that were killed and are already gone.
    ///
    /// # Errors
    /// The group cannot be killed or started again.
    pub fn tick(&mut self, crew: &mut Crew, account: &Account) -> Result<Vec<Ended>, Failure> {
        let now = Instant::now();
        if now >= self.strain_due {
            self.strain(crew, now);
        }
        if self.victim.is_none() || self.kills_done() || now < self.due {
            return Ok(Vec::new());
        }
        let holder = lease_holder(&self.log)
            .filter(|&pid| crew.workers.iter().any(|worker| worker.pid == pid));
        if self.victim == Some(Victim::Group) {
            // Not before somebody has written, since the last time.
            if !crew
                .workers
                .iter()
                .any(|worker| has_begun(account, worker.spawn))
            {
                return Ok(Vec::new());
            }
            self.killed(now, holder.is_some());
            return crew.kill_group();
        }
        // A holder is seen only for moments: look for it for a while, then take anybody.
        let give_up = self.victim == Some(Victim::Worker) || now >= self.due + self.mean * 4;
        if let Some(pid) = holder.filter(|_| self.victim == Some(Victim::Holder)) {
            self.kill(crew, now, pid, true);
        } else if give_up && let Some(pid) = pick(crew, account) {
            self.kill(crew, now, pid, holder == Some(pid));
        }
        Ok(Vec::new())
    }

    /// Lets everything run again.
    pub fn end(&mut self, crew: &mut Crew) {
        self.relieve(crew);
        self.strain = Strain::None;
        self.quota = None;
    }

    fn kill(&mut self, crew: &mut Crew, now: Instant, pid: Pid, holder: bool) {
        if let Some(worker) = crew
            .workers
            .iter_mut()
            .find(|worker| worker.pid == pid && !worker.killed)
        {
            worker.signal(Signal::KILL);
            self.killed(now, holder);
        }
    }

    fn killed(&mut self, now: Instant, holder: bool) {
        self.kills += 1;
        self.holder_kills += u32::from(holder);
        self.due = now + self.mean.mul_f64(2.0 * fastrand::f64());
    }

    fn strain(&mut self, crew: &mut Crew, now: Instant) {
        if self.strained.is_some() {
            self.relieve(crew);
            self.strain_due = now + Duration::from_millis(fastrand::u64(20..150));
            return;
        }
        let holder = lease_holder(&self.log);
        let index = crew
            .workers
            .iter()
            .position(|worker| Some(worker.pid) == holder);
        let count = crew.workers.len();
        let Some(worker) = crew
            .workers
            .get_mut(index.unwrap_or_else(|| fastrand::usize(..count.max(1))))
        else {
            return;
        };
        match (self.strain, &self.quota) {
            (Strain::Stop, _) => worker.signal(Signal::STOP),
            (Strain::Quota, Some(quota)) => quota.starve(worker.pid),
            _ => return,
        }
        self.strained = Some(worker.spawn);
        self.strain_due = now + Duration::from_millis(fastrand::u64(50..500));
    }

    fn relieve(&mut self, crew: &mut Crew) {
        let Some(spawn) = self.strained.take() else {
            return;
        };
        if let Some(quota) = &self.quota {
            quota.feed_all();
        }
        if let Some(worker) = crew.workers.iter_mut().find(|worker| worker.spawn == spawn) {
            worker.signal(Signal::CONT);
        }
    }
}

/// Any living worker; three times of four one that already writes.
fn pick(crew: &Crew, account: &Account) -> Option<Pid> {
    let worker = fastrand::choice(&crew.workers).filter(|worker| !worker.killed)?;
    let any = fastrand::u8(..4) == 0;
    (any || has_begun(account, worker.spawn)).then_some(worker.pid)
}

fn has_begun(account: &Account, spawn: u32) -> bool {
    account.process(spawn).is_ok_and(|words| words.begun > 0)
}

/// The process that holds the drain lease of this log at the moment; none is known for handlers that have no lease.
fn lease_holder(log: &Path) -> Option<Pid> {
    let holder = logboom::status::status(log).ok()?.holder?;
    Pid::from_raw(holder.pid as i32).filter(|_| holder.alive)
}
