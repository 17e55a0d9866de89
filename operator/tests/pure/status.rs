//! Status as a function of what was applied and seen: phases, conditions, hysteresis.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::pool::{Phase, PoolStatus};
use crds::status::Condition;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use operator::armor::{Desired, Replica, ServerReport};
use operator::child::{ApplyError, ChildKey, ChildStore, Kind, WorkloadStatus};
use operator::exporter;
use operator::pool::status::{Built, Facts, Live, refused, settled};
use operator::pool::{build, configuration, observe, validate::validate};
use operator::world::{ClusterFacts, PodState};
use serde_json::{Value, json};

use crate::input::{Input, settings};

const POOL: &str = "kind: Pool\nmetadata: {name: prod}\nspec: {armor: {replicas: 2}, auth: {anonymous: true}}\n---\nkind: McpServer\nmetadata: {name: crm}\nspec: {poolRef: {name: prod}, remote: {url: 'https://crm.example.com/mcp'}}";

/// What the cluster shows of a pool.
#[derive(Clone)]
pub struct Seen {
    pub armor_ready: i32,
    pub armor_updated: i32,
    pub redis_ready: i32,
    pub redis_pods: i32,
    pub conditions: Value,
    pub pods: Vec<PodState>,
    pub replicas: Option<BTreeMap<String, Replica>>,
    pub default_class: Option<bool>,
    pub exporter_ready: i32,
    pub exporter_conditions: Value,
    pub exporters: Option<BTreeMap<String, exporter::Replica>>,
    pub pod_monitors_served: bool,
    pub errors: Vec<ApplyError>,
    pub at: i64,
}

pub fn healthy() -> Seen {
    Seen {
        armor_ready: 2,
        armor_updated: 2,
        redis_ready: 1,
        redis_pods: 1,
        conditions: json!([]),
        pods: Vec::new(),
        replicas: Some(BTreeMap::from([("prod-armor-a".to_owned(), replica(None, "Ready"))])),
        default_class: Some(true),
        exporter_ready: 1,
        exporter_conditions: json!([]),
        exporters: Some(BTreeMap::from([("prod-exporter-a".to_owned(), exporting("current", None))])),
        pod_monitors_served: true,
        errors: Vec::new(),
        at: 0,
    }
}

fn replica(revision: Option<&str>, state: &str) -> Replica {
    let report = ServerReport {
        name: "crm".into(),
        state: state.into(),
        reason: "Connected".into(),
        message: String::new(),
        server: None,
        tools: None,
    };
    Replica {
        revision: Some(revision.unwrap_or("current").to_owned()),
        servers: BTreeMap::from([("crm".to_owned(), report)]),
        ..Replica::default()
    }
}

fn pod(component: &str, trouble: (&str, &str)) -> PodState {
    PodState {
        uid: "pod-uid".into(),
        component: component.into(),
        instance: "prod".into(),
        pool: "prod".into(),
        ip: None,
        deleting: false,
        ended: false,
        ready: false,
        trouble: Some((trouble.0.into(), trouble.1.into())),
        nudge: None,
    }
}

const EXTERNAL: &str = "kind: Pool\nmetadata: {name: prod}\nspec: {armor: {replicas: 2}, auth: {anonymous: true}, redis: {external: {urlSecretRef: {name: r, key: u}}}}\n---\nkind: Secret\nmetadata: {name: r}\nstringData: {u: 'redis://r.example.com'}";

/// One round of the real status code; the second value is the timer.
pub fn round(previous: &PoolStatus, seen: &Seen) -> (PoolStatus, Option<Duration>) {
    round_of(POOL, previous, seen)
}

