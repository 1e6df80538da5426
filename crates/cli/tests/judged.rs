//! What viewers show of workers that judge each record by the rules in force: what is written and what was asked for, no more.

#[allow(dead_code, reason = "each test program uses its part")]
mod viewing_site;

use std::time::Duration;

use logboom::rules::Facts;
use logboom::{Log, Severity};
use viewing_site::{DEBUG, Site};

/// Serves requests of two kinds, told apart by a header that no record says, with a detail and a written record each, and a
/// detail outside of requests; as a server does, with its recorder on.
fn serve(log: &Log) {
    for number in 0.. {
        let debug = if number % 2 == 0 { "1" } else { "" };
        let header = |name: &str| match name {
            "x-debug" => debug.to_owned(),
            _ => String::new(),
        };
        let id = format!("{number}-{debug}");
        let facts = Facts {
            id: &id,
            path: "/x",
            header: Some(&header),
            ..Facts::default()
        };
        let record = |severity, written, request: Option<&Facts<'_>>, text: &str| {
            let verdict = log.judge("shop.pay", severity, request);
            let id = request.map_or("", |facts| facts.id);
            let line = format!("{text} of {id}");
            log.record_judged(
                verdict,
                written || verdict.kept,
                severity,
                ["shop.pay", id],
                [b"", line.as_bytes()],
            );
        };
        record(DEBUG, false, Some(&facts), "detail");
        record(Severity::INFO, true, Some(&facts), "written");
        record(DEBUG, false, None, "detail");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn shown(site: &Site, arguments: &[&str], enough: usize) -> Vec<String> {
    let view = site.view(arguments);
    viewing_site::wait_until(|| view.out().lines().count() >= enough);
    let (out, error, code) = view.interrupt();
    assert_eq!(code, Some(0), "{error}");
    out.lines().map(str::to_owned).collect()
}

/// `debug` with a condition that no record says anything about shows these requests and no others, written records included.
#[test]
fn debug_shows_the_requests_that_the_worker_chose() {
    let site = Site::new(1 << 20);
    let _worker = site.worker(serve);
    let lines = shown(&site, &["debug", "--where", "header.x-debug=1"], 40);
    assert!(lines.iter().all(|line| line.ends_with("-1")), "{lines:?}");
    for text in ["detail of ", "written of "] {
        assert!(lines.iter().any(|line| line.starts_with(text)), "{lines:?}");
    }
}

/// A rule for one worker shows what that one does, and reveals nothing of another.
#[test]
fn debug_can_be_for_one_worker() {
    let site = Site::new(1 << 20);
    let (meant, _other) = (site.worker(serve), site.worker(serve));
    let pid = meant.pid.to_string();
    let is_of = |line: &String| line.contains(&format!("\"process.pid\":{pid},"));
    let lines = shown(&site, &["debug", "*", "--worker", &pid, "--json"], 40);
    assert!(lines.iter().all(is_of), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("detail of")));

    // What nobody wants of the other one is only recorded, which `tail` leaves out.
    let _debug = site.view(&["debug", "*", "--worker", &pid]);
    let lines = shown(&site, &["tail", "--json"], 60);
    let details = lines.iter().filter(|line| line.contains("detail of"));
    assert!(details.clone().count() > 0 && details.clone().all(is_of));
    assert!(lines.iter().any(|line| !is_of(line)), "{lines:?}");
}

/// `tail` shows what is written and what somebody's rule reveals; what is only recorded when it is asked for.
#[test]
fn tail_leaves_out_what_is_only_recorded() {
    let site = Site::new(1 << 20);
    let _worker = site.worker(serve);
    let lines = shown(&site, &["tail"], 20);
    assert!(
        lines.iter().all(|line| line.starts_with("written")),
        "{lines:?}"
    );

    let lines = shown(&site, &["tail", "--recorded"], 40);
    assert!(lines.iter().any(|line| line == "detail of"), "{lines:?}");

    let _debug = site.view(&["debug", "--where", "header.x-debug=1"]);
    let lines = shown(&site, &["tail"], 40);
    assert!(
        lines.iter().any(|line| line.starts_with("detail")),
        "{lines:?}"
    );
    let (details, _): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("detail"));
    assert!(
        details.iter().all(|line| line.ends_with("-1")),
        "{details:?}"
    );
}

/// One request is followed, from before it begins, through all that it says.
#[test]
fn tail_follows_a_request() {
    let site = Site::new(1 << 20);
    let _worker = site.worker(serve);
    // Two seconds from now or more.
    let lines = shown(&site, &["tail", "--recorded", "--request", "1000-1"], 2);
    assert_eq!(lines, ["detail of 1000-1", "written of 1000-1"]);
}

/// `tail --where` shows the requests that the worker says are meant, though its rule reveals nothing.
#[test]
fn tail_goes_by_the_workers_word() {
    let site = Site::new(1 << 20);
    let _worker = site.worker(serve);
    let lines = shown(&site, &["tail", "--where", "header.x-debug="], 20);
    let meant = |line: &String| line.starts_with("written") && line.ends_with('-');
    assert!(lines.iter().all(meant), "{lines:?}");
}

/// Of what was recorded before, all records of a request tell what it was: `rewind` shows the whole of one that failed.
#[test]
fn rewind_knows_a_request_by_all_its_records() {
    let site = Site::new(64 << 10);
    let record = |id: &str, json: &str, line: &str| {
        let (json, line) = (json.as_bytes(), line.as_bytes());
        site.log.record(DEBUG, "shop.pay", id, json, line);
    };
    for (id, status) in [("a", 503), ("b", 200)] {
        record(id, r#"{"url.path":"/x"}"#, &format!("detail of {id}"));
        let json = format!(r#"{{"url.path":"/x","http.response.status_code":{status}}}"#);
        record(id, &json, &format!("access of {id}"));
    }
    record(
        "c",
        r#"{"url.path":"/x"}"#,
        "detail of c, which has not ended",
    );
    let (out, error, code) = site.run(&["rewind", "--where", "status^=5"]);
    assert_eq!((out.as_str(), code), ("detail of a\naccess of a\n", 0));
    assert_eq!(error, "");
    let (out, error, _) = site.run(&["rewind", "--where", "header.x-debug=1"]);
    assert_eq!(out, "");
    assert!(error.contains("headers are not recorded"), "{error}");
}
