//! One destination's way from the stream to the platform: read, shape, batch, send, acknowledge.
//!
//! Promises: an entry is acknowledged only when the platform took it, refused it for good, or is not meant to have it; it is
//! sent only while this consumer's lease lasts; what is held in memory is bounded; a refused credential or a wrong setting
//! holds everything and loses nothing. At least once, in no order. Must never let one destination wait for another.

mod batch;
mod pace;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use events::{DroppedCause, EventName, Record};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answer::{Code, Outcome, Verdict};
use crate::destination::{Routed, Shaped};
use crate::platform::Platform;
use crate::privacy::Privacy;
use crate::stream::{Dead, Entry, Group, Lost, Opened, Read, StreamError};
use crate::tally::{Loss, Tally};

use batch::{Batch, Item, Waiting};
use pace::{Bucket, Pace};

/// How often an idle stream is looked at. Most of the latency of an event that nobody waits for.
const POLL: Duration = Duration::from_millis(50);
/// The same, where a doorbell says when there is something.
const POLL_BELOW_BELL: Duration = Duration::from_secs(1);
/// How often the entries of consumers that died are looked for, and connections are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How often a destination that refuses everything is asked again.
const PROBE: Duration = Duration::from_secs(30);
/// Single events that are refused in a row with one code are no poison, but a wrong mapping.
const POISON_RUN: u32 = 20;
/// Between two tries of a Redis that fails.
const REDIS_PAUSE: Duration = Duration::from_secs(1);
/// How long looking after a connection may take.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Entries of one read at most.
const READ: usize = 1_000;
/// What an entry is taken for before it is read: the mean of a `tool_call`, and some.
const ENTRY_BYTES: usize = 2_048;
/// How long what is on its way may take when the process ends.
const FINISH: Duration = Duration::from_secs(5);

/// How a destination is served: the `delivery` of its SiemExport.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Events of a request at most.
    pub batch_events: usize,
    /// Bytes of a request at most, before compression.
    pub batch_bytes: usize,
    /// How long the first event of a batch waits for others.
    pub flush_interval: Duration,
    /// Of one attempt.
    pub timeout: Duration,
    /// Longest time between two attempts.
    pub max_retry_interval: Duration,
    /// From when on, counted from the event, it is not sent again.
    pub give_up_after: Duration,
    /// What the destination holds in memory at most, in bytes.
    pub memory: usize,
    /// Events per second at most; `None`: no limit.
    pub rate_limit: Option<u32>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            batch_events: 500,
            batch_bytes: 1 << 20,
            flush_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            max_retry_interval: Duration::from_secs(30),
            give_up_after: Duration::from_secs(24 * 3600),
            memory: 4 << 20,
            rate_limit: None,
        }
    }
}

/// What a destination wants of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The platform's level, where a severity map names one.
    pub level: Option<String>,
    /// The index that an override names.
    pub index: Option<String>,
}

/// The id of an entry of the stream, as Redis orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct EntryId(u64, u64);

impl EntryId {
    fn parse(text: &str) -> Self {
        let (ms, number) = text.split_once('-').unwrap_or((text, "0"));
        Self(ms.parse().unwrap_or(u64::MAX), number.parse().unwrap_or(u64::MAX))
    }
}

/// Chooses the events that a destination wants.
pub type Router = dyn Fn(&Record) -> Option<Choice> + Send + Sync;

/// How it stands with a destination at this replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing has been sent yet.
    #[default]
    Idle,
    /// The last answer was good.
    Delivering,
    /// The last answer was not, and may be better next time.
    Retrying(Code),
    /// The credential is refused; everything is held.
    AuthRejected(Code),
    /// The platform refuses everything, because this field is wrong; everything is held.
    Rejected(Code, &'static str),
}

