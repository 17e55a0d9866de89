//! The gateways: ServiceAccounts, Service, Deployment, PodDisruptionBudget.

use k8s_openapi::api::core::v1::{
    Container, Lifecycle, LifecycleHandler, Service, ServicePort, ServiceSpec, SleepAction, Volume,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::parts::{
    account, arguments, copied_files, generated_file, meta, mounts, named_port, pod_name, probe, volumes as both,
};
use super::{parts, port};
use crate::child::{Child, Kind, Prepared};
use crate::names::{child_name, labels, selector};
use crate::pool::validate::{Redis, ValidatedPool};
use crate::settings::Settings;
use crate::workload::{pod_template, resources};

/// Armor drains for at most 25 s; the rest is for the pause before it and the audit tail after it.
const GRACE_SECONDS: i64 = 40;
/// Time for the endpoint's removal to reach every node before the gateway stops to listen.
const LAME_DUCK_SECONDS: i64 = 3;

pub(super) fn accounts(pool: &ValidatedPool) -> Result<Vec<Child<Prepared>>, serde_json::Error> {
    let mut accounts = Vec::new();
    if pool.armor.pod.service_account_name.is_none() {
        accounts.push(account(pool, "armor")?);
    }
    if matches!(&pool.redis, Redis::Managed { spec, .. } if spec.pod.service_account_name.is_none()) {
        accounts.push(account(pool, "redis")?);
    }
    Ok(accounts)
}

fn service_port(pool: &ValidatedPool) -> i32 {
    pool.armor.service.port.unwrap_or(if pool.armor.tls.is_some() { 443 } else { 80 })
}

pub(super) fn service(pool: &ValidatedPool) -> Result<Child<Prepared>, serde_json::Error> {
    let settings = &pool.armor.service;
    let mut metadata = meta(pool, "armor", "armor");
    metadata.annotations = Some(settings.annotations.clone()).filter(|annotations| !annotations.is_empty());
    let object = Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(settings.type_.as_str().into()),
            selector: Some(selector("armor", &pool.name)),
            ports: Some(vec![ServicePort {
                name: Some("mcp".into()),
                port: service_port(pool),
                target_port: Some(IntOrString::String("mcp".into())),
                protocol: Some("TCP".into()),
                app_protocol: Some(if pool.armor.tls.is_some() { "https" } else { "http" }.into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    Child::desired(Kind::Service, &pool.owner, &object)
}

pub(super) fn deployment(pool: &ValidatedPool, settings: &Settings) -> Result<Child<Prepared>, serde_json::Error> {
    let template = pod_template(
        &labels("armor", &pool.name, &pool.name),
        &selector("armor", &pool.name),
        &pool.armor.pod,
        &child_name(&pool.name, "armor"),
        container(pool, settings),
        volumes(pool),
        GRACE_SECONDS,
    );
    parts::deployment(pool, "armor", pool.replicas, template)
}

fn container(pool: &ValidatedPool, settings: &Settings) -> Container {
    Container {
        name: "armor".into(),
        image: Some(pool.armor.image.clone().unwrap_or_else(|| settings.armor_image.clone())),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(arguments("armor")),
        env: Some(vec![pod_name()]),
        ports: Some(vec![named_port("mcp", port::MCP), named_port("admin", port::ADMIN)]),
        resources: Some(resources(
            pool.armor.resources.as_ref(),
            &[("cpu", "100m".into()), ("memory", "64Mi".into())],
            &[("memory", "256Mi".into())],
        )),
        volume_mounts: Some(mounts("armor")),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LAME_DUCK_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        ..Container::default()
    }
}

fn volumes(pool: &ValidatedPool) -> Vec<Volume> {
    let mut sources = vec![generated_file(pool, "armor-admin", "token", "admin-token")];
    if !pool.own_hash_key {
        sources.push(generated_file(pool, "armor-hash-key", "key", "hash-key"));
    }
    if matches!(pool.redis, Redis::Managed { .. }) {
        sources.push(generated_file(pool, "redis", "password", "redis-password"));
    }
    sources.push(copied_files(pool, "armor-credentials"));
    both(pool, "armor", sources)
}

pub(super) fn disruption_budget(pool: &ValidatedPool) -> Result<Option<Child<Prepared>>, serde_json::Error> {
    if pool.replicas <= 1 {
        return Ok(None);
    }
    let budget = pool.armor.pod_disruption_budget.as_ref();
    let max_unavailable = budget.map_or(IntOrString::Int(1), |budget| budget.max_unavailable.clone());
    parts::disruption_budget(pool, "armor", max_unavailable).map(Some)
}
