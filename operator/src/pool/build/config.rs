//! `armor.yaml`, and what there is of `exporter.yaml`. It names files of secrets and never holds a secret itself.

use std::collections::BTreeMap;

use exporter::config::Document;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::port;
use crate::child::{Child, Kind, Prepared};
use crate::mcp_server::{Outbound, Programmed};
use crate::names::child_name;
use crate::pool::build::parts::meta;
use crate::pool::validate::{Auth, Redis, ValidatedPool};

/// What Armor and the exporter are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Hash over everything else in `armor.yaml`.
    pub revision: String,
    /// `armor.yaml` as a value.
    pub document: Value,
    /// `exporter.yaml`, where there is an exporter.
    pub exporter: Option<Document>,
}

/// Renders the configuration. Key order and list order are fixed, so equal pools give equal bytes.
///
/// # Errors
/// When a value can not be written as JSON, which none is.
pub fn configuration(pool: &ValidatedPool, cluster_id: Option<&str>) -> Result<Configuration, serde_json::Error> {
    let auth = match &pool.auth {
        Auth::Anonymous => json!({"anonymous": true}),
        Auth::ApiKeys(_) => json!({"apiKeysFile": "api-keys.yaml"}),
    };
    let redis = match &pool.redis {
        Redis::Managed { .. } => json!({
            "url": redis_url(pool),
            "passwordFile": "redis-password",
        }),
        Redis::External { with_ca: false } => json!({"urlFile": "redis-url"}),
        Redis::External { with_ca: true } => json!({"urlFile": "redis-url", "caFile": "redis-ca.crt"}),
    };
    let mut listener = json!({"port": port::MCP});
    if !pool.armor.hosts.is_empty() {
        listener["hosts"] = json!(pool.armor.hosts);
    }
    if pool.armor.tls.is_some() {
        listener["tls"] = json!({"certFile": "tls.crt", "keyFile": "tls.key"});
    }
    let mut document = json!({
        "pool": {"id": pool.uid, "name": pool.name, "namespace": pool.owner.namespace},
        "listener": listener,
        "admin": {"port": port::ADMIN, "tokenFile": "admin-token"},
        "logLevel": pool.armor.log_level,
        "auth": auth,
        "redis": redis,
        "audit": {
            "stream": format!("audit:{{{}}}:events", pool.uid),
            "streamMaxBytes": pool.stream_max_bytes,
            "parameters": pool.parameters,
            "hashKeyFile": "hash-key",
        },
        "servers": pool.servers.iter().map(server).collect::<Vec<_>>(),
    });
    if let Some(id) = cluster_id {
        document["clusterId"] = json!(id);
    }
    let revision = hex::encode(Sha256::digest(serde_json::to_vec(&document)?))[..16].to_owned();
    document["revision"] = json!(revision);
    Ok(Configuration { revision, document, exporter: super::exporter::document(pool, cluster_id)? })
}

/// URL of a managed Redis.
pub(super) fn redis_url(pool: &ValidatedPool) -> String {
    format!("redis://{}.{}.svc:{}", child_name(&pool.name, "redis"), pool.owner.namespace, port::REDIS)
}

fn server(server: &Programmed) -> Value {
    let mut entry = json!({
        "name": server.name,
        "prefix": server.prefix,
        "url": server.url,
        "timeout": server.timeout,
        "tools": {"allow": server.allow, "deny": server.deny},
    });
    if let Some(ca) = &server.ca {
        entry["caFile"] = json!(ca.file);
    }
    match &server.auth {
        Outbound::None => {}
        Outbound::Bearer(token) => entry["auth"] = json!({"bearer": {"tokenFile": token.file}}),
        Outbound::Headers(headers) => {
            let headers: Vec<Value> =
                headers.iter().map(|(name, value)| json!({"name": name, "valueFile": value.file})).collect();
            entry["auth"] = json!({"headers": headers});
        }
    }
    entry
}

pub(super) fn config_map(
    pool: &ValidatedPool,
    configuration: &Configuration,
) -> Result<Child<Prepared>, serde_json::Error> {
    let yaml = serde_saphyr::to_string(&configuration.document)
        .map_err(|error| serde_json::Error::io(std::io::Error::other(error.to_string())))?;
    let object = ConfigMap {
        metadata: meta(pool, "armor", "armor"),
        data: Some(BTreeMap::from([("armor.yaml".to_owned(), yaml)])),
        ..ConfigMap::default()
    };
    Child::desired(Kind::ConfigMap, &pool.owner, &object)
}