/// The task of one destination.
pub struct Worker {
    group: Group,
    platform: Arc<dyn Platform>,
    router: Arc<Router>,
    delivery: Delivery,
    condition: watch::Sender<Condition>,
    /// Shaped, and not in a batch yet.
    waiting: Waiting,
    /// To be sent again, each at its time.
    again: VecDeque<(Instant, Batch)>,
    /// What Redis is still to be told: entries that were delivered, that are not wanted, and that nobody will ever take.
    delivered: Vec<String>,
    unwanted: Vec<String>,
    dead: Vec<(String, Bytes, Code)>,
    /// Bytes of events and of their encoded forms.
    held: usize,
    /// Bytes that what is being read may have.
    expected: usize,
    /// What an entry takes in memory, about: the mean of the last ones.
    entry_bytes: usize,
    /// Nothing is read until there is memory for it.
    starved: bool,
    /// Something was added while a read was under way.
    rung: bool,
    /// Events that are on their way.
    flying: usize,
    /// How often this worker began anew: what was sent before is not its to send again.
    epoch: u64,
    /// What all destinations together hold.
    in_flight: Option<Arc<AtomicUsize>>,
    /// What this destination may hold at present, as the number of destinations changes.
    share: Option<Arc<AtomicUsize>>,
    privacy: Option<Arc<Privacy>>,
    tally: Tally,
    bell: Option<watch::Receiver<u64>>,
    bucket: Option<Bucket>,
    /// The last entry that is wanted; with one, the worker ends when it is done with it.
    until: Option<EntryId>,
    /// Nothing is left to read.
    exhausted: bool,
    pace: Pace,
    poison: Option<(Code, u32)>,
    /// Nothing but one batch is sent before this.
    hold_until: Option<Instant>,
    /// Nothing is sent before this: the platform asked for it.
    not_before: Option<Instant>,
    next_read: Instant,
    next_housekeeping: Instant,
}

/// With the epoch in which it was sent.
type Sending = BoxFuture<'static, (u64, Batch, Outcome)>;
/// One read, of so many entries at most, and when it was begun.
type Reading = BoxFuture<'static, HasRead>;
type HasRead = (usize, Instant, Result<Read, StreamError>);

/// What was held is no longer, however the worker ends.
impl Drop for Worker {
    fn drop(&mut self) {
        self.release(self.held);
    }
}

impl Worker {
    /// A worker that begins where its group is.
    #[must_use]
    pub fn new(group: Group, platform: Arc<dyn Platform>, router: Arc<Router>, delivery: Delivery) -> Self {
        let limits = platform.limits();
        let (events, bytes) = (delivery.batch_events.min(limits.events), delivery.batch_bytes.min(limits.bytes));
        let now = Instant::now();
        Self {
            waiting: Waiting::new(events, bytes, limits.span, delivery.flush_interval),
            pace: Pace::new(delivery.max_retry_interval),
            bucket: delivery.rate_limit.map(|rate| Bucket::new(rate, now)),
            group,
            platform,
            router,
            delivery,
            condition: watch::Sender::default(),
            again: VecDeque::new(),
            delivered: Vec::new(),
            unwanted: Vec::new(),
            dead: Vec::new(),
            held: 0,
            expected: 0,
            starved: false,
            rung: false,
            flying: 0,
            epoch: 0,
            in_flight: None,
            share: None,
            privacy: None,
            tally: Tally::default(),
            bell: None,
            until: None,
            exhausted: false,
            poison: None,
            hold_until: None,
            not_before: None,
            entry_bytes: ENTRY_BYTES,
            next_read: now,
            next_housekeeping: now,
        }
    }

    /// What its destination does not get to see.
    #[must_use]
    pub fn with_privacy(mut self, privacy: Option<Arc<Privacy>>) -> Self {
        self.privacy = privacy;
        self
    }

    /// Where it counts.
    #[must_use]
    pub fn with_tally(mut self, tally: Tally) -> Self {
        self.tally = tally;
        self
    }

    /// What it may hold, which may change, and where what all hold is counted.
    #[must_use]
    pub fn with_memory(mut self, share: Arc<AtomicUsize>, in_flight: Arc<AtomicUsize>) -> Self {
        (self.share, self.in_flight) = (Some(share), Some(in_flight));
        self
    }

    /// What says that there is something to read.
    #[must_use]
    pub fn with_bell(mut self, bell: watch::Receiver<u64>) -> Self {
        self.bell = Some(bell);
        self
    }

    /// Makes it end when it is done with the entry of this id and those before it.
    #[must_use]
    pub fn until(mut self, last: &str) -> Self {
        self.until = Some(EntryId::parse(last));
        self
    }

