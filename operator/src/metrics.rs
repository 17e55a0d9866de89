//! Metrics of the operator, in the OpenMetrics text format. Every label is from a fixed set.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::child::Kind;

/// What was asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    Create,
    Apply,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChildLabels {
    kind: &'static str,
    verb: Verb,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

/// Handles to every metric; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    children: Family<ChildLabels, Counter>,
    reconciles: Family<OutcomeLabels, Counter>,
    seconds: Family<KindLabel, Histogram>,
    status_writes: Family<KindLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
    nudges: Counter,
    leader: Gauge,
    events: Family<EventLabel, Counter>,
    events_dropped: Family<CauseLabel, Counter>,
    events_spooled: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ai_gateway_operator");
        let children = Family::default();
        let reconciles = Family::default();
        let seconds = Family::<KindLabel, Histogram>::new_with_constructor(|| {
            Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0])
        });
        let status_writes = Family::default();
        let watch_errors = Family::default();
        let nudges = Counter::default();
        let leader = Gauge::default();
        let events = Family::default();
        let events_dropped = Family::default();
        let events_spooled = Gauge::default();
        registry.register("child_requests", "Requests to the API server about children", children.clone());
        registry.register("reconciles", "Reconciles by outcome: ok, or the reason of the failure", reconciles.clone());
        registry.register("reconcile_duration_seconds", "Time of one reconcile", seconds.clone());
        registry.register("status_writes", "Writes of a status", status_writes.clone());
        registry.register("watch_errors", "Failed watches and lists, each tried again", watch_errors.clone());
        registry.register(
            "pod_nudges",
            "Pods touched so that the kubelet refreshes their configuration",
            nudges.clone(),
        );
        registry.register("leader", "1 while this replica reconciles", leader.clone());
        registry.register("events", "Audit events of the operator, also those that were dropped later", events.clone());
        registry.register("events_dropped", "Audit events of the operator that were dropped", events_dropped.clone());
        registry.register("events_spooled", "Audit events that wait for their pool's exporter", events_spooled.clone());
        Metrics {
            registry: Arc::new(registry),
            children,
            reconciles,
            seconds,
            status_writes,
            watch_errors,
            nudges,
            leader,
            events,
            events_dropped,
            events_spooled,
        }
    }
}

impl Metrics {
    /// Counts a request about a child.
    pub fn child_request(&self, kind: Kind, verb: Verb) {
        self.children.get_or_create(&ChildLabels { kind: kind.as_str(), verb }).inc();
    }

    /// Counts a finished reconcile; `outcome` is `ok` or a stable reason.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&OutcomeLabels { kind, outcome }).inc();
        self.seconds.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
    }

    /// Counts a status write.
    pub fn status_written(&self, kind: &'static str) {
        self.status_writes.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a failed watch.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// Counts a Pod that was touched.
    pub fn nudged(&self) {
        self.nudges.inc();
    }

    /// Says whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Counts an audit event.
    pub fn event_made(&self, event: &'static str) {
        self.events.get_or_create(&EventLabel { event }).inc();
    }

    /// Counts audit events that no exporter gets.
    pub fn events_dropped(&self, cause: &'static str, events: u64) {
        self.events_dropped.get_or_create(&CauseLabel { cause }).inc_by(events);
    }

    /// More or fewer audit events wait.
    pub fn add_events_spooled(&self, change: i64) {
        self.events_spooled.inc_by(change);
    }

    /// The exposition text.
    ///
    /// # Errors
    /// When formatting fails, which a `String` never does.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
