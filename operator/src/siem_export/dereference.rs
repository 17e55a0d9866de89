//! Reads what a SiemExport points at, and what points at its pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Pool, SiemExport};
use kube::ResourceExt;
use kube::core::DeserializeGuard;

use super::validate::{Programmed, References, selects};
use crate::world::{ReadError, Scope, Source};

/// A SiemExport with what it points at.
pub type Read = (Arc<DeserializeGuard<SiemExport>>, References);

/// A pool that a SiemExport is for.
pub struct Served {
    /// The pool.
    pub pool: Arc<DeserializeGuard<Pool>>,
    /// Every well-formed SiemExport of the pool, the one that was asked for among them.
    pub exports: Vec<Read>,
}

/// The pools that a SiemExport is for, by name.
///
/// # Errors
/// When the API server does not give a Secret or ConfigMap that exists.
pub async fn dereference(export: &SiemExport, scope: &Scope) -> Result<Vec<Served>, ReadError> {
    let namespace = export.namespace().unwrap_or_default();
    let mut pools = scope.pools.state_filter(|pool| {
        pool.namespace().as_deref() == Some(namespace.as_str()) && selects(export, &pool.name_any(), pool.labels())
    });
    pools.sort_by_key(|pool| pool.name_any());
    let mut served = Vec::with_capacity(pools.len());
    for pool in pools {
        let exports = exports(&namespace, &pool.name_any(), pool.labels(), scope).await?;
        served.push(Served { pool, exports });
    }
    Ok(served)
}

/// The well-formed SiemExports of a pool, each with what it points at.
///
/// # Errors
/// As `dereference`.
pub async fn exports(
    namespace: &str,
    pool: &str,
    labels: &BTreeMap<String, String>,
    scope: &Scope,
) -> Result<Vec<Read>, ReadError> {
    let mut read = Vec::new();
    for guard in scope.exports_of(namespace, pool, labels) {
        if let Ok(export) = &guard.0 {
            let references = references(export, scope).await?;
            read.push((guard, references));
        }
    }
    Ok(read)
}

async fn references(export: &SiemExport, scope: &Scope) -> Result<References, ReadError> {
    let namespace = export.namespace().unwrap_or_default();
    let mut found = References::default();
    for name in export.spec.secret_names() {
        found.secrets.insert(name.to_owned(), scope.material(Source::Secret, &namespace, name).await?);
    }
    for name in export.spec.config_map_names() {
        found.config_maps.insert(name.to_owned(), scope.material(Source::ConfigMap, &namespace, name).await?);
    }
    Ok(found)
}

/// The SiemExports of a namespace that do not fit their schema and may be for a pool. Those that name no pool may be for any,
/// so that each keeps what their destinations have in its stream; of those that it does not know there is nothing to keep.
///
/// # Errors
/// When the API server does not give one of them.
pub async fn malformed(namespace: &str, pool: &str, scope: &Scope) -> Result<Vec<Programmed>, ReadError> {
    let unread =
        scope.exports.state_filter(|guard| guard.0.is_err() && guard.namespace().as_deref() == Some(namespace));
    let mut kept = Vec::new();
    for guard in unread {
        let name = guard.name_any();
        let Some(object) = scope.unreadable::<SiemExport>("SiemExport", namespace, &name).await? else { continue };
        let named = object.data.pointer("/spec/poolRef/name").and_then(|name| name.as_str());
        if named.is_some_and(|named| named != pool) {
            continue;
        }
        let destinations = object.data.pointer("/spec/destinations").and_then(|list| list.as_array());
        let names = destinations.into_iter().flatten().filter_map(|one| one.get("name")?.as_str());
        kept.push(Programmed::kept(&name, names.map(str::to_owned)));
    }
    Ok(kept)
}
