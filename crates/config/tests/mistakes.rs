//! Every kind of mistake is refused with its line, its key, what is wrong and what to write instead; and all at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logboom_config::{Effective, Problem, load};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |&(name, text): &(&str, &str)| (name.to_owned(), text.to_owned());
    pairs.iter().map(pair).collect()
}

fn load_text(
    text: &[u8],
    env: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Effective, Vec<Problem>> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("logboom.toml");
    std::fs::write(&path, text).unwrap();
    let mut loaded = load(Some(&path), &map(env), &map(flags));
    if let Err(problems) = &mut loaded {
        for problem in problems {
            problem.file = problem
                .file
                .replace(&format!("{}/", folder.path().display()), "");
        }
    }
    loaded
}

/// `text` has exactly the mistakes `expected`: "line: key: a part of what is said".
fn check(text: &str, expected: &[(usize, &str, &str)]) {
    let problems = load_text(text.as_bytes(), &[], &[]).expect_err(text);
    let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), expected.len(), "{text}\n{found:#?}");
    for (problem, (line, key, part)) in problems.iter().zip(expected) {
        assert_eq!(
            (problem.line, problem.key.as_str()),
            (Some(*line), *key),
            "{text}\n{found:#?}"
        );
        let said = problem.to_string();
        assert!(said.contains(part), "{part}: {said}");
        assert!(
            said.starts_with(&format!("logboom.toml:{line}: ")),
            "{said}"
        );
        assert!(!problem.remedy.is_empty(), "{said}");
    }
}

#[test]
fn a_destination_needs_an_address_that_can_be_one() {
    check(
        "[ship.a]\nlevel = \"info\"\n",
        &[(1, "ship.a", "has no address")],
    );
    for wrong in [
        "logs.example.com:514",
        "tcp:logs:514",
        "relp://logs",
        "tcp://",
        "tcp://[::1",
        "tcp://logs:",
        "tcp://logs:0",
        "tcp://logs:70000",
        "tcp://user@logs:514",
        "tcp://logs:514/x",
        "tcp://::1:514",
        "ftp://logs:21",
        "unix:dev/log",
        "relp+tls://a b:1",
        "",
    ] {
        let text = format!("[ship.a]\nto = \"{wrong}\"\n");
        check(&text, &[(2, "ship.a.to", "write an address such as")]);
    }
    for right in [
        "unix:/dev/log",
        "unix:///dev/log",
        "udp://127.0.0.1:514",
        "tcp://logs",
        "tls://[::1]",
        "relp+tls://[::1]:2514",
        "tls://logs.example.com:6514",
    ] {
        let text = format!("[ship.a]\nto = \"{right}\"\n");
        assert!(load_text(text.as_bytes(), &[], &[]).is_ok(), "{right}");
    }
}

#[test]
fn what_a_destination_cannot_use_is_refused() {
    let with = |rest: &str| format!("[ship.a]\nto = \"tcp://logs:514\"\n{rest}\n");
    check(
        &with("tls.ca = \"ca.pem\""),
        &[(
            3,
            "ship.a.tls.ca",
            "has no effect: the address is one without TLS",
        )],
    );
    check(
        &with("spool.wait = 1"),
        &[(
            3,
            "ship.a.spool.wait",
            "has no effect with this `spool.full`",
        )],
    );
    check(
        &with("retry = { first = 60, most = 30 }"),
        &[(3, "ship.a.retry.first", "is longer than `retry.most`")],
    );
    check(
        &with("syslog.facility = \"local8\""),
        &[(3, "ship.a.syslog.facility", "is \"local0\" meant?")],
    );
    check(
        &with("syslog.app_name = \"my app\""),
        &[(3, "ship.a.syslog.app_name", "printable ASCII")],
    );
    check(
        "[ship.a]\nto = \"tls://logs:6514\"\ntls.key = \"a.key\"\n",
        &[(3, "ship.a.tls.key", "has no certificate")],
    );
    check(
        "[ship.A]\nto = \"tcp://logs:514\"\n",
        &[(1, "ship.A", "cannot be called \"A\"")],
    );
}

#[test]
fn unknown_keys_name_the_nearest() {
    check("levl = \"info\"\n", &[(1, "levl", "did you mean `level`?")]);
    check(
        "\n[format]\n\nknd = \"json\"\n",
        &[(4, "format.knd", "did you mean `format.kind`?")],
    );
    check(
        "[format]\nquux = 1\n",
        &[(2, "format.quux", "there are `kind`, `colour`, `utc`")],
    );
    check(
        "[fils.main]\npath = \"-\"\n",
        &[(1, "fils", "did you mean `files`?")],
    );
    check(
        "[sip.syslog]\nto = 1\n",
        &[(1, "sip", "did you mean `ship`?")],
    );
    check(
        "[files.main]\nrotate = { siz = \"1 MB\" }\n",
        &[(
            2,
            "files.main.rotate.siz",
            "did you mean `files.main.rotate.size`?",
        )],
    );
    check(
        "[files.main.rotate]\nat = \"03:00\"\nwhn = \"midnight\"\n",
        &[
            (
                3,
                "files.main.rotate.whn",
                "did you mean `files.main.rotate.when`?",
            ),
            (2, "files.main.rotate.at", "has no effect"),
        ],
    );
}

