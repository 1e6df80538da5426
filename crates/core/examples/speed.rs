//! How long one call takes: a quick look beside one `write(2)` (the real comparison is `cargo xtask bench`).
//!
//! ```sh
//! cargo run -p logboom --release --example speed -- /tmp/speed
//! ```

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use logboom::{Log, LogOptions, Severity};

const RECORDS: u32 = 3_000;
const ROUNDS: usize = 81;

fn main() {
    let given = std::env::args().nth(1);
    let fresh = std::env::temp_dir().join(format!("logboom-speed-{}", std::process::id()));
    let directory = given.clone().unwrap_or_else(|| fresh.display().to_string());
    std::fs::create_dir_all(&directory).expect("the directory can be made");
    let line = [&[b'x'; 119][..], b"\n"].concat();
    let plain = format!("{directory}/plain.log");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&plain)
        .expect("the file can be made");
    let open = |name: &str, watch| {
        let options = LogOptions {
            watch,
            ..LogOptions::default()
        };
        Log::open(format!("{directory}/{name}"), &options).expect("the log can be opened")
    };
    let (unwatched, watched) = (open("unwatched.log", false), open("watched.log", true));
    let mut ratios: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let write = per_call(|| file.write_all(&line).expect("the disk has room"));
        let with_stat = per_call(|| {
            file.write_all(&line).expect("the disk has room");
            drop(std::fs::metadata(&plain));
        });
        ratios[0].push(per_call(|| _ = unwatched.publish(Severity::INFO, &line)) / write);
        ratios[1].push(per_call(|| _ = watched.publish(Severity::INFO, &line)) / with_stat);
    }
    let [unwatched, watched] = ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        format!(
            "{:.2} (best {:.2}, worst {:.2})",
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1]
        )
    });
    println!("unwatched {unwatched} of a write; watched {watched} of a write and a stat");
    if given.is_none() {
        let _ = std::fs::remove_dir_all(&fresh);
    }
}

fn per_call(mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..RECORDS).for_each(|_| call());
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(RECORDS)
}
