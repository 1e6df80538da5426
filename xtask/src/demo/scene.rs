//! One act of the demo: the server with one way to log, traffic, what is done to it meanwhile, and the count.

use super::access::{self, Access};
use super::count::{self, Count};
use super::detail::Detail;
use super::server::{Server, Settings};
use super::shipping::{Receiver, Shipped};
use super::traffic::{self, Served};
use super::victim::{Killed, Victim};
use super::{Arguments, fresh_folder, shown};
use crate::process;
use crate::python::Venv;
use crate::screen::{Progress, bad, strong};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// How long records may be on their way to the file when the server still runs.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
const TRAFFIC_MAX: Duration = Duration::from_secs(600);
/// Of so many archives a domain keeps checksums.
const ARCHIVES_KNOWN: u32 = 48;
const TOOL_MAX: Duration = Duration::from_secs(60);

/// What is played.
pub struct Act {
    /// What it is called.
    pub title: &'static str,
    /// Where logs and notes go; made anew.
    pub folder: PathBuf,
    /// True for our logger class, which has access records with ids and black boxes, and files that can be verified.
    pub ours: bool,
}

/// Who plays it, and how long.
pub struct Scene<'a> {
    /// Environment with Flask, Gunicorn and logboom.
    pub venv: &'a Venv,
    /// The command line.
    pub arguments: &'a Arguments,
}

/// What came out.
pub struct Outcome {
    /// The figures.
    pub result: ActResult,
    /// The server, if it is to be left running.
    pub server: Option<Server>,
    /// The syslog server, the same.
    pub receiver: Option<Receiver>,
}

/// The figures of one act.
pub struct ActResult {
    /// What the clients saw.
    pub served: Served,
    /// What the log holds.
    pub count: Count,
    /// Rotations by hand that were carried out.
    pub rotations_by_hand: u32,
    /// True if the worker was killed before it could answer.
    pub killed_in_the_middle: bool,
    /// What only ours has.
    pub proof: Option<Proof>,
    /// What came of the shipping, where there is a syslog server.
    pub shipped: Option<Shipped>,
}

/// What can be said of a log of ours.
pub struct Proof {
    /// The access records.
    pub access: Access,
    /// What `logboom debug` showed of one request.
    pub detail: Detail,
    /// Records in the files that only the viewer was to see.
    pub detail_in_files: usize,
    /// Black boxes of the killed worker in the log, which name the request that died.
    pub black_boxes: usize,
    /// True if `logboom blackbox` shows it.
    pub is_shown: bool,
    /// True if `logboom verify` finds nothing that differs.
    pub is_verified: bool,
}

impl ActResult {
    /// True if every acknowledged record is there once, whole, and so is all that ours has beyond that.
    pub fn is_whole(&self) -> bool {
        self.count.is_whole()
            && self.served.wrong == 0
            && self.killed_in_the_middle
            && self.shipped.as_ref().is_none_or(Shipped::is_whole)
            && self.proof.as_ref().is_none_or(|proof| {
                proof.access.is_whole()
                    && proof.detail.is_right()
                    && proof.detail_in_files == 0
                    && proof.black_boxes == 1
                    && proof.is_shown
                    && proof.is_verified
                    && self.count.errors >= self.served.failed_as_meant
            })
    }
}