#[test]
fn wrong_values_say_what_to_write() {
    check(
        "level = \"inof\"\n",
        &[(1, "level", "cannot be \"inof\" (is \"info\" meant?)")],
    );
    check("level = 0\n", &[(1, "level", "a number from 1 to 1000")]);
    check(
        "[levels]\na = \"info\"\n\"shop.db\" = \"loud\"\n",
        &[(3, "levels.\"shop.db\"", "write \"trace\", \"debug\"")],
    );
    check(
        "[levels]\nshop.db = 3.5\n",
        &[(2, "levels.\"shop.db\"", "cannot be 3.5")],
    );
    check(
        "[format]\nkind = \"jsn\"\n",
        &[(
            2,
            "format.kind",
            "cannot be \"jsn\" (is \"json\" meant?); write \"text\", \"json\" or \"logfmt\"",
        )],
    );
    check(
        "[format]\nutc = \"yes\"\n",
        &[(2, "format.utc", "write true or false")],
    );
    check(
        "[files.main]\nrotate.size = \"100 XB\"\n",
        &[(2, "files.main.rotate.size", "a size such as \"100 MB\"")],
    );
    check(
        "[files.main]\nrotate.when = \"noon\"\n",
        &[(2, "files.main.rotate.when", "\"midnight\"")],
    );
    check(
        "[files.main]\nrotate = { when = \"midnight\", at = \"25:00\" }\n",
        &[(2, "files.main.rotate.at", "\"03:00\"")],
    );
    check(
        "[files.main]\nrotate = { when = \"H\", interval = 0 }\n",
        &[(2, "files.main.rotate.interval", "from 1 to")],
    );
    check(
        "[files.main]\nkeep = { age = \"2 moons\" }\n",
        &[(2, "files.main.keep.age", "\"14 days\"")],
    );
    check(
        "[files.main]\nmode = \"rw\"\n",
        &[(2, "files.main.mode", "\"0640\"")],
    );
    check(
        "[files.main]\npath = 7\n",
        &[(2, "files.main.path", "cannot be 7; write a path")],
    );
    check(
        "[files.main]\npath = \"\"\n",
        &[(2, "files.main.path", "write a path")],
    );
    check(
        "[blackbox]\nrecords = -1\n",
        &[(2, "blackbox.records", "from 0 to")],
    );
    check(
        "[blackbox]\nrecords = 99999999999999999999\n",
        &[(2, "blackbox.records", "from 0 to")],
    );
    check(
        "[recorder]\nlevel = true\n",
        &[(2, "recorder.level", "\"off\"")],
    );
    check(
        "[capture]\nbytes = 1979-05-27\n",
        &[(2, "capture.bytes", "cannot be 1979-05-27")],
    );
}

#[test]
fn an_item_of_a_list_has_its_own_line() {
    check(
        "[redact]\npatterns = [\n  'a+',\n  '(b',\n]\n",
        &[(4, "redact.patterns", "has the expression \"(b\"")],
    );
    check(
        "[redact]\nnames = [\n  'a',\n  7,\n]\n",
        &[(4, "redact.names", "no text")],
    );
    check(
        "[redact]\nnames = \"password\"\n",
        &[(2, "redact.names", "write a list of names")],
    );
    check(
        "[redact]\npatterns = ['(?=x)']\n",
        &[(2, "redact.patterns", "look-around")],
    );
    check(
        "[request]\nid_headers = [\"X Request\"]\n",
        &[(2, "request.id_headers", "no name of a header")],
    );
    check(
        "[access]\nquiet = [\"healthz\"]\n",
        &[(2, "access.quiet", "does not begin with `/`")],
    );
}

