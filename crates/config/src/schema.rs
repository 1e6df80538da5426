//! Every key of the configuration: what it may hold, its default, and what it means.
//!
//! A `*` stands for a name that the user chooses: of a file (lower-case letters, digits, `_`) or of a component.

use crate::kind::Kind;
use Kind::{
    Address, Bool, Bytes, Choice, Components, Count, Group, Headers, Level, Mode, Names,
    OffOrLevel, OptionalPath, Path, Paths, Patterns, Seconds, StateDir, Suffix, TimeOfDay, When,
    Word,
};

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The dotted name, with `*` for a name of the user's.
    pub name: &'static str,
    /// The value when nobody says anything, as it would be written.
    pub default: &'static str,
    /// What it means, for docs/configuration.md.
    pub meaning: &'static str,
    pub(crate) kind: Kind,
    /// The server's flag with the same meaning.
    pub(crate) flag: Option<&'static str>,
}

impl Key {
    /// The environment variable that overrides the key.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = match self.name {
            "format.kind" => "format",
            name => name.strip_suffix(".*").unwrap_or(name),
        };
        format!(
            "LOGBOOM_{}",
            name.replace('*', "name").replace('.', "_").to_uppercase()
        )
    }

    /// What the key may hold, in words.
    #[must_use]
    pub fn expects(&self) -> String {
        self.kind.expects()
    }

    pub(crate) fn segments(&self) -> Vec<&'static str> {
        self.name.split('.').collect()
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        default,
        meaning,
        kind,
        flag: None,
    }
}

const fn with_flag(mut key: Key, flag: &'static str) -> Key {
    key.flag = Some(flag);
    key
}

