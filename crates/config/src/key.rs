//! The name of a value: its segments, since the name of a component has dots of its own (`levels."shop.db"`).

use std::fmt;

/// A dotted key. [`fmt::Display`] writes it as TOML does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(pub Vec<String>);

impl KeyPath {
    /// Reads a key as TOML writes it: segments with dots between, quoted where they hold other characters.
    ///
    /// # Errors
    /// It is no key; the text says so.
    pub fn parse(text: &str) -> Result<KeyPath, String> {
        let refused = || format!("`{text}` is no key");
        let line = format!("{text} = 0");
        let table = toml::de::DeTable::parse(&line).map_err(|_| refused())?;
        let mut segments = Vec::new();
        let mut table = table.into_inner();
        loop {
            if table.len() != 1 {
                return Err(refused());
            }
            let (name, value) = table.into_iter().next().ok_or_else(refused)?;
            segments.push(name.into_inner().into_owned());
            let end = value.span().end;
            match value.into_inner() {
                toml::de::DeValue::Table(below) => table = below,
                _ if end == line.len() => return Ok(KeyPath(segments)),
                _ => return Err(refused()),
            }
        }
    }

    pub(crate) fn of(segments: &[&str]) -> KeyPath {
        KeyPath(segments.iter().map(|&segment| segment.to_owned()).collect())
    }

    pub(crate) fn below(&self, segment: &str) -> KeyPath {
        let mut segments = self.0.clone();
        segments.push(segment.to_owned());
        KeyPath(segments)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if is_bare(segment) {
                f.write_str(segment)?;
            } else {
                f.write_str(&crate::value::quoted(segment))?;
            }
        }
        Ok(())
    }
}

fn is_bare(segment: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !segment.is_empty() && segment.chars().all(bare)
}

#[cfg(test)]
mod tests {
    use super::KeyPath;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in [
            "level",
            "files.main.path",
            "levels.\"shop.db\"",
            "levels.\"\"",
            "levels.\"a\\\"b\"",
        ] {
            assert_eq!(KeyPath::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            KeyPath::parse("levels.'shop.db'").unwrap().0,
            ["levels", "shop.db"]
        );
        for text in ["", "a.", "a b", "a=1\nb", "a = 1 #", "[a]"] {
            assert!(KeyPath::parse(text).is_err(), "{text}");
        }
    }
}
