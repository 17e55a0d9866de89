//! Children: the objects that a Pool or an McpServer owns.
//!
//! `Prepared` is a desired state, `Applied` is what the API server answered; only `apply` turns one into the
//! other, and nothing else writes a child.

mod apply;
mod digest;
mod observed;
mod store;

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::{ApiResource, GroupVersionKind};
use serde::Serialize;
use serde_json::Value;

pub use apply::{Applier, ApplyError, Written};
pub use observed::{Claim, Observed, WorkloadStatus};
pub use store::ChildStore;

/// The kinds that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    ServiceAccount,
    Secret,
    ConfigMap,
    Service,
    StatefulSet,
    Deployment,
    PodDisruptionBudget,
    NetworkPolicy,
    PodMonitor,
}

impl Kind {
    /// All of them, in the order in which they are watched.
    pub const ALL: [Kind; 9] = [
        Kind::ServiceAccount,
        Kind::Secret,
        Kind::ConfigMap,
        Kind::Service,
        Kind::StatefulSet,
        Kind::Deployment,
        Kind::PodDisruptionBudget,
        Kind::NetworkPolicy,
        Kind::PodMonitor,
    ];

    /// Whether the kind is one that a cluster may lack, or that the operator may have no rights on.
    pub fn is_optional(self) -> bool {
        self == Kind::PodMonitor
    }

    /// The word in `kind:`; also the metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::Service => "Service",
            Kind::StatefulSet => "StatefulSet",
            Kind::Deployment => "Deployment",
            Kind::PodDisruptionBudget => "PodDisruptionBudget",
            Kind::NetworkPolicy => "NetworkPolicy",
            Kind::PodMonitor => "PodMonitor",
        }
    }

    /// Where the API server serves the kind.
    pub fn api_resource(self) -> ApiResource {
        let (group, version, plural) = match self {
            Kind::ServiceAccount => ("", "v1", "serviceaccounts"),
            Kind::Secret => ("", "v1", "secrets"),
            Kind::ConfigMap => ("", "v1", "configmaps"),
            Kind::Service => ("", "v1", "services"),
            Kind::StatefulSet => ("apps", "v1", "statefulsets"),
            Kind::Deployment => ("apps", "v1", "deployments"),
            Kind::PodDisruptionBudget => ("policy", "v1", "poddisruptionbudgets"),
            Kind::NetworkPolicy => ("networking.k8s.io", "v1", "networkpolicies"),
            Kind::PodMonitor => ("monitoring.coreos.com", "v1", "podmonitors"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.as_str()), plural)
    }
}

/// Names one child in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ChildKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// The object that owns a set of children.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Namespace of the owner and of its children.
    pub namespace: String,
    /// Controller reference that every child carries.
    pub reference: OwnerReference,
}

/// State of a child before it was applied.
#[derive(Clone, Debug)]
pub struct Prepared;
/// State of a child that the API server holds as desired.
#[derive(Clone, Debug)]
pub struct Applied;

/// A child, desired (`Prepared`) or known to be in the cluster (`Applied`).
#[derive(Clone, Debug)]
pub struct Child<S> {
    /// Which child.
    pub key: ChildKey,
    content: Content,
    observed: Option<Observed>,
    state: PhantomData<S>,
}

#[derive(Clone, Debug)]
enum Content {
    /// Kept equal to this body.
    Desired(Value),
    /// Created once with random content, and never written again.
    Generated { body: Value, make: fn() -> Value },
    /// Copied values: written when the sources changed, and never compared.
    Copied { body: Value, sources: String },
}

