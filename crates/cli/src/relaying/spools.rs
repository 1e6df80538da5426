//! Which spool directories a relay serves: one that was named, or those of a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use logboom_config::{Effective, beside};

use crate::exit::Failure;

/// Where a relay's work comes from.
pub enum Spools {
    /// One directory, whose files beside the spools say how they are shipped.
    In(PathBuf),
    /// A configuration, from which those files are made.
    Of {
        /// The file, if one was named.
        config: Option<PathBuf>,
        /// The destinations that it had when it was read last, with their directories.
        known: BTreeMap<String, PathBuf>,
    },
}

impl Spools {
    /// The directories. Those of a configuration are made, with what their spools need beside them.
    ///
    /// # Errors
    /// The configuration is wrong (each mistake is in the text) or has no destination, or a directory cannot be written.
    pub fn roots(&mut self) -> Result<Vec<PathBuf>, Failure> {
        match self {
            Spools::In(root) => Ok(vec![root.clone()]),
            Spools::Of { config, known } => {
                let effective = load(config.as_deref())?;
                let named = names(&effective);
                if named.is_empty() {
                    return Err(Failure::could_not_run(no_destination(&effective)));
                }
                let now: BTreeMap<String, PathBuf> = named
                    .into_iter()
                    .map(|name| (name.to_owned(), beside::root(&effective, name)))
                    .collect();
                for (name, root) in &now {
                    beside::keep(root, name, &effective.of_destination(name)).map_err(|error| {
                        let root = root.display();
                        Failure::could_not_run(format!(
                            "failed to prepare the spool `{root}`: {error}"
                        ))
                    })?;
                }
                for (name, root) in known
                    .iter()
                    .filter(|(name, root)| now.get(*name) != Some(root))
                {
                    forget(root, name);
                }
                known.clone_from(&now);
                let roots: BTreeSet<PathBuf> = now.into_values().collect();
                Ok(roots.into_iter().collect())
            }
        }
    }

    /// The address at which Prometheus is told, if the configuration names one.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub fn metrics(&self) -> Result<Option<String>, Failure> {
        let effective = match self {
            Spools::Of { config, .. } => load(config.as_deref())?,
            Spools::In(root) => {
                let name = beside::names(root)
                    .ok()
                    .and_then(|names| names.into_iter().next());
                match name {
                    // What the environment said to whoever wrote it is in it; this process may have that of any worker.
                    Some(name) => load_with(Some(&beside::path(root, &name)), &BTreeMap::new())?,
                    None => return Ok(None),
                }
            }
        };
        Ok(match effective.value("relay.metrics") {
            Some(logboom_config::Value::Text(address)) => Some(address.clone()),
            _ => None,
        })
    }
}

/// A destination that is configured no more: its spool stays, for whoever wants what is in it.
fn forget(root: &Path, name: &str) {
    anstream::eprintln!(
        "logboom: `{name}` is no destination any more; what waits for it stays in `{}`",
        root.display()
    );
    let _ = std::fs::remove_file(beside::path(root, name));
}

fn load(config: Option<&Path>) -> Result<Effective, Failure> {
    let env: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    load_with(config, &env)
}

fn load_with(config: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Effective, Failure> {
    logboom_config::load(config, env, &BTreeMap::new()).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Failure::could_not_run(lines.join("\n"))
    })
}

fn names(effective: &Effective) -> Vec<&str> {
    let addresses = effective.entries.iter().map(|entry| &entry.key.0);
    let addresses = addresses.filter(|key| key.len() == 3 && key[0] == "ship" && key[2] == "to");
    addresses.map(|key| key[1].as_str()).collect()
}

fn no_destination(effective: &Effective) -> String {
    let file = effective.file.as_ref().map_or_else(
        || "there is no logboom.toml here, and none was named with --config".to_owned(),
        |file| format!("`{}` has no `[ship.NAME]`", file.display()),
    );
    format!(
        "failed to start the relay: {file}; name a spool directory, or a configuration with a destination"
    )
}

/// The spool directory that is meant by a path: itself, or the one in a log directory.
#[must_use]
pub fn root_of(path: &Path) -> PathBuf {
    let inside = path.join(".logboom-spool");
    if inside.is_dir() {
        inside
    } else {
        path.to_owned()
    }
}
