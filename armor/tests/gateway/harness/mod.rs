//! What the tests stand on. Everything that is started ends with its handle.

pub mod armor;
pub mod double;
pub mod http;
pub mod mcp;
pub mod peers;
pub mod redis;

use std::time::{Duration, Instant};

/// Longest that a condition is waited for: only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition gives a value; fails the test when it never does.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that nobody has.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
