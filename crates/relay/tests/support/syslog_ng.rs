//! The real syslog-ng, a second opinion on RFC 5424, 6587 and 5425.
//!
//! Its Debian package excludes rsyslog's, so `.ci/run` unpacks it beside (`target/receivers/syslog-ng`); one that is installed
//! is used as well.

use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::certificates::Files;
use super::program::{Program, find, free_tcp_ports, free_udp_port, is_udp_bound};
use super::{Received, eventually, millis};

/// One syslog-ng.
pub struct SyslogNg {
    place: TempDir,
    lines: u16,
    octets: u16,
    older: u16,
    tls: u16,
    udp: u16,
    _program: Program,
}

/// Where it was unpacked, or `/` if it is installed.
fn root() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let unpacked = target.join("receivers/syslog-ng");
    match unpacked.join("usr/sbin/syslog-ng").is_file() {
        true => Some(unpacked),
        false => find("syslog-ng").map(|_| PathBuf::from("/")),
    }
}

/// True if there is one; otherwise says so.
pub fn is_there() -> bool {
    let found = root().is_some();
    if !found {
        println!(
            "skipped: syslog-ng is neither installed nor unpacked; run .ci/run on Debian or Ubuntu"
        );
    }
    found
}

impl SyslogNg {
    /// Starts one that has that certificate, asks clients for one of the same authority, and writes what it got as JSON.
    pub fn start(files: &Files) -> SyslogNg {
        for _ in 0..5 {
            if let Some(started) = SyslogNg::try_start(files) {
                return started;
            }
        }
        panic!("syslog-ng does not start");
    }

    fn try_start(files: &Files) -> Option<SyslogNg> {
        let place = tempfile::Builder::new()
            .prefix("logboom-test-")
            .tempdir()
            .unwrap();
        let [lines, octets, older, tls] = free_tcp_ports();
        let udp = free_udp_port();
        let folder = place.path();
        let configuration = configuration(folder, files, [lines, octets, older, tls, udp]);
        fs::write(folder.join("syslog-ng.conf"), configuration).unwrap();
        let program = Program::start(&command(&root()?, folder), &folder.join("syslog-ng.log"));
        let mut started = SyslogNg {
            place,
            lines,
            octets,
            older,
            tls,
            udp,
            _program: program,
        };
        started.listens().then_some(started)
    }

    /// Where it listens: `lines` (LF framing), `tcp` (octet counting), `older` (RFC 3164), `tls`, `udp`, `unix`, `local` (3164).
    pub fn address(&self, input: &str) -> String {
        match input {
            "lines" => format!("tcp://127.0.0.1:{}", self.lines),
            "tcp" => format!("tcp://127.0.0.1:{}", self.octets),
            "older" => format!("tcp://127.0.0.1:{}", self.older),
            "tls" => format!("tls://localhost:{}", self.tls),
            "udp" => format!("udp://127.0.0.1:{}", self.udp),
            "unix" => format!("unix:{}", self.place.path().join("log.sock").display()),
            "local" => format!("unix:{}", self.place.path().join("local.sock").display()),
            "stream" => format!("unix:{}", self.place.path().join("stream.sock").display()),
            other => panic!("no input `{other}`"),
        }
    }

