//! A log without its domain: for the thread that reads what was printed, for which the domain must not stay, and for a log that is
//! known from the shared table alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Log;
use super::beside::Beside;
use super::ending::Ending;
use super::harvest::Teller;
use crate::domain::Domain;
use crate::files::config::Config;
use crate::format::Encoder;
use crate::options::OnFull;
use crate::recorder;
use crate::state::State;

/// What is needed to make a [`Log`] that writes records of ours.
pub(crate) struct Shadow {
    file: u16,
    path: PathBuf,
    teller: Teller,
    /// Logs of other domains that get copies.
    pub beside: Arc<[Beside]>,
}

impl Shadow {
    /// This log.
    pub fn of(log: &Log) -> Shadow {
        Shadow {
            file: log.file,
            path: log.path.clone(),
            teller: log.teller.clone(),
            beside: log.beside.clone(),
        }
    }

    /// The log of a domain that black boxes are written to; None: no log of it asked for them.
    pub fn of_teller(domain: &Domain) -> Option<Shadow> {
        let state = &domain.state;
        (0..state.files_used()).find_map(|file| {
            let config = Config::load(&state.file_entry(file).config);
            let format = config.format().filter(|_| !config.has_copies())?;
            let teller = Teller {
                encoder: Encoder::new(format),
                records_max: 50,
            };
            Some(Shadow::of_file(state, file, teller))
        })
    }

    /// The logs of a domain that black boxes are copied to; `teller` is the one that tells.
    pub fn of_copies(state: &State, teller: &Teller) -> Vec<Shadow> {
        let files = (0..state.files_used()).filter_map(|file| {
            let config = Config::load(&state.file_entry(file).config);
            let format = config.format().filter(|_| config.has_copies())?;
            let teller = Teller {
                encoder: teller.encoder.clone().with_format(format),
                records_max: teller.records_max,
            };
            Some(Shadow::of_file(state, file, teller))
        });
        files.collect()
    }

    fn of_file(state: &State, file: u16, teller: Teller) -> Shadow {
        Shadow {
            file,
            path: state.file_entry(file).path.to_path(),
            teller,
            beside: Arc::new([]),
        }
    }

    pub fn in_domain(&self, domain: Arc<Domain>) -> Log {
        let place = domain.local().place_if_taken();
        let recording = place.is_some_and(|place| recorder::is_on(&domain.state, place));
        Log {
            domain,
            file: self.file,
            path: self.path.clone(),
            ending: Ending::plain(),
            hooks: AtomicBool::new(false),
            durable: false,
            spool: None,
            on_full: OnFull::Block,
            on_full_wait: Duration::from_millis(200),
            recorder: AtomicBool::new(recording),
            judge: Default::default(),
            teller: self.teller.clone(),
            beside: self.beside.clone(),
            captures: AtomicBool::new(false),
        }
    }
}
