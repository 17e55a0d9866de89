//! The gateways: ServiceAccounts, Service, Deployment, PodDisruptionBudget.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, ProjectedVolumeSource, SecretProjection, Service, ServiceAccount,
    ServicePort, ServiceSpec, SleepAction, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::port;
use crate::child::{Child, Kind, Prepared};
use crate::names::{child_name, labels, selector};
use crate::pool::validate::{Redis, ValidatedPool};
use crate::settings::Settings;
use crate::workload::{pod_template, resources};

/// A rollout that makes no progress for this long has failed.
const PROGRESS_DEADLINE_SECONDS: i32 = 120;
/// Armor drains for at most 25 s; the rest is for the pause before it and the audit tail after it.
const GRACE_SECONDS: i64 = 40;
/// Time for the endpoint's removal to reach every node before the gateway stops to listen.
const LAME_DUCK_SECONDS: i64 = 3;

/// Metadata of a child of the pool.
pub(super) fn meta(pool: &ValidatedPool, suffix: &str, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(child_name(&pool.name, suffix)),
        labels: Some(labels(component, &pool.name, &pool.name)),
        ..ObjectMeta::default()
    }
}

pub(super) fn accounts(pool: &ValidatedPool) -> Result<Vec<Child<Prepared>>, serde_json::Error> {
    let account = |component: &str| ServiceAccount {
        metadata: meta(pool, component, component),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let mut accounts = Vec::new();
    if pool.armor.pod.service_account_name.is_none() {
        accounts.push(Child::desired(Kind::ServiceAccount, &pool.owner, &account("armor"))?);
    }
    if matches!(&pool.redis, Redis::Managed { spec, .. } if spec.pod.service_account_name.is_none()) {
        accounts.push(Child::desired(Kind::ServiceAccount, &pool.owner, &account("redis"))?);
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
    let selector = selector("armor", &pool.name);
    let container = container(pool, settings);
    let template = pod_template(
        &labels("armor", &pool.name, &pool.name),
        &selector,
        &pool.armor.pod,
        &child_name(&pool.name, "armor"),
        container,
        volumes(pool),
        GRACE_SECONDS,
    );
    let object = Deployment {
        metadata: meta(pool, "armor", "armor"),
        spec: Some(DeploymentSpec {
            replicas: Some(pool.replicas),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            selector: LabelSelector { match_labels: Some(selector), match_expressions: None },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    Child::desired(Kind::Deployment, &pool.owner, &object)
}

fn container(pool: &ValidatedPool, settings: &Settings) -> Container {
    let probe = |path: &str, period: i32, failures: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("admin".into()),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    let named_port = |name: &str, number: i32| ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    Container {
        name: "armor".into(),
        image: Some(pool.armor.image.clone().unwrap_or_else(|| settings.armor_image.clone())),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(
            ["run", "--config-dir", "/etc/armor/config", "--secrets-dir", "/etc/armor/secrets", "--log-format", "json"]
                .map(str::to_owned)
                .to_vec(),
        ),
        env: Some(vec![EnvVar {
            name: "POD_NAME".into(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".into()),
                    field_path: "metadata.name".into(),
                }),
                ..EnvVarSource::default()
            }),
            value: None,
        }]),
        ports: Some(vec![named_port("mcp", port::MCP), named_port("admin", port::ADMIN)]),
        resources: Some(resources(
            pool.armor.resources.as_ref(),
            &[("cpu", "100m".into()), ("memory", "64Mi".into())],
            &[("memory", "256Mi".into())],
        )),
        volume_mounts: Some(vec![mount("config", "/etc/armor/config"), mount("secrets", "/etc/armor/secrets")]),
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

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), read_only: Some(true), ..VolumeMount::default() }
}

fn volumes(pool: &ValidatedPool) -> Vec<Volume> {
    let secret = |suffix: &str, items: &[(&str, &str)], optional: bool| VolumeProjection {
        secret: Some(SecretProjection {
            name: child_name(&pool.name, suffix),
            items: (!items.is_empty()).then(|| {
                items
                    .iter()
                    .map(|(key, path)| KeyToPath { key: (*key).into(), path: (*path).into(), mode: None })
                    .collect()
            }),
            optional: optional.then_some(true),
        }),
        ..VolumeProjection::default()
    };
    let mut sources = vec![secret("armor-admin", &[("token", "admin-token")], false)];
    if !pool.own_hash_key {
        sources.push(secret("armor-hash-key", &[("key", "hash-key")], false));
    }
    if matches!(pool.redis, Redis::Managed { .. }) {
        sources.push(secret("redis", &[("password", "redis-password")], false));
    }
    // Always there, so that the first credential of a pool needs no new Pods.
    sources.push(secret("armor-credentials", &[], true));
    vec![
        Volume {
            name: "config".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: child_name(&pool.name, "armor"),
                default_mode: Some(0o444),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "secrets".into(),
            projected: Some(ProjectedVolumeSource { sources: Some(sources), default_mode: Some(0o440) }),
            ..Volume::default()
        },
    ]
}

pub(super) fn disruption_budget(pool: &ValidatedPool) -> Result<Option<Child<Prepared>>, serde_json::Error> {
    if pool.replicas <= 1 {
        return Ok(None);
    }
    let max_unavailable =
        pool.armor.pod_disruption_budget.as_ref().map_or(IntOrString::Int(1), |budget| budget.max_unavailable.clone());
    let object = PodDisruptionBudget {
        metadata: meta(pool, "armor", "armor"),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(max_unavailable),
            selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::clone(&selector("armor", &pool.name))),
                match_expressions: None,
            }),
            // A gateway that is not ready serves nobody, and must not keep its node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    Child::desired(Kind::PodDisruptionBudget, &pool.owner, &object).map(Some)
}
