//! Tables whose names the user chooses: `[files.NAME]`, `[ship.NAME]`.

use crate::key::KeyPath;
use crate::layers::{Layers, problem};
use crate::schema::{KEYS, Key};
use crate::value::{Value, quoted};
use crate::{Entry, Source};

const NAME_BYTES_MAX: usize = 32;
const COUNT_MAX: usize = 32;

/// One such kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// Its first segment.
    pub(crate) top: &'static str,
    /// The name that is there even if nobody speaks of it, and the first.
    always: Option<&'static str>,
}

/// `[files.NAME]`; `main` takes what no other takes for itself.
pub(crate) const FILES: Section = Section {
    top: "files",
    always: Some("main"),
};
/// `[ship.NAME]`.
pub(crate) const SHIP: Section = Section {
    top: "ship",
    always: None,
};

impl Section {
    /// The sections that there are.
    pub(crate) const ALL: [Section; 2] = [FILES, SHIP];

    /// All names that are used.
    pub(crate) fn names(self, layers: &Layers) -> Vec<String> {
        let of_keys = layers.said.keys().chain(layers.tables.keys());
        let mut names: Vec<String> = of_keys
            .filter(|path| path.0[0] == self.top)
            .map(|path| path.0[1].clone())
            .chain(self.always.map(str::to_owned))
            .collect();
        names.sort_by_key(|name| (Some(name.as_str()) != self.always, name.clone()));
        names.dedup();
        names
    }

    /// Refuses names that cannot be, and too many of them.
    pub(crate) fn check_names(self, names: &[String], layers: &mut Layers) {
        for name in names {
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fine) {
                let key = KeyPath::of(&[self.top, name]).to_string();
                let found = problem(
                    &self.begin_of(name, layers),
                    &key,
                    format!("cannot be called {}", quoted(name)),
                    format!("use lower-case letters, digits and `_`, at most {NAME_BYTES_MAX}"),
                );
                layers.problems.push(found);
            }
        }
        if names.len() > COUNT_MAX {
            let last = self.begin_of(&names[COUNT_MAX], layers);
            let found = problem(
                &last,
                self.top,
                format!("are {}", names.len()),
                format!("use at most {COUNT_MAX}"),
            );
            layers.problems.push(found);
        }
    }

    /// Where a name is first spoken of.
    pub(crate) fn begin_of(self, name: &str, layers: &Layers) -> Source {
        let of_key = || {
            let mut said = layers.said.iter();
            said.find(|(path, _)| path.0[0] == self.top && path.0[1] == name)
        };
        let table = layers.tables.get(&KeyPath::of(&[self.top, name])).cloned();
        table
            .or_else(|| of_key().map(|(_, (_, source))| source.clone()))
            .unwrap_or(Source::Default)
    }

    /// Every key of one table, with its value.
    pub(crate) fn entries<'a>(
        self,
        name: &'a str,
        layers: &'a Layers,
    ) -> impl Iterator<Item = Entry> + 'a {
        let keys = KEYS.iter().filter(move |key| self.has(key));
        keys.map(move |key| layers.entry(instance(key, name), key))
    }

    /// Whether a key is one of such a table.
    pub(crate) fn has(self, key: &Key) -> bool {
        key.name
            .strip_prefix(self.top)
            .is_some_and(|rest| rest.starts_with(".*."))
    }
}

/// The key of the table with this name.
pub(crate) fn instance(key: &Key, name: &str) -> KeyPath {
    let segments: Vec<_> = key
        .segments()
        .into_iter()
        .map(|part| if part == "*" { name } else { part })
        .collect();
    KeyPath::of(&segments)
}

/// One table that is being checked for what fits together.
pub(crate) struct Table<'a> {
    pub(crate) section: Section,
    pub(crate) name: &'a str,
    pub(crate) layers: &'a mut Layers,
}

impl Table<'_> {
    /// Whether it is the one that is always there.
    pub(crate) fn is_always_there(&self) -> bool {
        self.section.always == Some(self.name)
    }

    /// Refuses a table that lacks a key which has no default.
    pub(crate) fn demand(&mut self, key: &str, text: &str, remedy: String) {
        if self.said(key).is_some() || self.is_wrong(key) {
            return;
        }
        let source = self.section.begin_of(self.name, self.layers);
        let of = format!("{}.{}", self.section.top, self.name);
        let found = problem(&source, &of, text, remedy);
        self.layers.problems.push(found);
    }

    /// Refuses a key if somebody set it.
    pub(crate) fn refuse(&mut self, key: &str, text: &str, remedy: &str) {
        if let Some((_, source)) = self.said(key) {
            let found = problem(source, &self.path(key).to_string(), text, remedy);
            self.layers.problems.push(found);
        }
    }

    /// Remarks on a key if somebody set it.
    pub(crate) fn note(&mut self, key: &str, text: &str, remedy: &str) {
        if let Some((_, source)) = self.said(key) {
            let found = problem(source, &self.path(key).to_string(), text, remedy);
            self.layers.notes.push(found);
        }
    }

    /// A key of this table.
    pub(crate) fn path(&self, key: &str) -> KeyPath {
        let top = [self.section.top, self.name].into_iter();
        KeyPath::of(&top.chain(key.split('.')).collect::<Vec<_>>())
    }

    /// What somebody said of a key.
    pub(crate) fn said(&self, key: &str) -> Option<&(Value, Source)> {
        self.layers.said.get(&self.path(key))
    }

    /// Whether the key was said, but not in a way that can be used; one mistake is not reported twice.
    fn is_wrong(&self, key: &str) -> bool {
        let key = self.path(key).to_string();
        let mut problems = self.layers.problems.iter();
        problems.any(|problem| problem.key == key)
    }

    /// The value in force.
    pub(crate) fn value(&self, key: &str) -> Value {
        let name = format!("{}.*.{key}", self.section.top);
        let known = KEYS.iter().find(|key| key.name == name);
        known.map_or(Value::None(""), |known| {
            self.layers.entry(self.path(key), known).value
        })
    }
}
