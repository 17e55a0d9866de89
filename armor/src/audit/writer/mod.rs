//! The one task that writes the trail into Redis.
//!
//! Promises: what it took from the queue it holds until Redis has it, through every reconnect; an entry
//! whose answer was lost is looked for before it is added again; what Redis lost of the last 3 s is added
//! again under the same `event_id`. Must never hold more than one batch and those 3 s, or touch a call.

mod link;
mod recent;
mod size;

use std::{
    collections::{HashSet, VecDeque},
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
use ulid::Ulid;

use super::{
    Shared,
    metrics::SHUTDOWN,
    queue::{BATCH, Lane, Queue},
    settings::Target,
};
use link::{Link, LinkError, StreamId, is_full};
use recent::Recent;
use size::MeanSize;

/// How long the first event of a batch waits for company.
const LINGER: Duration = Duration::from_millis(5);
/// How often Redis is asked for its memory, losses are announced and a dead connection is noticed.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the stream's lifetime is refreshed; it is 7 days.
const LIFETIME_REFRESH: Duration = Duration::from_secs(60);
/// How often joined events are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// Windows closed under one lock.
const SWEEP_CHUNK: usize = 256;
/// How long the tail may take when Armor ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const BACKOFF: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(5);
/// The same while Armor ends, when there is little time.
const BACKOFF_ENDING: Duration = Duration::from_millis(100);
/// Pages of 500 that are searched for entries of unknown fate. Beyond them an entry is added again:
/// receivers can drop a duplicate, but nobody can restore a loss.
const SEARCH_PAGES_MAX: usize = 200;
/// An event in its final form.
pub(super) struct Entry {
    id: Ulid,
    lane: Lane,
    json: Vec<u8>,
}

/// Runs until `shutdown` and the tail's end.
pub(super) async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    let ending = CancellationToken::new();
    let mut writer = Writer {
        target: shared.target.subscribe(),
        hand: VecDeque::new(),
        unknown_after: None,
        tail: StreamId::default(),
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
        let work = async { tokio::join!(sweep(&shared, &shutdown, &ending), writer.pump()) };
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

/// Sends joined events when their window ends, and all of them at the end.
async fn sweep(shared: &Shared, shutdown: &CancellationToken, ending: &CancellationToken) {
    while !shutdown.is_cancelled() {
        shared.send_due_joins(Instant::now());
        // Waking at the end at once, so that the flush has all of its time.
        let _ = timeout(SWEEP_INTERVAL, shutdown.cancelled()).await;
    }
    for (stranger, repeat) in shared.refusals.with(super::joiner::Joiner::flush) {
        shared.emit_joined_refusal(&stranger, repeat);
    }
    for (incident, repeat) in shared.incidents.with(super::joiner::Joiner::flush) {
        shared.emit_joined_incident(incident, repeat);
    }
    ending.cancel();
}

impl Shared {
    fn send_due_joins(&self, now: Instant) {
        // In chunks, so that a request that is being refused never waits for ten thousand others.
        while self.refusals.with(|joiner| joiner.is_due(now)) {
            for (stranger, repeat) in self.refusals.with(|joiner| joiner.expire(now, SWEEP_CHUNK)) {
                self.emit_joined_refusal(&stranger, repeat);
            }
        }
        while self.incidents.with(|joiner| joiner.is_due(now)) {
            for (incident, repeat) in self.incidents.with(|joiner| joiner.expire(now, SWEEP_CHUNK)) {
                self.emit_joined_incident(incident, repeat);
            }
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    target: watch::Receiver<Arc<Target>>,
    /// Taken from the queue and not known to be in Redis.
    hand: VecDeque<Entry>,
    /// Set while the fate of the hand's first batch is unknown: the stream's end before it was sent.
    unknown_after: Option<StreamId>,
    /// The newest id known to be in the stream.
    tail: StreamId,
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
            let id = event.id;
            let json = event.into_json(&self.shared.source);
            self.entry_size.observe(json.len());
            self.hand.push_back(Entry { id, lane, json });
        }
    }

    /// Adds the first batch of the hand.
    async fn append(&mut self, link: &mut Link) -> Result<(), LinkError> {
        let started = Instant::now();
        let count = self.hand.len().min(BATCH);
        let refresh_lifetime = started >= self.next_lifetime;
        // From here until the answer nobody knows what Redis has, also if this future is dropped.
        self.unknown_after = Some(self.tail);
        let replies = link.append(self.hand.iter().take(count), self.entry_size.bytes(), refresh_lifetime).await?;
        self.unknown_after = None;
        let now = Instant::now();
        self.shared.metrics.write_seconds.observe((now - started).as_secs_f64());
        if refresh_lifetime {
            self.next_lifetime = now + LIFETIME_REFRESH;
        }

        let mut refusal = None;
        let mut refused = Vec::new();
        for (entry, reply) in self.hand.drain(..count).zip(replies) {
            match reply {
                Ok(id) => {
                    self.tail = self.tail.max(id);
                    self.recent.push(entry, id, now);
                }
                Err(error) => {
                    refused.push(entry);
                    refusal = Some(error);
                }
            }
        }
        self.recent.forget(now);
        for entry in refused.into_iter().rev() {
            self.hand.push_front(entry);
        }
        match refusal {
            None => Ok(()),
            Some(error) if is_full(&error) => {
                self.has_room = false;
                self.next_heartbeat = now + HEARTBEAT;
                self.shared.metrics.redis_up.set(0);
                Ok(())
            }
            Some(source) => Err(LinkError::Redis { step: "adding events", source }),
        }
    }

    /// Finds out what a Redis that was away still has, and takes into the hand what it has not.
    async fn recover(&mut self, link: &mut Link) -> Result<(), LinkError> {
        let start = self.recent.first_id().into_iter().chain(self.unknown_after).min();
        if let Some(start) = start {
            let unsure = self.hand.iter().take(match self.unknown_after {
                Some(_) => BATCH,
                None => 0,
            });
            let wanted: HashSet<Ulid> = self.recent.event_ids().chain(unsure.map(|entry| entry.id)).collect();
            let present = search(link, start, wanted).await?;
            let missing = self.recent.take_missing(&present);
            if !missing.is_empty() {
                warn!(
                    count = missing.len(),
                    "Redis came back without audit events that it had acknowledged; adding them again"
                );
                self.shared.metrics.count_readded(missing.len());
            }
            self.hand.retain(|entry| !present.contains(&entry.id));
            for entry in missing.into_iter().rev() {
                self.hand.push_front(entry);
            }
            self.unknown_after = None;
        }
        self.tail = link.newest().await?;
        Ok(())
    }
}

/// Which of `wanted` are in the stream from `start` on.
async fn search(link: &mut Link, start: StreamId, wanted: HashSet<Ulid>) -> Result<HashSet<Ulid>, LinkError> {
    let mut present = HashSet::new();
    let mut position = (start, false);
    for _ in 0..SEARCH_PAGES_MAX {
        let page = link.page(position.0, position.1).await?;
        let Some(last) = page.last() else { break };
        position = (last.at, true);
        present.extend(page.iter().filter_map(|found| found.event_id).filter(|id| wanted.contains(id)));
        if present.len() == wanted.len() {
            break;
        }
    }
    Ok(present)
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
