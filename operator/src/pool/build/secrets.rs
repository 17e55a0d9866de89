//! Secrets of a pool: random ones, made once, and copies of values that users own.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::child::{Child, Prepared};
use crate::pool::build::parts::meta;
use crate::pool::validate::{Auth, Redis, ValidatedPool};

/// 256 random bits as 43 characters that are safe in URLs, headers and redis.conf.
fn random_token() -> String {
    let bytes: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn admin_token() -> Value {
    json!({"token": random_token()})
}

fn hash_key() -> Value {
    json!({"key": random_token()})
}

fn redis_password() -> Value {
    let password = random_token();
    // Redis reads its password from a file of its own configuration syntax; Armor reads the bare one.
    let directive = format!("requirepass {password}\n");
    json!({"password": password, "auth.conf": directive})
}

fn made_once(
    pool: &ValidatedPool,
    suffix: &str,
    component: &str,
    make: fn() -> Value,
) -> Result<Child<Prepared>, serde_json::Error> {
    let object = Secret { metadata: meta(pool, suffix, component), type_: Some("Opaque".into()), ..Secret::default() };
    Child::generated(&pool.owner, &object, make)
}

/// The token of an admin port.
pub(super) fn admin(pool: &ValidatedPool, suffix: &str, component: &str) -> Result<Child<Prepared>, serde_json::Error> {
    made_once(pool, suffix, component, admin_token)
}

pub(super) fn generated(pool: &ValidatedPool) -> Result<Vec<Child<Prepared>>, serde_json::Error> {
    let mut children = vec![admin(pool, "armor-admin", "armor")?];
    if !pool.own_hash_key {
        children.push(made_once(pool, "armor-hash-key", "armor", hash_key)?);
    }
    if matches!(pool.redis, Redis::Managed { .. }) {
        children.push(made_once(pool, "redis", "redis", redis_password)?);
    }
    Ok(children)
}

pub(super) fn credentials(pool: &ValidatedPool) -> Result<Option<Child<Prepared>>, serde_json::Error> {
    let Some(revision) = pool.credentials_revision() else { return Ok(None) };
    let mut data: BTreeMap<String, ByteString> = pool
        .all_credentials()
        .into_iter()
        .map(|credential| (credential.file.clone(), ByteString(credential.value.expose_secret().to_vec())))
        .collect();
    if let Auth::ApiKeys(keys) = &pool.auth {
        data.insert("api-keys.yaml".into(), ByteString(serde_json::to_vec(keys)?));
    }
    data.insert("credentials-revision".into(), ByteString(revision.clone().into_bytes()));
    let object = Secret {
        metadata: meta(pool, "armor-credentials", "armor"),
        type_: Some("Opaque".into()),
        data: Some(data),
        ..Secret::default()
    };
    Ok(Some(Child::copied(&pool.owner, &object, revision)?))
}
