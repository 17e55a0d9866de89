//! Asks the exporters, nudges the kubelet where a configuration is late, and wakes reconciles when a state changed.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exporter::api::wire::{Destinations, TestResult};
use kube::Client;
use secrecy::SecretString;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::client::{self, Unavailable};
use super::view::{Desired, ExporterView, Replica, is_news};
use crate::admin::{Failure, Http, Look, Nudges, Task, Tokens};
use crate::audit::{Sink, SinkError};
use crate::metrics::Metrics;
use crate::world::{Cache, PodState, Wake};

/// Between two looks at a pool that runs what it should.
const SETTLED: Duration = Duration::from_secs(15);
/// Between two looks while something is on its way, since `SOON` at most.
const UNSETTLED: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(30);
/// Between two looks at a pool of which no replica answers, once that has lasted.
const SILENT: Duration = Duration::from_secs(30);

/// The exporters of all pools of a scope.
pub struct PoolExporters {
    http: Http,
    view: ExporterView,
    /// Pools that are known to have none.
    without: Mutex<HashSet<String>>,
    pods: Arc<Cache<PodState>>,
    wake: Wake,
    nudges: Nudges,
    tokens: Tokens,
}

impl PoolExporters {
    /// Those whose Pods `pods` knows.
    ///
    /// # Errors
    /// When the HTTP client can not be set up.
    pub fn new(
        client: Client,
        pods: Arc<Cache<PodState>>,
        wake: Wake,
        metrics: Metrics,
    ) -> Result<Self, reqwest::Error> {
        let nudges = Nudges::new(client.clone(), metrics);
        let (view, tokens) = (ExporterView::default(), Tokens::new(client));
        Ok(PoolExporters { http: Http::new()?, view, without: Mutex::default(), pods, wake, nudges, tokens })
    }

    /// Asks until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        self.view.run(self, stop).await;
    }

    /// Says what the exporters of the pool with this uid should run; true when that is something else than before.
    pub fn want(&self, pool_uid: &str, desired: Desired) -> bool {
        self.without().remove(pool_uid);
        self.view.want(pool_uid, desired)
    }

    /// The same for a pool of which nothing is known, as after a restart.
    pub fn want_if_unknown(&self, pool_uid: &str, desired: &Desired) {
        self.without().remove(pool_uid);
        self.view.want_if_unknown(pool_uid, desired);
    }

    /// Looks at a pool again at once.
    pub fn hurry(&self, pool_uid: &str) {
        self.view.hurry(pool_uid);
    }

    /// Says that a pool has no exporter; true when that is news.
    pub fn has_none(&self, pool_uid: &str) -> bool {
        self.view.forget(pool_uid);
        self.without().insert(pool_uid.to_owned())
    }

    /// The same for a pool of which nothing is known.
    pub fn has_none_if_unknown(&self, pool_uid: &str) -> bool {
        self.view.with(pool_uid, |_| ()).is_none() && self.has_none(pool_uid)
    }

    /// Whether a pool is known to have no exporter.
    pub fn is_without(&self, pool_uid: &str) -> bool {
        self.without().contains(pool_uid)
    }

    /// Forgets a pool that is gone.
    pub fn forget(&self, pool_uid: &str) {
        self.view.forget(pool_uid);
        self.without().remove(pool_uid);
    }

    /// The last answer of each replica, by Pod name; `None` while nobody has looked.
    pub fn replicas(&self, pool_uid: &str) -> Option<BTreeMap<String, Replica>> {
        self.view.replicas(pool_uid)
    }

    /// The newest answer, one for all replicas; `None` where there is no exporter, or none has answered.
    pub fn observe(&self, pool_uid: &str) -> Option<Arc<Destinations>> {
        self.view.answer(pool_uid)
    }

    /// Whether every exporter that answers runs a configuration with this generation of a SiemExport; `None` while nobody has
    /// asked.
    pub fn is_programmed(&self, pool_uid: &str, export: &str, uid: &str, generation: i64) -> Option<bool> {
        self.view.is_programmed(pool_uid, export, uid, generation)
    }

    fn without(&self) -> MutexGuard<'_, HashSet<String>> {
        self.without.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an exporter of the pool send a test event to a destination. Takes up to 20 s.
    ///
    /// # Errors
    /// See `Unavailable`.
    pub async fn test(
        &self,
        pool_uid: &str,
        export: &str,
        destination: &str,
        id: &str,
    ) -> Result<TestResult, Unavailable> {
        let (address, token, secret) = self.one_of(pool_uid).await?;
        let answer = client::test(&self.http, &address, &token, (export, destination, id)).await;
        self.known(answer, &secret).await
    }

    /// Has an exporter of the pool add events to the stream, once for each event id. Gives how many were new. Takes up to
    /// 10 s.
    ///
    /// # Errors
    /// See `Unavailable`.
    pub async fn post_events(&self, pool_uid: &str, events: &[&RawValue]) -> Result<u64, Unavailable> {
        let (address, token, secret) = self.one_of(pool_uid).await?;
        let answer = client::post_events(&self.http, &address, &token, events).await;
        self.known(answer, &secret).await
    }

    async fn known<T>(&self, answer: Result<T, Failure>, secret: &str) -> Result<T, Unavailable> {
        if answer.as_ref().is_err_and(Failure::is_unauthorized) {
            self.tokens.forget(secret).await;
        }
        Ok(answer?)
    }

    /// Address and token of one exporter of a pool, one that is ready and runs the newest configuration where there is one;
    /// and the uid of the token's Secret.
    async fn one_of(&self, pool_uid: &str) -> Result<(String, SecretString, String), Unavailable> {
        let look = self.view.with(pool_uid, Look::clone).ok_or(Unavailable::NoExporter)?;
        let replicas = look.replicas.unwrap_or_default();
        let rank = |name: &str, pod: &PodState| {
            let current = replicas.get(name).is_some_and(|replica| replica.in_sync(&look.desired));
            (pod.ready, current)
        };
        let pods = self.running(&look.desired);
        let best = pods.iter().max_by_key(|(name, pod, _)| rank(name, pod)).ok_or(Unavailable::NoPod)?;
        let token = self.token(&look.desired).await.ok_or(Unavailable::NoToken)?;
        Ok((best.2.clone(), token, look.desired.admin_secret.1))
    }

    async fn token(&self, desired: &Desired) -> Option<SecretString> {
        let is_used = |uid: &str| self.view.any(|desired| desired.admin_secret.1 == uid);
        self.tokens.get(&desired.namespace, &desired.admin_secret, is_used).await
    }

    /// Name, state and address of the exporters of a pool that run.
    fn running(&self, desired: &Desired) -> Vec<(String, PodState, String)> {
        self.pods.collect(|(namespace, name), pod| {
            let ours = *namespace == desired.namespace && pod.is_of("exporter", &desired.pool);
            pod.ip.as_ref().filter(|_| ours).map(|ip| (name.clone(), pod.clone(), ip.clone()))
        })
    }

    fn report(&self, uid: &str, replicas: BTreeMap<String, Replica>, looked_at: &Desired) {
        let current = !replicas.is_empty() && replicas.values().all(|replica| replica.in_sync(looked_at));
        let silent = replicas.values().all(|replica| replica.0.is_err());
        let pause = move |unchanged_for: Duration| match (current, silent) {
            (true, _) => SETTLED,
            (false, _) if unchanged_for < SOON => UNSETTLED,
            (false, true) => SILENT,
            (false, false) => SETTLED,
        };
        if self.view.report(uid, replicas, looked_at, is_news, pause) {
            self.wake.pool_and_exports(&looked_at.namespace, &looked_at.pool);
        }
    }
}

