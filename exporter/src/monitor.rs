//! What is looked after for the pool as a whole: the room in the stream, what is kept, what was lost, groups that nobody
//! names any more.
//!
//! Promises: a group is removed only when no configuration of any replica has named it for longer than one may take to hear
//! of a new configuration; a loss that could not be told is told later, by whichever replica, once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::{BacklogAtRisk, Body, DeliveriesDropped, Moment, Text};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::stream::{Stream, StreamError};
use crate::voice::Voice;

/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How often the stream is trimmed and keys are kept: every so many looks.
const TRIM_EVERY: u32 = 6;
/// A group stays while a replica names it, which every one does at each look, and for so long afterwards: one that has a new
/// configuration up to five minutes after the others, or is cut off from Redis for a while, would make the group again.
const UNNAMED_FOR: Duration = Duration::from_secs(6 * 60);
/// And until this process has not named it for so many looks: nobody did while there was no exporter.
const ORPHAN_LOOKS: u32 = 6;
/// The share of the stream's room from which a backlog is at risk, and below which it is not any more.
const AT_RISK_PERCENT: u64 = 70;
const SAFE_PERCENT: u64 = 60;

/// The flag that says that the trail was told so.
const AT_RISK: &str = "at_risk";

/// What the configuration says about the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The groups that are to be.
    pub groups: BTreeSet<String>,
    /// Destinations that have no replay to run: what an earlier one left is removed.
    pub without_replay: Vec<String>,
    /// The stream's room, in bytes.
    pub max_bytes: u64,
    /// How long what everybody has is kept.
    pub retain: Duration,
}

/// What Redis said last about the stream.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Bytes of the stream.
    pub stream_bytes: AtomicU64,
    /// Its room.
    pub room_bytes: AtomicU64,
    /// 1 while Redis answers.
    pub redis_up: AtomicU64,
}

/// The task.
pub struct Monitor {
    /// The destinations.
    pub board: Arc<Board>,
    /// What Redis said.
    pub gauges: Arc<Gauges>,
    /// Who speaks.
    pub voice: Arc<Voice>,
    /// The stream, once it is connected.
    pub stream: watch::Receiver<Option<Stream>>,
    /// What the configuration says.
    pub plan: watch::Receiver<Plan>,
}

