//! Draining for everybody: a thread that holds a domain's lease while there is traffic.
//!
//! While records come, the relay drains, and publishing costs the workers a memory copy. When few come, it lets go of the lease: the
//! workers then drain for each other, each record is in its file when its call returns, and an idle relay costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logboom::Log;

/// How often it is looked whether there is traffic.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Records within that time that are traffic.
const BUSY_RECORDS: u64 = 40;
/// How long without traffic the lease is kept.
const QUIET: Duration = Duration::from_millis(200);

/// The thread, until it is dropped.
pub struct Serving {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Begins to serve the domain of a log.
    pub fn begin(log: Arc<Log>) -> Serving {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = std::thread::Builder::new()
            .name("drain".to_owned())
            .spawn(move || serve(&log, &told))
            .ok();
        Serving { over, thread }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(log: &Log, over: &AtomicBool) {
    let mut before = log.traffic();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
        let now = log.traffic();
        if now.saturating_sub(before) >= BUSY_RECORDS {
            serve_while_busy(log, over);
        }
        before = log.traffic();
    }
}

fn serve_while_busy(log: &Log, over: &AtomicBool) {
    let (mut looked, mut quiet_since) = (Instant::now(), Instant::now());
    let mut before = log.traffic();
    // Somebody who holds the lease for long is left alone.
    let _ = log.serve(|| {
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            let now = log.traffic();
            if now.saturating_sub(before) >= BUSY_RECORDS {
                quiet_since = looked;
            }
            before = now;
        }
        !over.load(Ordering::Relaxed) && quiet_since.elapsed() < QUIET
    });
}
