//! Exit codes, signals, and what a command leaves behind.

use std::io::{PipeReader, PipeWriter, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::site::{
    Pipe, all_lines, arguments, check_code, content, logboom, reading, run, said, signal_process,
    start, took_less, wait_for,
};
use crate::verbs_site::{Site, wait_until};

const SECOND: Duration = Duration::from_secs(1);

/// The command's code is ours, as a shell would give it.
#[test]
fn the_code_is_the_commands() {
    let site = Site::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 42", 42),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        check_code(&run(&site, "", script), code);
    }
    let run = |command: &str| {
        let arguments = arguments(&site, &format!("-- {command}"));
        Pipe::start(&mut logboom(&site, &arguments)).wait()
    };
    check_code(&run("./nonesuch"), 127);
    check_code(&run("/etc/passwd"), 126);
}

/// Where the log cannot be opened, or is not named, the command is not started.
#[test]
fn without_a_log_no_command_is_started() {
    let site = Site::new();
    for (arguments, code, why) in [
        (
            &["pipe", "--file", "nonesuch/app.log", "--", "touch", "ran"][..],
            3,
            "nonesuch",
        ),
        (&["pipe", "--", "touch", "ran"], 2, "--file"),
        (
            &["pipe", "--file", "log/app.log", "touch", "ran"],
            2,
            "Usage",
        ),
        (
            &[
                "pipe",
                "--file",
                "log/app.log",
                "--line-max",
                "1",
                "--",
                "touch",
                "ran",
            ],
            2,
            "64 KiB",
        ),
    ] {
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        let output = Pipe::start(&mut logboom(&site, &arguments)).wait();
        check_code(&output, code);
        assert!(said(&output).contains(why), "{}", said(&output));
    }
    assert!(!site.root().join("ran").exists());
}

/// Each signal of the list reaches the command, once, and what it prints then is in the log.
#[test]
fn signals_reach_the_command() {
    let site = Site::new();
    let names = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"];
    let traps: String = names
        .iter()
        .map(|name| format!("trap 'echo got {name}' {name}; "))
        .collect();
    let script =
        format!("{traps} echo ready; while [ -d log -a ! -e end ]; do sleep 0.05; done; exit 9");
    let mut pipe = start(&site, "", &script);
    wait_for(&site, "ready\n");
    let numbers = [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
    ];
    for (name, number) in names.iter().zip(numbers) {
        pipe.signal(number);
        wait_for(&site, &format!("got {name}\n"));
    }
    std::fs::write(site.root().join("end"), "").unwrap();
    check_code(&pipe.wait(), 9);
    let lines = all_lines(&site);
    for name in names {
        let count = lines
            .iter()
            .filter(|line| **line == format!("got {name}"))
            .count();
        assert_eq!(count, 1, "{name}: {lines:?}");
    }
}

/// A command that ignores SIGTERM is read until it ends by itself.
#[test]
fn a_command_that_does_not_stop_is_read_on() {
    let site = Site::new();
    let mut pipe = start(
        &site,
        "",
        "trap '' TERM; echo ready; sleep 1; echo still here; exit 3",
    );
    wait_for(&site, "ready\n");
    pipe.signal(libc::SIGTERM);
    pipe.signal(libc::SIGTERM);
    check_code(&pipe.wait(), 3);
    assert_eq!(all_lines(&site), ["ready", "still here"]);
}

/// A command that was stopped by its signal is reported so; nobody waits for longer than it takes.
#[test]
fn a_command_that_stops_ends_us() {
    let site = Site::new();
    let begun = Instant::now();
    let mut pipe = start(&site, "", "echo ready; exec sleep 60");
    wait_for(&site, "ready\n");
    pipe.signal(libc::SIGTERM);
    check_code(&pipe.wait(), 143);
    took_less(begun, 20 * SECOND);
}

/// A process that was started so that it ignores SIGHUP (`nohup`) lets nobody hear of it.
#[test]
fn an_ignored_signal_stays_ignored() {
    let site = Site::new();
    let mut arguments = arguments(&site, "-- sh -c");
    arguments.push("echo ready; sleep 0.5; echo done".into());
    let mut command = std::process::Command::new("nohup");
    command
        .arg(env!("CARGO_BIN_EXE_logboom"))
        .args(&arguments)
        .env("LOGBOOM_STATE_DIR", site.root().join("state"));
    let mut pipe = Pipe::start(command.stdin(Stdio::null()));
    wait_for(&site, "ready\n");
    pipe.signal(libc::SIGHUP);
    check_code(&pipe.wait(), 0);
    assert_eq!(all_lines(&site), ["ready", "done"]);
}

