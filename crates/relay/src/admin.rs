//! The relay's socket for its owner, `relay.sock` in the spool directory: one line of JSON in, one out.
//!
//! `{"do":"status"}` gives the figures, `{"do":"reload"}` reads the plans anew, `{"do":"stop"}` ends the relay. Always holds: only
//! processes of the same user or of root are answered (the kernel says who they are, unix(7), `SO_PEERCRED`); a question is bounded in
//! length and in time; the socket is 0600.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

const QUESTION_BYTES_MAX: u64 = 4096;
const PATIENCE: Duration = Duration::from_millis(500);

/// What the relay is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum Question {
    /// How do the destinations fare?
    Status {},
    /// Read the plans anew.
    Reload {},
    /// End.
    Stop {},
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    /// It is none; the text says what is expected.
    pub fn parse(line: &[u8]) -> Result<Question, String> {
        serde_json::from_slice(line).map_err(|error| {
            format!(
                "{error}; write {{\"do\":\"status\"}}, {{\"do\":\"reload\"}} or {{\"do\":\"stop\"}}"
            )
        })
    }

    fn text(self) -> Value {
        match self {
            Question::Status {} => json!({"do": "status"}),
            Question::Reload {} => json!({"do": "reload"}),
            Question::Stop {} => json!({"do": "stop"}),
        }
    }
}

/// The listening socket; removed when it is dropped, unless the next relay has put its own there.
pub struct Admin {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Admin {
    /// Listens in a spool directory. The caller is its relay, so that a socket which is there is a dead one's.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(root: &Path) -> std::io::Result<Admin> {
        let path = root.join("relay.sock");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = with_short_path(&path, UnixListener::bind)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let inode = std::fs::symlink_metadata(&path)?.ino();
        Ok(Admin {
            listener,
            path,
            inode,
        })
    }

    /// Answers whoever has asked by now.
    pub fn answer(&self, mut answer: impl FnMut(Question) -> Value) {
        while let Ok((stream, _)) = self.listener.accept() {
            // Whoever does not read its answer goes without.
            let _ = answer_one(&stream, &mut answer);
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        let there = std::fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| there.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn answer_one(
    mut stream: &UnixStream,
    answer: &mut dyn FnMut(Question) -> Value,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    let reply = if !(peer.uid.is_root() || peer.uid == rustix::process::geteuid()) {
        json!({"error": "only the user of the relay, or root, may ask"})
    } else {
        let mut line = Vec::new();
        BufReader::new(stream.take(QUESTION_BYTES_MAX)).read_until(b'\n', &mut line)?;
        match Question::parse(&line) {
            Ok(question) => answer(question),
            Err(why) => json!({"error": why}),
        }
    };
    writeln!(stream, "{reply}")
}

/// Asks the relay of a spool directory.
///
/// # Errors
/// No relay listens there, or it does not answer; the text says so.
pub fn ask(root: &Path, question: Question) -> Result<Value, String> {
    let path = root.join("relay.sock");
    let asked = || -> std::io::Result<Value> {
        let mut stream = with_short_path(&path, UnixStream::connect)?;
        stream.set_read_timeout(Some(10 * PATIENCE))?;
        writeln!(stream, "{}", question.text())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    let answer = asked().map_err(|error| {
        format!(
            "failed to ask the relay of `{}`: {error}; is one running?",
            root.display()
        )
    })?;
    match answer.get("error").and_then(Value::as_str) {
        Some(why) => Err(format!("the relay of `{}` refused: {why}", root.display())),
        None => Ok(answer),
    }
}

/// A socket's path may have 107 bytes (unix(7)); through a descriptor of its directory, any path is short.
fn with_short_path<T>(
    path: &Path,
    go: impl FnOnce(PathBuf) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return go(path.to_owned());
    };
    let directory = std::fs::File::open(parent)?;
    go(Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_known_or_refused() {
        assert_eq!(
            Question::parse(b"{\"do\":\"status\"}\n"),
            Ok(Question::Status {})
        );
        for wrong in [
            &b""[..],
            b"{}",
            b"status",
            b"{\"do\":\"format\"}",
            b"{\"do\":\"stop\",\"x\":1}",
            &[0xff; 100],
        ] {
            assert!(
                Question::parse(wrong).unwrap_err().contains("write {"),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn who_asks_is_answered_and_a_long_path_is_no_obstacle() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("d".repeat(200));
        std::fs::create_dir(&root).unwrap();
        assert!(
            ask(&root, Question::Stop {})
                .unwrap_err()
                .contains("is one running?")
        );
        let admin = Admin::listen(&root).unwrap();
        let asked = std::thread::scope(|threads| {
            let asking = threads.spawn(|| ask(&root, Question::Reload {}));
            while !asking.is_finished() {
                admin.answer(|question| json!({"did": format!("{question:?}")}));
                std::thread::sleep(Duration::from_millis(1));
            }
            asking.join().unwrap()
        });
        assert_eq!(asked.unwrap(), json!({"did": "Reload"}));
        let mode = std::fs::metadata(root.join("relay.sock"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(admin);
        assert!(!root.join("relay.sock").exists());
    }

    /// A question without an end costs half a second and no memory.
    #[test]
    fn a_question_is_bounded() {
        let place = tempfile::tempdir().unwrap();
        let admin = Admin::listen(place.path()).unwrap();
        let mut stream = UnixStream::connect(place.path().join("relay.sock")).unwrap();
        stream.write_all(&[b'x'; 100_000]).unwrap();
        admin.answer(|_| panic!("that was no question"));
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        assert!(reply.contains("error"), "{reply}");
    }
}