    /// How it stands.
    #[must_use]
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Runs until told to stop; then waits a little for what is on its way.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sending: FuturesUnordered<Sending> = FuturesUnordered::new();
        // At most one: Redis reads while this shapes what it read before.
        let mut reading: FuturesUnordered<Reading> = FuturesUnordered::new();
        let mut bell = self.bell.clone();
        loop {
            self.send(&mut sending);
            if reading.is_empty() && self.is_done(&sending) {
                return;
            }
            let next = self.next_step(&sending, &reading);
            let rung = async {
                let rings = match &mut bell {
                    Some(bell) => bell.changed().await.is_ok(),
                    None => false,
                };
                if !rings {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Before what may be there again and again while there is a backlog.
                () = sleep_until(next) => {
                    let now = Instant::now();
                    if now >= self.next_housekeeping {
                        self.next_housekeeping = now + HOUSEKEEPING;
                        // It compares what Redis gave out with what is known here.
                        if let Some(read) = reading.next().await {
                            self.has_read(None, read).await;
                        }
                        self.housekeeping(sending.is_empty()).await;
                    }
                    if now >= self.next_read && reading.is_empty() {
                        self.read(&mut reading).await;
                    }
                }
                Some((epoch, batch, outcome)) = sending.next() => {
                    self.landed(epoch, batch, outcome);
                    self.settle().await;
                    if self.starved && self.room() > 0 {
                        self.starved = false;
                        self.next_read = Instant::now();
                    }
                }
                Some(read) = reading.next() => self.has_read(Some(&mut reading), read).await,
                () = rung => {
                    self.rung = true;
                    self.next_read = self.next_read.min(Instant::now());
                }
            }
        }
        let finish = async {
            while let Some((epoch, batch, outcome)) = sending.next().await {
                self.landed(epoch, batch, outcome);
                self.settle().await;
            }
            // What this brings stays pending, which the next to hold this consumer's name looks for.
            while reading.next().await.is_some() {}
        };
        if tokio::time::timeout(FINISH, finish).await.is_err() {
            tracing::debug!("what is on its way is left to another replica");
        }
    }

    /// How many requests there may be at the same time.
    fn parallel(&self) -> usize {
        match (self.group.holds_lease(), self.hold_until) {
            // Somebody else may be sending the same.
            (false, _) => 0,
            (true, Some(_)) => 1,
            (true, None) => self.pace.parallel(),
        }
    }

    /// Starts as many requests as the pace allows.
    fn send(&mut self, sending: &mut FuturesUnordered<Sending>) {
        let now = Instant::now();
        let holding = self.hold_until.is_some();
        if self.hold_until.is_some_and(|until| now < until) || self.not_before.is_some_and(|until| now < until) {
            return;
        }
        while sending.len() < self.parallel() {
            if self.bucket.as_mut().is_some_and(|bucket| bucket.empty_until(now).is_some()) {
                return;
            }
            let pressed = self.is_pressed(sending);
            // After a row of refused events another one shows whether those were poison, or all are refused.
            let other = match holding && self.poison.is_some() {
                true => self.waiting.take(now, true, pressed),
                false => None,
            };
            let due = self.again.front().is_some_and(|(at, _)| *at <= now);
            let again = || due.then(|| self.again.pop_front()).flatten().map(|(_, batch)| batch);
            let Some(batch) = other.or_else(again).or_else(|| self.waiting.take(now, holding, pressed)) else { return };
            // A platform that takes nothing older says that it took it all the same.
            let (batch, old) = match self.platform.max_give_up_after() {
                Some(most) => batch.older_than(Timestamp::now() - most),
                None => (batch, Batch::default()),
            };
            self.bury(old, &Code::fixed("too-old"), DroppedCause::Expired);
            if batch.items.is_empty() {
                continue;
            }
            self.flying += batch.items.len();
            if let Some(bucket) = &mut self.bucket {
                bucket.take(batch.items.len());
            }
            let (platform, timeout, tally) = (self.platform.clone(), self.delivery.timeout, self.tally.clone());
            let epoch = self.epoch;
            sending.push(Box::pin(async move {
                let began = Instant::now();
                let shaped: Vec<Shaped> = batch.items.iter().map(|item| item.shaped.clone()).collect();
                let outcome = platform.send(&shaped, Timestamp::now(), timeout).await;
                tally.request(&outcome, began.elapsed());
                (epoch, batch, outcome)
            }));
        }
    }

    /// Whether everything up to the last entry that is wanted is delivered, buried or unwanted.
    fn is_done(&self, sending: &FuturesUnordered<Sending>) -> bool {
        self.exhausted
            && sending.is_empty()
            && self.again.is_empty()
            && self.waiting.due().is_none()
            && self.delivered.is_empty()
            && self.unwanted.is_empty()
            && self.dead.is_empty()
    }

    /// Whether nothing more comes to what waits: there is no memory for it, and none is on its way to become free.
    fn is_pressed(&self, sending: &FuturesUnordered<Sending>) -> bool {
        sending.is_empty() && self.again.is_empty() && self.expected == 0 && self.room() == 0
    }

