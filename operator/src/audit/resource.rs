//! `resource_changed`: who created, changed or deleted an object that makes up a pool.
//!
//! What was there before the operator started is told apart by the object's own status: a generation that a status was
//! computed from has been told. So a restart tells nothing again, and what happened while no operator ran is told once.
//! A change of labels, annotations or status is none: Kubernetes counts up the generation for the spec alone.

use events::{Body, ResourceChanged, ResourceKind, ResourceOperation, Text};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};

use super::draft::{Draft, Subject};
use crate::names::{FIELD_MANAGER, STATUS_MANAGER};

/// Something that somebody did to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    kind: ResourceKind,
    uid: String,
    name: Text,
    generation: i64,
    operation: ResourceOperation,
    at: Time,
    manager: Option<Text>,
}

impl Change {
    /// What an object as it is now means, with its managed fields; `None`: nothing new.
    ///
    /// `before` is the object as it was known, and `observed` is `status.observedGeneration`; `None` for an object whose
    /// status can not be read, which is taken for told.
    #[must_use]
    pub fn seen(
        kind: ResourceKind,
        meta: &ObjectMeta,
        before: Option<&ObjectMeta>,
        observed: Option<Option<i64>>,
    ) -> Option<Self> {
        // Being asked to go counts up the generation too, and is told when it is gone.
        if meta.deletion_timestamp.is_some() {
            return None;
        }
        let operation = match (before, observed) {
            (Some(before), _) if before.uid == meta.uid => {
                (before.generation != meta.generation).then_some(ResourceOperation::Changed)
            }
            (_, Some(None)) => Some(ResourceOperation::Created),
            (_, Some(observed)) => (observed != meta.generation).then_some(ResourceOperation::Changed),
            (_, None) => None,
        }?;
        let writer = last_writer(meta);
        let created = meta.creation_timestamp.clone();
        let written = writer.and_then(|entry| entry.time.clone());
        let at = match operation {
            ResourceOperation::Created => created,
            _ => written.or(created),
        };
        let manager = writer.and_then(|entry| entry.manager.as_deref()).and_then(Text::new);
        Self::new(kind, meta, operation, at?, manager)
    }

    /// That an object is gone. Kubernetes tells neither when, unless something held it back, nor who deleted it: `now`
    /// is when it was seen, and nobody sees it a second time.
    #[must_use]
    pub fn deleted(kind: ResourceKind, meta: &ObjectMeta, now: Time) -> Option<Self> {
        let at = meta.deletion_timestamp.clone().unwrap_or(now);
        Self::new(kind, meta, ResourceOperation::Deleted, at, None)
    }

    fn new(
        kind: ResourceKind,
        meta: &ObjectMeta,
        operation: ResourceOperation,
        at: Time,
        manager: Option<Text>,
    ) -> Option<Self> {
        let (name, uid) = (Text::new(meta.name.as_deref()?)?, meta.uid.clone()?);
        Some(Self { kind, uid, name, generation: meta.generation.unwrap_or(0), operation, at, manager })
    }

    /// The event, in the stream of this pool.
    #[must_use]
    pub fn draft(self, pool: &str) -> Draft {
        let Self { kind, uid, name, generation, operation, at, manager } = self;
        let body = Body::ResourceChanged(ResourceChanged { kind, name, operation, manager });
        Draft::new(Subject { pool, uid: &uid, generation }, &at, body)
    }
}

/// Who wrote something other than the status last, the operator left out.
fn last_writer(meta: &ObjectMeta) -> Option<&ManagedFieldsEntry> {
    let is_own = |manager: Option<&str>| manager.is_some_and(|name| [FIELD_MANAGER, STATUS_MANAGER].contains(&name));
    let others = meta
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref() != Some("status") && !is_own(entry.manager.as_deref()));
    others.max_by(|a, b| a.time.cmp(&b.time))
}
