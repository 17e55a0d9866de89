//! The conversation with Redis.
//!
//! Promises: every call has a timeout of its own. Must never show a URL or a password, nor retry: whether a lost answer
//! means a lost step is for the caller to decide, and every step may be repeated.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisError, RedisResult, Script, ScriptInvocation,
    TlsCertificates,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

/// For a connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one script; a page of entries is a few megabytes.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How Redis is reached.
#[derive(Clone)]
pub struct Settings {
    /// `redis://`, `rediss://` or `redis+unix://`; may contain user and password.
    pub url: SecretString,
    /// Wins over one in the URL.
    pub password: Option<SecretString>,
    /// The certificate authorities to trust, PEM; for `rediss://` only. Absent: the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Why a step was not done, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The URL or the certificates can not be used.
    #[error("the Redis URL or its CA bundle can not be used")]
    Settings,
    /// Redis knows no group for the destination: it came back without it, or somebody removed it.
    #[error("the consumer group does not exist")]
    NoGroup,
    /// No answer in time; the step may have been done.
    #[error("{step}: no answer from Redis within {limit} s", limit = CALL_TIMEOUT.as_secs())]
    Timeout {
        /// What was to be done.
        step: &'static str,
    },
    /// Redis, or the way to it, failed.
    #[error("{step}: {source}")]
    Redis {
        /// What was to be done.
        step: &'static str,
        /// Why not.
        source: RedisError,
    },
}

/// A connection, which is made again after it broke; clones share it.
#[derive(Clone)]
pub(super) struct Link(ConnectionManager);

impl Link {
    pub(super) async fn connect(settings: &Settings) -> Result<Self, StreamError> {
        let client = client(settings)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CALL_TIMEOUT))
            .set_number_of_retries(0);
        Ok(Self(bounded("connecting", ConnectionManager::new_with_config(client, config)).await?))
    }

    /// Runs a script on these keys.
    pub(super) async fn run<T: FromRedisValue>(
        &mut self,
        step: &'static str,
        script: &Script,
        keys: &[&str],
        arguments: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T, StreamError> {
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(*key);
        }
        arguments(&mut call);
        bounded(step, call.invoke_async(&mut self.0)).await
    }
}

/// A script of the folder `scripts`, after what all of them share.
macro_rules! script {
    ($name:literal) => {{
        static SCRIPT: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
            redis::Script::new(concat!(
                include_str!("scripts/prelude.lua"),
                include_str!(concat!("scripts/", $name, ".lua"))
            ))
        });
        &*SCRIPT
    }};
}
pub(super) use script;

fn client(settings: &Settings) -> Result<Client, StreamError> {
    let mut info = settings.url.expose_secret().into_connection_info().map_err(|_| StreamError::Settings)?;
    if let Some(password) = &settings.password {
        let redis = info.redis_settings().clone().set_password(password.expose_secret());
        info = info.set_redis_settings(redis);
    }
    match (info.addr(), &settings.ca_pem) {
        (ConnectionAddr::TcpTls { .. }, Some(pem)) => {
            let tls = TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
            Client::build_with_tls(info, tls).map_err(|_| StreamError::Settings)
        }
        _ => Client::open(info).map_err(|_| StreamError::Settings),
    }
}

async fn bounded<T>(step: &'static str, call: impl Future<Output = RedisResult<T>>) -> Result<T, StreamError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) if source.code() == Some("NOGROUP") => Err(StreamError::NoGroup),
        Ok(Err(source)) => Err(StreamError::Redis { step, source }),
        Err(_) => Err(StreamError::Timeout { step }),
    }
}
