//! The only writer of children.
//!
//! A write happens only when the desired state changed or a field that we own differs; a child that the watch
//! does not know is read once before it is made, because an apply would merge into a stranger's object of that
//! name without a conflict.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Error as KubeError};
use serde_json::Value;
use thiserror::Error;

use super::digest::{expected_digest, is_contained};
use super::{Applied, Child, ChildKey, ChildStore, Content, Observed, Prepared, stamped};
use crate::metrics::{Metrics, Verb};
use crate::names::{DESIRED_HASH, FIELD_MANAGER, SOURCES_HASH};

/// Longest time that one request to the API server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What was refused for a known cause is not tried again sooner, however often its owner is reconciled.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// What was written of an owner that never asks is forgotten after this.
const WRITTEN_KEPT: Duration = Duration::from_secs(600);

/// Why a child is not as desired.
#[derive(Clone, Debug, Error)]
pub enum ApplyError {
    /// Somebody else has an object of that name.
    #[error("{0} exists and does not belong to this object: delete or rename it, or rename this object")]
    NameConflict(ChildKey),
    /// The object of an owner of the same name that was deleted is still there.
    #[error("{0} of a deleted predecessor is still being removed")]
    StillDeleting(ChildKey),
    /// A quota of the namespace is used up.
    #[error("{key} is refused by a quota of the namespace: {message}: raise the quota, or ask for less")]
    QuotaExceeded { key: ChildKey, message: String },
    /// Kubernetes lets nobody change the field.
    #[error(
        "{key} can not be changed in place: {message}: set the field of the spec back, or delete {key}, which is made anew"
    )]
    Immutable { key: ChildKey, message: String },
    /// The API server refuses the object.
    #[error("{key} is refused by the API server or a policy of the cluster: {message}")]
    Refused { key: ChildKey, message: String },
    /// The operator's own permissions do not suffice.
    #[error("{key} may not be written by the operator: {message}; check the RBAC of the chart")]
    Forbidden { key: ChildKey, message: String },
    /// No answer in time.
    #[error("{0}: no answer from the API server in time")]
    Timeout(ChildKey),
    /// The API server could not be reached or failed.
    #[error("{key}: {source}")]
    Api { key: ChildKey, source: Arc<KubeError> },
}

impl ApplyError {
    /// The condition reason and metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            ApplyError::NameConflict(_) => "NameConflict",
            ApplyError::StillDeleting(_) => "PredecessorDeleting",
            ApplyError::QuotaExceeded { .. } => "QuotaExceeded",
            ApplyError::Immutable { .. } => "ImmutableField",
            ApplyError::Refused { .. } => "ChildRefused",
            ApplyError::Forbidden { .. } => "OperatorForbidden",
            ApplyError::Timeout(_) | ApplyError::Api { .. } => "ApiServerUnavailable",
        }
    }

    /// The child that is not as desired.
    pub fn key(&self) -> &ChildKey {
        match self {
            ApplyError::NameConflict(key) | ApplyError::StillDeleting(key) | ApplyError::Timeout(key) => key,
            ApplyError::QuotaExceeded { key, .. }
            | ApplyError::Immutable { key, .. }
            | ApplyError::Refused { key, .. }
            | ApplyError::Forbidden { key, .. }
            | ApplyError::Api { key, .. } => key,
        }
    }

    /// Whether a retry soon may help although nobody does anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, ApplyError::StillDeleting(_) | ApplyError::Timeout(_) | ApplyError::Api { .. })
    }
}

/// How many children of one owner were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Written {
    pub created: u32,
    pub updated: u32,
    pub deleted: u32,
}

/// What was written, and when last.
type Tally = (Written, Instant);

/// Applies children and deletes those that are wanted no more.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    store: Arc<ChildStore>,
    metrics: Metrics,
    refused: Arc<Mutex<HashMap<ChildKey, Refusal>>>,
    /// By uid of the owner, until it is asked for.
    written: Arc<Mutex<HashMap<Box<str>, Tally>>>,
}

/// A desired state that the API server refused, and when.
struct Refusal {
    fingerprint: String,
    at: Instant,
    error: ApplyError,
}

impl Applier {
    /// A writer that keeps `store` up to date with what it wrote.
    pub fn new(client: Client, store: Arc<ChildStore>, metrics: Metrics) -> Self {
        Applier { client, store, metrics, refused: Arc::default(), written: Arc::default() }
    }