fn round_of(yaml: &str, previous: &PoolStatus, seen: &Seen) -> (PoolStatus, Option<Duration>) {
    let input = Input::parse(yaml);
    let pool = &input.pools[0];
    let mut outcome = validate(pool, &input.dereference(pool)).unwrap();
    outcome.pool.exports.extend(input.exports());
    let mut configuration = configuration(&outcome.pool, None).unwrap();
    configuration.revision = "current".into();
    let settings = settings();
    let resources = build(&outcome.pool, &configuration, &settings).unwrap();
    let store = ChildStore::default();
    for mut live in resources.manifests() {
        let mut conditions = &seen.conditions;
        let (kind, ready, replicas) = match live["kind"].as_str().unwrap() {
            "Deployment" if live["metadata"]["name"] == "prod-exporter" => {
                conditions = &seen.exporter_conditions;
                (Kind::Deployment, seen.exporter_ready, 1)
            }
            "Deployment" => (Kind::Deployment, seen.armor_ready, 2),
            "StatefulSet" => (Kind::StatefulSet, seen.redis_ready, seen.redis_pods),
            _ => continue,
        };
        live["metadata"]["uid"] = json!("live-uid");
        live["metadata"]["generation"] = json!(1);
        live["status"] = json!({"observedGeneration": 1, "replicas": replicas, "readyReplicas": ready, "updatedReplicas": seen.armor_updated, "conditions": conditions});
        let name = live["metadata"]["name"].as_str().unwrap().to_owned();
        store.take(kind, Event::Apply((ChildKey { kind, namespace: "gateways".into(), name }, live)));
    }
    let applied = observe(resources, &store);
    let desired = desired();
    let exporter_desired = exporter_desired();
    let facts = Facts {
        pool,
        previous,
        now: Time(Timestamp::from_second(1_800_000_000 + seen.at).unwrap()),
        settings: &settings,
        cluster: &ClusterFacts::default(),
    };
    let built = Built {
        outcome: &outcome,
        configuration: &configuration,
        resources: &applied,
        errors: &seen.errors,
        replicas: seen.replicas.as_ref(),
        desired: Some(&desired),
        exporters: seen.exporters.as_ref().filter(|_| applied.exporter.is_some()).map(|e| (&exporter_desired, e)),
        pod_monitors_served: seen.pod_monitors_served,
        pods: &seen.pods,
        default_storage_class: seen.default_class,
    };
    settled(&facts, &built)
}

fn desired() -> Desired {
    Desired {
        namespace: "gateways".into(),
        pool: "prod".into(),
        revision: "current".into(),
        credentials: None,
        admin_secret: ("prod-armor-admin".into(), "uid".into()),
        servers: BTreeMap::new(),
        left_out: BTreeMap::new(),
    }
}

fn exporter_desired() -> exporter::Desired {
    exporter::Desired {
        namespace: "gateways".into(),
        pool: "prod".into(),
        revision: Some("current".into()),
        credentials: None,
        admin_secret: ("prod-exporter-admin".into(), "uid".into()),
        exports: BTreeMap::new(),
    }
}

fn exporting(revision: &str, error: Option<&str>) -> exporter::Replica {
    let answer = ::exporter::api::wire::Destinations {
        revision: revision.into(),
        last_error: error.map(str::to_owned),
        ..Default::default()
    };
    exporter::Replica(Ok(answer.into()))
}

fn condition<'a>(status: &'a PoolStatus, type_: &str) -> &'a Condition {
    status.conditions.iter().find(|c| c.type_ == type_).unwrap_or_else(|| panic!("condition {type_}"))
}

#[test]
fn a_pool_is_active_when_redis_and_armor_are_ready() {
    let (status, timer) = round(&PoolStatus::default(), &healthy());
    assert_eq!((status.phase, timer), (Some(Phase::Active), None));
    assert_eq!((status.display.armor.as_str(), status.display.servers.as_str()), ("2/2", "1/1"));
    assert_eq!(condition(&status, "ConfigInSync").status, "True");
    assert_eq!(condition(&status, "Ready").status, "True");
    assert_eq!(status.endpoint.as_deref(), Some("http://prod-armor.gateways.svc/mcp"));
}

