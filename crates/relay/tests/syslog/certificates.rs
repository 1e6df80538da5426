//! Wrong certificates are refused on both sides, over TLS (rsyslog's `gtls` driver) and RELP with TLS (librelp with OpenSSL).
//!
//! A refusal is trouble in `connect`, before a record is sent. Each test ships with the right certificates, too, so that it is
//! the certificate that is refused.

use std::path::PathBuf;

use logboom_relay::destination::{Destination, Tls, TlsVersion};
use logboom_relay::sink;

use crate::support::certificates::{Authorities, Files};
use crate::support::rsyslog::{self, Rsyslog, Security, Setup};
use crate::support::shipper::Shipper;
use crate::support::{destination, numbered};

const INPUTS: [&str; 2] = ["tls", "relp+tls"];

/// An rsyslog with that certificate, which lets in who has one for the name `client`.
fn rsyslog_with(files: Files, client: Option<&str>) -> Option<Rsyslog> {
    if !rsyslog::is_installed(&["imrelp", "lmnsd_gtls"]) {
        return None;
    }
    let client = client.map(str::to_owned);
    let tls = Some(Security { files, client });
    Some(Rsyslog::start(&Setup {
        tls,
        ..Setup::default()
    }))
}

fn with_tls(rsyslog: &Rsyslog, input: &str, tls: &Tls) -> Destination {
    let mut destination = destination(&rsyslog.address(input));
    destination.tls = tls.clone();
    destination
}

fn tls(ca: PathBuf, client: Option<&Files>) -> Tls {
    Tls {
        ca: Some(ca),
        certificate: client.map(|files| files.certificate.clone()),
        key: client.map(|files| files.key.clone()),
        ..Tls::default()
    }
}

fn assert_shipped(rsyslog: &Rsyslog, input: &str, tls: &Tls) {
    let before = rsyslog.count();
    Shipper::new(&with_tls(rsyslog, input, tls)).ship((0..10).map(numbered));
    rsyslog.wait_for(before + 10);
}

/// The text of the trouble in which connecting ends.
fn refusal(rsyslog: &Rsyslog, input: &str, tls: &Tls) -> String {
    let mut sink = sink::make(&with_tls(rsyslog, input, tls)).unwrap();
    let trouble = sink.connect().expect_err(input);
    assert!(sink.send(&[numbered(0)]).is_err());
    trouble.text
}

/// A server whose certificate is by another authority, for another name, or not valid any more, gets no record.
#[test]
fn we_refuse_servers_that_are_not_the_right_one() {
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let Some(rsyslog) = rsyslog_with(authorities.certify("localhost"), None) else {
        return;
    };
    let Some(expired) = rsyslog_with(authorities.certify_in_the_past("localhost"), None) else {
        return;
    };
    let right = tls(authorities.ca(), None);
    let wrong_name = Tls {
        server_name: "logs.example.com".into(),
        ..right.clone()
    };
    for input in INPUTS {
        assert_shipped(&rsyslog, input, &right);
        let text = refusal(&rsyslog, input, &tls(authorities.rogue_ca(), None));
        assert!(text.contains("invalid peer certificate: "), "{text}");
        let text = refusal(&rsyslog, input, &Tls::default());
        assert!(
            text.contains("UnknownIssuer") || text.contains("the system trusts no authority"),
            "{text}"
        );
        let text = refusal(&rsyslog, input, &wrong_name);
        assert!(
            text.contains("not valid for name \"logs.example.com\""),
            "{text}"
        );
        let text = refusal(&expired, input, &right);
        assert!(text.contains("certificate expired"), "{text}");
        assert!(text.starts_with(&format!(
            "failed to connect to `{}",
            rsyslog.address(input).split("//").next().unwrap()
        )));
    }
    assert_eq!(expired.count(), 0);
}

/// A server that wants certificates gets no record through one that is missing, by another authority, for another name, or not
/// valid any more; and we are told before we send.
#[test]
fn servers_refuse_clients_that_are_not_the_right_ones() {
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let Some(rsyslog) = rsyslog_with(authorities.certify("localhost"), Some("client")) else {
        return;
    };
    let right = authorities.certify("client");
    let wrong = [
        ("no certificate", None),
        ("another authority", Some(authorities.forge("client"))),
        ("another name", Some(authorities.certify("mallory"))),
        ("expired", Some(authorities.certify_in_the_past("client"))),
    ];
    for input in INPUTS {
        for oldest in [TlsVersion::V1_2, TlsVersion::V1_3] {
            let right = Tls {
                oldest,
                ..tls(authorities.ca(), Some(&right))
            };
            assert_shipped(&rsyslog, input, &right);
        }
        let before = rsyslog.count();
        for (what, files) in &wrong {
            let text = refusal(&rsyslog, input, &tls(authorities.ca(), files.as_ref()));
            println!("{input}, {what}: {text}");
        }
        assert_eq!(rsyslog.count(), before);
    }
}

/// The name in the certificate may be another than that in the address, if it is configured.
#[test]
fn the_name_of_a_server_can_be_set() {
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let Some(rsyslog) = rsyslog_with(authorities.certify("logs.example.com"), None) else {
        return;
    };
    let named = Tls {
        server_name: "logs.example.com".into(),
        ..tls(authorities.ca(), None)
    };
    for input in INPUTS {
        assert_shipped(&rsyslog, input, &named);
        let text = refusal(&rsyslog, input, &tls(authorities.ca(), None));
        assert!(text.contains("not valid for name \"localhost\""), "{text}");
    }
}

/// Files that cannot be used are said when the sink is made, with what to do, and without a byte of a key.
#[test]
fn files_that_cannot_be_used_are_said_at_once() {
    let place = tempfile::tempdir().unwrap();
    let authorities = Authorities::new(place.path());
    let client = authorities.certify("client");
    let other = authorities.certify("other");
    let secret = std::fs::read_to_string(&client.key).unwrap();
    let nothing = place.path().join("nothing.pem");
    std::fs::write(&nothing, "nothing\n").unwrap();
    let broken = place.path().join("broken.key");
    std::fs::write(&broken, secret.replace("M", "!")).unwrap();
    let missing = place.path().join("missing.pem");
    let right = tls(client.ca.clone(), Some(&client));
    let cases = [
        (
            Tls {
                ca: Some(missing),
                ..right.clone()
            },
            "missing.pem`: ",
        ),
        (
            Tls {
                ca: Some(nothing.clone()),
                ..right.clone()
            },
            "it has none in PEM format",
        ),
        (
            Tls {
                certificate: None,
                ..right.clone()
            },
            "a key without its certificate",
        ),
        (
            Tls {
                key: None,
                ..right.clone()
            },
            "a certificate without its key",
        ),
        (
            Tls {
                key: Some(nothing),
                ..right.clone()
            },
            "it has none in PEM format",
        ),
        (
            Tls {
                key: Some(broken),
                ..right.clone()
            },
            "it is no sound PEM file",
        ),
        (
            Tls {
                key: Some(other.key),
                ..right.clone()
            },
            "failed to use the certificate",
        ),
        (
            Tls {
                server_name: "not a name".into(),
                ..right.clone()
            },
            "cannot be the name in a certificate",
        ),
    ];
    for (tls, expected) in cases {
        let mut destination = destination("tls://localhost:1");
        destination.tls = tls;
        let text = sink::make(&destination).err().unwrap().text;
        assert!(text.contains(expected), "{text}");
        assert!(secret.lines().all(|line| !text.contains(line)), "{text}");
    }
}
