//! What the tests stand on. Everything that is started ends with its handle.

pub mod armor;
pub mod double;
pub mod http;
pub mod mcp;
pub mod peers;
pub mod redis;

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
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

/// A port that nobody has, and that no outgoing connection gets either: tests that run beside this one open many.
pub fn free_port() -> u16 {
    // Kernels give connections the ports from 32,768 on.
    const PORTS: std::ops::Range<u16> = 10_000..32_000;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random_range(PORTS)));
    loop {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
