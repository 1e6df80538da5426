//! The table that ends the demo.

use super::scene::ActResult;
use super::shipping::Shipped;
use crate::screen::{bad, good, odd, strong};

const LABEL_CHARS: usize = 38;
const COLUMN_CHARS: usize = 20;

/// Prints both accounts side by side.
pub fn print(ours: &ActResult, standard: &ActResult) {
    println!("{}", strong(&row("", "logboom", "standard library")));
    println!("{}", "-".repeat(LABEL_CHARS + 2 * COLUMN_CHARS));
    let figure = |label: &str, of: &dyn Fn(&ActResult) -> usize| {
        println!("{}", row(label, &grouped(of(ours)), &grouped(of(standard))));
    };
    figure("requests served", &|act| act.served.answered);
    figure("  errors of the failing endpoint", &|act| {
        act.served.failed_as_meant
    });
    figure("requests cut off by the kill", &|act| act.served.cut_off);
    figure("requests answered wrongly", &|act| act.served.wrong);
    figure("requests a second", &|act| per_second(act));
    figure("workers killed in mid-request", &|act| {
        usize::from(act.killed_in_the_middle)
    });
    figure("rotations by hand", &|act| act.rotations_by_hand as usize);
    figure("log files", &|act| act.count.files);
    figure("kilobytes of log", &|act| (act.count.bytes / 1000) as usize);
    println!("{}", "-".repeat(LABEL_CHARS + 2 * COLUMN_CHARS));
    figure("records acknowledged", &|act| act.count.acknowledged);
    figure("records found", &|act| act.count.found);
    let must_be_none = |label: &str, of: &dyn Fn(&ActResult) -> usize| {
        let (left, right) = (of(ours), of(standard));
        let left = (if left == 0 { good } else { bad })(&cell(&grouped(left)));
        let right = (if right == 0 { str::to_owned } else { odd })(&cell(&grouped(right)));
        println!("{label:<LABEL_CHARS$}{left}{right}");
    };
    must_be_none("records lost", &|act| act.count.lost);
    must_be_none("records duplicated", &|act| act.count.duplicated);
    must_be_none("records torn", &|act| act.count.torn);
    let shown = |count: usize| {
        let cell = cell(&grouped(count));
        if count == 0 { cell } else { odd(&cell) }
    };
    println!(
        "{:<LABEL_CHARS$}{}{}",
        "records in a file rotated out before",
        shown(ours.count.misplaced),
        shown(standard.count.misplaced)
    );
    figure("found, killed before acknowledged", &|act| {
        act.count.cut_off
    });
    println!("{}", "-".repeat(LABEL_CHARS + 2 * COLUMN_CHARS));
    let only_ours = |label: &str, value: String, is_right: bool| {
        let left = (if is_right { good } else { bad })(&cell(&value));
        println!("{label:<LABEL_CHARS$}{left}{}", cell("-"));
    };
    if let Some(proof) = &ours.proof {
        let access = &proof.access;
        figure("errors with traceback in error.log", &|act| {
            act.count.errors
        });
        only_ours(
            "requests with access record",
            grouped(access.found),
            access.found == ours.served.answered,
        );
        only_ours(
            "requests without, or with two",
            grouped(access.missing + access.doubled),
            access.missing + access.doubled == 0,
        );
        only_ours(
            "access records marked unfinished",
            grouped(access.unfinished),
            access.unfinished_victim == 1,
        );
        let detail = &proof.detail;
        only_ours(
            "lines of one request by `debug`",
            grouped(detail.shown.len()),
            detail.is_right(),
        );
        only_ours(
            "  of others, or in a file",
            grouped(detail.of_others() + proof.detail_in_files),
            detail.of_others() + proof.detail_in_files == 0,
        );
        only_ours(
            "black boxes naming the request",
            grouped(proof.black_boxes),
            proof.black_boxes == 1 && proof.is_shown,
        );
        let verified = if proof.is_verified {
            "whole"
        } else {
            "NOT WHOLE"
        };
        only_ours("logboom verify", verified.to_owned(), proof.is_verified);
    }
    if let Some(shipped) = &ours.shipped {
        shipping_rows(shipped, &only_ours);
    }
}

/// What the syslog server has, which was killed meanwhile.
fn shipping_rows(shipped: &Shipped, row: &dyn Fn(&str, String, bool)) {
    row(
        "syslog server killed in the traffic",
        grouped(shipped.kills as usize),
        shipped.kills > 0,
    );
    row(
        "records shipped to it",
        grouped(shipped.received),
        shipped.received > 0,
    );
    row(
        "  of these again, told by their id",
        grouped(shipped.again),
        true,
    );
    row(
        "records missing there",
        grouped(shipped.missing),
        shipped.missing == 0 && shipped.is_verified,
    );
}

fn per_second(act: &ActResult) -> usize {
    (act.served.answered as f64 / act.served.took.as_secs_f64().max(0.001)) as usize
}

fn row(label: &str, left: &str, right: &str) -> String {
    format!("{label:<LABEL_CHARS$}{}{}", cell(left), cell(right))
}

fn cell(text: &str) -> String {
    format!("{text:>COLUMN_CHARS$}")
}

/// 1234567 as `1,234,567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
