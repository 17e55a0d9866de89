//! The kinds of the operator itself: what changed in them is reconciled, and told to the trails of their pools.

use std::sync::Arc;

use crds::{McpServer, Pool, SiemExport};
use events::ResourceKind;
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{DeserializeGuard, ObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::watch;

use super::{api, config, events};
use crate::audit::PoolId;
use crate::audit::resource::Change;
use crate::world::Scope;

pub(super) async fn watch_pools(
    scope: Arc<Scope>,
    mut writer: Writer<DeserializeGuard<Pool>>,
    are_listed: watch::Sender<bool>,
) {
    let mut events = Box::pin(events(&scope, "Pool", api(&scope), config()));
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        // Who wrote it is known only before it is pruned.
        let change =
            seen(ResourceKind::Pool, &scope.pools, &event, |pool: &Pool| pool.status.as_ref()?.observed_generation);
        let event = event.modify(prune);
        let before = known(&scope.pools, &event);
        if let Event::Init = event {
            listed = scope.pools.state();
        }
        writer.apply_watcher_event(&event);
        if let (Some(change), Event::Apply(pool) | Event::InitApply(pool)) = (change, &event) {
            let id = id_of(pool);
            scope.trail.changed(&id.namespace, &id.name, Some(&id), change);
        }
        let gone = |pool: &DeserializeGuard<Pool>| {
            let id = id_of(pool);
            if let Some(change) = Change::deleted(ResourceKind::Pool, pool.meta(), Time(jiff::Timestamp::now())) {
                scope.trail.changed(&id.namespace, &id.name, Some(&id), change);
            }
            scope.trail.forget(&id.uid);
            scope.armor.forget(&pool.uid().unwrap_or_default());
            scope.exporter.forget(&pool.uid().unwrap_or_default());
            scope.status.forget(&pool.uid().unwrap_or_default());
            let (namespace, name) = (pool.namespace().unwrap_or_default(), pool.name_any());
            scope.wake.servers_of(&namespace, &name);
            scope.wake.exports_of(&namespace, &name, pool.labels());
        };
        match &event {
            Event::Init => {}
            Event::InitDone => {
                // A list tells nothing of what was deleted while nobody watched.
                missing(&scope.pools, std::mem::take(&mut listed)).iter().for_each(|pool| gone(pool));
                are_listed.send_replace(true);
                for pool in scope.pools.state() {
                    scope.wake.pool(&pool.namespace().unwrap_or_default(), &pool.name_any());
                    scope.trail.appeared(&id_of(&pool));
                }
            }
            Event::InitApply(_) => {}
            Event::Apply(pool) => {
                if before.is_none() {
                    scope.trail.appeared(&id_of(pool));
                }
                if let Ok(pool) = &pool.0 {
                    scope.status.caught_up(pool);
                }
                let (namespace, name) = (pool.namespace().unwrap_or_default(), pool.name_any());
                let is_new = before.as_ref().is_none_or(|old| has_new_spec(old.meta(), pool.meta()));
                if is_new {
                    scope.wake.pool_and_servers(&namespace, &name);
                }
                // SiemExports select by labels; those that selected it before have one pool less.
                let had_labels = before.as_ref().filter(|old| old.labels() != pool.labels());
                if is_new || had_labels.is_some() {
                    scope.wake.pool(&namespace, &name);
                    scope.wake.exports_of(&namespace, &name, pool.labels());
                }
                had_labels.inspect(|old| scope.wake.exports_of(&namespace, &name, old.labels()));
            }
            Event::Delete(pool) => gone(pool),
        }
    }
}

