//! How large an entry is in Redis, so that a stream can be trimmed to bytes by its length.
//!
//! Promises: a burst of long events does not trim the history of short ones at once.

/// What Redis adds to the JSON of an entry; 600 bytes of JSON take about 730 of memory in 7.0.
const ENTRY_OVERHEAD_BYTES: f64 = 130.0;

/// After how many entries an old one has lost most of its weight.
const WINDOW: f64 = 10_000.0;

/// The mean size of recent entries.
pub(super) struct MeanSize {
    bytes: f64,
    seen: f64,
}

impl Default for MeanSize {
    fn default() -> Self {
        // A typical call; counts as one observation until there are real ones.
        Self { bytes: 1_024.0, seen: 1.0 }
    }
}

impl MeanSize {
    /// Takes an event of so many bytes of JSON into account.
    pub(super) fn observe(&mut self, json_bytes: usize) {
        self.seen = (self.seen + 1.0).min(WINDOW);
        self.bytes += (json_bytes as f64 + ENTRY_OVERHEAD_BYTES - self.bytes) / self.seen;
    }

    /// The mean in bytes, never 0.
    pub(super) fn bytes(&self) -> f64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_settles_quickly_and_then_moves_slowly() {
        let mut mean = MeanSize::default();
        for _ in 0..10_000 {
            mean.observe(600);
        }
        assert!((725.0..735.0).contains(&mean.bytes()), "{}", mean.bytes());
        for _ in 0..64 {
            mean.observe(16 * 1024);
        }
        assert!(mean.bytes() < 900.0, "{}", mean.bytes());
    }
}
