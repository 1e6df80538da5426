//! What becomes of the bytes that a program prints.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::site::{
    Pipe, all_lines, arguments, check_code, feed, logboom, reading, run, said, verify, wait_for,
};
use crate::verbs_site::Site;

/// Raw lines keep every byte: NUL, what is no UTF-8, carriage returns, empty lines; only a last line without its end gets one.
#[test]
fn raw_bytes_stay_as_they_are() {
    let site = Site::new();
    let mut bytes = b"a\0b\n\n\r\n\xff\xfe\xc3\nno end".to_vec();
    check_code(&feed(&site, "", &bytes), 0);
    bytes.push(b'\n');
    assert_eq!(std::fs::read(site.path("app.log")).unwrap(), bytes);
}

/// The same for a megabyte of anything, in whatever pieces it comes.
#[test]
fn garbage_stays_as_it_is() {
    let site = Site::new();
    let mut random = fastrand::Rng::with_seed(7);
    let mut bytes: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    *bytes.last_mut().unwrap() = b'\n';
    let mut pipe = reading(&site, "");
    let mut input = pipe.input();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(random.usize(1..=rest.len().min(90_000)));
        input.write_all(piece).unwrap();
        rest = more;
    }
    drop(input);
    check_code(&pipe.wait(), 0);
    assert!(std::fs::read(site.path("app.log")).unwrap() == bytes);
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(verify(&site), lines as u64);
}

