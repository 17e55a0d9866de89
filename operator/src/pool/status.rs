//! What a Pool says of itself. Pure: the clock comes in as an argument.

mod components;
mod reports;

use std::collections::BTreeMap;
use std::time::Duration;

use crds::Pool;
use crds::pool::{Phase, PoolStatus};
use crds::status::{Component, Display, McpServerCounts, Versions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::build::{Configuration, PoolResources};
use super::validate::{Outcome, Redis};
use crate::armor::{Desired, Replica};
use crate::child::{Applied, ApplyError, Kind, WorkloadStatus};
use crate::conditions::{Conditions, Problem};
use crate::exporter;
use crate::mcp_server::{Fault, Health, health};
use crate::names::{child_name, selector};
use crate::settings::Settings;
use crate::world::{ClusterFacts, PodState};
use components::{components, elapsed, judged};
use reports::{config_in_sync, external_redis, monitored};

/// A component may be unready for this long before the pool is in Error: a rolled node is no incident.
pub const GRACE: Duration = Duration::from_secs(30);

/// Everything that a status is computed from.
pub struct Facts<'a> {
    /// The Pool.
    pub pool: &'a Pool,
    /// The newest status that is known.
    pub previous: &'a PoolStatus,
    /// The time of this reconcile.
    pub now: Time,
    /// Flags of the process.
    pub settings: &'a Settings,
    /// About the cluster.
    pub cluster: &'a ClusterFacts,
}

/// What was built and applied.
pub struct Built<'a> {
    /// The validated pool and what was left out of it.
    pub outcome: &'a Outcome,
    /// What Armor should run.
    pub configuration: &'a Configuration,
    /// What was applied.
    pub resources: &'a PoolResources<Applied>,
    /// What could not be.
    pub errors: &'a [ApplyError],
    /// Reports of the gateways; `None` while nobody has looked yet.
    pub replicas: Option<&'a BTreeMap<String, Replica>>,
    /// What they should run.
    pub desired: Option<&'a Desired>,
    /// What the exporters should run, and their answers; `None` where there are none, or nobody has looked yet.
    pub exporters: Option<(&'a exporter::Desired, &'a BTreeMap<String, exporter::Replica>)>,
    /// Whether the cluster has the kind PodMonitor for the operator.
    pub pod_monitors_served: bool,
    /// Pods of the pool.
    pub pods: &'a [PodState],
    /// Whether a volume without a class finds one.
    pub default_storage_class: Option<bool>,
}

/// What there is of a pool whose spec is not applied.
#[derive(Debug, Default)]
pub struct Live {
    /// The Deployment of the gateways.
    pub armor: WorkloadStatus,
    /// The StatefulSet of Redis, where the operator runs one.
    pub redis: Option<WorkloadStatus>,
    /// The Deployment of the exporter, where there is one, and what it should run.
    pub exporter: Option<(WorkloadStatus, exporter::Desired)>,
    /// Pods of the pool.
    pub pods: Vec<PodState>,
    /// What the gateways should run; `None` where nothing was ever made.
    pub desired: Option<Desired>,
}

