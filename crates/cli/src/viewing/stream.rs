//! Records as they come: the loop of `tail` and `debug`.
//!
//! It reads every few milliseconds, merges the workers by time, shows what passes the filters, and says on standard error what
//! was missed and what became of the server. It ends with Ctrl-C, with its rule, or when nobody reads its output.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logboom::viewer::Seen;
use ratatui::crossterm::terminal;

use super::conditions::Known;
use super::filters::Wanted;
use super::keys::Keys;
use super::merge::Merge;
use super::printing::Printer;
use super::seen::Look;
use super::spans;
use super::watch::{News, Watch};
use crate::exit::{Context, Failure};
use crate::terminal::NOTE;
use crate::words;

const POLL_EVERY: Duration = Duration::from_millis(10);
const SAY_EVERY: Duration = Duration::from_secs(1);
/// Records that are kept while the output is paused.
const PAUSED_MAX: usize = 20_000;
/// Without a terminal there is no count-down; this long before the end it is said.
const WARN_NS: u64 = 60_000_000_000;

/// What a stream does besides showing records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It shows what is logged anyway; its rule is put in force again when somebody ends it.
    Tail,
    /// It reveals; it ends with its rule.
    Debug,
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Asked,
    Expired,
    RuleEnded,
    NobodyReads,
}

/// Records as they come.
pub(crate) struct Stream {
    kind: Kind,
    watch: Watch,
    wanted: Wanted,
    printer: Printer,
    merge: Merge,
    keys: Option<Keys>,
    stop: Arc<AtomicBool>,
    /// What waits while the output is paused.
    paused: Option<VecDeque<Seen>>,
    missed: u64,
    missed_said: u64,
    said: Instant,
    warned: bool,
    line: StatusLine,
}

impl Stream {
    /// # Errors
    /// Signals cannot be caught.
    pub(crate) fn new(
        kind: Kind,
        watch: Watch,
        wanted: Wanted,
        printer: Printer,
    ) -> Result<Stream, Failure> {
        Ok(Stream {
            kind,
            watch,
            wanted,
            printer,
            merge: Merge::default(),
            keys: Keys::take(),
            stop: crate::terminal::interrupted().or_failed("catch", "SIGINT")?,
            paused: None,
            missed: 0,
            missed_said: 0,
            said: Instant::now(),
            warned: false,
            line: StatusLine::new(),
        })
    }

