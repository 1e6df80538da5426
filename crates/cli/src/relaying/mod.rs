//! The relay as a program: which spools it serves, the loop that drives them, and how it leaves the terminal.

pub mod comparing;
pub mod destinations;
mod detach;
pub mod following;
mod last_words;
pub(crate) mod opening;
mod run;
mod spools;

pub use detach::detach;
pub use run::{Running, run};
pub use spools::{Spools, root_of};
