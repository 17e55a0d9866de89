//! A managed Redis: Service and StatefulSet.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction, KeyToPath, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, Probe, SecretKeySelector, SecretVolumeSource, Service, ServicePort, ServiceSpec, Volume,
    VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use std::collections::BTreeMap;

use super::parts::meta;
use super::port;
use crate::child::{Child, Kind, Prepared};
use crate::names::{child_name, labels, selector};
use crate::pool::validate::ValidatedPool;
use crate::settings::Settings;
use crate::workload::{pod_template, resources};
use crds::pool::ManagedRedis;

/// Name of the template of the volume claim: the claim is `<this>-<StatefulSet>-0`.
pub(crate) const CLAIM: &str = "data";
/// Time to write the append-only file's tail.
const GRACE_SECONDS: i64 = 30;

pub(super) fn service(pool: &ValidatedPool) -> Result<Child<Prepared>, serde_json::Error> {
    let object = Service {
        metadata: meta(pool, "redis", "redis"),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector("redis", &pool.name)),
            ports: Some(vec![ServicePort {
                name: Some("redis".into()),
                port: port::REDIS,
                target_port: Some(IntOrString::String("redis".into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    Child::desired(Kind::Service, &pool.owner, &object)
}

pub(super) fn stateful_set(
    pool: &ValidatedPool,
    spec: &ManagedRedis,
    volume: &str,
    settings: &Settings,
) -> Result<Child<Prepared>, serde_json::Error> {
    let selector = selector("redis", &pool.name);
    let mut volumes = vec![Volume {
        name: "auth".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(child_name(&pool.name, "redis")),
            items: Some(vec![KeyToPath { key: "auth.conf".into(), path: "auth.conf".into(), mode: None }]),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }];
    if !spec.persistence.enabled {
        volumes.push(Volume {
            name: "data".into(),
            empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity(volume.into())), medium: None }),
            ..Volume::default()
        });
    }
    let template = pod_template(
        &labels("redis", &pool.name, &pool.name),
        &selector,
        &spec.pod,
        &child_name(&pool.name, "redis"),
        container(pool, spec, settings),
        volumes,
        GRACE_SECONDS,
    );
    let object = StatefulSet {
        metadata: meta(pool, "redis", "redis"),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            revision_history_limit: Some(3),
            service_name: Some(child_name(&pool.name, "redis")),
            pod_management_policy: Some("Parallel".into()),
            selector: LabelSelector { match_labels: Some(selector), match_expressions: None },
            template,
            volume_claim_templates: spec.persistence.enabled.then(|| vec![claim(pool, spec, volume)]),
            persistent_volume_claim_retention_policy: spec.persistence.enabled.then(|| {
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(if spec.persistence.retain { "Retain" } else { "Delete" }.into()),
                    when_scaled: Some("Retain".into()),
                }
            }),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    };
    let mut body = serde_json::to_value(&object)?;
    // The list is atomic, and the API server completes its items: written out, a comparison finds no difference.
    for claim in body.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten() {
        claim["apiVersion"] = "v1".into();
        claim["kind"] = "PersistentVolumeClaim".into();
        claim["status"] = serde_json::json!({"phase": "Pending"});
    }
    Child::desired(Kind::StatefulSet, &pool.owner, &body)
}

fn claim(pool: &ValidatedPool, spec: &ManagedRedis, volume: &str) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(CLAIM.into()),
            labels: Some(labels("redis", &pool.name, &pool.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: spec.persistence.storage_class_name.clone(),
            volume_mode: Some("Filesystem".into()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(volume.into()))])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn container(pool: &ValidatedPool, spec: &ManagedRedis, settings: &Settings) -> Container {
    // Twice the stream: limits and sessions need room of their own, and Armor stops adding events at 80 %.
    let max_memory = pool.stream_max_bytes.saturating_mul(2);
    let arguments = [
        "/etc/redis/auth/auth.conf",
        "--port",
        "6379",
        "--dir",
        "/data",
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "",
        "--maxmemory",
        &max_memory.to_string(),
        "--maxmemory-policy",
        "noeviction",
    ];
    let probe = |period: i32, failures: i32| Probe {
        // The password comes from REDISCLI_AUTH; -e makes an error reply, such as LOADING, a failure.
        exec: Some(ExecAction { command: Some(["redis-cli", "-e", "ping"].map(str::to_owned).to_vec()) }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    };
    let request_mebibytes = (pool.stream_max_bytes >> 20) / 4 + 64;
    let limit_mebibytes = (max_memory >> 20) * 3 / 2 + 128;
    Container {
        name: "redis".into(),
        image: Some(spec.image.clone().unwrap_or_else(|| settings.redis_image.clone())),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        command: Some(vec!["redis-server".into()]),
        args: Some(arguments.map(str::to_owned).to_vec()),
        env: Some(vec![EnvVar {
            name: "REDISCLI_AUTH".into(),
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: child_name(&pool.name, "redis"),
                    key: "password".into(),
                    optional: None,
                }),
                ..EnvVarSource::default()
            }),
            value: None,
        }]),
        ports: Some(vec![ContainerPort {
            name: Some("redis".into()),
            container_port: port::REDIS,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources(
            spec.resources.as_ref(),
            &[("cpu", "50m".into()), ("memory", format!("{request_mebibytes}Mi"))],
            &[("memory", format!("{limit_mebibytes}Mi"))],
        )),
        volume_mounts: Some(vec![
            VolumeMount { name: "data".into(), mount_path: "/data".into(), ..VolumeMount::default() },
            VolumeMount {
                name: "auth".into(),
                mount_path: "/etc/redis/auth".into(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
        ]),
        startup_probe: Some(probe(1, 120)),
        liveness_probe: Some(probe(15, 4)),
        readiness_probe: Some(probe(5, 2)),
        ..Container::default()
    }
}
