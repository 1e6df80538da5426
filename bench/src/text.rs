//! Figures and tables as text.

/// A table in Markdown: head and rows.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        head.join(" | "),
        " --- |".repeat(head.len())
    );
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

/// Records a second.
pub fn rate(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.2} M", value / 1e6)
    } else {
        format!("{:.1} k", value / 1e3)
    }
}

/// A short time, given in nanoseconds.
pub fn ns(value: f64) -> String {
    match value {
        v if v >= 1e6 => ms(v),
        v if v >= 1e4 => format!("{:.1} us", v / 1e3),
        v if v >= 1e2 => format!("{v:.0} ns"),
        v => format!("{v:.1} ns"),
    }
}

/// A longer time, given in nanoseconds.
pub fn ms(value: f64) -> String {
    format!("{:.2} ms", value / 1e6)
}

/// A length.
pub fn bytes(value: f64) -> String {
    if value >= 1_048_576.0 {
        format!("{:.2} MiB", value / 1_048_576.0)
    } else {
        format!("{:.0} KiB", value / 1024.0)
    }
}

/// A ratio.
pub fn times(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_units() {
        assert_eq!([rate(1_234_567.0), rate(12_345.0)], ["1.23 M", "12.3 k"]);
        assert_eq!(
            [ns(31.26), ns(999.6), ns(12_345.0), ns(2.5e6)],
            ["31.3 ns", "1000 ns", "12.3 us", "2.50 ms"]
        );
        assert_eq!([bytes(2048.0), bytes(1_572_864.0)], ["2 KiB", "1.50 MiB"]);
    }

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let text = table(&["a", "b"], [vec!["1".to_owned(), "2".to_owned()]]);
        assert_eq!(text, "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    }
}
