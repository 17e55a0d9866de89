//! Reads what a Pool points at, and the McpServers that point at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{McpServer, Pool};
use kube::ResourceExt;
use kube::core::DeserializeGuard;

use super::build::CLAIM;
use crate::child::{ChildKey, Claim, Kind, Observed};
use crate::mcp_server::{References, read_references};
use crate::names::{COMPONENT_LABEL, FIELD_MANAGER, INSTANCE_LABEL, MANAGED_BY, child_name};
use crate::references::selects;
use crate::siem_export;
use crate::world::{Lookup, Material, ReadError, Scope, Source};

/// What a Pool's spec and servers lead to.
#[derive(Default)]
pub struct Dereferenced {
    /// Servers that name the pool, each with what it points at.
    pub servers: Vec<(Arc<DeserializeGuard<McpServer>>, References)>,
    /// SiemExports that are for the pool, each with what it points at.
    pub exports: Vec<siem_export::Read>,
    /// Those of the namespace that do not fit their schema and may be for the pool.
    pub malformed_exports: Vec<siem_export::Programmed>,
    /// Whether the pool has an exporter already.
    pub has_exporter: bool,
    /// Secrets that `auth.apiKeys` selects, by name.
    pub api_keys: Vec<Arc<Material>>,
    /// `armor.tls.secretRef`, where set.
    pub tls: Option<Lookup>,
    /// `redis.external.urlSecretRef`, where set.
    pub redis_url: Option<Lookup>,
    /// `redis.external.caRef`, where set.
    pub redis_ca: Option<Lookup>,
    /// `audit.hashKeySecretRef`, where set.
    pub hash_key: Option<Lookup>,
    /// What there is of a managed Redis.
    pub redis: LiveRedis,
}

/// What there is already of the Redis that the operator runs.
#[derive(Debug, Default, PartialEq)]
pub enum LiveRedis {
    /// Nothing.
    #[default]
    None,
    /// It runs, with this volume or without one.
    Runs(Option<Claim>),
    /// It does not run, and the claim with this name that its Pod would use is somebody else's.
    ForeignClaim(String),
}

/// Names of the objects that a Pool points at.
pub struct Named<'a> {
    /// `armor.tls.secretRef`.
    pub tls: Option<&'a str>,
    /// `redis.external.urlSecretRef`.
    pub redis_url: Option<&'a str>,
    /// `redis.external.caRef`.
    pub redis_ca: Option<&'a str>,
    /// `audit.hashKeySecretRef`.
    pub hash_key: Option<&'a str>,
}

/// Which objects a Pool points at by name.
pub fn references_of(pool: &Pool) -> Named<'_> {
    let spec = &pool.spec;
    let external = spec.redis.as_ref().and_then(|redis| redis.external.as_ref());
    Named {
        tls: spec.armor.tls.as_ref().map(|tls| tls.secret_ref.name.as_str()),
        redis_url: external.map(|external| external.url_secret_ref.name.as_str()),
        redis_ca: external.and_then(|external| external.ca_ref.as_ref()).map(|ca| ca.name.as_str()),
        hash_key: spec.audit.hash_key_secret_ref.as_ref().map(|key| key.name.as_str()),
    }
}

/// Reads everything.
///
/// # Errors
/// When the API server does not give a Secret or ConfigMap that exists.
pub async fn dereference(pool: &Pool, scope: &Scope) -> Result<Dereferenced, ReadError> {
    let namespace = pool.namespace().unwrap_or_default();
    let named = references_of(pool);
    let mut found = Dereferenced {
        tls: read(scope, Source::Secret, &namespace, named.tls).await?,
        redis_url: read(scope, Source::Secret, &namespace, named.redis_url).await?,
        redis_ca: read(scope, Source::ConfigMap, &namespace, named.redis_ca).await?,
        hash_key: read(scope, Source::Secret, &namespace, named.hash_key).await?,
        ..Dereferenced::default()
    };
    if let Some(keys) = pool.spec.auth.as_ref().and_then(|auth| auth.api_keys.as_ref()) {
        let mut names = scope.secrets.collect(|(ns, name), meta| {
            (*ns == namespace && selects(&keys.secret_selector, &meta.labels)).then(|| name.clone())
        });
        names.sort();
        for name in names {
            found.api_keys.extend(scope.material(Source::Secret, &namespace, &name).await?);
        }
    }
    found.redis = live_redis(pool, scope, &namespace).await?;
    for guard in scope.servers_of(&namespace, &pool.name_any()) {
        if let Ok(server) = &guard.0 {
            let references = read_references(server, scope).await?;
            found.servers.push((guard, references));
        }
    }
    found.exports = siem_export::read_exports(&namespace, &pool.name_any(), pool.labels(), scope).await?;
    found.malformed_exports = siem_export::read_malformed(&namespace, &pool.name_any(), scope).await?;
    // One that somebody deleted a part of is still one.
    let parts = [(Kind::Deployment, "exporter"), (Kind::ConfigMap, "exporter"), (Kind::Secret, "exporter-admin")];
    found.has_exporter = parts.into_iter().any(|(kind, suffix)| own_child(pool, scope, kind, suffix).is_some());
    Ok(found)
}

/// A child of this pool, and not of one that had its name before, as the watches tell.
pub(super) fn own_child(pool: &Pool, scope: &Scope, kind: Kind, suffix: &str) -> Option<(ChildKey, Observed)> {
    let namespace = pool.namespace().unwrap_or_default();
    let key = ChildKey { kind, namespace, name: child_name(&pool.name_any(), suffix) };
    let child = scope.children.get(&key).filter(|child| child.owner_uid() == pool.metadata.uid.as_deref());
    child.map(|child| (key, child))
}

async fn live_redis(pool: &Pool, scope: &Scope, namespace: &str) -> Result<LiveRedis, ReadError> {
    let (name, redis) = (pool.name_any(), pool.spec.redis.as_ref());
    if redis.is_some_and(|redis| redis.external.is_some()) {
        return Ok(LiveRedis::None);
    }
    if let Some((_, live)) = own_child(pool, scope, Kind::StatefulSet, "redis") {
        return Ok(LiveRedis::Runs(live.claim));
    }
    let persistent = redis.and_then(|redis| redis.managed.as_ref()).is_none_or(|managed| managed.persistence.enabled);
    if persistent && !pool.spec.paused {
        let claim = format!("{CLAIM}-{}-0", child_name(&name, "redis"));
        let labels = scope.materials.claim_labels(namespace, &claim).await?;
        let ours = |labels: &BTreeMap<String, String>| {
            let has = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
            has(MANAGED_BY, FIELD_MANAGER) && has(INSTANCE_LABEL, &name) && has(COMPONENT_LABEL, "redis")
        };
        if labels.is_some_and(|labels| !ours(&labels)) {
            return Ok(LiveRedis::ForeignClaim(claim));
        }
    }
    Ok(LiveRedis::None)
}

async fn read(scope: &Scope, source: Source, namespace: &str, name: Option<&str>) -> Result<Option<Lookup>, ReadError> {
    match name {
        Some(name) => Ok(Some(scope.material(source, namespace, name).await?)),
        None => Ok(None),
    }
}
