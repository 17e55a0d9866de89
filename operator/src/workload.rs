//! Pod templates that pass the `restricted` Pod Security level, shared by every workload. Pure.

use std::collections::BTreeMap;

use crds::common::{PodSettings, Quantity as SpecQuantity, Resources};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, SecurityContext, Toleration, TopologySpreadConstraint, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::quantity;

/// User and group of every container that the operator makes.
pub const USER_ID: i64 = 65532;

/// A Pod template around `container`.
pub fn pod_template(
    labels: &BTreeMap<String, String>,
    selector: &BTreeMap<String, String>,
    settings: &PodSettings,
    service_account: &str,
    container: Container,
    volumes: Vec<Volume>,
    grace_seconds: i64,
) -> PodTemplateSpec {
    let mut all_labels = settings.labels.clone();
    all_labels.extend(labels.clone());
    let custom_account = settings.service_account_name.as_deref();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: Some(settings.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(custom_account.unwrap_or(service_account).to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(grace_seconds),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER_ID),
                run_as_group: Some(USER_ID),
                fs_group: Some(USER_ID),
                fs_group_change_policy: Some("OnRootMismatch".into()),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            node_selector: some_map(&settings.node_selector),
            tolerations: some_list(&settings.tolerations) as Option<Vec<Toleration>>,
            affinity: settings.affinity.clone() as Option<Affinity>,
            topology_spread_constraints: Some(spread(settings, selector)),
            priority_class_name: settings.priority_class_name.clone(),
            image_pull_secrets: some_list(&settings.image_pull_secrets) as Option<Vec<LocalObjectReference>>,
            volumes: some_list(&volumes),
            containers: vec![Container { security_context: Some(restricted()), ..container }],
            ..PodSpec::default()
        }),
    }
}

/// Replicas spread over nodes where that is possible, unless the user says otherwise.
fn spread(settings: &PodSettings, selector: &BTreeMap<String, String>) -> Vec<TopologySpreadConstraint> {
    if !settings.topology_spread_constraints.is_empty() {
        return settings.topology_spread_constraints.clone();
    }
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector { match_labels: Some(selector.clone()), match_expressions: None }),
        ..TopologySpreadConstraint::default()
    }]
}

fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Resources in the form of the API server; `defaults` fill in what the user left out altogether.
pub fn resources(
    spec: Option<&Resources>,
    requests: &[(&str, String)],
    limits: &[(&str, String)],
) -> ResourceRequirements {
    let amounts = |map: &BTreeMap<String, SpecQuantity>| -> Option<BTreeMap<String, Quantity>> {
        let map: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.clone(), Quantity(quantity::canonical(&v.0)))).collect();
        Some(map).filter(|map| !map.is_empty())
    };
    let pairs = |pairs: &[(&str, String)]| -> Option<BTreeMap<String, Quantity>> {
        let map: BTreeMap<_, _> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), Quantity(quantity::canonical(v)))).collect();
        Some(map).filter(|map| !map.is_empty())
    };
    match spec {
        Some(spec) => {
            ResourceRequirements { limits: amounts(&spec.limits), requests: amounts(&spec.requests), claims: None }
        }
        None => ResourceRequirements { limits: pairs(limits), requests: pairs(requests), claims: None },
    }
}

/// `None` for an empty list, so that no empty field is claimed.
pub fn some_list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn some_map(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}
