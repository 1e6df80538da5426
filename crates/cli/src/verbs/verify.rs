//! `logboom verify`: are the files what was written, and is every record there? The checks are core's ([`logboom::verify`]);
//! here they get a progress bar and words.

use std::path::PathBuf;

use indicatif::ProgressStyle;
use logboom::verify::{
    self, Checked, Example, FileReport, Finding, LogReport, Numbers, Report, WorkerReport,
};
use serde_json::{Value, json};

use crate::exit::{Ending, Failure};
use crate::relaying::{comparing, root_of};
use crate::terminal::{self, BAD, GOOD, HEADING, NOTE};
use crate::verbs::status::json_of_drops;
use crate::words;

/// From here on a bar shows how far the reading is.
const LONG_BYTES: u64 = 32 << 20;

const EXAMPLES: &str = "\
Examples:
  logboom verify /var/log/shop/app.log*       the current file and all archives
  logboom verify --json app.log.1.gz | jq '.files[].findings'
  logboom verify --received /var/log/remote/shop.log --spool /var/log/shop

Depth 1, always tried: the domain keeps length, record count and checksum of each run of bytes
that it wrote, for the current file and the last 48 archives. Reported are byte ranges that
differ or are missing; bytes of others are named, but are no damage.
Depth 2, where records carry ids (ledger_ids=True, or JSON with a field \"lb\"): which record of
which worker is missing, doubled, torn or out of order among the given files, and what the ledger
says of that worker. Give all files of a log: what lies between them counts as missing.

With --received: every record that is shipped has its ledger id; what a receiver wrote (a syslog
server's file, as text or JSON) is compared with what was published and with what still waits.
Records that came twice are counted, records that came nowhere are named.

Compressed archives (.gz, .zst) are read unpacked; ranges are those of the content.

Exit codes:
  0  nothing differs
  1  something does; it is named
  2  wrong usage
  3  could not run: a file cannot be opened, or nothing could be checked at either depth";

/// Check log files against the domain's checksums, and the ids of their records against each other.
///
/// Nothing is changed, and processes that write meanwhile are not disturbed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The files: a log, its archives, also of several logs
    #[arg(required_unless_present = "received")]
    files: Vec<PathBuf>,
    /// Compare what a receiver wrote with what was published for it; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    received: Vec<PathBuf>,
    /// The spool, or the log directory it lies in
    #[arg(long, value_name = "DIR", default_value = ".", requires = "received")]
    spool: PathBuf,
    /// Of which destination, where there are several
    #[arg(long, value_name = "NAME", requires = "received")]
    to: Option<String>,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// Verifies and reports.
///
/// # Errors
/// A file cannot be opened, or nothing could be checked.
pub fn run(args: Args) -> Result<Ending, Failure> {
    if !args.received.is_empty() {
        return compare(&args);
    }
    if let Some(path) = args.files.iter().find(|path| path.is_dir()) {
        return Err(Failure::usage(format!(
            "failed to verify `{}`: it is a directory; name log files",
            path.display()
        )));
    }
    let total = args
        .files
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    let bar = (total >= LONG_BYTES).then(|| terminal::progress(total));
    if let (Some(bar), Ok(style)) = (
        &bar,
        ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
    ) {
        bar.set_style(style);
    }
    let report = verify::verify(&args.files, &mut |bytes| {
        if let Some(bar) = &bar {
            bar.inc(bytes);
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    if args.json {
        anstream::println!("{:#}", json_of(&report));
    } else {
        show(&report);
    }
    if let Some(file) = report.files.iter().find(|file| !file.is_open) {
        let Checked::Nothing(why) = &file.checked else {
            return Ok(Ending::FoundWrong);
        };
        return Err(Failure::could_not_run(format!(
            "failed to verify `{}`: it {why}",
            file.path.display()
        )));
    }
    if report.has_damage() {
        return Ok(Ending::FoundWrong);
    }
    if report.has_checked_anything() {
        return Ok(Ending::Fine);
    }
    Err(Failure::could_not_run(format!(
        "failed to verify {}: nothing could be checked, see the reasons above",
        words::of(args.files.len() as u64, "file")
    )))
}

fn compare(args: &Args) -> Result<Ending, Failure> {
    let root = root_of(&args.spool);
    let comparison = comparing::compare(&args.received, &root, args.to.as_deref())?;
    match args.json {
        true => anstream::println!("{:#}", comparison.json()),
        false => comparison.show(),
    }
    Ok(match comparison.is_complete() {
        true => Ending::Fine,
        false => Ending::FoundWrong,
    })
}

fn show(report: &Report) {
    for file in &report.files {
        show_file(file);
    }
    for note in &report.notes {
        anstream::println!("{NOTE}note:{NOTE:#} {note}");
    }
    anstream::println!(
        "{HEADING}Depth 1{HEADING:#} (checksums): {}",
        depth_1(report)
    );
    anstream::println!("{HEADING}Depth 2{HEADING:#} (ids): {}", depth_2(report));
    for log in &report.logs {
        show_log(log);
    }
    match report.has_damage() {
        true => anstream::println!("{BAD}Something differs.{BAD:#}"),
        false if report.has_checked_anything() && report.files.iter().all(|file| file.is_open) => {
            anstream::println!("{GOOD}Nothing differs{GOOD:#} in what could be checked.")
        }
        false => {}
    }
}

fn show_file(file: &FileReport) {
    let damaged = file.findings.iter().any(|finding| finding.kind.is_damage());
    let (style, word) = match (&file.checked, damaged) {
        (_, true) => (BAD, "differs"),
        (Checked::Bytes { .. }, _) => (GOOD, "good"),
        (Checked::Nothing(_), _) => (NOTE, "unchecked"),
    };
    let what = match &file.checked {
        Checked::Bytes { bytes, records } => format!(
            "{} in {} as written",
            words::of(*records, "record"),
            words::bytes(*bytes)
        ),
        Checked::Nothing(why) => why.clone(),
    };
    anstream::println!("{style}{word:<9}{style:#} {}: {what}", file.path.display());
    for finding in &file.findings {
        show_finding(finding);
    }
}

fn show_finding(finding: &Finding) {
    let style = if finding.kind.is_damage() { BAD } else { NOTE };
    let records = match finding.records {
        0 => String::new(),
        number if finding.kind.is_damage() => format!(" ({})", words::of(number, "record")),
        _ => String::new(),
    };
    anstream::println!(
        "    {style}{}{style:#}: bytes {}..{}{records} {}",
        finding.kind.name(),
        finding.from,
        finding.to,
        finding.text
    );
}

fn depth_1(report: &Report) -> String {
    let checked = report
        .files
        .iter()
        .filter(|file| matches!(file.checked, Checked::Bytes { .. }))
        .count();
    match (checked, report.files.len()) {
        (0, _) => "not possible: the domain knows none of these files".into(),
        (checked, all) if checked == all => format!("done for {}", words::of(all as u64, "file")),
        (checked, all) => format!("done for {checked} of {all} files"),
    }
}

fn depth_2(report: &Report) -> String {
    let ids: u64 = report.logs.iter().map(|log| log.ids).sum();
    let workers: usize = report.logs.iter().map(|log| log.workers.len()).sum();
    match ids {
        0 => "not possible: no record has an id; switch them on with ledger_ids=True, or write JSON with a field \"lb\"".into(),
        ids => format!("done for {} of {}", words::of(ids, "record"), words::of(workers as u64, "worker")),
    }
}

fn show_log(log: &LogReport) {
    let (style, word) = if log.has_damage() {
        (BAD, "differs")
    } else {
        (GOOD, "good")
    };
    anstream::println!(
        "{style}{word:<9}{style:#} {}: {} with ids, {} without",
        log.log.display(),
        words::of(log.ids, "record"),
        words::of(log.lines_without, "line")
    );
    if log.torn > 0 {
        anstream::println!(
            "    {BAD}torn{BAD:#}: {}, {}",
            words::of(log.torn, "line"),
            places(&log.torn_examples)
        );
    }
    for worker in &log.workers {
        show_worker(worker);
    }
}

fn show_worker(worker: &WorkerReport) {
    let pid = worker.ledger.as_ref().map_or_else(String::new, |ledger| {
        format!(
            " (process {}, {})",
            ledger.pid,
            if ledger.alive { "alive" } else { "dead" }
        )
    });
    let (style, word) = if worker.has_damage() {
        (BAD, "differs")
    } else {
        (GOOD, "good")
    };
    anstream::println!(
        "    {style}{word}{style:#} worker {:x}.{:x}{pid}: {} seen, numbers {} to {}",
        worker.domain,
        worker.epoch,
        words::of(worker.seen, "record"),
        worker.first,
        worker.last
    );
    if worker.missing > 0 {
        anstream::println!(
            "      {BAD}missing{BAD:#}: {}, number {}",
            words::of(worker.missing, "record"),
            ranges(&worker.missing_numbers)
        );
    }
    if worker.doubled > 0 {
        anstream::println!(
            "      {BAD}doubled{BAD:#}: {}, {}",
            words::of(worker.doubled, "record"),
            places(&worker.doubled_examples)
        );
    }
    if worker.out_of_order > 0 {
        anstream::println!(
            "      {BAD}out of order{BAD:#}: {}, {}",
            words::of(worker.out_of_order, "record"),
            places(&worker.out_of_order_examples)
        );
    }
    let Some(ledger) = &worker.ledger else {
        if worker.has_damage() {
            anstream::println!(
                "      the ledger has no entry for it any more: its place is free or another's"
            );
        }
        return;
    };
    if ledger.missing_at_end > 0 {
        anstream::println!(
            "      {BAD}missing at the end{BAD:#}: {}: it has published {} and its queue was empty",
            words::of(ledger.missing_at_end, "record"),
            words::count(ledger.published)
        );
    }
    if worker.has_damage() || ledger.dropped.iter().any(|number| *number > 0) {
        anstream::println!(
            "      ledger: {} published here, {} in its queue, dropped {} (dropped records have no number)",
            words::count(ledger.published),
            words::bytes(ledger.queued_bytes),
            words::drops(&ledger.dropped)
        );
    }
}

fn places(examples: &[Example]) -> String {
    let shown: Vec<_> = examples
        .iter()
        .take(5)
        .map(|example| {
            format!(
                "number {} in {} before byte {}",
                example.number,
                example.file.display(),
                example.offset
            )
        })
        .collect();
    let more = if examples.len() > 5 { " ..." } else { "" };
    shown.join("; ") + more
}

fn ranges(numbers: &[Numbers]) -> String {
    let shown: Vec<_> = numbers
        .iter()
        .take(8)
        .map(|range| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{} to {}", range.first, range.last),
        })
        .collect();
    let more = if numbers.len() > 8 { " ..." } else { "" };
    shown.join(", ") + more
}

fn json_of(report: &Report) -> Value {
    json!({
        "version": 1,
        "damage": report.has_damage(),
        "depth_1": depth_1(report),
        "depth_2": depth_2(report),
        "files": report.files.iter().map(json_of_file).collect::<Vec<_>>(),
        "logs": report.logs.iter().map(json_of_log).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

fn json_of_file(file: &FileReport) -> Value {
    let (bytes, records, why) = match &file.checked {
        Checked::Bytes { bytes, records } => (Some(bytes), Some(records), None),
        Checked::Nothing(why) => (None, None, Some(why)),
    };
    let findings = file.findings.iter().map(|finding| {
        json!({
            "kind": finding.kind.name(),
            "damage": finding.kind.is_damage(),
            "from": finding.from,
            "to": finding.to,
            "records": finding.records,
            "text": finding.text,
        })
    });
    json!({
        "path": file.path,
        "log": file.log,
        "bytes": file.bytes,
        "checked_bytes": bytes,
        "checked_records": records,
        "unchecked": why,
        "findings": findings.collect::<Vec<_>>(),
    })
}

fn json_of_log(log: &LogReport) -> Value {
    let workers = log.workers.iter().map(|worker| {
        json!({
            "domain": format!("{:x}", worker.domain),
            "epoch": format!("{:x}", worker.epoch),
            "first": worker.first,
            "last": worker.last,
            "seen": worker.seen,
            "missing": worker.missing,
            "missing_numbers": worker.missing_numbers.iter().map(|range| [range.first, range.last]).collect::<Vec<_>>(),
            "doubled": worker.doubled,
            "doubled_examples": worker.doubled_examples.iter().map(json_of_example).collect::<Vec<_>>(),
            "out_of_order": worker.out_of_order,
            "out_of_order_examples": worker.out_of_order_examples.iter().map(json_of_example).collect::<Vec<_>>(),
            "ledger": worker.ledger.as_ref().map(|ledger| json!({
                "pid": ledger.pid,
                "alive": ledger.alive,
                "published": ledger.published,
                "queued_bytes": ledger.queued_bytes,
                "dropped": json_of_drops(&ledger.dropped),
                "missing_at_end": ledger.missing_at_end,
            })),
        })
    });
    json!({
        "log": log.log,
        "ids": log.ids,
        "lines_without": log.lines_without,
        "torn": log.torn,
        "torn_examples": log.torn_examples.iter().map(json_of_example).collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
    })
}

fn json_of_example(example: &Example) -> Value {
    json!({ "number": example.number, "file": example.file, "offset": example.offset })
}
