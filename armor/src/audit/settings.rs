//! What the trail is told from outside.
//!
//! Promises: settings are parsed once, here; after that only typed ones travel.

use ::redis::Client;
use daemon::redis;

use super::Parameters;

/// Everything that [`Audit::start`](super::Audit::start) needs.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// `pool.id`: the UID of the Pool.
    pub pool_id: String,
    /// `pool.name`
    pub pool_name: String,
    /// `pool.namespace`
    pub pool_namespace: String,
    /// `cluster.id`
    pub cluster_id: Option<String>,
    /// `component.version`
    pub version: String,
    /// `component.instance`: the Pod's name.
    pub instance: String,
    /// What may change while Armor runs.
    pub settings: AuditSettings,
}

/// The settings that a reload may change.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// Where the stream is.
    pub redis: redis::Settings,
    /// The key of the stream.
    pub stream: String,
    /// How much room the stream may take; it is trimmed to about that.
    pub stream_max_bytes: u64,
    /// What is told of a call's arguments.
    pub parameters: Parameters,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// An identity of the event source is missing.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// Redis can not be reached so.
    #[error(transparent)]
    Redis(#[from] redis::Invalid),
}

/// A Redis stream that can be connected to.
pub(crate) struct Target {
    pub(crate) client: Client,
    pub(super) stream: String,
    pub(super) stream_max_bytes: u64,
    /// What `client` was made from, to tell whether a reload changed it.
    settings: redis::Settings,
}

impl Target {
    pub(super) fn new(settings: &AuditSettings) -> Result<Self, AuditError> {
        Ok(Self {
            client: settings.redis.client()?,
            stream: settings.stream.clone(),
            stream_max_bytes: settings.stream_max_bytes,
            settings: settings.redis.clone(),
        })
    }
}

impl Target {
    /// Whether both lead to one stream, as far as their addresses tell; a credential is no part of that.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        let (one, two) = (self.client.get_connection_info(), other.client.get_connection_info());
        self.stream == other.stream
            && one.addr() == two.addr()
            && one.redis_settings().db() == two.redis_settings().db()
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.stream == other.stream
            && self.stream_max_bytes == other.stream_max_bytes
            && self.settings == other.settings
    }
}
