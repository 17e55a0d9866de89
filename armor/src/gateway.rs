//! What every request sees: the running configuration, swapped whole, and what outlives it.
//!
//! Promises: a request holds on to the configuration that it began with; a new one is in use from the next
//! request on. Must never be seen half changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, AuditSettings, Parameters};
use crate::auth::Authenticator;
use crate::config::schema::{self, Auth, Document};
use crate::config::types::Prefix;
use crate::config::{ConfigError, Loaded};
use crate::endpoint::post::Room;
use crate::host::HostPolicy;
use crate::mcp::Era;
use crate::metrics::Metrics;
use crate::session::{Sealer, Sessions};
use crate::tls;
use crate::upstream::Server;

/// The process, as requests see it.
pub struct Gateway {
    running: ArcSwapOption<Running>,
    /// Sessions of legacy clients.
    pub sessions: Sessions,
    /// Room for callers' messages.
    pub bodies: Room,
    /// Figures.
    pub metrics: Metrics,
    /// Cancelled when streams without an end must end.
    pub draining: CancellationToken,
    listening: AtomicBool,
    config_state: Mutex<ConfigState>,
    swaps: watch::Sender<u64>,
}

/// How the running configuration stands to the directory.
#[derive(Clone, Debug, Default)]
pub struct ConfigState {
    /// The running one is the one in the directory.
    pub synchronized: bool,
    /// Why not.
    pub last_error: Option<String>,
}

impl Gateway {
    /// Nothing is configured yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            running: ArcSwapOption::empty(),
            sessions: Sessions::default(),
            bodies: Room::default(),
            metrics: Metrics::new(),
            draining: CancellationToken::new(),
            listening: AtomicBool::new(false),
            config_state: Mutex::default(),
            swaps: watch::Sender::new(0),
        }
    }

    /// The running configuration.
    #[must_use]
    pub fn running(&self) -> Option<Arc<Running>> {
        self.running.load_full()
    }

    /// Puts another configuration into use.
    pub fn swap(&self, running: Arc<Running>) {
        self.running.store(Some(running));
        self.swaps.send_modify(|count| *count += 1);
    }

    /// Tells when another configuration comes into use.
    #[must_use]
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }

    /// How the running configuration stands to the directory.
    #[must_use]
    pub fn config_state(&self) -> ConfigState {
        self.config_state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how it stands.
    pub fn set_config_state(&self, state: ConfigState) {
        self.metrics.config_synchronized.set(i64::from(state.synchronized));
        *self.config_state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The listener takes connections.
    pub fn set_listening(&self) {
        self.listening.store(true, Ordering::Release);
    }

    /// What it still waits for; `None`: ready.
    #[must_use]
    pub fn waits_for(&self) -> Option<&'static str> {
        if self.draining.is_cancelled() {
            return Some("shutting down");
        }
        if self.running.load().is_none() {
            return Some("waiting for a valid configuration");
        }
        (!self.listening.load(Ordering::Acquire)).then_some("waiting for the listener")
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}

/// One configuration, ready for use.
pub struct Running {
    /// What `armor.yaml` says.
    pub document: Document,
    /// The same for `/config`.
    pub redacted: serde_json::Value,
    /// Content of `credentials-revision`.
    pub credentials_revision: Option<String>,
    /// Hash of all files.
    pub digest: [u8; 32],
    /// Since when it is in use.
    pub loaded_at: Timestamp,
    /// Who may call.
    pub authenticator: Authenticator,
    /// Under which names.
    pub hosts: HostPolicy,
    /// All servers, in the order of the configuration.
    pub servers: Vec<Arc<Server>>,
    /// Session ids.
    pub sealer: Sealer,
    /// Certificate of the listener.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The audit trail.
    pub audit: Audit,
    admin_token: SecretSlice<u8>,
    seal_secret: SecretSlice<u8>,
    seal_before: Option<SecretSlice<u8>>,
    by_prefix: HashMap<String, Arc<Server>>,
}

impl Running {
    /// Makes a configuration ready. Servers that did not change are taken over from the one before. The audit
    /// trail is asked for last, when nothing else can refuse the configuration.
    ///
    /// # Errors
    /// What keeps it from being used at all.
    pub fn build(
        loaded: Loaded,
        audit: impl FnOnce(&Document) -> Result<Audit, ConfigError>,
        previous: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let document = loaded.document;
        let secrets = &loaded.secrets;
        let token_file = &document.admin.token_file;
        let admin_token = secrets.require(token_file, "admin.tokenFile")?;
        let seal_secret = match &document.audit.hash_key_file {
            Some(file) => secrets.require(file, "audit.hashKeyFile")?,
            None => admin_token,
        };
        // Kept until the next rotation, through all reloads in between.
        let before = previous.and_then(|p| match p.seal_secret.expose_secret() == seal_secret {
            true => p.seal_before.as_ref().map(ExposeSecret::expose_secret),
            false => Some(p.seal_secret.expose_secret()),
        });
        let sealer =
            Sealer::new(&document.pool.id, seal_secret, before).map_err(|error| ConfigError::SecretInvalid {
                file: token_file.to_string(),
                field: "audit.hashKeyFile",
                reason: error.to_string(),
            })?;
        let tls = match &document.listener.tls {
            None => None,
            Some(files) => Some(tls::config(files, secrets)?),
        };
        let authenticator = match &document.auth {
            Auth::Anonymous => Authenticator::anonymous(),
            Auth::ApiKeys(_) => Authenticator::keys(&loaded.api_keys),
        };
        let servers = servers(&document, secrets, previous);
        let by_prefix = servers.iter().rev().map(|server| (server.prefix.to_string(), server.clone())).collect();
        let audit = audit(&document)?;
        Ok(Self {
            hosts: HostPolicy::new(document.listener.hosts.as_deref()),
            admin_token: SecretSlice::from(admin_token.to_vec()),
            seal_secret: SecretSlice::from(seal_secret.to_vec()),
            seal_before: before.map(|secret| SecretSlice::from(secret.to_vec())),
            document,
            redacted: loaded.redacted,
            credentials_revision: loaded.credentials_revision,
            digest: loaded.digest,
            loaded_at: Timestamp::now(),
            authenticator,
            servers,
            sealer,
            tls,
            audit,
            by_prefix,
        })
    }

    /// Whether a request shows the token of the admin port.
    #[must_use]
    pub fn is_admin(&self, headers: &http::HeaderMap) -> bool {
        daemon::bearer::is_shown(headers, &self.admin_token)
    }

    /// The one server of a pool whose names have no prefix.
    #[must_use]
    pub fn unprefixed(&self) -> Option<&Arc<Server>> {
        self.servers.first().filter(|server| server.prefix.is_empty())
    }

    /// The server that a name belongs to, and its own name for it.
    #[must_use]
    pub fn route<'a>(&self, name: &'a str) -> Option<(&Arc<Server>, &'a str)> {
        if let Some(server) = self.unprefixed() {
            return Some((server, name));
        }
        // No prefix has two underscores, so the first two end it.
        let (prefix, own) = name.split_once(Prefix::SEPARATOR)?;
        Some((self.by_prefix.get(prefix)?, own))
    }

    /// The server with this name.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.name.as_ref() == name)
    }

    /// Whether any server speaks an era, or may: what is not known yet does not count against it.
    #[must_use]
    pub fn speaks(&self, era: Era) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|s| !s.handshake().lacks(era))
    }
}

