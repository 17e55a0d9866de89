//! The one task that writes the trail into Redis.
//!
//! Promises: what it took from the queue it holds until Redis has it, through every reconnect; an entry
//! whose answer was lost is added again only if Redis has not counted it; what Redis lost of the last 3 s
//! is added again under the same `event_id`, and what it lost of earlier ones is counted. Must never hold
//! more than one batch and those 3 s, or touch a call.

mod ledger;
mod link;
mod recent;
mod size;
mod sweep;

use std::{
    collections::VecDeque,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use events::{DroppedCause, Moment};
use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    Shared,
    metrics::SHUTDOWN,
    queue::{BATCH, Lane, Queue},
    settings::Target,
};
use ledger::{Ledger, Lost, Standing};
use link::{Link, LinkError};
use recent::Recent;
use size::MeanSize;

/// How long the first event of a batch waits for company.
const LINGER: Duration = Duration::from_millis(5);
/// How often Redis is asked for its memory, losses are announced and a dead connection is noticed.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the stream's lifetime is refreshed; it is 7 days.
const LIFETIME_REFRESH: Duration = Duration::from_secs(60);
/// How long the tail may take when Armor ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const BACKOFF: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(5);
/// The same while Armor ends, when there is little time.
const BACKOFF_ENDING: Duration = Duration::from_millis(100);

/// An event in its final form.
pub(super) struct Entry {
    lane: Lane,
    json: Vec<u8>,
}

/// Runs until `shutdown` and the tail's end.
pub(super) async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    let ending = CancellationToken::new();
    let mut target = shared.target.subscribe();
    let place = Arc::clone(&target.borrow_and_update());
    let mut writer = Writer {
        target,
        ledger: Ledger::new(&place.stream, shared.source.instance.as_str()),
        place,
        hand: VecDeque::new(),
        unsure: 0,
        recent: Recent::default(),
        entry_size: MeanSize::default(),
        next_heartbeat: Instant::now(),
        next_announcement: Instant::now(),
        next_lifetime: Instant::now(),
        has_room: true,
        ending: ending.clone(),
        shared: Arc::clone(&shared),
    };
    {
        let work = async { tokio::join!(sweep::run(&shared, &shutdown, &ending), writer.pump()) };
        let deadline = async {
            ending.cancelled().await;
            sleep(FLUSH_DEADLINE).await;
        };
        tokio::select! {
            _ = work => {}
            () = deadline => {}
        }
    }
    shared.metrics.redis_up.set(0);
    let in_hand = writer.hand.len();
    for entry in &writer.hand {
        shared.metrics.dropped_of(entry.lane, SHUTDOWN).inc();
    }
    let lost = in_hand + shared.queue.close();
    if lost > 0 {
        error!(lost, "audit events were lost: Redis did not take them before the end");
    }
}

struct Writer {
    shared: Arc<Shared>,
    target: watch::Receiver<Arc<Target>>,
    /// Taken from the queue and not known to be in Redis.
    hand: VecDeque<Entry>,
    /// How many of them, the first, Redis may have: their batch was sent and not answered.
    unsure: usize,
    /// The Redis and the stream that `ledger` is about.
    place: Arc<Target>,
    ledger: Ledger,
    recent: Recent,
    entry_size: MeanSize,
    next_heartbeat: Instant,
    next_announcement: Instant,
    next_lifetime: Instant,
    has_room: bool,
    ending: CancellationToken,
}

/// Why a connection is not used any longer, if it did not fail.
enum End {
    /// Everything is written, and nothing more will come.
    Drained,
    /// The settings name another Redis.
    Moved,
}

impl Writer {
    async fn pump(&mut self) {
        let mut backoff = BACKOFF.start;
        let mut reported = false;
        loop {
            let target = Arc::clone(&self.target.borrow_and_update());
            let connected = Link::connect(target).await;
            let ended = match connected {
                Ok(mut link) => self.serve(&mut link, &mut reported, &mut backoff).await,
                Err(error) => Err(error),
            };
            self.shared.metrics.redis_up.set(0);
            self.shared.queue.set_obstacle(DroppedCause::RedisUnavailable);
            match ended {
                Ok(End::Drained) => return,
                Ok(End::Moved) => {
                    info!("the settings of the audit trail changed; connecting again");
                    continue;
                }
                Err(error) if !reported => {
                    reported = true;
                    warn!(%error, "Redis takes no audit events; they wait in memory");
                }
                Err(_) => {}
            }
            let pause = if self.ending.is_cancelled() {
                BACKOFF_ENDING
            } else {
                backoff = rand::random_range(BACKOFF.start..=backoff * 3).min(BACKOFF.end);
                backoff
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.target.changed() => backoff = BACKOFF.start,
                () = self.ending.cancelled(), if !self.ending.is_cancelled() => {}
            }
        }
    }

