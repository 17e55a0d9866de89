//! How many requests at the same time, and how long to wait after a failure.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

/// Requests at the same time, at most.
const MOST: usize = 32;
/// After the first failure.
const FIRST: Duration = Duration::from_millis(500);

/// Adapts to what the platform takes: one more request at a time while all goes well, half as many after a failure.
pub struct Pace {
    parallel: usize,
    well: usize,
    wait: Duration,
    longest: Duration,
}

impl Pace {
    /// Begins with one request at a time.
    pub fn new(longest: Duration) -> Self {
        Self { parallel: 1, well: 0, wait: Duration::ZERO, longest }
    }

    /// How many requests there may be at the same time.
    pub fn parallel(&self) -> usize {
        self.parallel
    }

    /// A request was good.
    pub fn went_well(&mut self) {
        self.wait = Duration::ZERO;
        self.well += 1;
        if self.well >= self.parallel && self.parallel < MOST {
            self.parallel += 1;
            self.well = 0;
        }
    }

    /// A request was not. Gives the time until the next try: decorrelated jitter (Brooker, "Exponential Backoff And
    /// Jitter"), and at least what the platform asked for.
    pub fn failed(&mut self, asked: Option<Duration>) -> Duration {
        self.parallel = (self.parallel / 2).max(1);
        self.well = 0;
        let most = (self.wait * 3).clamp(FIRST * 2, self.longest.max(FIRST * 2));
        self.wait = rand::rng().random_range(FIRST..most).min(self.longest);
        self.wait.max(asked.unwrap_or_default())
    }
}

/// A limit of events per second.
pub struct Bucket {
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Full: a second's worth.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self { rate: f64::from(rate), tokens: f64::from(rate), at: now }
    }

    /// Until when nothing may be sent; `None`: something may be. One batch may be larger than a second's worth; the next
    /// then waits for longer.
    pub fn empty_until(&mut self, now: Instant) -> Option<Instant> {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.rate).min(self.rate);
        self.at = now;
        (self.tokens < 1.0).then(|| now + Duration::from_secs_f64((1.0 - self.tokens) / self.rate))
    }

    /// Events were sent.
    pub fn take(&mut self, events: usize) {
        self.tokens -= events as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_at_a_time_while_all_goes_well_and_half_after_a_failure() {
        let mut pace = Pace::new(Duration::from_secs(30));
        (0..2_000).for_each(|_| pace.went_well());
        assert_eq!(pace.parallel(), MOST);
        pace.failed(None);
        assert_eq!(pace.parallel(), MOST / 2);
        for _ in 0..20 {
            pace.failed(None);
        }
        assert_eq!(pace.parallel(), 1);
    }

    #[test]
    fn waits_are_bounded_and_what_was_asked_for_is_kept() {
        let mut pace = Pace::new(Duration::from_secs(30));
        for _ in 0..200 {
            let wait = pace.failed(None);
            assert!((FIRST..=Duration::from_secs(30)).contains(&wait), "{wait:?}");
        }
        assert!(pace.failed(Some(Duration::from_secs(120))) >= Duration::from_secs(120));
        pace.went_well();
        assert!(pace.failed(None) < Duration::from_secs(2));
    }

    #[test]
    fn limited_rate_is_kept_over_time_and_a_large_batch_is_paid_for_later() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(100, begin);
        assert!(bucket.empty_until(begin).is_none());
        bucket.take(300);
        let until = bucket.empty_until(begin).unwrap();
        assert_eq!((until - begin).as_millis(), 2_010);
        assert!(bucket.empty_until(until + Duration::from_millis(1)).is_none());
        // A long pause saves up no more than a second's worth.
        assert!(bucket.empty_until(until + Duration::from_secs(3_600)).is_none());
        bucket.take(100);
        assert!(bucket.empty_until(until + Duration::from_secs(3_600)).is_some());
    }
}
