//! The trail's own figures.
//!
//! Promises: labels are bounded. Must never carry an identity.

use std::sync::atomic::{AtomicI64, AtomicU64};

use events::Class;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::queue::Lane;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Counters of the audit trail; clones share them.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    events: Family<Labels<1>, Counter>,
    dropped: Family<Labels<2>, Counter>,
    readded: Counter<u64, AtomicU64>,
    pub(super) queue_length: Gauge<i64, AtomicI64>,
    pub(super) redis_up: Gauge<i64, AtomicI64>,
    pub(super) write_seconds: Histogram,
}

impl AuditMetrics {
    pub(super) fn new() -> Self {
        // From a loopback pipeline to the timeout of a write.
        let buckets = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
        let metrics = Self {
            events: Family::default(),
            dropped: Family::default(),
            readded: Counter::default(),
            queue_length: Gauge::default(),
            redis_up: Gauge::default(),
            write_seconds: Histogram::new(buckets),
        };
        // A counter that is there at 0 can be alerted on before it first rises.
        for class in Class::ALL {
            metrics.events_of(*class);
        }
        metrics
    }

    /// Registers everything under `audit_`, below the prefix of the registry. Call it once per registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("audit");
        registry.register("events", "Events made, also those that were dropped later", self.events.clone());
        registry.register("dropped", "Events lost, by what they were and why", self.dropped.clone());
        registry.register(
            "readded",
            "Acknowledged events added again because Redis came back without them, or another Redis was set",
            self.readded.clone(),
        );
        registry.register("queue_length", "Events waiting for Redis", self.queue_length.clone());
        registry.register("redis_up", "1 while Redis takes events", self.redis_up.clone());
        registry.register("write_seconds", "Time that Redis takes for up to 64 events", self.write_seconds.clone());
    }

    /// Events made so far, also those that were dropped later.
    #[must_use]
    pub fn events_made(&self) -> u64 {
        Class::ALL.iter().map(|c| self.events_of(*c).get()).sum()
    }

    /// Events lost so far.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        let causes = events::DroppedCause::ALL.iter().map(|cause| cause.as_str()).chain([SHUTDOWN]);
        let by_lane = causes.flat_map(|cause| Lane::ALL.map(|lane| self.dropped_of(lane, cause).get()));
        by_lane.sum::<u64>() + self.lost_by_redis().get()
    }

    /// Whether Redis takes events at the moment.
    #[must_use]
    pub fn redis_is_up(&self) -> bool {
        self.redis_up.get() == 1
    }

    /// Acknowledged events that were added again.
    #[must_use]
    pub fn events_readded(&self) -> u64 {
        self.readded.get()
    }

    pub(super) fn events_of(&self, class: Class) -> Counter {
        self.events.get_or_create(&[("class", class.as_str())]).clone()
    }

    pub(super) fn dropped_of(&self, lane: Lane, cause: &'static str) -> Counter {
        self.dropped.get_or_create(&[("lane", lane.as_str()), ("cause", cause)]).clone()
    }

    /// Acknowledged events that Redis came back without; of which lanes they were is not known.
    pub(super) fn lost_by_redis(&self) -> Counter {
        let cause = events::DroppedCause::RedisLost.as_str();
        self.dropped.get_or_create(&[("lane", "any"), ("cause", cause)]).clone()
    }

    pub(super) fn count_readded(&self, count: usize) {
        self.readded.inc_by(count as u64);
    }
}

/// The cause of a drop that nobody can be told of by an event: the process ends.
pub(super) const SHUTDOWN: &str = "shutdown";