impl Monitor {
    /// Runs until told to stop, which is to be when no destination is served any more.
    pub async fn run(mut self, stop: CancellationToken) -> &'static str {
        let mut looks: u32 = 0;
        let mut orphans: Vec<(String, u32)> = Vec::new();
        loop {
            let stream = self.stream.borrow_and_update().clone();
            if let Some(mut stream) = stream {
                let plan = self.plan.borrow().clone();
                let looked = self.look(&mut stream, &plan, looks, &mut orphans).await;
                self.gauges.redis_up.store(u64::from(looked.is_ok()), Ordering::Relaxed);
                if let Err(error) = looked {
                    tracing::warn!(%error, "the audit stream is looked after later");
                }
                looks = looks.wrapping_add(1);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.stream.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if let Err(error) = self.end().await {
            tracing::warn!(%error, "what was lost is told by another replica, or by the next");
        }
        "monitor"
    }

    /// What would otherwise wait for the next look of somebody.
    async fn end(&self) -> Result<(), StreamError> {
        let Some(mut stream) = self.stream.borrow().clone() else { return Ok(()) };
        let plan = self.plan.borrow().clone();
        self.count_unrouted(&mut stream).await?;
        self.tell_losses(&mut stream, &plan).await
    }

    async fn look(
        &self,
        stream: &mut Stream,
        plan: &Plan,
        looks: u32,
        orphans: &mut Vec<(String, u32)>,
    ) -> Result<(), StreamError> {
        let (length, bytes) = stream.size().await?;
        self.gauges.stream_bytes.store(bytes, Ordering::Relaxed);
        self.gauges.room_bytes.store(plan.max_bytes, Ordering::Relaxed);
        // Before all that writes: where Redis is full, this is what makes room.
        if looks.is_multiple_of(TRIM_EVERY) {
            stream.trim(Timestamp::now(), plan.retain).await?;
            let groups: Vec<String> = plan.groups.iter().cloned().collect();
            let exports: Vec<String> = self.board.exports().into_iter().map(|(name, _)| name).collect();
            stream.touch(&groups, &exports).await?;
        }
        let mut waiting = Vec::new();
        for entry in self.board.entries() {
            let queue = stream.state(&entry.id).await?;
            let replay = stream.replay_state(&entry.id).await?;
            // What waits, in bytes of the stream: the newest entries are those that are not read yet.
            let share = queue.backlog.unwrap_or_default().saturating_mul(bytes) / length.max(1);
            waiting.push((entry.id.clone(), share));
            entry.update(|shown| {
                shown.queue = queue;
                shown.replay = replay;
            });
        }
        // A full Redis refuses to be told; what nobody names makes room there.
        let told = async {
            for (id, waiting) in waiting {
                self.risk(stream, &id, waiting, plan.max_bytes).await?;
            }
            self.count_unrouted(stream).await?;
            self.tell_losses(stream, plan).await
        };
        let told = told.await;
        self.remove_orphans(stream, plan, orphans).await?;
        told?;
        if looks.is_multiple_of(TRIM_EVERY) {
            for destination in &plan.without_replay {
                stream.forget_replay(destination).await?;
            }
        }
        Ok(())
    }

    async fn risk(&self, stream: &mut Stream, id: &str, waiting: u64, room: u64) -> Result<(), StreamError> {
        let share = |percent: u64| room / 100 * percent;
        if waiting >= share(AT_RISK_PERCENT) && room > 0 {
            if stream.flag(id, AT_RISK, true, Duration::ZERO).await?
                && let Some(destination) = Text::new(id)
            {
                tracing::warn!(destination = id, "what waits for the destination fills most of the stream");
                let said = self.voice.say(stream, Body::BacklogAtRisk(BacklogAtRisk { destination })).await;
                if said.is_err() {
                    // So that it is told later.
                    let _ = stream.flag(id, AT_RISK, false, Duration::ZERO).await;
                }
                said?;
            }
        } else if waiting < share(SAFE_PERCENT) {
            stream.flag(id, AT_RISK, false, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Tells the other replicas how many events no route took here.
    async fn count_unrouted(&self, stream: &mut Stream) -> Result<(), StreamError> {
        for (name, unrouted) in self.board.exports() {
            let more = unrouted.take();
            match stream.unrouted(&name, more).await {
                Ok(total) => unrouted.total.store(total, Ordering::Relaxed),
                Err(error) => {
                    unrouted.put_back(more);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Tells what was lost, at whichever replica, also of groups that nobody serves any more.
    async fn tell_losses(&self, stream: &mut Stream, plan: &Plan) -> Result<(), StreamError> {
        let found = stream.groups().await?;
        for group in plan.groups.iter().chain(found.iter().filter(|group| !plan.groups.contains(*group))) {
            let Some(destination) = Text::new(group) else { continue };
            for loss in stream.untold(group).await? {
                let words = [group, loss.cause.as_str(), &loss.told.to_string(), &loss.total.to_string()];
                let (_, event) = self.voice.event_with_id(
                    self.voice.id_of(&words, Moment::new(loss.to)),
                    Body::DeliveriesDropped(DeliveriesDropped {
                        destination: destination.clone(),
                        count: loss.total - loss.told,
                        from: Moment::new(loss.from),
                        to: Moment::new(loss.to),
                        cause: loss.cause,
                    }),
                );
                stream.tell(group, &loss, &event).await?;
            }
        }
        Ok(())
    }

    async fn remove_orphans(
        &self,
        stream: &mut Stream,
        plan: &Plan,
        orphans: &mut Vec<(String, u32)>,
    ) -> Result<(), StreamError> {
        let named: Vec<String> = plan.groups.iter().cloned().collect();
        stream.name(&named).await?;
        let found: Vec<String> =
            stream.groups().await?.into_iter().filter(|group| !plan.groups.contains(group)).collect();
        orphans.retain(|(group, _)| found.contains(group));
        for group in found {
            match orphans.iter_mut().find(|(known, _)| *known == group) {
                None => orphans.push((group, 1)),
                Some((_, looks)) if *looks < ORPHAN_LOOKS => *looks += 1,
                Some(_) => {
                    // What it lost goes with it, and is told first.
                    if !stream.untold(&group).await?.is_empty() {
                        continue;
                    }
                    if !stream.remove_unnamed(&group, UNNAMED_FOR).await? {
                        continue;
                    }
                    // A replica that was cut off may make it again, which is seen for as long as before.
                    orphans.retain(|(known, _)| *known != group);
                    tracing::info!(destination = group, "no SiemExport names it: its queue is removed");
                }
            }
        }
        Ok(())
    }
}
