//! Joining repeats: the first of a kind goes at once, those within the next 10 s become one.
//!
//! Promises: one subject causes at most two events in 10 s, the number of subjects is bounded, and each
//! occurrence is in exactly one event or one count. Pure: the clock is an argument.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use events::{Repeat, Text, TextList};

/// How long repeats are joined.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Subjects kept apart at most; beyond that they are joined by cause alone.
pub(super) const SUBJECTS_MAX: usize = 10_000;

/// Something that can repeat.
pub(super) trait Subject: Clone + Eq + Hash {
    /// What stands for this subject when there are too many to keep apart. There are few of these.
    fn overflow(&self) -> Self;
}

pub(super) struct Joiner<S> {
    open: HashMap<S, Repeats>,
    /// When windows end; in order, because all are of one length.
    ends: VecDeque<(Instant, S)>,
}

#[derive(Default)]
struct Repeats {
    count: u64,
    request_ids: TextList<{ events::limits::REPEAT_REQUEST_IDS }>,
}

/// What is to be done with an occurrence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the first: send it.
    Send,
    /// It is counted, and will be told later.
    Joined,
}

impl<S> Default for Joiner<S> {
    fn default() -> Self {
        Self { open: HashMap::new(), ends: VecDeque::new() }
    }
}

impl<S: Subject> Joiner<S> {
    /// Judges one occurrence at `now`.
    pub(super) fn admit(&mut self, subject: S, request_id: Option<&Text>, now: Instant) -> Verdict {
        let subject = if self.open.len() >= SUBJECTS_MAX && !self.open.contains_key(&subject) {
            subject.overflow()
        } else {
            subject
        };
        if let Some(repeats) = self.open.get_mut(&subject) {
            repeats.count += 1;
            if let Some(id) = request_id {
                repeats.keep(id);
            }
            return Verdict::Joined;
        }
        self.ends.push_back((now + WINDOW, subject.clone()));
        self.open.insert(subject, Repeats::default());
        Verdict::Send
    }

    /// Closes at most `count` windows that end by `now`, and returns what was joined in them. A subject
    /// that repeats on gets another window, so a flood gives one event per window.
    pub(super) fn expire(&mut self, now: Instant, count: usize) -> Vec<(S, Repeat)> {
        let mut joined = Vec::new();
        for _ in 0..count {
            let Some((end, _)) = self.ends.front() else {
                break;
            };
            if *end > now {
                break;
            }
            let Some((_, subject)) = self.ends.pop_front() else {
                break;
            };
            match self.open.get_mut(&subject) {
                Some(repeats) if repeats.count > 0 => {
                    let Repeats { count, request_ids } = std::mem::take(repeats);
                    self.ends.push_back((now + WINDOW, subject.clone()));
                    joined.push((subject, Repeat { count, request_ids }));
                }
                _ => {
                    self.open.remove(&subject);
                }
            }
        }
        joined
    }

    /// Ends all windows at once.
    pub(super) fn flush(&mut self) -> Vec<(S, Repeat)> {
        self.ends.clear();
        self.open
            .drain()
            .filter(|(_, repeats)| repeats.count > 0)
            .map(|(subject, Repeats { count, request_ids })| (subject, Repeat { count, request_ids }))
            .collect()
    }

    /// Whether a window ends by `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.ends.front().is_some_and(|(end, _)| *end <= now)
    }
}

impl Repeats {
    fn keep(&mut self, id: &Text) {
        // The count tells of the others; `truncated` is for what should have been there.
        if self.request_ids.as_slice().len() < events::limits::REPEAT_REQUEST_IDS {
            self.request_ids.push(id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Subject for u32 {
        fn overflow(&self) -> Self {
            Self::MAX
        }
    }

    fn id(number: u32) -> Option<Text> {
        Text::new(&format!("r{number}"))
    }

    fn ids(repeat: &Repeat) -> Vec<&str> {
        repeat.request_ids.as_slice().iter().map(Text::as_str).collect()
    }

    #[test]
    fn first_goes_at_once_and_repeats_become_one_per_window() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut joiner = Joiner::default();
        assert_eq!(joiner.admit(1, id(0).as_ref(), at(0)), Verdict::Send);
        for n in 1..=30 {
            assert_eq!(joiner.admit(1, id(n).as_ref(), at(1)), Verdict::Joined);
        }
        assert_eq!(joiner.admit(2, None, at(2)), Verdict::Send);
        assert!(joiner.expire(at(9), 100).is_empty());

        let joined = joiner.expire(at(10), 100);
        assert_eq!(joined.len(), 1);
        let (subject, repeat) = &joined[0];
        assert_eq!((*subject, repeat.count), (1, 30));
        assert_eq!(ids(repeat).len(), 20);
        assert_eq!(ids(repeat)[0], "r1");

        // Still in a window after a joined event, and new again after a quiet one.
        assert_eq!(joiner.admit(1, None, at(11)), Verdict::Joined);
        assert_eq!(joiner.expire(at(20), 100).len(), 1);
        assert!(joiner.expire(at(30), 100).is_empty());
        assert_eq!(joiner.admit(1, None, at(31)), Verdict::Send);
    }

    #[test]
    fn subjects_beyond_the_limit_are_joined_into_one() {
        let now = Instant::now();
        let mut joiner = Joiner::default();
        let sent = (0..50_000).filter(|n| joiner.admit(*n, None, now) == Verdict::Send).count();
        assert_eq!(sent, SUBJECTS_MAX + 1);
        assert_eq!(joiner.open.len(), SUBJECTS_MAX + 1);
        let joined = joiner.flush();
        assert_eq!(joined.len(), 1);
        assert_eq!((joined[0].0, joined[0].1.count), (u32::MAX, 39_999));
    }

    #[test]
    fn closing_is_done_in_parts() {
        let now = Instant::now();
        let mut joiner = Joiner::default();
        for n in 0..10 {
            joiner.admit(n, None, now);
        }
        let later = now + WINDOW;
        joiner.expire(later, 4);
        assert_eq!(joiner.open.len(), 6);
        assert!(joiner.is_due(later));
        joiner.expire(later, 100);
        assert!(joiner.open.is_empty() && !joiner.is_due(later));
    }

    proptest! {
        /// Each occurrence is in exactly one event, whatever comes when.
        #[test]
        fn nothing_is_lost_or_told_twice(steps in proptest::collection::vec((0..4u32, 0..4_000u64, any::<bool>()), 0..200)) {
            let mut now = Instant::now();
            let mut joiner = Joiner::default();
            let (mut admitted, mut told) = (0, 0);
            for (subject, ms, sweep) in steps {
                now += Duration::from_millis(ms);
                admitted += 1;
                if joiner.admit(subject, None, now) == Verdict::Send {
                    told += 1;
                }
                if sweep {
                    told += joiner.expire(now, 2).iter().map(|(_, repeat)| repeat.count).sum::<u64>();
                }
            }
            told += joiner.flush().iter().map(|(_, repeat)| repeat.count).sum::<u64>();
            prop_assert_eq!(admitted, told);
        }
    }
}
