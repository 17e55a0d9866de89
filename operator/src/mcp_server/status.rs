//! What an McpServer says of itself. Pure: the clock comes in as an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::McpServer;
use crds::mcp_server::{McpServerStatus, ServerInfo, ToolsStatus};
use crds::status::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::build::ServerResources;
use super::health::{Health, health};
use super::validate::Fault;
use crate::armor::{Replica, ServerReport};
use crate::child::{Applied, ApplyError};
use crate::conditions::{Conditions, Problem};
use crate::pool::status::{GRACE, workload_condition};

/// Everything that a status is computed from.
pub struct Facts<'a> {
    /// The server.
    pub server: &'a McpServer,
    /// The newest status that is known.
    pub previous: &'a McpServerStatus,
    /// The time of this reconcile.
    pub now: Time,
    /// What keeps the server out of the configuration.
    pub fault: Option<&'a Fault>,
    /// Children, for a workload.
    pub resources: Option<&'a ServerResources<Applied>>,
    /// Children that could not be applied.
    pub errors: &'a [ApplyError],
    /// What keeps its Pods from starting.
    pub trouble: Option<Problem>,
    /// Reports of the pool's gateways; `None` while nobody has looked yet.
    pub replicas: Option<&'a BTreeMap<String, Replica>>,
    /// Whether every gateway runs a configuration with this generation; `None` while nobody has looked.
    pub programmed: Option<bool>,
    /// URL of the pool.
    pub endpoint: Option<String>,
}

/// The status, and when a timer may change it.
pub fn status(facts: &Facts<'_>) -> (McpServerStatus, Option<Duration>) {
    let mut conditions =
        Conditions::new(&facts.previous.conditions, facts.server.metadata.generation, facts.now.clone());
    let blocking = facts.errors.iter().find(|error| !error.is_transient());
    let not_applied = blocking.map(|error| Problem::new(error.reason(), error.to_string()));
    let (refused, unresolved) = match facts.fault {
        Some(Fault::NotAccepted(problem)) => (Some(problem.clone()), None),
        Some(Fault::Unresolved(problem)) => (None, Some(problem.clone())),
        None => (None, None),
    };
    let refused = refused.or(not_applied);
    conditions.set_outcome("Accepted", refused.as_ref(), "Accepted", "The spec is valid and its pool exists.");
    match (&unresolved, &facts.fault) {
        (None, Some(Fault::NotAccepted(_))) => conditions.keep("ResolvedRefs"),
        (problem, _) => {
            conditions.set_outcome("ResolvedRefs", problem.as_ref(), "Resolved", "Every reference was found.")
        }
    }
    let (Some(replicas), Some(programmed)) = (facts.replicas, facts.programmed) else {
        return (unseen(facts, conditions), None);
    };
    let name = facts.server.metadata.name.as_deref().unwrap_or_default();
    let verdict = match health(name, replicas) {
        // What the gateways say is of the server as it was before.
        _ if !programmed => Health::NotProgrammed,
        verdict => verdict,
    };
    if programmed && facts.fault.is_none() {
        conditions.set(
            "Programmed",
            Some(true),
            "Programmed",
            "The pool's gateways have the server in their configuration.",
        );
    } else {
        let message = "The pool's gateways do not run a configuration with this version of the server.";
        conditions.set("Programmed", Some(false), "NotProgrammed", message);
    }
    let timer = ready(facts, &mut conditions, &verdict);
    let seen = match &verdict {
        Health::Ready(report) => Some(*report),
        _ => None,
    };
    (finish(facts, conditions, seen), timer)
}

/// The status while the gateways were not asked yet: a restarted operator must not unsay what it knew before.
fn unseen(facts: &Facts<'_>, mut conditions: Conditions<'_>) -> McpServerStatus {
    match facts.endpoint {
        Some(_) => conditions.keep("Programmed"),
        None => {
            conditions.set("Programmed", Some(false), "NotProgrammed", "There is no pool that could have the server.")
        }
    }
    match conditions.first_untrue(&["Accepted", "ResolvedRefs"]).cloned() {
        Some(cause) => conditions.set("Ready", Some(false), &cause.reason, cause.message),
        None if conditions.previous("Ready").is_some_and(|ready| ready.status == "True") => conditions.keep("Ready"),
        None => match workload_problem(facts) {
            Some(problem) => conditions.set("Ready", Some(false), problem.reason, problem.message),
            None => conditions.keep("Ready"),
        },
    }
    finish(facts, conditions, None)
}

