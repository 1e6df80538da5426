//! When reading ends: with the last writer, with the command, with a signal.
//!
//! With a command, reading ends when both pipes are at their end and the command has ended. A process that the command left
//! behind may keep a pipe open; then reading goes on for the time to linger, counted from the command's end. Without a
//! command it ends with the input; a signal ends it when what is there has been read, in the middle of no line if the rest of
//! it comes within the time to linger.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::command::Command;
use super::signals::{Signals, Stop};

/// How long something is waited for that may never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linger {
    /// For this long.
    For(Duration),
    /// As long as it takes.
    Ever,
}

impl std::str::FromStr for Linger {
    type Err = String;

    fn from_str(text: &str) -> Result<Linger, String> {
        match text {
            "ever" => Ok(Linger::Ever),
            "0" | "0s" => Ok(Linger::For(Duration::ZERO)),
            _ => crate::viewing::spans::parse(text)
                .map(Linger::For)
                .map_err(|why| format!("{why}, 0, or `ever`")),
        }
    }
}

impl Linger {
    fn after(self, moment: Instant) -> Option<Instant> {
        match self {
            Linger::For(time) => moment.checked_add(time),
            Linger::Ever => None,
        }
    }
}

/// What is to be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All that comes, until then.
    On {
        /// None: there is no end to it.
        until: Option<Instant>,
    },
    /// What is there, and the rest of a line that has begun if it comes in time.
    WhatIsThere {
        /// When no rest is waited for any more; None: never.
        line_until: Option<Instant>,
    },
}

/// Knows when reading ends.
pub(crate) struct Ends {
    signals: Signals,
    command: Option<Command>,
    linger: Linger,
    /// How the command ended, and when.
    ended: Option<(ExitStatus, Instant)>,
}

impl Ends {
    /// Reading that ends with `command`, or with the input if there is none.
    pub(crate) fn new(signals: Signals, command: Option<Command>, linger: Linger) -> Ends {
        Ends {
            signals,
            command,
            linger,
            ended: None,
        }
    }

    /// Where to hear that something may have changed.
    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Looks whether the command has ended.
    pub(crate) fn look(&mut self) {
        if let (Some(command), None) = (&mut self.command, self.ended) {
            let status = command.ended(&self.signals);
            self.ended = status.map(|status| (status, Instant::now()));
        }
    }

    /// Whether the command still runs.
    pub(crate) fn is_command_running(&self) -> bool {
        self.command.is_some() && self.ended.is_none()
    }

    /// How the command ended.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.ended.map(|(status, _)| status)
    }

    /// What is to be read now.
    pub(crate) fn reading(&self) -> Reading {
        let ended = self.ended.map(|(_, at)| at);
        reading(
            self.command.is_some(),
            ended,
            self.signals.stop(),
            self.linger,
            Instant::now(),
        )
    }

    /// True when a line for which there is no room must not be waited for any more: an end is wanted, the command's end
    /// is not what that depends on, and the time to linger is over.
    pub(crate) fn is_too_late(&mut self) -> bool {
        self.look();
        let Some(stop) = self.signals.stop().filter(|_| !self.is_command_running()) else {
            return false;
        };
        let since = self.ended.map_or(stop.since, |(_, at)| at.max(stop.since));
        let late = self.linger.after(since);
        late.is_some_and(|late| Instant::now() >= late)
    }
}

fn reading(
    has_command: bool,
    ended: Option<Instant>,
    stop: Option<Stop>,
    linger: Linger,
    now: Instant,
) -> Reading {
    let until = match (has_command, ended, stop) {
        (true, None, _) | (false, _, None) => return Reading::On { until: None },
        // What ended the command is not meant for those that it left behind.
        (true, Some(ended), Some(stop)) if stop.since >= ended => Some(now),
        (true, Some(ended), _) => linger.after(ended),
        (false, _, Some(stop)) if stop.of_terminal && !stop.again => linger.after(stop.since),
        (false, _, Some(stop)) => {
            let line_until = if stop.again {
                Some(now)
            } else {
                linger.after(stop.since)
            };
            return Reading::WhatIsThere { line_until };
        }
    };
    match until {
        Some(until) if until <= now => Reading::WhatIsThere {
            line_until: Some(now),
        },
        until => Reading::On { until },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn reading_ends_as_it_should() {
        let now = Instant::now();
        let linger = Linger::For(SECOND);
        let stop = |since| {
            Some(Stop {
                since,
                of_terminal: false,
                again: false,
            })
        };
        let rest = |until| Reading::WhatIsThere {
            line_until: Some(until),
        };
        let on = |until| Reading::On { until };
        let cases = [
            ("no end in sight", false, None, None, on(None)),
            ("a command runs", true, None, None, on(None)),
            (
                "a command is told to stop",
                true,
                None,
                stop(now - SECOND),
                on(None),
            ),
            (
                "a command has ended",
                true,
                Some(now),
                None,
                on(Some(now + SECOND)),
            ),
            (
                "it ended when told to",
                true,
                Some(now),
                stop(now - SECOND),
                on(Some(now + SECOND)),
            ),
            (
                "it ended long ago",
                true,
                Some(now - 2 * SECOND),
                None,
                rest(now),
            ),
            (
                "and we are to stop",
                true,
                Some(now - SECOND / 2),
                stop(now),
                rest(now),
            ),
            (
                "the input goes on",
                false,
                None,
                stop(now),
                rest(now + SECOND),
            ),
        ];
        for (what, has_command, ended, stop, expected) in cases {
            assert_eq!(
                reading(has_command, ended, stop, linger, now),
                expected,
                "{what}"
            );
        }
    }

    /// Ctrl-C reaches the writers of the pipe, too, so their last words are waited for; a second time it is meant for us.
    #[test]
    fn an_interrupt_from_the_terminal_waits_for_the_writers() {
        let now = Instant::now();
        let stop = |again| {
            Some(Stop {
                since: now,
                of_terminal: true,
                again,
            })
        };
        let linger = Linger::For(SECOND);
        assert_eq!(
            reading(false, None, stop(false), linger, now),
            Reading::On {
                until: Some(now + SECOND)
            }
        );
        assert_eq!(
            reading(false, None, stop(false), linger, now + SECOND),
            Reading::WhatIsThere {
                line_until: Some(now + SECOND)
            }
        );
        assert_eq!(
            reading(false, None, stop(true), linger, now),
            Reading::WhatIsThere {
                line_until: Some(now)
            }
        );
    }

    #[test]
    fn how_long_to_linger_is_a_span_or_none_or_ever() {
        let parse = |text: &str| text.parse::<Linger>().ok();
        assert_eq!(parse("2s"), Some(Linger::For(2 * SECOND)));
        assert_eq!(parse("0"), Some(Linger::For(Duration::ZERO)));
        assert_eq!(parse("ever"), Some(Linger::Ever));
        assert_eq!(parse("soon"), None);
    }
}