/// What a command left behind is read for the time to linger after the command's end, and no longer.
#[test]
fn a_process_that_was_left_behind_is_read_for_a_while() {
    let site = Site::new();
    let begun = Instant::now();
    // Twice forked, as a daemon is, and with both streams open.
    let script = "(sh -c 'echo $$ >daemon; sleep 0.5; echo from behind; exec sleep 60' &) ; echo front; exit 4";
    let output = run(&site, "--linger 2s", script);
    check_code(&output, 4);
    assert_eq!(all_lines(&site), ["front", "from behind"]);
    assert!(begun.elapsed() >= 2 * SECOND);
    took_less(begun, 30 * SECOND);
    let daemon = content(&site.root().join("daemon")).trim().parse().unwrap();
    signal_process(daemon, libc::SIGKILL);
}

/// With `--linger ever` it is read to its end; a signal ends that, too.
#[test]
fn a_daemon_is_read_as_long_as_it_lives() {
    let site = Site::new();
    let script = "(sh -c 'echo $$ >daemon; echo up; sleep 1; echo down' &) ; exit 5";
    let output = run(&site, "--linger ever", script);
    check_code(&output, 5);
    assert_eq!(all_lines(&site), ["up", "down"]);
    let mut pipe = start(
        &site,
        "--linger ever",
        "(sh -c 'echo $$ >daemon; echo again; exec sleep 60' &) ; exit 6",
    );
    wait_for(&site, "again\n");
    let daemon = content(&site.root().join("daemon")).trim().parse().unwrap();
    // The command must have ended, otherwise the signal is its.
    std::thread::sleep(SECOND / 2);
    pipe.signal(libc::SIGTERM);
    check_code(&pipe.wait_at_most(20 * SECOND), 6);
    signal_process(daemon, libc::SIGKILL);
}

/// A command that closes its output and works on is waited for.
#[test]
fn a_command_without_output_is_waited_for() {
    let site = Site::new();
    let begun = Instant::now();
    check_code(
        &run(&site, "", "echo before; exec >&- 2>&-; sleep 1; exit 8"),
        8,
    );
    assert!(begun.elapsed() >= SECOND);
    assert_eq!(all_lines(&site), ["before"]);
}

/// Starts `logboom pipe` on the reading end of a pipe that others keep, too, as a supervisor does.
fn reading_from(site: &Site, options: &str, pipe: &PipeReader) -> Pipe {
    let mut command = logboom(site, &arguments(site, options));
    Pipe::start(command.stdin(Stdio::from(pipe.try_clone().unwrap())))
}

fn pipe() -> (PipeReader, PipeWriter) {
    std::io::pipe().unwrap()
}

/// A signal ends reading behind the last line that is there: the rest of a line that has begun is waited for, and the next
/// reader of the pipe begins with a whole line. Nothing is lost in between.
#[test]
fn between_two_readers_of_a_pipe_no_line_is_lost_or_torn() {
    let site = Site::new();
    let (kept, mut input) = pipe();
    let mut first = reading_from(&site, "--linger 20s", &kept);
    input.write_all(b"one\ntwo\nhal").unwrap();
    wait_for(&site, "two\n");
    first.signal(libc::SIGTERM);
    std::thread::sleep(SECOND / 4);
    assert!(
        !first.has_ended(),
        "it did not wait for the rest of the line"
    );
    input.write_all(b"f a line\nfour\nfive\n").unwrap();
    let output = first.wait_at_most(10 * SECOND);
    check_code(&output, 0);
    assert_eq!(all_lines(&site), ["one", "two", "half a line"]);
    let second = reading_from(&site, "", &kept);
    wait_for(&site, "five\n");
    drop((input, kept));
    check_code(&second.wait(), 0);
    assert_eq!(
        all_lines(&site),
        ["one", "two", "half a line", "four", "five"]
    );
}

/// The rest of a line that does not come is waited for no longer than the time to linger; what is there is a record.
#[test]
fn a_line_that_nobody_ends_is_a_record() {
    let site = Site::new();
    let begun = Instant::now();
    for (signal, linger) in [
        (libc::SIGTERM, "500ms"),
        (libc::SIGINT, "0"),
        (libc::SIGHUP, "0"),
    ] {
        let mut pipe = reading(&site, &format!("--linger {linger}"));
        let mut input = pipe.input();
        input.write_all(b"whole\nhalf").unwrap();
        wait_for(&site, "whole\n");
        pipe.signal(signal);
        check_code(&pipe.wait_at_most(20 * SECOND), 0);
        assert_eq!(all_lines(&site), ["whole", "half"]);
        std::fs::remove_file(site.path("app.log")).unwrap();
        drop(input);
    }
    took_less(begun, 40 * SECOND);
}

