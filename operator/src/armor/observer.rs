//! The task that asks replicas, nudges the kubelet where a configuration is late, and wakes reconciles when an
//! answer changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::client;
use super::view::{ArmorView, Desired, PoolView, Replica};
use crate::metrics::Metrics;
use crate::names::{CONFIG_NUDGE, FIELD_MANAGER};
use crate::world::{Cache, PodState, Wake};

/// How often the pools are looked through for one that is due. No request is made for one that is not.
const TICK: Duration = Duration::from_millis(200);
/// Between two looks at a pool in which something is on its way, since this long at most.
const UNSETTLED: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(30);
/// Between two looks at a settled pool, and at one that does not settle.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two looks at a pool in which nothing but known causes is left: no answer, or a configuration that is refused.
const KNOWN_CAUSE: Duration = Duration::from_secs(30);
/// A replica that is still behind after this long is nudged again.
const NUDGE_AGAIN: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pools that are looked at at the same time. One whose replicas do not answer takes one of these places, and no other.
const PARALLEL_POOLS: usize = 64;

/// Keeps an `ArmorView` current.
pub struct Observer {
    client: Client,
    http: reqwest::Client,
    view: Arc<ArmorView>,
    pods: Arc<Cache<PodState>>,
    wake: Wake,
    metrics: Metrics,
    tokens: tokio::sync::Mutex<HashMap<String, SecretString>>,
}

impl Observer {
    /// An observer of the replicas that `pods` knows.
    ///
    /// # Errors
    /// When the HTTP client can not be set up.
    pub fn new(
        client: Client,
        view: Arc<ArmorView>,
        pods: Arc<Cache<PodState>>,
        wake: Wake,
        metrics: Metrics,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Observer { client, http, view, pods, wake, metrics, tokens: tokio::sync::Mutex::default() })
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = looks.next() => {}
                _ = tick.tick() => {
                    let free = PARALLEL_POOLS.saturating_sub(looks.len());
                    looks.extend(self.view.take_due(Instant::now(), free).into_iter().map(|(uid, view)| self.look(uid, view)));
                }
            }
        }
    }

    async fn look(&self, uid: String, view: PoolView) {
        let desired = &view.desired;
        let pods: Vec<(String, PodState)> = self.pods.collect(|(namespace, name), pod| {
            let ours = *namespace == desired.namespace && pod.is_armor_of(&desired.pool);
            ours.then(|| (name.clone(), pod.clone()))
        });
        let running: Vec<_> = pods.iter().filter_map(|(name, pod)| pod.ip.as_ref().map(|ip| (name, pod, ip))).collect();
        if running.is_empty() {
            if self.view.report(&uid, BTreeMap::new(), desired, |_| SETTLED) {
                self.wake.pool_and_servers(&desired.namespace, &desired.pool);
            }
            return;
        }
        let Some(token) = self.token(desired).await else {
            self.view.postpone(&uid, SETTLED);
            return;
        };
        let answers = futures::future::join_all(running.iter().map(|(name, pod, ip)| {
            let token = &token;
            async move {
                let replica = client::ask(&self.http, ip, token).await;
                // A replica that does not answer can not be behind: it will start with the newest configuration.
                if replica.unreachable.is_none() && !replica.in_sync(desired) {
                    self.nudge(desired, &view.since, name, pod).await;
                }
                ((*name).clone(), replica)
            }
        }))
        .await;
        let replicas: BTreeMap<String, Replica> = answers.into_iter().collect();
        let settled = replicas.values().all(|r| r.in_sync(desired) && r.servers.values().all(|s| s.state != "Pending"));
        if replicas.values().any(|r| r.unreachable.as_deref() == Some("/config answers HTTP 401")) {
            self.tokens.lock().await.remove(&desired.admin_secret.1);
        }
        let known = |replica: &Replica| replica.unreachable.is_some() || replica.error.is_some();
        let hopeless = replicas.values().all(|replica| replica.in_sync(desired) || known(replica));
        let pause = move |unchanged_for: Duration| match (settled, hopeless) {
            (true, _) => SETTLED,
            (false, _) if unchanged_for < SOON => UNSETTLED,
            (false, true) if unchanged_for > 2 * SOON => KNOWN_CAUSE,
            (false, _) => SETTLED,
        };
        if self.view.report(&uid, replicas, desired, pause) {
            self.wake.pool_and_servers(&desired.namespace, &desired.pool);
        }
    }

    /// Touches an annotation of a Pod, so that its kubelet refreshes the volumes at once instead of within a minute.
    async fn nudge(&self, desired: &Desired, since: &Instant, name: &str, pod: &PodState) {
        let round = since.elapsed().as_secs() / NUDGE_AGAIN.as_secs();
        // After some rounds the kubelet's own period has passed: more nudges would not help.
        if round > 10 {
            return;
        }
        let credentials = desired.credentials.as_deref().unwrap_or("none");
        let wanted = format!("{}.{credentials}.{round}", desired.revision);
        if pod.nudge.as_ref() == Some(&wanted) {
            return;
        }
        let patch = json!({"metadata": {"uid": pod.uid, "annotations": {CONFIG_NUDGE: wanted}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &desired.namespace);
        self.metrics.nudged();
        match tokio::time::timeout(CALL_TIMEOUT, pods.patch_metadata(name, &params, &Patch::Merge(&patch))).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(pod = name, namespace = desired.namespace, %error, "can not touch the Pod")
            }
            Err(_) => tracing::warn!(pod = name, namespace = desired.namespace, "touching the Pod: no answer in time"),
        }
    }

    async fn token(&self, desired: &Desired) -> Option<SecretString> {
        let (name, uid) = &desired.admin_secret;
        if let Some(token) = self.tokens.lock().await.get(uid) {
            return Some(token.clone());
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &desired.namespace);
        let secret = tokio::time::timeout(CALL_TIMEOUT, secrets.get_opt(name)).await.ok()?.ok()??;
        let value = secret.data?.remove("token")?;
        let token = SecretString::from(String::from_utf8(value.0).ok()?.trim().to_owned());
        let mut tokens = self.tokens.lock().await;
        tokens.retain(|uid, _| self.view.has_admin_secret(uid));
        tokens.insert(uid.clone(), token.clone());
        Some(token)
    }
}
