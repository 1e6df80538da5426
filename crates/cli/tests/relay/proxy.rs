//! A receiver that can be made to misbehave: a proxy before the real one, which then has, in its file, all that it really got.
//!
//! What it does may change at any time; connections that exist then are closed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use crate::support::hostile::{open_relp, read_relp, say};
use crate::support::{eventually, millis, secs};

/// What a receiver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// What it should.
    Well,
    /// It accepts connections and never says a word.
    Silent,
    /// It takes everything and acknowledges nothing.
    Mute,
    /// It takes the beginning, and then nothing more.
    Stalled,
    /// It answers a byte a second.
    Trickle,
    /// It closes in the middle of a frame, again and again.
    Cut,
    /// It refuses every record.
    Refuse,
    /// Nobody listens.
    Away,
}

const MANNERS: [Manner; 8] = [
    Manner::Well,
    Manner::Silent,
    Manner::Mute,
    Manner::Stalled,
    Manner::Trickle,
    Manner::Cut,
    Manner::Refuse,
    Manner::Away,
];

/// A proxy for RELP.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    manner: AtomicUsize,
    /// Counts the changes of manner.
    turn: AtomicU64,
}

impl Proxy {
    /// Before the receiver at `relp://ADDRESS`.
    pub fn before(address: &str) -> Proxy {
        let to = address.strip_prefix("relp://").unwrap().parse().unwrap();
        let shared = Arc::new(Shared {
            to,
            manner: AtomicUsize::new(0),
            turn: AtomicU64::new(0),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Proxy {
            address: listener.local_addr().unwrap(),
            listening: Some(listen(listener, shared.clone())),
            shared,
        }
    }

    pub fn address(&self) -> String {
        format!("relp://{}", self.address)
    }

    /// Behaves so from now on.
    pub fn behave(&mut self, manner: Manner) {
        let index = MANNERS.iter().position(|other| *other == manner).unwrap();
        self.shared.manner.store(index, SeqCst);
        self.shared.turn.fetch_add(1, SeqCst);
        if manner == Manner::Away {
            let _wakes_it = TcpStream::connect(self.address);
            self.listening.take().map(std::thread::JoinHandle::join);
        } else if self.listening.is_none() {
            let mut again = None;
            eventually("the port is free again", || {
                again = TcpListener::bind(self.address).ok();
                again.is_some()
            });
            self.listening = again.map(|listener| listen(listener, self.shared.clone()));
        }
    }
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let manner = MANNERS[shared.manner.load(SeqCst)];
            if manner == Manner::Away {
                return;
            }
            let shared = shared.clone();
            std::thread::spawn(move || shared.serve(stream, manner));
        }
    })
}

impl Shared {
    fn serve(&self, mut client: TcpStream, manner: Manner) {
        let turn = self.turn.load(SeqCst);
        let _ = client.set_read_timeout(Some(millis(50)));
        match manner {
            Manner::Well => self.pass_on(client, turn, None),
            Manner::Trickle => self.pass_on(client, turn, Some(secs(1))),
            Manner::Silent => self.wait_for_a_change(turn),
            Manner::Mute => {
                let _ = client.set_read_timeout(None);
                open_relp(&mut client);
                let _ = client.set_read_timeout(Some(millis(50)));
                self.pump(client, &mut std::io::sink(), turn);
            }
            Manner::Stalled => {
                let _ = client.set_read_timeout(None);
                open_relp(&mut client);
                self.wait_for_a_change(turn);
            }
            Manner::Cut => self.cut_short(client),
            Manner::Refuse => {
                let _ = client.set_read_timeout(None);
                let _ = open_relp(&mut client);
                while let Some((number, command, _)) = read_relp(&mut client) {
                    let answer = "500 I take nothing";
                    let frame = format!("{number} rsp {} {answer}\n", answer.len());
                    if command != "syslog"
                        || say(&mut client, &frame).is_none()
                        || self.is_over(turn)
                    {
                        return;
                    }
                }
            }
            Manner::Away => {}
        }
    }

    fn is_over(&self, turn: u64) -> bool {
        self.turn.load(SeqCst) != turn
    }

    fn wait_for_a_change(&self, turn: u64) {
        while !self.is_over(turn) {
            std::thread::sleep(millis(20));
        }
    }

    /// Both ways, the answers one byte in each `pause`, if there is one.
    fn pass_on(&self, client: TcpStream, turn: u64, pause: Option<std::time::Duration>) {
        let Ok(server) = TcpStream::connect(self.to) else {
            return;
        };
        let _ = server.set_read_timeout(Some(millis(50)));
        let (mut to_server, mut to_client) =
            (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::scope(|threads| {
            threads.spawn(|| {
                self.pump(client, &mut to_server, turn);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            match pause {
                None => self.pump(server, &mut to_client, turn),
                Some(pause) => self.pump(server, &mut Slowly(&to_client, pause), turn),
            }
            let _ = to_client.shutdown(Shutdown::Both);
        });
    }

    fn pump(&self, mut from: TcpStream, to: &mut dyn Write, turn: u64) {
        let mut buffer = vec![0; 64 << 10];
        while !self.is_over(turn) {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) if to.write_all(&buffer[..count]).is_err() => return,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// The real one gets some frames and the beginning of another, and no answer comes back.
    fn cut_short(&self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.to) else {
            return;
        };
        let _ = client.set_read_timeout(Some(millis(500)));
        let (mut buffer, mut left) = (vec![0; 997], 5 * 997);
        let mut to_client = client.try_clone().unwrap();
        let mut answers = server.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut answers, &mut to_client));
        while left > 0 {
            let count = match client.read(&mut buffer) {
                Ok(count @ 1..) => count.min(left),
                _ => break,
            };
            if server.write_all(&buffer[..count]).is_err() {
                break;
            }
            left -= count;
        }
        let _ = (
            client.shutdown(Shutdown::Both),
            server.shutdown(Shutdown::Both),
        );
    }
}

/// A byte at a time.
struct Slowly<'a>(&'a TcpStream, std::time::Duration);

impl Write for Slowly<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::thread::sleep(self.1);
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
