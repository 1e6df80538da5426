//! docs/configuration.md says what the schema says: its table is made from it, and its examples can be loaded.

use logboom_config::schema::KEYS;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

fn rows() -> String {
    let row = |key: &logboom_config::schema::Key| {
        let default = match key.default {
            "" => String::new(),
            words if words.contains(' ') && !words.starts_with(['"', '[']) => words.to_owned(),
            value => format!("`{value}`"),
        };
        let name = key.name.replace('*', "NAME");
        format!("| `{name}` | {default} | {} |\n", key.meaning)
    };
    KEYS.iter().map(row).collect()
}

#[test]
fn the_table_is_that_of_the_schema() {
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    let (_, rest) = page.split_once("<!-- keys -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- /keys -->").unwrap();
    let expected = format!("| key | default | meaning |\n|---|---|---|\n{}", rows());
    assert!(
        table == expected,
        "write this table into docs/configuration.md:\n{expected}"
    );
}

#[test]
fn its_example_can_be_loaded() {
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    let example = page
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logboom.toml");
    std::fs::write(&path, example.unwrap()).unwrap();
    let loaded = logboom_config::load(Some(&path), &Default::default(), &Default::default());
    assert!(loaded.is_ok(), "{loaded:#?}");
}
