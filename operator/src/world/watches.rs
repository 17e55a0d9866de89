//! The watches, one per kind. Each prunes before it stores, restarts with backoff, and wakes only what a change
//! concerns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::{McpServer, Pool, SiemExport};
use events::ResourceKind;
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DynamicObject};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector::ObjectRef};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::material::{Meta, Source};
use super::pods::PodState;
use super::{Key, Scope};
use crate::audit::PoolId;
use crate::audit::resource::Change;
use crate::child::{ChildKey, Kind};
use crate::names::{FIELD_MANAGER, MANAGED_BY};
use crate::references;

/// A watch is renewed this often, which is also how soon a dead connection is noticed.
const WATCH_SECONDS: u32 = 60;

/// Between two looks whether the cluster has an optional kind by now, where something asks for it.
const LOOK_FOR_KIND: Duration = Duration::from_secs(30);

/// Starts every watch of a scope. They run until the set is dropped or aborted.
pub fn run(
    scope: &Arc<Scope>,
    pools: Writer<DeserializeGuard<Pool>>,
    servers: Writer<DeserializeGuard<McpServer>>,
    exports: Writer<DeserializeGuard<SiemExport>>,
    tasks: &mut JoinSet<()>,
) {
    tasks.spawn(watch_pools(scope.clone(), pools));
    tasks.spawn(watch_servers(scope.clone(), servers));
    tasks.spawn(watch_exports(scope.clone(), exports));
    for kind in Kind::ALL {
        tasks.spawn(watch_children(scope.clone(), kind));
    }
    tasks.spawn(watch_pods(scope.clone()));
    tasks.spawn(watch_material::<Secret>(scope.clone(), Source::Secret));
    tasks.spawn(watch_material::<ConfigMap>(scope.clone(), Source::ConfigMap));
    if scope.settings.storage_classes {
        tasks.spawn(watch_storage_classes(scope.clone()));
    }
}

/// Pages are small, because a list is held as whole objects before it is pruned. The API server ignores a page size
/// where any version of the list would do, so the newest is asked for.
fn config() -> Config {
    Config::default().timeout(WATCH_SECONDS).page_size(100)
}

fn managed() -> Config {
    config().labels(&format!("{MANAGED_BY}={FIELD_MANAGER}"))
}

fn api<K>(scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match &scope.namespace {
        Some(namespace) => Api::namespaced(scope.client.clone(), namespace),
        None => Api::all(scope.client.clone()),
    }
}

/// Events of a watch that backs off, and that counts and logs every failure.
fn events<K>(scope: &Scope, kind: &'static str, api: Api<K>, config: Config) -> impl Stream<Item = Event<K>> + use<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let metrics = scope.metrics.clone();
    watcher(api, config).default_backoff().filter_map(move |event: Result<_, watcher::Error>| {
        let event = match event {
            Ok(event) => Some(event),
            Err(error) => {
                metrics.watch_failed(kind);
                tracing::warn!(kind, %error, "watch failed; it is tried again");
                None
            }
        };
        std::future::ready(event)
    })
}

async fn watch_pools(scope: Arc<Scope>, mut writer: Writer<DeserializeGuard<Pool>>) {
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

async fn watch_servers(scope: Arc<Scope>, mut writer: Writer<DeserializeGuard<McpServer>>) {
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

async fn watch_exports(scope: Arc<Scope>, mut writer: Writer<DeserializeGuard<SiemExport>>) {
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
fn known<K>(store: &kube::runtime::reflector::Store<K>, event: &Event<K>) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    match event {
        Event::Apply(object) | Event::Delete(object) => store.get(&ObjectRef::from_obj(object)),
        Event::Init | Event::InitApply(_) | Event::InitDone => None,
    }
}

/// What was there before a list and is not in it.
fn missing<K>(store: &kube::runtime::reflector::Store<K>, before: Vec<Arc<K>>) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_there =
        |object: &Arc<K>| store.get(&ObjectRef::from_obj(object)).is_some_and(|now| now.uid() == object.uid());
    before.into_iter().filter(|object| !is_there(object)).collect()
}

fn has_new_spec(old: &kube::core::ObjectMeta, new: &kube::core::ObjectMeta) -> bool {
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

async fn watch_children(scope: Arc<Scope>, kind: Kind) {
    let resource = kind.api_resource();
    let api: Api<DynamicObject> = match &scope.namespace {
        Some(namespace) => Api::namespaced_with(scope.client.clone(), namespace, &resource),
        None => Api::all_with(scope.client.clone(), &resource),
    };
    loop {
        watch_served(&scope, kind, api.clone()).await;
        if scope.children.set_unserved(kind) {
            tracing::info!(kind = kind.as_str(), "the cluster does not give this kind to the operator");
            wake_monitored(&scope);
        }
        // While no Pool asks for it, nobody needs to know whether it is there by now.
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_FOR_KIND, LOOK_FOR_KIND);
        loop {
            look.tick().await;
            if monitored(&scope).next().is_some() {
                break;
            }
        }
    }
}

/// Pools that ask for PodMonitors.
fn monitored(scope: &Scope) -> impl Iterator<Item = Arc<DeserializeGuard<Pool>>> {
    let wants = |pool: &Pool| pool.spec.metrics.as_ref().is_some_and(|metrics| metrics.pod_monitor);
    scope.pools.state().into_iter().filter(move |guard| guard.0.as_ref().is_ok_and(wants))
}

fn wake_monitored(scope: &Scope) {
    for pool in monitored(scope) {
        scope.wake.pool(&pool.namespace().unwrap_or_default(), &pool.name_any());
    }
}

/// Whether a watch can not work because the kind is not there, or not for the operator.
fn is_unserved(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 403 | 404)
}

