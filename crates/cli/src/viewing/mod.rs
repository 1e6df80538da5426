//! What the verbs that look into a running domain share: `debug`, `level`, `tail`, `rewind` and `top`.
//!
//! They only map the state: no worker waits for them, and a rule that one of them holds ends with its process, however that
//! ends. What others wrote (records, paths, names) is escaped before it reaches a terminal. Results go to standard
//! output, what is said about them (how many were missed, how long a rule still lasts) to standard error.

pub(crate) mod conditions;
pub(crate) mod filters;
pub(crate) mod keys;
pub(crate) mod levels;
pub(crate) mod merge;
pub(crate) mod past;
pub(crate) mod picture;
pub(crate) mod places;
pub(crate) mod printing;
pub(crate) mod ruling;
pub(crate) mod screen;
pub(crate) mod seen;
pub(crate) mod spans;
pub(crate) mod stream;
pub(crate) mod watch;
pub(crate) mod who;
