//! Touches Pods, so that their kubelet refreshes the volumes at once instead of within a minute.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::metrics::Metrics;
use crate::names::{CONFIG_NUDGE, FIELD_MANAGER};
use crate::world::PodState;

/// A replica that is still behind after this long is nudged again.
const NUDGE_AGAIN: Duration = Duration::from_secs(3);
/// After some rounds the kubelet's own period has passed: more nudges would not help.
const MOST_ROUNDS: u64 = 10;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the annotation.
pub(crate) struct Nudges {
    client: Client,
    metrics: Metrics,
}

impl Nudges {
    pub(crate) fn new(client: Client, metrics: Metrics) -> Self {
        Nudges { client, metrics }
    }

    /// Touches a Pod that does not run `wanted` yet, which is wanted since `since`.
    pub(crate) async fn touch(&self, namespace: &str, name: &str, pod: &PodState, wanted: &str, since: &Instant) {
        let round = since.elapsed().as_secs() / NUDGE_AGAIN.as_secs();
        if round > MOST_ROUNDS {
            return;
        }
        let wanted = format!("{wanted}.{round}");
        if pod.nudge.as_ref() == Some(&wanted) {
            return;
        }
        let patch = json!({"metadata": {"uid": pod.uid, "annotations": {CONFIG_NUDGE: wanted}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        self.metrics.nudged();
        match tokio::time::timeout(CALL_TIMEOUT, pods.patch_metadata(name, &params, &Patch::Merge(&patch))).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(pod = name, namespace, %error, "can not touch the Pod"),
            Err(_) => tracing::warn!(pod = name, namespace, "touching the Pod: no answer in time"),
        }
    }
}
