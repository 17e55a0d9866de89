//! Which Secrets and ConfigMaps a spec points at. Pure.

use std::collections::BTreeMap;

use crds::{McpServer, Pool};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::world::Source;

/// Whether a Pool points at this object, by name, or by labels for API keys.
pub fn of_pool(pool: &Pool, source: Source, name: &str, labels: &[&BTreeMap<String, String>]) -> bool {
    let spec = &pool.spec;
    let external = spec.redis.as_ref().and_then(|redis| redis.external.as_ref());
    match source {
        Source::ConfigMap => external.and_then(|e| e.ca_ref.as_ref()).is_some_and(|ca| ca.name == name),
        Source::Secret => {
            let by_name = [
                spec.armor.tls.as_ref().map(|tls| &tls.secret_ref.name),
                external.map(|e| &e.url_secret_ref.name),
                spec.audit.hash_key_secret_ref.as_ref().map(|key| &key.name),
            ];
            let keys = spec.auth.as_ref().and_then(|auth| auth.api_keys.as_ref());
            by_name.into_iter().flatten().any(|referenced| referenced == name)
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
        Source::Secret => server.spec.auth.as_ref().is_some_and(|auth| {
            let bearer = auth.bearer.iter().map(|bearer| &bearer.secret_ref);
            let headers = auth.headers.iter().flatten().map(|header| &header.secret_ref);
            bearer.chain(headers).any(|reference| reference.name == name)
        }),
    }
}

/// Whether a selector matches; one that is malformed matches nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
