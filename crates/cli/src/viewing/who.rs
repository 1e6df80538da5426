//! Who is at this terminal: what a rule says of its maker.

use std::os::unix::ffi::OsStringExt;

use logboom::rules::Rule;

/// This user and terminal, cut to what a rule holds: `bob on /dev/pts/3`, `root (bob) on /dev/pts/3` under sudo.
pub(crate) fn made_by() -> String {
    let uid = rustix::process::getuid().as_raw();
    let user = user_name(uid)
        .or_else(|| std::env::var("LOGNAME").ok())
        .unwrap_or_else(|| format!("user {uid}"));
    let behind = std::env::var("SUDO_USER").ok().filter(|name| *name != user);
    let behind = behind.map_or_else(String::new, |name| format!(" ({name})"));
    let place = terminal().map_or_else(|| "without a terminal".into(), |tty| format!("on {tty}"));
    let mut text = format!("{user}{behind} {place}");
    let most = Rule::BYTES_MAX[2];
    while text.len() > most {
        text.pop();
    }
    text
}

/// From the password file. None: it is a user of another directory (LDAP).
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn terminal() -> Option<String> {
    let name = rustix::termios::ttyname(std::io::stdin(), Vec::new())
        .or_else(|_| rustix::termios::ttyname(std::io::stdout(), Vec::new()))
        .or_else(|_| rustix::termios::ttyname(std::io::stderr(), Vec::new()))
        .ok()?;
    let name = std::ffi::OsString::from_vec(name.into_bytes());
    Some(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_superuser_has_a_name() {
        assert_eq!(super::user_name(0).as_deref(), Some("root"));
        assert!(super::made_by().len() <= 64);
    }
}