    fn next_step(&mut self, sending: &FuturesUnordered<Sending>, reading: &FuturesUnordered<Reading>) -> Instant {
        let mut next = self.next_housekeeping;
        if reading.is_empty() {
            next = next.min(self.next_read);
        }
        if sending.len() < self.parallel() {
            let again = self.again.front().map(|(at, _)| *at);
            let send = [again, self.waiting.due()].into_iter().flatten().min();
            if let Some(mut send) = send {
                if let Some(until) = self.bucket.as_mut().and_then(|bucket| bucket.empty_until(Instant::now())) {
                    send = send.max(until);
                }
                let held = self.hold_until.max(self.not_before);
                next = next.min(held.map_or(send, |until| send.max(until)));
            }
        }
        next
    }

    /// Begins to read new entries, as many as there is room for.
    async fn read(&mut self, reading: &mut FuturesUnordered<Reading>) {
        if !self.group.holds_lease() && !self.resume().await {
            return;
        }
        let room = self.room();
        if room == 0 {
            self.starved = true;
            self.next_read = Instant::now() + POLL;
            return;
        }
        self.begin_read(reading, room);
    }

    fn begin_read(&mut self, reading: &mut FuturesUnordered<Reading>, count: usize) {
        self.expected = count * self.entry_bytes;
        self.rung = false;
        let (began, read) = (Instant::now(), self.group.begin_read(count));
        reading.push(Box::pin(async move { (count, began, read.await) }));
    }

    /// Takes what was read, and begins the next read before that where there is more.
    async fn has_read(&mut self, reading: Option<&mut FuturesUnordered<Reading>>, (count, began, read): HasRead) {
        self.expected = 0;
        let poll = if self.bell.is_some() { POLL_BELOW_BELL } else { POLL };
        match read {
            Ok(read) => {
                self.group.prolonged(began);
                self.lost(read.lost);
                let full = read.entries.len() == count;
                self.exhausted |= self.until.is_some() && read.entries.is_empty();
                self.next_read = Instant::now() + if full || self.rung { Duration::ZERO } else { poll };
                // A replay looks first whether this was the end.
                let room = self.room().saturating_sub(read.entries.len());
                if let Some(reading) = reading.filter(|_| full && self.until.is_none() && room > 0) {
                    self.begin_read(reading, room);
                }
                self.take(read.entries);
                self.settle().await;
            }
            Err(error) => self.redis_failed(&error).await,
        }
    }

    /// Entries for which there is memory.
    fn room(&self) -> usize {
        let share = self.share.as_ref().map_or(usize::MAX, |share| share.load(Ordering::Relaxed));
        (self.delivery.memory.min(share).saturating_sub(self.held + self.expected) / self.entry_bytes).min(READ)
    }

    /// Begins anew with what is pending for this consumer, after a time without its lease: what it held may be somebody
    /// else's by now. Gives whether Redis answered.
    async fn resume(&mut self) -> bool {
        // What is told now is not read again.
        self.settle().await;
        self.epoch += 1;
        self.waiting.clear();
        self.again.clear();
        self.release(self.held);
        let mut after = "0".to_owned();
        loop {
            match self.group.pending(&after, READ).await {
                Ok((_, last)) if last == after => return true,
                Ok((page, last)) => {
                    self.possibly_lost(page.possibly_lost);
                    self.take(page.entries);
                    after = last;
                }
                Err(error) => {
                    self.redis_failed(&error).await;
                    return false;
                }
            }
        }
    }

