//! The file beside a spool, `NAME.toml`: a `logboom.toml` of its own with what concerns one destination alone.
//!
//! Whoever opens the spool writes it; the relay, which may be started long after and from anywhere, reads it. Always holds: it is there
//! as a whole or not at all, and only its owner can read it.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{Effective, Value};

/// The path of the file.
#[must_use]
pub fn path(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.toml"))
}

/// The directory in which records for a destination wait: what `spool.path` says, else `.logboom-spool` beside the log of `main`; where
/// that is standard error, a directory of the user's own for this configuration, below `/var/spool/logboom` (root),
/// `$XDG_STATE_HOME/logboom/spool` or `~/.local/state/logboom/spool`.
#[must_use]
pub fn root(effective: &Effective, name: &str) -> PathBuf {
    let text = |key: &str| match effective.value(key) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    if let Some(path) = text(&format!("ship.{name}.spool.path")) {
        return absolute(Path::new(path));
    }
    match text("files.main.path") {
        Some(path) if path != "-" => {
            let path = absolute(Path::new(path));
            path.parent().unwrap_or(&path).join(".logboom-spool")
        }
        _ => of_user(effective.file.as_deref()),
    }
}

/// Where the shared state of a spool lies: what `spool.state_dir` says, else what `files.main.state_dir` says, since who puts the
/// state of the log where others can reach it means its spools, too. None: nobody says anything. `beside` is beside the spool.
#[must_use]
pub fn state_dir(effective: &Effective, name: &str) -> Option<String> {
    let own = format!("ship.{name}.spool.state_dir");
    [own.as_str(), "files.main.state_dir"]
        .iter()
        .find_map(|key| match effective.value(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn of_user(config: Option<&Path>) -> PathBuf {
    let folder = config.and_then(Path::parent).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().unwrap_or_else(|_| absolute(folder));
    let escaped = folder.display().to_string().replace('/', "-");
    let name = escaped.trim_matches('-');
    base_of_user().join(if name.is_empty() { "root" } else { name })
}

/// Where a user's spools lie that belong beside no log.
#[must_use]
pub fn base_of_user() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(state) = variable("XDG_STATE_HOME") {
        return Path::new(&state).join("logboom/spool");
    }
    match variable("HOME") {
        Some(home) if home != "/root" => Path::new(&home).join(".local/state/logboom/spool"),
        _ => "/var/spool/logboom".into(),
    }
}

/// The names for which a spool's directory has such a file.
///
/// # Errors
/// The directory cannot be read.
pub fn names(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".toml"))
            && !name.starts_with('.')
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Writes the file, with the text of [`Effective::of_destination`], and makes the directory if it is missing. The same text is not
/// written again.
///
/// # Errors
/// The directory cannot be made or written.
pub fn keep(root: &Path, name: &str, text: &str) -> io::Result<()> {
    match std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(root)
    {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let path = path(root, name);
    if std::fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let part = root.join(format!(".{name}.toml.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&part)?.write_all(text.as_bytes())?;
    std::fs::rename(&part, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spool's state is where its own key says, else where that of `main` is; and its reader finds the same.
    #[test]
    fn a_spool_shares_the_place_of_main_s_state_unless_it_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("logboom.toml");
        let nothing = Default::default();
        let cases = [
            ("", "", None),
            ("", "beside", Some("beside")),
            ("beside", "", Some("beside")),
            ("/run/spool", "beside", Some("/run/spool")),
        ];
        for (own, main, expected) in cases {
            let text = format!(
                "files.main = {{ path = \"app.log\", state_dir = \"{main}\" }}\n[ship.a]\nto = \"tcp://logs\"\nspool.state_dir = \"{own}\"\n"
            );
            std::fs::write(&config, &text).unwrap();
            let effective = crate::load(Some(&config), &nothing, &nothing).unwrap();
            assert_eq!(state_dir(&effective, "a").as_deref(), expected, "{text}");
            let root = folder.path().join("spool");
            keep(&root, "a", &effective.of_destination("a")).unwrap();
            let read = crate::load(Some(&path(&root, "a")), &nothing, &nothing).unwrap();
            assert_eq!(state_dir(&read, "a").as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_concerns_a_destination_can_be_read_back_from_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("logboom.toml");
        let text = "level = \"debug\"\n[files.main]\npath = \"logs/app.log\"\n[ship.a]\nto = \"tls://logs:6514\"\n\
                    tls.ca = \"ca.pem\"\nspool.bytes = \"1 GB\"\n[ship.b]\nto = \"unix:/dev/log\"\n[relay]\nstart = \"by-hand\"\n";
        std::fs::write(&config, text).unwrap();
        let nothing = Default::default();
        let effective = crate::load(Some(&config), &nothing, &nothing).unwrap();
        let root = folder.path().join("a/spool");
        for _ in 0..2 {
            keep(&root, "a", &effective.of_destination("a")).unwrap();
        }
        assert_eq!(names(&root).unwrap(), ["a"]);
        let read = crate::load(Some(&path(&root, "a")), &nothing, &nothing).unwrap();
        let here = std::env::current_dir().unwrap();
        let shown = |key: &str| read.value(key).map(ToString::to_string).unwrap_or_default();
        assert_eq!(shown("ship.a.spool.bytes"), "\"1 GB\"");
        assert_eq!(shown("relay.start"), "\"by-hand\"");
        assert_eq!(shown("ship.a.tls.ca"), format!("{:?}", here.join("ca.pem")));
        assert_eq!(
            shown("files.main.path"),
            format!("{:?}", here.join("logs/app.log"))
        );
        assert_eq!(shown("ship.b.to"), "", "another destination's are left out");
        assert_eq!(shown("level"), "\"info\"");
    }
}
