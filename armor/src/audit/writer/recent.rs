//! The entries that Redis acknowledged a moment ago, and may still lose.
//!
//! Promises: holds the last 3 s of acknowledged entries (a second more than `appendfsync everysec` can
//! lose), but at most 32 MiB; they are always the newest ones, in their order. Pure: the clock is an argument.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Entry;

/// How long an acknowledged entry may still be lost.
const KEPT: Duration = Duration::from_secs(3);
/// The most bytes of JSON that are kept for that.
const KEPT_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Recent {
    entries: VecDeque<Acknowledged>,
    bytes: usize,
}

struct Acknowledged {
    entry: Entry,
    when: Instant,
}

impl Recent {
    pub(super) fn push(&mut self, entry: Entry, when: Instant) {
        self.bytes += entry.json.len();
        self.entries.push_back(Acknowledged { entry, when });
        while self.bytes > KEPT_BYTES {
            self.pop();
        }
    }

    /// Forgets what was acknowledged long enough before `heard`, the last time that Redis answered. Not
    /// before now: while Redis is away nothing becomes safer.
    pub(super) fn forget(&mut self, heard: Instant) {
        while self.entries.front().is_some_and(|oldest| heard.saturating_duration_since(oldest.when) > KEPT) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes -= oldest.entry.json.len();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes the newest `count` out, or all if there are fewer, oldest first.
    pub(super) fn take_newest(&mut self, count: usize) -> Vec<Entry> {
        let taken = self.entries.split_off(self.entries.len().saturating_sub(count));
        self.bytes -= taken.iter().map(|acknowledged| acknowledged.entry.json.len()).sum::<usize>();
        taken.into_iter().map(|acknowledged| acknowledged.entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::queue::Lane;

    fn entry(number: u8, bytes: usize) -> Entry {
        Entry { lane: Lane::Call, json: vec![number; bytes] }
    }

    fn numbers(recent: &Recent) -> Vec<u8> {
        recent.entries.iter().map(|acknowledged| acknowledged.entry.json[0]).collect()
    }

    #[test]
    fn entries_are_forgotten_by_the_last_word_of_redis_and_not_by_the_clock() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut recent = Recent::default();
        recent.push(entry(1, 1), at(0));
        recent.push(entry(2, 1), at(2));
        recent.forget(at(3));
        assert_eq!(numbers(&recent), [1, 2]);
        recent.forget(at(4));
        assert_eq!(numbers(&recent), [2]);
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_oldest() {
        let mut recent = Recent::default();
        for number in 0..40 {
            recent.push(entry(number, 1024 * 1024), Instant::now());
        }
        assert_eq!(numbers(&recent), (8..40).collect::<Vec<_>>());
    }

    #[test]
    fn newest_are_taken_out_in_order() {
        let mut recent = Recent::default();
        for number in 1..=4 {
            recent.push(entry(number, 10), Instant::now());
        }
        let mut taken = |count| -> Vec<u8> { recent.take_newest(count).iter().map(|e| e.json[0]).collect() };
        assert!(taken(0).is_empty());
        assert_eq!(taken(3), [2, 3, 4]);
        assert_eq!((numbers(&recent), recent.bytes), (vec![1], 10));
        assert_eq!(recent.take_newest(9).len(), 1);
        assert_eq!((recent.len(), recent.bytes), (0, 0));
    }
}
