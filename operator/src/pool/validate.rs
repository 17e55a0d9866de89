//! From a Pool and what it points at to a pool that can be built. Pure: the same input gives the same output.

use std::collections::BTreeMap;

use crds::common::CaRef;
use crds::pool::{ArmorSpec, AuditParameters, ManagedRedis, NetworkPolicySettings};
use crds::{McpServer, Pool};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::api_keys::{ApiKey, api_key};
use super::dereference::Dereferenced;
use crate::certificates::{check_ca, check_pair};
use crate::child::Owner;
use crate::conditions::Problem;
use crate::mcp_server::{Credential, Fault, Outbound, Programmed, collisions, validate_server};
use crate::quantity;
use crate::world::{Lookup, Source, not_found};

const DEFAULT_STREAM_BYTES: i64 = 256 << 20;
const DEFAULT_REPLICAS: i32 = 2;
/// Armor takes no shorter key.
const HASH_KEY_BYTES: usize = 16;

/// A pool that can be built.
#[derive(Debug)]
pub struct ValidatedPool {
    /// Name of the Pool.
    pub name: String,
    /// Uid of the Pool: names its keys in Redis.
    pub uid: String,
    /// Namespace and owner reference of every child.
    pub owner: Owner,
    /// The gateway, as written.
    pub armor: ArmorSpec,
    /// Number of gateways.
    pub replicas: i32,
    /// Who may call.
    pub auth: Auth,
    /// Where Redis is.
    pub redis: Redis,
    /// Room of the audit stream.
    pub stream_max_bytes: i64,
    /// What events say of arguments.
    pub parameters: AuditParameters,
    /// NetworkPolicies.
    pub network_policy: NetworkPolicySettings,
    /// Servers in the configuration, by name.
    pub servers: Vec<Programmed>,
    /// Values that Armor needs and that others own.
    pub credentials: Vec<Credential>,
    /// Whether events use the user's own hash key.
    pub own_hash_key: bool,
}

/// Who may call.
#[derive(Debug)]
pub enum Auth {
    /// Everybody.
    Anonymous,
    /// Holders of these keys.
    ApiKeys(Vec<ApiKey>),
}

/// Where Redis is.
#[derive(Debug)]
pub enum Redis {
    /// The operator runs it.
    Managed {
        spec: Box<ManagedRedis>,
        /// Size of the volume in its canonical form.
        volume: String,
    },
    /// It exists already.
    External { with_ca: bool },
}

/// Outcome of validation: what is built, and what was left out of it.
#[derive(Debug)]
pub struct Outcome {
    /// The pool.
    pub pool: ValidatedPool,
    /// Servers that are not in the configuration.
    pub refused: BTreeMap<String, Fault>,
    /// A reference of the pool itself that does not hold all that it should, while the rest works.
    pub partial: Option<Problem>,
}

/// Checks everything that the schema could not.
///
/// # Errors
/// A fault of the pool itself. Nothing is applied then: what runs goes on as it is.
pub fn validate(pool: &Pool, found: &Dereferenced) -> Result<Outcome, Fault> {
    let spec = &pool.spec;
    let invalid = |message: String| Fault::NotAccepted(Problem::new("InvalidSpec", message));
    let Some(reference) = owner_reference(pool) else {
        return Err(invalid("the object has no uid: it did not come from an API server".into()));
    };
    let stream_max_bytes = match &spec.audit.stream_max_bytes {
        Some(size) => quantity::units(&size.0).ok_or_else(|| {
            invalid(format!("spec.audit.streamMaxBytes: {:?} is no size: write one such as 256Mi", size.0))
        })?,
        None => DEFAULT_STREAM_BYTES,
    };
    let mut credentials = Vec::new();
    if let (Some(tls), Some(lookup)) = (&spec.armor.tls, &found.tls) {
        credentials.extend(tls_pair(&tls.secret_ref.name, lookup).map_err(Fault::Unresolved)?);
    }
    if let (Some(reference), Some(lookup)) = (&spec.audit.hash_key_secret_ref, &found.hash_key) {
        credentials.push(hash_key(&reference.name, &reference.key, lookup).map_err(Fault::Unresolved)?);
    }
    let redis = redis(pool, found, stream_max_bytes, &mut credentials)?;
    let (auth, partial) = auth(pool, found);
    let (servers, refused) = roster(found);
    Ok(Outcome {
        pool: ValidatedPool {
            name: pool.name_any(),
            uid: pool.uid().unwrap_or_default(),
            owner: Owner { namespace: pool.namespace().unwrap_or_default(), reference },
            armor: spec.armor.clone(),
            replicas: spec.armor.replicas.unwrap_or(DEFAULT_REPLICAS),
            auth,
            redis,
            stream_max_bytes,
            parameters: spec.audit.parameters,
            network_policy: spec.network_policy.clone(),
            servers,
            credentials,
            own_hash_key: spec.audit.hash_key_secret_ref.is_some(),
        },
        refused,
        partial,
    })
}

