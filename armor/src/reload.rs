//! From a change of the directories to another running configuration.
//!
//! Promises: read, checked, then swapped whole; one that is refused leaves the last good one running and says
//! why, once. Owns what a configuration starts: the listener, the probes, the audit writer. Must never stop
//! because of what a file says.

use std::collections::HashMap;
use std::sync::Arc;

use daemon::logging::LogControl;
use daemon::watch::Directories;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, AuditConfig, CallRef, ConfigSource};
use crate::config::load::CONFIG_FILE;
use crate::config::{ConfigError, Document, Files, Loaded};
use crate::gateway::{ConfigState, Gateway, Running, audit_settings};
use crate::process::{Options, Stops, serve_mcp};
use crate::session::ended;
use crate::session::store::close;
use crate::upstream::handshake::{Handshake, State};
use crate::upstream::probe::{self, Observer};
use crate::upstream::{Fault, Server};

/// The task.
pub(crate) struct Reloader {
    gateway: Arc<Gateway>,
    options: Options,
    logs: LogControl,
    stops: Stops,
    probes: JoinSet<()>,
    probed: HashMap<[u8; 32], CancellationToken>,
    listener: JoinSet<()>,
    /// The tasks that speak with the pool's Redis.
    redis: JoinSet<()>,
}

impl Reloader {
    pub(crate) fn new(gateway: Arc<Gateway>, options: Options, logs: LogControl, stops: Stops) -> Self {
        Self {
            gateway,
            options,
            logs,
            stops,
            probes: JoinSet::new(),
            probed: HashMap::new(),
            listener: JoinSet::new(),
            redis: JoinSet::new(),
        }
    }

    /// Runs until told to stop; then waits for everything that it started.
    pub(crate) async fn run(mut self, mut directories: Directories) {
        loop {
            let changed = tokio::select! {
                () = self.stops.background.cancelled() => break,
                changed = directories.changed() => changed,
            };
            if let Err(error) = changed.and_then(|files| self.apply(files)) {
                self.refuse(&error);
            }
            while self.probes.try_join_next().is_some() {}
        }
        while self.listener.join_next().await.is_some() {}
        // What still waits in a session is told before the trail ends.
        close(&self.gateway.sessions.take_all()).await;
        for cancel in self.probed.values() {
            cancel.cancel();
        }
        while self.probes.join_next().await.is_some() {}
        self.stops.audit.cancel();
        while self.redis.join_next().await.is_some() {}
    }

    fn refuse(&self, error: &ConfigError) {
        self.gateway.metrics.reload("refused");
        let running = self.gateway.running().is_some();
        tracing::error!(%error, running, "configuration refused");
        self.gateway.set_config_state(ConfigState { synchronized: false, last_error: Some(error.to_string()) });
    }

    fn apply(&mut self, files: Files) -> Result<(), ConfigError> {
        let loaded = Loaded::parse(files)?;
        let previous = self.gateway.running();
        let settings = audit_settings(&loaded)?;
        let invalid = |error| ConfigError::field(CONFIG_FILE, "redis", error);
        let needs_restart = previous.as_ref().and_then(|p| needs_restart(&p.document, &loaded.document));
        let audit = |document: &Document| match &previous {
            Some(running) => {
                running.audit.reconfigure(settings).map_err(invalid)?;
                Ok(running.audit.clone())
            }
            None => self.start_audit(document, settings).map_err(invalid),
        };
        let running = Arc::new(Running::build(loaded, audit, previous.as_deref())?);
        self.gateway.swap(running.clone());
        self.logs.set(running.document.log_level);
        self.probe(&running);
        if self.listener.is_empty() {
            self.listener.spawn(serve_mcp(self.gateway.clone(), running.document.listener.port, self.stops.clone()));
        }
        self.gateway.metrics.reload("accepted");
        self.gateway.set_config_state(ConfigState {
            synchronized: needs_restart.is_none(),
            last_error: needs_restart
                .map(|field| format!("{field} can not be changed without a restart: the old value stays in use")),
        });
        tracing::info!(
            revision = running.document.revision,
            servers = running.servers.len(),
            needs_restart,
            "configuration in use"
        );
        running.audit.config_change(
            &running.document.revision,
            previous.as_ref().map(|p| p.document.revision.as_str()),
            &format!("sha256:{}", hex::encode(running.digest)),
            ConfigSource::Directory,
        );
        Ok(())
    }

    fn start_audit(
        &mut self,
        document: &Document,
        settings: crate::audit::AuditSettings,
    ) -> Result<Audit, crate::audit::AuditError> {
        let config = AuditConfig {
            pool_id: document.pool.id.clone(),
            pool_name: document.pool.name.clone(),
            pool_namespace: document.pool.namespace.clone(),
            cluster_id: document.cluster_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.options.instance.clone(),
            settings,
        };
        let (audit, task) = Audit::start(config, self.stops.audit.clone())?;
        self.redis.spawn(task);
        let stop = self.stops.background.clone();
        self.redis.spawn(ended::share(self.gateway.clone(), document.pool.id.clone(), audit.redis(), stop));
        self.gateway.metrics.with_registry(|registry| audit.metrics().register(registry));
        Ok(audit)
    }

    /// Starts the probes of new servers and ends those of servers that are gone or changed.
    fn probe(&mut self, running: &Arc<Running>) {
        let wanted: HashMap<[u8; 32], &Arc<Server>> = running.servers.iter().map(|s| (s.fingerprint, s)).collect();
        self.probed.retain(|fingerprint, cancel| {
            let keep = wanted.contains_key(fingerprint);
            if !keep {
                cancel.cancel();
            }
            keep
        });
        let observer: Arc<dyn Observer> =
            Arc::new(Watcher { gateway: self.gateway.clone(), audit: running.audit.clone() });
        for (fingerprint, server) in wanted {
            self.probed.entry(fingerprint).or_insert_with(|| {
                let cancel = CancellationToken::new();
                self.gateway.metrics.server_ready(server.name.as_ref(), false);
                self.probes.spawn(probe::run(server.clone(), cancel.clone(), observer.clone()));
                cancel
            });
        }
        for name in self.gateway.metrics.servers() {
            if running.server(&name).is_none() {
                self.gateway.metrics.forget_server(&name);
            }
        }
    }
}

/// The field that differs and cannot be changed in a running process.
fn needs_restart(old: &Document, new: &Document) -> Option<&'static str> {
    if old.listener.port != new.listener.port {
        return Some("listener.port");
    }
    if old.admin.port != new.admin.port {
        return Some("admin.port");
    }
    // Every event of this process carries them.
    (old.pool != new.pool || old.cluster_id != new.cluster_id).then_some("pool")
}

struct Watcher {
    gateway: Arc<Gateway>,
    audit: Audit,
}

impl Observer for Watcher {
    fn probed(&self, server: &Server, before: &Handshake, now: &Handshake, fault: Option<&Fault>) {
        let name = server.name.as_ref();
        let ready = now.state == State::Ready;
        self.gateway.metrics.server_ready(name, ready);
        if let Some(fault) = fault {
            self.audit.upstream_error(name, fault.cause(), fault.status, CallRef::default());
        }
        // Only what changed is news.
        if before.state != now.state || before.reason != now.reason {
            let eras = now.revisions().join(", ");
            if ready {
                tracing::info!(server = name, eras, "server ready");
            } else {
                tracing::warn!(server = name, reason = now.reason, message = %now.message, "server failed");
            }
        }
    }
}
