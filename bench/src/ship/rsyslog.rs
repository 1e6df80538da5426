//! rsyslog, started with a configuration in a directory of its own, and ended by its process id; the receiver among them.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::certificate;

const START_MAX: Duration = Duration::from_secs(20);
/// Beyond the path of those that are no administrators.
const PLACES: [&str; 2] = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"];
const MODULES: [(&str, &str); 3] = [
    ("imrelp", "rsyslog-relp"),
    ("omrelp", "rsyslog-relp"),
    ("lmnsd_gtls", "rsyslog-gnutls"),
];

/// Why this cannot be measured here.
pub fn why_not() -> Option<String> {
    if program().is_none() {
        return Some("`rsyslogd` is not installed; install it: apt install rsyslog rsyslog-relp rsyslog-gnutls".into());
    }
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    let has = |module: &str| {
        let file = format!("rsyslog/{module}.so");
        folders
            .iter()
            .any(|folder| Path::new(folder).join(&file).exists())
    };
    let missing = MODULES.iter().find(|(module, _)| !has(module));
    missing.map(|(module, package)| {
        format!("rsyslog's `{module}` is not installed; install it: apt install {package}")
    })
}

fn program() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// A program that is killed when it is dropped.
pub struct Program(Child);

impl Program {
    /// Starts it; what it says goes to `said`.
    pub fn start(mut command: Command, said: &Path) -> Result<Program> {
        let file = File::options().create(true).append(true).open(said)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("failed to start `{name}`"))?;
        Ok(Program(child))
    }

    /// Starts rsyslog with this configuration, `name`.conf in `folder`.
    pub fn rsyslog(folder: &Path, name: &str, configuration: &str) -> Result<Program> {
        let work = folder.join(format!("{name}.work"));
        std::fs::create_dir_all(&work)?;
        let path = folder.join(format!("{name}.conf"));
        let own = format!(
            "global(workDirectory=\"{}\" maxMessageSize=\"64k\")\n",
            work.display()
        );
        std::fs::write(&path, own + configuration)?;
        let mut command = Command::new(program().context("rsyslogd is not there")?);
        command.args(["-n", "-C", "-f"]).arg(path);
        command.arg("-i").arg(folder.join(format!("{name}.pid")));
        Program::start(command, &folder.join(format!("{name}.out")))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: a child of ours that has not been waited for, so the number is still its.
        unsafe { libc::kill(self.0.id() as libc::pid_t, signal) };
    }

    /// Its processor time so far, that of all its threads.
    pub fn cpu_ns(&self) -> Result<u64> {
        let (mut clock, mut time) = (
            0,
            libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
        );
        // SAFETY: both are written to; the child has not been waited for.
        let answers = unsafe {
            let found = libc::clock_getcpuclockid(self.0.id() as libc::pid_t, &mut clock);
            (found, libc::clock_gettime(clock, &mut time))
        };
        if answers != (0, 0) {
            bail!("failed to read the processor time of a sender");
        }
        Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A receiver with TCP, TLS and RELP.
pub struct Receiver {
    /// Killed with it.
    pub program: Program,
    folder: PathBuf,
    /// Ports of TCP, TLS and RELP.
    pub ports: [u16; 3],
    file: Option<File>,
    lines: usize,
}

impl Receiver {
    /// Starts it in `folder` and waits until it listens.
    pub fn start(folder: &Path) -> Result<Receiver> {
        certificate::make(folder)?;
        let ports = free_ports()?;
        let receiver = Receiver {
            program: Program::rsyslog(folder, "receiver", &configuration(folder, ports))?,
            folder: folder.to_owned(),
            ports,
            file: None,
            lines: 0,
        };
        let until = Instant::now() + START_MAX;
        while !ports
            .iter()
            .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        {
            if Instant::now() > until {
                let said = std::fs::read_to_string(folder.join("receiver.out")).unwrap_or_default();
                bail!("rsyslog does not listen; it says:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(receiver)
    }

    /// Its authority.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Messages that are in its file.
    pub fn count(&mut self) -> Result<usize> {
        if self.file.is_none() {
            self.file = File::open(self.folder.join("received")).ok();
        }
        let mut bytes = vec![0; 1 << 18];
        while let Some(file) = &mut self.file {
            let read = file.read(&mut bytes)?;
            if read == 0 {
                break;
            }
            self.lines += bytes[..read].iter().filter(|byte| **byte == b'\n').count();
        }
        Ok(self.lines)
    }
}

fn configuration(folder: &Path, [tcp, tls, relp]: [u16; 3]) -> String {
    let folder = folder.display();
    format!(
        r#"
global(defaultNetstreamDriverCAFile="{folder}/ca.pem" defaultNetstreamDriverCertFile="{folder}/server.pem"
       defaultNetstreamDriverKeyFile="{folder}/server.key")
module(load="imtcp")
module(load="imrelp")
ruleset(name="all") {{ action(type="omfile" file="{folder}/received" template="RSYSLOG_SyslogProtocol23Format") }}
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="all" StreamDriver.Name="gtls" StreamDriver.Mode="1"
      StreamDriver.AuthMode="anon")
input(type="imrelp" address="127.0.0.1" port="{relp}" ruleset="all" maxDataSize="64k")
"#
    )
}

fn free_ports() -> Result<[u16; 3]> {
    let listeners = (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0)));
    let listeners = listeners.collect::<std::io::Result<Vec<_>>>()?;
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
