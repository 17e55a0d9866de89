//! Joined events, when their window ends.
//!
//! Promises: all of them are in the queue before the tail is flushed.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::Shared;

/// How often joined events are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// Windows closed under one lock.
const SWEEP_CHUNK: usize = 256;

/// Sends joined events when their window ends, and all of them at the end.
pub(super) async fn run(shared: &Shared, shutdown: &CancellationToken, ending: &CancellationToken) {
    while !shutdown.is_cancelled() {
        shared.send_due_joins(Instant::now());
        // Waking at the end at once, so that the flush has all of its time.
        let _ = timeout(SWEEP_INTERVAL, shutdown.cancelled()).await;
    }
    for (stranger, repeat) in shared.refusals.with(super::super::joiner::Joiner::flush) {
        shared.emit_joined_refusal(&stranger, repeat);
    }
    for (incident, repeat) in shared.incidents.with(super::super::joiner::Joiner::flush) {
        shared.emit_joined_incident(incident, repeat);
    }
    ending.cancel();
}

impl Shared {
    fn send_due_joins(&self, now: Instant) {
        // In chunks, so that a request that is being refused never waits for ten thousand others.
        while self.refusals.with(|joiner| joiner.is_due(now)) {
            for (stranger, repeat) in self.refusals.with(|joiner| joiner.expire(now, SWEEP_CHUNK)) {
                self.emit_joined_refusal(&stranger, repeat);
            }
        }
        while self.incidents.with(|joiner| joiner.is_due(now)) {
            for (incident, repeat) in self.incidents.with(|joiner| joiner.expire(now, SWEEP_CHUNK)) {
                self.emit_joined_incident(incident, repeat);
            }
        }
    }
}
