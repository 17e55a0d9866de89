//! The conversation with Redis.
//!
//! Promises: every call has a timeout of its own. Must never show a URL or a password, nor retry: whether a lost answer
//! means a lost step is for the caller to decide, and every step may be repeated.

use std::time::Duration;

use daemon::redis::Settings;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, RedisError, RedisResult, Script, ScriptInvocation};
use tokio::time::timeout;

/// For a connection and its handshake.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one script; a page of entries is a few megabytes.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a step was not done, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The URL or the certificates can not be used.
    #[error(transparent)]
    Settings(#[from] daemon::redis::Invalid),
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
        let client = settings.client()?;
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

pub(super) async fn bounded<T>(
    step: &'static str,
    call: impl Future<Output = RedisResult<T>>,
) -> Result<T, StreamError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) if source.code() == Some("NOGROUP") => Err(StreamError::NoGroup),
        Ok(Err(source)) => Err(StreamError::Redis { step, source }),
        Err(_) => Err(StreamError::Timeout { step }),
    }
}