    /// Waits until there are so many messages; gives all.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let own_words =
            fs::read_to_string(self.place.path().join("syslog-ng.log")).unwrap_or_default();
        eventually(
            &format!("{count} messages; syslog-ng says: {own_words}"),
            || self.received().len() >= count,
        );
        self.received()
    }

    fn received(&self) -> Vec<Received> {
        let text = fs::read_to_string(self.place.path().join("out.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| read_line(line).unwrap()).collect()
    }

    fn listens(&mut self) -> bool {
        let tcp = [self.lines, self.octets, self.older, self.tls];
        let path = self.place.path().join("log.sock");
        for _ in 0..600 {
            if !self._program.runs() {
                return false;
            }
            let all = is_udp_bound(self.udp)
                && tcp
                    .iter()
                    .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                && UnixDatagram::unbound()
                    .and_then(|socket| socket.connect(&path))
                    .is_ok();
            if all {
                return true;
            }
            std::thread::sleep(millis(20));
        }
        false
    }
}

fn command(root: &Path, folder: &Path) -> Command {
    let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
    if root != Path::new("/") {
        let libraries = fs::read_dir(root.join("usr/lib"))
            .into_iter()
            .chain(fs::read_dir(root.join("lib")))
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let libraries: Vec<_> = libraries.collect();
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
        let modules = fs::read_dir(root.join("usr/lib/syslog-ng"))
            .unwrap()
            .flatten();
        let modules = modules
            .map(|entry| entry.path())
            .find(|path| path.is_dir())
            .unwrap();
        command.arg(format!("--module-path={}", modules.display()));
    }
    command.args(["-F", "--no-caps"]);
    for (option, file) in [
        ("cfgfile", "syslog-ng.conf"),
        ("persist-file", "persist"),
        ("pidfile", "pid"),
        ("control", "control"),
    ] {
        command.arg(format!("--{option}={}", folder.join(file).display()));
    }
    command
}

fn configuration(
    folder: &Path,
    files: &Files,
    [lines, octets, older, tls, udp]: [u16; 5],
) -> String {
    let place = folder.display();
    let Files {
        ca,
        certificate,
        key,
    } = files;
    let (ca, certificate, key) = (ca.display(), certificate.display(), key.display());
    format!(
        r#"@version: 3.35
options {{ keep-hostname(yes); keep-timestamp(yes); flush-lines(1); stats-freq(0); log-msg-size(262144); use-dns(no); dns-cache(no); }};
source s {{
  network(ip("127.0.0.1") port({lines}) transport("tcp") flags(syslog-protocol) tags("lines"));
  syslog(ip("127.0.0.1") port({octets}) transport("tcp") tags("tcp"));
  network(ip("127.0.0.1") port({older}) transport("tcp") tags("older"));
  syslog(ip("127.0.0.1") port({tls}) transport("tls") tags("tls")
    tls(ca-file("{ca}") cert-file("{certificate}") key-file("{key}") peer-verify(required-trusted)));
  syslog(ip("127.0.0.1") port({udp}) transport("udp") tags("udp"));
  unix-dgram("{place}/log.sock" flags(syslog-protocol) tags("unix"));
  unix-dgram("{place}/local.sock" tags("local"));
  unix-stream("{place}/stream.sock" flags(syslog-protocol) tags("stream"));
}};
destination d {{
  file("{place}/out.jsonl" template("$(format-json --scope rfc5424 --scope sdata --key ISODATE --key TAGS --pair PRINUM=$PRI)\n"));
}};
log {{ source(s); destination(d); }};
"#
    )
}

/// A line of its JSON. Structured data is under `_SDATA`, by ID and name; a dot in a name makes a level of its own.
fn read_line(line: &str) -> Option<Received> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    // What is nil, it leaves out.
    let or_nil = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let mut fields = serde_json::Map::new();
    if let Some(elements) = line["_SDATA"].as_object() {
        for element in elements.values() {
            flatten("", element, &mut fields);
        }
    }
    Some(Received {
        priority: text("PRINUM").parse().ok()?,
        timestamp: text("ISODATE"),
        host: text("HOST"),
        app_name: text("PROGRAM"),
        procid: or_nil("PID"),
        msgid: or_nil("MSGID"),
        message: text("MESSAGE"),
        fields,
        input: text("TAGS"),
    })
}

fn flatten(prefix: &str, value: &Value, fields: &mut serde_json::Map<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = match prefix {
                    "" => name.clone(),
                    prefix => format!("{prefix}.{name}"),
                };
                flatten(&name, member, fields);
            }
        }
        other => {
            fields.insert(prefix.to_owned(), other.clone());
        }
    }
}