#[test]
fn the_same_facts_give_the_same_status() {
    let (first, _) = round(&PoolStatus::default(), &healthy());
    let (second, _) = round(&first, &Seen { at: 3600, ..healthy() });
    assert_eq!(first, second);
}

#[test]
fn a_pool_that_was_never_ready_is_pending_and_says_why() {
    let seen = Seen {
        armor_ready: 0,
        pods: vec![pod("armor", ("ImagePullFailed", "image armor:test can not be pulled"))],
        ..healthy()
    };
    let (status, _) = round(&PoolStatus::default(), &seen);
    assert_eq!(status.phase, Some(Phase::Pending));
    assert_eq!(status.reason.as_deref(), Some("ImagePullFailed"));
    assert!(status.message.unwrap().contains("armor:test"));
}

#[test]
fn a_blip_shorter_than_the_grace_period_keeps_the_phase_and_a_longer_one_is_an_error() {
    let (active, _) = round(&PoolStatus::default(), &healthy());
    let down = Seen { armor_ready: 1, ..healthy() };
    let (blip, timer) = round(&active, &Seen { at: 10, ..down.clone() });
    assert_eq!(blip.phase, Some(Phase::Active));
    assert_eq!(timer, Some(Duration::from_secs(30)));
    let (later, timer) = round(&blip, &Seen { at: 30, ..down.clone() });
    assert_eq!((later.phase, timer), (Some(Phase::Active), Some(Duration::from_secs(10))));
    let (broken, timer) = round(&later, &Seen { at: 40, ..down });
    assert_eq!((broken.phase, timer), (Some(Phase::Error), None));
    assert_eq!(broken.reason.as_deref(), Some("NotReady"));
    let (healed, _) = round(&broken, &Seen { at: 50, ..healthy() });
    assert_eq!(healed.phase, Some(Phase::Active));
}

#[test]
fn a_rollout_past_its_deadline_is_an_error_although_the_old_replicas_serve() {
    let (active, _) = round(&PoolStatus::default(), &healthy());
    let stuck = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    let seen = Seen {
        armor_updated: 1,
        conditions: stuck,
        pods: vec![pod("armor", ("ImagePullFailed", "image armor:bad can not be pulled"))],
        ..healthy()
    };
    let (status, _) = round(&active, &seen);
    assert_eq!(status.phase, Some(Phase::Error));
    assert_eq!(status.reason.as_deref(), Some("RolloutStuck"));
    assert!(status.message.as_ref().unwrap().contains("armor:bad"));
    assert_eq!(condition(&status, "Ready").status, "True");
}

#[test]
fn an_unhealthy_server_lowers_the_count_and_never_the_pool() {
    let replicas = BTreeMap::from([("prod-armor-a".to_owned(), replica(None, "Failed"))]);
    let (status, _) = round(&PoolStatus::default(), &Seen { replicas: Some(replicas), ..healthy() });
    assert_eq!(status.phase, Some(Phase::Active));
    assert_eq!(status.display.servers, "0/1");
}

#[test]
fn a_replica_with_another_revision_is_not_in_sync_and_a_refusal_is_quoted() {
    let mut late = replica(Some("older"), "Ready");
    let seen =
        |replica: &Replica| Seen { replicas: Some(BTreeMap::from([("a".to_owned(), replica.clone())])), ..healthy() };
    let (status, _) = round(&PoolStatus::default(), &seen(&late));
    assert_eq!(
        (condition(&status, "ConfigInSync").status.as_str(), condition(&status, "ConfigInSync").reason.as_str()),
        ("False", "Reloading")
    );
    late.error = Some("line 3: unknown field `x`".into());
    let (status, _) = round(&status, &seen(&late));
    assert_eq!(condition(&status, "ConfigInSync").reason, "Rejected");
    assert!(condition(&status, "ConfigInSync").message.contains("line 3"));
}

