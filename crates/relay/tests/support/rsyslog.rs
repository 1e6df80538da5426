//! The real rsyslog, with all its inputs on loopback and what it received as JSON lines.
//!
//! How it works: messages are parsed by its own parser for RFC 5424 and 3164 and its `mmpstrucdata`, and written by `omfile`.
//! With [`Setup::durable`] a message is in the file, synced, before it is acknowledged over RELP; without, rsyslog's own main
//! queue lies in between, as it does where nobody changed its defaults.

use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::certificates::Files;
use super::program::{Program, find, free_tcp_ports, free_udp_port, is_udp_bound};
use super::{Received, eventually};

/// What is asked of it.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// A message is on disk before it is acknowledged.
    pub durable: bool,
    /// Its certificates; without, the ports with TLS are not there.
    pub tls: Option<Security>,
    /// More of its configuration, at the end.
    pub more: String,
}

/// Who it is, and whom it lets in over TLS.
#[derive(Debug, Clone)]
pub struct Security {
    pub files: Files,
    /// The name that a client's certificate must have; None: no certificate is asked for.
    pub client: Option<String>,
}

/// One rsyslog.
pub struct Rsyslog {
    place: TempDir,
    ports: Ports,
    has_tls: bool,
    program: Option<Program>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    udp: u16,
    tcp: u16,
    ptcp: u16,
    relp: u16,
    tls: u16,
    relp_tls: u16,
}

/// True if rsyslog with these modules is installed; otherwise says so.
pub fn is_installed(modules: &[&str]) -> bool {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    let has_module = |module: &str| {
        let file = format!("rsyslog/{module}.so");
        folders
            .iter()
            .any(|folder| PathBuf::from(folder).join(&file).exists())
    };
    if find("rsyslogd").is_none() {
        println!("skipped: `rsyslogd` is not installed; install it: apt install rsyslog");
        return false;
    }
    if let Some(missing) = modules.iter().find(|module| !has_module(module)) {
        println!(
            "skipped: rsyslog's `{missing}` is not installed; install it: apt install rsyslog-relp rsyslog-gnutls rsyslog-openssl"
        );
        return false;
    }
    true
}

impl Rsyslog {
    /// Starts one and waits until it listens everywhere.
    pub fn start(setup: &Setup) -> Rsyslog {
        // Another program may take one of the ports before rsyslog does; then it is begun anew with others.
        for _ in 0..5 {
            let mut rsyslog = Rsyslog::prepare(setup);
            rsyslog.run();
            if rsyslog.listens() {
                return rsyslog;
            }
        }
        panic!("rsyslog does not start");
    }