/// The status of a pool that can not be built: what runs goes on, and the status says why nothing changes.
pub fn refused(facts: &Facts<'_>, fault: &Fault, live: &Live) -> PoolStatus {
    let previous = facts.previous;
    let mut conditions = Conditions::new(&previous.conditions, facts.pool.metadata.generation, facts.now.clone());
    let problem = fault.problem();
    match fault {
        Fault::NotAccepted(problem) => {
            conditions.set_outcome("Accepted", Some(problem), "", "");
            conditions.keep("ResolvedRefs");
        }
        Fault::Unresolved(problem) => {
            conditions.set("Accepted", Some(true), "Accepted", "The spec is valid.");
            conditions.set_outcome("ResolvedRefs", Some(problem), "", "");
        }
    }
    // Of a pool that never was there is nothing to say.
    let replicas = live.armor.desired;
    let trouble = |component: &str| trouble(&live.pods, component);
    match &live.redis {
        Some(redis) => workload_condition(&mut conditions, "RedisReady", "Redis", redis, 1, trouble("redis")),
        None => conditions.keep("RedisReady"),
    }
    match live.desired {
        Some(_) => workload_condition(&mut conditions, "ArmorReady", "Armor", &live.armor, replicas, trouble("armor")),
        None => conditions.keep("ArmorReady"),
    }
    let exporter = live.exporter.as_ref().map(|(status, _)| status);
    if let Some(status) = exporter {
        workload_condition(&mut conditions, "ExporterReady", "Exporter", status, status.desired, trouble("exporter"));
    }
    conditions.keep("ConfigInSync");
    conditions.keep("AuthorizationOpen");
    if conditions.previous("Monitored").is_some() {
        conditions.keep("Monitored");
    }
    let there = |component: &&Component| component.name != "exporter" || exporter.is_some();
    let components = previous.components.iter().filter(there).map(|component| {
        let (type_, desired, ready) = match component.name.as_str() {
            "armor" => ("ArmorReady", replicas, live.armor.ready),
            "exporter" => {
                let (desired, ready) = exporter.map_or((component.desired, component.ready), |e| (e.desired, e.ready));
                ("ExporterReady", desired, ready)
            }
            _ => ("RedisReady", component.desired, live.redis.as_ref().map_or(component.ready, |redis| redis.ready)),
        };
        let is_ready = conditions.get(type_).is_some_and(|condition| condition.status == "True");
        let image = component.image.clone();
        judged(&component.name, image, Some(component), is_ready, (desired, ready), &facts.now)
    });
    let components: Vec<Component> = components.collect();
    let mut display = previous.display.clone();
    if live.desired.is_some() {
        display.armor = format!("{}/{replicas}", live.armor.ready.min(replicas));
    }
    conditions.set_outcome("Ready", Some(problem), "", "");
    PoolStatus {
        observed_generation: facts.pool.metadata.generation,
        phase: Some(Phase::Error),
        reason: Some(problem.reason.to_owned()),
        message: Some(problem.message.clone()),
        replicas: if live.desired.is_some() { live.armor.replicas } else { previous.replicas },
        display,
        components,
        versions: versions(facts),
        conditions: conditions.finish(),
        ..previous.clone()
    }
}

/// The status of a pool that was built. The second value: when a timer may change it.
pub fn settled(facts: &Facts<'_>, built: &Built<'_>) -> (PoolStatus, Option<Duration>) {
    let pool = &built.outcome.pool;
    let mut conditions = Conditions::new(&facts.previous.conditions, facts.pool.metadata.generation, facts.now.clone());

    let monitoring = |error: &&ApplyError| error.key().kind == Kind::PodMonitor;
    let blocking = built.errors.iter().find(|error| !error.is_transient() && !monitoring(error));
    let not_applied = blocking.map(|error| Problem::new(error.reason(), error.to_string()));
    let accepted = if facts.pool.spec.paused { "Paused" } else { "Accepted" };
    let said = if facts.pool.spec.paused {
        "spec.paused is true: the operator reports and changes nothing."
    } else {
        "The spec is valid."
    };
    conditions.set_outcome("Accepted", not_applied.as_ref(), accepted, said);
    conditions.set_outcome("ResolvedRefs", built.outcome.partial.as_ref(), "Resolved", "Every reference was found.");

    let mut redis = built.resources.redis.as_ref().map(|redis| redis.stateful_set.workload());
    let unmade = redis.as_mut().and_then(|redis| unmade(facts, built, redis));
    match &redis {
        None => external_redis(&mut conditions, built, pool.replicas),
        Some(status) => workload_condition(&mut conditions, "RedisReady", "Redis", status, 1, redis_trouble(built)),
    }
    let armor = built.resources.deployment.workload();
    workload_condition(&mut conditions, "ArmorReady", "Armor", &armor, pool.replicas, trouble(built.pods, "armor"));
    let exporter = built.resources.exporter.as_ref().map(|exporter| exporter.deployment.workload());
    if let Some(status) = &exporter {
        let (replicas, trouble) = (pool.exporter_replicas, trouble(built.pods, "exporter"));
        workload_condition(&mut conditions, "ExporterReady", "Exporter", status, replicas, trouble);
    }
    config_in_sync(&mut conditions, built, pool.replicas);
    let open = "Every caller who is let in may call every tool of the pool.";
    conditions.set("AuthorizationOpen", Some(true), "NoPersonas", open);

    if pool.pod_monitors {
        let failed = built.errors.iter().find(|error| !error.is_transient() && monitoring(error));
        monitored(&mut conditions, built.pod_monitors_served, failed);
    }

    let components = components(facts, built, &conditions, redis.as_ref(), &armor, exporter.as_ref());
    let degraded = components.iter().filter(|component| component.health == "Degraded");
    // The one that is away longest decides.
    let since = degraded.map(|component| elapsed(&component.since, &facts.now)).max();
    let needed = ["Accepted", "ResolvedRefs", "RedisReady", "ArmorReady", "ExporterReady"];
    let untrue = conditions.first_untrue(&needed).cloned();
    match &untrue {
        None => conditions.set("Ready", Some(true), "Ready", "The pool takes calls."),
        Some(cause) => {
            let (reason, message) = (cause.reason.clone(), cause.message.clone());
            conditions.set("Ready", Some(false), &reason, message);
        }
    }
    let broken_spec = conditions.first_untrue(&["Accepted", "ResolvedRefs"]).is_some();
    let is_stuck = |status: &WorkloadStatus| status.deadline_exceeded && status.current;
    let stuck = match &exporter {
        _ if is_stuck(&armor) => Some(("Armor", "armor")),
        Some(exporter) if is_stuck(exporter) => Some(("the exporter", "exporter")),
        _ => None,
    };
    let never_ready = components.iter().any(|component| component.health == "Progressing");
    let phase = if broken_spec || stuck.is_some() || since.is_some_and(|since| since >= GRACE) {
        Phase::Error
    } else if never_ready {
        Phase::Pending
    } else {
        Phase::Active
    };
    let (reason, message) = match (&untrue, stuck) {
        (Some(cause), _) => (cause.reason.clone(), cause.message.clone()),
        (None, Some(component)) => ("RolloutStuck".to_owned(), rollout_stuck(built, component)),
        (None, None) => ("Ready".to_owned(), "The pool takes calls.".to_owned()),
    };
    let counts = counts(facts, built);
    let status = PoolStatus {
        observed_generation: facts.pool.metadata.generation,
        phase: Some(phase),
        reason: Some(reason),
        message: Some(message),
        endpoint: Some(endpoint(facts.pool)),
        replicas: armor.replicas,
        selector: Some(selector_text(&pool.name)),
        display: Display {
            armor: format!("{}/{}", armor.ready.min(pool.replicas), pool.replicas),
            servers: format!("{}/{}", counts.healthy, counts.desired),
        },
        mcp_servers: counts,
        components,
        versions: versions(facts),
        config_hash: Some(built.configuration.revision.clone()),
        conditions: conditions.finish(),
    };
    let rest = since.filter(|since| *since < GRACE).map(|since| GRACE - since);
    (status, [rest, unmade].into_iter().flatten().min())
}