#[test]
fn a_restarted_operator_unsays_nothing_before_it_has_looked() {
    let (active, _) = round(&PoolStatus::default(), &healthy());
    let (restarted, _) = round(&active, &Seen { replicas: None, at: 100, ..healthy() });
    assert_eq!(active, restarted);
}

#[test]
fn without_a_storage_class_redis_says_which_field_to_set() {
    let seen = Seen { redis_ready: 0, default_class: Some(false), ..healthy() };
    let (status, _) = round(&PoolStatus::default(), &seen);
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Pending), Some("NoStorageClass")));
    assert!(status.message.unwrap().contains("spec.redis.managed.persistence.storageClassName"));
}

#[test]
fn pods_that_a_quota_refuses_are_named_as_that() {
    let failure =
        json!([{"type": "ReplicaFailure", "status": "True", "message": "pods \"x\" is forbidden: exceeded quota: q"}]);
    let (status, _) = round(&PoolStatus::default(), &Seen { armor_ready: 0, conditions: failure, ..healthy() });
    assert_eq!(condition(&status, "ArmorReady").reason, "QuotaExceeded");
}

#[test]
fn a_refused_spec_is_an_error_and_keeps_what_is_known_of_the_running_pool() {
    let (active, _) = round(&PoolStatus::default(), &healthy());
    let status = refuse(&active, &Live::default());
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Error), Some("SecretNotFound")));
    assert_eq!(status.display, active.display);
    assert_eq!(condition(&status, "ArmorReady"), condition(&active, "ArmorReady"));
}

#[test]
fn a_refused_spec_does_not_freeze_what_is_said_of_the_running_pool() {
    let (active, _) = round(&PoolStatus::default(), &healthy());
    let armor =
        WorkloadStatus { current: true, desired: 2, replicas: 2, ready: 0, updated: 2, ..WorkloadStatus::default() };
    let redis =
        WorkloadStatus { current: true, desired: 1, replicas: 1, ready: 1, updated: 1, ..WorkloadStatus::default() };
    let pods = vec![pod("armor", ("CrashLooping", "container armor exits again and again"))];
    let live = Live { armor, redis: Some(redis), exporter: None, pods, desired: Some(desired()) };
    let status = refuse(&active, &live);
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Error), Some("SecretNotFound")));
    assert_eq!((status.display.armor.as_str(), status.display.servers.as_str()), ("0/2", "1/1"));
    assert_eq!(condition(&status, "ArmorReady").reason, "CrashLooping");
    assert_eq!(condition(&status, "RedisReady"), condition(&active, "RedisReady"));
    let health: Vec<&str> = status.components.iter().map(|component| component.health.as_str()).collect();
    assert_eq!(health, ["Degraded", "Healthy"]);
}

#[test]
fn the_component_that_is_down_longest_decides_the_phase() {
    let (active, _) = round(&PoolStatus::default(), &healthy());
    let (blip, _) = round(&active, &Seen { redis_ready: 0, at: 10, ..healthy() });
    let (broken, _) = round(&blip, &Seen { redis_ready: 0, at: 60, ..healthy() });
    assert_eq!(broken.phase, Some(Phase::Error));
    let (both, _) = round(&broken, &Seen { redis_ready: 0, armor_ready: 1, at: 62, ..healthy() });
    assert_eq!(both.phase, Some(Phase::Error));
}

#[test]
fn a_redis_without_a_pod_is_explained_after_a_while() {
    let nothing = Seen { redis_ready: 0, redis_pods: 0, ..healthy() };
    let (first, timer) = round(&PoolStatus::default(), &nothing);
    assert_eq!((condition(&first, "RedisReady").reason.as_str(), timer), ("NotReady", Some(Duration::from_secs(30))));
    let (later, timer) = round(&first, &Seen { at: 30, ..nothing });
    assert_eq!((condition(&later, "RedisReady").reason.as_str(), timer), ("PodsRefused", None));
    assert!(condition(&later, "RedisReady").message.contains("kubectl describe statefulset prod-redis"));
}