    /// Shapes entries; those that the destination does not want are done with.
    fn take(&mut self, entries: Vec<Entry>) {
        let now = Instant::now();
        for Entry { id, event } in entries {
            if self.until.is_some_and(|last| EntryId::parse(&id) > last) {
                self.exhausted = true;
                self.unwanted.push(id);
                continue;
            }
            let Ok(record) = Record::from_json(&event) else {
                // Nobody can shape it; its bytes are kept.
                self.dead.push((id, event, Code::fixed("unreadable-event")));
                self.count_dead(DroppedCause::Rejected, Timestamp::now());
                continue;
            };
            let Some(choice) = (self.router)(&record) else {
                self.unwanted.push(id);
                continue;
            };
            let private = match self.privacy.as_ref().map(|privacy| privacy.apply(&event)) {
                None => None,
                Some(Some(private)) => Some(private),
                Some(None) => {
                    self.dead.push((id, event, Code::fixed("unreadable-event")));
                    self.count_dead(DroppedCause::Rejected, record.timestamp.timestamp());
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
            let bytes = event.len() + shaped.bytes.len();
            self.entry_bytes = ((self.entry_bytes * 15 + bytes) / 16).max(ENTRY_BYTES / 2);
            if self.waiting.push(Item { id, event, shaped, of_losses }, now) {
                self.hold_bytes(bytes);
            }
        }
    }

    /// A batch has its answer. One that was sent before this worker began anew is no longer held, and may be another
    /// replica's: that it was taken is told, and nothing else is done.
    fn landed(&mut self, epoch: u64, batch: Batch, outcome: Outcome) {
        self.flying -= batch.items.len();
        if epoch == self.epoch {
            return self.judge(batch, outcome);
        }
        let mut verdicts = match outcome {
            Outcome::All(verdict) => vec![verdict; batch.items.len()],
            Outcome::Each(verdicts) => verdicts,
        }
        .into_iter();
        let taken = batch.items.into_iter().filter(|_| verdicts.next() == Some(Verdict::Delivered));
        let (ids, times): (Vec<_>, Vec<_>) = taken.map(|item| (item.id, item.shaped.time.timestamp())).unzip();
        self.tally.delivered(times.into_iter(), Timestamp::now());
        self.delivered.extend(ids);
    }

    /// What became of a batch.
    fn judge(&mut self, batch: Batch, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::All(verdict) => self.judge_all(batch, verdict, now),
            Outcome::Each(verdicts) => {
                // A platform that says less than it was asked for has not said that it took the rest.
                let missing = Verdict::Retry { code: Code::fixed("no-verdict"), after: None };
                // A platform that took others of the same request is set up rightly: these are no row of refusals. Some say
                // only how many they refused, so that sending one of them again would be another's repeat.
                let mixed = verdicts.contains(&Verdict::Delivered);
                let mut verdicts = verdicts.into_iter();
                for (verdict, part) in batch.divided(|| verdicts.next().unwrap_or_else(|| missing.clone())) {
                    match verdict {
                        Verdict::Drop { code } if mixed => self.bury(part, &code, DroppedCause::Rejected),
                        verdict => self.judge_all(part, verdict, now),
                    }
                }
            }
        }
    }

    fn judge_all(&mut self, batch: Batch, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Delivered => {
                self.pace.went_well();
                self.poison = None;
                self.hold_until = None;
                self.say(Condition::Delivering);
                self.release(batch.held());
                self.tally.delivered(batch.items.iter().map(|item| item.shaped.time.timestamp()), Timestamp::now());
                self.delivered.extend(batch.items.into_iter().map(|item| item.id));
            }
            Verdict::Retry { code, after } => {
                let wait = self.pace.failed(after);
                // The platform asked for a pause, and not for one batch alone.
                self.not_before = self.not_before.max(after.map(|asked| now + asked));
                self.say(Condition::Retrying(code.clone()));
                self.later(batch, now + wait, &code);
            }
            Verdict::Split { code } if batch.items.len() > 1 => {
                let (one, other) = batch.halves();
                // At once: the halves are what was wanted.
                self.again.push_front((now, other));
                self.again.push_front((now, one));
                self.say(Condition::Retrying(code));
            }
            Verdict::Split { code } | Verdict::Drop { code } => self.drop_for_good(batch, code, now),
            Verdict::Auth { code } => {
                self.hold(batch, now);
                self.say(Condition::AuthRejected(code));
            }
            Verdict::Config { code, field } => {
                self.hold(batch, now);
                self.say(Condition::Rejected(code, field));
            }
        }
    }

    fn drop_for_good(&mut self, batch: Batch, code: Code, now: Instant) {
        let run = match &mut self.poison {
            Some((known, run)) if *known == code => {
                *run += 1;
                *run
            }
            poison => poison.insert((code.clone(), 1)).1,
        };
        if run >= POISON_RUN {
            // Behind the others: the next probe is another one.
            let place = self.again.partition_point(|(due, _)| *due <= now);
            self.again.insert(place, (now, batch));
            self.hold_until = Some(now + PROBE);
            self.say(Condition::Rejected(code, "events"));
            return;
        }
        self.bury(batch, &code, DroppedCause::Rejected);
    }

