//! What Redis acknowledged of this process, to tell exactly what it lost when it comes back with less.
//!
//! Redis counts the entries of each process in the same step that adds them, so whatever it comes back
//! with (a snapshot, an append-only file, a replica that was behind) has as many of them as it counts, and
//! always the oldest. What was trimmed before is no loss of Redis: it was delivered, or the exporter
//! counts it. Must never count an entry of another process. Pure: the clock is an argument.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ulid::Ulid;

use super::link::{STREAM_LIFETIME, StreamId};

/// Marks that are kept; 32 bytes each. Beyond them every second one is given up, and what was trimmed of
/// their entries is known a little less exactly.
const MARKS_MAX: usize = 32_768;

pub(super) struct Ledger {
    /// The key of the count; no other process has the same.
    key: String,
    /// Entries that Redis acknowledged.
    added: u64,
    /// How many of them, the oldest, the stream had trimmed when it was last heard of.
    trimmed: u64,
    /// Where in the stream they are, oldest first.
    marks: VecDeque<Mark>,
    /// When the lifetime of the key was last known to begin again.
    refreshed: Option<Instant>,
}

struct Mark {
    /// The id of its first entry.
    at: StreamId,
    /// Entries of this process before that one.
    before: u64,
    /// Whether the ids of its entries follow each other.
    dense: bool,
}

/// What a count of Redis means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Redis has all that it acknowledged, and so many of the batch whose fate was unknown.
    Whole { of_batch: usize },
    /// Redis has lost the newest entries.
    Less {
        /// How many of the entries that are still held it has not, also such as were trimmed.
        gone: usize,
        /// How many of those were in the stream, and are to be added again: the newest.
        again: usize,
        /// What was in the stream and is held no more.
        lost: Option<Lost>,
    },
    /// Redis counts what was never sent to it: its history is not the past of this one.
    Strange,
}

/// Entries that nobody has any more. The times are Redis's, in milliseconds of the Unix epoch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u64,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

