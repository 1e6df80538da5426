//! What the file, the environment and the flags said: a value and its source for each key, the later layer winning.

use std::collections::BTreeMap;

use crate::key::KeyPath;
use crate::kind::{Wrong, nearest};
use crate::named::{Section, instance};
use crate::schema::{self, KEYS, Key};
use crate::value::Value;
use crate::{Problem, Source};

/// The layers so far.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) said: BTreeMap<KeyPath, (Value, Source)>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Problem>,
    /// Where `[files.NAME]` and its like begin in the file.
    pub(crate) tables: BTreeMap<KeyPath, Source>,
}

impl Layers {
    /// Takes one value of a layer, or the mistake.
    pub(crate) fn say(
        &mut self,
        key: KeyPath,
        value: Result<Value, Wrong>,
        source: Source,
        shown: &str,
    ) {
        match value {
            Ok(value) => {
                self.said.insert(key, (value, source));
            }
            Err(wrong) => self
                .problems
                .push(problem(&source, shown, wrong.text, wrong.remedy)),
        }
    }
}

/// A mistake at a source.
pub(crate) fn problem(
    source: &Source,
    key: &str,
    text: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    let (file, line) = match source {
        Source::File(name, line) => (name.clone(), Some(*line)),
        Source::Environment(_) => ("environment".to_owned(), None),
        Source::Flag(_) => ("flags".to_owned(), None),
        Source::Default => ("defaults".to_owned(), None),
    };
    Problem {
        file,
        line,
        key: key.to_owned(),
        text: text.into(),
        remedy: remedy.into(),
    }
}

/// Variables with our prefix that are not about the configuration.
const FOREIGN: [&str; 2] = ["LOGBOOM_CONFIG", "LOGBOOM_STATE_DIR"];

/// Reads `LOGBOOM_*`. A name that is not known is a note: another version may know it.
pub(crate) fn read_environment(env: &BTreeMap<String, String>, layers: &mut Layers) {
    for (name, text) in env {
        if !name.starts_with("LOGBOOM_") || FOREIGN.contains(&name.as_str()) {
            continue;
        }
        let source = Source::Environment(name.clone());
        if name == "LOGBOOM_LEVELS" {
            read_levels(text, &source, layers);
        } else if let Some((key, path)) = of_variable(name) {
            layers.say(path, key.kind.read_override(text), source, name);
        } else {
            let known: Vec<_> = KEYS.iter().map(Key::variable).collect();
            let remedy = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "remove it if it was meant for the configuration".into(),
            };
            layers.notes.push(problem(
                &source,
                name,
                "is no variable of the configuration",
                remedy,
            ));
        }
    }
}

/// The key that a variable stands for: `LOGBOOM_FILES_ACCESS_ROTATE_SIZE` is `files.access.rotate.size`.
fn of_variable(name: &str) -> Option<(&'static Key, KeyPath)> {
    for section in Section::ALL {
        let prefix = format!("LOGBOOM_{}_", section.top.to_uppercase());
        let Some(rest) = name.strip_prefix(&prefix) else {
            continue;
        };
        let candidates = KEYS
            .iter()
            .filter(|key| section.has(key))
            .filter_map(|key| {
                let (_, tail) = key.name.split_once(".*.")?;
                let tail = tail.replace('.', "_").to_uppercase();
                let table = rest.strip_suffix(&tail)?.strip_suffix('_')?;
                Some((key, table.to_lowercase()))
            });
        // `ROTATE_WHEN` before a file called `x_rotate` with the key `when`.
        let (key, table) = candidates.min_by_key(|(_, table)| table.len())?;
        return (!table.is_empty()).then(|| (key, instance(key, &table)));
    }
    let key = KEYS
        .iter()
        .find(|key| !key.name.contains('*') && key.variable() == name)?;
    Some((key, KeyPath::of(&key.segments())))
}

/// `LOGBOOM_LEVELS=shop.db=debug,shop=info`.
fn read_levels(text: &str, source: &Source, layers: &mut Layers) {
    let Some(key) = schema::find(&["levels".into(), "*".into()]) else {
        return;
    };
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match part.rsplit_once('=') {
            Some((component, level)) if !component.trim().is_empty() => {
                let path = KeyPath::of(&["levels", component.trim()]);
                layers.say(
                    path,
                    key.kind.read_override(level),
                    source.clone(),
                    "LOGBOOM_LEVELS",
                );
            }
            _ => layers.problems.push(problem(
                source,
                "LOGBOOM_LEVELS",
                format!("has the part {}", crate::value::quoted(part)),
                "write component=level with commas between, such as shop.db=debug,shop=info",
            )),
        }
    }
}

/// Reads flags and the arguments of `logboom.configure`.
pub(crate) fn read_flags(flags: &BTreeMap<String, String>, layers: &mut Layers) {
    for (name, text) in flags {
        let by_flag = KEYS
            .iter()
            .find(|key| key.flag == Some(name.as_str()))
            .map(|key| KeyPath::of(&key.segments()));
        let source = Source::Flag(if by_flag.is_some() {
            name.clone()
        } else {
            format!("argument {name}")
        });
        let path = match by_flag.map_or_else(|| KeyPath::parse(name), Ok) {
            Ok(path) => path,
            Err(text) => {
                layers.problems.push(problem(
                    &source,
                    name,
                    text,
                    "write a key as in logboom.toml",
                ));
                continue;
            }
        };
        match schema::find(&path.0) {
            Some(key) => layers.say(path, key.kind.read_override(text), source, name),
            None => layers.problems.push(unknown(&path, &source)),
        }
    }
}

/// A key that is not in the schema, with the nearest one that could stand in its place.
pub(crate) fn unknown(path: &KeyPath, source: &Source) -> Problem {
    // The first segment that fits nowhere is the wrong one.
    let mut depth = path.0.len() - 1;
    for length in 0..path.0.len() {
        let below = schema::below(&path.0[..length]);
        if !below.contains(&"*") && !below.contains(&path.0[length].as_str()) {
            depth = length;
            break;
        }
    }
    let name = &path.0[depth];
    let parent = KeyPath(path.0[..depth].to_vec());
    let known: Vec<_> = schema::below(&parent.0)
        .into_iter()
        .filter(|known| *known != "*")
        .collect();
    let text = if depth == 0 {
        "is no key of logboom.toml".to_owned()
    } else {
        format!("is no key of `[{parent}]`")
    };
    let remedy = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{}`?", parent.below(near)),
        None if known.is_empty() => {
            format!("`{parent}` has no keys below it; write the value itself")
        }
        None => format!(
            "there are {}",
            known
                .iter()
                .map(|known| format!("`{known}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    problem(source, &path.to_string(), text, remedy)
}
