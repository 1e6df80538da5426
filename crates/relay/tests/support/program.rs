//! Programs that a test starts and ends, and the ports that they listen on.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A program of the system, looked for where administrators' programs are, too.
pub fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin".into(), "/sbin".into()];
    std::env::split_paths(&paths)
        .chain(more)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A running program, killed when it is dropped, and when the thread that started it ends.
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts `command`; what it prints goes to `log`.
    pub fn start(command: &Command, log: &Path) -> Program {
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut guarded = match find("setpriv") {
            Some(setpriv) => {
                let mut guarded = Command::new(setpriv);
                guarded
                    .args(["--pdeathsig", "KILL", "--"])
                    .arg(command.get_program());
                guarded
            }
            None => Command::new(command.get_program()),
        };
        guarded.args(command.get_args());
        for (name, value) in command.get_envs() {
            guarded.env(name, value.unwrap_or_default());
        }
        let child = guarded
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Program { child }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// SIGKILL, and wait until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// True while it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// TCP ports that nobody listens on, as the kernel gave them.
pub fn free_tcp_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

pub fn free_udp_port() -> u16 {
    let held = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    held.local_addr().unwrap().port()
}

/// True if somebody on this machine has that port of UDP.
pub fn is_udp_bound(port: u16) -> bool {
    // Of this thread: a test may have a network of its own.
    let table = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap_or_default();
    let wanted = format!(":{port:04X} ");
    table.lines().skip(1).any(|line| line.contains(&wanted))
}
