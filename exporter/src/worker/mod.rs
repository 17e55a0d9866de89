//! One destination's way from the stream to the platform: read, shape, batch, send, acknowledge.
//!
//! Promises: an entry is acknowledged only when the platform took it, refused it for good, or is not meant to have it; it is
//! sent only while this consumer's lease lasts; what is held in memory is bounded; a refused credential or a wrong setting
//! holds everything and loses nothing. At least once, in no order. Must never let one destination wait for another.
//!
//! Here is what happens when; each step is a file: `reading`, `sending`, `judging`, `settling`.

mod batch;
mod entry_id;
mod judging;
mod memory;
mod pace;
mod reading;
mod sending;
mod settling;
mod terms;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::answer::{Code, Outcome};
use crate::platform::Platform;
use crate::privacy::Privacy;
use crate::stream::{Group, Read, StreamError};
use crate::tally::Tally;

use batch::{Batch, Waiting};
use entry_id::EntryId;
use memory::Memory;
use pace::{Bucket, Pace};
use settling::{Debts, Settling};

pub use terms::{Choice, Condition, Delivery, IN_FLIGHT, Router};

/// How often the entries of consumers that died are looked for, and connections are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How long what is on its way may take when the process ends.
const FINISH: Duration = Duration::from_secs(5);

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
    debts: Debts,
    /// Redis is being told of so many others; at most one future, beside what is sent and read.
    settling: FuturesUnordered<Settling>,
    telling: usize,
    memory: Memory,
    /// Nothing is read until there is memory for it.
    starved: bool,
    /// Something was added while a read was under way.
    rung: bool,
    /// After which entry that this consumer had before is read on; `None`: all of them are known.
    pending_after: Option<String>,
    /// Events that are on their way.
    flying: usize,
    /// How often this worker began anew: what was sent before is not its to send again.
    epoch: u64,
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

/// Has something done while this task does something else. A future alone begins only when somebody waits for it: what is read
/// next would be asked of Redis when all that was read before is shaped.
fn beside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> BoxFuture<'static, T> {
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    Box::pin(async move {
        match task.await.map_err(JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is ending, and this task with it.
            Err(Err(_)) => std::future::pending().await,
        }
    })
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
            memory: Memory::new(delivery.memory),
            bucket: delivery.rate_limit.map(|rate| Bucket::new(rate, now)),
            group,
            platform,
            router,
            delivery,
            condition: watch::Sender::default(),
            again: VecDeque::new(),
            debts: Debts::default(),
            settling: FuturesUnordered::new(),
            telling: 0,
            starved: false,
            rung: false,
            pending_after: None,
            flying: 0,
            epoch: 0,
            privacy: None,
            tally: Tally::default(),
            bell: None,
            until: None,
            exhausted: false,
            poison: None,
            hold_until: None,
            not_before: None,
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
        self.memory.share(share, in_flight);
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
                    self.begin_settle();
                    if self.starved && self.memory.room() > 0 {
                        self.starved = false;
                        self.next_read = Instant::now();
                    }
                }
                Some(told) = self.settling.next() => self.settled(told).await,
                Some(read) = reading.next() => self.has_read(Some(&mut reading), read).await,
                () = rung => {
                    self.rung = true;
                    self.next_read = self.next_read.min(Instant::now());
                }
            }
        }
        let finish = async {
            // What has landed already does not wait for what is slow.
            self.settle().await;
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

    /// Whether everything up to the last entry that is wanted is delivered, buried or unwanted.
    fn is_done(&self, sending: &FuturesUnordered<Sending>) -> bool {
        self.exhausted
            && self.pending_after.is_none()
            && sending.is_empty()
            && self.again.is_empty()
            && self.waiting.due().is_none()
            && self.debts.is_empty()
            && self.settling.is_empty()
    }

    /// When there is something to do though nothing comes.
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
}