/// A StatefulSet does not say why it makes no Pod; that it has made none for a while is a cause. Gives the time until then.
fn unmade(facts: &Facts<'_>, built: &Built<'_>, redis: &mut WorkloadStatus) -> Option<Duration> {
    let has_pod = built.pods.iter().any(|pod| pod.component.as_ref() == "redis");
    if !redis.current || redis.replicas > 0 || has_pod {
        return None;
    }
    let before = facts.previous.components.iter().find(|component| component.name == "redis");
    let waited = before.filter(|before| before.health != "Healthy").map(|before| elapsed(&before.since, &facts.now));
    let left = GRACE.saturating_sub(waited.unwrap_or_default());
    if left.is_zero() {
        let name = child_name(&built.outcome.pool.name, "redis");
        redis.create_failure = Some(format!(
            "`kubectl describe statefulset {name}` says why, for example a quota of the namespace for Pods or storage, a \
             LimitRange, or a PriorityClass that does not exist"
        ));
        return None;
    }
    Some(left)
}

fn versions(facts: &Facts<'_>) -> Versions {
    Versions { operator: env!("CARGO_PKG_VERSION").to_owned(), kubernetes: facts.cluster.version.clone() }
}

/// URL that MCP clients inside the cluster use.
pub fn endpoint(pool: &Pool) -> String {
    let armor = &pool.spec.armor;
    let (scheme, standard) = if armor.tls.is_some() { ("https", 443) } else { ("http", 80) };
    let port = armor.service.port.filter(|port| *port != standard).map_or_else(String::new, |port| format!(":{port}"));
    format!(
        "{scheme}://{}.{}.svc{port}/mcp",
        child_name(&pool.name_any(), "armor"),
        pool.namespace().unwrap_or_default()
    )
}

