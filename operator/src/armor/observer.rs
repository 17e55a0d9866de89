//! The task that asks replicas, nudges the kubelet where a configuration is late, and wakes reconciles when an
//! answer changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;

use super::client;
use super::view::{ArmorView, Desired, Replica};
use crate::admin::{Http, Look, Nudges, Task, Tokens};
use crate::metrics::Metrics;
use crate::world::{Cache, PodState, Wake};

/// Between two looks at a pool in which something is on its way, since this long at most.
const UNSETTLED: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(30);
/// Between two looks at a settled pool, and at one that does not settle.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two looks at a pool in which nothing but known causes is left: no answer, or a configuration that is refused.
const KNOWN_CAUSE: Duration = Duration::from_secs(30);

/// Keeps an `ArmorView` current.
pub struct Observer {
    http: Http,
    view: Arc<ArmorView>,
    pods: Arc<Cache<PodState>>,
    wake: Wake,
    nudges: Nudges,
    tokens: Tokens,
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
        let nudges = Nudges::new(client.clone(), metrics);
        Ok(Observer { http: Http::new()?, view, pods, wake, nudges, tokens: Tokens::new(client) })
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        self.view.run(&self, stop).await;
    }
}

impl Task<Desired, Replica> for Observer {
    async fn look(&self, uid: String, look: Look<Desired, Replica>) {
        let desired = &look.desired;
        let is_news = |before: &BTreeMap<_, Replica>, after: &BTreeMap<_, Replica>| before != after;
        let pods: Vec<(String, PodState)> = self.pods.collect(|(namespace, name), pod| {
            let ours = *namespace == desired.namespace && pod.is_of("armor", &desired.pool);
            ours.then(|| (name.clone(), pod.clone()))
        });
        let running: Vec<_> = pods.iter().filter_map(|(name, pod)| pod.ip.as_ref().map(|ip| (name, pod, ip))).collect();
        if running.is_empty() {
            if self.view.report(&uid, BTreeMap::new(), desired, is_news, |_| SETTLED) {
                self.wake.pool_and_servers(&desired.namespace, &desired.pool);
            }
            return;
        }
        let is_used = |uid: &str| self.view.has_admin_secret(uid);
        let Some(token) = self.tokens.get(&desired.namespace, &desired.admin_secret, is_used).await else {
            self.view.postpone(&uid, SETTLED);
            return;
        };
        let unauthorized = AtomicBool::new(false);
        let answers = futures::future::join_all(running.iter().map(|(name, pod, ip)| {
            let (token, unauthorized) = (&token, &unauthorized);
            async move {
                let replica = client::ask(&self.http, ip, token).await.unwrap_or_else(|failure| {
                    unauthorized.fetch_or(failure.is_unauthorized(), Ordering::Relaxed);
                    Replica { unreachable: Some(failure.to_string()), ..Replica::default() }
                });
                // A replica that does not answer can not be behind: it will start with the newest configuration.
                if replica.unreachable.is_none() && !replica.in_sync(desired) {
                    let wanted = format!("{}.{}", desired.revision, desired.credentials.as_deref().unwrap_or("none"));
                    self.nudges.touch(&desired.namespace, name, pod, &wanted, &look.since).await;
                }
                ((*name).clone(), replica)
            }
        }))
        .await;
        if unauthorized.into_inner() {
            self.tokens.forget(&desired.admin_secret.1).await;
        }
        let replicas: BTreeMap<String, Replica> = answers.into_iter().collect();
        let settled = replicas.values().all(|r| r.in_sync(desired) && r.servers.values().all(|s| s.state != "Pending"));
        let known = |replica: &Replica| replica.unreachable.is_some() || replica.error.is_some();
        let hopeless = replicas.values().all(|replica| replica.in_sync(desired) || known(replica));
        let pause = move |unchanged_for: Duration| match (settled, hopeless) {
            (true, _) => SETTLED,
            (false, _) if unchanged_for < SOON => UNSETTLED,
            (false, true) if unchanged_for > 2 * SOON => KNOWN_CAUSE,
            (false, _) => SETTLED,
        };
        if self.view.report(&uid, replicas, desired, is_news, pause) {
            self.wake.pool_and_servers(&desired.namespace, &desired.pool);
        }
    }
}