impl Scene<'_> {
    /// Plays the act.
    pub fn play(&self, act: &Act) -> Result<Outcome> {
        println!(
            "\n{}",
            strong(&format!(
                "{}, {} workers",
                act.title, self.arguments.workers
            ))
        );
        fresh_folder(&act.folder)?;
        let mut receiver = match act.ours {
            true => Receiver::start(&act.folder.join("syslog"))?,
            false => None,
        };
        let server = Server::start(&Settings {
            venv: self.venv,
            ours: act.ours,
            counted: true,
            folder: &act.folder,
            workers: self.arguments.workers,
            ship_to: receiver.as_ref().map(Receiver::address),
            max_bytes: self.arguments.max_bytes,
            outlives_us: act.ours && self.arguments.keep,
        })?;
        let disturbed = self.disturb_under_traffic(act, &server, receiver.as_mut())?;
        let Disturbed {
            served,
            rotations_by_hand,
            killed,
            detail,
        } = disturbed;
        if let Some(detail) = &detail {
            show_detail(detail);
        }
        let is_shown = act.ours && self.show_black_box(act, &killed)?;

        let keep = act.ours && self.arguments.keep;
        let server = if keep {
            Some(server)
        } else {
            server.stop()?;
            None
        };
        let count = self.count(act, keep)?;
        let shipped = receiver
            .as_mut()
            .map(|receiver| receiver.account(self.venv, &act.folder));
        let id = killed.id.clone();
        let proof = match detail {
            Some(detail) => Some(Proof {
                access: access::count(&act.folder, &served.ids, &id)?,
                detail_in_files: detail.in_the_files(&act.folder)?,
                detail,
                black_boxes: names_of(&count.black_boxes, &killed),
                is_shown,
                is_verified: self.verify(act)?,
            }),
            None => None,
        };
        let result = ActResult {
            served,
            count,
            rotations_by_hand,
            killed_in_the_middle: killed.was_cut_off(),
            proof,
            shipped: shipped.transpose()?,
        };
        let receiver = receiver.filter(|_| keep);
        Ok(Outcome {
            result,
            server,
            receiver,
        })
    }

    /// Sends the traffic; at an eighth of it one request's detail is looked at, at a third the log is rotated by hand, at
    /// a half a worker is killed that serves a slow request, at two thirds the log is rotated by hand again. The syslog
    /// server is dead from four to seven tenths of it.
    fn disturb_under_traffic(
        &self,
        act: &Act,
        server: &Server,
        mut receiver: Option<&mut Receiver>,
    ) -> Result<Disturbed> {
        let all = self.arguments.requests as usize;
        let traffic = traffic::start(server.port(), all);
        let progress = Progress::start(&format!("{all} requests"));
        let started = Instant::now();
        let mut rotations = 0;
        let (mut victim, mut killed, mut detail) = (None, None, None);
        while !traffic.is_over() || killed.is_none() || rotations < 2 {
            let done = traffic.done.load(Ordering::Relaxed);
            progress.bar(done, all);
            if act.ours && detail.is_none() && done >= all / 8 {
                detail = Some(Detail::look(self.venv, &act.folder, server.port())?);
            }
            if let Some(receiver) = &mut receiver {
                receiver.disturb(done, all)?;
            }
            if done >= all / 3 && rotations == 0 || done >= all * 2 / 3 && rotations == 1 {
                self.rotate(act, server)?;
                rotations += 1;
            }
            if killed.is_none() && done >= all / 4 {
                let waiting = victim.get_or_insert_with(|| Victim::send(server.port()));
                if waiting.is_in_the_middle() && done >= all / 2 {
                    let chosen = victim.take().expect("it was just sent");
                    killed = Some(chosen.kill_worker(server, &act.folder)?);
                }
            }
            if started.elapsed() > TRAFFIC_MAX {
                bail!(
                    "failed to send the traffic: the server answers too slowly; see the logs in `{}`",
                    shown(&act.folder)
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        let served = traffic.join();
        let killed = killed.expect("the loop ends when there is one");
        progress.end(&format!(
            "{} answered, {rotations} rotations by hand, worker {} killed in the middle of a request",
            served.answered, killed.pid
        ));
        Ok(Disturbed {
            served,
            rotations_by_hand: rotations,
            killed,
            detail,
        })
    }

    /// Prints what is known of the killed worker; false if nothing is, or not of the request that died.
    fn show_black_box(&self, act: &Act, killed: &Killed) -> Result<bool> {
        println!(
            "\n{}",
            strong(&format!("$ logboom blackbox {} last", shown(&act.folder)))
        );
        let told = killed.black_box(self.venv, &act.folder)?;
        match &told {
            Some(text) => println!("{}\n", text.trim_end()),
            None => println!(
                "{}\n",
                bad(&format!("no black box names the request {}", killed.id))
            ),
        }
        Ok(told.is_some())
    }

    /// By hand: ours from outside, by the command; the standard handler can only be asked in a worker.
    fn rotate(&self, act: &Act, server: &Server) -> Result<()> {
        if !act.ours {
            return server.post("/admin/rotate");
        }
        let mut command = self.venv.command("logboom");
        command.arg("rotate").arg(act.folder.join("shop.log"));
        process::run_ok(command, TOOL_MAX, &|_| ()).map(drop)
    }

    fn count(&self, act: &Act, running: bool) -> Result<Count> {
        let progress = Progress::start("counting the records");
        let started = Instant::now();
        loop {
            let count = count::count(&act.folder)?;
            if count.lost == 0 || !running || started.elapsed() > ARRIVAL_MAX {
                progress.end(&format!(
                    "{} acknowledged, {} found",
                    count.acknowledged, count.found
                ));
                return Ok(count);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn verify(&self, act: &Act) -> Result<bool> {
        let progress = Progress::start("logboom verify");
        let mut command = self.venv.command("logboom");
        command.arg("verify");
        let archives = (1..=ARCHIVES_KNOWN).map(|number| format!("shop.log.{number}"));
        let names = ["shop.log", "access.log", "error.log"].map(str::to_owned);
        let files = names.into_iter().chain(archives);
        command.args(
            files
                .map(|name| act.folder.join(name))
                .filter(|file| file.exists()),
        );
        let ended = process::run(command, TOOL_MAX, &|_| ())?;
        progress.end(if ended.ok { "whole" } else { "NOT WHOLE" });
        if !ended.ok {
            let bad_ones = ended
                .output
                .lines()
                .filter(|line| !line.starts_with("good "));
            bad_ones.for_each(|line| println!("{line}"));
        }
        Ok(ended.ok)
    }
}

/// What came of the disturbed traffic.
struct Disturbed {
    served: Served,
    rotations_by_hand: u32,
    killed: Killed,
    /// None: it was not looked at, since this is not ours.
    detail: Option<Detail>,
}

fn show_detail(detail: &Detail) {
    println!("\n{}", strong(&format!("$ {}", detail.command)));
    detail.shown.iter().for_each(|line| println!("{line}"));
    if !detail.is_right() {
        let others = detail.of_others();
        println!(
            "{}",
            bad(&format!(
                "the request's detail is missing, {others} lines are of others, or a rule is left"
            ))
        );
    }
}

/// How many of the black boxes are of this worker and name its request.
fn names_of(black_boxes: &[String], killed: &Killed) -> usize {
    let worker = format!("worker {} ", killed.pid);
    let named = |text: &&String| text.starts_with(&worker) && text.contains(&killed.id);
    black_boxes.iter().filter(named).count()
}