fn selector_text(pool: &str) -> String {
    selector("armor", pool).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn counts(facts: &Facts<'_>, built: &Built<'_>) -> McpServerCounts {
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let servers = &built.outcome.pool.servers;
    let healthy = built.replicas.map(|replicas| {
        servers.iter().filter(|server| matches!(health(&server.name, replicas), Health::Ready(_))).count()
    });
    McpServerCounts {
        desired: number(servers.len() + built.outcome.refused.len()),
        deployed: number(servers.len()),
        healthy: healthy.map_or(facts.previous.mcp_servers.healthy, number),
    }
}

/// What keeps the Pods of a component from starting.
pub(crate) fn trouble(pods: &[PodState], component: &str) -> Option<Problem> {
    let mut found: Vec<&(Box<str>, Box<str>)> = pods
        .iter()
        .filter(|pod| pod.component.as_ref() == component && pod.is_wanted() && !pod.ready)
        .filter_map(|pod| pod.trouble.as_ref())
        .collect();
    found.sort();
    let (reason, sentence) = found.first()?;
    Some(Problem::new(known_reason(reason), sentence.to_string()))
}

fn known_reason(reason: &str) -> &'static str {
    match reason {
        "ImagePullFailed" => "ImagePullFailed",
        "CrashLooping" => "CrashLooping",
        "ContainerRefused" => "ContainerRefused",
        _ => "Unschedulable",
    }
}

fn redis_trouble(built: &Built<'_>) -> Option<Problem> {
    let wants_default = matches!(&built.outcome.pool.redis, Redis::Managed { spec, .. }
        if spec.persistence.enabled && spec.persistence.storage_class_name.is_none());
    if wants_default && built.default_storage_class == Some(false) {
        let message = "the cluster has no default StorageClass for the volume of Redis: name one in \
                       spec.redis.managed.persistence.storageClassName, or set persistence.enabled: false";
        return Some(Problem::new("NoStorageClass", message));
    }
    trouble(built.pods, "redis")
}

/// The condition of a Deployment or StatefulSet: ready, or why not.
pub(crate) fn workload_condition(
    conditions: &mut Conditions<'_>,
    type_: &str,
    component: &str,
    status: &WorkloadStatus,
    desired: i32,
    trouble: Option<Problem>,
) {
    let ready = status.ready.min(desired);
    // With nothing to run and nothing running there is nothing to wait for.
    let idle = desired == 0 && status.replicas == 0;
    if idle || status.current && ready >= desired {
        let (reason, message) = match (desired, status.updated >= desired) {
            (0, _) => ("ScaledToZero", format!("{component} is scaled to 0 replicas.")),
            (_, true) => ("Ready", format!("{component} is ready.")),
            (_, false) => match &trouble {
                Some(problem) => {
                    (problem.reason, format!("{component} is ready; its rollout is not: {}.", problem.message))
                }
                None => ("RollingOut", format!("{component} is ready, and a new version of it rolls out.")),
            },
        };
        return conditions.set(type_, Some(true), reason, message);
    }
    if let Some(failure) = &status.create_failure {
        let reason = if failure.contains("exceeded quota") { "QuotaExceeded" } else { "PodsRefused" };
        return conditions.set(
            type_,
            Some(false),
            reason,
            format!("Pods of {component} can not be created: {failure}"),
        );
    }
    match trouble {
        Some(problem) => {
            conditions.set(type_, Some(false), problem.reason, format!("{component}: {}", problem.message))
        }
        None => conditions.set(
            type_,
            Some(false),
            "NotReady",
            format!("{component} has {ready} of {desired} replicas ready."),
        ),
    }
}

fn rollout_stuck(built: &Built<'_>, (name, component): (&str, &str)) -> String {
    let why = trouble(built.pods, component).map_or_else(String::new, |problem| format!(": {}", problem.message));
    format!("the rollout of {name} makes no progress{why}. The replicas of before go on; correct the spec")
}

/// The status of a Pool that the operator can not read.
pub fn malformed(generation: Option<i64>, previous: &PoolStatus, error: &str, now: Time) -> PoolStatus {
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    let problem = Problem::new(
        "Malformed",
        format!("the object does not fit its schema: {error}: correct it with `kubectl edit`"),
    );
    conditions.set_outcome("Accepted", Some(&problem), "", "");
    conditions.set_outcome("Ready", Some(&problem), "", "");
    conditions.keep_rest();
    PoolStatus {
        observed_generation: generation,
        phase: Some(Phase::Error),
        reason: Some(problem.reason.to_owned()),
        message: Some(problem.message),
        conditions: conditions.finish(),
        ..previous.clone()
    }
}
