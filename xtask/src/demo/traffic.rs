//! A bounded load generator: a fixed number of requests from a fixed number of clients over loopback. Each client keeps
//! its session cookie; each request has a connection of its own and a time limit. What is asked for depends on the
//! request's number only, so two servers get the same traffic.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CLIENTS: usize = 12;
const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// One request of the traffic.
pub struct Request {
    method: &'static str,
    path: &'static str,
    expected: u16,
}

impl Request {
    /// A GET that is answered with 200.
    pub const fn get(path: &'static str) -> Request {
        Request {
            method: "GET",
            path,
            expected: 200,
        }
    }

    /// A POST that is answered with 200.
    pub const fn post(path: &'static str) -> Request {
        Request {
            method: "POST",
            path,
            expected: 200,
        }
    }

    const fn answered_with(mut self, status: u16) -> Request {
        self.expected = status;
        self
    }
}

/// What a visitor does, again and again: looks around, fills the cart, asks the slow supplier, fails to pay.
const VISIT: [Request; 16] = [
    Request::get("/"),
    Request::get("/product/1"),
    Request::post("/cart/1").answered_with(302),
    Request::get("/"),
    Request::get("/product/2"),
    Request::get("/stock/2"),
    Request::post("/cart/2").answered_with(302),
    Request::get("/product/3"),
    Request::get("/product/9").answered_with(404),
    Request::get("/"),
    Request::post("/cart/3").answered_with(302),
    Request::get("/product/4"),
    Request::post("/cart/4").answered_with(302),
    Request::get("/"),
    Request::get("/product/1"),
    Request::post("/checkout").answered_with(500),
];

/// What the clients saw.
#[derive(Default)]
pub struct Served {
    /// Requests with the answer they should get, the failing endpoint's 500 included.
    pub answered: usize,
    /// Of these: errors of the failing endpoint.
    pub failed_as_meant: usize,
    /// Requests with another answer.
    pub wrong: usize,
    /// Requests whose connection ended without an answer: their worker was killed.
    pub cut_off: usize,
    /// The ids of the requests with the answer they should get.
    pub ids: Vec<String>,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// Traffic under way.
pub struct Traffic {
    /// Requests done so far.
    pub done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Served>>,
    started: Instant,
}

/// Starts `all` requests to 127.0.0.1.
pub fn start(port: u16, all: usize) -> Traffic {
    let done = Arc::new(AtomicUsize::new(0));
    let next = Arc::new(AtomicUsize::new(0));
    let client = |_| {
        let (done, next) = (Arc::clone(&done), Arc::clone(&next));
        thread::spawn(move || visit(port, all, &next, &done))
    };
    Traffic {
        clients: (0..CLIENTS).map(client).collect(),
        done: Arc::clone(&done),
        started: Instant::now(),
    }
}

impl Traffic {
    /// True when all requests are done.
    pub fn is_over(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the last answer and adds up.
    pub fn join(self) -> Served {
        let mut sum = Served::default();
        for client in self.clients {
            let served = client.join().expect("a client does not panic");
            sum.answered += served.answered;
            sum.failed_as_meant += served.failed_as_meant;
            sum.wrong += served.wrong;
            sum.cut_off += served.cut_off;
            sum.ids.extend(served.ids);
        }
        sum.took = self.started.elapsed();
        sum
    }
}

fn visit(port: u16, all: usize, next: &AtomicUsize, done: &AtomicUsize) -> Served {
    let mut served = Served::default();
    let mut cookie = String::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= all {
            return served;
        }
        let request = &VISIT[number % VISIT.len()];
        let id = format!("visit-{number}");
        match send(port, request, &id, &mut cookie) {
            Ok(status) if status == request.expected => {
                served.answered += 1;
                served.failed_as_meant += usize::from(status == 500);
                served.ids.push(id);
            }
            Ok(_) => served.wrong += 1,
            Err(_) => served.cut_off += 1,
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends one request with an id (empty: without) and returns the answer's status; keeps the session cookie.
pub fn send(port: u16, request: &Request, id: &str, cookie: &mut String) -> io::Result<u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let Request { method, path, .. } = request;
    let body = if *method == "POST" {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    let cookie_line = if cookie.is_empty() {
        String::new()
    } else {
        format!("Cookie: {cookie}\r\n")
    };
    let id_line = if id.is_empty() {
        String::new()
    } else {
        format!("X-Request-ID: {id}\r\n")
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{body}{id_line}{cookie_line}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let head = answer.split("\r\n\r\n").next().unwrap_or("");
    if let Some(line) = head
        .lines()
        .find_map(|line| line.strip_prefix("Set-Cookie: "))
    {
        *cookie = line.split(';').next().unwrap_or("").to_owned();
    }
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no answer"))
}