fn owner_reference(pool: &Pool) -> Option<OwnerReference> {
    pool.controller_owner_ref(&())
}

fn copied(
    lookup: &Lookup,
    source: Source,
    name: &str,
    key: &str,
    field: &str,
    file: &str,
) -> Result<Credential, Problem> {
    let material = lookup.as_ref().ok_or_else(|| not_found(source, name, field))?;
    let value = material.require(key, field)?.clone();
    Ok(Credential { file: file.to_owned(), origin: format!("{}/{key}", material.version), value })
}

fn tls_pair(name: &str, lookup: &Lookup) -> Result<[Credential; 2], Problem> {
    let field = "spec.armor.tls.secretRef";
    let file = |key: &str| copied(lookup, Source::Secret, name, key, field, key);
    let (chain, key) = (file("tls.crt")?, file("tls.key")?);
    check_pair(chain.value.expose_secret(), key.value.expose_secret()).map_err(|wrong| {
        Problem::new("SecretInvalid", format!("Secret {name}, which {field} names: {wrong}: correct the Secret"))
    })?;
    Ok([chain, key])
}

fn hash_key(name: &str, key: &str, lookup: &Lookup) -> Result<Credential, Problem> {
    let field = "spec.audit.hashKeySecretRef";
    let copied = copied(lookup, Source::Secret, name, key, field, "hash-key")?;
    if copied.value.expose_secret().len() < HASH_KEY_BYTES {
        let message = format!(
            "Secret {name}: the value under {key}, which {field} names, is shorter than {HASH_KEY_BYTES} bytes: make it \
             longer, for example with `openssl rand -hex 32`"
        );
        return Err(Problem::new("SecretInvalid", message));
    }
    Ok(copied)
}

fn redis(pool: &Pool, found: &Dereferenced, stream: i64, credentials: &mut Vec<Credential>) -> Result<Redis, Fault> {
    let spec = pool.spec.redis.clone();
    let Some(external) = spec.as_ref().and_then(|redis| redis.external.as_ref()) else {
        let managed = spec.and_then(|redis| redis.managed).unwrap_or_default();
        let needed = stream.saturating_mul(4).max(1 << 30);
        let volume = match &managed.persistence.size {
            None => {
                quantity::canonical(&format!("{}Mi", needed.div_euclid(1 << 20) + i64::from(needed % (1 << 20) > 0)))
            }
            Some(size) => {
                if managed.persistence.enabled
                    && quantity::units(&size.0).is_none_or(|bytes| bytes < stream.saturating_mul(4))
                {
                    let message = format!(
                        "spec.redis.managed.persistence.size: {} is less than four times the audit stream's {} bytes, \
                         which its append-only file needs while it is rewritten: raise the size, or lower \
                         spec.audit.streamMaxBytes",
                        size.0, stream
                    );
                    return Err(Fault::NotAccepted(Problem::new("VolumeTooSmall", message)));
                }
                quantity::canonical(&size.0)
            }
        };
        return Ok(Redis::Managed { spec: Box::new(managed), volume });
    };
    let field = "spec.redis.external.urlSecretRef";
    let reference = &external.url_secret_ref;
    let lookup = found.redis_url.as_ref().unwrap_or(&None);
    let url = copied(lookup, Source::Secret, &reference.name, &reference.key, field, "redis-url")
        .map_err(Fault::Unresolved)?;
    let text = String::from_utf8_lossy(url.value.expose_secret()).trim().to_owned();
    // The URL may hold a password, so no part of it goes into the message.
    if !url::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host()) {
        let message = format!(
            "Secret {}: the value under {}, which {field} names, is no redis:// or rediss:// URL: correct the Secret",
            reference.name, reference.key
        );
        return Err(Fault::Unresolved(Problem::new("SecretInvalid", message)));
    }
    credentials.push(url);
    if let (Some(ca_ref), Some(lookup)) = (&external.ca_ref, &found.redis_ca) {
        credentials.push(redis_ca(ca_ref, lookup).map_err(Fault::Unresolved)?);
    }
    Ok(Redis::External { with_ca: external.ca_ref.is_some() })
}

