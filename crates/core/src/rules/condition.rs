//! What a request must be like: `path^=/checkout`, `status=500`, `header.x-debug=1`.
//!
//! ```text
//! condition = FIELD OP VALUE          white space around each does not count
//! FIELD     = path | method | id | user | client | endpoint | status | header.NAME
//! OP        = "="  is     "!="  is not     "^="  begins with     "*="  contains
//! ```
//!
//! The only place that reads conditions: the command, workers in Rust and workers in Python have them from here, and the
//! cases in `tests/conditions.json` say for all of them what holds. A field that is not known (a status before the answer, a
//! header when nobody can be asked any more) makes no condition hold; one that is known to be absent is an empty text.

use std::fmt;
use std::str::FromStr;

/// What is asked of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The path without the query.
    Path,
    /// The method, as it was sent.
    Method,
    /// The request's id.
    Id,
    /// Who is logged in.
    User,
    /// The client's address.
    Client,
    /// The route that answers.
    Endpoint,
    /// The status of the answer as a number, once it is known.
    Status,
    /// A header, by its name in small letters.
    Header(String),
}

const HEADER: &str = "header.";
const FIELDS: [(&str, Field); 7] = [
    ("path", Field::Path),
    ("method", Field::Method),
    ("id", Field::Id),
    ("user", Field::User),
    ("client", Field::Client),
    ("endpoint", Field::Endpoint),
    ("status", Field::Status),
];

impl Field {
    fn named(name: &str) -> Option<Field> {
        let header = name.strip_prefix(HEADER).filter(|name| !name.is_empty());
        if let Some(header) = header {
            return Some(Field::Header(header.to_owned()));
        }
        let known = FIELDS.iter().find(|(known, _)| *known == name);
        known.map(|(_, field)| field.clone())
    }

    /// The name that a record has it under (docs/context.md).
    pub fn name_in_records(&self) -> String {
        match self {
            Field::Path => "url.path".into(),
            Field::Method => "http.request.method".into(),
            Field::Id => "request_id".into(),
            Field::User => "user.id".into(),
            Field::Client => "client.address".into(),
            Field::Endpoint => "http.route".into(),
            Field::Status => "http.response.status_code".into(),
            Field::Header(name) => format!("http.request.header.{name}"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Field::Header(name) = self {
            return write!(f, "{HEADER}{name}");
        }
        let known = FIELDS.iter().find(|(_, field)| field == self);
        f.write_str(known.map_or("", |(name, _)| name))
    }
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// It is the value.
    Is,
    /// It is anything else.
    IsNot,
    /// It begins with the value.
    Begins,
    /// It contains the value.
    Contains,
}

/// Longer ones first: `!=` ends with `=`.
const OPERATORS: [(&str, Operator); 4] = [
    ("!=", Operator::IsNot),
    ("^=", Operator::Begins),
    ("*=", Operator::Contains),
    ("=", Operator::Is),
];

impl Operator {
    /// As it is written.
    pub fn sign(self) -> &'static str {
        let known = OPERATORS.iter().find(|(_, operator)| *operator == self);
        known.map_or("=", |(sign, _)| sign)
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What it asks about.
    pub field: Field,
    /// How that is compared.
    pub operator: Operator,
    /// With what.
    pub value: String,
}

impl Condition {
    /// The conditions of a rule, one a line.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be read.
    pub fn all_of(text: &str) -> Result<Vec<Condition>, String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(str::parse).collect()
    }

    /// Whether it holds for a request whose field is this. None: that is not known.
    pub fn holds(&self, found: Option<&str>) -> bool {
        found.is_some_and(|found| match self.operator {
            Operator::Is => found == self.value,
            Operator::IsNot => found != self.value,
            Operator::Begins => found.starts_with(&self.value),
            Operator::Contains => found.contains(&self.value),
        })
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Condition, String> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let text = text.trim();
        let end = text.find(|letter| !is_name(letter)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let name = name.to_ascii_lowercase();
        let Some(field) = Field::named(&name) else {
            return Err(format!(
                "there is no field `{name}`; write path, method, id, user, client, endpoint, status or header.NAME, an \
                 operator and a value: path^=/checkout"
            ));
        };
        let rest = rest.trim_start();
        let found = OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)));
        let Some((operator, value)) = found else {
            return Err(format!(
                "behind `{name}` an operator is missing; write = (is), != (is not), ^= (begins with) or *= (contains)"
            ));
        };
        let value = value.trim().to_owned();
        if value.chars().any(char::is_control) {
            return Err("its value has a line break or another control character in it".into());
        }
        if value.is_empty() && matches!(operator, Operator::Begins | Operator::Contains) {
            return Err("without a value it holds for every request".into());
        }
        Ok(Condition {
            field,
            operator,
            value,
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.field, self.operator.sign(), self.value)
    }
}
