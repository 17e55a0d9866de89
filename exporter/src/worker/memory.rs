//! What a destination holds in memory.
//!
//! Promises: what is held is counted once here and once for all destinations, and is given back however the worker ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::reading::READ;

/// What an entry is taken for before it is read: the mean of a `tool_call`, and some.
const ENTRY_BYTES: usize = 2_048;

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
        Self { limit, share: None, all: None, held: 0, expected: 0, entry: ENTRY_BYTES }
    }

    /// With a share that may change, and where what all hold is counted.
    pub fn share(&mut self, share: Arc<AtomicUsize>, all: Arc<AtomicUsize>) {
        (self.share, self.all) = (Some(share), Some(all));
    }

    /// Entries that there is room for.
    pub fn room(&self) -> usize {
        let share = self.share.as_ref().map_or(usize::MAX, |share| share.load(Ordering::Relaxed));
        (self.limit.min(share).saturating_sub(self.held + self.expected) / self.entry).min(READ)
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
        self.entry = ((self.entry * 15 + bytes) / 16).max(ENTRY_BYTES / 2);
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