pub(super) async fn watch_servers(scope: Arc<Scope>, mut writer: Writer<DeserializeGuard<McpServer>>) {
    let mut events = Box::pin(events(&scope, "McpServer", api(&scope), config()));
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let change = seen(ResourceKind::McpServer, &scope.servers, &event, |server: &McpServer| {
            server.status.as_ref()?.observed_generation
        });
        let older = match (&change, &event) {
            (Some(_), Event::Apply(server) | Event::InitApply(server)) => {
                scope.servers.get(&ObjectRef::from_obj(server))
            }
            _ => None,
        };
        let event = event.modify(prune);
        let before = known(&scope.servers, &event);
        if let Event::Init = event {
            listed = scope.servers.state();
        }
        writer.apply_watcher_event(&event);
        let wake_pool = |server: &DeserializeGuard<McpServer>| {
            if let Ok(server) = &server.0 {
                // The other servers too: a prefix may have become free.
                scope.wake.pool_and_servers(&server.namespace().unwrap_or_default(), &server.spec.pool_ref.name);
            }
        };
        let tell = |server: &DeserializeGuard<McpServer>, change: Change| {
            let Ok(server) = &server.0 else { return };
            let (namespace, pool) = (server.namespace().unwrap_or_default(), &server.spec.pool_ref.name);
            scope.trail.changed(&namespace, pool, scope.pool_id(&namespace, pool).as_ref(), change);
        };
        if let (Some(change), Event::Apply(server) | Event::InitApply(server)) = (change, &event) {
            // A server that moves is news in both pools.
            if let Some(old) = older.filter(|old| pool_of(old) != pool_of(server)) {
                tell(&old, change.clone());
            }
            tell(server, change);
        }
        let gone = |server: &DeserializeGuard<McpServer>| {
            let now = Time(jiff::Timestamp::now());
            if let Some(change) = Change::deleted(ResourceKind::McpServer, server.meta(), now) {
                tell(server, change);
            }
            scope.trail.forget(&server.uid().unwrap_or_default());
            scope.status.forget(&server.uid().unwrap_or_default());
            wake_pool(server);
        };
        match &event {
            Event::Init | Event::InitApply(_) => {}
            Event::InitDone => {
                missing(&scope.servers, std::mem::take(&mut listed)).iter().for_each(|server| gone(server));
                for server in scope.servers.state() {
                    scope.wake.server(&server.namespace().unwrap_or_default(), &server.name_any());
                    wake_pool(&server);
                }
            }
            Event::Apply(server) => {
                if let Ok(server) = &server.0 {
                    scope.status.caught_up(server);
                }
                if before.as_ref().is_none_or(|old| has_new_spec(old.meta(), server.meta())) {
                    scope.wake.server(&server.namespace().unwrap_or_default(), &server.name_any());
                    wake_pool(server);
                    if let Some(old) = before {
                        wake_pool(&old);
                    }
                }
            }
            Event::Delete(server) => gone(server),
        }
    }
}