/// The facilities of syslog, in the order of their numbers (RFC 5424, table 1; the names of syslog(3)).
pub const FACILITIES: &[&str] = &[
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// All keys, in the order in which they are shown.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    with_flag(key("level", Level, "\"info\"", "records below this level are not written"), "--log-level"),
    key("levels.*", Level, "", "the level of one component (the name of a logger) and of its children"),
    key("format.kind", Choice(&["text", "json", "logfmt"]), "\"text\"", "how records are written: for people, as JSON lines, as logfmt"),
    key("format.colour", Choice(&["auto", "always", "never"]), "\"auto\"", "colour in text on standard error; `auto`: on a terminal, unless `NO_COLOR` is set"),
    key("format.utc", Bool, "false", "times in text are UTC instead of local time"),
    key("files.*.path", Path, "\"-\"", "where the file is, from the working directory; `-` is standard error. Only `main` has a default"),
    key("files.*.components", Components, "[]", "takes the records of these components and their children; empty: of all. For a file called `access` the default is `[\"gunicorn.access\", \"logboom.access\"]`"),
    key("files.*.alone", Bool, "true with components, else false", "`main` does not get what this file takes"),
    key("files.*.level", Level, "\"all\"", "takes records from this level on"),
    key("files.*.format", Choice(&["default", "text", "json", "logfmt"]), "\"default\"", "another format for this file than `format.kind`"),
    key("files.*.rotate.size", Bytes, "0", "rotate when a record would bring the file to this size; 0: never by size"),
    key("files.*.rotate.when", When, "\"never\"", "rotate by time, in the words of the standard library's `TimedRotatingFileHandler`: `S`, `M`, `H`, `D`, `midnight`, `W0` (Monday) to `W6`"),
    key("files.*.rotate.interval", Count(1, 100_000), "1", "each so many units of `when`"),
    key("files.*.rotate.utc", Bool, "false", "days begin in UTC instead of local time"),
    key("files.*.rotate.at", TimeOfDay, "\"\"", "time of day for `midnight` and `W0` to `W6`; empty: the end of the day"),
    key("files.*.rotate.suffix", Suffix, "\"\"", "strftime format behind the names of archives (`%Y %m %d %H %M %S` and text); empty: that of `when`"),
    key("files.*.keep.count", Count(0, 1_000_000), "10", "how many archives are kept; 0: no limit (needs `rotate.when`)"),
    key("files.*.keep.age", Seconds, "0", "archives older than this are deleted; 0: no limit"),
    key("files.*.keep.bytes", Bytes, "0", "the oldest archives are deleted while the file and its archives are longer than this together; 0: no limit"),
    key("files.*.compress", Choice(&["none", "gzip", "zstd"]), "\"none\"", "archives are compressed after the rotation"),
    key("files.*.durability", Choice(&["kernel", "disk"]), "\"kernel\"", "`kernel`: a record survives the process; `disk`: the call returns when the disk has it"),
    key("files.*.watch", Bool, "true", "follow a rotation from outside (`mv`, `logrotate`, deletion)"),
    key("files.*.ledger_ids", Bool, "false", "end each record with its ledger id, for `logboom verify`"),
    key("files.*.mode", Mode, "\"\"", "permissions of a file that is created, such as `\"0640\"`; empty: those of the umask"),
    key("files.*.state_dir", StateDir, "\"\"", "where the shared state lies; empty: `LOGBOOM_STATE_DIR`, the user's runtime directory or shared memory; `beside`: in the log's directory"),
    key("files.*.state_group", Group, "\"\"", "a group of users who may look at the state with the command `logboom`, and not change it; empty: only the user of the workers"),
    key("files.*.on_full", Choice(&["block", "drop"]), "\"block\"", "when a process's queue is full: wait within a bound, then drop and count; or drop at once"),
    key("files.*.on_full_wait", Seconds, "\"200 ms\"", "that bound, waited once per stall"),
    key("files.*.queue_bytes", Bytes, "0", "length of each process's queue; 0: 1 MiB, less where the state has little room"),
    key("redact.names", Names, "[\"password\", \"passwd\", \"authorization\", \"cookie\", \"set-cookie\", \"token\", \"secret\", \"api_key\"]", "values of fields with these names (in any case, also nested, also `name=value` in messages) are not written"),
    key("redact.patterns", Patterns, "[]", "regular expressions; what they match is not written"),
    key("request.id_headers", Headers, "[\"X-Request-ID\", \"traceparent\"]", "where the id of a request comes from, first match first; else a new one is made"),
    key("access.enabled", Bool, "true", "one record for each request"),
    key("access.quiet", Paths, "[]", "health probes: a success (a status below 400) on these paths leaves no record; exact paths, or beginnings that end with `*`"),
    key("capture.stdout", Bool, "true", "what workers print to standard output becomes records"),
    key("capture.stderr", Bool, "true", "the same for standard error"),
    key("capture.bytes", Bytes, "\"1 MB\"", "bound of what one worker has printed natively and nobody has made into records yet"),
    key("recorder.level", OffOrLevel, "\"off\"", "records from this level on are kept in the recorder although `level` keeps them out of the files"),
    key("recorder.bytes", Bytes, "\"4 MB\"", "length of each worker's recorder, if it is on"),
    key("recorder.rewind_on", Choice(&["off", "error"]), "\"off\"", "`error`: when a request logs an error, or ends with a status of 500 or more, what was only recorded of it is written, marked as rewound"),
    key("blackbox.records", Count(0, 10_000), "50", "how many last records of a dead worker are shown"),
    key("ship.*.to", Address, "", "where records are shipped to: `unix:/dev/log`, or `udp`, `tcp`, `tls`, `relp`, `relp+tls` with `://host:port`; without a port it is 514, for `tls` 6514, and RELP has none"),
    key("ship.*.components", Components, "[]", "ships the records of these components and their children; empty: of all"),
    key("ship.*.except", Components, "[]", "but not those of these, and of their children"),
    key("ship.*.level", Level, "\"all\"", "ships records from this level on"),
    key("ship.*.spool.path", OptionalPath, "\"\"", "directory in which records wait; empty: `.logboom-spool` beside the log of `main`, else the user's state directory"),
    key("ship.*.spool.bytes", Bytes, "\"256 MB\"", "how much may wait on disk"),
    key("ship.*.spool.full", Choice(&["oldest", "newest", "block"]), "\"oldest\"", "when that is full: drop the oldest records, or the newest, or let who logs wait and then drop"),
    key("ship.*.spool.wait", Seconds, "\"200 ms\"", "how long who logs waits for room then, once per stall"),
    key("ship.*.spool.state_dir", StateDir, "\"\"", "where the shared state of those who log there lies, as `files.NAME.state_dir`; empty: as that of `main`; `beside`: in the spool's directory"),
    key("ship.*.spool.durability", Choice(&["kernel", "disk"]), "\"kernel\"", "`disk`: the logging call returns when the disk has the record: it is shipped even after a power cut"),
    key("ship.*.batch", Count(1, 10_000), "500", "how many records are sent at once at most"),
    key("ship.*.window", Count(1, 100_000), "2000", "how many records may be under way without an answer"),
    key("ship.*.timeout", Seconds, "\"10 s\"", "how long a receiver may take to answer, and to be connected"),
    key("ship.*.retry.first", Seconds, "\"200 ms\"", "pause after a failure; it doubles with each further one, with some chance in it"),
    key("ship.*.retry.most", Seconds, "\"30 s\"", "the longest pause"),
    key("ship.*.retry.deadline", Seconds, "0", "records that could not be delivered for this long are given up, and counted; 0: never"),
    key("ship.*.say_after", Seconds, "\"30 s\"", "a destination that is down for this long says so in the log, once, and again when it is back; 0: never"),
    key("ship.*.syslog.format", Choice(&["auto", "rfc5424", "rfc3164", "plain"]), "\"auto\"", "how a syslog message looks; `auto`: as RFC 3164 says to a local socket, as RFC 5424 says elsewhere; `plain`: the priority and the text, as Python's own `SysLogHandler` writes it"),
    key("ship.*.syslog.framing", Choice(&["octets", "lines"]), "\"octets\"", "how messages are told apart over `tcp`: by their length, or by line ends"),
    key("ship.*.syslog.facility", Choice(FACILITIES), "\"user\"", "the facility of all messages"),
    key("ship.*.syslog.hostname", Word(255), "\"\"", "the host in all messages; empty: this machine's name"),
    key("ship.*.syslog.app_name", Word(48), "\"\"", "the program in all messages; empty: the component"),
    key("ship.*.syslog.data_id", Word(32), "\"logboom@32473\"", "the SD-ID under which RFC 5424 messages have a record's id and fields; empty: they do not"),
    key("ship.*.syslog.bytes", Bytes, "0", "length of a message at most, 480 at least; 0: what receivers take, 8192, or 1024 with `rfc3164`"),
    key("ship.*.syslog.long", Choice(&["cut", "split"]), "\"cut\"", "what happens to a longer one: it is cut, or sent in parts, both with a mark"),
    key("ship.*.tls.ca", OptionalPath, "\"\"", "certificates of the authorities to trust (PEM); empty: those of the system"),
    key("ship.*.tls.certificate", OptionalPath, "\"\"", "the certificate to show (PEM)"),
    key("ship.*.tls.key", OptionalPath, "\"\"", "its key (PEM)"),
    key("ship.*.tls.name", Word(255), "\"\"", "the name that must stand in the receiver's certificate; empty: the host of the address"),
    key("ship.*.tls.oldest", Choice(&["1.2", "1.3"]), "\"1.2\"", "the oldest version of TLS to accept"),
    key("relay.start", Choice(&["on-demand", "by-hand"]), "\"on-demand\"", "`on-demand`: the first worker starts the relay that ships; `by-hand`: you do, with `logboom relay`"),
    key("relay.metrics", Word(64), "\"\"", "address such as `127.0.0.1:9109` at which the relay tells Prometheus how it fares; empty: it does not"),
    key("app.debug_signal", Choice(&["off", "SIGUSR1", "SIGUSR2", "SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+2", "SIGRTMIN+3", "SIGRTMIN+4"]), "\"off\"", "this signal to any process of the group switches debug on for all of them, and off again"),
    key("app.debug_components", Components, "[]", "what that signal reveals; empty: every component"),
    key("app.debug_for", Seconds, "\"10 minutes\"", "for how long, if nobody switches it off"),
];

