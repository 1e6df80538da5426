//! What must fit together in `[ship.NAME]`.

use crate::named::Table;
use crate::value::Value;

/// Checks one destination.
pub(crate) fn check(mut ship: Table<'_>) {
    ship.demand(
        "to",
        "has no address",
        "write to = \"relp+tls://logs.example.com:2514\", say, in it".to_owned(),
    );
    check_tls(&mut ship);
    if ship.value("spool.full") != Value::Text("block".into()) {
        ship.refuse(
            "spool.wait",
            "has no effect with this `spool.full`",
            "write full = \"block\", or remove it",
        );
    }
    if ship.value("retry.first") > ship.value("retry.most") {
        ship.refuse(
            "retry.first",
            "is longer than `retry.most`",
            "write a shorter time: pauses grow from the first to the longest",
        );
    }
}

fn check_tls(ship: &mut Table<'_>) {
    let Value::Text(to) = ship.value("to") else {
        return;
    };
    let scheme = to.split(':').next().unwrap_or_default();
    if !scheme.ends_with("tls") {
        for key in ["ca", "certificate", "key", "name", "oldest"] {
            ship.refuse(
                &format!("tls.{key}"),
                "has no effect: the address is one without TLS",
                "write the address with `tls://` or `relp+tls://`, or remove it",
            );
        }
    }
    let has = |key: &str| !matches!(ship.value(key), Value::None(_));
    let (certificate, key) = (has("tls.certificate"), has("tls.key"));
    if certificate && !key {
        ship.refuse(
            "tls.certificate",
            "has no key",
            "write tls.key, the file with its key",
        );
    }
    if key && !certificate {
        ship.refuse(
            "tls.key",
            "has no certificate",
            "write tls.certificate, the file with the certificate",
        );
    }
}
