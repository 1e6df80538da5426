//! The two senders: `logboom relay`, and rsyslog as people set it up to forward a log.
//!
//! Both get the same JSON lines. rsyslog forwards each as the message of an RFC 5424 record; the relay takes it apart and sends its
//! fields as structured data. All settings are the defaults of either.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use logboom::format::{Encoder, Format, Record, Value};
use logboom::{Log, LogOptions, Outcome, Severity, SpoolFull, StateDir};

use super::rsyslog::{Program, Receiver};
use super::{Feed, Job, Protocol, Who};

/// Name of the destination.
pub const NAME: &str = "bench";
const SPOOL_BYTES: u64 = 4 << 30;
const START_MAX: Duration = Duration::from_secs(20);
const FLUSH_MAX: Duration = Duration::from_secs(60);

/// A sender, and what feeds it.
pub struct Sender {
    how: How,
    folder: PathBuf,
    program: Option<Program>,
    next: usize,
}

enum How {
    Relay {
        logboom: PathBuf,
        state: PathBuf,
        log: Box<Log>,
    },
    Rsyslog {
        configuration: String,
        socket: UnixDatagram,
    },
}

impl Sender {
    /// Makes its directory, and puts a backlog into it where that is the feed.
    pub fn prepare(
        job: &Job<'_>,
        who: Who,
        feed: Feed,
        protocol: Protocol,
        receiver: &Receiver,
    ) -> Result<Sender> {
        let folder = job.spot.directory.clone();
        let how = match who {
            Who::Relay => {
                let StateDir::Path(state) = job.spot.state() else {
                    bail!("a spot has a state directory");
                };
                relay(&folder, job.logboom, state, protocol, receiver)?
            }
            Who::Rsyslog => How::Rsyslog {
                configuration: configuration(&folder, feed, protocol, receiver),
                socket: UnixDatagram::unbound()?,
            },
        };
        let mut sender = Sender {
            how,
            folder,
            program: None,
            next: 0,
        };
        if feed == Feed::Backlog {
            match sender.how {
                How::Relay { .. } => sender.feed(job.records)?,
                How::Rsyslog { .. } => sender.write_file(job.records)?,
            }
        }
        Ok(sender)
    }

    /// Starts the program; with a backlog, it begins to send.
    pub fn start(&mut self) -> Result<()> {
        match &self.how {
            How::Relay { logboom, state, .. } => {
                let mut command = Command::new(logboom);
                command
                    .arg("relay")
                    .arg("--config")
                    .arg(self.folder.join("logboom.toml"));
                command
                    .env("LOGBOOM_STATE_DIR", state)
                    .current_dir(&self.folder);
                self.program = Some(Program::start(command, &self.folder.join("relay.out"))?);
                self.wait_for(&self.folder.join("spool/relay.sock"))
            }
            How::Rsyslog { configuration, .. } => {
                self.program = Some(Program::rsyslog(&self.folder, "sender", configuration)?);
                self.wait_for(&self.folder.join("log.sock"))
            }
        }
    }

