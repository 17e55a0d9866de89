//! What a watcher of the Pools sees: when each status became what it stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crds::Pool;
use crds::pool::PoolStatus;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::desired::NAMESPACE;

const LOOK: Duration = Duration::from_millis(50);
/// The controllers may take long: each is held to 20 requests per second by default.
const SETTLE_DEADLINE: Duration = Duration::from_secs(1800);

/// A child that was written: its name and when the watch showed it.
pub type Written = (String, Instant);

/// Watches the Pools and their ConfigMaps until it is dropped.
pub struct Eyes {
    seen: Arc<Mutex<Seen>>,
    written: broadcast::Sender<Written>,
    // Dropping the set ends the watches.
    _watches: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    pools: HashMap<String, (Pool, Instant)>,
    status_changes: u64,
}

/// When the statuses of a set of Pools became what they stay.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// Every status belonged to the newest spec.
    pub current: Instant,
    /// The last status changed.
    pub last: Instant,
    /// Changes of a status since the watch began.
    pub changes: u64,
}

impl Eyes {
    /// Opens the watches.
    pub fn open(client: &Client) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (written, _) = broadcast::channel(4096);
        let mut watches = JoinSet::new();
        watches.spawn(watch_pools(Api::namespaced(client.clone(), NAMESPACE), seen.clone()));
        watches.spawn(watch_config_maps(Api::namespaced(client.clone(), NAMESPACE), written.clone()));
        Eyes { seen, written, _watches: watches }
    }

    /// The Pools as they are now, by name.
    pub fn pools(&self) -> Vec<Pool> {
        let mut pools: Vec<Pool> = self.lock().pools.values().map(|(pool, _)| pool.clone()).collect();
        pools.sort_by_key(ResourceExt::name_any);
        pools
    }

    /// ConfigMaps that are written from now on.
    pub fn written(&self) -> broadcast::Receiver<Written> {
        self.written.subscribe()
    }

    /// Waits until `count` Pools are as `edited` wants them, each with a status for that spec, and no status has changed for `quiet`.
    pub async fn settled(&self, count: usize, quiet: Duration, edited: impl Fn(&Pool) -> bool) -> Result<Settled> {
        let begin = Instant::now();
        let mut current = None;
        loop {
            {
                let seen = self.lock();
                let done = seen.pools.values().filter(|(pool, _)| edited(pool) && is_current(pool)).count();
                if done >= count {
                    let last = seen.pools.values().map(|(_, changed)| *changed).max().context("there are no Pools")?;
                    let current = *current.get_or_insert_with(Instant::now);
                    if last.elapsed() >= quiet {
                        return Ok(Settled { current, last, changes: seen.status_changes });
                    }
                }
                if begin.elapsed() > SETTLE_DEADLINE {
                    bail!("{done} of {count} Pools have a settled status after {SETTLE_DEADLINE:?}");
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_current(pool: &Pool) -> bool {
    pool.status.as_ref().is_some_and(|status| status.observed_generation == pool.metadata.generation)
}

async fn watch_pools(api: Api<Pool>, seen: Arc<Mutex<Seen>>) {
    let mut events = Box::pin(watcher(api, Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Apply(mut pool) | Event::InitApply(mut pool)) => {
                pool.metadata.managed_fields = None;
                let name = pool.name_any();
                let before: Option<(Option<&PoolStatus>, Instant)> =
                    seen.pools.get(&name).map(|(old, at)| (old.status.as_ref(), *at));
                let changed = match before {
                    Some((status, at)) if status == pool.status.as_ref() => at,
                    None if pool.status.is_none() => Instant::now(),
                    _ => {
                        seen.status_changes += 1;
                        Instant::now()
                    }
                };
                seen.pools.insert(name, (pool, changed));
            }
            Ok(Event::Delete(pool)) => {
                seen.pools.remove(&pool.name_any());
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => eprintln!("watch of Pools: {error}"),
        }
    }
}

async fn watch_config_maps(api: Api<PartialObjectMeta<ConfigMap>>, written: broadcast::Sender<Written>) {
    let mut events = Box::pin(watcher(api, Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            // An error of send says that nobody listens now.
            Ok(Event::Apply(map)) => drop(written.send((map.name_any(), Instant::now()))),
            Ok(_) => {}
            Err(error) => eprintln!("watch of ConfigMaps: {error}"),
        }
    }
}
