//! The bounded queue between the calls and the writer.
//!
//! Promises: [`Queue::push`] takes constant time and never waits; at most [`CAPACITY`] events are held;
//! when it is full the oldest of the least important lane falls out, never anything more important than
//! what comes in; each loss is counted once. Sequence numbers are given in the order of the queue.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use events::{Body, Dropped, DroppedCause, Event, EventsDropped, Moment, Repeat};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use ulid::Ulid;

use super::metrics::{AuditMetrics, SHUTDOWN};

/// Events that wait for Redis at most.
pub(super) const CAPACITY: usize = 10_000;
/// Events of one pipeline at most.
pub(super) const BATCH: usize = 64;

/// How important an event is when there is no room for all; the least important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Refusals of strangers: anybody can cause them.
    Refusal,
    /// What the gateway says about itself.
    Operational,
    /// Calls of known principals.
    Call,
}

impl Lane {
    pub(super) const ALL: [Self; 3] = [Self::Refusal, Self::Operational, Self::Call];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Operational => "operational",
            Self::Call => "call",
        }
    }

    const fn dropped(self) -> Dropped {
        match self {
            Self::Refusal => Dropped::Refusals,
            Self::Operational => Dropped::Operational,
            Self::Call => Dropped::Calls,
        }
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer at the first event and when a batch is full.
    pub(super) ready: Notify,
    made: [Counter; events::Class::ALL.len()],
    metrics: AuditMetrics,
}