    fn wait_for(&self, path: &Path) -> Result<()> {
        let until = Instant::now() + START_MAX;
        while !path.exists() {
            if Instant::now() > until {
                let said = ["relay.out", "sender.out"]
                    .map(|name| std::fs::read_to_string(self.folder.join(name)));
                bail!(
                    "a sender did not start; it says:\n{}",
                    said.into_iter().flatten().collect::<String>()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Logs so many records, as a program does.
    pub fn feed(&mut self, records: usize) -> Result<()> {
        let numbers = self.next..self.next + records;
        self.next = numbers.end;
        match &self.how {
            How::Relay { log, .. } => {
                for number in numbers {
                    publish(log, &line(number))?;
                }
                if !log.flush(FLUSH_MAX) {
                    bail!("the records did not reach the spool within {FLUSH_MAX:?}");
                }
            }
            How::Rsyslog { socket, .. } => {
                socket.connect(self.folder.join("log.sock"))?;
                for number in numbers {
                    let mut message = b"<14>Nov 20 16:30:01 shop.payments[4711]: ".to_vec();
                    message.extend_from_slice(line(number).trim_ascii_end());
                    socket.send(&message).context("failed to log to rsyslog")?;
                }
            }
        }
        Ok(())
    }

    fn write_file(&mut self, records: usize) -> Result<()> {
        let mut file = BufWriter::new(File::create(self.folder.join("app.json"))?);
        for number in 0..records {
            file.write_all(&line(number))?;
        }
        Ok(file.flush()?)
    }

    /// Processor time of the sender so far.
    pub fn cpu_ns(&self) -> Result<u64> {
        self.program.as_ref().context("it was started")?.cpu_ns()
    }
}

fn relay(
    folder: &Path,
    logboom: &Path,
    state: PathBuf,
    protocol: Protocol,
    receiver: &Receiver,
) -> Result<How> {
    let [tcp, tls, relp] = receiver.ports;
    let (to, more) = match protocol {
        Protocol::Tcp => (format!("tcp://127.0.0.1:{tcp}"), String::new()),
        Protocol::Relp => (format!("relp://127.0.0.1:{relp}"), String::new()),
        Protocol::Tls => (
            format!("tls://localhost:{tls}"),
            format!("tls.ca = \"{}\"\n", receiver.ca().display()),
        ),
    };
    write_configuration(folder, &to, &more)?;
    Ok(How::Relay {
        logboom: logboom.to_owned(),
        log: Box::new(open_spool(folder, &state)?),
        state,
    })
}

/// `logboom.toml` in `folder`, with the spool beside it.
pub fn write_configuration(folder: &Path, to: &str, more: &str) -> Result<()> {
    let spool = folder.join("spool");
    let text = format!(
        "[ship.{NAME}]\nto = \"{to}\"\nspool.path = \"{}\"\nspool.bytes = {SPOOL_BYTES}\n{more}[relay]\nstart = \"by-hand\"\n",
        spool.display()
    );
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&spool)?;
    Ok(std::fs::write(folder.join("logboom.toml"), text)?)
}

/// The spool as a program opens it.
pub fn open_spool(folder: &Path, state: &Path) -> Result<Log> {
    let options = LogOptions {
        state_dir: StateDir::Path(state.to_owned()),
        on_full_wait_ms: 5000,
        ..LogOptions::for_spool(SPOOL_BYTES, SpoolFull::Block)
    };
    Ok(Log::open(
        folder.join(format!("spool/{NAME}.spool")),
        &options,
    )?)
}

/// Logs a record. One that is dropped fails the measurement.
pub fn publish(log: &Log, line: &[u8]) -> Result<()> {
    match log.publish(Severity::INFO, line) {
        Outcome::Published => Ok(()),
        other => bail!("a record was not logged: {other:?}"),
    }
}

/// A record as an application logs it: 120 bytes of message and three fields, as JSON.
pub fn line(number: usize) -> Vec<u8> {
    Encoder::new(Format::Json).line(&Record {
        time_ns: 1_763_656_201_123_456_789 + number as u64 * 1000,
        severity: Severity::INFO,
        level: "INFO",
        component: "shop.payments",
        message: format!("{:<120}", format!("order {number} paid with a card")).into(),
        process: Some(4711),
        fields: vec![
            ("order".into(), Value::Int(number as i64)),
            ("user.id".into(), Value::Text("u-1234".into())),
            ("cart".into(), Value::Text("9f2c1d7e".into())),
        ],
        ..Record::default()
    })
}

fn configuration(folder: &Path, feed: Feed, protocol: Protocol, receiver: &Receiver) -> String {
    let ([tcp, tls, relp], place) = (receiver.ports, folder.display());
    let framed = "protocol=\"tcp\" TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\"";
    let action = match protocol {
        Protocol::Tcp => {
            format!("action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{tcp}\" {framed})")
        }
        Protocol::Tls => format!(
            "action(type=\"omfwd\" target=\"localhost\" port=\"{tls}\" {framed} StreamDriver=\"gtls\" StreamDriverMode=\"1\" \
             StreamDriverAuthMode=\"x509/name\" StreamDriverPermittedPeers=\"localhost\")"
        ),
        Protocol::Relp => format!(
            "action(type=\"omrelp\" target=\"127.0.0.1\" port=\"{relp}\" windowSize=\"2000\" template=\"RSYSLOG_SyslogProtocol23Format\")"
        ),
    };
    let file = match feed {
        Feed::Backlog => format!(
            "module(load=\"imfile\")\ninput(type=\"imfile\" file=\"{place}/app.json\" tag=\"shop.payments\" ruleset=\"out\")\n"
        ),
        Feed::Live => String::new(),
    };
    format!(
        "global(defaultNetstreamDriverCAFile=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\nmodule(load=\"omrelp\")\n\
         ruleset(name=\"out\") {{ {action} }}\n\
         input(type=\"imuxsock\" Socket=\"{place}/log.sock\" RateLimit.Interval=\"0\" ruleset=\"out\")\n{file}",
        receiver.ca().display()
    )
}