fn redis_ca(ca_ref: &CaRef, lookup: &Lookup) -> Result<Credential, Problem> {
    let field = "spec.redis.external.caRef";
    let copied = copied(lookup, Source::ConfigMap, &ca_ref.name, ca_ref.key(), field, "redis-ca.crt")?;
    check_ca(ca_ref, field, copied.value.expose_secret())?;
    Ok(copied)
}

fn auth(pool: &Pool, found: &Dereferenced) -> (Auth, Option<Problem>) {
    if pool.spec.auth.as_ref().is_none_or(|auth| auth.api_keys.is_none()) {
        return (Auth::Anonymous, None);
    }
    let mut keys = Vec::new();
    let mut partial = None;
    for material in &found.api_keys {
        match api_key(material) {
            Ok(key) => keys.push(key),
            Err(problem) => partial = partial.or(Some(problem)),
        }
    }
    if keys.is_empty() && partial.is_none() {
        let message = "no Secret of this namespace has the labels of spec.auth.apiKeys.secretSelector, so nobody may \
                       call: make a key with `armor api-key create`";
        partial = Some(Problem::new("NoApiKeys", message));
    }
    (Auth::ApiKeys(keys), partial)
}

fn roster(found: &Dereferenced) -> (Vec<Programmed>, BTreeMap<String, Fault>) {
    let servers: Vec<&McpServer> = found.servers.iter().filter_map(|(guard, _)| guard.0.as_ref().ok()).collect();
    let mut refused: BTreeMap<String, Fault> =
        collisions(&servers).into_iter().map(|(name, problem)| (name, Fault::NotAccepted(problem))).collect();
    let mut programmed = Vec::new();
    for (guard, references) in &found.servers {
        let Ok(server) = &guard.0 else { continue };
        if refused.contains_key(&server.name_any()) {
            continue;
        }
        match validate_server(server, references) {
            Ok(server) => programmed.push(server),
            Err(fault) => {
                refused.insert(server.name_any(), fault);
            }
        }
    }
    programmed.sort_by(|a, b| a.name.cmp(&b.name));
    (programmed, refused)
}

impl ValidatedPool {
    /// Every value that is copied: the pool's own and its servers'.
    pub fn all_credentials(&self) -> Vec<&Credential> {
        let servers = self.servers.iter().flat_map(|server| {
            let auth: Vec<&Credential> = match &server.auth {
                Outbound::None => Vec::new(),
                Outbound::Bearer(credential) => vec![credential],
                Outbound::Headers(headers) => headers.iter().map(|(_, credential)| credential).collect(),
            };
            server.ca.iter().chain(auth)
        });
        self.credentials.iter().chain(servers).collect()
    }

    /// Changes whenever a copied value may have changed; `None` when nothing is copied.
    pub fn credentials_revision(&self) -> Option<String> {
        let mut lines: Vec<String> = self
            .all_credentials()
            .iter()
            .map(|credential| format!("{}={}", credential.file, credential.origin))
            .collect();
        if let Auth::ApiKeys(keys) = &self.auth {
            lines.push(format!("api-keys={}", keys.len()));
            lines.extend(keys.iter().map(|key| format!("api-key {}={}", key.id, key.origin)));
        }
        if lines.is_empty() {
            return None;
        }
        lines.sort();
        Some(hex::encode(Sha256::digest(lines.join("\n").as_bytes()))[..16].to_owned())
    }
}
