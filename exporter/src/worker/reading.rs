//! What comes from the stream: new entries, those of consumers that died, and those that are this consumer's from before.
//!
//! Promises: no more is asked for than there is memory for; what was not meant for the destination is done with at once.

use std::time::Duration;

use events::{EventName, Record};
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::Instant;

use super::batch::Item;
use super::entry_id::EntryId;
use super::{HasRead, Reading, Worker, beside};
use crate::destination::Routed;
use crate::stream::{Entry, Opened, StreamError};

/// Entries of one read at most.
pub(super) const READ: usize = 1_000;
/// Entries that are shaped before others have their turn: connections, and other destinations.
const TURN: usize = 100;
/// How often an idle stream is looked at. Most of the latency of an event that nobody waits for.
const POLL: Duration = Duration::from_millis(50);
/// The same, where a doorbell says when there is something.
const POLL_BELOW_BELL: Duration = Duration::from_secs(1);
/// Between two tries of a Redis that fails.
const REDIS_PAUSE: Duration = Duration::from_secs(1);
/// How long looking after a connection may take.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

impl Worker {
    /// Begins to read as many entries as there is room for: those that this consumer had before, and then new ones.
    pub(super) async fn read(&mut self, reading: &mut FuturesUnordered<Reading>) {
        if !self.group.holds_lease() {
            self.begin_anew().await;
        }
        let room = self.memory.room();
        if room == 0 {
            self.starved = true;
            self.next_read = Instant::now() + POLL;
            return;
        }
        match self.pending_after.take() {
            Some(after) => self.read_pending(after, room).await,
            None => self.begin_read(reading, room),
        }
    }

    fn begin_read(&mut self, reading: &mut FuturesUnordered<Reading>, count: usize) {
        self.memory.expect(count);
        self.rung = false;
        let (began, read) = (Instant::now(), self.group.begin_read(count));
        reading.push(beside(async move { (count, began, read.await) }));
    }

    /// Takes what was read, and begins the next read before that where there is more.
    pub(super) async fn has_read(
        &mut self,
        reading: Option<&mut FuturesUnordered<Reading>>,
        (count, began, read): HasRead,
    ) {
        self.memory.expect(0);
        let poll = if self.bell.is_some() { POLL_BELOW_BELL } else { POLL };
        match read {
            Ok(read) => {
                self.group.prolonged(began);
                self.lost(read.lost);
                let full = read.entries.len() == count;
                self.exhausted |= self.until.is_some() && read.entries.is_empty();
                self.next_read = Instant::now() + if full || self.rung { Duration::ZERO } else { poll };
                // A replay looks first whether this was the end.
                let room = self.memory.room_beside(read.entries.len());
                if let Some(reading) = reading.filter(|_| full && self.until.is_none() && room > 0) {
                    self.begin_read(reading, room);
                }
                self.take(read.entries).await;
                self.begin_settle();
            }
            Err(error) => self.redis_failed(&error).await,
        }
    }

    /// Begins anew with what is pending for this consumer, after a time without its lease: what it held may be somebody
    /// else's by now.
    async fn begin_anew(&mut self) {
        // What is told now is not read again.
        self.settle().await;
        self.epoch += 1;
        self.waiting.clear();
        self.again.clear();
        self.memory.release_all();
        self.pending_after = Some("0".to_owned());
        self.next_read = Instant::now();
    }

    /// Reads on in what is pending for this consumer.
    async fn read_pending(&mut self, after: String, room: usize) {
        match self.group.pending(&after, room).await {
            Ok((_, last)) if last == after => {}
            Ok((page, last)) => {
                self.pending_after = Some(last);
                self.possibly_lost(page.possibly_lost);
                self.take(page.entries).await;
                self.begin_settle();
            }
            Err(error) => {
                self.pending_after = Some(after);
                self.redis_failed(&error).await;
            }
        }
    }

