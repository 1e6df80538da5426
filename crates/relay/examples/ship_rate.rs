//! How fast records leave through each sink of the syslog family.
//!
//!     cargo run --release -p logboom-relay --example ship_rate
//!     cargo run --release -p logboom-relay --example ship_rate -- relp://logs.example.com:2514 1000000 [CA.pem]
//!
//! Without an address, into receivers of its own that do no more than their protocol asks: what is measured then is the sink. With
//! one, into that receiver. The processor time is that of the shipping thread alone. What it prints is one row for each.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use logboom_relay::destination::{Destination, Syslog, Tls};
use logboom_relay::record::Record;
use logboom_relay::sink::{self, Trouble};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

const BATCH: usize = 500;
const WINDOW: usize = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments
        .get(1)
        .map_or(200_000, |count| count.parse().expect("a number of records"));
    println!("{:24} {:>12} {:>16}", "to", "records/s", "cpu s/million");
    let ca = arguments.get(2).map(Into::into);
    match arguments.first() {
        Some(address) => row(address, &measure(address, ca, count)),
        None => into_nothing(count),
    }
}

/// Into receivers of our own.
fn into_nothing(count: usize) {
    let tcp = serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    row("tcp, read", &measure(&format!("tcp://{tcp}"), None, count));
    let relp = serve(|stream| {
        let _ = answer_relp(stream);
    });
    row(
        "relp, answered",
        &measure(&format!("relp://{relp}"), None, count),
    );
    let udp = UdpSocket::bind(("127.0.0.1", 0)).expect("a port");
    let address = udp.local_addr().expect("bound");
    std::thread::spawn(move || while udp.recv(&mut [0; 65536]).is_ok() {});
    row(
        "udp, read",
        &measure(&format!("udp://{address}"), None, count),
    );
    let path = std::env::temp_dir().join(format!("logboom-ship-rate-{}", std::process::id()));
    let unix = UnixDatagram::bind(&path).expect("a socket");
    std::thread::spawn(move || while unix.recv(&mut [0; 65536]).is_ok() {});
    row(
        "unix, read",
        &measure(&format!("unix:{}", path.display()), None, count),
    );
    let _ = std::fs::remove_file(path);
}

fn row(name: &str, measured: &Result<(Duration, Duration, usize), Trouble>) {
    match measured {
        Ok((time, cpu, count)) => println!(
            "{name:24} {:>12.0} {:>16.2}",
            *count as f64 / time.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / *count as f64,
        ),
        Err(trouble) => println!("{name:24} {}", trouble.text),
    }
}

/// Ships `count` records; gives the time until the last verdict, and the processor's.
fn measure(
    address: &str,
    ca: Option<std::path::PathBuf>,
    count: usize,
) -> Result<(Duration, Duration, usize), Trouble> {
    let destination = Destination {
        name: "rate".into(),
        address: address.parse().map_err(Trouble::new)?,
        window: WINDOW,
        batch: BATCH,
        timeout: Duration::from_secs(30),
        syslog: Syslog::default(),
        tls: Tls {
            ca,
            ..Tls::default()
        },
    };
    let mut sink = sink::make(&destination)?;
    sink.connect()?;
    let records: Vec<Record> = (0..BATCH).map(record).collect();
    let (begun, cpu) = (Instant::now(), thread_time());
    let (mut sent, mut verdicts) = (0, Vec::new());
    while verdicts.len() < count {
        let room = (WINDOW - (sent - verdicts.len())).min(count - sent);
        if room >= BATCH.min(count - sent) && room > 0 {
            sink.send(&records[..BATCH.min(room)])?;
            sent += BATCH.min(room);
            sink.settle(Duration::ZERO, &mut verdicts)?;
        } else {
            sink.settle(Duration::from_secs(1), &mut verdicts)?;
        }
    }
    let measured = (begun.elapsed(), thread_time() - cpu, count);
    sink.close();
    Ok(measured)
}

/// As an application logs them: 120 bytes of message and three fields.
fn record(number: usize) -> Record {
    let fields = json!({"order": number, "request_id": "9f2c1d7e", "user.id": "u-1234"});
    Record {
        time_ns: 1_763_656_201_123_456_789,
        severity: 9,
        level: "INFO".into(),
        component: "shop.payments".into(),
        body: "0123456789".repeat(12),
        process: Some(4711),
        id: format!("5f3c9a7b21d04e66.1.{number:x}"),
        fields: fields.as_object().cloned().unwrap_or_default().into(),
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn serve(behave: impl Fn(TcpStream) + Send + 'static) -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || listener.incoming().flatten().for_each(behave));
    address
}

/// Answers each frame of RELP, as many at once as came at once.
fn answer_relp(stream: TcpStream) -> std::io::Result<()> {
    let mut answers = BufWriter::new(stream.try_clone()?);
    let mut frames = BufReader::with_capacity(256 << 10, stream);
    let mut data = Vec::new();
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b" ") || head.iter().filter(|byte| **byte == b' ').count() < 3 {
            if frames.read_until(b' ', &mut head)? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split(' ');
        let (number, command) = (words.next().unwrap_or("0"), words.next().unwrap_or(""));
        let len: usize = words.next().and_then(|len| len.parse().ok()).unwrap_or(0);
        data.resize(len + 1, 0);
        frames.read_exact(&mut data)?;
        let text = match command {
            "open" => "200 OK\nrelp_version=0\ncommands=syslog",
            _ => "200 OK",
        };
        writeln!(answers, "{number} rsp {} {text}", text.len())?;
        if frames.buffer().is_empty() {
            answers.flush()?;
        }
    }
}