    /// Shows records until it ends, and takes its rule back.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(crate) fn run(&mut self) -> Result<(), Failure> {
        let end = self.show_until_the_end();
        self.watch.end();
        self.line.clear();
        let end = end?;
        if end != End::NobodyReads {
            self.show_rest()?;
        }
        self.say_missed();
        self.farewell(end);
        Ok(())
    }

    fn show_until_the_end(&mut self) -> Result<End, Failure> {
        loop {
            self.read();
            let ready = self.merge.ready(Instant::now());
            if !self.show(ready)? {
                return Ok(End::NobodyReads);
            }
            if self.stop.load(Ordering::Relaxed) || self.keys_say_stop()? {
                return Ok(End::Asked);
            }
            let end_ns = self.watch.rule().expires_ns;
            if end_ns != 0 && end_ns <= spans::now_ns() {
                return Ok(End::Expired);
            }
            if let Some(end) = self.look_around() {
                return Ok(end);
            }
            if self.said.elapsed() >= SAY_EVERY {
                self.each_second();
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    fn read(&mut self) {
        let now = Instant::now();
        let (merge, wanted) = (&mut self.merge, &self.wanted);
        self.missed += self.watch.poll(&mut |seen, judged| {
            let known = judged.map_or(Known::ByRecord, Known::Judged);
            if wanted.passes(&Look::of(&seen), known) {
                merge.push(seen, now);
            }
        });
    }

    /// False: nobody reads.
    fn show(&mut self, ready: Vec<Seen>) -> Result<bool, Failure> {
        if let Some(paused) = &mut self.paused {
            paused.extend(ready);
            let too_many = paused.len().saturating_sub(PAUSED_MAX);
            paused.drain(..too_many);
            self.missed += too_many as u64;
            return Ok(true);
        }
        if ready.is_empty() {
            return Ok(true);
        }
        self.line.clear();
        let goes_on = self
            .printer
            .print(&ready)
            .or_failed("write to", "standard output")?;
        self.draw_line();
        Ok(goes_on)
    }

    fn show_rest(&mut self) -> Result<(), Failure> {
        self.read();
        let mut rest: Vec<_> = self.paused.take().into_iter().flatten().collect();
        rest.extend(self.merge.rest());
        self.show(rest).map(|_| ())
    }

    fn look_around(&mut self) -> Option<End> {
        let now = Instant::now();
        let (merge, wanted) = (&mut self.merge, &self.wanted);
        let news = self.watch.check(&mut |seen, judged| {
            let known = judged.map_or(Known::ByRecord, Known::Judged);
            if wanted.passes(&Look::of(&seen), known) {
                merge.push(seen, now);
            }
        });
        match news? {
            News::Gone => self.say("the server's state is gone; waiting for the next start"),
            News::Anew => self.say("the server was started anew; going on there"),
            News::NoRule(why) => self.say(&format!("the server was started anew, but {why}")),
            News::RuleEnded if self.kind == Kind::Debug => return Some(End::RuleEnded),
            News::RuleEnded => {
                if let Err(why) = self.watch.rule_again() {
                    self.say(&format!("workers may stop recording: {why}"));
                }
            }
        }
        None
    }

    fn keys_say_stop(&mut self) -> Result<bool, Failure> {
        let pressed = self.keys.as_ref().map_or_else(Vec::new, Keys::pressed);
        for key in pressed {
            match key {
                b' ' => self.toggle_pause()?,
                b'q' => return Ok(true),
                b'+' if self.kind == Kind::Debug => self.renew(),
                _ => {}
            }
        }
        Ok(false)
    }

    fn toggle_pause(&mut self) -> Result<(), Failure> {
        match self.paused.take() {
            Some(waiting) => {
                self.show(waiting.into())?;
            }
            None => self.paused = Some(VecDeque::new()),
        }
        self.draw_line();
        Ok(())
    }

    /// The rule lasts as long from now as it lasted from the start.
    fn renew(&mut self) {
        let rule = self.watch.rule();
        if rule.expires_ns != 0 {
            let span_ns = rule.expires_ns.saturating_sub(rule.made_ns);
            let end_ns = spans::now_ns() + span_ns;
            self.watch.extend(end_ns);
            self.warned = false;
            self.draw_line();
        }
    }

    fn each_second(&mut self) {
        self.said = Instant::now();
        if let Some(keys) = &self.keys {
            keys.refresh();
        }
        self.say_missed();
        let end_ns = self.watch.rule().expires_ns;
        let soon = end_ns != 0 && end_ns.saturating_sub(spans::now_ns()) < WARN_NS;
        if soon && !self.warned && !self.line.is_shown && self.kind == Kind::Debug {
            self.warned = true;
            self.say(&format!("{} left", spans::left(end_ns, spans::now_ns())));
        }
        self.draw_line();
    }

    fn say_missed(&mut self) {
        let number = self.missed - self.missed_said;
        if number > 0 {
            self.missed_said = self.missed;
            let many = words::of(number, "record");
            self.say(&format!(
                "{many} missed: newer ones had overwritten them before they could be read"
            ));
        }
    }

    fn say(&mut self, text: &str) {
        self.line.clear();
        anstream::eprintln!("{NOTE}logboom:{NOTE:#} {text}");
        self.draw_line();
    }

    fn draw_line(&mut self) {
        if !self.line.is_shown {
            return;
        }
        let rule = self.watch.rule();
        let pause = match &self.paused {
            Some(waiting) => format!(
                "paused, {} waiting: space goes on",
                words::of(waiting.len() as u64, "record")
            ),
            None => "space pauses, q ends".into(),
        };
        let text = match (self.kind, rule.expires_ns) {
            (Kind::Debug, 0) => format!("debug until you end it | {pause}"),
            (Kind::Debug, end) => format!(
                "debug: {} left | {pause}, + renews",
                spans::left(end, spans::now_ns())
            ),
            (Kind::Tail, _) if self.paused.is_some() => pause,
            (Kind::Tail, _) => String::new(),
        };
        self.line.draw(&text);
    }

    fn farewell(&mut self, end: End) {
        let shown = words::of(self.printer.shown, "record");
        let missed = match self.missed {
            0 => String::new(),
            number => format!(", {} missed", words::count(number)),
        };
        let why = match (self.kind, end) {
            (Kind::Tail, _) => "",
            (Kind::Debug, End::Expired) => "the time is over; back to normal: ",
            (Kind::Debug, End::RuleEnded) => "somebody has ended the rule; back to normal: ",
            (Kind::Debug, _) => "back to normal: ",
        };
        anstream::eprintln!("{NOTE}logboom:{NOTE:#} {why}{shown} shown{missed}");
    }
}

/// A line below the records that is drawn anew, where both outputs are a terminal.
struct StatusLine {
    is_shown: bool,
    drawn: String,
}

impl StatusLine {
    fn new() -> StatusLine {
        StatusLine {
            is_shown: std::io::stdout().is_terminal() && std::io::stderr().is_terminal(),
            drawn: String::new(),
        }
    }

    fn clear(&mut self) {
        if !self.drawn.is_empty() {
            self.drawn.clear();
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }

    fn draw(&mut self, text: &str) {
        let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let text: String = text.chars().take(width.saturating_sub(1)).collect();
        if text != self.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
            self.drawn = text;
        }
    }
}
