//! How the destinations fare whose spools lie beside a log, in words and as JSON. The figures are those that the relay stored last.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use logboom::files::escape::escape;
use logboom_config::beside;
use logboom_relay::figures::{Figures, State, now_ns};
use serde_json::{Value, json};

use super::{last_words, root_of};
use crate::terminal::{BAD, GOOD, HEADING, NOTE};
use crate::words;

/// One destination.
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Where its spool lies.
    pub root: PathBuf,
    /// What the relay stored last; None: nothing yet.
    pub figures: Option<Figures>,
    /// The process that ships, now.
    pub relay: Option<u32>,
    /// Why the last relay could not run, if there is none.
    pub last_words: Option<String>,
}

/// The destinations whose spools lie in a log directory, or in this very directory.
#[must_use]
pub fn of(directory: &Path) -> Vec<Destination> {
    let root = root_of(directory);
    let names = beside::names(&root).unwrap_or_default();
    let mut spooled = names
        .into_iter()
        .filter(|name| is_spool(&root, name))
        .peekable();
    if spooled.peek().is_none() {
        return Vec::new();
    }
    let relay = logboom::status::relay_of(&root);
    let last_words = relay.is_none().then(|| last_words::read(&root)).flatten();
    spooled
        .map(|name| Destination {
            figures: Figures::load(&root, &name),
            relay,
            last_words: last_words.clone(),
            root: root.clone(),
            name,
        })
        .collect()
}

/// Other files may end in `.toml`, a configuration for one.
fn is_spool(root: &Path, name: &str) -> bool {
    logboom_relay::plan::spool_path(root, name).exists() || Figures::path(root, name).exists()
}

impl Destination {
    /// Whether a relay serves it now.
    fn is_served(&self) -> bool {
        let by = self.figures.as_ref().map(|figures| figures.relay);
        self.relay.is_some() && by == self.relay
    }

    /// For how long its oldest record has been waiting, in seconds.
    fn lag_s(&self) -> f64 {
        let Some(figures) = self
            .figures
            .as_ref()
            .filter(|figures| figures.oldest_ns > 0)
        else {
            return 0.0;
        };
        // Where records get through, the oldest at that time has been delivered since.
        let is_moving = self.is_served() && figures.state != State::Down;
        let now_ns = if is_moving {
            figures.stored_ns
        } else {
            now_ns()
        };
        now_ns.saturating_sub(figures.oldest_ns) as f64 / 1e9
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut json = match &self.figures {
            Some(figures) => json!(figures),
            None => json!({"state": "idle"}),
        };
        json["name"] = json!(self.name);
        json["relay"] = json!(self.relay);
        json["relay_error"] = json!(self.last_words);
        json["lag_s"] = json!(self.lag_s());
        json["directory"] = json!(self.root);
        json
    }

    /// In the columns of `logboom top`.
    #[must_use]
    pub(crate) fn row(&self) -> [String; 6] {
        let (Some(figures), served) = (&self.figures, self.is_served()) else {
            let none = String::new;
            return [
                self.name.clone(),
                "not yet".into(),
                none(),
                none(),
                none(),
                self.hint(),
            ];
        };
        let (state, why) = match (served, figures.state) {
            (false, _) => ("no relay", self.hint()),
            (true, State::Down) => ("down", figures.last_error.clone()),
            (true, state) => (state.name(), figures.to.clone()),
        };
        let waiting = figures
            .waiting
            .map_or_else(|| "some".to_owned(), words::count);
        [
            self.name.clone(),
            state.to_owned(),
            words::count(if served { figures.rate } else { 0 }),
            format!("{waiting} ({})", words::bytes(figures.waiting_bytes)),
            format!("{:.1} s", self.lag_s()),
            escape(&why, false).into_owned(),
        ]
    }

    /// In a line, and what went wrong in others.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Some(figures) = &self.figures else {
            return vec![format!(
                "{}  {NOTE}not shipped yet{NOTE:#}: {}",
                self.name,
                self.hint()
            )];
        };
        let state = match (self.is_served(), figures.state) {
            (false, _) => format!("{NOTE}no relay{NOTE:#}"),
            (true, State::Down) => format!(
                "{BAD}down{BAD:#} since {}",
                words::time_ns(figures.since_ns)
            ),
            (true, state) => format!("{GOOD}{}{GOOD:#}", state.name()),
        };
        let mut lines = vec![
            format!("{}  {}  {state}", self.name, figures.to),
            format!(
                "    {} delivered ({}/s now); {} wait, {}, the oldest for {:.1} s; spool {} of {}",
                words::count(figures.delivered),
                words::count(if self.is_served() { figures.rate } else { 0 }),
                figures
                    .waiting
                    .map_or_else(|| "some".to_owned(), words::count),
                words::bytes(figures.waiting_bytes),
                self.lag_s(),
                words::bytes(figures.spool_bytes),
                words::bytes(figures.spool_bytes_max),
            ),
        ];
        let lost = figures.refused + figures.given_up + figures.dropped;
        if lost > 0 {
            lines.push(format!(
                "    {BAD}not delivered:{BAD:#} {} refused by the receiver, {} given up, {} for which there was no room",
                words::count(figures.refused),
                words::count(figures.given_up),
                words::count(figures.dropped)
            ));
        }
        if figures.failures > 0 {
            lines.push(format!(
                "    {} so far, {} sent again; the last at {}: {}",
                words::of(figures.failures, "failure"),
                words::of(figures.sent_again, "record"),
                words::time_ns(figures.last_error_ns),
                figures.last_error
            ));
        }
        if !self.is_served() {
            lines.push(format!("    {}", self.hint()));
        }
        lines
    }

    fn hint(&self) -> String {
        if let Some(why) = &self.last_words {
            let why = escape(why, false);
            return format!("the last relay could not run: {why}");
        }
        format!(
            "the next worker that logs starts a relay, or run `logboom relay {}`",
            self.root.display()
        )
    }
}

/// A section of a report; empty where there is no destination.
#[must_use]
pub fn text(destinations: &[Destination]) -> String {
    let mut text = String::new();
    if destinations.is_empty() {
        return text;
    }
    let _ = writeln!(text, "{HEADING}Destinations{HEADING:#}");
    for line in destinations.iter().flat_map(Destination::lines) {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    text
}
