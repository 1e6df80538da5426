//! Each layer wins over the one before, every value knows where it came from, and defaults are there for every file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logboom_config::{Effective, Value, load};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |&(name, text): &(&str, &str)| (name.to_owned(), text.to_owned());
    pairs.iter().map(pair).collect()
}

fn load_text(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Effective {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("l.toml");
    std::fs::write(&path, text).unwrap();
    load(Some(&path), &map(env), &map(flags)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[track_caller]
fn check(effective: &Effective, key: &str, shown: &str, source: &str) {
    let entry = effective
        .entries
        .iter()
        .find(|entry| entry.key.to_string() == key);
    let entry = entry.unwrap_or_else(|| panic!("no {key}"));
    let from = entry.source.to_string();
    let from = from.rsplit('/').next().unwrap_or_default();
    assert_eq!(
        (entry.value.to_string().as_str(), from),
        (shown, source),
        "{key}"
    );
}

#[test]
fn defaults_then_file_then_environment_then_flags() {
    let text = "level = \"error\"\n[levels]\n\"shop.db\" = \"debug\"\nshop.web = 15\n\n[format]\nkind = \"json\"\n[files.main]\npath = \"a.log\"\nrotate = { size = \"1 MB\" }\n";
    let nobody = load_text("", &[], &[]);
    check(&nobody, "level", "\"info\"", "default");
    check(&nobody, "files.main.path", "\"-\"", "default");
    let file = load_text(text, &[], &[]);
    check(&file, "level", "\"error\"", "l.toml:1");
    check(&file, "levels.\"shop.db\"", "\"debug\"", "l.toml:3");
    check(&file, "levels.\"shop.web\"", "15", "l.toml:4");
    check(&file, "files.main.rotate.size", "\"1 MB\"", "l.toml:10");
    let env = [
        ("LOGBOOM_LEVEL", "warning"),
        ("LOGBOOM_FORMAT", "logfmt"),
        ("LOGBOOM_LEVELS", "shop.db=error, a=info"),
        ("LOGBOOM_FILES_MAIN_ROTATE_SIZE", "2 MB"),
        ("LOGBOOM_FILES_DB_ONLY_PATH", "db.log"),
        ("LOGBOOM_REDACT_NAMES", "a,b"),
        ("LOGBOOM_CONFIG", "elsewhere.toml"),
        ("LOGBOOM_STATE_DIR", "/tmp"),
        ("OTHER_LEVEL", "x"),
    ];
    let environment = load_text(text, &env, &[]);
    check(
        &environment,
        "level",
        "\"warning\"",
        "environment LOGBOOM_LEVEL",
    );
    check(
        &environment,
        "format.kind",
        "\"logfmt\"",
        "environment LOGBOOM_FORMAT",
    );
    check(
        &environment,
        "levels.\"shop.db\"",
        "\"error\"",
        "environment LOGBOOM_LEVELS",
    );
    check(&environment, "levels.\"shop.web\"", "15", "l.toml:4");
    check(
        &environment,
        "levels.a",
        "\"info\"",
        "environment LOGBOOM_LEVELS",
    );
    check(
        &environment,
        "files.main.rotate.size",
        "\"2 MB\"",
        "environment LOGBOOM_FILES_MAIN_ROTATE_SIZE",
    );
    check(
        &environment,
        "files.db_only.path",
        "\"db.log\"",
        "environment LOGBOOM_FILES_DB_ONLY_PATH",
    );
    check(
        &environment,
        "redact.names",
        "[\"a\", \"b\"]",
        "environment LOGBOOM_REDACT_NAMES",
    );
    assert!(environment.notes.is_empty(), "{:?}", environment.notes);
    let flags = [
        ("--log-level", "debug"),
        ("files.main.path", "-"),
        ("levels.\"shop.db\"", "info"),
        ("redact.names", "[\"x,y\"]"),
    ];
    let flags = load_text(text, &env, &flags);
    check(&flags, "level", "\"debug\"", "--log-level");
    check(
        &flags,
        "files.main.path",
        "\"-\"",
        "argument files.main.path",
    );
    check(
        &flags,
        "levels.\"shop.db\"",
        "\"info\"",
        "argument levels.\"shop.db\"",
    );
    check(&flags, "redact.names", "[\"x,y\"]", "argument redact.names");
}

#[test]
fn each_file_has_each_key() {
    let effective = load_text(
        "[files.db]\npath = \"db.log\"\ncomponents = [\"shop.db\"]\n[files.access]\npath = \"access.log\"\n[files.error]\npath = \"e.log\"\nlevel = \"error\"\n",
        &[],
        &[],
    );
    check(&effective, "files.db.alone", "true", "default");
    check(
        &effective,
        "files.access.components",
        "[\"gunicorn.access\", \"logboom.access\"]",
        "default",
    );
    check(&effective, "files.access.alone", "true", "default");
    check(&effective, "files.error.alone", "false", "default");
    check(&effective, "files.error.level", "\"error\"", "l.toml:8");
    check(&effective, "files.error.keep.count", "10", "default");
    assert_eq!(
        effective.value("files.error.on_full_wait"),
        Some(&Value::Seconds(0.2))
    );
    let keys_of = |file: &str| {
        let keys = effective.entries.iter().filter(|entry| {
            entry
                .key
                .0
                .starts_with(&["files".to_owned(), file.to_owned()])
        });
        keys.map(|entry| entry.key.0[2..].join("."))
            .collect::<Vec<_>>()
    };
    assert!(keys_of("db").len() > 15);
    assert_eq!(keys_of("db"), keys_of("main"));
}

/// A variable that nobody knows may be another version's: it is named, with the nearest known one, and refused nowhere.
#[test]
fn an_unknown_variable_is_a_note() {
    let effective = load_text("", &[("LOGBOOM_LEVL", "info")], &[]);
    assert_eq!(
        effective.notes[0].to_string(),
        "environment: `LOGBOOM_LEVL` is no variable of the configuration; did you mean LOGBOOM_LEVEL?"
    );
}

#[test]
fn a_rotation_of_standard_error_is_a_note() {
    let effective = load_text("[files.main]\nrotate = { size = \"1 MB\" }\n", &[], &[]);
    let note = effective.notes[0].to_string();
    assert!(
        note.contains("l.toml:2: `files.main.rotate.size` has no effect, since the path is `-`"),
        "{note}"
    );
    let effective = load_text(
        "[files.main]\npath = \"a\"\nrotate = { size = \"1 MB\" }\n",
        &[],
        &[],
    );
    assert!(effective.notes.is_empty(), "{:?}", effective.notes);
}

/// An access log is wanted at each level, unless somebody says otherwise.
#[test]
fn access_records_with_a_file_have_a_level_of_their_own() {
    let text = "level = \"warning\"\n[files.access]\npath = \"a.log\"\n";
    let effective = load_text(text, &[], &[]);
    check(
        &effective,
        "levels.\"gunicorn.access\"",
        "\"info\"",
        "default",
    );
    check(
        &effective,
        "levels.\"logboom.access\"",
        "\"info\"",
        "default",
    );
    let effective = load_text(text, &[("LOGBOOM_LEVELS", "gunicorn=error")], &[]);
    assert_eq!(effective.value("levels.\"gunicorn.access\""), None);
    check(
        &effective,
        "levels.\"logboom.access\"",
        "\"info\"",
        "default",
    );
    let effective = load_text("level = \"warning\"\n", &[], &[]);
    assert!(
        !effective
            .entries
            .iter()
            .any(|entry| entry.key.0[0] == "levels")
    );
}

#[test]
fn destinations_have_all_their_keys_and_variables_of_their_own() {
    let text = "[ship.central]\nto = \"relp://logs:2514\"\nspool = { bytes = \"1 GB\" }\n";
    let env = [
        ("LOGBOOM_SHIP_CENTRAL_LEVEL", "warning"),
        ("LOGBOOM_SHIP_OTHER_TO", "unix:/dev/log"),
        ("LOGBOOM_SHIP_OTHER_SYSLOG_APP_NAME", "shop"),
    ];
    let effective = load_text(text, &env, &[]);
    check(
        &effective,
        "ship.central.to",
        "\"relp://logs:2514\"",
        "l.toml:2",
    );
    check(
        &effective,
        "ship.central.spool.bytes",
        "\"1 GB\"",
        "l.toml:3",
    );
    check(
        &effective,
        "ship.central.spool.full",
        "\"oldest\"",
        "default",
    );
    check(
        &effective,
        "ship.central.level",
        "\"warning\"",
        "environment LOGBOOM_SHIP_CENTRAL_LEVEL",
    );
    check(
        &effective,
        "ship.other.syslog.app_name",
        "\"shop\"",
        "environment LOGBOOM_SHIP_OTHER_SYSLOG_APP_NAME",
    );
    let nobody = load_text("", &[], &[]);
    let shipped = nobody
        .entries
        .iter()
        .filter(|entry| entry.key.0[0] == "ship");
    assert_eq!(shipped.count(), 0);
}
