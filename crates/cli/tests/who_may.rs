//! Who may look at a running server and who may change its rules, with real users: the user of the workers and root may do
//! both, the members of its `state_group` may look, everybody else is refused, and told why.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use logboom::{Log, LogOptions, Severity, StateDir};

const DEBUG: Severity = Severity(5);
const SERVER: u32 = 60_001;
const MEMBER: u32 = 60_002;
const STRANGER: u32 = 60_003;
const GROUP: u32 = 60_100;

/// A server of the user [`SERVER`], who is a member of [`GROUP`]. Dropped: killed.
struct Server {
    place: tempfile::TempDir,
    program: PathBuf,
    pid: libc::pid_t,
}

impl Server {
    /// None: this test is not run by root, who alone can be others.
    fn start(state_group: Option<u32>) -> Option<Server> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can be another user");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("logboom");
        std::fs::copy(env!("CARGO_BIN_EXE_logboom"), &program).unwrap();
        let logs = place.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        for path in [place.path(), &program, &logs] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::chown(place.path(), Some(SERVER), None).unwrap();
        std::os::unix::fs::chown(&logs, Some(SERVER), None).unwrap();
        // SAFETY: nextest runs each test in a process of its own; the child only logs and is killed.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let served = std::panic::catch_unwind(|| serve(place.path(), state_group));
            // SAFETY: ends the child without the clean-up of the test's.
            unsafe { libc::_exit(i32::from(served.is_err())) };
        }
        let server = Server {
            place,
            program,
            pid,
        };
        let until = Instant::now() + Duration::from_secs(20);
        while !server.logs().join("ready").exists() {
            assert!(Instant::now() < until, "the server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    fn logs(&self) -> PathBuf {
        self.place.path().join("logs")
    }

    fn command(&self, user: u32, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.logs());
        command.env("LOGBOOM_STATE_DIR", self.place.path().join("elsewhere"));
        let groups: &[u32] = if user == MEMBER || user == SERVER {
            &[GROUP]
        } else {
            &[]
        };
        if user != 0 {
            // SAFETY: one system call, which is safe between fork and exec.
            unsafe {
                command.pre_exec(
                    move || match libc::setgroups(groups.len(), groups.as_ptr()) {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    },
                )
            };
            // After that: a user cannot choose groups.
            let ids = move || {
                // SAFETY: as above.
                match unsafe { libc::setgid(user) | libc::setuid(user) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            };
            // SAFETY: as above.
            unsafe { command.pre_exec(ids) };
        }
        command
    }

    fn run(&self, user: u32, arguments: &[&str]) -> (String, String, Option<i32>) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(user, arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(stdout), text(stderr), status.code())
    }

    /// What a viewer that goes on shows within a second.
    fn watch(&self, user: u32, arguments: &[&str]) -> (String, String) {
        let mut command = self.command(user, arguments);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs(1));
        // SAFETY: a signal to a child that is not waited for yet.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    }

    fn rules(&self) -> usize {
        let (listed, error, _) = self.run(0, &["level", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).expect(&error);
        listed["rules"].as_array().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: ends the child of above and waits for it.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// Becomes the server's user, and logs for ever.
fn serve(place: &Path, state_group: Option<u32>) {
    let groups = [GROUP];
    // SAFETY: plain system calls with a living list.
    let given_up = unsafe {
        libc::setgroups(1, groups.as_ptr()) | libc::setgid(SERVER) | libc::setuid(SERVER)
    };
    assert_eq!(given_up, 0);
    let log = open(place, state_group).unwrap();
    for number in 0.. {
        let line = format!("record {number}\n");
        log.record_published(Severity::INFO, "shop", "", b"", line.as_bytes());
        log.record(DEBUG, "shop", "", b"", b"detail");
        log.publish(Severity::INFO, line.as_bytes());
        if number == 0 {
            std::fs::write(place.join("logs/ready"), b"").unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn open(place: &Path, state_group: Option<u32>) -> Result<Log, logboom::Error> {
    let options = LogOptions {
        state_dir: StateDir::Path(place.join("state")),
        state_group,
        recorder_bytes: 64 << 10,
        ..LogOptions::default()
    };
    Log::open(place.join("logs/app.log"), &options)
}

/// A member of the group sees all there is to see.
#[test]
fn a_group_may_look() {
    let Some(server) = Server::start(Some(GROUP)) else {
        return;
    };
    let pid = server.pid.to_string();
    for (arguments, part) in [
        (vec!["level"], "shop"),
        (vec!["rewind", "shop"], "detail"),
        (vec!["top"], pid.as_str()),
        (vec!["status"], pid.as_str()),
        (vec!["blackbox", "."], ""),
        (vec!["verify", "app.log"], "app.log"),
    ] {
        let (out, error, code) = server.run(MEMBER, &arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
        assert!(out.contains(part), "{arguments:?}: {out}{error}");
    }
    let (out, error) = server.watch(MEMBER, &["tail"]);
    assert!(
        out.lines().count() > 20 && !out.contains("detail"),
        "{out}{error}"
    );
    let (out, _) = server.watch(MEMBER, &["tail", "--recorded"]);
    assert!(out.contains("detail"), "{out}");
    assert_eq!(server.rules(), 0, "who may only look has no rule");
}

/// And is refused, in words, what would change something.
#[test]
fn a_group_may_not_change() {
    let Some(server) = Server::start(Some(GROUP)) else {
        return;
    };
    assert_eq!(server.run(SERVER, &["level", "shop=debug"]).2, Some(0));
    for arguments in [
        vec!["debug", "shop"],
        vec!["level", "shop.db=debug"],
        vec!["level", "--reset"],
    ] {
        let (out, error, code) = server.run(MEMBER, &arguments);
        assert_eq!(
            (out.as_str(), code),
            ("", Some(3)),
            "{arguments:?}: {error}"
        );
        let told = format!(
            "this user ({MEMBER}) may look at the state of user {SERVER}, and not change it; run this command as that user"
        );
        assert!(error.contains(&told), "{arguments:?}: {error}");
    }
    assert_eq!(server.rules(), 1);
}

/// The user of the workers and root may do both.
#[test]
fn the_owner_and_root_may_change() {
    let Some(server) = Server::start(Some(GROUP)) else {
        return;
    };
    for user in [SERVER, 0] {
        assert_eq!(
            server.run(user, &["level", "shop=debug"]).2,
            Some(0),
            "{user}"
        );
        assert_eq!(server.rules(), 1);
        let (_, error) = server.watch(user, &["debug", "shop"]);
        assert!(error.contains("back to normal"), "{error}");
        assert_eq!(server.run(user, &["level", "--reset"]).2, Some(0), "{user}");
        assert_eq!(server.rules(), 0);
    }
}

/// Everybody else is refused, and so is the group where none was given.
#[test]
fn others_are_refused() {
    for (state_group, user) in [(Some(GROUP), STRANGER), (None, STRANGER), (None, MEMBER)] {
        let Some(server) = Server::start(state_group) else {
            return;
        };
        for arguments in [
            vec!["level"],
            vec!["level", "--reset"],
            vec!["debug", "shop"],
            vec!["tail"],
            vec!["rewind"],
            vec!["top"],
            vec!["status"],
        ] {
            let (out, error, code) = server.run(user, &arguments);
            let about = format!("{arguments:?} as {user}: {out}{error}");
            assert_eq!((out.as_str(), code), ("", Some(3)), "{about}");
            assert!(error.contains(&format!("user {SERVER}")), "{about}");
            assert!(error.contains("as that user"), "{about}");
        }
    }
}

/// A state that another run has shared is not shared any more when nobody asks for it; and nobody can share with a group
/// that is not theirs.
#[test]
fn a_group_is_given_and_taken_back() {
    let Some(server) = Server::start(Some(GROUP)) else {
        return;
    };
    assert_eq!(server.run(MEMBER, &["level"]).2, Some(0));
    let place = server.place.path().to_owned();
    // SAFETY: the end of the child of above; Drop finds none.
    unsafe {
        libc::kill(server.pid, libc::SIGKILL);
        libc::waitpid(server.pid, std::ptr::null_mut(), 0);
    }
    let as_server = |work: &dyn Fn() -> bool| {
        // SAFETY: as in `start`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: plain system calls; then the end of this child.
            unsafe {
                let others = [SERVER];
                let done = libc::setgroups(1, others.as_ptr())
                    | libc::setgid(SERVER)
                    | libc::setuid(SERVER);
                let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                libc::_exit(i32::from(done != 0 || !right.unwrap_or(false)));
            }
        }
        let mut status = 0;
        // SAFETY: waits for the child of above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        status == 0
    };
    assert!(as_server(&|| {
        let refused = open(&place, Some(GROUP + 1)).err();
        let text = refused.map_or_else(String::new, |error| error.to_string());
        text.contains("to the group 60101") && text.contains("make this user a member of it")
    }));
    assert!(as_server(&|| open(&place, None).is_ok_and(|log| {
        log.publish(Severity::INFO, b"again\n");
        std::mem::forget(log);
        true
    })));
    let (_, error, code) = server.run(MEMBER, &["level"]);
    assert_eq!(code, Some(3), "{error}");
}
