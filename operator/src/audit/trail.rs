//! What reconciles and watches tell, and what they have to remember for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events::{Component, ResourceKind, Source, Text};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::changes::{Changes, Round, reconciled};
use super::draft::{Draft, Subject};
use super::resource::Change;
use super::spool::{Limits, Loss, Spool};
use crate::child::Written;
use crate::metrics::Metrics;
use crate::status::{StatusError, StatusWriter};

/// A failure that passes by itself is told after this many in a row.
const FAILURES_TOLD: u32 = 3;
/// Changes of objects whose pool is not known yet: both may have been created with one command.
const HELD: usize = 256;

/// A pool, as its events name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolId {
    /// Uid of the Pool.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The operator's end of every pool's trail.
pub struct Trail {
    instance: Option<Text>,
    version: Option<Text>,
    cluster: Option<Text>,
    metrics: Metrics,
    spool: Mutex<Spool>,
    pushed: Notify,
    /// Objects whose reconciles fail now, or whose outcome is still owed.
    attempts: Mutex<HashMap<Box<str>, Attempt>>,
    /// Changes whose status may or may not have been written.
    unsure: Mutex<HashMap<Box<str>, Unsure>>,
    held: Mutex<VecDeque<(String, String, Change)>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    failures: u32,
    told: bool,
    owed: bool,
}

struct Unsure {
    status: serde_json::Value,
    told: Vec<(PoolId, Changes)>,
}

