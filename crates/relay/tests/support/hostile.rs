//! Receivers that misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::millis;

/// Serves each connection by `behave`, on a thread of its own; gives where.
pub fn serve(behave: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    serve_on(TcpListener::bind(("127.0.0.1", 0)).unwrap(), behave)
}

/// The same with so much of what was not read kept by the kernel.
pub fn serve_with_buffer(
    bytes: usize,
    behave: impl Fn(TcpStream) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, bytes).unwrap();
    serve_on(listener, behave)
}

fn serve_on(
    listener: TcpListener,
    behave: impl Fn(TcpStream) + Clone + Send + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behave = behave.clone();
            std::thread::spawn(move || behave(stream));
        }
    });
    address
}

/// Reads everything and never says a word.
pub fn swallow(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Says `bytes`, one each `every_ms`, and reads nothing.
pub fn dribble(mut stream: TcpStream, bytes: &[u8], every_ms: u64) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(millis(every_ms));
    }
    std::thread::sleep(super::secs(60));
}

/// Reads a frame of RELP; its number, command and data.
pub fn read_relp(stream: &mut TcpStream) -> Option<(u32, String, Vec<u8>)> {
    let number = read_word(stream)?.parse().ok()?;
    let command = read_word(stream)?;
    let mut len = String::new();
    let end = loop {
        match read_byte(stream)? {
            end @ (b' ' | b'\n') => break end,
            digit => len.push(char::from(digit)),
        }
    };
    let mut data = vec![0; len.parse().ok()?];
    if end == b' ' {
        stream.read_exact(&mut data).ok()?;
        read_byte(stream)?;
    }
    Some((number, command, data))
}

/// Answers `open` as a RELP server does.
pub fn open_relp(stream: &mut TcpStream) -> Option<()> {
    let (number, command, _) = read_relp(stream)?;
    assert_eq!(command, "open");
    let offers = "200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog";
    say(stream, &format!("{number} rsp {} {offers}\n", offers.len()))
}

/// Writes a text.
pub fn say(stream: &mut TcpStream, text: &str) -> Option<()> {
    stream.write_all(text.as_bytes()).ok()
}

fn read_word(stream: &mut TcpStream) -> Option<String> {
    let mut word = String::new();
    loop {
        match read_byte(stream)? {
            b' ' => return Some(word),
            byte => word.push(char::from(byte)),
        }
    }
}

fn read_byte(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    Some(byte[0])
}
