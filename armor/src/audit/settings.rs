//! What the trail is told from outside.
//!
//! Promises: connection settings are parsed once, here; after that only typed ones travel. Must never
//! show a password or a URL that may contain one.

use std::fmt;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};

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
    pub redis: RedisSettings,
    /// The key of the stream.
    pub stream: String,
    /// How much room the stream may take; it is trimmed to about that.
    pub stream_max_bytes: u64,
    /// What is told of a call's arguments.
    pub parameters: Parameters,
}

/// How Redis is reached.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://`, `rediss://` or `redis+unix://`; may contain user and password.
    pub url: SecretString,
    /// Wins over one in the URL.
    pub password: Option<SecretString>,
    /// The certificate authorities to trust, PEM; for `rediss://` only. Absent: the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("password", &self.password.is_some())
            .field("ca_pem", &self.ca_pem.is_some())
            .finish_non_exhaustive()
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// An identity of the event source is missing.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// The URL is not one of Redis.
    #[error(
        "the Redis URL cannot be used: write redis://HOST:PORT or rediss://HOST:PORT, with /DB or USER:PASSWORD@ where needed"
    )]
    Url,
    /// The CA bundle cannot be used.
    #[error("the Redis CA bundle cannot be used: it must hold PEM certificates")]
    Ca,
}

/// A Redis stream that can be connected to.
pub(crate) struct Target {
    pub(crate) client: Client,
    pub(super) stream: String,
    pub(super) stream_max_bytes: u64,
    /// What `client` was made from, to tell whether a reload changed it.
    identity: (String, Option<String>, Option<Vec<u8>>),
}

impl Target {
    pub(super) fn new(settings: &AuditSettings) -> Result<Self, AuditError> {
        let RedisSettings { url, password, ca_pem } = &settings.redis;
        let mut info = url.expose_secret().into_connection_info().map_err(|_| AuditError::Url)?;
        if let Some(password) = password {
            let redis = info.redis_settings().clone().set_password(password.expose_secret());
            info = info.set_redis_settings(redis);
        }
        Ok(Self {
            client: client(info, ca_pem.as_deref())?,
            stream: settings.stream.clone(),
            stream_max_bytes: settings.stream_max_bytes,
            identity: (
                url.expose_secret().to_owned(),
                password.as_ref().map(|p| p.expose_secret().to_owned()),
                ca_pem.clone(),
            ),
        })
    }
}

fn client(info: ConnectionInfo, ca_pem: Option<&[u8]>) -> Result<Client, AuditError> {
    match (info.addr(), ca_pem) {
        (ConnectionAddr::TcpTls { .. }, Some(pem)) => {
            // The Redis client takes a bundle without certificates for a bundle that trusts nobody,
            // and would only ever say that no connection succeeds.
            let certificates =
                CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| AuditError::Ca)?;
            if certificates.is_empty() {
                return Err(AuditError::Ca);
            }
            let tls = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
            Client::build_with_tls(info, tls).map_err(|_| AuditError::Ca)
        }
        _ => Client::open(info).map_err(|_| AuditError::Url),
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.stream == other.stream
            && self.stream_max_bytes == other.stream_max_bytes
            && self.identity == other.identity
    }
}
