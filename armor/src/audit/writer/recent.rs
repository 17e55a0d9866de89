//! The entries that Redis acknowledged a moment ago, and may still lose.
//!
//! Promises: holds the last 3 s of acknowledged entries (a second more than `appendfsync everysec` can
//! lose), but at most 32 MiB. Pure: the clock is an argument.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use ulid::Ulid;

use super::{Entry, link::StreamId};

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
    at: StreamId,
    when: Instant,
}

impl Recent {
    pub(super) fn push(&mut self, entry: Entry, at: StreamId, when: Instant) {
        self.bytes += entry.json.len();
        self.entries.push_back(Acknowledged { entry, at, when });
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

    /// Where in the stream the oldest was.
    pub(super) fn first_id(&self) -> Option<StreamId> {
        self.entries.iter().map(|acknowledged| acknowledged.at).min()
    }

    pub(super) fn event_ids(&self) -> impl Iterator<Item = Ulid> {
        self.entries.iter().map(|acknowledged| acknowledged.entry.id)
    }

    /// Takes out what is not among `present`, oldest first.
    pub(super) fn take_missing(&mut self, present: &HashSet<Ulid>) -> Vec<Entry> {
        let (kept, missing): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|acknowledged| present.contains(&acknowledged.entry.id));
        self.entries = kept;
        self.bytes = self.entries.iter().map(|a| a.entry.json.len()).sum();
        missing.into_iter().map(|a| a.entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::queue::Lane;

    fn entry(number: u128, bytes: usize) -> Entry {
        Entry { id: Ulid::from(number), lane: Lane::Call, json: vec![b'x'; bytes] }
    }

    fn ids(recent: &Recent) -> Vec<u128> {
        recent.event_ids().map(u128::from).collect()
    }

    #[test]
    fn entries_are_forgotten_by_the_last_word_of_redis_and_not_by_the_clock() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut recent = Recent::default();
        recent.push(entry(1, 1), StreamId::default(), at(0));
        recent.push(entry(2, 1), StreamId::default(), at(2));
        recent.forget(at(3));
        assert_eq!(ids(&recent), [1, 2]);
        recent.forget(at(4));
        assert_eq!(ids(&recent), [2]);
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_oldest() {
        let mut recent = Recent::default();
        for number in 0..40 {
            recent.push(entry(number, 1024 * 1024), StreamId::default(), Instant::now());
        }
        assert_eq!(ids(&recent), (8..40).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_missing_is_taken_out_in_order() {
        let mut recent = Recent::default();
        for number in 1..=4 {
            recent.push(entry(number, 10), StreamId::default(), Instant::now());
        }
        let present = HashSet::from([Ulid::from(2), Ulid::from(9)]);
        let missing: Vec<u128> = recent.take_missing(&present).iter().map(|e| e.id.into()).collect();
        assert_eq!(missing, [1, 3, 4]);
        assert_eq!(ids(&recent), [2]);
        assert_eq!(recent.bytes, 10);
    }
}
