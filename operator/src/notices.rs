//! Kubernetes Events: one per change that a person would want to find in `kubectl describe`, and none for what is
//! only on its way.

use crds::pool::{Phase, PoolStatus};
use crds::status::Condition;
use crds::{McpServer, Pool, SiemExport};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::names::FIELD_MANAGER;

/// Longest note that the Events API takes, in bytes.
const NOTE_MAX: usize = 1000;
/// Reasons that pass by themselves in the life of every object, or of which others publish Events already.
const QUIET: [&str; 11] = [
    "Unschedulable",
    "NotReady",
    "NotProgrammed",
    "Connecting",
    "Reloading",
    "NoReplicas",
    "WorkloadNotReady",
    "PredecessorDeleting",
    "Retrying",
    "ExporterNotReady",
    "Disabled",
];

/// Publishes Events.
#[derive(Clone)]
pub struct Notices {
    recorder: Recorder,
}

impl Notices {
    /// Events in the name of this Pod.
    pub fn new(client: Client, pod_name: &str) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: Some(pod_name.to_owned()) };
        Notices { recorder: Recorder::new(client, reporter) }
    }

    /// Publishes what changed between two statuses of a Pool.
    pub async fn pool(&self, pool: &Pool, before: &PoolStatus, after: &PoolStatus) {
        let reference = pool.object_ref(&());
        self.conditions(&reference, &before.conditions, &after.conditions).await;
        if after.phase == Some(Phase::Active) && before.phase != Some(Phase::Active) {
            self.publish(&reference, EventType::Normal, "Active", "The pool takes calls.").await;
        }
    }

    /// Publishes what changed between two statuses of an McpServer.
    pub async fn server(&self, server: &McpServer, before: &[Condition], after: &[Condition]) {
        let reference = server.object_ref(&());
        self.conditions(&reference, before, after).await;
        let ready = |list: &[Condition]| list.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        if ready(after) && !ready(before) {
            self.publish(&reference, EventType::Normal, "Connected", "The pool's gateways did the MCP handshake.")
                .await;
        }
    }

    /// Publishes what changed between two statuses of a SiemExport.
    pub async fn export(&self, export: &SiemExport, before: &[Condition], after: &[Condition]) {
        let reference = export.object_ref(&());
        self.conditions(&reference, before, after).await;
        let delivers = |list: &[Condition]| list.iter().any(|c| c.type_ == "Delivering" && c.status == "True");
        if delivers(after) && !delivers(before) {
            self.publish(&reference, EventType::Normal, "Delivering", "Every destination takes what it is sent.").await;
        }
    }

    async fn conditions(&self, reference: &ObjectReference, before: &[Condition], after: &[Condition]) {
        let mut said = Vec::new();
        for condition in after.iter().filter(|c| c.status == "False" && !QUIET.contains(&c.reason.as_str())) {
            let known = before.iter().any(|old| {
                old.type_ == condition.type_ && old.status == condition.status && old.reason == condition.reason
            });
            // `Ready` repeats the reason of the condition that made it false.
            if known || said.contains(&condition.reason) {
                continue;
            }
            said.push(condition.reason.clone());
            self.publish(reference, EventType::Warning, &condition.reason, &condition.message).await;
        }
    }

    async fn publish(&self, reference: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        let mut end = note.len().min(NOTE_MAX);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note[..end].to_owned()),
            action: "Reconcile".into(),
            secondary: None,
        };
        // An Event is a courtesy: the status says the same, so a failure is logged and nothing waits for it.
        let published =
            tokio::time::timeout(std::time::Duration::from_secs(5), self.recorder.publish(&event, reference)).await;
        if !matches!(published, Ok(Ok(()))) {
            tracing::debug!(reason, object = reference.name, "an Event could not be published");
        }
    }
}