/// Both streams of a command are in the log, each line as a record with time, level, component, process and stream.
#[test]
fn json_says_who_printed_it_where() {
    let site = Site::new();
    let script = "echo $$; echo 'to \"err\"' >&2; printf 'bad \\377 \\000 \\r\\n'";
    check_code(&run(&site, "--format json --level notice", script), 2);
    check_code(&run(&site, "--format json --component shop.db", script), 0);
    let records: Vec<Value> = all_lines(&site)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |stream: &str| -> Vec<_> {
        let of_stream = records
            .iter()
            .filter(|record| record["log.iostream"] == stream);
        of_stream.collect()
    };
    let ([pid, bad], [error]) = (&of("stdout")[..], &of("stderr")[..]) else {
        panic!("{records:#?}")
    };
    assert_eq!(pid["body"], pid["process.pid"].to_string());
    assert_eq!(error["body"], "to \"err\"");
    assert_eq!(bad["body"], "bad \\xff \0 ");
    for (record, level) in [(pid, "INFO"), (error, "WARNING")] {
        assert_eq!(record["severity_text"], level);
        assert_eq!(record["otel.scope.name"], "shop.db");
        assert!(record["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}

/// A command's component is its name, and text looks like that of all our records.
#[test]
fn text_is_for_people() {
    let site = Site::new();
    check_code(
        &run(
            &site,
            "--format text --stderr-level error",
            "echo 'a | b' >&2",
        ),
        0,
    );
    let lines = all_lines(&site);
    let (_, line) = lines[0].split_at("2026-11-20 16:30:01.123 ".len());
    let line = line.split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        (line[0], &line[2..]),
        (
            "ERROR",
            &["sh:", "a", "\\x7c", "b", "|", "log.iostream=stderr"][..]
        ),
        "{lines:?}"
    );
}

/// A character that two reads tear apart is one character in its record.
#[test]
fn a_character_between_two_reads_is_whole() {
    let site = Site::new();
    let script = "printf 'caf\\303'; sleep 0.2; printf '\\251\\n'";
    check_code(&run(&site, "--format logfmt", script), 0);
    let lines = all_lines(&site);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(" body=café "), "{lines:?}");
}

/// Stamps are times, control characters are digits, where that is asked for.
#[test]
fn raw_lines_are_stamped_and_escaped() {
    let site = Site::new();
    check_code(
        &feed(&site, "--stamp rfc3339 --escape", b"\x1b[31mred\r\n"),
        0,
    );
    check_code(&feed(&site, "--stamp local", b"x"), 0);
    let lines = all_lines(&site);
    assert!(lines[0].ends_with("Z \\x1b[31mred"), "{lines:?}");
    assert!(lines[0].parse_time(30), "{lines:?}");
    assert!(
        lines[1].ends_with(" x") && lines[1].parse_time(23),
        "{lines:?}"
    );
    let output = feed(&site, "--stamp local --format json", b"x");
    check_code(&output, 2);
    assert!(said(&output).contains("--stamp"), "{}", said(&output));
}

trait ParseTime {
    /// Whether the first `length` bytes are a time like `2026-11-20T16:30:01.123`.
    fn parse_time(&self, length: usize) -> bool;
}

impl ParseTime for String {
    fn parse_time(&self, length: usize) -> bool {
        let shape: String = self[..length]
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        shape.starts_with("0000-00-00") && shape[11..].starts_with("00:00:00.000")
    }
}

/// A line beyond the limit is cut or split, says so, and the next line is whole; memory stays bounded whatever comes.
#[test]
fn long_lines_are_cut_or_split_and_memory_is_bounded() {
    let site = Site::new();
    // A line of 200 MB in less than 40 MB of memory.
    let limited = "ulimit -d 40000; exec \"$0\" \"$@\"";
    let source = "head -c 200000000 /dev/zero | tr '\\0' x; echo; echo next";
    let mut arguments = arguments(&site, "--line-max 64KiB -- sh -c");
    arguments.push(source.to_owned());
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", limited, env!("CARGO_BIN_EXE_logboom")])
        .args(&arguments)
        .env("LOGBOOM_STATE_DIR", site.root().join("state"));
    check_code(&Pipe::start(&mut command).wait(), 0);
    let lines = all_lines(&site);
    assert_eq!(lines.len(), 2);
    let mark = " [logboom: cut, 200000000 bytes in all]";
    assert_eq!(lines[0].len(), (64 << 10) + mark.len());
    assert!(lines[0].ends_with(mark) && lines[1] == "next");
    let status = site.logboom(&["status", "--json", "log"]).json(0);
    assert_eq!(status["ledger"]["cut"], 1, "{status:#}");

    let site = Site::new();
    let line = "é".repeat(1000) + "\n";
    check_code(
        &feed(&site, "--line-max 999B --long split", line.as_bytes()),
        0,
    );
    let parts: Vec<_> = all_lines(&site)
        .iter()
        .map(|line| {
            line.rsplit_once(" [logboom: ")
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .unwrap()
        })
        .collect();
    let marks: Vec<_> = parts.iter().map(|(_, mark)| mark.as_str()).collect();
    assert_eq!(marks, ["part 1]", "part 2]", "part 3, the last]"]);
    let whole: String = parts.iter().map(|(part, _)| part.as_str()).collect();
    assert_eq!(whole + "\n", line);
}

/// A record of the longest line, each byte of which is written with six, is whole.
#[test]
fn a_line_that_grows_when_it_is_encoded_is_whole() {
    let site = Site::new();
    let line = [vec![0; 1 << 20], b"\n".to_vec()].concat();
    check_code(&feed(&site, "--line-max 1MiB --format json", &line), 0);
    let record: Value = serde_json::from_str(&all_lines(&site)[0]).unwrap();
    assert_eq!(record["body"].as_str().unwrap().len(), 1 << 20);
}

/// What must not be written is not, in the formats; what `logboom.toml` says holds, and flags are over it.
#[test]
fn the_configuration_holds_and_flags_are_over_it() {
    let site = Site::new();
    let toml = "[format]\nkind = \"logfmt\"\n[redact]\npatterns = [\"[0-9]{13,}\"]\n\
        [files.main]\npath = \"log/app.log\"\nrotate = { size = 100 }\n";
    std::fs::write(site.root().join("logboom.toml"), toml).unwrap();
    let script = "echo password=x card 4111111111111111; echo more";
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let run = |arguments: &[&str]| Pipe::start(&mut logboom(&site, &words(arguments))).wait();
    check_code(&run(&["pipe", "--", "sh", "-c", script]), 0);
    let lines = all_lines(&site);
    assert!(
        lines[0].contains("more") || lines[1].contains("more"),
        "{lines:?}"
    );
    let text = lines.concat();
    assert!(
        text.contains("password=[redacted] card [redacted]"),
        "{text}"
    );
    assert!(site.path("app.log.1").exists(), "rotated at 100 bytes");
    check_code(
        &run(&[
            "pipe", "--format", "raw", "--size", "0", "--", "sh", "-c", script,
        ]),
        0,
    );
    assert!(
        site.text("app.log")
            .contains("\npassword=x card 4111111111111111\n")
    );
    let output = run(&["pipe", "--keep-age", "soon", "--", "true"]);
    check_code(&output, 2);
    assert!(
        said(&output).contains("`--keep-age` cannot be \"soon\"; write"),
        "{}",
        said(&output)
    );
    std::fs::write(site.root().join("logboom.toml"), "[files.main]\npth = 1\n").unwrap();
    let output = run(&["pipe", "--file", "log/app.log", "--", "touch", "ran"]);
    check_code(&output, 3);
    assert!(
        said(&output).contains("logboom.toml:2"),
        "{}",
        said(&output)
    );
    assert!(!site.root().join("ran").exists());
}

/// With --tee both streams are copied byte by byte, and a reader of the copy that leaves ends nothing.
#[test]
fn a_copy_goes_to_our_own_output() {
    let site = Site::new();
    let output = run(
        &site,
        "--tee --format json",
        "printf 'a\\000b'; printf 'e\\n' >&2",
    );
    check_code(&output, 0);
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"a\0b"[..], &b"e\n"[..])
    );
    let mut arguments = arguments(&site, "--tee -- seq");
    arguments.push("100000".into());
    let mut command = logboom(&site, &arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(all_lines(&site).len(), 100_002);
}

/// A line is in the log as soon as it is printed, not when a buffer is full.
#[test]
fn a_line_does_not_wait_for_the_next() {
    let site = Site::new();
    let mut pipe = reading(&site, "");
    let mut input = pipe.input();
    for number in 0..20 {
        writeln!(input, "line {number}").unwrap();
        wait_for(&site, &format!("line {number}\n"));
    }
    drop(input);
    check_code(&pipe.wait_at_most(Duration::from_secs(10)), 0);
}
