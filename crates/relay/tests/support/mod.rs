//! What tests with real receivers share: rsyslog and syslog-ng on loopback, certificates, receivers that misbehave, and the
//! simplest thing that ships.
//!
//! What always holds: a receiver listens on ports that the kernel gave, has a directory of its own, is ended by its pid at the
//! end of the test, and by the kernel when the test dies. What is not installed is said by `skipped:`.

#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod certificates;
pub mod hostile;
pub mod program;
pub mod rsyslog;
pub mod shipper;
pub mod syslog_ng;

use std::time::{Duration, Instant};

use logboom_relay::destination::{Destination, Syslog, Tls};
use logboom_relay::record::Record;
use serde_json::{Value, json};

/// A destination as a user would have it, with little patience.
pub fn destination(address: &str) -> Destination {
    Destination {
        name: "test".into(),
        address: address.parse().unwrap(),
        window: 1000,
        batch: 100,
        timeout: secs(10),
        syslog: Syslog::default(),
        tls: Tls::default(),
    }
}

/// A record with a number in its id and in its body.
pub fn numbered(number: u64) -> Record {
    Record {
        time_ns: 1_763_656_201_123_456_000 + number * 1000,
        severity: 9,
        level: "INFO".into(),
        component: "shop.payments".into(),
        body: format!(
            "record {number} with about as many bytes as the message of a log usually has"
        ),
        process: Some(4711),
        id: format!("5f3c.1.{number:x}"),
        fields: json!({"order": number})
            .as_object()
            .cloned()
            .unwrap_or_default()
            .into(),
    }
}

/// The number in an id of [`numbered`].
pub fn number_of(id: &str) -> u64 {
    let (_, number) = id.rsplit_once('.').unwrap();
    u64::from_str_radix(number, 16).unwrap()
}

pub fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// True if the long run is asked for.
pub fn is_full() -> bool {
    std::env::var_os("LOGBOOM_FULL").is_some()
}

/// Waits until `condition` holds, or fails the test after a bound that no healthy run comes near.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + secs(30);
    while !condition() {
        assert!(Instant::now() < until, "did not happen: {what}");
        std::thread::sleep(millis(5));
    }
}

/// What a receiver understood of a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Received {
    /// PRI.
    pub priority: u64,
    /// As it was sent, or as the receiver writes times.
    pub timestamp: String,
    pub host: String,
    pub app_name: String,
    pub procid: String,
    pub msgid: String,
    pub message: String,
    /// The fields of our structured data, as texts.
    pub fields: serde_json::Map<String, Value>,
    /// Which of the receiver's inputs it came through.
    pub input: String,
}

impl Received {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// The ledger id.
    pub fn id(&self) -> &str {
        self.field("id").unwrap_or_default()
    }
}