    /// Sends a batch again, but for what is too old by now.
    fn later(&mut self, batch: Batch, at: Instant, code: &Code) {
        // What is sent again is old, which is why somebody asked for it.
        let (batch, old) = match self.until {
            None => batch.older_than(Timestamp::now() - self.delivery.give_up_after),
            Some(_) => (batch, Batch::default()),
        };
        self.bury(old, code, DroppedCause::Expired);
        if !batch.items.is_empty() {
            let place = self.again.partition_point(|(due, _)| *due <= at);
            self.again.insert(place, (at, batch));
        }
    }

    /// Nobody will ever take these.
    fn bury(&mut self, batch: Batch, code: &Code, cause: DroppedCause) {
        self.release(batch.held());
        for Item { id, event, shaped, of_losses } in batch.items {
            // The loss of an event that tells of losses is told by the metric alone: to tell it by another event, which is
            // lost in turn, would never end.
            if !of_losses {
                self.count_dead(cause, shaped.time.timestamp());
            }
            self.dead.push((id, event, code.clone()));
        }
    }

    fn count_dead(&self, cause: DroppedCause, at: Timestamp) {
        self.tally.lost(Loss { cause, count: 1, from: at, to: at });
    }

    fn lost(&self, lost: Option<Lost>) {
        if let Some(Lost { count, from, to }) = lost {
            tracing::error!(count, "events were trimmed before they could be delivered");
            let to = to.unwrap_or_else(Timestamp::now);
            self.tally.lost(Loss { cause: DroppedCause::Trimmed, count, from, to });
        }
    }

    fn possibly_lost(&self, count: u64) {
        if count > 0 {
            tracing::error!(count, "events were trimmed before they were acknowledged");
            let now = Timestamp::now();
            self.tally.lost(Loss { cause: DroppedCause::TrimmedPending, count, from: now, to: now });
        }
    }

    fn hold_bytes(&mut self, bytes: usize) {
        self.held += bytes;
        if let Some(all) = &self.in_flight {
            all.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn release(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        if let Some(all) = &self.in_flight {
            all.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Keeps a batch as the next probe.
    fn hold(&mut self, batch: Batch, now: Instant) {
        self.again.push_front((now, batch));
        self.hold_until = Some(now + PROBE);
    }

    /// Tells Redis what is done with. What it does not take is told again.
    async fn settle(&mut self) {
        let told = async {
            let page = |ids: &[String]| ids.iter().take(READ).cloned().collect::<Vec<_>>();
            while !self.delivered.is_empty() {
                let ids = page(&self.delivered);
                self.group.delivered(&ids.iter().map(String::as_str).collect::<Vec<_>>(), Timestamp::now()).await?;
                self.delivered.drain(..ids.len());
            }
            while !self.unwanted.is_empty() {
                let ids = page(&self.unwanted);
                self.group.skipped(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
                self.tally.skipped(ids.len());
                self.unwanted.drain(..ids.len());
            }
            while let Some((id, event, code)) = self.dead.last() {
                self.group.bury(&[Dead { id, event }], code.as_str()).await?;
                self.dead.pop();
            }
            Ok::<(), StreamError>(())
        };
        if let Err(error) = told.await {
            self.redis_failed(&error).await;
        }
    }

    async fn housekeeping(&mut self, idle: bool) {
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
        let room = self.room();
        if room == 0 && self.group.holds_lease() {
            // Nothing is read for now, and what is trimmed meanwhile is told all the same.
            match self.group.read(0).await {
                Ok(read) => self.lost(read.lost),
                Err(error) => return self.redis_failed(&error).await,
            }
        }
        match self.group.claim(room).await {
            Ok(claimed) => {
                let known = self.known();
                self.possibly_lost(claimed.possibly_lost);
                self.take(claimed.entries);
                // An answer of Redis was lost after it gave entries out, or it came back as it was before some were
                // acknowledged. Nobody else takes them while this consumer lives.
                if claimed.own > known && self.group.holds_lease() {
                    tracing::info!(own = claimed.own, known, "entries that this consumer has are read again");
                    self.resume().await;
                }
            }
            Err(error) => self.redis_failed(&error).await,
        }
    }

    /// How many entries this worker knows of that Redis counts as this consumer's.
    fn known(&self) -> u64 {
        let again: usize = self.again.iter().map(|(_, batch)| batch.items.len()).sum();
        let untold = self.delivered.len() + self.unwanted.len() + self.dead.len();
        (self.waiting.len() + again + self.flying + untold) as u64
    }

    async fn redis_failed(&mut self, error: &StreamError) {
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

    fn say(&self, condition: Condition) {
        self.condition.send_if_modified(|before| {
            let differs = *before != condition;
            *before = condition;
            differs
        });
    }
}
