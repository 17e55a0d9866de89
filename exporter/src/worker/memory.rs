//! What a destination holds in memory.
//!
//! Promises: what is held is counted once here and once for all destinations, and is given back however the worker ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::reading::READ;

/// What an entry is taken for before any was read: the largest that there is, and its encoded form.
const FIRST_ENTRY_BYTES: usize = 2 * events::limits::EVENT_BYTES;
/// And afterwards at least, however small the last ones were.
const LEAST_ENTRY_BYTES: usize = 1_024;

/// Bytes of events and of their encoded forms.
pub struct Memory {
    /// At most.
    limit: usize,
    /// At most at present, as the number of destinations changes.
    share: Option<Arc<AtomicUsize>>,
    /// What all destinations together hold.
    all: Option<Arc<AtomicUsize>>,
    held: usize,
    /// What is being read may have so many.
    expected: usize,
    /// What an entry takes, about: the mean of the last ones.
    entry: usize,
}

impl Memory {
    /// With a limit of its own.
    pub fn new(limit: usize) -> Self {
        Self { limit, share: None, all: None, held: 0, expected: 0, entry: FIRST_ENTRY_BYTES }
    }

    /// With a share that may change, and where what all hold is counted.
    pub fn share(&mut self, share: Arc<AtomicUsize>, all: Arc<AtomicUsize>) {
        (self.share, self.all) = (Some(share), Some(all));
    }

    /// Entries that there is room for; one where nothing is held, however large it may be.
    pub fn room(&self) -> usize {
        self.entries().clamp(usize::from(self.held + self.expected == 0), READ)
    }

    /// The same beside some that are here and not held yet.
    pub fn room_beside(&self, others: usize) -> usize {
        self.entries().saturating_sub(others).min(READ)
    }

    fn entries(&self) -> usize {
        let share = self.share.as_ref().map_or(usize::MAX, |share| share.load(Ordering::Relaxed));
        self.limit.min(share).saturating_sub(self.held + self.expected) / self.entry
    }

    /// So many entries are being read.
    pub fn expect(&mut self, entries: usize) {
        self.expected = entries * self.entry;
    }

    /// Whether something is being read.
    pub fn expects(&self) -> bool {
        self.expected > 0
    }

    /// An entry took so much.
    pub fn learn(&mut self, bytes: usize) {
        self.entry = ((self.entry * 15 + bytes) / 16).max(LEAST_ENTRY_BYTES);
    }

    /// Holds more.
    pub fn hold(&mut self, bytes: usize) {
        self.held += bytes;
        if let Some(all) = &self.all {
            all.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Holds less.
    pub fn release(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        if let Some(all) = &self.all {
            all.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Holds nothing any more.
    pub fn release_all(&mut self) {
        self.release(self.held);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.release_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_below_the_limit_from_the_first_read_on_and_room_follows_from_what_entries_take() {
        let all = Arc::new(AtomicUsize::new(0));
        let mut memory = Memory::new(1 << 20);
        memory.share(Arc::new(AtomicUsize::new(usize::MAX)), all.clone());
        while memory.room() > 0 {
            for _ in 0..memory.room() {
                memory.learn(20_000);
                memory.hold(20_000);
                assert!(all.load(Ordering::Relaxed) <= 1 << 20);
            }
        }
        assert!(all.load(Ordering::Relaxed) > (1 << 20) - 40_000, "{all:?}");
        memory.release_all();
        assert_eq!(all.load(Ordering::Relaxed), 0);
        assert!((50..=52).contains(&memory.room()));
        for _ in 0..200 {
            memory.learn(1_100);
        }
        assert!(memory.room() > 900);
        memory.expect(900);
        assert!(memory.room() < 100);
        memory.hold(1 << 20);
        drop(memory);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_entry_is_read_where_even_that_is_more_than_there_may_be() {
        let mut memory = Memory::new(1_000);
        assert_eq!(memory.room(), 1);
        memory.hold(1);
        assert_eq!(memory.room(), 0);
    }
}
