//! Who may reach whom. Ingress only: what a pool may reach is the business of the servers that users name.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::exporter::COMPONENT;
use super::parts::meta;
use super::port;
use crate::child::{Child, Kind, Prepared};
use crate::names::selector;
use crate::pool::validate::{Redis, ValidatedPool};
use crate::settings::Settings;

pub(super) fn policies(pool: &ValidatedPool, settings: &Settings) -> Result<Vec<Child<Prepared>>, serde_json::Error> {
    if !pool.network_policy.enabled {
        return Ok(Vec::new());
    }
    let callers = &pool.network_policy.allow_from;
    let mcp = rule((!callers.is_empty()).then(|| callers.clone()), port::MCP);
    let admin = rule(Some(vec![operator(settings)]), port::ADMIN);
    let mut policies = vec![policy(pool, "armor", vec![mcp, admin])?];
    if matches!(pool.redis, Redis::Managed { .. }) {
        let mut users = vec![pods(selector("armor", &pool.name))];
        if !pool.exports.is_empty() {
            users.push(pods(selector(COMPONENT, &pool.name)));
        }
        policies.push(policy(pool, "redis", vec![rule(Some(users), port::REDIS)])?);
    }
    Ok(policies)
}

/// Lets the operator reach the exporter's API.
pub(super) fn exporter(
    pool: &ValidatedPool,
    settings: &Settings,
) -> Result<Option<Child<Prepared>>, serde_json::Error> {
    let ingress = || vec![rule(Some(vec![operator(settings)]), port::EXPORTER)];
    pool.network_policy.enabled.then(|| policy(pool, COMPONENT, ingress())).transpose()
}

fn policy(
    pool: &ValidatedPool,
    component: &str,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> Result<Child<Prepared>, serde_json::Error> {
    let object = NetworkPolicy {
        metadata: meta(pool, component, component),
        spec: Some(ingress_policy(selector(component, &pool.name), ingress)),
    };
    Child::desired(Kind::NetworkPolicy, &pool.owner, &object)
}

/// A policy that lets in what `ingress` names, and nothing else.
pub(crate) fn ingress_policy(
    selected: BTreeMap<String, String>,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(labelled(selected)),
        policy_types: Some(vec!["Ingress".into()]),
        ingress: Some(ingress),
        egress: None,
    }
}

/// Lets `from` reach one TCP port; `None` lets everybody.
pub(crate) fn rule(from: Option<Vec<NetworkPolicyPeer>>, port: i32) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from,
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(port)),
            protocol: Some("TCP".into()),
            end_port: None,
        }]),
    }
}

/// Pods of the same namespace.
pub(crate) fn pods(labels: BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(labelled(labels)), ..NetworkPolicyPeer::default() }
}

/// The operator's Pods.
fn operator(settings: &Settings) -> NetworkPolicyPeer {
    let namespace = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), settings.namespace.clone())]);
    let app = BTreeMap::from([("app".to_owned(), "ai-gateway-operator".to_owned())]);
    NetworkPolicyPeer {
        namespace_selector: Some(labelled(namespace)),
        pod_selector: Some(labelled(app)),
        ip_block: None,
    }
}

fn labelled(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}
