//! The last report of every replica, by pool.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::admin::Rounds;
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
pub type ArmorView = Rounds<Desired, Replica>;

impl ArmorView {
    /// Whether every replica that answers runs a configuration with this version of a server; `None` while nobody has
    /// looked. One that does not answer, on a node that died or with an image that can not be pulled, serves nobody.
    pub fn is_programmed(&self, pool_uid: &str, server: &str, uid: &str, generation: i64) -> Option<bool> {
        self.with(pool_uid, |look| {
            let replicas = look.replicas.as_ref()?;
            let rendered = look.desired.servers.get(server).is_some_and(|(u, g)| u == uid && *g == generation);
            let mut answering = replicas.values().filter(|replica| replica.unreachable.is_none()).peekable();
            Some(rendered && answering.peek().is_some() && answering.all(|replica| replica.in_sync(&look.desired)))
        })?
    }

    /// Why there is no room for a server in the pool, if so.
    pub fn left_out(&self, pool_uid: &str, server: &str) -> Option<Fault> {
        self.with(pool_uid, |look| look.desired.left_out.get(server).cloned())?
    }

    /// Whether some pool's gateways have the admin token of this Secret.
    pub(super) fn has_admin_secret(&self, uid: &str) -> bool {
        self.any(|desired| desired.admin_secret.1 == uid)
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
    use std::time::Duration;

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
        view.report("pool-uid", replicas, &desired, |_, _| true, |_| Duration::ZERO);
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
}
