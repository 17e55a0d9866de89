//! What the Deployments of a pool have in common.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector,
    PodTemplateSpec, Probe, ProjectedVolumeSource, SecretProjection, ServiceAccount, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::child::{Child, Kind, Prepared};
use crate::names::{child_name, labels, selector};
use crate::pool::validate::ValidatedPool;

/// A rollout that makes no progress for this long has failed.
const PROGRESS_DEADLINE_SECONDS: i32 = 120;

/// Metadata of a child of the pool.
pub(super) fn meta(pool: &ValidatedPool, suffix: &str, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(child_name(&pool.name, suffix)),
        labels: Some(labels(component, &pool.name, &pool.name)),
        ..ObjectMeta::default()
    }
}

/// An identity without a token.
pub(super) fn account(pool: &ValidatedPool, component: &str) -> Result<Child<Prepared>, serde_json::Error> {
    let object = ServiceAccount {
        metadata: meta(pool, component, component),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Child::desired(Kind::ServiceAccount, &pool.owner, &object)
}

/// A Deployment that never has fewer Pods than wanted while it rolls.
pub(super) fn deployment(
    pool: &ValidatedPool,
    component: &str,
    replicas: i32,
    template: PodTemplateSpec,
) -> Result<Child<Prepared>, serde_json::Error> {
    let object = Deployment {
        metadata: meta(pool, component, component),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            selector: LabelSelector { match_labels: Some(selector(component, &pool.name)), match_expressions: None },
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

pub(super) fn disruption_budget(
    pool: &ValidatedPool,
    component: &str,
    max_unavailable: IntOrString,
) -> Result<Child<Prepared>, serde_json::Error> {
    let object = PodDisruptionBudget {
        metadata: meta(pool, component, component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(max_unavailable),
            selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::clone(&selector(component, &pool.name))),
                match_expressions: None,
            }),
            // A Pod that is not ready serves nobody, and must not keep its node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    Child::desired(Kind::PodDisruptionBudget, &pool.owner, &object)
}

/// Arguments of `run`, for directories below `/etc/NAME`.
pub(super) fn arguments(name: &str) -> Vec<String> {
    let (config, secrets) = (format!("/etc/{name}/config"), format!("/etc/{name}/secrets"));
    ["run", "--config-dir", &config, "--secrets-dir", &secrets, "--log-format", "json"].map(str::to_owned).to_vec()
}

/// A probe of the admin port.
pub(super) fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
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
    }
}

pub(super) fn named_port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// `POD_NAME`.
pub(super) fn pod_name() -> EnvVar {
    EnvVar {
        name: "POD_NAME".into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: Some("v1".into()), field_path: "metadata.name".into() }),
            ..EnvVarSource::default()
        }),
        value: None,
    }
}

/// Both directories below `/etc/NAME`.
pub(super) fn mounts(name: &str) -> Vec<VolumeMount> {
    let mount = |volume: &str| VolumeMount {
        name: volume.into(),
        mount_path: format!("/etc/{name}/{volume}"),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    vec![mount("config"), mount("secrets")]
}

/// What the directories hold: a ConfigMap of the component's name, and Secrets.
pub(super) fn volumes(pool: &ValidatedPool, component: &str, sources: Vec<VolumeProjection>) -> Vec<Volume> {
    vec![
        Volume {
            name: "config".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: child_name(&pool.name, component),
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

/// One key of a Secret that the operator generates, as a file.
pub(super) fn generated_file(pool: &ValidatedPool, suffix: &str, key: &str, path: &str) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: child_name(&pool.name, suffix),
            items: Some(vec![KeyToPath { key: key.into(), path: path.into(), mode: None }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

/// Every key of the Secret of copies. Always there, so that the first credential of a pool needs no new Pods.
pub(super) fn copied_files(pool: &ValidatedPool, suffix: &str) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection { name: child_name(&pool.name, suffix), items: None, optional: Some(true) }),
        ..VolumeProjection::default()
    }
}
