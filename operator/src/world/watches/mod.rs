//! The watches, one per kind. Each prunes before it stores, restarts with backoff, and wakes only what a change
//! concerns.

mod children;
mod own;
mod referenced;

use std::sync::Arc;

use crds::{McpServer, Pool, SiemExport};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::material::Source;
use super::{Key, Scope};
use crate::child::Kind;
use crate::names::{FIELD_MANAGER, MANAGED_BY};
use children::{watch_children, watch_pods};
use own::{watch_exports, watch_pools, watch_servers};
use referenced::{watch_material, watch_storage_classes};

/// A watch is renewed this often, which is also how soon a dead connection is noticed.
const WATCH_SECONDS: u32 = 60;

/// Starts every watch of a scope. They run until the set is dropped or aborted.
pub fn run(
    scope: &Arc<Scope>,
    pools: Writer<DeserializeGuard<Pool>>,
    servers: Writer<DeserializeGuard<McpServer>>,
    exports: Writer<DeserializeGuard<SiemExport>>,
    tasks: &mut JoinSet<()>,
) {
    let (listed, pools_listed) = watch::channel(false);
    tasks.spawn(watch_pools(scope.clone(), pools, listed));
    tasks.spawn(watch_servers(scope.clone(), servers));
    tasks.spawn(watch_exports(scope.clone(), exports, pools_listed));
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
