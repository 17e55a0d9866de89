//! From the transition of a status to the events that it means. Pure: the clock comes in as an argument.
//!
//! The time of an event is the one that the new status carries for what changed (a condition's `lastTransitionTime`, a
//! component's `since`). Where it carries none (a number of Pods, a configuration, a phase that a grace period ended), it is the time of
//! the reconcile: the event is told only when the status that holds the change was written, after which no reconcile sees
//! the transition again.

use std::time::Duration;

use crds::mcp_server::McpServerStatus;
use crds::pool::{Phase, PoolStatus};
use crds::status::{Component, Condition};
use events::{
    Body, ComponentLifecycle, ConfigChange, ConfigSource, LifecycleTransition, PoolPhase, PoolPhaseChanged,
    ReconciliationComplete, ResourceKind, Scaling, Text,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::draft::{Draft, Subject};
use crate::child::Written;

/// Conditions that say whether the spec could be carried out.
const OUTCOME: [&str; 2] = ["Accepted", "ResolvedRefs"];

/// What one reconcile did.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The object, and the pool that it belongs to.
    pub subject: Subject<'a>,
    /// Name of the object.
    pub name: &'a str,
    /// The time of the reconcile, as its status has it.
    pub now: &'a Time,
    /// What was written, over all tries since the last one that went well.
    pub written: Written,
    /// Children that should be there.
    pub children: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether something failed that is tried again soon, so that this is not the outcome yet.
    pub unfinished: bool,
    /// Whether an outcome is to be told although the status does not change: a failure was told, or a change was not.
    pub untold: bool,
}

impl<'a> Round<'a> {
    /// A reconcile that got to no child; of which object is still to be said.
    #[must_use]
    pub fn of_nothing(now: &'a Time, took: Duration) -> Self {
        Self {
            subject: Subject { pool: "", uid: "", generation: 0 },
            name: "",
            now,
            written: Written::default(),
            children: 0,
            took,
            unfinished: false,
            untold: false,
        }
    }
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Events, in the order in which they are told.
    pub drafts: Vec<Draft>,
    /// Whether the outcome of this change is to be told later, when the reconcile goes well.
    pub owed: bool,
}

/// The events of a new status of a Pool.
#[must_use]
pub fn pool_changes(round: &Round<'_>, previous: &PoolStatus, status: &PoolStatus) -> Changes {
    let mut drafts = Vec::new();
    let mut add = |at: &Time, body: Body| drafts.push(Draft::new(round.subject, at, body));
    if let (Some(revision), true) = (text(&status.config_hash), status.config_hash != previous.config_hash) {
        let (hash, previous) = (revision.clone(), text(&previous.config_hash));
        add(round.now, Body::ConfigChange(ConfigChange { revision, previous, hash, source: ConfigSource::Cluster }));
    }
    let before = |name: &str| previous.components.iter().find(|component| component.name == name);
    for component in &status.components {
        for (at, body) in of_component(before(&component.name), component, round.now) {
            add(at, body);
        }
    }
    for gone in previous.components.iter().filter(|old| status.components.iter().all(|new| new.name != old.name)) {
        if let (Some(component), true) = (known(&gone.name), gone.image.is_some()) {
            let transition = LifecycleTransition::Removed;
            add(round.now, Body::ComponentLifecycle(ComponentLifecycle { component, transition }));
        }
    }
    if let (Some(to), true) = (status.phase, status.phase != previous.phase) {
        let body = PoolPhaseChanged { from: previous.phase.map(phase), to: phase(to), reason: text(&status.reason) };
        add(phase_since(round, previous, status), Body::PoolPhaseChanged(body));
    }
    let before = Outcome { generation: previous.observed_generation, conditions: &previous.conditions };
    let after = Outcome { generation: status.observed_generation, conditions: &status.conditions };
    with_outcome(round, ResourceKind::Pool, before, after, drafts)
}

/// The events of a new status of an McpServer.
#[must_use]
pub fn server_changes(round: &Round<'_>, previous: &McpServerStatus, status: &McpServerStatus) -> Changes {
    let before = Outcome { generation: previous.observed_generation, conditions: &previous.conditions };
    let after = Outcome { generation: status.observed_generation, conditions: &status.conditions };
    with_outcome(round, ResourceKind::McpServer, before, after, Vec::new())
}

/// What a status says of whether the spec was carried out.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// `status.observedGeneration`
    pub generation: Option<i64>,
    /// `status.conditions`
    pub conditions: &'a [Condition],
}

impl<'a> Outcome<'a> {
    fn failure(self) -> Option<&'a Condition> {
        let failed = |type_: &str| {
            self.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "False")
        };
        OUTCOME.into_iter().find_map(failed)
    }
}

