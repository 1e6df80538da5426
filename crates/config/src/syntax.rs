//! The file as TOML: every key with its line. A file that is no TOML at one place is still read everywhere else.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Source;
use crate::key::KeyPath;
use crate::layers::{Layers, problem, unknown};
use crate::named::Section;
use crate::schema;
use crate::value::quoted;

/// No configuration is longer; a path that leads to something else is not read into memory as one.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads the text of the file called `name` into the layers.
pub(crate) fn read_file(name: &str, bytes: &[u8], layers: &mut Layers) {
    let at = |line| Source::File(name.to_owned(), line);
    if bytes.len() > FILE_BYTES_MAX {
        layers.problems.push(problem(
            &at(1),
            "",
            "is longer than 1 MiB",
            "name the right file",
        ));
        return;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = line_of(bytes, error.valid_up_to());
            layers.problems.push(problem(
                &at(line),
                "",
                "is not UTF-8 here",
                "save the file as UTF-8",
            ));
            return;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What was read behind a mistake of syntax may be something else than was meant.
        for error in errors {
            let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
            let why = error.message().trim_end_matches('.').to_owned();
            layers.problems.push(problem(
                &at(line),
                "",
                format!("is no TOML here: {why}"),
                "see https://toml.io for the language",
            ));
        }
        layers.problems.sort_by_key(|problem| problem.line);
        return;
    }
    let first = layers.problems.len();
    let mut walk = Walk { name, text, layers };
    walk.table(&KeyPath(Vec::new()), table.get_ref());
    layers.problems[first..].sort_by_key(|problem| problem.line);
}

/// The line, from 1, of a byte.
fn line_of(bytes: &[u8], offset: usize) -> usize {
    let before = &bytes[..offset.min(bytes.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

struct Walk<'a> {
    name: &'a str,
    text: &'a str,
    layers: &'a mut Layers,
}

impl Walk<'_> {
    fn at(&self, offset: usize) -> Source {
        Source::File(self.name.to_owned(), line_of(self.text.as_bytes(), offset))
    }

    fn table(&mut self, path: &KeyPath, table: &DeTable<'_>) {
        for (name, value) in table {
            let source = self.at(name.span().start);
            match path.0.as_slice() {
                [top] if top == "levels" => self.component(name.get_ref(), value, &source),
                _ => self.entry(&path.below(name.get_ref()), value, &source),
            }
        }
    }

    fn entry(&mut self, path: &KeyPath, value: &Spanned<DeValue<'_>>, source: &Source) {
        let below = schema::below(&path.0);
        match (schema::find(&path.0), value.get_ref()) {
            (Some(key), _) => {
                let read = key.kind.read(value);
                // An item of a list may stand on a line of its own.
                let span = read.as_ref().err().and_then(|wrong| wrong.span.clone());
                let source = span.map_or_else(|| source.clone(), |span| self.at(span.start));
                self.layers
                    .say(path.clone(), read, source, &path.to_string());
            }
            (None, DeValue::Table(table)) if !below.is_empty() => {
                let is_named = |section: Section| path.0.len() == 2 && path.0[0] == section.top;
                if Section::ALL.into_iter().any(is_named) {
                    self.layers.tables.insert(path.clone(), source.clone());
                }
                self.table(path, table);
            }
            (None, other) if !below.is_empty() => {
                let example = below
                    .iter()
                    .find(|name| **name != "*")
                    .map_or("...", |name| *name);
                self.layers.problems.push(problem(
                    source,
                    &path.to_string(),
                    format!("is a table, not {}", shown(other)),
                    format!("write `[{path}]` and below it keys such as `{example}`"),
                ));
            }
            (None, _) => self.layers.problems.push(unknown(path, source)),
        }
    }

    /// An entry of `[levels]`. Without quotes `shop.db = "debug"` is a table `shop` to TOML; what is meant is clear.
    fn component(&mut self, name: &str, value: &Spanned<DeValue<'_>>, source: &Source) {
        if let DeValue::Table(table) = value.get_ref() {
            for (below, value) in table {
                let source = self.at(below.span().start);
                self.component(&format!("{name}.{}", below.get_ref()), value, &source);
            }
        } else {
            let path = KeyPath::of(&["levels", name]);
            let Some(key) = schema::find(&path.0) else {
                return;
            };
            self.layers.say(
                path.clone(),
                key.kind.read(value),
                source.clone(),
                &path.to_string(),
            );
        }
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
    }
}
