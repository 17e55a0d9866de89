//! Reads what an McpServer points at.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{McpServer, Pool};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;

use super::validate::{References, secret_names};
use crate::world::{ReadError, Scope, Source};

/// What an McpServer points at.
pub struct Dereferenced {
    /// The pool, if there is one of that name.
    pub pool: Option<Arc<DeserializeGuard<Pool>>>,
    /// Every well-formed server of that pool, this one among them.
    pub siblings: Vec<Arc<DeserializeGuard<McpServer>>>,
    /// Secrets and certificates.
    pub references: References,
}

/// Reads everything.
///
/// # Errors
/// When the API server does not give a Secret or ConfigMap that exists.
pub async fn dereference(server: &McpServer, scope: &Scope) -> Result<Dereferenced, ReadError> {
    let namespace = server.namespace().unwrap_or_default();
    let pool = &server.spec.pool_ref.name;
    Ok(Dereferenced {
        pool: scope.pools.get(&ObjectRef::new(pool).within(&namespace)),
        siblings: scope.servers_of(&namespace, pool),
        references: references(server, scope).await?,
    })
}

/// Reads the Secrets and certificates of one server.
///
/// # Errors
/// As `dereference`.
pub async fn references(server: &McpServer, scope: &Scope) -> Result<References, ReadError> {
    let namespace = server.namespace().unwrap_or_default();
    let mut secrets = BTreeMap::new();
    for name in secret_names(server) {
        let found = scope.material(Source::Secret, &namespace, &name).await?;
        secrets.insert(name, found);
    }
    let ca = match server.spec.remote.as_ref().and_then(|remote| remote.ca_ref.as_ref()) {
        Some(ca) => Some(scope.material(Source::ConfigMap, &namespace, &ca.name).await?),
        None => None,
    };
    Ok(References { secrets, ca })
}