impl Task<Desired, Replica> for PoolExporters {
    async fn look(&self, uid: String, look: Look<Desired, Replica>) {
        let desired = &look.desired;
        let running = self.running(desired);
        if running.is_empty() {
            return self.report(&uid, BTreeMap::new(), desired);
        }
        let Some(token) = self.token(desired).await else {
            return self.view.postpone(&uid, SETTLED);
        };
        let unauthorized = AtomicBool::new(false);
        let answers = futures::future::join_all(running.into_iter().map(|(name, pod, address)| {
            let (token, unauthorized) = (&token, &unauthorized);
            async move {
                let answer = client::destinations(&self.http, &address, token).await;
                let replica = Replica(answer.map(Arc::new).map_err(|failure| {
                    unauthorized.fetch_or(failure.is_unauthorized(), Ordering::Relaxed);
                    failure.to_string()
                }));
                // A replica that does not answer can not be behind: it will start with the newest configuration.
                if let (Ok(_), false, Some(revision)) = (&replica.0, replica.in_sync(desired), &desired.revision) {
                    let wanted = format!("{revision}.{}", desired.credentials.as_deref().unwrap_or("none"));
                    self.nudges.touch(&desired.namespace, &name, &pod, &wanted, &look.since).await;
                }
                (name, replica)
            }
        }))
        .await;
        if unauthorized.into_inner() {
            self.tokens.forget(&desired.admin_secret.1).await;
        }
        self.report(&uid, answers.into_iter().collect(), desired);
    }
}

/// Events of the operator reach a pool's stream by way of its exporter.
impl Sink for Arc<PoolExporters> {
    async fn post(&self, pool_uid: &str, events: &[Vec<u8>]) -> Result<u64, SinkError> {
        // As they are, with their keys in the order of the schema.
        let parsed: Result<Vec<&RawValue>, _> = events.iter().map(|event| serde_json::from_slice(event)).collect();
        // They were written by this process.
        let events = parsed.map_err(|_| SinkError::Refused)?;
        self.post_events(pool_uid, &events).await.map_err(|unavailable| match unavailable {
            Unavailable::NoExporter => SinkError::Absent,
            Unavailable::Refused(_) => SinkError::Refused,
            Unavailable::NoPod | Unavailable::NoToken | Unavailable::Failed(_) => SinkError::Unavailable,
        })
    }
}