/// A signal of those that ask for no end ends nothing.
#[test]
fn other_signals_end_nothing() {
    let site = Site::new();
    let mut pipe = reading(&site, "");
    let mut input = pipe.input();
    input.write_all(b"before\n").unwrap();
    wait_for(&site, "before\n");
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH] {
        pipe.signal(signal);
    }
    std::thread::sleep(SECOND / 4);
    input.write_all(b"after\n").unwrap();
    drop(input);
    check_code(&pipe.wait(), 0);
    assert_eq!(all_lines(&site), ["before", "after"]);
}

/// On a terminal, Ctrl-C reaches the command from there, so it is not passed on; the writers of a pipe say their last words.
#[test]
fn ctrl_c_reaches_everybody_once() {
    for program in ["script", "strace"] {
        if !which(program) {
            println!("skipped: there is no {program}");
            return;
        }
    }
    let site = Site::new();
    let pipe = format!("{} pipe --file log/app.log", env!("CARGO_BIN_EXE_logboom"));
    let stops = "trap 'echo got it; exit 3' INT; echo ready; while [ -d log ]; do sleep 0.1; done";
    std::fs::write(site.root().join("stops"), stops).unwrap();
    press_ctrl_c(
        &site,
        &format!("strace -f -qq -e trace=kill -o kills {pipe} -- sh ./stops"),
        "ready\n",
    );
    assert_eq!(all_lines(&site), ["ready", "got it"]);
    let kills = content(&site.root().join("kills"));
    assert!(
        kills.contains("SIGINT") && !kills.contains("kill("),
        "{kills}"
    );
    let last = "trap 'sleep 0.3; echo last words; exit' INT; echo steady; while [ -d log ]; do sleep 0.1; done";
    std::fs::write(site.root().join("last"), last).unwrap();
    press_ctrl_c(&site, &format!("sh ./last | {pipe}"), "steady\n");
    assert_eq!(
        all_lines(&site),
        ["ready", "got it", "steady", "last words"]
    );
}

/// Runs a line in a terminal of its own, and presses Ctrl-C when the log has `ready` in it.
fn press_ctrl_c(site: &Site, line: &str, ready: &str) {
    let mut command = std::process::Command::new("script");
    command
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .current_dir(site.root())
        .env("LOGBOOM_STATE_DIR", site.root().join("state"))
        .stdin(Stdio::piped());
    let mut pipe = Pipe::start(&mut command);
    let mut input = pipe.input();
    wait_for(site, ready);
    input.write_all(b"\x03").unwrap();
    pipe.wait_at_most(30 * SECOND);
}

fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Every example of the help text does what it says, with stand-ins for the programs in it.
#[test]
fn the_examples_of_the_help_text_run() {
    let site = Site::new();
    let help = site.logboom(&["pipe", "--help"]).text(0);
    let examples = help.split_once("Examples:\n").unwrap().1;
    let examples: Vec<_> = examples
        .lines()
        .take_while(|line| line.starts_with("  "))
        .collect();
    assert!(examples.len() >= 4, "{help}");
    let programs = site.root().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let stand_in = |path: std::path::PathBuf| {
        std::fs::write(&path, "#!/bin/sh\necho \"$0 $*\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    };
    for name in ["node", "java", "backup"] {
        stand_in(programs.join(name));
    }
    for name in ["server", "report.sh"] {
        stand_in(site.root().join(name));
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_logboom"), programs.join("logboom")).unwrap();
    let path = std::env::join_paths(
        std::iter::once(programs).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    for example in &examples {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", example])
            .current_dir(site.root())
            .env("PATH", path.as_ref().unwrap())
            .env("LOGBOOM_STATE_DIR", site.root().join("state"));
        check_code(&Pipe::start(command.stdin(Stdio::null())).wait(), 0);
    }
    let logs = ["app.log", "report.log", "cron.log"].map(|name| content(&site.root().join(name)));
    let count: usize = logs.iter().map(|log| log.lines().count()).sum();
    assert_eq!(count, examples.len(), "{logs:?}");
    wait_until(|| logs[0].contains("\"otel.scope.name\":\"shop\""));
}
