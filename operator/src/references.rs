//! Which Secrets and ConfigMaps a spec points at. Pure.

use std::collections::{BTreeMap, HashSet};

use crds::{McpServer, Pool, SiemExport};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use crate::mcp_server::secret_names;
use crate::pool::references_of;
use crate::world::{Scope, Source};

/// Every object that some spec of a scope points at: its kind, namespace and name.
pub fn all(scope: &Scope) -> HashSet<(Source, String, String)> {
    let mut all = HashSet::new();
    for pool in scope.pools.state() {
        let Ok(pool) = &pool.0 else { continue };
        let namespace = pool.namespace().unwrap_or_default();
        let named = references_of(pool);
        let secrets = [named.tls, named.redis_url, named.hash_key].into_iter().flatten().map(str::to_owned);
        let keys = pool.spec.auth.as_ref().and_then(|auth| auth.api_keys.as_ref());
        let selected = keys.into_iter().flat_map(|keys| {
            scope.secrets.collect(|(ns, name), meta| {
                (*ns == namespace && selects(&keys.secret_selector, &meta.labels)).then(|| name.clone())
            })
        });
        all.extend(secrets.chain(selected).map(|name| (Source::Secret, namespace.clone(), name)));
        all.extend(named.redis_ca.map(|name| (Source::ConfigMap, namespace.clone(), name.to_owned())));
    }
    for server in scope.servers.state() {
        let Ok(server) = &server.0 else { continue };
        let namespace = server.namespace().unwrap_or_default();
        all.extend(secret_names(server).into_iter().map(|name| (Source::Secret, namespace.clone(), name)));
        let ca = server.spec.remote.as_ref().and_then(|remote| remote.ca_ref.as_ref());
        all.extend(ca.map(|ca| (Source::ConfigMap, namespace.clone(), ca.name.clone())));
    }
    for export in scope.exports.state() {
        let Ok(export) = &export.0 else { continue };
        let namespace = export.namespace().unwrap_or_default();
        let named = |source: Source, name: &str| (source, namespace.clone(), name.to_owned());
        all.extend(export.spec.secret_names().into_iter().map(|name| named(Source::Secret, name)));
        all.extend(export.spec.config_map_names().into_iter().map(|name| named(Source::ConfigMap, name)));
    }
    all
}

/// Whether a Pool points at this object, by name, or by labels for API keys.
pub fn of_pool(pool: &Pool, source: Source, name: &str, labels: &[&BTreeMap<String, String>]) -> bool {
    let named = references_of(pool);
    match source {
        Source::ConfigMap => named.redis_ca == Some(name),
        Source::Secret => {
            let by_name = [named.tls, named.redis_url, named.hash_key];
            let keys = pool.spec.auth.as_ref().and_then(|auth| auth.api_keys.as_ref());
            by_name.contains(&Some(name))
                || keys.is_some_and(|keys| labels.iter().any(|labels| selects(&keys.secret_selector, labels)))
        }
    }
}

/// Whether an McpServer points at this object for credentials or certificates.
pub fn of_server(server: &McpServer, source: Source, name: &str) -> bool {
    match source {
        Source::ConfigMap => {
            server.spec.remote.as_ref().and_then(|r| r.ca_ref.as_ref()).is_some_and(|ca| ca.name == name)
        }
        Source::Secret => secret_names(server).contains(name),
    }
}

/// Whether a SiemExport points at this object for credentials, certificates or the key of its hashes.
pub fn of_export(export: &SiemExport, source: Source, name: &str) -> bool {
    match source {
        Source::ConfigMap => export.spec.config_map_names().contains(name),
        Source::Secret => export.spec.secret_names().contains(name),
    }
}

/// Whether a selector matches; one that is malformed matches nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