struct State {
    lanes: [VecDeque<Event>; Lane::ALL.len()],
    length: usize,
    /// The next sequence number of this instance.
    seq: u64,
    /// Why the queue is not being emptied fast enough, if it should fill now.
    obstacle: DroppedCause,
    /// What has not been announced yet, by lane and cause.
    losses: [[Option<EventsDropped>; DroppedCause::ALL.len()]; Lane::ALL.len()],
    /// What Redis had acknowledged and lost; of which lanes is not known.
    lost_by_redis: Option<EventsDropped>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(metrics: AuditMetrics) -> Self {
        Self {
            state: Mutex::new(State {
                lanes: Default::default(),
                length: 0,
                seq: 1,
                obstacle: DroppedCause::RedisUnavailable,
                losses: Default::default(),
                lost_by_redis: None,
                closed: false,
            }),
            ready: Notify::new(),
            made: std::array::from_fn(|i| metrics.events_of(events::Class::ALL[i])),
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event in, and lets the least important one fall out when there is no room.
    pub(super) fn push(&self, lane: Lane, at: Moment, body: Body, repeat: Option<Repeat>) {
        let id = Ulid::from_parts(at.unix_ms(), rand::random());
        self.made[body.name().class() as usize].inc();
        let mut event = Event { id, at, seq: 0, repeat, body };
        let mut state = self.lock();
        event.seq = state.next_seq();
        if state.closed {
            self.metrics.dropped_of(lane, SHUTDOWN).inc();
            return;
        }
        let fallen = if state.length < CAPACITY {
            None
        } else {
            // A lane that is empty has nothing to give; the event's own lane has at least itself.
            let victim =
                Lane::ALL.into_iter().find(|l| *l >= lane || !state.lanes[*l as usize].is_empty()).unwrap_or(lane);
            match state.lanes[victim as usize].pop_front() {
                Some(oldest) => {
                    state.length -= 1;
                    state.count_loss(victim, oldest.at);
                    Some((victim, oldest))
                }
                None => {
                    state.count_loss(lane, event.at);
                    let cause = state.obstacle;
                    drop(state);
                    self.metrics.dropped_of(lane, cause.as_str()).inc();
                    return;
                }
            }
        };
        state.lanes[lane as usize].push_back(event);
        state.length += 1;
        let length = state.length;
        let cause = state.obstacle;
        self.metrics.queue_length.set(length as i64);
        drop(state);
        // The oldest is freed and counted only here, outside the lock.
        if let Some((victim, _oldest)) = fallen {
            self.metrics.dropped_of(victim, cause.as_str()).inc();
        }
        if length == 1 || length == BATCH {
            self.ready.notify_one();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().length
    }

    /// Takes the oldest events, at most `count`.
    pub(super) fn take(&self, count: usize) -> Vec<(Lane, Event)> {
        let mut state = self.lock();
        let mut batch = Vec::with_capacity(count.min(state.length));
        while batch.len() < count {
            let oldest =
                Lane::ALL.into_iter().filter_map(|lane| Some((state.lanes[lane as usize].front()?.seq, lane))).min();
            let Some((lane, event)) =
                oldest.and_then(|(_, lane)| Some((lane, state.lanes[lane as usize].pop_front()?)))
            else {
                break;
            };
            state.length -= 1;
            batch.push((lane, event));
        }
        self.metrics.queue_length.set(state.length as i64);
        batch
    }

    /// Takes what was lost since the last announcement, as the events that announce it.
    pub(super) fn take_losses(&self, now: Moment) -> Vec<Event> {
        let mut state = self.lock();
        let State { losses, lost_by_redis, .. } = &mut *state;
        let losses: Vec<EventsDropped> =
            losses.iter_mut().flatten().chain([lost_by_redis]).filter_map(Option::take).collect();
        losses
            .into_iter()
            .map(|loss| {
                let body = Body::EventsDropped(loss);
                self.made[body.name().class() as usize].inc();
                Event {
                    id: Ulid::from_parts(now.unix_ms(), rand::random()),
                    at: now,
                    seq: state.next_seq(),
                    repeat: None,
                    body,
                }
            })
            .collect()
    }

    /// Counts acknowledged events that Redis came back without, and that nobody has any more.
    pub(super) fn count_lost_by_redis(&self, count: u64, from: Moment, to: Moment) {
        self.metrics.lost_by_redis().inc_by(count);
        let lost = EventsDropped { what: Dropped::Any, count: 0, from, to, cause: DroppedCause::RedisLost };
        let mut state = self.lock();
        let loss = state.lost_by_redis.get_or_insert(lost);
        loss.count += count;
        loss.from = loss.from.min(from);
        loss.to = loss.to.max(to);
    }

    /// Says why the queue fills, if it should fill from now on.
    pub(super) fn set_obstacle(&self, obstacle: DroppedCause) {
        self.lock().obstacle = obstacle;
    }

    /// Takes nothing in any more, and counts what is left as lost. Returns how many those are.
    pub(super) fn close(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.length);
        for lane in Lane::ALL {
            let events = std::mem::take(&mut state.lanes[lane as usize]);
            self.metrics.dropped_of(lane, SHUTDOWN).inc_by(events.len() as u64);
        }
        self.metrics.queue_length.set(0);
        left
    }
}

impl State {
    fn next_seq(&mut self) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        seq
    }

    fn count_loss(&mut self, lane: Lane, at: Moment) {
        let cause = self.obstacle;
        let loss = self.losses[lane as usize][cause as usize].get_or_insert(EventsDropped {
            what: lane.dropped(),
            count: 0,
            from: at,
            to: at,
            cause,
        });
        loss.count += 1;
        loss.from = loss.from.min(at);
        loss.to = loss.to.max(at);
    }
}

#[cfg(test)]
mod tests {
    use events::{CallRef, RouteCause, RouteNotFound};

    use super::*;

    fn queue() -> Queue {
        Queue::new(AuditMetrics::new())
    }

    fn push(queue: &Queue, lane: Lane, count: usize) {
        for _ in 0..count {
            let body = Body::RouteNotFound(RouteNotFound {
                cause: RouteCause::UnknownTool,
                client_ip: None,
                call: CallRef::default(),
            });
            queue.push(lane, Moment::new(jiff::Timestamp::UNIX_EPOCH), body, None);
        }
    }