/// Adds `reconciliation_complete` to `drafts` where the outcome changed, or something was written.
#[must_use]
pub fn with_outcome(
    round: &Round<'_>,
    kind: ResourceKind,
    before: Outcome<'_>,
    after: Outcome<'_>,
    mut drafts: Vec<Draft>,
) -> Changes {
    let (failed, fails) = (before.failure(), after.failure());
    let reason = |condition: Option<&Condition>| condition.map(|condition| condition.reason.clone());
    let changed = before.generation != after.generation || reason(failed) != reason(fails);
    if round.unfinished {
        return Changes { drafts, owed: changed };
    }
    if changed || round.untold || round.written != Written::default() {
        // The condition that says how it went, if it turned with this.
        let turned = fails.or(failed).map(|condition| condition.type_.as_str()).and_then(|type_| {
            let time = |outcome: Outcome<'_>| {
                outcome.conditions.iter().find(|c| c.type_ == type_).map(|c| c.last_transition_time.clone())
            };
            time(after).filter(|new| time(before).as_ref() != Some(new))
        });
        let error = fails.and_then(|condition| Text::new(&condition.reason));
        let at = turned.unwrap_or_else(|| round.now.clone());
        drafts.extend(reconciled(round, kind, error).map(|body| Draft::new(round.subject, &at, body)));
    }
    Changes { drafts, owed: false }
}

/// The body of `reconciliation_complete`.
pub(super) fn reconciled(round: &Round<'_>, kind: ResourceKind, error: Option<Text>) -> Option<Body> {
    let Written { created, updated, deleted } = round.written;
    let children = u64::try_from(round.children).unwrap_or(u64::MAX);
    Some(Body::ReconciliationComplete(ReconciliationComplete {
        kind,
        name: Text::new(round.name)?,
        created: created.into(),
        updated: updated.into(),
        deleted: deleted.into(),
        unchanged: children.saturating_sub(u64::from(created) + u64::from(updated)),
        duration: round.took,
        error,
    }))
}

/// Lifecycle and scaling of one component. One that the pool uses and the operator does not run has no image: it is
/// not deployed or removed, but it is ready or not.
fn of_component<'a>(before: Option<&'a Component>, after: &'a Component, now: &'a Time) -> Vec<(&'a Time, Body)> {
    let Some(component) = known(&after.name) else { return Vec::new() };
    let mut found = Vec::new();
    let health = |component: &'a Component| component.health.as_str();
    let at = if before.is_none_or(|before| before.since != after.since) { &after.since } else { now };
    let mut lifecycle = |at: &'a Time, transition: LifecycleTransition| {
        found.push((at, Body::ComponentLifecycle(ComponentLifecycle { component, transition })));
    };
    match (before.is_some_and(|before| before.image.is_some()), after.image.is_some()) {
        (false, true) => lifecycle(at, LifecycleTransition::Deployed),
        (true, false) => lifecycle(now, LifecycleTransition::Removed),
        _ => {}
    }
    match (before.map(health), health(after)) {
        (Some("Degraded"), "Healthy") => lifecycle(at, LifecycleTransition::Recovered),
        (None | Some("Progressing"), "Healthy") => lifecycle(at, LifecycleTransition::Ready),
        (Some("Healthy"), "Degraded") => lifecycle(at, LifecycleTransition::Degraded),
        _ => {}
    }
    // Between two numbers that both fall short nothing new is said, unless another number is wanted.
    let wanted = before.map_or(0, |before| before.desired);
    let settled = before.is_none_or(|before| before.ready == before.desired);
    let settles = after.ready == after.desired;
    if wanted != after.desired || settled != settles {
        let number = |n: i32| u64::try_from(n).unwrap_or(0);
        let body = Scaling { component, desired: number(after.desired), ready: number(after.ready) };
        found.push((at, Body::Scaling(body)));
    }
    found
}

/// When the phase changed: with `Ready`, or with a component.
fn phase_since<'a>(round: &Round<'a>, previous: &PoolStatus, status: &'a PoolStatus) -> &'a Time {
    let ready = |status: &'a PoolStatus| status.conditions.iter().find(|c| c.type_ == "Ready");
    let was = previous.conditions.iter().find(|c| c.type_ == "Ready").map(|c| &c.last_transition_time);
    let turned = ready(status).map(|c| &c.last_transition_time).filter(|time| was != Some(*time));
    let moved = status.components.iter().filter(|component| {
        previous.components.iter().find(|old| old.name == component.name).is_none_or(|old| old.since != component.since)
    });
    turned.or_else(|| moved.map(|component| &component.since).max()).unwrap_or(round.now)
}

fn known(component: &str) -> Option<events::Component> {
    events::Component::ALL.iter().find(|known| known.as_str() == component).copied()
}

fn phase(phase: Phase) -> PoolPhase {
    match phase {
        Phase::Pending => PoolPhase::Pending,
        Phase::Active => PoolPhase::Active,
        Phase::Error => PoolPhase::Error,
    }
}

fn text(value: &Option<String>) -> Option<Text> {
    value.as_deref().and_then(Text::new)
}