    async fn serve(&mut self, link: &mut Link, reported: &mut bool, backoff: &mut Duration) -> Result<End, LinkError> {
        self.recover(link).await?;
        // A new Redis has neither the old one's memory nor its key's lifetime.
        self.next_heartbeat = Instant::now();
        self.next_lifetime = Instant::now();
        loop {
            if self.target.has_changed().unwrap_or(false) {
                return Ok(End::Moved);
            }
            self.heartbeat(link).await?;
            if !self.has_room {
                self.shared.queue.set_obstacle(DroppedCause::RedisFull);
                self.idle().await;
                continue;
            }
            self.shared.queue.set_obstacle(DroppedCause::QueueFull);
            if self.hand.is_empty() {
                self.fill_hand().await;
            }
            if self.hand.is_empty() {
                if self.ending.is_cancelled() {
                    return Ok(End::Drained);
                }
                continue;
            }
            self.append(link).await?;
            if std::mem::take(reported) {
                info!("Redis takes audit events again");
            }
            *backoff = BACKOFF.start;
        }
    }

    /// Waits for the next heartbeat or other settings.
    async fn idle(&mut self) {
        tokio::select! {
            () = sleep_until(self.next_heartbeat.into()) => {}
            // Left to the caller, which looks whether it has changed.
            _ = self.target.changed() => self.target.mark_changed(),
        }
    }

    /// Asks Redis for its memory at most once a second, which also shows that it is alive.
    async fn heartbeat(&mut self, link: &mut Link) -> Result<(), LinkError> {
        if Instant::now() < self.next_heartbeat {
            return Ok(());
        }
        let memory = link.memory().await?;
        if memory.has_room() != self.has_room {
            self.has_room = memory.has_room();
            if self.has_room {
                info!("Redis has room for audit events again");
            } else {
                warn!("the audit trail may use no more of Redis's memory; events wait");
            }
        }
        let now = Instant::now();
        self.recent.forget(now);
        self.next_heartbeat = now + HEARTBEAT;
        self.shared.metrics.redis_up.set(i64::from(self.has_room));
        Ok(())
    }

    /// Waits for a batch, but at most until the next heartbeat, and takes it.
    async fn fill_hand(&mut self) {
        let queue = &self.shared.queue;
        tokio::select! {
            () = batch(queue) => {}
            () = sleep_until(self.next_heartbeat.into()) => {}
            _ = self.target.changed() => self.target.mark_changed(),
            () = self.ending.cancelled() => {}
        }
        let now = Instant::now();
        let mut taken = queue.take(BATCH);
        if now >= self.next_announcement || self.ending.is_cancelled() {
            let losses = queue.take_losses(Moment::new(Timestamp::now()));
            taken.extend(losses.into_iter().map(|event| (Lane::Operational, event)));
            self.next_announcement = now + HEARTBEAT;
        }
        for (lane, event) in taken {
            let json = event.into_json(&self.shared.source);
            self.entry_size.observe(json.len());
            self.hand.push_back(Entry { lane, json });
        }
    }

