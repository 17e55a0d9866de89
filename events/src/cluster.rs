//! The events of what happens to a pool in its cluster, as the operator sees it.
//!
//! Promises: each type has the keys of its row in the catalogue and no others, and its severity follows from what it
//! says. Must never hold a value of a spec: names, counts, stable words and times are enough.

use std::time::Duration;

use crate::{
    Component, LifecycleTransition, Message, Millis, PoolPhase, Record, ResourceKind, ResourceOperation, Severity, Text,
};

/// `component_lifecycle`: a component of a pool came, became ready, failed, recovered or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentLifecycle {
    /// `lifecycle.component`
    pub component: Component,
    /// `lifecycle.transition`
    pub transition: LifecycleTransition,
}

impl ComponentLifecycle {
    pub(crate) const fn severity(self) -> Severity {
        match self.transition {
            LifecycleTransition::Degraded => Severity::Warn,
            _ => Severity::Info,
        }
    }

    pub(crate) const fn message(self) -> Message {
        Message::template(match self.transition {
            LifecycleTransition::Deployed => "A component of the pool was deployed.",
            LifecycleTransition::Ready => "A component of the pool became ready.",
            LifecycleTransition::Degraded => "A component of the pool that was ready is not ready.",
            LifecycleTransition::Recovered => "A component of the pool is ready again.",
            LifecycleTransition::Removed => "A component of the pool was removed.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.lifecycle_component = Some(self.component);
        record.lifecycle_transition = Some(self.transition);
    }
}

/// `scaling`: a component has not as many ready Pods as it should have, or has them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// `scaling.component`
    pub component: Component,
    /// `scaling.desired`
    pub desired: u64,
    /// `scaling.ready`
    pub ready: u64,
}

impl Scaling {
    pub(crate) const fn severity(self) -> Severity {
        if self.ready == self.desired { Severity::Info } else { Severity::Warn }
    }

    pub(crate) const fn message(self) -> Message {
        Message::template(if self.ready == self.desired {
            "A component has as many ready Pods as it should have."
        } else {
            "A component has not as many ready Pods as it should have."
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.scaling_component = Some(self.component);
        record.scaling_desired = Some(self.desired);
        record.scaling_ready = Some(self.ready);
    }
}

/// `reconciliation_complete`: the outcome of bringing an object to its desired state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciliationComplete {
    /// `reconcile.kind`
    pub kind: ResourceKind,
    /// `reconcile.name`
    pub name: Text,
    /// `reconcile.created`: objects that were made.
    pub created: u64,
    /// `reconcile.updated`: objects that were changed.
    pub updated: u64,
    /// `reconcile.deleted`: objects that were deleted.
    pub deleted: u64,
    /// `reconcile.unchanged`: objects that were as they should be.
    pub unchanged: u64,
    /// `duration.total_ms`
    pub duration: Duration,
    /// `reconcile.error`: the stable reason of a failure.
    pub error: Option<Text>,
}

impl ReconciliationComplete {
    pub(crate) const fn severity(&self) -> Severity {
        if self.error.is_some() { Severity::Error } else { Severity::Info }
    }

    pub(crate) const fn message(&self) -> Message {
        Message::template(if self.error.is_some() {
            "An object could not be brought to its desired state."
        } else {
            "An object was brought to its desired state."
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.reconcile_kind = Some(self.kind);
        record.reconcile_name = Some(self.name);
        record.reconcile_created = Some(self.created);
        record.reconcile_updated = Some(self.updated);
        record.reconcile_deleted = Some(self.deleted);
        record.reconcile_unchanged = Some(self.unchanged);
        record.duration_total_ms = Some(Millis::from(self.duration));
        record.reconcile_error = self.error;
    }
}

/// `pool_phase_changed`: the one-word summary of a pool changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPhaseChanged {
    /// `phase.from`; absent for a pool's first phase.
    pub from: Option<PoolPhase>,
    /// `phase.to`
    pub to: PoolPhase,
    /// `phase.reason`: the stable reason.
    pub reason: Option<Text>,
}

impl PoolPhaseChanged {
    pub(crate) const fn severity(&self) -> Severity {
        match self.to {
            PoolPhase::Pending | PoolPhase::Active => Severity::Info,
            PoolPhase::Stale => Severity::Warn,
            PoolPhase::Error => Severity::Error,
        }
    }

    pub(crate) const fn message(&self) -> Message {
        Message::template(match self.to {
            PoolPhase::Pending => "A pool waits for what it needs.",
            PoolPhase::Active => "A pool takes calls.",
            PoolPhase::Stale => "A pool has not been heard of for a while.",
            PoolPhase::Error => "A pool is not as it should be.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.phase_from = self.from;
        record.phase_to = Some(self.to);
        record.phase_reason = self.reason;
    }
}

/// `resource_changed`: somebody created, changed or deleted an object that makes up a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChanged {
    /// `resource.kind`
    pub kind: ResourceKind,
    /// `resource.name`
    pub name: Text,
    /// `resource.operation`
    pub operation: ResourceOperation,
    /// `actor.manager`: the field manager that wrote last, of `metadata.managedFields`. Kubernetes does not note who
    /// deletes.
    pub manager: Option<Text>,
}

impl ResourceChanged {
    pub(crate) const fn message(&self) -> Message {
        Message::template(match self.operation {
            ResourceOperation::Created => "An object of the pool was created.",
            ResourceOperation::Changed => "The spec of an object of the pool was changed.",
            ResourceOperation::Deleted => "An object of the pool was deleted.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.resource_kind = Some(self.kind);
        record.resource_name = Some(self.name);
        record.resource_operation = Some(self.operation);
        record.actor_manager = self.manager;
    }
}
