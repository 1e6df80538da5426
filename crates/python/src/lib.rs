//! `logboom._native`: the seam between the interpreter and the crate `logboom`.
//!
//! It decides nothing. It turns Python values into Rust ones (`options`), calls one function, maps the error and
//! releases the interpreter lock for every call that may wait. `python/logboom/_native.pyi` documents what it offers.
//!
//! What always holds: no Python code runs between taking a record's bytes and their publication, and no lock of this
//! module is held while another thread or process is waited for.

mod asctime;
mod buffer;
mod caller;
mod config;
mod direct;
mod encoder;
mod errors;
mod escape;
mod gate;
mod handling;
mod inside;
mod keys;
mod log;
mod logger;
mod method;
mod moment;
mod name;
mod options;
mod recording;
mod redaction;
mod rules;
mod signals;
mod stream;
mod values;

use pyo3::prelude::*;

/// The native half of the package `logboom`; private, used by `logboom.handlers`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::config::{keep_destination, load_config, user_spools};
    #[pymodule_export]
    use super::encoder::Encoder;
    #[pymodule_export]
    use super::escape::escape;
    #[pymodule_export]
    use super::gate::{gate_follow, gate_method};
    #[pymodule_export]
    use super::handling::handle_method;
    #[pymodule_export]
    use super::inside::{forget_threads_inside, threads_inside};
    #[pymodule_export]
    use super::log::Log;
    #[pymodule_export]
    use super::logger::log_method;
    #[pymodule_export]
    use super::recording::Recording;
    #[pymodule_export]
    use super::rules::{read_conditions, read_seconds, severity_of};
    #[pymodule_export]
    use super::signals::{note_signal, signal_arrival};
    #[pymodule_export]
    use super::stream::{Way, publish_brief, stream_handler};
}
