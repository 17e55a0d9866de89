//! What a destination has done at this replica, for metrics.
//!
//! Promises: labels are bounded: destination, verdict, cause. Must never hold anything of an event but its time.

use std::sync::Arc;
use std::time::Duration;

use events::DroppedCause;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::answer::{Outcome, Verdict};

/// Of one request: from a receiver on the same machine to the longest timeout.
const REQUEST_SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 60.0];
/// From an event's time to its acknowledgement: from an idle second to a backlog of a day.
const DELAY_SECONDS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0, 300.0, 3_600.0, 21_600.0, 86_400.0];

/// The words of `verdict`.
pub const VERDICTS: [&str; 6] = ["delivered", "retry", "split", "drop", "auth", "config"];

/// The figures of one destination. Clones share them.
#[derive(Clone, Debug)]
pub struct Tally(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    delivered: Counter,
    skipped: Counter,
    dropped: [Counter; DroppedCause::ALL.len()],
    requests: [Counter; VERDICTS.len()],
    request_seconds: Histogram,
    delay_seconds: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self(Arc::new(Inner {
            delivered: Counter::default(),
            skipped: Counter::default(),
            dropped: std::array::from_fn(|_| Counter::default()),
            requests: std::array::from_fn(|_| Counter::default()),
            request_seconds: Histogram::new(REQUEST_SECONDS),
            delay_seconds: Histogram::new(DELAY_SECONDS),
        }))
    }
}

impl Tally {
    /// Events that the platform took, by their times.
    pub fn delivered(&self, times: impl Iterator<Item = Timestamp>, now: Timestamp) {
        for time in times {
            self.0.delivered.inc();
            self.0.delay_seconds.observe(now.duration_since(time).as_secs_f64().max(0.0));
        }
    }

    /// Events that the destination does not want.
    pub fn skipped(&self, count: usize) {
        self.0.skipped.inc_by(count as u64);
    }

    /// One request, and what the answer meant.
    pub fn request(&self, outcome: &Outcome, took: Duration) {
        self.0.request_seconds.observe(took.as_secs_f64());
        // Of a batch with several verdicts the worst counts.
        let word = match outcome {
            Outcome::All(verdict) => word(verdict),
            Outcome::Each(verdicts) => verdicts.iter().map(word).max().unwrap_or_default(),
        };
        self.0.requests[word].inc();
    }

    /// Events that the destination will not get.
    pub fn dropped(&self, cause: DroppedCause, count: u64) {
        self.0.dropped[cause as usize].inc_by(count);
    }

    pub(crate) fn counters(&self) -> Counters<'_> {
        Counters {
            delivered: &self.0.delivered,
            skipped: &self.0.skipped,
            dropped: DroppedCause::ALL.iter().copied().zip(&self.0.dropped).collect(),
            requests: VERDICTS.iter().copied().zip(&self.0.requests).collect(),
            request_seconds: &self.0.request_seconds,
            delay_seconds: &self.0.delay_seconds,
        }
    }
}

/// The figures, to be shown.
pub(crate) struct Counters<'a> {
    pub delivered: &'a Counter,
    pub skipped: &'a Counter,
    pub dropped: Vec<(DroppedCause, &'a Counter)>,
    pub requests: Vec<(&'static str, &'a Counter)>,
    pub request_seconds: &'a Histogram,
    pub delay_seconds: &'a Histogram,
}

/// The place in [`VERDICTS`].
const fn word(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Delivered => 0,
        Verdict::Retry { .. } => 1,
        Verdict::Split { .. } => 2,
        Verdict::Drop { .. } => 3,
        Verdict::Auth { .. } => 4,
        Verdict::Config { .. } => 5,
    }
}