impl Trail {
    /// A trail in the name of this Pod.
    pub fn new(pod_name: &str, cluster: Option<&str>, limits: Limits, metrics: Metrics) -> Self {
        Self {
            instance: Text::new(pod_name),
            version: Text::new(env!("CARGO_PKG_VERSION")),
            cluster: cluster.and_then(Text::new),
            metrics,
            spool: Mutex::new(Spool::new(limits)),
            pushed: Notify::new(),
            attempts: Mutex::default(),
            unsure: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// Tells events of a pool, in this order.
    pub fn tell(&self, pool: &PoolId, drafts: Vec<Draft>) {
        if drafts.is_empty() {
            return;
        }
        let required = (Text::new(&pool.uid), self.version.clone(), self.instance.clone());
        // The first comes from the API server and the others from flags with defaults.
        let (Some(pool_id), Some(version), Some(instance)) = required else { return };
        let source = Source {
            pool_id,
            pool_name: Text::new(&pool.name),
            pool_namespace: Text::new(&pool.namespace),
            cluster_id: self.cluster.clone(),
            component: Component::Operator,
            version,
            instance,
        };
        self.spool(|spool| {
            for draft in drafts {
                self.metrics.event_made(draft.body.name().as_str());
                spool.push(&pool.uid, Instant::now(), |seq| draft.event(seq).into_json(&source));
            }
        });
        self.pushed.notify_one();
    }

    /// Writes a status, and tells each pool of the object what changed with it once it is written.
    ///
    /// A write whose answer is lost may have been done or not: the next reconcile of the object sees which, and tells it
    /// then.
    ///
    /// # Errors
    /// As [`StatusWriter::write`].
    pub async fn conclude<K, S>(
        &self,
        writer: &StatusWriter,
        object: &K,
        kind: &'static str,
        previous: &S,
        status: S,
        told: Vec<(PoolId, Changes)>,
    ) -> Result<(), StatusError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        S: Serialize + PartialEq + Send + Sync + 'static,
    {
        let uid = object.uid().unwrap_or_default();
        if let Some(unsure) = lock(&self.unsure).remove(uid.as_str())
            && serde_json::to_value(previous).is_ok_and(|now| now == unsure.status)
        {
            self.concluded(&uid, unsure.told);
        }
        let mut told = told;
        told.retain(|(_, changes)| *changes != Changes::default());
        if told.is_empty() {
            return writer.write(object, kind, previous, status).await.map(drop);
        }
        let (same, expected) = (*previous == status, serde_json::to_value(&status));
        match writer.write(object, kind, previous, status).await {
            // Neither equal nor written: the object is gone, or another one by now.
            Ok(written) if written || same => self.concluded(&uid, told),
            Ok(_) => {}
            Err(error) => {
                if let Ok(status) = expected {
                    lock(&self.unsure).insert(uid.into(), Unsure { status, told });
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn concluded(&self, uid: &str, told: Vec<(PoolId, Changes)>) {
        if told.iter().any(|(_, changes)| changes.owed) {
            lock(&self.attempts).entry(uid.into()).or_default().owed = true;
        }
        for (pool, changes) in told {
            self.tell(&pool, changes.drafts);
        }
    }

    /// Whether the outcome of an object's next good reconcile is news although its status does not change.
    pub fn is_untold(&self, uid: &str) -> bool {
        lock(&self.attempts).get(uid).is_some_and(|attempt| attempt.told || attempt.owed)
    }

    /// A reconcile went well.
    pub fn succeeded(&self, uid: &str) {
        lock(&self.attempts).remove(uid);
    }

    /// A reconcile failed, and is tried again. Told once, if it goes on. The time is that of the try: no object keeps it.
    pub fn failed<K: ResourceExt>(
        &self,
        kind: ResourceKind,
        object: &K,
        pools: &[PoolId],
        reason: &'static str,
        took: Duration,
    ) {
        let uid = object.uid().unwrap_or_default();
        {
            let mut attempts = lock(&self.attempts);
            let attempt = attempts.entry(uid.as_str().into()).or_default();
            attempt.failures += 1;
            if attempt.told || attempt.failures < FAILURES_TOLD {
                return;
            }
            attempt.told = true;
        }
        let (now, name) = (Time(jiff::Timestamp::now()), object.name_any());
        let generation = object.meta().generation.unwrap_or(0);
        for pool in pools {
            let round = Round {
                subject: Subject { pool: &pool.uid, uid: &uid, generation },
                name: &name,
                now: &now,
                written: Written::default(),
                children: 0,
                took,
                unfinished: false,
                untold: true,
            };
            let body = reconciled(&round, kind, Text::new(reason));
            self.tell(pool, body.map(|body| Draft::new(round.subject, &now, body)).into_iter().collect());
        }
    }

    /// An object of a pool changed. Held while the pool is not known.
    pub fn changed(&self, namespace: &str, name: &str, pool: Option<&PoolId>, change: Change) {
        match pool {
            Some(pool) => self.tell(pool, vec![change.draft(&pool.uid)]),
            None => {
                let mut held = lock(&self.held);
                held.push_back((namespace.to_owned(), name.to_owned(), change));
                if held.len() > HELD {
                    held.pop_front();
                    self.spool(|spool| spool.count_dropped(Loss::NoPool, 1));
                }
            }
        }
    }

    /// A pool is known now: tells what was held for it.
    pub fn appeared(&self, pool: &PoolId) {
        let mut held = lock(&self.held);
        if held.is_empty() {
            return;
        }
        let (mine, others) = std::mem::take(&mut *held)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(namespace, name, _)| *namespace == pool.namespace && *name == pool.name);
        *held = others;
        drop(held);
        self.tell(pool, mine.into_iter().map(|(_, _, change)| change.draft(&pool.uid)).collect());
    }

    /// An object is gone: what was remembered of it is forgotten, and events of a pool are tried a little longer.
    pub fn forget(&self, uid: &str) {
        lock(&self.attempts).remove(uid);
        lock(&self.unsure).remove(uid);
        self.spool(|spool| spool.gone(uid, Instant::now()));
    }

    /// Works on what waits, and counts what that dropped.
    pub(super) fn spool<T>(&self, work: impl FnOnce(&mut Spool) -> T) -> T {
        let mut spool = lock(&self.spool);
        let before = spool.len();
        let result = work(&mut spool);
        for (why, events) in spool.take_dropped() {
            self.metrics.events_dropped(why.as_str(), events);
        }
        if spool.len() != before {
            // Scopes share the gauge.
            self.metrics.add_events_spooled(spool.len() as i64 - before as i64);
        }
        result
    }

    /// Ends when events were told since it ended last.
    pub(super) async fn pushed(&self) {
        self.pushed.notified().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one insert or remove, so that a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
