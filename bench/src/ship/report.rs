//! The section of the document on shipping, and what is demanded of it.

use super::{Cell, Feed, Figures, Protocol, Ship};
use crate::demands::Row;
use crate::report::spread;
use crate::text::{ns, rate, table, times};

impl Cell {
    fn name(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Tls => "TLS",
            Protocol::Relp => "RELP",
        };
        match self.feed {
            Feed::Backlog => format!("{protocol}, from disk"),
            Feed::Live => format!("{protocol}, live"),
        }
    }
}

/// The demands.
pub fn demands(ship: &Ship) -> Vec<Row> {
    let Ship::Measured { cells, calls } = ship else {
        return Vec::new();
    };
    let rate = |cell: &Cell| {
        let subject = format!("shipping over {}: records a second", cell.name());
        Row::at_least(&subject, 1.0, "rsyslog to rsyslog", cell.ratio())
    };
    let call = Row::at_most(
        "shipping, the receiver stopped: time of a logging call",
        1.1,
        "the same with the receiver running",
        calls.ratio(),
    );
    cells.iter().map(rate).chain([call]).collect()
}

/// The section.
pub fn section(ship: &Ship) -> String {
    let head = "## Shipping\n\n";
    let (cells, calls) = match ship {
        Ship::Skipped(reason) => return format!("{head}Not measured: {reason}.\n\n"),
        Ship::Measured { cells, calls } => (cells, calls),
    };
    let line = |cell: &Cell| {
        let figures = |figures: &Figures| {
            let cpu_s = [&figures.cpu_s, &figures.receiver_cpu_s].map(|cpu_s| cpu_s.median());
            let cpu = format!("{:.2} s + {:.2} s", cpu_s[0], cpu_s[1]);
            [
                rate(figures.rate.median()),
                spread(&figures.rate, rate),
                cpu,
            ]
        };
        let mut row = vec![cell.name()];
        row.extend(figures(&cell.rsyslog));
        row.extend(figures(&cell.relay));
        row.push(times(cell.ratio()));
        row
    };
    let head_of_rates = [
        "over",
        "rsyslog: records/s",
        "min .. max",
        "CPU a million",
        "relay: records/s",
        "min .. max",
        "CPU a million",
        "to rsyslog",
    ];
    let call = |what: &str, series: &[crate::stats::Series; 2]| {
        vec![
            what.to_owned(),
            ns(series[0].median()),
            spread(&series[0], ns),
            ns(series[1].median()),
        ]
    };
    format!(
        "{head}`logboom relay` to rsyslog beside rsyslog to rsyslog, in turns, on loopback; records of 120 bytes of message and three \
         fields as JSON, all settings the defaults of either. *From disk*: all of them wait, in the spool or in a file that `imfile` reads. \
         *Live*: one process logs them as fast as they are taken, into its queue or into the socket of `imuxsock`. rsyslog sends with `omfwd` \
         (octet-counted; `gtls`) and `omrelp`, and forwards the line as it is; the relay sends its fields as structured data. The receiver \
         is the same rsyslog for both, `imtcp` and `imrelp` to a file, and has the same processors. Processor time is the sender's, and the receiver's. \
         {} rounds; in each, all records arrived.\n\n{}\n\
         A call of `Log::publish` into the spool of a RELP destination, {} rounds, in turn:\n\n{}\n",
        cells[0].relay.rate.rounds(),
        table(&head_of_rates, cells.iter().map(line)),
        calls.running[0].rounds(),
        table(
            &["receiver", "a call p50", "min .. max", "p99"],
            [
                call("running", &calls.running),
                call("stopped", &calls.stopped)
            ]
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Calls;
    use super::*;
    use crate::stats::Series;

    fn figures(rate: f64) -> Figures {
        Figures {
            rate: Series::from(vec![rate, rate * 2.0, rate / 2.0]),
            cpu_s: Series::from(vec![1.5]),
            receiver_cpu_s: Series::from(vec![2.5]),
        }
    }

    /// A ratio is that of the medians, and one that is too small is missed; without rsyslog there is no ratio, and it is said why.
    #[test]
    fn a_slower_relay_misses_its_demand_and_a_missing_rsyslog_is_said() {
        let cell = |relay| Cell {
            feed: Feed::Live,
            protocol: Protocol::Tls,
            rsyslog: figures(100_000.0),
            relay: figures(relay),
        };
        let ship = Ship::Measured {
            cells: vec![cell(99_000.0), cell(120_000.0)],
            calls: Calls::default(),
        };
        let met: Vec<bool> = demands(&ship).iter().map(|row| row.is_met).collect();
        assert_eq!(met, [false, true, false]);
        let row = "| TLS, live | 100.0 k | 50.0 k .. 200.0 k | 1.50 s + 2.50 s | 120.0 k |";
        assert!(section(&ship).contains(row), "{}", section(&ship));
        let skipped = Ship::Skipped("`rsyslogd` is not installed".to_owned());
        assert!(demands(&skipped).is_empty());
        assert!(section(&skipped).contains("Not measured: `rsyslogd` is not installed."));
    }
}