pub(super) async fn watch_exports(
    scope: Arc<Scope>,
    mut writer: Writer<DeserializeGuard<SiemExport>>,
    mut pools_listed: watch::Receiver<bool>,
) {
    // What changed while the operator was away belongs into the trails of pools that are selected by their labels. The
    // store itself wakes only whoever asked last, and the other watch is gone only at the end.
    let _ = pools_listed.wait_for(|listed| *listed).await;
    let mut events = Box::pin(events(&scope, "SiemExport", api(&scope), config()));
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let change = seen(ResourceKind::SiemExport, &scope.exports, &event, |export: &SiemExport| {
            export.status.as_ref()?.observed_generation
        });
        let older = match (&change, &event) {
            (Some(_), Event::Apply(export) | Event::InitApply(export)) => {
                scope.exports.get(&ObjectRef::from_obj(export))
            }
            _ => None,
        };
        let event = event.modify(prune);
        let before = known(&scope.exports, &event);
        if let Event::Init = event {
            listed = scope.exports.state();
        }
        writer.apply_watcher_event(&event);
        let wake_pools = |export: &DeserializeGuard<SiemExport>| match &export.0 {
            Ok(export) => scope.wake.pools_of(export),
            // Which pool it is for can not be told.
            Err(_) => scope.wake.pools_in(&export.namespace().unwrap_or_default()),
        };
        // In the trail of each pool that it is for; of none where there is none yet.
        let tell = |export: &DeserializeGuard<SiemExport>, change: &Change| {
            let Ok(export) = &export.0 else { return };
            let namespace = export.namespace().unwrap_or_default();
            let mut pools = scope.pools_of(export);
            // One that moves away is news where it was too.
            let left = older.as_ref().and_then(|old| old.0.as_ref().ok()).map(|old| scope.pools_of(old));
            pools.extend(left.into_iter().flatten());
            pools.sort_by(|a, b| a.uid.cmp(&b.uid));
            pools.dedup();
            for pool in &pools {
                scope.trail.changed(&namespace, &pool.name, Some(pool), change.clone());
            }
            if let (Some(wanted), []) = (&export.spec.pool_ref, pools.as_slice()) {
                scope.trail.changed(&namespace, &wanted.name, None, change.clone());
            }
        };
        if let (Some(change), Event::Apply(export) | Event::InitApply(export)) = (&change, &event) {
            tell(export, change);
        }
        let gone = |export: &DeserializeGuard<SiemExport>| {
            let now = Time(jiff::Timestamp::now());
            if let Some(change) = Change::deleted(ResourceKind::SiemExport, export.meta(), now) {
                tell(export, &change);
            }
            scope.trail.forget(&export.uid().unwrap_or_default());
            scope.status.forget(&export.uid().unwrap_or_default());
            wake_pools(export);
        };
        match &event {
            Event::Init | Event::InitApply(_) => {}
            Event::InitDone => {
                missing(&scope.exports, std::mem::take(&mut listed)).iter().for_each(|export| gone(export));
                for export in scope.exports.state() {
                    scope.wake.export(&export.namespace().unwrap_or_default(), &export.name_any());
                    wake_pools(&export);
                }
            }
            Event::Apply(export) => {
                if let Ok(export) = &export.0 {
                    scope.status.caught_up(export);
                }
                if before.as_ref().is_none_or(|old| has_new_spec(old.meta(), export.meta())) {
                    scope.wake.export(&export.namespace().unwrap_or_default(), &export.name_any());
                    wake_pools(export);
                    if let Some(old) = before {
                        wake_pools(&old);
                    }
                }
            }
            Event::Delete(export) => gone(export),
        }
    }
}

/// What an event means for the trail. The object still has its managed fields, and the store what was before.
fn seen<K>(
    kind: ResourceKind,
    store: &Store<DeserializeGuard<K>>,
    event: &Event<DeserializeGuard<K>>,
    observed: impl Fn(&K) -> Option<i64>,
) -> Option<Change>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (Event::Apply(object) | Event::InitApply(object)) = event else { return None };
    let before = store.get(&ObjectRef::from_obj(object));
    let observed = object.0.as_ref().ok().map(observed);
    Change::seen(kind, object.meta(), before.as_deref().map(Resource::meta), observed)
}

fn id_of(pool: &DeserializeGuard<Pool>) -> PoolId {
    let (uid, namespace) = (pool.uid().unwrap_or_default(), pool.namespace().unwrap_or_default());
    PoolId { uid, namespace, name: pool.name_any() }
}

fn pool_of(server: &DeserializeGuard<McpServer>) -> Option<&str> {
    server.0.as_ref().ok().map(|server| server.spec.pool_ref.name.as_str())
}

/// What the store held of an object before this event.
fn known<K>(store: &Store<K>, event: &Event<K>) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    match event {
        Event::Apply(object) | Event::Delete(object) => store.get(&ObjectRef::from_obj(object)),
        Event::Init | Event::InitApply(_) | Event::InitDone => None,
    }
}

/// What was there before a list and is not in it.
fn missing<K>(store: &Store<K>, before: Vec<Arc<K>>) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_there =
        |object: &Arc<K>| store.get(&ObjectRef::from_obj(object)).is_some_and(|now| now.uid() == object.uid());
    before.into_iter().filter(|object| !is_there(object)).collect()
}

fn has_new_spec(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    old.uid != new.uid || old.generation != new.generation || old.deletion_timestamp != new.deletion_timestamp
}

/// Drops what no reconcile reads and what takes half of the memory.
fn prune<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