impl Ledger {
    /// Of a process that has added nothing to `stream` yet.
    pub(super) fn new(stream: &str, instance: &str) -> Self {
        Self {
            // Not the name alone: a container that starts again has the name of the one before.
            key: format!("{stream}:added:{instance}:{}", Ulid::from_parts(0, rand::random())),
            added: 0,
            trimmed: 0,
            marks: VecDeque::new(),
            refreshed: None,
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// What Redis has counted, if it lost nothing.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    /// Enters `count` acknowledged entries, in runs as Redis told them, and the stream's oldest entry.
    pub(super) fn enter(&mut self, count: usize, runs: &[(StreamId, u64)], oldest: StreamId) {
        self.marks.extend(runs.iter().map(|&(at, before)| Mark { at, before: self.added + before, dense: true }));
        self.added += count as u64;
        self.note_oldest(oldest);
        if self.marks.len() > MARKS_MAX {
            let mut even = false;
            self.marks.retain_mut(|mark| {
                even = !even;
                mark.dense = false;
                even
            });
        }
    }

    /// Takes note that the lifetime of the key began again.
    pub(super) fn refreshed(&mut self, now: Instant) {
        self.refreshed = Some(now);
    }

    /// Whether Redis may have let the count expire.
    pub(super) fn is_outlived(&self, now: Instant) -> bool {
        self.refreshed.is_some_and(|at| now.saturating_duration_since(at) >= STREAM_LIFETIME - Duration::from_secs(60))
    }

    /// Judges what Redis counts: of the acknowledged entries the newest `held` are still held here, and of
    /// `unsure` more the fate is unknown. From then on Redis's count is this one's.
    pub(super) fn compare(&mut self, counted: u64, unsure: usize, held: usize) -> Standing {
        if counted >= self.added {
            let of_batch = usize::try_from(counted - self.added).unwrap_or(usize::MAX);
            if of_batch > unsure {
                return Standing::Strange;
            }
            if of_batch > 0 {
                // Their ids were in the answer that was lost.
                match self.marks.back_mut() {
                    Some(last) => last.dense = false,
                    None => self.marks.push_back(Mark { at: StreamId::default(), before: self.added, dense: false }),
                }
                self.added = counted;
            }
            return Standing::Whole { of_batch };
        }
        let in_stream_from = counted.max(self.trimmed);
        let missing = self.added - in_stream_from;
        let again = missing.min(held as u64);
        let lost = (missing > again).then(|| Lost {
            count: missing - again,
            from_ms: self.when(in_stream_from),
            to_ms: self.when(self.added - again - 1),
        });
        let gone = (self.added - counted).min(held as u64);
        self.added = counted;
        self.trimmed = self.trimmed.min(counted);
        while self.marks.back().is_some_and(|mark| mark.before >= counted) {
            self.marks.pop_back();
        }
        Standing::Less { gone: gone as usize, again: again as usize, lost }
    }

    /// Takes note of what is trimmed: all that is older than `oldest`.
    fn note_oldest(&mut self, oldest: StreamId) {
        while self.marks.get(1).is_some_and(|next| next.at <= oldest) {
            self.marks.pop_front();
        }
        let end = self.marks.get(1).map_or(self.added, |next| next.before);
        let Some(first) = self.marks.front() else { return };
        let of_first = match first.dense && first.at < oldest {
            true if first.at.ms == oldest.ms => (oldest.number - first.at.number).min(end - first.before),
            true => end - first.before,
            false => 0,
        };
        self.trimmed = self.trimmed.max(first.before + of_first);
    }

    /// About when the entry after the first `position` ones was added.
    fn when(&self, position: u64) -> u64 {
        let after = self.marks.partition_point(|mark| mark.before <= position);
        after.checked_sub(1).and_then(|index| self.marks.get(index)).map_or(0, |mark| mark.at.ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(ms: u64, number: u64) -> StreamId {
        StreamId { ms, number }
    }

    fn ledger() -> Ledger {
        Ledger::new("stream", "instance")
    }

    /// Three batches of ten, at 100, 200 and 300 ms; nothing is trimmed.
    fn thirty() -> Ledger {
        let mut ledger = ledger();
        for ms in [100, 200, 300] {
            ledger.enter(10, &[(id(ms, 0), 0)], id(1, 0));
        }
        ledger
    }

    #[test]
    fn what_is_held_is_added_again_and_the_rest_is_lost() {
        let less = |counted, held| thirty().compare(counted, 64, held);
        assert_eq!(less(30, 5), Standing::Whole { of_batch: 0 });
        assert_eq!(less(20, 10), Standing::Less { gone: 10, again: 10, lost: None });
        assert_eq!(less(20, 30), Standing::Less { gone: 10, again: 10, lost: None });
        let lost = Some(Lost { count: 15, from_ms: 200, to_ms: 300 });
        assert_eq!(less(10, 5), Standing::Less { gone: 5, again: 5, lost });
        let lost = Some(Lost { count: 20, from_ms: 100, to_ms: 200 });
        assert_eq!(less(0, 10), Standing::Less { gone: 10, again: 10, lost });
    }

    #[test]
    fn second_loss_counts_from_the_first() {
        let mut ledger = thirty();
        ledger.compare(10, 0, 0);
        assert_eq!(ledger.added(), 10);
        ledger.enter(10, &[(id(400, 0), 0)], id(1, 0));
        let lost = Some(Lost { count: 10, from_ms: 400, to_ms: 400 });
        assert_eq!(ledger.compare(10, 0, 0), Standing::Less { gone: 0, again: 0, lost });
        let lost = Some(Lost { count: 5, from_ms: 100, to_ms: 100 });
        assert_eq!(ledger.compare(5, 0, 0), Standing::Less { gone: 0, again: 0, lost });
    }

    #[test]
    fn batch_whose_answer_was_lost_is_found_in_the_count() {
        let mut ledger = thirty();
        assert_eq!(ledger.compare(37, 7, 0), Standing::Whole { of_batch: 7 });
        assert_eq!(ledger.added(), 37);
        assert_eq!(ledger.compare(38, 0, 0), Standing::Strange);
        let mut fresh = super::tests::ledger();
        assert_eq!(fresh.compare(3, 3, 0), Standing::Whole { of_batch: 3 });
        let lost = Some(Lost { count: 3, from_ms: 0, to_ms: 0 });
        assert_eq!(fresh.compare(0, 0, 0), Standing::Less { gone: 0, again: 0, lost });
    }

    #[test]
    fn what_was_trimmed_is_not_lost() {
        let mut ledger = thirty();
        ledger.note_oldest(id(200, 4));
        // Ten and four were trimmed; of the rest two are held.
        let lost = Some(Lost { count: 14, from_ms: 200, to_ms: 300 });
        assert_eq!(ledger.compare(0, 0, 2), Standing::Less { gone: 2, again: 2, lost });

        let mut ledger = thirty();
        ledger.note_oldest(id(301, 0));
        assert_eq!(ledger.compare(0, 0, 5), Standing::Less { gone: 5, again: 0, lost: None });
    }

    #[test]
    fn names_of_counts_differ_also_for_one_instance() {
        assert_ne!(ledger().key(), ledger().key());
        assert!(ledger().key().starts_with("stream:added:instance:"));
    }

    #[test]
    fn count_is_outlived_a_minute_before_it_expires() {
        let now = Instant::now();
        let mut ledger = ledger();
        assert!(!ledger.is_outlived(now + STREAM_LIFETIME));
        ledger.refreshed(now);
        assert!(!ledger.is_outlived(now + STREAM_LIFETIME - Duration::from_secs(61)));
        assert!(ledger.is_outlived(now + STREAM_LIFETIME - Duration::from_secs(60)));
    }

    #[test]
    fn marks_are_bounded_and_what_was_trimmed_is_then_a_little_less() {
        let mut ledger = ledger();
        for ms in 0..100_000 {
            ledger.enter(2, &[(id(ms, 0), 0)], id(0, 0));
        }
        assert!(ledger.marks.len() <= MARKS_MAX);
        ledger.note_oldest(id(50_001, 0));
        assert!((99_980..=100_002).contains(&ledger.trimmed), "{}", ledger.trimmed);
    }

    proptest! {
        /// A model of Redis: whatever is written by two, trimmed and rolled back, each entry of this process
        /// that was in the stream and is not any more is held or lost, and no other.
        #[test]
        fn every_loss_is_counted(
            steps in proptest::collection::vec((any::<bool>(), 1..6u64, 0..3u64, 0..4u64), 1..60),
            back in 0..60usize,
            held in 0..20usize,
        ) {
            let mut ledger = ledger();
            let (mut stream, mut last) = (Vec::<(StreamId, bool)>::new(), id(1, 0));
            let mut own = 0u64;
            let mut past = vec![(stream.clone(), own)];
            for (mine, count, later, trim) in steps {
                let mut runs = Vec::new();
                last = id(last.ms + later, if later > 0 { 0 } else { last.number + 1 });
                for offset in 0..count {
                    stream.push((id(last.ms, last.number + offset), mine));
                }
                if mine {
                    runs.push((last, 0));
                    own += count;
                }
                last.number += count - 1;
                stream.drain(..(trim as usize).min(stream.len() - 1));
                if mine {
                    ledger.enter(count as usize, &runs, stream[0].0);
                } else {
                    // Others trim unseen until the next own batch; here it is told.
                    ledger.note_oldest(stream[0].0);
                }
                past.push((stream.clone(), own));
            }
            let before: Vec<StreamId> = stream.iter().filter(|(_, mine)| *mine).map(|(at, _)| *at).collect();
            let (_, counted) = &past[back.min(past.len() - 1)];
            let at_return = own - counted;
            let missing = (before.len() as u64).min(at_return);
            match ledger.compare(*counted, 0, held.min(own as usize)) {
                Standing::Whole { of_batch } => prop_assert_eq!((of_batch, at_return), (0, 0)),
                Standing::Less { again, lost, .. } => {
                    prop_assert_eq!(again as u64 + lost.map_or(0, |lost| lost.count), missing);
                }
                Standing::Strange => prop_assert!(false, "it is its own past"),
            }
            prop_assert_eq!(ledger.added(), *counted);
        }
    }
}
