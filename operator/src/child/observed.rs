//! The little that is kept of a live child: enough to find drift and to compute a status, and no more, because
//! a thousand pools have twelve thousand children.

use serde_json::Value;

use super::Kind;
use super::digest::owned_digest;
use crate::names::{DESIRED_HASH, SOURCES_HASH};

/// A live child, as the watch or an apply last showed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Uid of the object.
    pub uid: String,
    /// resourceVersion, comparable within one kind.
    pub resource_version: u64,
    /// Kind, name and uid of the controller owner.
    pub owner: Option<(Box<str>, Box<str>, Box<str>)>,
    /// Hash of the desired state, or of the sources, that it was last applied with.
    pub hash: Option<Box<str>>,
    /// Digest of the fields that we own.
    pub digest: u64,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// For Deployments and StatefulSets.
    pub workload: Option<WorkloadStatus>,
    /// The volume that a StatefulSet claims for each of its Pods.
    pub claim: Option<Claim>,
}

/// A template of a volume claim; Kubernetes lets nobody change one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Size, as it was written.
    pub size: Box<str>,
    /// StorageClass; `None`: the default one.
    pub class: Option<Box<str>>,
}

/// What a Deployment or StatefulSet says of its Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadStatus {
    /// Whether the status belongs to the newest spec.
    pub current: bool,
    /// Pods that should run.
    pub desired: i32,
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Whether the rollout is past its deadline.
    pub deadline_exceeded: bool,
    /// Why Pods can not be created, in the words of the controller (for example an exceeded quota).
    pub create_failure: Option<String>,
}

impl Observed {
    /// Keeps what is needed of a whole object.
    pub(super) fn from_live(kind: Kind, live: &Value) -> Self {
        let meta = &live["metadata"];
        let owner = meta["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true);
        let boxed = |value: &Value| Box::<str>::from(value.as_str().unwrap_or_default());
        let annotation = |key: &str| meta["annotations"][key].as_str().map(Box::from);
        Observed {
            uid: meta["uid"].as_str().unwrap_or_default().to_owned(),
            resource_version: meta["resourceVersion"].as_str().and_then(|rv| rv.parse().ok()).unwrap_or(0),
            owner: owner.map(|o| (boxed(&o["kind"]), boxed(&o["name"]), boxed(&o["uid"]))),
            hash: annotation(SOURCES_HASH).or_else(|| annotation(DESIRED_HASH)),
            digest: owned_digest(kind, live),
            deleting: meta.get("deletionTimestamp").is_some(),
            workload: live["status"]
                .as_object()
                .filter(|_| live["spec"].get("template").is_some())
                .map(|_| workload(live)),
            claim: live["spec"]["volumeClaimTemplates"].get(0).map(|template| Claim {
                size: boxed(&template["spec"]["resources"]["requests"]["storage"]),
                class: template["spec"]["storageClassName"].as_str().map(Box::from),
            }),
        }
    }

    /// Whether a reconcile could come to another result; most updates by others change nothing that is kept.
    pub(super) fn differs(&self, other: &Observed) -> bool {
        Observed { resource_version: 0, ..self.clone() } != Observed { resource_version: 0, ..other.clone() }
    }

    /// Uid of the controller owner.
    pub fn owner_uid(&self) -> Option<&str> {
        self.owner.as_ref().map(|(_, _, uid)| uid.as_ref())
    }
}

fn workload(live: &Value) -> WorkloadStatus {
    let (spec, status) = (&live["spec"], &live["status"]);
    let number = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
    let condition = |type_: &str| status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == type_);
    WorkloadStatus {
        current: status["observedGeneration"].as_i64() >= live["metadata"]["generation"].as_i64(),
        desired: number(&spec["replicas"]),
        replicas: number(&status["replicas"]),
        ready: number(&status["readyReplicas"]),
        updated: number(&status["updatedReplicas"]),
        deadline_exceeded: condition("Progressing")
            .is_some_and(|c| c["status"] == "False" && c["reason"] == "ProgressDeadlineExceeded"),
        create_failure: condition("ReplicaFailure")
            .filter(|c| c["status"] == "True")
            .and_then(|c| c["message"].as_str())
            .map(str::to_owned),
    }
}