#[test]
fn tables_and_values_are_not_confused() {
    check(
        "format = \"json\"\n",
        &[(
            1,
            "format",
            "write `[format]` and below it keys such as `kind`",
        )],
    );
    check(
        "files = [\"a.log\"]\n",
        &[(1, "files", "is a table, not a list")],
    );
    check("[level]\na = 1\n", &[(1, "level", "cannot be a table")]);
    check(
        "[files.main]\nrotate = \"100 MB\"\n",
        &[(2, "files.main.rotate", "is a table, not \"100 MB\"")],
    );
    check(
        "[levels]\n\n[[files]]\npath = \"a\"\n",
        &[(3, "files", "is a table, not a list")],
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    check(
        "\n[files.access]\nalone = false\n",
        &[(
            2,
            "files.access",
            "has no path; write path = \"logs/access.log\"",
        )],
    );
    check(
        "[files.main]\ncomponents = [\"a\"]\n",
        &[(
            2,
            "files.main.components",
            "`main` takes what no other file takes",
        )],
    );
    check(
        "[files.a]\npath = \"a.log\"\nalone = true\n",
        &[(3, "files.a.alone", "leaves nothing for `main`")],
    );
    check(
        "[files.main]\npath = \"a.log\"\n[files.b]\npath = \"./a.log\"\n",
        &[(4, "files.b.path", "is the path of `files.main` too")],
    );
    check(
        "[files.Bad-Name]\npath = \"a.log\"\n",
        &[(1, "files.Bad-Name", "lower-case letters")],
    );
    check(
        "[files.main]\nrotate = { at = \"03:00\" }\n",
        &[(2, "files.main.rotate.at", "has no effect")],
    );
    check(
        "[files.main]\nrotate = { interval = 2 }\n",
        &[(2, "files.main.rotate.interval", "without `rotate.when`")],
    );
    check(
        "[files.main]\nrotate.size = 1000\nkeep.count = 0\n",
        &[(3, "files.main.keep.count", "no name for an archive")],
    );
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    check(
        "level = \"info\"\nlevel = \"debug\"\n",
        &[(2, "", "duplicate key")],
    );
    check("level = info\n", &[(1, "", "is no TOML here")]);
    check(
        "a = 1\n[format\nkind = \"text\"\n",
        &[(2, "", "is no TOML here")],
    );
    let wrong = load_text(b"level = \"info\"\n# \xff\n", &[], &[]).unwrap_err();
    assert_eq!(
        (wrong[0].line, wrong[0].text.as_str()),
        (Some(2), "is not UTF-8 here")
    );
    let long = vec![b'\n'; (1 << 20) + 1];
    assert!(
        load_text(&long, &[], &[]).unwrap_err()[0]
            .text
            .contains("longer than 1 MiB")
    );
}

/// One run tells everything: the file in the order of its lines, then variables, then flags.
#[test]
fn all_mistakes_are_told_at_once() {
    let problems = load_text(
        b"[zz]\n[format]\nkind = 1\n[capture]\nbytes = \"x\"\n",
        &[
            ("LOGBOOM_LEVEL", "loud"),
            ("LOGBOOM_LEVELS", "shop"),
            ("LOGBOOM_FILES_MAIN_ROTATE_SIZE", "much"),
        ],
        &[
            ("--log-level", "loud"),
            ("files.main.pth", "x"),
            ("a b", "c"),
        ],
    )
    .unwrap_err();
    let places: Vec<_> = problems
        .iter()
        .map(|problem| (problem.file.as_str(), problem.line, problem.key.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            ("logboom.toml", Some(1), "zz"),
            ("logboom.toml", Some(3), "format.kind"),
            ("logboom.toml", Some(5), "capture.bytes"),
            ("environment", None, "LOGBOOM_FILES_MAIN_ROTATE_SIZE"),
            ("environment", None, "LOGBOOM_LEVEL"),
            ("environment", None, "LOGBOOM_LEVELS"),
            ("flags", None, "--log-level"),
            ("flags", None, "a b"),
            ("flags", None, "files.main.pth"),
        ]
    );
    assert_eq!(
        problems[4].to_string(),
        "environment: `LOGBOOM_LEVEL` cannot be \"loud\"; write \"trace\", \"debug\", \"info\", \"warning\", \"error\", \"critical\", \"all\", or a number from 1 to 1000"
    );
}

/// A mistake in the file stays one when a later layer would win.
#[test]
fn an_overridden_mistake_is_still_one() {
    let problems =
        load_text(b"level = \"loud\"\n", &[("LOGBOOM_LEVEL", "debug")], &[]).unwrap_err();
    assert_eq!(problems[0].line, Some(1));
}

#[test]
fn a_named_file_must_be_there() {
    for (path, env) in [
        (Some(PathBuf::from("/nonesuch/x.toml")), map(&[])),
        (None, map(&[("LOGBOOM_CONFIG", "/nonesuch/x.toml")])),
    ] {
        let problems = load(path.as_deref(), &env, &map(&[])).unwrap_err();
        assert_eq!(
            (problems[0].file.as_str(), problems[0].line),
            ("/nonesuch/x.toml", None)
        );
        assert!(
            problems[0].to_string().contains("cannot be read"),
            "{}",
            problems[0]
        );
    }
}
