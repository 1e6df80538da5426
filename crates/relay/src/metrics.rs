//! What Prometheus is told: `GET /metrics` on the address of `relay.metrics`, in the text format, version 0.0.4.
//!
//! One thread, one connection after the other, each bounded in length and in time. There are no secrets in it, and nothing can be
//! changed through it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::figures::{Figures, State};

const REQUEST_BYTES_MAX: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(2);

/// The figures that are served, replaced now and then.
pub type Shown = Arc<Mutex<Vec<Figures>>>;

/// Serves `shown` at `address` for the rest of the process; gives the address that was taken.
///
/// # Errors
/// The address is taken, or none of this machine's.
pub fn serve(address: &str, shown: Shown) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let at = listener.local_addr()?;
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away needs no answer.
                let _ = answer(stream, &shown);
            }
        })?;
    Ok(at)
}

fn answer(mut stream: TcpStream, shown: &Shown) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (status, body) = match requested_path(&mut stream) {
        Some(path) if path == "/metrics" => {
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            ("200 OK", text(&shown))
        }
        Some(_) => ("404 Not Found", "see /metrics\n".to_owned()),
        None => ("400 Bad Request", "write GET /metrics\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The path of a GET request; None: it is none, or too long, or does not end.
fn requested_path(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    while bytes.len() < REQUEST_BYTES_MAX {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&bytes).ok()?.is_complete() {
            let path = request.path?.split('?').next()?;
            return (request.method? == "GET").then(|| path.to_owned());
        }
    }
    None
}

type Measure = fn(&Figures) -> f64;

const MEASURES: &[(&str, &str, &str, Measure)] = &[
    (
        "up",
        "gauge",
        "1: records get through, or there were none yet; 0: something keeps them from it.",
        |f| f64::from(u8::from(f.state != State::Down)),
    ),
    (
        "delivered_records_total",
        "counter",
        "Records that the receiver has.",
        |f| f.delivered as f64,
    ),
    (
        "delivered_bytes_total",
        "counter",
        "Their bytes in the spool.",
        |f| f.delivered_bytes as f64,
    ),
    (
        "delivered_records_per_second",
        "gauge",
        "Records delivered in a second, lately.",
        |f| f.rate as f64,
    ),
    (
        "refused_records_total",
        "counter",
        "Records that the receiver will never take.",
        |f| f.refused as f64,
    ),
    (
        "given_up_records_total",
        "counter",
        "Records given up after the deadline.",
        |f| f.given_up as f64,
    ),
    (
        "resent_records_total",
        "counter",
        "Records that were sent again.",
        |f| f.sent_again as f64,
    ),
    (
        "dropped_records_total",
        "counter",
        "Records for which the spool had no room.",
        |f| f.dropped as f64,
    ),
    ("failures_total", "counter", "Failures to deliver.", |f| {
        f.failures as f64
    }),
    ("connections_total", "counter", "Connections made.", |f| {
        f.connections as f64
    }),
    (
        "damaged_lines_total",
        "counter",
        "Lines of the spool that could not be read.",
        |f| f.damaged as f64,
    ),
    (
        "missed_segments_total",
        "counter",
        "Segments of the spool that were deleted before they were shipped.",
        |f| f.segments_missed as f64,
    ),
    (
        "waiting_records",
        "gauge",
        "Records that wait; NaN: not counted yet.",
        |f| f.waiting.map_or(f64::NAN, |n| n as f64),
    ),
    ("waiting_bytes", "gauge", "Their bytes.", |f| {
        f.waiting_bytes as f64
    }),
    (
        "in_flight_records",
        "gauge",
        "Records under way without an answer.",
        |f| f.in_flight as f64,
    ),
    (
        "lag_seconds",
        "gauge",
        "Age of the oldest record that waits.",
        Figures::lag_s,
    ),
    ("spool_bytes", "gauge", "Bytes of the spool on disk.", |f| {
        f.spool_bytes as f64
    }),
    ("spool_bytes_max", "gauge", "As many it may have.", |f| {
        f.spool_bytes_max as f64
    }),
];

/// All figures in the text format.
pub fn text(figures: &[Figures]) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for (name, kind, help, measure) in MEASURES {
        let _ = writeln!(
            out,
            "# HELP logboom_ship_{name} {help}\n# TYPE logboom_ship_{name} {kind}"
        );
        for of in figures {
            let (destination, to) = (label(&of.name), label(&of.to));
            let value = measure(of);
            let _ = writeln!(
                out,
                "logboom_ship_{name}{{destination=\"{destination}\",to=\"{to}\"}} {value}"
            );
        }
    }
    out
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            name: "central".to_owned(),
            to: "tcp://a\"b".to_owned(),
            delivered: 12,
            oldest_ns: 1_000_000_000,
            stored_ns: 3_500_000_000,
            ..Figures::default()
        }
    }

    fn ask(request: &[u8]) -> String {
        let shown: Shown = Arc::new(Mutex::new(vec![figures()]));
        let address = serve("127.0.0.1:0", shown).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }

    #[test]
    fn prometheus_gets_each_figure_with_its_help() {
        let text = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        for line in [
            "# TYPE logboom_ship_delivered_records_total counter\n",
            "logboom_ship_delivered_records_total{destination=\"central\",to=\"tcp://a\\\"b\"} 12\n",
            "logboom_ship_lag_seconds{destination=\"central\",to=\"tcp://a\\\"b\"} 2.5\n",
            "logboom_ship_waiting_records{destination=\"central\",to=\"tcp://a\\\"b\"} NaN\n",
            "logboom_ship_up{destination=\"central\",to=\"tcp://a\\\"b\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn other_requests_are_refused() {
        assert!(ask(b"GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
        assert!(ask(b"\x16\x03\x01").starts_with("HTTP/1.1 400"));
        let long = [&b"GET /metrics HTTP/1.1\r\nX: "[..], &[b'x'; 20_000]].concat();
        assert!(!ask(&long).contains("200 OK"));
    }
}
