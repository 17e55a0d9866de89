//! The only writer of status.
//!
//! A write happens only when the status differs from the newest one that is known, be it from the watch or from
//! the answer to our own last write.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;

use crate::metrics::Metrics;
use crate::names::STATUS_MANAGER;

const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// A status that could not be written.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The API server refuses or fails.
    #[error("status of {0} can not be written: {1}")]
    Api(String, Box<kube::Error>),
    /// No answer.
    #[error("status of {0}: no answer from the API server in time")]
    Timeout(String),
}

/// A status of ours that the watch may not have shown yet.
struct Written {
    version: u64,
    status: Arc<dyn Any + Send + Sync>,
    /// Since when the watch shows it.
    shown: Option<Instant>,
}

/// A reconcile may have taken its object just before the watch showed our write, so that the write is remembered for
/// a while after.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Writes the status of Pools, McpServers and SiemExports.
#[derive(Clone)]
pub struct StatusWriter {
    client: Client,
    metrics: Metrics,
    written: Arc<Mutex<HashMap<String, Written>>>,
}

impl StatusWriter {
    /// A writer through `client`.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        StatusWriter { client, metrics, written: Arc::default() }
    }

    /// The newest known status of an object: the watch may not have shown our last write yet.
    pub fn newest<K: Resource, S: Clone + Default + Send + Sync + 'static>(&self, object: &K, seen: Option<&S>) -> S {
        let version = version_of(object);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        if let Some(Written { version: newer, status, .. }) = written.get(uid) {
            // Of an object that can not be read the watch never shows the status.
            let unseen = *newer > version || (*newer == version && seen.is_none());
            if let Some(status) = status.downcast_ref::<S>().filter(|_| unseen) {
                return status.clone();
            }
            written.remove(uid);
        }
        seen.cloned().unwrap_or_default()
    }

    /// Writes `status` unless it equals `newest`. True when something was written.
    ///
    /// # Errors
    /// When the API server does not take it. An object that is gone is no error.
    pub async fn write<K, S>(&self, object: &K, kind: &'static str, newest: &S, status: S) -> Result<bool, StatusError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        S: Serialize + PartialEq + Send + Sync + 'static,
    {
        if *newest == status {
            return Ok(false);
        }
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let label = format!("{kind} {namespace}/{name}");
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"uid": object.meta().uid}, "status": status,
        });
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let params = PatchParams::apply(STATUS_MANAGER).force();
        let patch = Patch::Apply(&patch);
        self.metrics.status_written(kind);
        let answer = tokio::time::timeout(CALL_TIMEOUT, api.patch_status(&name, &params, &patch)).await;
        match answer.map_err(|_| StatusError::Timeout(label.clone()))? {
            Ok(answer) => {
                let uid = object.meta().uid.clone().unwrap_or_default();
                let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                written.insert(uid, Written { version: version_of(&answer), status: Arc::new(status), shown: None });
                Ok(true)
            }
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(false),
            Err(error) => Err(StatusError::Api(label, Box::new(error))),
        }
    }

    /// The watch shows an object: what is remembered of it is soon needed no more.
    pub fn caught_up<K: Resource>(&self, object: &K) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        if let Some(known) = written.get_mut(uid).filter(|known| known.version <= version_of(object)) {
            known.shown.get_or_insert_with(Instant::now);
        }
    }

    /// Drops what the watch has shown for long enough. To be called now and then.
    pub fn sweep(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|_, known| known.shown.is_none_or(|since| since.elapsed() < REMEMBERED));
        written.shrink_to_fit();
    }

    /// Drops what is remembered of an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn version_of<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