/// Watches children of a kind; ends when it is an optional one that is not served.
async fn watch_served(scope: &Arc<Scope>, kind: Kind, api: Api<DynamicObject>) {
    let metrics = scope.metrics.clone();
    let mut stream = Box::pin(watcher(api, managed()).default_backoff());
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) if kind.is_optional() && is_unserved(&error) => return,
            Err(error) => {
                metrics.watch_failed(kind.as_str());
                tracing::warn!(kind = kind.as_str(), %error, "watch failed; it is tried again");
                continue;
            }
        };
        if matches!(event, Event::InitDone) && scope.children.set_served(kind) {
            wake_monitored(scope);
        }
        let keyed = map(event, |object: DynamicObject| {
            let key = ChildKey { kind, namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
            serde_json::to_value(&object).ok().map(|live| (key, live))
        });
        for (owner, namespace, name) in keyed.map(|event| scope.children.take(kind, event)).unwrap_or_default() {
            match owner.as_ref() {
                "Pool" => scope.wake.pool(&namespace, &name),
                "McpServer" => scope.wake.server(&namespace, &name),
                _ => {}
            }
        }
    }
}

async fn watch_pods(scope: Arc<Scope>) {
    let mut events = Box::pin(events(&scope, "Pod", api::<Pod>(&scope), managed()));
    while let Some(event) = events.next().await {
        let Some(event) = map(event, |pod: Pod| Some((key(&pod), PodState::of(&pod)))) else { continue };
        for ((namespace, _), before, after) in scope.pods.take(event) {
            let Some(pod) = after.or(before) else { continue };
            if pod.component.as_ref() == "mcp-server" {
                scope.wake.server(&namespace, &pod.instance);
                continue;
            }
            scope.wake.pool(&namespace, &pod.pool);
            let Some(owner) = scope.pools.get(&ObjectRef::new(&pod.pool).within(&namespace)) else { continue };
            match pod.component.as_ref() {
                "exporter" => scope.exporter.hurry(&owner.uid().unwrap_or_default()),
                _ => scope.armor.hurry(&owner.uid().unwrap_or_default()),
            }
        }
    }
}

async fn watch_material<K>(scope: Arc<Scope>, source: Source)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + Send + 'static,
{
    let foreign = config().labels(&format!("{MANAGED_BY}!={FIELD_MANAGER}"));
    let mut events = Box::pin(events(&scope, source.as_str(), api::<PartialObjectMeta<K>>(&scope), foreign));
    let cache = match source {
        Source::Secret => &scope.secrets,
        Source::ConfigMap => &scope.config_maps,
    };
    while let Some(event) = events.next().await {
        let pruned = map(event, |object: PartialObjectMeta<K>| {
            let meta = Meta {
                uid: object.uid().unwrap_or_default(),
                resource_version: object.resource_version().unwrap_or_default(),
                labels: object.metadata.labels.clone().unwrap_or_default(),
            };
            Some((key(&object), meta))
        });
        let Some(pruned) = pruned else { continue };
        for ((namespace, name), before, after) in cache.take(pruned) {
            let labels: Vec<&BTreeMap<String, String>> = before.iter().chain(&after).map(|meta| &meta.labels).collect();
            for server in scope.servers.state() {
                let Ok(server) = &server.0 else { continue };
                if server.namespace().as_deref() == Some(namespace.as_str())
                    && references::of_server(server, source, &name)
                {
                    scope.wake.server(&namespace, &server.name_any());
                    scope.wake.pool(&namespace, &server.spec.pool_ref.name);
                }
            }
            for export in scope.exports.state() {
                let Ok(export) = &export.0 else { continue };
                if export.namespace().as_deref() == Some(namespace.as_str())
                    && references::of_export(export, source, &name)
                {
                    scope.wake.export(&namespace, &export.name_any());
                    scope.wake.pools_of(export);
                }
            }
            for pool in scope.pools.state() {
                let Ok(pool) = &pool.0 else { continue };
                if pool.namespace().as_deref() == Some(namespace.as_str())
                    && references::of_pool(pool, source, &name, &labels)
                {
                    scope.wake.pool(&namespace, &pool.name_any());
                }
            }
        }
    }
}

async fn watch_storage_classes(scope: Arc<Scope>) {
    let classes: Api<PartialObjectMeta<StorageClass>> = Api::all(scope.client.clone());
    let mut events = Box::pin(events(&scope, "StorageClass", classes, config()));
    while let Some(event) = events.next().await {
        let pruned = map(event, |class: PartialObjectMeta<StorageClass>| {
            let default = class.annotations().get("storageclass.kubernetes.io/is-default-class");
            Some((key(&class), default.is_some_and(|value| value == "true")))
        });
        let Some(event) = pruned else { continue };
        // That there is none is news too.
        let listed = matches!(event, Event::InitDone);
        if !scope.storage_classes.take(event).is_empty() || listed {
            for pool in scope.pools.state() {
                scope.wake.pool(&pool.namespace().unwrap_or_default(), &pool.name_any());
            }
        }
    }
}

fn key<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Maps the object of an event; `None` drops the event.
fn map<A, B>(event: Event<A>, mut to: impl FnMut(A) -> Option<B>) -> Option<Event<B>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(to(object)?),
        Event::Apply(object) => Event::Apply(to(object)?),
        Event::Delete(object) => Event::Delete(to(object)?),
    })
}