    fn losses(queue: &Queue) -> Vec<(Dropped, DroppedCause, u64)> {
        let now = Moment::new(jiff::Timestamp::UNIX_EPOCH);
        let events = queue.take_losses(now).into_iter();
        events
            .map(|event| match event.body {
                Body::EventsDropped(loss) => (loss.what, loss.cause, loss.count),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn lanes(queue: &Queue) -> Vec<Lane> {
        queue.take(CAPACITY * 2).into_iter().map(|(lane, _)| lane).collect()
    }

    #[test]
    fn events_leave_in_the_order_in_which_they_came() {
        let queue = queue();
        for lane in [Lane::Call, Lane::Refusal, Lane::Operational, Lane::Call] {
            push(&queue, lane, 1);
        }
        let taken = queue.take(3);
        assert_eq!(taken.iter().map(|(_, event)| event.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(
            taken.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(),
            [Lane::Call, Lane::Refusal, Lane::Operational]
        );
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn less_important_events_fall_out_first_and_are_counted() {
        let queue = queue();
        queue.set_obstacle(DroppedCause::QueueFull);
        push(&queue, Lane::Refusal, CAPACITY - 10);
        push(&queue, Lane::Operational, 10);
        push(&queue, Lane::Call, CAPACITY - 10);
        assert_eq!(losses(&queue), [(Dropped::Refusals, DroppedCause::QueueFull, 9_990)]);
        push(&queue, Lane::Call, 15);
        assert_eq!(
            losses(&queue),
            [(Dropped::Operational, DroppedCause::QueueFull, 10), (Dropped::Calls, DroppedCause::QueueFull, 5)]
        );
        assert_eq!(lanes(&queue), vec![Lane::Call; CAPACITY]);
    }

    #[test]
    fn less_important_event_finds_no_room_among_calls() {
        let queue = queue();
        queue.set_obstacle(DroppedCause::RedisFull);
        push(&queue, Lane::Call, CAPACITY);
        push(&queue, Lane::Refusal, 3);
        push(&queue, Lane::Operational, 2);
        assert_eq!(
            losses(&queue),
            [(Dropped::Refusals, DroppedCause::RedisFull, 3), (Dropped::Operational, DroppedCause::RedisFull, 2)]
        );
        assert_eq!(lanes(&queue), vec![Lane::Call; CAPACITY]);
        assert!(losses(&queue).is_empty());
    }

    #[test]
    fn oldest_of_a_lane_falls_out_and_its_number_is_the_gap() {
        let queue = queue();
        push(&queue, Lane::Call, CAPACITY + 3);
        let numbers: Vec<u64> = queue.take(CAPACITY).iter().map(|(_, e)| e.seq).collect();
        assert_eq!(numbers.first(), Some(&4));
        assert_eq!(numbers.last(), Some(&(CAPACITY as u64 + 3)));
    }

    #[test]
    fn what_redis_lost_is_announced_once_and_together() {
        let queue = queue();
        let at = |ms| Moment::new(jiff::Timestamp::from_millisecond(ms).unwrap());
        queue.count_lost_by_redis(7, at(20), at(30));
        queue.count_lost_by_redis(3, at(10), at(25));
        assert_eq!(queue.metrics.events_dropped(), 10);
        let [event] = &queue.take_losses(at(40))[..] else { panic!("one announcement is enough") };
        let Body::EventsDropped(loss) = &event.body else { panic!("{:?}", event.body) };
        assert_eq!((loss.what, loss.cause, loss.count), (Dropped::Any, DroppedCause::RedisLost, 10));
        assert_eq!((loss.from, loss.to), (at(10), at(30)));
        assert!(queue.take_losses(at(40)).is_empty());
    }

    #[test]
    fn closed_queue_counts_what_it_cannot_take() {
        let metrics = AuditMetrics::new();
        let queue = Queue::new(metrics.clone());
        push(&queue, Lane::Call, 5);
        assert_eq!(queue.close(), 5);
        push(&queue, Lane::Call, 2);
        assert_eq!(metrics.events_dropped(), 7);
        assert_eq!(queue.len(), 0);
    }
}
