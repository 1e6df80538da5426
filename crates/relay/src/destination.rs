//! A destination: where records are shipped to, and how. Values only; `[ship.NAME]` of `logboom.toml` says what each means.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A receiver's address, written as a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    scheme: String,
    /// `host:port` (an IPv6 address in brackets), or a path.
    rest: String,
}

impl Address {
    /// The scheme: `tcp`, `relp+tls` ...
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands behind `://`, or behind `:` for a path.
    pub fn rest(&self) -> &str {
        &self.rest
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slashes = if self.rest.starts_with('/') { "" } else { "//" };
        write!(f, "{}:{slashes}{}", self.scheme, self.rest)
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    /// `relp+tls://logs.example.com:2514`, `unix:/dev/log`.
    fn from_str(text: &str) -> Result<Address, String> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            format!("`{text}` has no scheme; write it as `tcp://host:port` or `unix:/dev/log`")
        })?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        if rest.is_empty() {
            return Err(format!("`{text}` names no host or path behind `{scheme}:`"));
        }
        Ok(Address {
            scheme: scheme.to_ascii_lowercase(),
            rest: rest.to_owned(),
        })
    }
}

/// Everything that a sink may need to know of its receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// Records in flight at most.
    pub window: usize,
    /// Records that are sent at once at most.
    pub batch: usize,
    /// How long connecting, sending or an answer may take.
    pub timeout: Duration,
    /// How syslog messages look.
    pub syslog: Syslog,
    /// Whom to trust, for the schemes with TLS.
    pub tls: Tls,
}

/// How a record becomes a syslog message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// Which of the two formats.
    pub dialect: Dialect,
    /// How messages are told apart on a stream.
    pub framing: Framing,
    /// Facility, 0 to 23 (RFC 5424, table 1).
    pub facility: u8,
    /// HOSTNAME; empty: the machine's own name.
    pub hostname: String,
    /// APP-NAME; empty: the record's component.
    pub app_name: String,
    /// The SD-ID under which a record's fields are sent in RFC 5424; empty: they are not.
    pub structured_data_id: String,
    /// Bytes of a message at most, its header included; not below 480, which every receiver takes. 0: what receivers of the
    /// format usually take, 1024 for RFC 3164 (its section 4.1) and 8192 for RFC 5424 (RFC 5425, section 4.3.1).
    pub message_bytes_max: usize,
    /// What happens to a longer one.
    pub long: Long,
}

impl Syslog {
    /// Bytes of a message at most, decided.
    pub(crate) fn message_bytes_max(&self) -> usize {
        match (self.message_bytes_max, self.dialect) {
            (0, Dialect::Rfc5424 | Dialect::Plain) => 8192,
            (0, Dialect::Rfc3164) => 1024,
            (bytes, _) => bytes,
        }
    }
}

impl Default for Syslog {
    /// RFC 5424 with octet counting, facility `user`, the component as APP-NAME, fields under `logboom@32473`.
    fn default() -> Syslog {
        Syslog {
            dialect: Dialect::Rfc5424,
            framing: Framing::Octets,
            facility: 1,
            hostname: String::new(),
            app_name: String::new(),
            structured_data_id: "logboom@32473".to_owned(),
            message_bytes_max: 0,
            long: Long::Cut,
        }
    }
}

/// The formats of syslog messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 5424.
    Rfc5424,
    /// RFC 3164, the older one; to a local socket without the host, as syslog(3) writes it.
    Rfc3164,
    /// `<PRI>` and the text, as Python's `logging.handlers.SysLogHandler` writes it. The record's field `syslog.priority`, a number,
    /// is the priority if there is one.
    Plain,
}

/// How messages are told apart on a stream (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Octet counting (section 3.4.1).
    Octets,
    /// A line feed ends each message (section 3.4.2); line feeds inside are written as `\n`.
    LineFeed,
}

/// What happens to a message that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Long {
    /// It is cut, with a mark that says how long it was.
    Cut,
    /// It becomes several messages, each with a mark that says which part it is.
    Split,
}

/// Whom to trust, and who to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates of the authorities to trust, PEM; None: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM, the chain behind it.
    pub certificate: Option<PathBuf>,
    /// The key of that certificate, PEM.
    pub key: Option<PathBuf>,
    /// The name that must be in the receiver's certificate; empty: the host of the address.
    pub server_name: String,
    /// The oldest version to accept.
    pub oldest: TlsVersion,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A destination as a user would have it.
    pub(crate) fn destination(address: &str) -> Destination {
        Destination {
            name: "test".into(),
            address: address.parse().unwrap(),
            window: 100,
            batch: 10,
            timeout: Duration::from_secs(10),
            syslog: Syslog::default(),
            tls: Tls::default(),
        }
    }

    /// An address is shown as it is written.
    #[test]
    fn addresses_are_shown_as_they_are_written() {
        for text in [
            "relp+tls://logs.example.com:2514",
            "unix:/dev/log",
            "udp://[::1]",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert!("no-scheme".parse::<Address>().is_err());
        assert!("tcp://".parse::<Address>().is_err());
    }
}