/// The status of a pool whose spec names a Secret that is gone.
fn refuse(active: &PoolStatus, live: &Live) -> PoolStatus {
    let input = Input::parse(
        "kind: Pool\nmetadata: {name: prod}\nspec: {auth: {anonymous: true}, armor: {tls: {secretRef: {name: gone}}}}",
    );
    let pool = &input.pools[0];
    let Err(fault) = validate(pool, &input.dereference(pool)) else {
        panic!("the Secret {} is missing", pool.name_any())
    };
    let settings = settings();
    let facts = Facts {
        pool,
        previous: active,
        now: Time(Timestamp::from_second(1_800_000_000).unwrap()),
        settings: &settings,
        cluster: &ClusterFacts::default(),
    };
    refused(&facts, &fault, live)
}

#[test]
fn an_existing_redis_is_ready_when_a_gateway_can_use_it() {
    let up = Replica { redis: true, ..replica(None, "Ready") };
    let down = replica(None, "Ready");
    let seen = |list: &[&Replica]| {
        let replicas = list.iter().enumerate().map(|(n, replica)| (n.to_string(), (*replica).clone())).collect();
        Seen { replicas: Some(replicas), ..healthy() }
    };
    let (status, _) = round_of(EXTERNAL, &PoolStatus::default(), &seen(&[&down, &up]));
    assert_eq!((status.phase, condition(&status, "RedisReady").reason.as_str()), (Some(Phase::Active), "External"));
    let (status, _) = round_of(EXTERNAL, &PoolStatus::default(), &seen(&[&down]));
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Pending), Some("RedisUnreachable")));
    assert!(status.message.unwrap().contains("urlSecretRef"));
}

const EXPORTED: &str = "kind: Pool\nmetadata: {name: prod}\nspec: {armor: {replicas: 2}, auth: {anonymous: true}, metrics: {podMonitor: true}}\n---\nkind: Programmed\nmetadata: {name: logs}\nexport: {name: logs, destinations: [{name: lines, platform: {stdout: {}}}]}";

#[test]
fn a_pool_with_an_export_is_ready_when_its_exporter_is() {
    let (status, _) = round_of(EXPORTED, &PoolStatus::default(), &healthy());
    assert_eq!((status.phase, condition(&status, "ExporterReady").status.as_str()), (Some(Phase::Active), "True"));
    let names: Vec<&str> = status.components.iter().map(|component| component.name.as_str()).collect();
    assert_eq!(names, ["armor", "redis", "exporter"]);
    assert_eq!((status.components[2].desired, status.components[2].ready), (1, 1));
    assert_eq!(status.components[2].image.as_deref(), Some("exporter:test"));

    let (waiting, _) = round_of(EXPORTED, &PoolStatus::default(), &Seen { exporter_ready: 0, ..healthy() });
    assert_eq!(
        (waiting.phase, condition(&waiting, "ExporterReady").reason.as_str()),
        (Some(Phase::Pending), "NotReady")
    );
    assert_eq!(condition(&waiting, "Ready").status, "False");

    let pods = vec![pod("exporter", ("ImagePullFailed", "image exporter:test can not be pulled"))];
    let down = Seen { exporter_ready: 0, pods, ..healthy() };
    let (blip, timer) = round_of(EXPORTED, &status, &Seen { at: 10, ..down.clone() });
    assert_eq!((blip.phase, timer), (Some(Phase::Active), Some(Duration::from_secs(30))));
    let (broken, _) = round_of(EXPORTED, &blip, &Seen { at: 40, ..down });
    assert_eq!((broken.phase, broken.reason.as_deref()), (Some(Phase::Error), Some("ImagePullFailed")));
    assert!(broken.message.unwrap().contains("exporter:test"));
}

