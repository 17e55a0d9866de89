//! Which events share a request.
//!
//! Promises: a batch has events of one group, keeps the limits of the platform and of the user, and is in the order of the
//! stream; one event larger than the limit goes alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::answer::Verdict;
use crate::destination::Shaped;

use super::entry_id::EntryId;

/// An event on its way.
#[derive(Clone, Debug)]
pub struct Item {
    /// Of the stream.
    pub id: String,
    /// As it is in the stream: for a dead letter.
    pub event: Bytes,
    /// As the platform gets it.
    pub shaped: Shaped,
    /// It tells of losses itself.
    pub of_losses: bool,
}

impl Item {
    /// Bytes of memory, about.
    pub fn held(&self) -> usize {
        self.event.len() + self.shaped.bytes.len()
    }
}

/// Events of one request.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Oldest first.
    pub items: Vec<Item>,
}

impl Batch {
    /// Bytes of memory, about.
    pub fn held(&self) -> usize {
        self.items.iter().map(Item::held).sum()
    }

    /// Two of half the size.
    pub fn halves(mut self) -> (Self, Self) {
        let rest = self.items.split_off(self.items.len() / 2);
        (self, Self { items: rest })
    }

    /// What is not older than a time, and what is.
    pub fn older_than(self, oldest: Timestamp) -> (Self, Self) {
        let (old, young) = self.items.into_iter().partition(|item: &Item| item.shaped.time.timestamp() < oldest);
        (Self { items: young }, Self { items: old })
    }

    /// Batches of the events with the same verdict; `next` gives those in the order of the events.
    pub fn divided(self, mut next: impl FnMut() -> Verdict) -> Vec<(Verdict, Self)> {
        let mut parts: Vec<(Verdict, Self)> = Vec::new();
        for item in self.items {
            let verdict = next();
            // An event that is dropped is dropped alone: how many in a row says what is wrong.
            let alone = matches!(verdict, Verdict::Drop { .. } | Verdict::Split { .. });
            match parts.iter_mut().find(|(known, _)| !alone && *known == verdict) {
                Some((_, part)) => part.items.push(item),
                None => parts.push((verdict, Self { items: vec![item] })),
            }
        }
        parts
    }
}

/// Events that are not in a batch yet, by group.
pub struct Waiting {
    events: usize,
    bytes: usize,
    span: Option<Duration>,
    flush: Duration,
    groups: BTreeMap<Cow<'static, str>, Group>,
    ids: HashSet<EntryId>,
}

#[derive(Default)]
struct Group {
    items: std::collections::VecDeque<(Instant, Item)>,
    bytes: usize,
}

impl Waiting {
    /// With the limits of one request.
    pub fn new(events: usize, bytes: usize, span: Option<Duration>, flush: Duration) -> Self {
        Self { events: events.max(1), bytes, span, flush, groups: BTreeMap::new(), ids: HashSet::new() }
    }

    /// Adds one, unless it is there. Gives whether it was added.
    pub fn push(&mut self, item: Item, now: Instant) -> bool {
        if !self.ids.insert(EntryId::parse(&item.id)) {
            return false;
        }
        // Most are of a group that is there.
        let group = match self.groups.get_mut(&item.shaped.group) {
            Some(group) => group,
            None => self.groups.entry(item.shaped.group.clone()).or_default(),
        };
        group.bytes += item.shaped.bytes.len();
        group.items.push_back((now, item));
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.ids.clear();
    }

    /// When the next batch is due; `None`: nothing waits.
    pub fn due(&self) -> Option<Instant> {
        let due = |group: &Group| match group.items.front() {
            Some((since, _)) if !self.is_full(group) => Some(*since + self.flush),
            Some((since, _)) => Some(*since),
            None => None,
        };
        self.groups.values().filter_map(due).min()
    }

    /// A batch that is full or has waited long enough, or any if `pressed`; of one event, as a probe, if `single`.
    pub fn take(&mut self, now: Instant, single: bool, pressed: bool) -> Option<Batch> {
        let ready = |group: &Group| {
            group.items.front().is_some_and(|(since, _)| pressed || now >= *since + self.flush || self.is_full(group))
        };
        let name = self.groups.iter().find(|(_, group)| ready(group)).map(|(name, _)| name.clone())?;
        let group = self.groups.get_mut(&name)?;
        let most = if single { 1 } else { self.events };
        let mut batch = Batch::default();
        let mut bytes = 0;
        let (mut earliest, mut latest) = (Timestamp::MAX, Timestamp::MIN);
        while let Some((_, item)) = group.items.front() {
            let time = item.shaped.time.timestamp();
            (earliest, latest) = (earliest.min(time), latest.max(time));
            let span = Duration::try_from(latest.duration_since(earliest)).unwrap_or_default();
            let fits = bytes + item.shaped.bytes.len() <= self.bytes && self.span.is_none_or(|most| span <= most);
            if batch.items.len() == most || !batch.items.is_empty() && !fits {
                break;
            }
            let Some((_, item)) = group.items.pop_front() else { break };
            bytes += item.shaped.bytes.len();
            self.ids.remove(&EntryId::parse(&item.id));
            batch.items.push(item);
        }
        group.bytes -= bytes;
        if group.items.is_empty() {
            self.groups.remove(&name);
        }
        Some(batch)
    }

    fn is_full(&self, group: &Group) -> bool {
        group.items.len() >= self.events || group.bytes >= self.bytes
    }
}
