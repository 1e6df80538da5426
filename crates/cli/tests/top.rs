//! `logboom top` and the keys of `tail` as a user sees them: on a pseudo-terminal, and on none.

#[allow(dead_code, reason = "each test program uses its part")]
mod viewing_site;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use logboom::Severity;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use viewing_site::{Site, wait_until};

/// A command in the foreground of a terminal of its own.
struct Screen {
    child: Child,
    keyboard: File,
    /// Another descriptor of the terminal, to look at its settings.
    terminal: File,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    fn start(site: &Site, arguments: &[&str]) -> Screen {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let window = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, window).unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logboom"));
        command
            .args(arguments)
            .current_dir(site.logs())
            .env("LOGBOOM_STATE_DIR", site.state())
            .env("TERM", "xterm")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap());
        // SAFETY: two system calls, which are safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin())?;
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        let keyboard = File::from(master);
        let mut from = keyboard.try_clone().unwrap();
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let into = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut bytes = [0; 16384];
            while let Ok(len @ 1..) = from.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..len]);
            }
        });
        Screen {
            child,
            keyboard,
            terminal,
            text,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    /// The words, in the order in which they were sent: a space is often drawn by moving on.
    fn words(&self) -> String {
        let moves = regex::Regex::new("\x1b\\[[0-9;?]*[A-Za-z]").unwrap();
        let text = self.text();
        let text = moves.replace_all(&text, " ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn wait_for(&self, part: &str) {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !self.words().contains(part) {
            let late = std::time::Instant::now() >= until;
            assert!(!late, "no {part:?} in {:?}", self.words());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn press(&mut self, key: &str) {
        self.keyboard.write_all(key.as_bytes()).unwrap();
    }

    fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that is known to be held by a request.
fn busy_site() -> Site {
    let site = Site::new(64 << 10);
    site.log.publish(Severity::INFO, b"here\n");
    site.log
        .begin_request("id-5\x1b[2J", "GET", "/checkout\x1b[2J", "192.0.2.1")
        .unwrap();
    assert_eq!(site.run(&["level", "shop.db=debug"]).2, 0);
    site
}

/// On a terminal it fills the screen, redraws what changed, and gives the terminal back with `q`.
#[test]
fn top_fills_the_screen_and_gives_it_back() {
    let site = busy_site();
    let mut screen = Screen::start(&site, &["top"]);
    screen.wait_for("q ends");
    assert!(!screen.is_as_before(), "keys are read one by one");
    for part in [
        "Workers",
        "Requests in flight",
        "/checkout\\x1b[2J",
        "debug and above of shop.db",
    ] {
        screen.wait_for(part);
    }
    let first = screen.text().len();
    std::thread::sleep(std::time::Duration::from_millis(3300));
    let later = screen.text().len() - first;
    println!("{first} bytes at first, {later} in three seconds at rest");
    assert!(later > 0, "the seconds of the request run");
    assert!(
        later < 3 * 200,
        "{later} bytes for three seconds in which nearly nothing happened, {first} for all"
    );
    screen.press("q");
    assert!(screen.child.wait().unwrap().success());
    assert!(screen.is_as_before());
    wait_until(|| screen.text().contains("\x1b[?1049l"));
    assert!(screen.text().starts_with("\x1b[?1049h"));
}

/// Ctrl-C and SIGTERM give the terminal back, too.
#[test]
fn top_gives_the_terminal_back_when_it_is_told_to_end() {
    let site = busy_site();
    for how in ["\x03", "SIGTERM"] {
        let mut screen = Screen::start(&site, &["top"]);
        screen.wait_for("q ends");
        match how {
            "SIGTERM" => {
                // SAFETY: a signal to a child that is not waited for yet.
                unsafe { libc::kill(screen.child.id() as i32, libc::SIGTERM) };
            }
            key => screen.press(key),
        }
        assert!(screen.child.wait().unwrap().success(), "{how:?}");
        assert!(screen.is_as_before(), "{how:?}");
    }
}

/// Without a terminal: one picture, as text.
#[test]
fn top_without_a_terminal_is_one_picture() {
    let site = busy_site();
    let (out, error, code) = site.run(&["top"]);
    assert_eq!(code, 0, "{error}");
    assert!(!out.contains('\x1b'), "{out:?}");
    let pid = std::process::id().to_string();
    for part in [
        &pid,
        "1 worker, ",
        "records/s",
        "Requests in flight",
        "/checkout\\x1b[2J",
        "192.0.2.1",
        "debug and above of shop.db; until ",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

/// Space keeps records back and lets them go, Ctrl-C still ends, and the terminal is as it was.
#[test]
fn tail_pauses_with_space() {
    let site = Site::new(64 << 10);
    let record = |text: &str| {
        site.log
            .record_published(Severity::INFO, "shop", "", b"", text.as_bytes())
    };
    let mut screen = Screen::start(&site, &["tail"]);
    wait_until(|| site.log.rules().len() == 1);
    record("first");
    screen.wait_for("first");
    screen.press(" ");
    screen.wait_for("paused, 0 records waiting");
    record("second");
    screen.wait_for("paused, 1 record waiting");
    assert!(!screen.text().contains("second"));
    screen.press(" ");
    screen.wait_for("second");
    screen.press("\x03");
    assert!(screen.child.wait().unwrap().success());
    assert!(screen.is_as_before());
    screen.wait_for("2 records shown");
}

/// The time that is left is counted down, and `+` begins it anew.
#[test]
fn debug_counts_down() {
    let site = Site::new(64 << 10);
    let mut screen = Screen::start(&site, &["debug", "shop", "--for", "60s"]);
    screen.wait_for("debug: 0:58 left");
    let end_ns = site.log.rules()[0].expires_ns;
    assert!(site.log.rules()[0].made_by.contains(" on /dev/pts/"));
    screen.press("+");
    wait_until(|| site.log.rules()[0].expires_ns > end_ns + 1_000_000_000);
    screen.press("q");
    assert!(screen.child.wait().unwrap().success());
    assert!(screen.is_as_before() && site.log.rules().is_empty());
}