#[test]
fn without_an_export_nothing_is_said_of_an_exporter() {
    let (with, _) = round_of(EXPORTED, &PoolStatus::default(), &healthy());
    let (without, _) = round(&with, &Seen { exporter_ready: 0, ..healthy() });
    assert_eq!(without.phase, Some(Phase::Active));
    assert!(without.conditions.iter().all(|c| !["ExporterReady", "Monitored"].contains(&c.type_.as_str())));
    assert!(without.components.iter().all(|component| component.name != "exporter"));
}

#[test]
fn an_exporter_whose_rollout_is_past_its_deadline_is_an_error() {
    let stuck = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    let seen = Seen { exporter_conditions: stuck, ..healthy() };
    let (status, _) = round_of(EXPORTED, &PoolStatus::default(), &seen);
    assert_eq!((status.phase, status.reason.as_deref()), (Some(Phase::Error), Some("RolloutStuck")));
    assert!(status.message.unwrap().contains("the exporter"));
}

#[test]
fn the_configuration_is_in_sync_when_the_exporters_run_it_too() {
    let seen = |replica: exporter::Replica| {
        let seen = Seen { exporters: Some(BTreeMap::from([("a".to_owned(), replica)])), ..healthy() };
        let (status, _) = round_of(EXPORTED, &PoolStatus::default(), &seen);
        let condition = condition(&status, "ConfigInSync");
        (condition.status.clone(), condition.reason.clone(), condition.message.clone())
    };
    assert_eq!(seen(exporting("current", None)).0, "True");
    assert_eq!(seen(exporting("older", None)).1, "Reloading");
    assert_eq!(seen(exporter::Replica(Err("no answer in time".into()))).1, "Unreachable");
    let (status, reason, message) = seen(exporting("older", Some("line 3: unknown field `x`")));
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Rejected"));
    assert!(message.contains("exporter") && message.contains("line 3"), "{message}");
}

#[test]
fn a_refused_spec_does_not_freeze_what_is_said_of_the_exporter() {
    let (active, _) = round_of(EXPORTED, &PoolStatus::default(), &healthy());
    let exporter = WorkloadStatus { current: true, desired: 1, replicas: 1, ..WorkloadStatus::default() };
    let live = Live { exporter: Some((exporter, exporter_desired())), ..Live::default() };
    let status = refuse(&active, &live);
    assert_eq!(condition(&status, "ExporterReady").reason, "NotReady");
    let component = status.components.iter().find(|component| component.name == "exporter").unwrap();
    assert_eq!((component.ready, component.health.as_str()), (0, "Degraded"));
    let gone = refuse(&active, &Live::default());
    assert!(gone.components.iter().all(|component| component.name != "exporter"));
}

#[test]
fn a_cluster_without_pod_monitors_is_named_and_takes_nothing_from_the_pool() {
    let (status, _) = round_of(EXPORTED, &PoolStatus::default(), &healthy());
    assert_eq!(condition(&status, "Monitored").status, "True");
    let (status, _) = round_of(EXPORTED, &status, &Seen { pod_monitors_served: false, ..healthy() });
    assert_eq!((status.phase, condition(&status, "Ready").status.as_str()), (Some(Phase::Active), "True"));
    assert_eq!(condition(&status, "Monitored").reason, "PodMonitorUnavailable");
    assert!(condition(&status, "Monitored").message.contains("spec.metrics.podMonitor"));

    let key = ChildKey { kind: Kind::PodMonitor, namespace: "gateways".into(), name: "prod-armor".into() };
    let errors = vec![ApplyError::NameConflict(key)];
    let (status, _) = round_of(EXPORTED, &status, &Seen { errors, ..healthy() });
    assert_eq!((status.phase, condition(&status, "Accepted").status.as_str()), (Some(Phase::Active), "True"));
    assert_eq!(condition(&status, "Monitored").reason, "NameConflict");
}
