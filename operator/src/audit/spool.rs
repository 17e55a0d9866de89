//! The events that wait, per pool and in order. No I/O and no clock of its own.
//!
//! A pool has an entry while something waits, and beside that only the number of its last event.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::sink::SinkError;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events of one pool.
    pub events: usize,
    /// Bytes of all pools.
    pub bytes: usize,
    /// Events of a pool without an exporter, the newest ones: its exporter may come up soon.
    pub unwanted: usize,
    /// How long these are kept.
    pub unwanted_for: Duration,
    /// Their bytes, of all such pools together: in most clusters most pools have no exporter.
    pub unwanted_bytes: usize,
    /// Events in one request.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 1_000,
            bytes: 16 << 20,
            unwanted: 100,
            unwanted_for: Duration::from_secs(600),
            unwanted_bytes: 512 << 10,
            batch: 100,
        }
    }
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Between two questions whether a pool has an exporter now.
const ABSENT_RETRY: Duration = Duration::from_secs(15);
/// The events of a deleted pool are tried for this long.
const FAREWELL: Duration = Duration::from_secs(60);

/// Why an event was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Newer ones needed its place.
    Overflow,
    /// The pool has no exporter.
    Unwanted,
    /// The exporter refuses it.
    Refused,
    /// The pool is gone.
    PoolDeleted,
    /// The pool that an object names does not exist.
    NoPool,
}

impl Loss {
    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Unwanted => "unwanted",
            Self::Refused => "refused",
            Self::PoolDeleted => "pool_deleted",
            Self::NoPool => "no_pool",
        }
    }
}

/// Events on their way: the first of a pool's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Uid of the pool.
    pub pool: Box<str>,
    /// The events, each as JSON.
    pub events: Vec<Vec<u8>>,
    /// The place of the first one, counted since the queue began.
    from: u64,
}

struct Queue {
    waiting: VecDeque<(Box<[u8]>, Instant)>,
    /// How many have left the front, so that a batch that comes back finds its own events.
    left: u64,
    on_its_way: bool,
    due: Instant,
    failures: u32,
    /// Smaller after a refusal, until the event that is to blame is alone.
    batch: usize,
    gone_since: Option<Instant>,
    /// Whether the pool had no exporter when it was last asked for.
    absent: bool,
}

/// The events of every pool that wait.
pub struct Spool {
    limits: Limits,
    queues: HashMap<Box<str>, Queue>,
    numbers: HashMap<Box<str>, u64>,
    bytes: usize,
    absent_bytes: usize,
    count: usize,
    dropped: Vec<(Loss, u64)>,
}