fn finish(facts: &Facts<'_>, conditions: Conditions<'_>, seen: Option<&ServerReport>) -> McpServerStatus {
    let previous = facts.previous;
    let server = seen.and_then(|report| report.server.as_ref()).map(|server| ServerInfo {
        name: server.name.clone(),
        version: server.version.clone(),
        protocol_version: server.protocol_version.clone(),
    });
    let tools = seen
        .and_then(|report| report.tools.as_ref())
        .map(|tools| ToolsStatus { count: tools.count, digest: tools.digest.clone() });
    // Kept while the server is away: what it was last is more than nothing.
    let (server, tools) = (server.or_else(|| previous.server.clone()), tools.or_else(|| previous.tools.clone()));
    let conditions = conditions.finish();
    let is_failing = |all: &[Condition]| all.iter().any(|c| c.type_ == "Ready" && c.reason == "Failing");
    // While it fails this is when it began to, whatever else is said of it meanwhile.
    let unchanged = is_failing(&conditions) && is_failing(&previous.conditions)
        || server == previous.server && tools == previous.tools && conditions == previous.conditions;
    McpServerStatus {
        observed_generation: facts.server.metadata.generation,
        url: facts.endpoint.clone(),
        last_probe_time: if unchanged { previous.last_probe_time.clone() } else { Some(facts.now.clone()) },
        server,
        tools,
        conditions,
    }
}

/// Sets `Ready`. A server that was ready stays so through a failure shorter than the grace period.
fn ready(facts: &Facts<'_>, conditions: &mut Conditions<'_>, verdict: &Health<'_>) -> Option<Duration> {
    if let Some(condition) = conditions.first_untrue(&["Accepted", "ResolvedRefs"]).cloned() {
        conditions.set("Ready", Some(false), &condition.reason, condition.message);
        return None;
    }
    let failure = match verdict {
        Health::Ready(_) => {
            conditions.set(
                "Ready",
                Some(true),
                "Connected",
                "The pool's gateways did the MCP handshake with the server.",
            );
            return None;
        }
        Health::Failed(report) => Problem::new(known_reason(&report.reason), report.message.clone()),
        Health::Pending => Problem::new("Connecting", "The pool's gateways are doing the MCP handshake."),
        Health::NotProgrammed => {
            Problem::new("NotProgrammed", "No gateway of the pool has the server in its configuration yet.")
        }
    };
    let failure = workload_problem(facts).unwrap_or(failure);
    let before = conditions.previous("Ready");
    let was_ready = before.is_some_and(|condition| condition.status == "True");
    let failing_since = before.filter(|condition| condition.reason == "Failing");
    let same_generation = before.is_some_and(|c| c.observed_generation == facts.server.metadata.generation);
    if was_ready && same_generation {
        // The start of a blip is kept as the time of the last status change, in `lastProbeTime`.
        let since = failing_since.and(facts.previous.last_probe_time.as_ref()).unwrap_or(&facts.now);
        let elapsed = Duration::try_from(facts.now.0.duration_since(since.0)).unwrap_or_default();
        if elapsed < GRACE {
            let message =
                format!("The server was ready and has failed for less than {} s: {}", GRACE.as_secs(), failure.message);
            conditions.set("Ready", Some(true), "Failing", message);
            return Some(GRACE - elapsed);
        }
    }
    conditions.set("Ready", Some(false), failure.reason, failure.message);
    None
}

fn workload_problem(facts: &Facts<'_>) -> Option<Problem> {
    let resources = facts.resources?;
    let workload = resources.deployment.workload();
    let empty = [];
    let mut scratch = Conditions::new(&empty, None, facts.now.clone());
    let desired = facts.server.spec.workload.as_ref().and_then(|workload| workload.replicas).unwrap_or(1);
    if desired == 0 {
        return Some(Problem::new("ScaledToZero", "spec.workload.replicas is 0: raise it"));
    }
    workload_condition(&mut scratch, "Workload", "The server", &workload, desired, facts.trouble.clone());
    let condition = scratch.get("Workload").filter(|condition| condition.status != "True")?;
    // The gateways' own words say more than that some Pod is not ready.
    if condition.reason == "NotReady" && workload.ready > 0 {
        return None;
    }
    let reason =
        ["ImagePullFailed", "CrashLooping", "ContainerRefused", "Unschedulable", "QuotaExceeded", "PodsRefused"]
            .into_iter()
            .find(|reason| *reason == condition.reason)
            .unwrap_or("WorkloadNotReady");
    Some(Problem::new(reason, condition.message.clone()))
}

/// Armor's reasons, as fixed words.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 8] = [
        "OutboundAuthFailed",
        "ConnectFailed",
        "Timeout",
        "TlsFailed",
        "HttpError",
        "ProtocolError",
        "CredentialMissing",
        "PrefixCollision",
    ];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("HandshakeFailed")
}
