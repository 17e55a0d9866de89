//! The last report of every replica, by pool.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::mcp_server::Fault;

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
    /// Servers for which there is no room beside the others, by name.
    pub left_out: BTreeMap<String, Fault>,
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
    /// `None` while somebody looks.
    pub(super) due: Option<Instant>,
    /// Since when nothing has changed: neither what is desired, nor what the replicas say.
    pub(super) quiet_since: Instant,
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
                view.quiet_since = now;
                view.due = Some(now);
            }
            None => {
                let view = PoolView { desired, since: now, due: Some(now), quiet_since: now, replicas: None };
                pools.insert(pool_uid.to_owned(), view);
            }
        }
        true
    }

    /// The same for a pool of which nothing is known, as after a restart; whatever is known stays.
    pub fn want_if_unknown(&self, pool_uid: &str, desired: &Desired) {
        if !self.lock().contains_key(pool_uid) {
            self.want(pool_uid, desired.clone());
        }
    }

    /// Whether every replica that answers runs a configuration with this version of a server; `None` while nobody has
    /// looked. One that does not answer, on a node that died or with an image that can not be pulled, serves nobody.
    pub fn is_programmed(&self, pool_uid: &str, server: &str, uid: &str, generation: i64) -> Option<bool> {
        let pools = self.lock();
        let view = pools.get(pool_uid)?;
        let replicas = view.replicas.as_ref()?;
        let rendered = view.desired.servers.get(server).is_some_and(|(u, g)| u == uid && *g == generation);
        let mut answering = replicas.values().filter(|replica| replica.unreachable.is_none()).peekable();
        Some(rendered && answering.peek().is_some() && answering.all(|replica| replica.in_sync(&view.desired)))
    }

    /// Why there is no room for a server in the pool, if so.
    pub fn left_out(&self, pool_uid: &str, server: &str) -> Option<Fault> {
        self.lock().get(pool_uid)?.desired.left_out.get(server).cloned()
    }

    /// Looks at the pool again at once, for example because a Pod changed.
    pub fn hurry(&self, pool_uid: &str) {
        if let Some(view) = self.lock().get_mut(pool_uid) {
            view.quiet_since = Instant::now();
            view.due = Some(view.quiet_since);
        }
    }

    /// Whether some pool's gateways have the admin token of this Secret.
    pub(super) fn has_admin_secret(&self, uid: &str) -> bool {
        self.lock().values().any(|view| view.desired.admin_secret.1 == uid)
    }

    /// Forgets a pool that is gone.
    pub fn forget(&self, pool_uid: &str) {
        self.lock().remove(pool_uid);
    }

    /// The last report of each replica, by Pod name; `None` while nobody has looked, as after a restart.
    pub fn replicas(&self, pool_uid: &str) -> Option<BTreeMap<String, Replica>> {
        self.lock().get(pool_uid).and_then(|view| view.replicas.clone())
    }

    /// Pools that are due, at most so many, the longest due first. Each is looked at by whoever took it until it reports.
    pub(super) fn take_due(&self, now: Instant, most: usize) -> Vec<(String, PoolView)> {
        let mut pools = self.lock();
        let mut due: Vec<_> = pools.iter_mut().filter(|(_, view)| view.due.is_some_and(|due| due <= now)).collect();
        due.sort_by_key(|(_, view)| view.due);
        let take = |(uid, view): (&String, &mut PoolView)| {
            view.due = None;
            (uid.clone(), view.clone())
        };
        due.into_iter().take(most).map(take).collect()
    }

    /// Looks at the pool later, when it could not be looked at now.
    pub(super) fn postpone(&self, pool_uid: &str, pause: Duration) {
        if let Some(view) = self.lock().get_mut(pool_uid) {
            view.due.get_or_insert_with(|| Instant::now() + pause);
        }
    }

    /// Takes new reports; true when they say something else than the ones before. `pause` gives the time until the next
    /// look from the time for which nothing has changed.
    pub(super) fn report(
        &self,
        pool_uid: &str,
        replicas: BTreeMap<String, Replica>,
        looked_at: &Desired,
        pause: impl Fn(Duration) -> Duration,
    ) -> bool {
        let mut pools = self.lock();
        let Some(view) = pools.get_mut(pool_uid) else { return false };
        let now = Instant::now();
        let changed = view.replicas.as_ref() != Some(&replicas);
        view.replicas = Some(replicas);
        if changed {
            view.quiet_since = now;
        }
        // Whoever asked for a look meanwhile gets it.
        if view.desired == *looked_at {
            view.due.get_or_insert(now + pause(now.duration_since(view.quiet_since)));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(revision: &str, unreachable: bool) -> Replica {
        let unreachable = unreachable.then(|| "no answer".to_owned());
        Replica { revision: Some(revision.into()), unreachable, ..Replica::default() }
    }

    fn view(replicas: &[(&str, Replica)]) -> ArmorView {
        let view = ArmorView::default();
        let desired = Desired {
            namespace: "gateways".into(),
            pool: "prod".into(),
            revision: "new".into(),
            credentials: None,
            admin_secret: ("prod-armor-admin".into(), "secret-uid".into()),
            servers: BTreeMap::from([("crm".to_owned(), ("crm-uid".to_owned(), 3))]),
            left_out: BTreeMap::new(),
        };
        view.want("pool-uid", desired.clone());
        let replicas = replicas.iter().map(|(name, replica)| ((*name).to_owned(), replica.clone())).collect();
        view.report("pool-uid", replicas, &desired, |_| Duration::ZERO);
        view
    }

    #[test]
    fn gateways_that_do_not_answer_take_nothing_from_those_that_do() {
        let (good, late, dead) = (replica("new", false), replica("old", false), replica("new", true));
        for (replicas, programmed) in [
            (&[("a", good.clone()), ("b", dead.clone())][..], true),
            (&[("a", good.clone()), ("b", late.clone())], false),
            (&[("b", dead)], false),
            (&[], false),
            (&[("a", good)], true),
        ] {
            let view = view(replicas);
            assert_eq!(view.is_programmed("pool-uid", "crm", "crm-uid", 3), Some(programmed), "{replicas:?}");
            assert_eq!(view.is_programmed("pool-uid", "crm", "crm-uid", 4), Some(false), "another generation");
        }
        assert_eq!(ArmorView::default().is_programmed("pool-uid", "crm", "crm-uid", 3), None);
    }

    #[test]
    fn a_pool_is_looked_at_by_one_at_a_time_and_the_longest_due_first() {
        let view = view(&[("a", replica("new", false))]);
        let taken = view.take_due(Instant::now(), 1);
        assert_eq!(taken.len(), 1);
        assert!(view.take_due(Instant::now(), 1).is_empty());
        view.postpone("pool-uid", Duration::ZERO);
        assert_eq!(view.take_due(Instant::now(), 1).len(), 1);
        view.hurry("pool-uid");
        assert!(view.take_due(Instant::now(), 0).is_empty());
    }
}
