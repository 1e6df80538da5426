//! A worker that ends by `exit(3)` with its logs open leaves nothing in shared memory that nobody comes for: its own thread is
//! not killed in the middle of a write, and what it published is in the files.

mod support;

use logboom::{LogOptions, Severity};
use support::machine::{child, end_well, secs};
use support::{Place, open, read_strictly, record};

/// Rotations leave work to the thread of each worker, which takes the lease for it while the worker ends.
#[test]
fn workers_that_exit_while_their_thread_drains_leave_nothing_behind() {
    const RECORDS: u64 = 150;
    let rounds = if std::env::var_os("LOGBOOM_FULL").is_some() {
        2_000
    } else {
        150
    };
    for round in 0..rounds {
        let place = Place::new();
        let options = LogOptions {
            max_bytes: 20_000,
            backup_count: 100,
            ..place.options()
        };
        // The parent publishes nothing, and so drains nothing.
        let log = open(&place.log(), &options);
        let write = |series: u64| {
            for number in 1..=RECORDS {
                let len = (number * 7919 + round * 31) % 1_400;
                let line = record(series, number, len as usize);
                let _ = log.publish(Severity::INFO, line.as_bytes());
            }
        };
        let work = |worker: u64| {
            std::thread::scope(|threads| {
                threads.spawn(|| write(2 * worker));
                threads.spawn(|| write(2 * worker + 1));
            });
            std::process::exit(0)
        };
        let workers: Vec<_> = (0..2).map(|worker| child(|| work(worker))).collect();
        for worker in workers {
            end_well(worker, secs(20));
        }
        let acked = (0..4).map(|series| (series, RECORDS)).collect();
        read_strictly(&place.content()).assert_complete(&acked, &[]);
    }
}
