//! What must fit together in `[files.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::key::KeyPath;
use crate::layers::{Layers, problem};
use crate::named::Table;
use crate::value::Value;

/// Checks one file.
pub(crate) fn check(mut file: Table<'_>) {
    if file.is_always_there() {
        for key in ["components", "alone"] {
            file.refuse(
                key,
                "cannot be set: `main` takes what no other file takes for itself",
                "give the components a file of their own, such as `[files.db]`",
            );
        }
    } else {
        let remedy = format!("write path = \"logs/{}.log\" in it", file.name);
        file.demand("path", "has no path", remedy);
    }
    let names_none = file.value("components") == Value::Texts(Vec::new());
    if names_none && file.value("alone") == Value::Bool(true) {
        file.refuse(
            "alone",
            "leaves nothing for `main`, since this file names no components",
            "add components = [...] or remove it",
        );
    }
    check_rotation(&mut file);
    if file.value("path") == Value::Text("-".into()) {
        // In a container the environment may lead a file to standard error that has a rotation elsewhere: no mistake.
        for key in ["rotate.size", "rotate.when"] {
            file.note(
                key,
                "has no effect, since the path is `-`, standard error",
                "name a file, or remove it",
            );
        }
    }
}

fn check_rotation(file: &mut Table<'_>) {
    let when = file.value("rotate.when");
    let has_time_of_day =
        matches!(&when, Value::Text(word) if word == "MIDNIGHT" || word.starts_with('W'));
    if !has_time_of_day && !matches!(file.value("rotate.at"), Value::None(_)) {
        file.refuse(
            "rotate.at",
            "has no effect with this `rotate.when`",
            "write when = \"midnight\" or \"W0\" to \"W6\"",
        );
    }
    if !matches!(when, Value::None(_)) {
        return;
    }
    for key in ["rotate.interval", "rotate.utc", "rotate.suffix"] {
        let text = "has no effect without `rotate.when`";
        file.refuse(key, text, "add when = \"midnight\", say");
    }
    let by_size = file.value("rotate.size") != Value::Bytes(0);
    if by_size && file.value("keep.count") == Value::Count(0) {
        file.refuse(
            "keep.count",
            "cannot be 0 with rotation by size alone: there would be no name for an archive",
            "write how many archives to keep, or add rotate.when",
        );
    }
}

/// Two files at one path would rotate each other's records away.
pub(crate) fn check_paths(names: &[String], layers: &mut Layers) {
    let mut taken: BTreeMap<PathBuf, String> = BTreeMap::new();
    for name in names {
        let Some((Value::Text(path), source)) =
            layers.said.get(&KeyPath::of(&["files", name, "path"]))
        else {
            continue;
        };
        if path == "-" {
            continue;
        }
        let place = std::path::absolute(path).unwrap_or_else(|_| path.into());
        if let Some(other) = taken.get(&place) {
            let found = problem(
                source,
                &format!("files.{name}.path"),
                format!("is the path of `files.{other}` too"),
                "give each file a path of its own, or leave this file out: `main` takes what no other file takes",
            );
            layers.problems.push(found);
        } else {
            taken.insert(place, name.clone());
        }
    }
}
