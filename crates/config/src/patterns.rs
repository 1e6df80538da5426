//! Patterns of `redact.patterns`, ready to be looked for.
//!
//! Rust's regular expressions look at each byte a bounded number of times, whatever the pattern and the text; there is no
//! text that makes a record take for ever.

use std::borrow::Cow;

use regex::{NoExpand, Regex, RegexSet};

/// Regular expressions; what they match is hidden.
#[derive(Debug, Clone)]
pub struct Patterns {
    /// All at once, to find quickly that none is in a text.
    any: RegexSet,
    each: Vec<Regex>,
}

impl Patterns {
    /// Compiles them. None of them is fine, too: then nothing is hidden.
    ///
    /// # Errors
    /// One is no regular expression, or matches where nothing is; the text says which and what to write.
    pub fn new(patterns: &[String]) -> Result<Patterns, String> {
        let refused = |pattern: &str, error: regex::Error| {
            format!(
                "`{pattern}` is not a pattern: {error}; write it in the syntax of Rust's regex (no look-around, no \
                 back-references)"
            )
        };
        let each = patterns
            .iter()
            .map(|pattern| Regex::new(pattern).map_err(|error| refused(pattern, error)))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(at) = each.iter().position(|pattern| pattern.is_match("")) {
            return Err(format!(
                "`{}` matches where nothing is, so it would hide everything; let it match at least one character (`+` \
                 instead of `*`)",
                patterns[at]
            ));
        }
        let any = RegexSet::new(patterns).map_err(|error| refused("all together", error))?;
        Ok(Patterns { any, each })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// The text with `shown` in the place of whatever matches.
    #[must_use]
    pub fn hide_in<'t>(&self, mut text: Cow<'t, str>, shown: &str) -> Cow<'t, str> {
        if !self.any.is_match(&text) {
            return text;
        }
        for pattern in &self.each {
            if let Cow::Owned(clean) = pattern.replace_all(&text, NoExpand(shown)) {
                text = Cow::Owned(clean);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(patterns: &[&str]) -> Result<Patterns, String> {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect();
        Patterns::new(&patterns)
    }

    #[test]
    fn what_matches_is_hidden_and_the_rest_is_not_copied() {
        let patterns = of(&[r"\d{4,}", "s.cret"]).unwrap();
        assert_eq!(
            patterns.hide_in("pin 12345, secret, 12".into(), "[$0]"),
            "pin [$0], [$0], 12"
        );
        assert!(matches!(
            patterns.hide_in("nothing".into(), "x"),
            Cow::Borrowed(_)
        ));
        let none = of(&[]).unwrap();
        assert!(none.is_empty() && none.hide_in("a".into(), "x") == "a");
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_is_refused() {
        for (pattern, why) in [
            ("(", "is not a pattern"),
            (r"\d*", "matches where nothing is"),
        ] {
            let error = of(&["x", pattern]).unwrap_err();
            assert!(error.contains(pattern) && error.contains(why), "{error}");
        }
    }
}
