//! Which Secrets and ConfigMaps a spec points at. Pure.

use std::collections::BTreeMap;

use crds::{McpServer, Pool};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::mcp_server::secret_names;
use crate::pool::references_of;
use crate::world::Source;

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

/// Whether a selector matches; one that is malformed matches nothing.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