    /// Brings one child to its desired state, with at most one write.
    ///
    /// # Errors
    /// See `ApplyError`; the child is then as it was.
    pub async fn apply(&self, child: Child<Prepared>) -> Result<Child<Applied>, ApplyError> {
        let fingerprint = child.fingerprint();
        if let Some(error) = self.refused_lately(&child.key, &fingerprint) {
            return Err(error);
        }
        let written = match &child.content {
            Content::Desired(body) => {
                self.reconcile(&child.key, stamped(body, DESIRED_HASH, &fingerprint), &fingerprint, true).await
            }
            Content::Copied { body, sources } => {
                self.reconcile(&child.key, stamped(body, SOURCES_HASH, sources), sources, false).await
            }
            Content::Generated { body, make } => self.create_once(&child.key, body, *make).await,
        };
        self.remember(&child.key, fingerprint, written.as_ref().err());
        Ok(child.into_applied(Some(written?)))
    }

    fn refused_lately(&self, key: &ChildKey, fingerprint: &str) -> Option<ApplyError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = refused.get(key).filter(|refusal| refusal.fingerprint == fingerprint)?;
        (refusal.at.elapsed() < REFUSED_FOR).then(|| refusal.error.clone())
    }

    fn remember(&self, key: &ChildKey, fingerprint: String, error: Option<&ApplyError>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match error.filter(|error| !error.is_transient()) {
            Some(error) => {
                refused.insert(key.clone(), Refusal { fingerprint, at: Instant::now(), error: error.clone() });
            }
            None => {
                refused.remove(key);
            }
        }
    }

    /// Forgets refusals that are too old to hold anything back.
    pub fn sweep(&self) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, refusal| refusal.at.elapsed() < REFUSED_FOR);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|_, (_, at)| at.elapsed() < WRITTEN_KEPT);
    }

    /// What was written of an owner's children since this was asked last.
    pub fn take_written(&self, owner_uid: &str) -> Written {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.remove(owner_uid).map(|(written, _)| written).unwrap_or_default()
    }

    fn count(&self, owner_uid: &str, count: impl FnOnce(&mut Written)) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (written, at) = written.entry(owner_uid.into()).or_insert_with(|| (Written::default(), Instant::now()));
        *at = Instant::now();
        count(written);
    }

    /// Deletes the children of `owner_uid` that are not in `keep`.
    ///
    /// # Errors
    /// The first failure; the others were tried all the same.
    pub async fn prune(&self, owner_uid: &str, keep: &[ChildKey]) -> Result<(), ApplyError> {
        let mut outcome = Ok(());
        for key in self.store.owned_by(owner_uid) {
            if !keep.contains(&key) {
                outcome = outcome.and(self.delete(owner_uid, &key).await);
            }
        }
        outcome
    }

    async fn reconcile(&self, key: &ChildKey, body: Value, hash: &str, compare: bool) -> Result<Observed, ApplyError> {
        let owner_uid = body["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default().to_owned();
        let uid = match self.store.get_with_good(key) {
            Some((observed, good)) => {
                check_owner(key, &observed, &body)?;
                if observed.hash.as_deref() == Some(hash) {
                    let as_desired = good == Some(observed.digest)
                        || good.is_none() && observed.digest == expected_digest(key.kind, &body);
                    if as_desired || good.is_none() && compare && self.live_contains(key, &body).await? {
                        self.store.mark_good(key, observed.digest);
                        return Ok(observed);
                    }
                }
                Some(observed.uid)
            }
            None => self.read_unknown(key, &owner_uid, &body).await?,
        };
        self.write(key, body, uid).await
    }

    /// The uid of an object that the watch has not shown yet, if there is one and it is ours.
    async fn read_unknown(&self, key: &ChildKey, owner_uid: &str, body: &Value) -> Result<Option<String>, ApplyError> {
        let Some(live) = self.get(key).await? else { return Ok(None) };
        let observed = Observed::from_live(key.kind, &live);
        if observed.owner_uid() != Some(owner_uid) {
            check_owner(key, &observed, body)?;
        }
        Ok(Some(observed.uid))
    }

    async fn live_contains(&self, key: &ChildKey, body: &Value) -> Result<bool, ApplyError> {
        Ok(self.get(key).await?.is_some_and(|live| is_contained(body, &live)))
    }

    async fn get(&self, key: &ChildKey) -> Result<Option<Value>, ApplyError> {
        self.metrics.child_request(key.kind, Verb::Get);
        let live = self.call(key, self.api(key).get_opt(&key.name)).await?;
        live.map(|object| to_value(key, &object)).transpose()
    }

    async fn write(&self, key: &ChildKey, mut body: Value, uid: Option<String>) -> Result<Observed, ApplyError> {
        let is_new = uid.is_none();
        if let Some(uid) = uid {
            // Refused with a conflict when the object was deleted and made anew by somebody else meanwhile.
            body["metadata"]["uid"] = Value::String(uid);
        }
        self.metrics.child_request(key.kind, Verb::Apply);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = self.call(key, self.api(key).patch(&key.name, &params, &Patch::Apply(&body))).await;
        if matches!(&written, Err(ApplyError::Api { source, .. }) if status_code(source) == Some(409)) {
            self.store.forget(key);
        }
        let live = to_value(key, &written?)?;
        tracing::info!(child = %key, "applied");
        self.count(owner_of(&body), |written| match is_new {
            true => written.created += 1,
            false => written.updated += 1,
        });
        Ok(self.store.record_applied(key.clone(), &live))
    }

    async fn create_once(&self, key: &ChildKey, body: &Value, make: fn() -> Value) -> Result<Observed, ApplyError> {
        if let Some(observed) = self.store.get(key) {
            check_owner(key, &observed, body)?;
            return Ok(observed);
        }
        let mut body = body.clone();
        body["stringData"] = make();
        let object: DynamicObject = serde_json::from_value(body.clone())
            .map_err(|error| ApplyError::Refused { key: key.clone(), message: error.to_string() })?;
        self.metrics.child_request(key.kind, Verb::Create);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match self.call(key, self.api(key).create(&params, &object)).await {
            Ok(live) => {
                tracing::info!(child = %key, "created");
                self.count(owner_of(&body), |written| written.created += 1);
                Ok(self.store.record_applied(key.clone(), &to_value(key, &live)?))
            }
            Err(ApplyError::Api { source, .. }) if status_code(&source) == Some(409) => {
                let live = self.get(key).await?.ok_or(ApplyError::StillDeleting(key.clone()))?;
                check_owner(key, &Observed::from_live(key.kind, &live), &body)?;
                Ok(self.store.record_applied(key.clone(), &live))
            }
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, owner_uid: &str, key: &ChildKey) -> Result<(), ApplyError> {
        let Some(observed) = self.store.get(key).filter(|observed| !observed.deleting) else { return Ok(()) };
        self.metrics.child_request(key.kind, Verb::Delete);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(observed.uid), resource_version: None }),
            ..DeleteParams::background()
        };
        match self.call(key, self.api(key).delete(&key.name, &params)).await {
            Ok(_) => {
                tracing::info!(child = %key, "deleted");
                self.count(owner_uid, |written| written.deleted += 1);
                Ok(())
            }
            Err(ApplyError::Api { source, .. }) if matches!(status_code(&source), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn api(&self, key: &ChildKey) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &key.namespace, &key.kind.api_resource())
    }

    async fn call<T>(&self, key: &ChildKey, request: impl Future<Output = kube::Result<T>>) -> Result<T, ApplyError> {
        match tokio::time::timeout(CALL_TIMEOUT, request).await {
            Ok(answer) => answer.map_err(|error| classify(key, error)),
            Err(_) => Err(ApplyError::Timeout(key.clone())),
        }
    }
}