    fn prepare(setup: &Setup) -> Rsyslog {
        let place = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        let [tcp, ptcp, relp, tls, relp_tls] = free_tcp_ports();
        let udp = free_udp_port();
        let rsyslog = Rsyslog {
            place,
            ports: Ports {
                udp,
                tcp,
                ptcp,
                relp,
                tls,
                relp_tls,
            },
            has_tls: setup.tls.is_some(),
            program: None,
        };
        fs::create_dir(rsyslog.path("work")).unwrap();
        fs::write(rsyslog.path("rsyslog.conf"), rsyslog.configuration(setup)).unwrap();
        rsyslog
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Where it listens: `udp`, `tcp` (imtcp), `ptcp` (imptcp), `relp`, `tls`, `relp+tls`, `unix` (any format), `local` (as
    /// `/dev/log` is by default), `stream` (a Unix stream socket).
    pub fn address(&self, input: &str) -> String {
        let ports = self.ports;
        let unix = |name: &str| format!("unix:{}", self.path(name).display());
        match input {
            "udp" => format!("udp://127.0.0.1:{}", ports.udp),
            "tcp" => format!("tcp://127.0.0.1:{}", ports.tcp),
            "ptcp" => format!("tcp://127.0.0.1:{}", ports.ptcp),
            "relp" => format!("relp://127.0.0.1:{}", ports.relp),
            "tls" => format!("tls://localhost:{}", ports.tls),
            "relp+tls" => format!("relp+tls://localhost:{}", ports.relp_tls),
            "unix" => unix("log.sock"),
            "local" => unix("local.sock"),
            "stream" => unix("stream.sock"),
            other => panic!("no input `{other}`"),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Starts it again, with the same ports and files, after it was killed.
    pub fn restart(&mut self) {
        self.kill();
        for _ in 0..10 {
            self.run();
            if self.listens() {
                return;
            }
        }
        panic!("rsyslog does not start again: {}", self.own_words());
    }

    /// Lets it stand still, or go on.
    pub fn stop(&self) {
        self.program.as_ref().unwrap().signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.program.as_ref().unwrap().signal(Signal::CONT);
    }

    /// All messages that are in its file, in its order.
    pub fn received(&self) -> Vec<Received> {
        let bytes = fs::read(self.path("out.jsonl")).unwrap_or_default();
        // A line that it was killed in is none.
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let lines = bytes[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines.filter_map(read_line).collect()
    }

    /// How many messages are in its file.
    pub fn count(&self) -> usize {
        let bytes = fs::read(self.path("out.jsonl")).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Waits until there are so many messages.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually(
            &format!("{count} messages; rsyslog says: {}", self.own_words()),
            || self.count() >= count,
        );
        self.received()
    }

    /// What it says of itself.
    pub fn own_words(&self) -> String {
        fs::read_to_string(self.path("rsyslog.log")).unwrap_or_default()
    }

    fn run(&mut self) {
        let mut command = Command::new(find("rsyslogd").unwrap());
        command
            .arg("-n")
            .arg("-f")
            .arg(self.path("rsyslog.conf"))
            .arg("-i")
            .arg(self.path("pid"));
        let _ = fs::remove_file(self.path("pid"));
        self.program = Some(Program::start(&command, &self.path("rsyslog.log")));
    }

    /// Waits until it listens everywhere. False: it will not.
    fn listens(&mut self) -> bool {
        let mut tcp = vec![self.ports.tcp, self.ports.ptcp, self.ports.relp];
        if self.has_tls {
            tcp.extend([self.ports.tls, self.ports.relp_tls]);
        }
        for _ in 0..600 {
            if !self.program.as_mut().is_some_and(Program::runs) {
                return false;
            }
            let sockets = ["log.sock", "local.sock"].map(|name| self.path(name));
            let all = is_udp_bound(self.ports.udp)
                && tcp
                    .iter()
                    .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                && sockets.iter().all(|path| {
                    UnixDatagram::unbound()
                        .and_then(|socket| socket.connect(path))
                        .is_ok()
                });
            if all {
                return true;
            }
            std::thread::sleep(super::millis(20));
        }
        false
    }

    fn configuration(&self, setup: &Setup) -> String {
        let place = self.place.path().display();
        let Ports {
            udp,
            tcp,
            ptcp,
            relp,
            ..
        } = self.ports;
        let (queue, sync) = match setup.durable {
            true => ("queue.type=\"Direct\"", "sync=\"on\""),
            false => ("", ""),
        };
        let tls = setup
            .tls
            .as_ref()
            .map_or(String::new(), |tls| self.tls_configuration(tls));
        let driver = setup.tls.as_ref().map_or(String::new(), |tls| {
            let Files { ca, certificate, key } = &tls.files;
            let (ca, certificate, key) = (ca.display(), certificate.display(), key.display());
            format!(
                r#"defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}""#
            )
        });
        format!(
            r#"
global(workDirectory="{place}/work" maxMessageSize="256k" parser.escapeControlCharactersOnReceive="off"
       parser.dropTrailingLFOnReception="off" {driver})
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
module(load="imptcp")
module(load="imrelp" tls.tlslib="openssl")
module(load="mmpstrucdata")
template(name="json" type="list" option.jsonf="on") {{
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="pri" name="pri" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="input" name="inputname" format="jsonf")
  property(outname="sd" name="$!rfc5424-sd" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}}
ruleset(name="all" {queue}) {{
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="{place}/out.jsonl" template="json" {sync})
}}
input(type="imuxsock" Socket="{place}/log.sock" UseSpecialParser="off" ParseHostname="on" UseSysTimeStamp="off"
      IgnoreTimestamp="off" RateLimit.Interval="0" ruleset="all")
input(type="imuxsock" Socket="{place}/local.sock" RateLimit.Interval="0" ruleset="all")
input(type="imudp" address="127.0.0.1" port="{udp}" rcvbufSize="4m" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imptcp" address="127.0.0.1" port="{ptcp}" ruleset="all")
input(type="imptcp" path="{place}/stream.sock" ruleset="all")
input(type="imrelp" address="127.0.0.1" port="{relp}" ruleset="all" maxDataSize="256k")
{tls}
{more}
"#,
            more = setup.more
        )
    }

    fn tls_configuration(&self, tls: &Security) -> String {
        let Files {
            ca,
            certificate,
            key,
        } = &tls.files;
        let (ca, certificate, key) = (ca.display(), certificate.display(), key.display());
        let Ports {
            tls: port,
            relp_tls,
            ..
        } = self.ports;
        let (tcp_client, relp_client) = match &tls.client {
            Some(name) => (
                format!(r#"StreamDriver.AuthMode="x509/name" PermittedPeer=["{name}"]"#),
                format!(r#"tls.authmode="name" tls.permittedpeer=["{name}"]"#),
            ),
            None => (r#"StreamDriver.AuthMode="anon""#.to_owned(), String::new()),
        };
        format!(
            r#"
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all" StreamDriver.Name="gtls" StreamDriver.Mode="1" {tcp_client})
input(type="imrelp" address="127.0.0.1" port="{relp_tls}" ruleset="all" maxDataSize="256k" tls="on" tls.cacert="{ca}"
      tls.mycert="{certificate}" tls.myprivkey="{key}" {relp_client})
"#
        )
    }
}

fn read_line(line: &[u8]) -> Option<Received> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let structured: Value = serde_json::from_str(&text("sd")).unwrap_or_default();
    let fields = structured
        .as_object()
        .and_then(|elements| elements.values().next())
        .and_then(Value::as_object);
    Some(Received {
        priority: text("pri").parse().ok()?,
        timestamp: text("timestamp"),
        host: text("host"),
        app_name: text("app"),
        procid: text("procid"),
        msgid: text("msgid"),
        message: text("msg"),
        fields: fields.cloned().unwrap_or_default(),
        input: text("input"),
    })
}