fn servers(document: &Document, secrets: &daemon::files::Secrets, previous: Option<&Running>) -> Vec<Arc<Server>> {
    let mut taken: HashMap<&Prefix, &crate::config::types::ServerName> = HashMap::new();
    let known: HashMap<[u8; 32], &Arc<Server>> =
        previous.into_iter().flat_map(|p| &p.servers).map(|server| (server.fingerprint, server)).collect();
    let build = |config: &schema::Server, collision| {
        let server = Server::new(config, secrets, collision);
        match known.get(&server.fingerprint) {
            Some(same) => (*same).clone(),
            None => Arc::new(server),
        }
    };
    let mut built = Vec::with_capacity(document.servers.len());
    for config in &document.servers {
        let collision = taken.get(&config.prefix).copied();
        built.push(build(config, collision));
        taken.entry(&config.prefix).or_insert(&config.name);
    }
    built
}

/// What the audit trail needs of a configuration.
///
/// # Errors
/// A secret that it names is missing or unusable.
pub fn audit_settings(loaded: &Loaded) -> Result<AuditSettings, ConfigError> {
    let document = &loaded.document;
    let secrets = &loaded.secrets;
    let parameters = match (document.audit.parameters, &document.audit.hash_key_file) {
        (schema::Parameters::None, _) => Parameters::None,
        (schema::Parameters::NamesAndHashes, Some(file)) => {
            let key = secrets.require(file, "audit.hashKeyFile")?;
            Parameters::NamesAndHashes(daemon::hash::HashKey::new(key).ok_or_else(|| ConfigError::SecretInvalid {
                file: file.to_string(),
                field: "audit.hashKeyFile",
                reason: "is shorter than 16 bytes".to_owned(),
            })?)
        }
        (schema::Parameters::Names | schema::Parameters::NamesAndHashes, _) => Parameters::Names,
    };
    Ok(AuditSettings {
        redis: daemon::redis::Settings::read(&document.redis, secrets)?,
        stream: document.audit.stream.clone(),
        stream_max_bytes: document.audit.stream_max_bytes,
        parameters,
    })
}
