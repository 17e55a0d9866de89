//! From a Pool and what it points at to a pool that can be built. Pure: the same input gives the same output.

mod redis;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::pool::{ArmorSpec, AuditParameters, ExporterSpec, ManagedRedis, NetworkPolicySettings};
use crds::{McpServer, Pool};
use daemon::values::Span;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::api_keys::{ApiKey, api_key};
use super::dereference::Dereferenced;
use crate::certificates::check_pair;
use crate::child::Owner;
use crate::conditions::Problem;
use crate::mcp_server::{Credential, Fault, Programmed, collisions, validate_server};
use crate::quantity;
use crate::room::{Full, Room};
use crate::siem_export;
use crate::world::{Lookup, Source, not_found};

const DEFAULT_STREAM_BYTES: i64 = 256 << 20;
const DEFAULT_REPLICAS: i32 = 2;
const DEFAULT_EXPORTER_REPLICAS: i32 = 1;
const DEFAULT_RETAIN: Duration = Duration::from_secs(3600);
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
    /// How long delivered events stay in it.
    pub retain: Duration,
    /// What events say of arguments.
    pub parameters: AuditParameters,
    /// NetworkPolicies.
    pub network_policy: NetworkPolicySettings,
    /// Whether there are PodMonitors.
    pub pod_monitors: bool,
    /// The exporter, as written.
    pub exporter: ExporterSpec,
    /// Number of exporters, where there are any.
    pub exporter_replicas: i32,
    /// SiemExports of the pool, by name; without one there is no exporter.
    pub exports: Vec<siem_export::Programmed>,
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
    /// Those of them that are well by themselves and did not fit with the others.
    pub left_out: BTreeMap<String, Fault>,
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
    let retain = match &spec.audit.retain {
        Some(text) => Span::try_from(text.clone()).map_err(|wrong| invalid(format!("spec.audit.retain: {wrong}")))?.0,
        None => DEFAULT_RETAIN,
    };
    let mut credentials = Vec::new();
    if let (Some(tls), Some(lookup)) = (&spec.armor.tls, &found.tls) {
        credentials.extend(tls_pair(&tls.secret_ref.name, lookup).map_err(Fault::Unresolved)?);
    }
    if let (Some(reference), Some(lookup)) = (&spec.audit.hash_key_secret_ref, &found.hash_key) {
        credentials.push(hash_key(&reference.name, &reference.key, lookup).map_err(Fault::Unresolved)?);
    }
    let redis = redis::redis(pool, found, stream_max_bytes, &mut credentials)?;
    let (auth, partial) = auth(pool, found);
    let keys = if let Auth::ApiKeys(keys) = &auth { keys.iter().map(ApiKey::size).sum() } else { 0 };
    let own = credentials.iter().map(Credential::size).sum::<usize>() + keys;
    let (servers, refused, left_out) = roster(found, own);
    let exporter = spec.exporter.clone().unwrap_or_default();
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
            retain,
            parameters: spec.audit.parameters,
            network_policy: spec.network_policy.clone(),
            pod_monitors: spec.metrics.as_ref().is_some_and(|metrics| metrics.pod_monitor),
            exporter_replicas: exporter.replicas.unwrap_or(DEFAULT_EXPORTER_REPLICAS),
            exporter,
            servers,
            exports: exports(&pool.name_any(), found),
            credentials,
            own_hash_key: spec.audit.hash_key_secret_ref.is_some(),
        },
        refused,
        left_out,
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

/// The servers that are configured, those that are not, and of these the ones for which there is no room. Earlier ones
/// go first, so that a newcomer pushes nobody out.
fn roster(found: &Dereferenced, own: usize) -> (Vec<Programmed>, BTreeMap<String, Fault>, BTreeMap<String, Fault>) {
    let servers: Vec<&McpServer> = found.servers.iter().filter_map(|(guard, _)| guard.0.as_ref().ok()).collect();
    let (mut room, mut left_out) = (Room::with_credentials(own), BTreeMap::new());
    let mut refused: BTreeMap<String, Fault> =
        collisions(&servers).into_iter().map(|(name, problem)| (name, Fault::NotAccepted(problem))).collect();
    let mut programmed = Vec::new();
    let mut ordered: Vec<_> = found.servers.iter().collect();
    ordered.sort_by_key(|(guard, _)| (guard.meta().creation_timestamp.clone().map(|time| time.0), guard.name_any()));
    for (guard, references) in ordered {
        let Ok(server) = &guard.0 else { continue };
        if refused.contains_key(&server.name_any()) {
            continue;
        }
        match validate_server(server, references) {
            Ok(server) => match room.take(server.credentials_size(), server.document_size()) {
                Ok(()) => programmed.push(server),
                Err(full) => {
                    let fault = no_room(full);
                    refused.insert(server.name.clone(), fault.clone());
                    left_out.insert(server.name, fault);
                }
            },
            Err(fault) => {
                refused.insert(server.name_any(), fault);
            }
        }
    }
    programmed.sort_by(|a, b| a.name.cmp(&b.name));
    (programmed, refused, left_out)
}

/// The SiemExports of the pool as its exporter is told of them.
fn exports(pool: &str, found: &Dereferenced) -> Vec<siem_export::Programmed> {
    let read = found.exports.iter().filter_map(|(guard, references)| Some((guard.0.as_ref().ok()?, references)));
    let mut exports: Vec<_> = siem_export::roster(pool, read).into_values().map(|outcome| outcome.programmed).collect();
    // They may be another pool's: alone they are no reason to make an exporter, without which no place in the stream is given
    // up, and reason enough to keep the one that there is.
    if !exports.is_empty() || found.has_exporter {
        exports.extend(found.malformed_exports.iter().cloned());
    }
    exports.sort_by(|a, b| a.name.cmp(&b.name));
    exports
}

fn no_room(full: Full) -> Fault {
    match full {
        Full::Credentials { kib, most } => Fault::Unresolved(Problem::new(
            "CredentialsTooLarge",
            format!(
                "spec.remote.caRef and spec.auth: with this McpServer the credentials and certificates that the pool's \
                 gateways read would have {kib} KiB, and one Secret takes {most} KiB: trust fewer certificates in caRef (a \
                 bundle of all public ones is large, and trusted without caRef), or use another pool"
            ),
        )),
        Full::Document { kib, most } => Fault::NotAccepted(Problem::new(
            "ConfigurationTooLarge",
            format!(
                "spec.tools: with this McpServer the configuration of the pool's gateways would have {kib} KiB, and one \
                 ConfigMap takes {most} KiB: write fewer or shorter patterns, or use another pool"
            ),
        )),
    }
}

impl ValidatedPool {
    /// Every value that is copied: the pool's own and its servers'.
    pub fn all_credentials(&self) -> Vec<&Credential> {
        self.credentials.iter().chain(self.servers.iter().flat_map(Programmed::credentials)).collect()
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
