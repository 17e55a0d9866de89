//! What the operator made, and the Pods of it.

use std::sync::Arc;
use std::time::Duration;

use crds::Pool;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event, watcher};

use super::{api, events, key, managed, map};
use crate::child::{ChildKey, Kind};
use crate::world::{PodState, Scope};

/// Between two looks whether the cluster has an optional kind by now, where something asks for it.
const LOOK_FOR_KIND: Duration = Duration::from_secs(30);

pub(super) async fn watch_children(scope: Arc<Scope>, kind: Kind) {
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

pub(super) async fn watch_pods(scope: Arc<Scope>) {
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