/// Uid of the owner in a desired body.
fn owner_of(body: &Value) -> &str {
    body["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default()
}

/// That an existing object is ours; the predecessor's of the same name counts as on its way out.
fn check_owner(key: &ChildKey, observed: &Observed, body: &Value) -> Result<(), ApplyError> {
    let wanted = &body["metadata"]["ownerReferences"][0];
    match &observed.owner {
        Some((_, _, uid)) if wanted["uid"] == uid.as_ref() => {
            if observed.deleting {
                Err(ApplyError::StillDeleting(key.clone()))
            } else {
                Ok(())
            }
        }
        Some((kind, name, _)) if wanted["kind"] == kind.as_ref() && wanted["name"] == name.as_ref() => {
            Err(ApplyError::StillDeleting(key.clone()))
        }
        _ => Err(ApplyError::NameConflict(key.clone())),
    }
}

fn to_value(key: &ChildKey, object: &DynamicObject) -> Result<Value, ApplyError> {
    serde_json::to_value(object)
        .map_err(|error| ApplyError::Api { key: key.clone(), source: Arc::new(KubeError::SerdeError(error)) })
}

fn status_code(error: &KubeError) -> Option<u16> {
    match error {
        KubeError::Api(status) => Some(status.code),
        _ => None,
    }
}

fn classify(key: &ChildKey, error: KubeError) -> ApplyError {
    let key = key.clone();
    let KubeError::Api(status) = &error else { return ApplyError::Api { key, source: Arc::new(error) } };
    let message = status.message.clone();
    match status.code {
        403 if message.contains("exceeded quota") => ApplyError::QuotaExceeded { key, message },
        403 if message.contains("being terminated") => ApplyError::StillDeleting(key),
        403 if ["admission webhook", "ValidatingAdmissionPolicy", "violates PodSecurity"]
            .iter()
            .any(|policy| message.contains(policy)) =>
        {
            ApplyError::Refused { key, message }
        }
        403 => ApplyError::Forbidden { key, message },
        422 if message.contains("immutable") || message.contains("updates to statefulset spec") => {
            ApplyError::Immutable { key, message }
        }
        400 | 422 => ApplyError::Refused { key, message },
        _ => ApplyError::Api { key, source: Arc::new(error) },
    }
}
