//! The atomics of the shared protocols: the standard library's, or loom's while a model runs.
//!
//! Only `lease`, `seal` and `overwrite` are compiled under loom, since their state machines are what it explores.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