/// The key that a path of segments is an instance of.
pub(crate) fn find(segments: &[String]) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        let pattern = key.segments();
        let same = |(part, name): (&&str, &String)| *part == "*" || *part == name;
        pattern.len() == segments.len() && pattern.iter().zip(segments).all(same)
    })
}

/// The names that may stand below a table, `*` included.
pub(crate) fn below(segments: &[String]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let pattern = key.segments();
        let same = |(part, name): (&&str, &String)| *part == "*" || *part == name;
        let fits = pattern.len() > segments.len() && pattern.iter().zip(segments).all(same);
        if fits && !names.contains(&pattern[segments.len()]) {
            names.push(pattern[segments.len()]);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A default that the reader would refuse could never be written out by a user.
    #[test]
    fn each_default_can_be_written_in_a_file() {
        for key in KEYS
            .iter()
            .filter(|key| !["levels.*", "files.*.alone", "ship.*.to"].contains(&key.name))
        {
            key.kind
                .default_value(key.default)
                .unwrap_or_else(|wrong| panic!("{}: {}", key.name, wrong.text));
        }
    }

    #[test]
    fn no_two_keys_share_a_name_or_a_variable() {
        for (index, key) in KEYS.iter().enumerate() {
            for other in &KEYS[index + 1..] {
                assert_ne!(key.name, other.name);
                assert_ne!(
                    key.variable(),
                    other.variable(),
                    "{} {}",
                    key.name,
                    other.name
                );
            }
        }
    }
}