impl Spool {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queues: HashMap::new(),
            numbers: HashMap::new(),
            bytes: 0,
            absent_bytes: 0,
            count: 0,
            dropped: Vec::new(),
        }
    }

    /// Adds an event, which `make` writes under the next number of the pool's.
    pub fn push(&mut self, pool: &str, now: Instant, make: impl FnOnce(u64) -> Vec<u8>) {
        let number = match self.numbers.get_mut(pool) {
            Some(number) => number,
            None => self.numbers.entry(pool.into()).or_insert(0),
        };
        *number += 1;
        let json = make(*number).into_boxed_slice();
        let limits = self.limits;
        let fresh = || Queue {
            waiting: VecDeque::new(),
            left: 0,
            on_its_way: false,
            due: now,
            failures: 0,
            batch: limits.batch,
            gone_since: None,
            absent: false,
        };
        (self.bytes, self.count) = (self.bytes + json.len(), self.count + 1);
        let queue = self.queues.entry(pool.into()).or_insert_with(fresh);
        self.absent_bytes += if queue.absent { json.len() } else { 0 };
        queue.waiting.push_back((json, now));
        match queue.absent {
            true if queue.waiting.len() > limits.unwanted => self.drop_first(pool, Loss::Unwanted),
            false if queue.waiting.len() > limits.events => self.drop_first(pool, Loss::Overflow),
            _ => {}
        }
        self.keep_within();
    }

    /// Takes from the longest queues what is too much for all of them together.
    fn keep_within(&mut self) {
        loop {
            let (only_absent, why) =
                match (self.absent_bytes > self.limits.unwanted_bytes, self.bytes > self.limits.bytes) {
                    (true, _) => (true, Loss::Unwanted),
                    (false, true) => (false, Loss::Overflow),
                    (false, false) => return,
                };
            let queues = self.queues.iter().filter(|(_, queue)| queue.absent || !only_absent);
            let longest = queues.max_by_key(|(_, queue)| queue.waiting.len()).map(|(pool, _)| pool.clone());
            let Some(longest) = longest else { return };
            self.drop_first(&longest, why);
        }
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many of them an exporter could take.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.queues.values().filter(|queue| !queue.absent).map(|queue| queue.waiting.len()).sum()
    }

    /// What was dropped since this was asked last.
    pub fn take_dropped(&mut self) -> Vec<(Loss, u64)> {
        std::mem::take(&mut self.dropped)
    }

    /// At most `most` batches of pools whose turn it is, and when the next one's turn is. They count as on their way until
    /// [`Spool::settle`].
    pub fn take_due(&mut self, now: Instant, most: usize) -> (Vec<Batch>, Option<Instant>) {
        let (mut batches, mut next) = (Vec::new(), None::<Instant>);
        for (pool, queue) in self.queues.iter_mut().filter(|(_, queue)| !queue.on_its_way) {
            if queue.due > now {
                next = Some(next.map_or(queue.due, |next| next.min(queue.due)));
            } else if batches.len() < most {
                queue.on_its_way = true;
                let events = queue.waiting.iter().take(queue.batch).map(|(json, _)| json.to_vec()).collect();
                batches.push(Batch { pool: pool.clone(), events, from: queue.left });
            }
        }
        (batches, next)
    }

    /// What became of a batch. `jitter` is between 0 and 1.
    pub fn settle(&mut self, batch: &Batch, result: Result<u64, SinkError>, now: Instant, jitter: f64) {
        let limits = self.limits;
        let Some(queue) = self.queues.get_mut(&batch.pool) else { return };
        queue.on_its_way = false;
        let absent = result == Err(SinkError::Absent);
        if absent != queue.absent {
            queue.absent = absent;
            let bytes: usize = queue.waiting.iter().map(|(json, _)| json.len()).sum();
            self.absent_bytes = if absent { self.absent_bytes + bytes } else { self.absent_bytes - bytes };
        }
        match result {
            Ok(_) => {
                let sent = batch.from + batch.events.len() as u64;
                // What was dropped meanwhile is not there any more.
                let first = usize::try_from(sent.saturating_sub(queue.left)).unwrap_or(usize::MAX);
                (queue.failures, queue.due, queue.batch) = (0, now, limits.batch);
                self.remove(&batch.pool, first);
            }
            Err(SinkError::Absent) => {
                queue.due = now + ABSENT_RETRY.mul_f64(1.0 + jitter / 4.0);
                let old = |(_, since): &&(Box<[u8]>, Instant)| now.duration_since(*since) >= limits.unwanted_for;
                let old = queue.waiting.iter().take_while(old).count();
                let first = old.max(queue.waiting.len().saturating_sub(limits.unwanted));
                self.drop_some(&batch.pool, first, Loss::Unwanted);
                self.keep_within();
            }
            Err(SinkError::Refused) if batch.events.len() > 1 => {
                (queue.batch, queue.due) = (batch.events.len() / 2, now);
            }
            Err(SinkError::Refused) => {
                (queue.batch, queue.due) = (limits.batch, now);
                if queue.left == batch.from {
                    self.drop_first(&batch.pool, Loss::Refused);
                }
            }
            Err(SinkError::Unavailable) => {
                let wait = FIRST_RETRY.saturating_mul(1 << queue.failures.min(10)).min(LAST_RETRY);
                queue.failures += 1;
                queue.due = now + wait.mul_f64(1.0 + jitter / 4.0);
            }
        }
        let over = |queue: &Queue| queue.gone_since.is_some_and(|since| now.duration_since(since) >= FAREWELL);
        if self.queues.get(&batch.pool).is_some_and(|queue| result.is_err() && over(queue)) {
            self.drop_some(&batch.pool, usize::MAX, Loss::PoolDeleted);
        }
        // Everything may have been dropped while it was on its way.
        self.remove(&batch.pool, 0);
    }

    /// The pool is gone: what waits is tried a little longer.
    pub fn gone(&mut self, pool: &str, now: Instant) {
        match self.queues.get_mut(pool) {
            Some(queue) => queue.gone_since = Some(now),
            None => {
                self.numbers.remove(pool);
            }
        }
    }

    /// Everything is due at once, for a last try.
    pub fn hurry(&mut self, now: Instant) {
        self.queues.values_mut().for_each(|queue| queue.due = now);
    }

    /// Counts what was dropped before it came here.
    pub fn count_dropped(&mut self, why: Loss, events: u64) {
        if events > 0 {
            self.dropped.push((why, events));
        }
    }

    fn drop_first(&mut self, pool: &str, why: Loss) {
        self.drop_some(pool, 1, why);
    }

    fn drop_some(&mut self, pool: &str, first: usize, why: Loss) {
        let events = self.remove(pool, first);
        self.count_dropped(why, events);
    }

    /// Takes the first events from a queue, and the queue with the last of them.
    fn remove(&mut self, pool: &str, first: usize) -> u64 {
        let Some(queue) = self.queues.get_mut(pool) else { return 0 };
        let first = first.min(queue.waiting.len());
        let bytes: usize = queue.waiting.drain(..first).map(|(json, _)| json.len()).sum();
        queue.left += first as u64;
        (self.bytes, self.count) = (self.bytes - bytes, self.count - first);
        self.absent_bytes -= if queue.absent { bytes } else { 0 };
        // A queue that was long does not keep the room that it had.
        if queue.waiting.capacity() > 2 * queue.waiting.len() + 8 {
            queue.waiting.shrink_to_fit();
        }
        // A queue with a batch on its way is still asked for when it comes back.
        if queue.waiting.is_empty() && !queue.on_its_way {
            if queue.gone_since.is_some() {
                self.numbers.remove(pool);
            }
            self.queues.remove(pool);
        }
        first as u64
    }
}
