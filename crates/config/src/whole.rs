//! The whole configuration: defaults for what nobody said, and what must fit together.

use std::path::PathBuf;

use crate::files;
use crate::key::KeyPath;
use crate::layers::Layers;
use crate::named::{SHIP, Section, Table, instance};
use crate::schema::{KEYS, Key};
use crate::ship;
use crate::value::Value;
use crate::{Effective, Entry, Source};

/// The loggers of access records: under Gunicorn, and elsewhere.
const ACCESS: [&str; 2] = ["gunicorn.access", "logboom.access"];
const INFO: i64 = 20;

/// Fills in the defaults and checks what one value alone cannot show.
pub(crate) fn complete(file: Option<PathBuf>, layers: &mut Layers) -> Effective {
    let names = Section::ALL.map(|section| {
        let names = section.names(layers);
        section.check_names(&names, layers);
        for name in &names {
            let table = Table {
                section,
                name,
                layers,
            };
            match section {
                SHIP => ship::check(table),
                _ => files::check(table),
            }
        }
        (section, names)
    });
    let files = &names[0].1;
    files::check_paths(files, layers);
    let mut entries = Vec::new();
    let in_section = |key: &Key| Section::ALL.into_iter().find(|section| section.has(key));
    let mut shown: Option<Section> = None;
    for key in KEYS {
        match in_section(key) {
            None if key.name == "levels.*" => entries.extend(levels(files, layers)),
            None => entries.push(layers.entry(KeyPath::of(&key.segments()), key)),
            // All keys of one table, then those of the next.
            Some(section) if shown != Some(section) => {
                let of_section = names.iter().filter(|(of, _)| *of == section);
                for name in of_section.flat_map(|(_, names)| names) {
                    entries.extend(section.entries(name, layers));
                }
            }
            Some(_) => {}
        }
        shown = in_section(key);
    }
    Effective {
        file,
        entries,
        notes: std::mem::take(&mut layers.notes),
    }
}

/// `[levels]`, and INFO for access records that have a file: who gives them one wants them at each level.
fn levels(names: &[String], layers: &Layers) -> Vec<Entry> {
    let said = layers.said.iter();
    let said = said.filter(|(path, _)| path.0[0] == "levels");
    let mut levels: Vec<_> = said
        .map(|(path, (value, source))| Entry {
            key: path.clone(),
            value: value.clone(),
            source: source.clone(),
        })
        .collect();
    for component in ACCESS {
        let parent = component.split('.').next().unwrap_or_default();
        let is_said = |entry: &Entry| [component, parent].contains(&entry.key.0[1].as_str());
        let has_file = names.iter().any(|name| takes(name, component, layers));
        if has_file && !levels.iter().any(is_said) {
            let key = KeyPath::of(&["levels", component]);
            levels.push(Entry {
                key,
                value: Value::Level(INFO),
                source: Source::Default,
            });
        }
    }
    levels
}

/// Whether a file names this component.
fn takes(name: &str, component: &str, layers: &Layers) -> bool {
    let key = KEYS.iter().find(|key| key.name == "files.*.components");
    let value = key.map(|key| layers.entry(instance(key, name), key).value);
    matches!(value, Some(Value::Texts(texts)) if texts.iter().any(|text| text == component))
}

impl Layers {
    /// The value in force for a key, and where it comes from.
    pub(crate) fn entry(&self, path: KeyPath, key: &Key) -> Entry {
        let said = self.said.get(&path).cloned();
        let (value, source) =
            said.unwrap_or_else(|| (default_of(&path, key, self), Source::Default));
        Entry {
            key: path,
            value,
            source,
        }
    }
}

fn default_of(path: &KeyPath, key: &Key, layers: &Layers) -> Value {
    let texts = |list: &[&str]| Value::Texts(list.iter().map(|&text| text.to_owned()).collect());
    match (key.name, path.0.get(1).map(String::as_str)) {
        ("files.*.components", Some("access")) => texts(&ACCESS),
        ("files.*.alone", Some(name)) => {
            let components = KEYS.iter().find(|key| key.name == "files.*.components");
            let components = components.map(|key| layers.entry(instance(key, name), key).value);
            Value::Bool(components.is_some_and(|value| value != Value::Texts(Vec::new())))
        }
        // The defaults are checked by a test.
        _ => key
            .kind
            .default_value(key.default)
            .unwrap_or(Value::None("")),
    }
}
