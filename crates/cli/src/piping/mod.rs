//! What `logboom pipe` does: a program's output, in any language, becomes the records of a log that others may write, too.
//!
//! [`pump`] reads, [`lines`] finds the lines, [`form`] makes records of them and [`publisher`] publishes these; [`ends`] knows when
//! it is over, from [`signals`] and the [`command`]; [`settings`] brings configuration and flags together; [`tee`] copies, and
//! [`viewers`] lets others look on. What is shipped, too, goes into the spools of [`crate::relaying`].
//!
//! What always holds: a line that was read to its end is published before more is read, and published it survives this process.
//! Nothing is unbounded: an unfinished line, a read for each stream and the log's queue are all that waits here, and then the
//! writers wait, as they do for any reader of a pipe.

mod command;
mod ends;
mod form;
mod lines;
mod publisher;
mod pump;
pub(crate) mod settings;
mod signals;
mod tee;
mod viewers;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use logboom::format::{Encoder, Format};
use logboom::{Log, OnFull, Severity};

pub(crate) use self::ends::Linger;
pub(crate) use self::form::Stamp;
pub(crate) use self::lines::Long;

use self::command::{Command, code_of};
use self::ends::Ends;
use self::form::{Form, Look, Stream};
use self::publisher::{Published, Publisher};
use self::pump::{Input, Pump};
use self::settings::Settings;
use self::signals::Signals;
use self::tee::Tee;
use crate::exit::{Context, Ending, Failure};
use crate::relaying::opening;
use crate::words;

/// What no byte of a line becomes more of when a record is encoded: `\u0000` has six, `\\xff` five.
const GROWTH_MAX: usize = 8;
/// What a record has besides its line, at the most.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What is to be done.
pub(crate) struct Plan {
    /// What kind of log it is.
    pub(crate) settings: Settings,
    /// The format of the records; None: as they come.
    pub(crate) format: Option<Format>,
    /// The time before a line that is written as it comes.
    pub(crate) stamp: Stamp,
    /// Control characters in such a line are written as digits.
    pub(crate) escape: bool,
    /// Who prints.
    pub(crate) component: Option<String>,
    /// How severe that is: on standard output, on standard error.
    pub(crate) severities: [Severity; 2],
    /// The longest line, and what becomes of a longer one.
    pub(crate) lines: (usize, Long),
    /// Everything is written to our own standard output and error, too.
    pub(crate) tee: bool,
    /// How long is waited for what may never come.
    pub(crate) linger: Linger,
    /// The command to run; none: standard input is read.
    pub(crate) command: Vec<OsString>,
}

/// Pipes until it ends.
///
/// # Errors
/// The log cannot be opened, or the command not be started.
pub(crate) fn run(plan: Plan) -> Result<Ending, Failure> {
    let signals = Signals::listen().or_failed("catch", "the signals")?;
    let options = &plan.settings.options;
    let never_waits = options.on_full == OnFull::Drop;
    let patience = never_waits.then(|| Duration::from_millis(options.on_full_wait_ms));
    let log = Log::open(&plan.settings.path, options)
        .map_err(|error| Failure::could_not_run(error.to_string()))?;
    let directory = log.path().parent().unwrap_or(log.path()).to_owned();
    let ships = opening::ships(&plan.settings.effective, &plan.encoder(Format::Json))?;
    let mut publisher = Publisher::new(log, plan.form(), patience, ships)
        .or_failed("start", "a thread to drain")?;
    let mut command = match plan.command.is_empty() {
        true => None,
        false => Some(Command::start(&plan.command, &signals)?),
    };
    let inputs = plan.inputs(command.as_mut(), never_waits)?;
    if let Some(command) = &command {
        publisher.set_process(command.process());
    }
    let mut pump = Pump {
        inputs,
        publisher,
        ends: Ends::new(signals, command, plan.linger),
    };
    pump.run();
    let Pump {
        inputs,
        publisher,
        ends,
    } = pump;
    // Whoever still writes is told so while the rest is written out.
    drop(inputs);
    let published = publisher.finish();
    say_what_is_missing(published, &directory);
    Ok(match ends.status() {
        Some(status) => Ending::OfCommand(code_of(status)),
        None if published.dropped > 0 => Ending::FoundWrong,
        None => Ending::Fine,
    })
}

impl Plan {
    /// Its own limit never cuts a line that is within ours.
    fn encoder(&self, format: Format) -> Encoder {
        let record_bytes_max = self.lines.0 * GROWTH_MAX + HEAD_BYTES_MAX;
        self.settings
            .encoder(format)
            .record_bytes_max(record_bytes_max)
    }

    fn form(&self) -> Form {
        let look = match self.format {
            Some(format) => Look::Encoded(self.encoder(format)),
            None => Look::Raw {
                stamp: self.stamp,
                escape: self.escape,
            },
        };
        let program = self.command.first().map(Path::new);
        let name = program.and_then(Path::file_name);
        let component = self.component.clone().unwrap_or_else(|| {
            name.map_or_else(|| "stdin".into(), |name| name.to_string_lossy().into())
        });
        let json = self.encoder(Format::Json);
        Form::new(look, json, component, self.severities)
    }

    fn inputs(
        &self,
        command: Option<&mut Command>,
        never_waits: bool,
    ) -> Result<Vec<Input>, Failure> {
        let tee = |to: bool| match (self.tee, to) {
            (false, _) => None,
            (true, false) => Some(Tee::new(std::io::stdout(), never_waits)),
            (true, true) => Some(Tee::new(std::io::stderr(), never_waits)),
        };
        let Some(command) = command else {
            let input = std::io::stdin();
            let input = input.as_fd().try_clone_to_owned();
            let input = input.or_failed("read", "standard input")?;
            return Ok(vec![Input::new(
                input,
                Stream::Input,
                self.lines,
                tee(false),
            )]);
        };
        let streams = [
            (command.output.take(), Stream::Output),
            (command.error.take(), Stream::Error),
        ];
        let inputs = streams.into_iter().filter_map(|(fd, stream)| {
            let tee = tee(stream == Stream::Error);
            Some(Input::new(fd?, stream, self.lines, tee))
        });
        Ok(inputs.collect())
    }
}

/// What is not in the file, for whoever reads standard error.
fn say_what_is_missing(published: Published, directory: &Path) {
    if published.dropped > 0 {
        logboom::say(&format!(
            "{} dropped, since the log took nothing",
            words::of(published.dropped, "line")
        ));
    }
    if !published.is_written {
        logboom::say(&format!(
            "some of the last lines wait in shared memory, since the log takes nothing: whoever logs there next writes them, \
             or `logboom recover {}`",
            directory.display()
        ));
    }
}
