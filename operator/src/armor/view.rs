//! The last report of every replica, by pool.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Deserialize;

/// What a pool's replicas should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool.
    pub pool: String,
    /// Hash of the configuration.
    pub revision: String,
    /// Hash of the sources of the copied credentials; `None` when there are none.
    pub credentials: Option<String>,
    /// Name and uid of the Secret with the admin token.
    pub admin_secret: (String, String),
    /// Servers in the configuration: uid and generation by name.
    pub servers: BTreeMap<String, (String, i64)>,
}

/// One replica's answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    /// The revision that it runs.
    pub revision: Option<String>,
    /// The credentials that it has read.
    pub credentials: Option<String>,
    /// Why it refused a newer configuration.
    pub error: Option<String>,
    /// Whether Redis takes its audit events.
    pub redis: bool,
    /// Whether the replica answered at all; else why not.
    pub unreachable: Option<String>,
    /// Its MCP servers by name.
    pub servers: BTreeMap<String, ServerReport>,
}

/// What Armor knows of one MCP server. The wire form is that of Armor's `/servers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerReport {
    /// Name of the McpServer.
    pub name: String,
    /// `Ready`, `Pending` or `Failed`.
    pub state: String,
    /// A stable word.
    #[serde(default)]
    pub reason: String,
    /// A sentence.
    #[serde(default)]
    pub message: String,
    /// Who the server says it is.
    #[serde(default)]
    pub server: Option<Identity>,
    /// Its tools.
    #[serde(default)]
    pub tools: Option<Tools>,
}

/// Name and version that a server gave in the handshake.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Protocol revision.
    pub protocol_version: String,
}

/// Count and digest of the tools of a server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Tools {
    /// How many.
    pub count: i32,
    /// Digest over their definitions.
    pub digest: String,
}

/// Reports of all pools of a scope.
#[derive(Default)]
pub struct ArmorView {
    pools: Mutex<HashMap<String, PoolView>>,
}

#[derive(Clone)]
pub(super) struct PoolView {
    pub(super) desired: Desired,
    /// When the desired state last changed.
    pub(super) since: Instant,
    pub(super) due: Instant,
    /// `None` until the replicas were looked at once.
    pub(super) replicas: Option<BTreeMap<String, Replica>>,
}

impl ArmorView {
    /// Says what the pool with this uid should run from now on; true when that is something else than before.
    pub fn want(&self, pool_uid: &str, desired: Desired) -> bool {
        let now = Instant::now();
        let mut pools = self.lock();
        match pools.get_mut(pool_uid) {
            Some(view) if view.desired == desired => return false,
            Some(view) => {
                view.desired = desired;
                view.since = now;
                view.due = now;
            }
            None => {
                pools.insert(pool_uid.to_owned(), PoolView { desired, since: now, due: now, replicas: None });
            }
        }
        true
    }

    /// Whether every replica runs a configuration with this version of a server; `None` while nobody has looked.
    pub fn is_programmed(&self, pool_uid: &str, server: &str, uid: &str, generation: i64) -> Option<bool> {
        let pools = self.lock();
        let view = pools.get(pool_uid)?;
        let replicas = view.replicas.as_ref()?;
        let rendered = view.desired.servers.get(server).is_some_and(|(u, g)| u == uid && *g == generation);
        Some(rendered && !replicas.is_empty() && replicas.values().all(|replica| replica.in_sync(&view.desired)))
    }

    /// Looks at the pool again at once, for example because a Pod changed.
    pub fn hurry(&self, pool_uid: &str) {
        if let Some(view) = self.lock().get_mut(pool_uid) {
            view.due = Instant::now();
        }
    }

    /// Forgets a pool that is gone.
    pub fn forget(&self, pool_uid: &str) {
        self.lock().remove(pool_uid);
    }

    /// The last report of each replica, by Pod name; `None` while nobody has looked, as after a restart.
    pub fn replicas(&self, pool_uid: &str) -> Option<BTreeMap<String, Replica>> {
        self.lock().get(pool_uid).and_then(|view| view.replicas.clone())
    }

    pub(super) fn due(&self, now: Instant) -> Vec<(String, PoolView)> {
        self.lock().iter().filter(|(_, view)| view.due <= now).map(|(uid, view)| (uid.clone(), view.clone())).collect()
    }

    /// Looks at the pool later, when it could not be looked at now.
    pub(super) fn postpone(&self, pool_uid: &str, due: Instant) {
        if let Some(view) = self.lock().get_mut(pool_uid) {
            view.due = due;
        }
    }

    /// Takes new reports; true when they say something else than the ones before.
    pub(super) fn report(
        &self,
        pool_uid: &str,
        replicas: BTreeMap<String, Replica>,
        looked_at: &Desired,
        due: Instant,
    ) -> bool {
        let mut pools = self.lock();
        let Some(view) = pools.get_mut(pool_uid) else { return false };
        if view.desired == *looked_at {
            view.due = due;
        }
        let changed = view.replicas.as_ref() != Some(&replicas);
        view.replicas = Some(replicas);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, PoolView>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    /// Whether it runs what it should.
    pub fn in_sync(&self, desired: &Desired) -> bool {
        self.unreachable.is_none()
            && self.revision.as_ref() == Some(&desired.revision)
            && (desired.credentials.is_none() || self.credentials == desired.credentials)
    }
}