impl Child<Prepared> {
    /// A child that is kept equal to `object`.
    ///
    /// # Errors
    /// When the object can not be written as JSON, which no object of the Kubernetes API is.
    pub fn desired<T: Serialize>(kind: Kind, owner: &Owner, object: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::of(kind, Content::Desired(complete(kind, owner, object)?)))
    }

    /// A Secret that is made once; `make` gives its `stringData`.
    ///
    /// # Errors
    /// As `desired`.
    pub fn generated<T: Serialize>(owner: &Owner, object: &T, make: fn() -> Value) -> Result<Self, serde_json::Error> {
        Ok(Self::of(Kind::Secret, Content::Generated { body: complete(Kind::Secret, owner, object)?, make }))
    }

    /// A Secret with values of other Secrets; `sources` changes whenever one of those does.
    ///
    /// # Errors
    /// As `desired`.
    pub fn copied<T: Serialize>(owner: &Owner, object: &T, sources: String) -> Result<Self, serde_json::Error> {
        Ok(Self::of(Kind::Secret, Content::Copied { body: complete(Kind::Secret, owner, object)?, sources }))
    }

    fn of(kind: Kind, content: Content) -> Self {
        let body = match &content {
            Content::Desired(body) | Content::Generated { body, .. } | Content::Copied { body, .. } => body,
        };
        let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = ChildKey { kind, namespace: text("namespace"), name: text("name") };
        Child { key, content, observed: None, state: PhantomData }
    }

    /// Adds an annotation to the Pod template of a workload.
    #[must_use]
    pub fn with_pod_annotation(mut self, key: &str, value: &str) -> Self {
        if let Content::Desired(body) = &mut self.content {
            body["spec"]["template"]["metadata"]["annotations"][key] = Value::String(value.to_owned());
        }
        self
    }

    /// The desired body, for golden files. A generated or copied Secret has no values in it.
    pub fn manifest(&self) -> Value {
        match &self.content {
            Content::Desired(body) | Content::Generated { body, .. } => body.clone(),
            Content::Copied { body, .. } => {
                let mut body = body.clone();
                if let Some(data) = body.get_mut("data").and_then(Value::as_object_mut) {
                    data.values_mut().for_each(|value| *value = Value::String("(copied)".into()));
                }
                body
            }
        }
    }

    /// What is known of the child from the watch, without writing anything. For a paused owner.
    pub fn observed_only(self, store: &ChildStore) -> Child<Applied> {
        let observed = store.get(&self.key);
        self.into_applied(observed)
    }

    /// Changes with the desired state; of a copied Secret with its sources, so that no value is hashed.
    fn fingerprint(&self) -> String {
        match &self.content {
            Content::Desired(body) => format!("{:016x}", digest::digest(body)),
            Content::Copied { sources, .. } => sources.clone(),
            Content::Generated { .. } => String::new(),
        }
    }

    fn into_applied(self, observed: Option<Observed>) -> Child<Applied> {
        Child { key: self.key, content: self.content, observed, state: PhantomData }
    }
}

impl Child<Applied> {
    /// Uid of the live object; absent only for a paused owner whose child does not exist.
    pub fn uid(&self) -> Option<&str> {
        self.observed.as_ref().map(|observed| observed.uid.as_str())
    }

    /// Status of a Deployment or StatefulSet.
    pub fn workload(&self) -> WorkloadStatus {
        self.observed.as_ref().and_then(|observed| observed.workload.clone()).unwrap_or_default()
    }
}

/// `object` with apiVersion, kind, namespace and owner reference.
fn complete<T: Serialize>(kind: Kind, owner: &Owner, object: &T) -> Result<Value, serde_json::Error> {
    let mut body = serde_json::to_value(object)?;
    let resource = kind.api_resource();
    body["apiVersion"] = Value::String(resource.api_version);
    body["kind"] = Value::String(resource.kind);
    body["metadata"]["namespace"] = Value::String(owner.namespace.clone());
    body["metadata"]["ownerReferences"] = serde_json::to_value([&owner.reference])?;
    Ok(body)
}

/// `body` with a hash in its annotations.
fn stamped(body: &Value, annotation: &str, hash: &str) -> Value {
    let mut body = body.clone();
    body["metadata"]["annotations"][annotation] = Value::String(hash.to_owned());
    body
}
