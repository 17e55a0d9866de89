//! How many requests at the same time, and how long to wait after a failure.

use std::time::Duration;

use rand::RngExt as _;

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
}
