//! Drives an HTTP server over a few connections, and says how many requests a second it answered.
//!
//! A process of its own, which `python/server.py` starts for each turn. It takes a small part of the time that a server written in
//! Python takes: two that wait for each other in turn would be measured together, and the faster of two servers could not be told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ureq::Agent;

const CONNECTIONS: usize = 4;

/// Requests a second that the server on this port of the loopback answered.
pub fn drive(port: u16, path: &str, seconds: f64) -> Result<f64> {
    let address = format!("http://127.0.0.1:{port}{path}");
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(seconds);
    let answered: Result<usize> = std::thread::scope(|scope| {
        let drivers: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| ask_until(&address, until)))
            .collect();
        drivers
            .into_iter()
            .map(|driver| driver.join().expect("a driver does not panic"))
            .sum()
    });
    Ok(answered? as f64 / begun.elapsed().as_secs_f64())
}

/// Asks again and again over one connection, which stays where the server lets it.
fn ask_until(address: &str, until: Instant) -> Result<usize> {
    let agent: Agent = Agent::config_builder()
        .max_idle_connections_per_host(1)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut answered = 0;
    while Instant::now() < until {
        let mut answer = agent
            .get(address)
            .call()
            .with_context(|| format!("failed to ask `{address}`"))?;
        let body = answer.body_mut().read_to_vec()?;
        ensure!(!body.is_empty(), "`{address}` answered nothing");
        answered += 1;
    }
    Ok(answered)
}