    /// Shapes entries; those that the destination does not want are done with.
    async fn take(&mut self, entries: Vec<Entry>) {
        let now = Instant::now();
        for (number, Entry { id, event }) in entries.into_iter().enumerate() {
            if number % TURN == 0 {
                tokio::task::yield_now().await;
            }
            if self.until.is_some_and(|last| EntryId::parse(&id) > last) {
                self.exhausted = true;
                self.debts.unwanted.push(id);
                continue;
            }
            let Ok(record) = Record::from_json(&event) else {
                self.bury_unreadable(id, event, Timestamp::now());
                continue;
            };
            let Some(choice) = (self.router)(&record) else {
                self.debts.unwanted.push(id);
                continue;
            };
            let private = match self.privacy.as_ref().map(|privacy| privacy.apply(&event)) {
                None => None,
                Some(Some(private)) => Some(private),
                Some(None) => {
                    self.bury_unreadable(id, event, record.timestamp.timestamp());
                    continue;
                }
            };
            let (record, canonical) = match &private {
                Some((record, canonical)) => (record, &canonical[..]),
                None => (&record, &event[..]),
            };
            let routed = Routed { record, canonical, level: choice.level.as_deref(), index: choice.index.as_deref() };
            let shaped = self.platform.shape(&routed);
            let of_losses = record.event == EventName::EventsDropped;
            let item = Item { id, event, shaped, of_losses };
            let bytes = item.held();
            self.memory.learn(bytes);
            if self.waiting.push(item, now) {
                self.memory.hold(bytes);
            }
        }
    }

    /// Looks after the connection, the lease, what was trimmed, and the entries of consumers that died.
    pub(super) async fn housekeeping(&mut self, idle: bool) {
        if idle {
            self.platform.idle(self.delivery.timeout.min(IDLE_TIMEOUT)).await;
        }
        self.settle().await;
        // While the platform is slow nothing is read, and the lease must not lapse for it.
        if self.group.holds_lease()
            && let Err(error) = self.group.renew().await
        {
            return self.redis_failed(&error).await;
        }
        let room = self.memory.room();
        if room == 0 && self.group.holds_lease() {
            // Nothing is read for now, and what is trimmed meanwhile is told all the same.
            match self.group.read(0).await {
                Ok(read) => self.lost(read.lost),
                Err(error) => return self.redis_failed(&error).await,
            }
        }
        if self.pending_after.is_some() {
            // What others left would be read once more, and how much is this consumer's says nothing yet.
            return;
        }
        match self.group.claim(room).await {
            Ok(claimed) => {
                let known = self.known();
                self.possibly_lost(claimed.possibly_lost);
                self.take(claimed.entries).await;
                // An answer of Redis was lost after it gave entries out, or it came back as it was before some were
                // acknowledged. Nobody else takes them while this consumer lives.
                if claimed.own > known && self.group.holds_lease() {
                    tracing::info!(own = claimed.own, known, "entries that this consumer has are read again");
                    self.begin_anew().await;
                }
            }
            Err(error) => self.redis_failed(&error).await,
        }
    }

    /// How many entries this worker knows of that Redis counts as this consumer's.
    fn known(&self) -> u64 {
        let again: usize = self.again.iter().map(|(_, batch)| batch.items.len()).sum();
        (self.waiting.len() + again + self.flying + self.debts.len() + self.telling) as u64
    }

    /// A group that is gone is made again; the rest comes back by itself.
    pub(super) async fn redis_failed(&mut self, error: &StreamError) {
        if matches!(error, StreamError::NoGroup) {
            // What was pending went with it.
            self.pending_after = None;
        }
        if matches!(error, StreamError::NoGroup) && self.until.is_some() {
            // Another replica has ended the replay.
            self.exhausted = true;
        } else if matches!(error, StreamError::NoGroup) {
            match self.group.open(Timestamp::now()).await {
                Ok(Opened::Found) => {}
                Ok(how) => tracing::info!(?how, "the consumer group was made"),
                Err(error) => tracing::warn!(%error, "the consumer group can not be made"),
            }
        } else {
            tracing::warn!(%error, "the audit stream can not be read");
        }
        self.next_read = Instant::now() + REDIS_PAUSE;
    }
}