    /// Adds the first batch of the hand.
    async fn append(&mut self, link: &mut Link) -> Result<(), LinkError> {
        let started = Instant::now();
        if self.ledger.is_outlived(started) {
            self.start_over();
        }
        let count = self.hand.len().min(BATCH);
        let refresh_lifetime = started >= self.next_lifetime;
        let (key, expected) = (self.ledger.key(), self.ledger.added());
        let given_up = self.unsure;
        // From here until the answer nobody knows what Redis has, also if this future is dropped.
        self.unsure = count.max(given_up);
        let entries = self.hand.iter().take(count);
        let appended = link.append(key, expected, entries, self.entry_size.bytes(), refresh_lifetime).await?;
        let now = Instant::now();
        self.shared.metrics.write_seconds.observe((now - started).as_secs_f64());
        if appended.counted != expected {
            // It came back with less behind a connection that held, as behind a proxy; or what was given up came late.
            self.unsure = given_up;
            self.settle(appended.counted);
            self.next_lifetime = now;
            return Ok(());
        }
        // What was given up will find another count, and adds nothing.
        self.unsure = 0;
        if refresh_lifetime && appended.added > 0 {
            self.next_lifetime = now + LIFETIME_REFRESH;
            self.ledger.refreshed(started);
        }
        if appended.added > 0 {
            self.ledger.enter(appended.added, &appended.runs, appended.oldest);
        }
        self.acknowledge(appended.added, now);
        self.recent.forget(now);
        match appended.refusal {
            None => Ok(()),
            Some(refusal) if refusal.is_full() => {
                self.has_room = false;
                self.next_heartbeat = now + HEARTBEAT;
                self.shared.metrics.redis_up.set(0);
                Ok(())
            }
            Some(refusal) => Err(LinkError::Refused(refusal)),
        }
    }

    /// Finds out what a Redis that was away still has, and takes into the hand what it has not.
    async fn recover(&mut self, link: &mut Link) -> Result<(), LinkError> {
        let counted = link.counted(self.ledger.key()).await?;
        let elsewhere = !self.place.is_same_place(link.target());
        self.place = Arc::clone(link.target());
        match counted {
            _ if self.ledger.is_outlived(Instant::now()) => self.start_over(),
            // Another Redis has forgotten nothing: it never knew.
            None if elsewhere => self.start_over(),
            // The count went with the entries.
            counted => self.settle(counted.unwrap_or(0)),
        }
        Ok(())
    }

    /// Makes the books agree with what Redis has counted.
    fn settle(&mut self, counted: u64) {
        match self.ledger.compare(counted, self.unsure, self.recent.len()) {
            // It may come yet, as long as nothing else is added.
            Standing::Whole { of_batch: 0 } => return,
            Standing::Whole { of_batch } => self.acknowledge(of_batch, Instant::now()),
            Standing::Less { gone, again, lost } => {
                let mut entries = self.recent.take_newest(gone);
                self.add_again(entries.split_off(gone - again));
                if let Some(Lost { count, from_ms, to_ms }) = lost {
                    error!(count, "Redis came back without audit events that it had acknowledged; they are lost");
                    self.shared.queue.count_lost_by_redis(count, moment(from_ms), moment(to_ms));
                }
            }
            Standing::Strange => {
                warn!("Redis has another past than the one that audit events were added to; it is taken as it is");
                self.start_over();
            }
        }
        self.unsure = 0;
    }

    /// Counts from nothing, where nothing can be known of what was added before.
    fn start_over(&mut self) {
        self.ledger = Ledger::new(&self.place.stream, self.shared.source.instance.as_str());
        self.next_lifetime = Instant::now();
        self.unsure = 0;
        let held = self.recent.take_newest(self.recent.len());
        self.add_again(held);
    }

    /// Takes the first `count` of the hand as acknowledged.
    fn acknowledge(&mut self, count: usize, now: Instant) {
        for entry in self.hand.drain(..count) {
            self.recent.push(entry, now);
        }
    }

    /// Takes acknowledged entries into the hand, before all others.
    fn add_again(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        warn!(count = entries.len(), "Redis is without audit events that it had acknowledged; adding them again");
        self.shared.metrics.count_readded(entries.len());
        for entry in entries.into_iter().rev() {
            self.hand.push_front(entry);
        }
    }
}

/// A time of Redis's clock.
fn moment(unix_ms: u64) -> Moment {
    let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    Moment::new(at.unwrap_or_else(Timestamp::now))
}

/// Ready when a whole batch waits, or the first event has waited long enough.
async fn batch(queue: &Queue) {
    while queue.len() == 0 {
        queue.ready.notified().await;
    }
    let full = pin!(async {
        while queue.len() < BATCH {
            queue.ready.notified().await;
        }
    });
    let _ = timeout(LINGER, full).await;
}
