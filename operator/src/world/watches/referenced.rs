//! What specs point at and others own: Secrets, ConfigMaps, StorageClasses.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::{api, config, events, key, map};
use crate::names::{FIELD_MANAGER, MANAGED_BY};
use crate::references;
use crate::world::{Meta, Scope, Source};

pub(super) async fn watch_material<K>(scope: Arc<Scope>, source: Source)
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

pub(super) async fn watch_storage_classes(scope: Arc<Scope>) {
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
