//! Who may reach whom on which port, read from the rendered objects as a network plugin reads them.
//!
//! The local cluster does not enforce NetworkPolicies, so this is where their meaning is tested.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use operator::references::selects;
use serde_json::Value;

use crate::golden::manifests;
use crate::input::Input;

/// A Pod in a namespace, as a policy sees it.
struct Peer {
    namespace: &'static str,
    namespace_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn peer(namespace: &'static str, pairs: &[(&str, &str)]) -> Peer {
    let mut namespace_labels = labels(&[("kubernetes.io/metadata.name", namespace)]);
    if namespace == "agents" {
        namespace_labels.insert("team".into(), "agents".into());
    }
    Peer { namespace, namespace_labels, labels: labels(pairs) }
}

/// Labels of the Pods of a workload among the manifests.
fn pods_of(manifests: &[Value], kind: &str, name: &str) -> Peer {
    let found = manifests.iter().find(|m| m["kind"] == kind && m["metadata"]["name"] == name);
    let labels =
        &found.unwrap_or_else(|| panic!("{kind} {name} is rendered"))["spec"]["template"]["metadata"]["labels"];
    Peer {
        namespace: "gateways",
        namespace_labels: labels_of_gateways(),
        labels: serde_json::from_value(labels.clone()).unwrap(),
    }
}

fn labels_of_gateways() -> BTreeMap<String, String> {
    labels(&[("kubernetes.io/metadata.name", "gateways")])
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    // An empty selector matches everything, which `selects` of a user's empty selector must not be relied on for.
    (selector.match_labels.is_none() && selector.match_expressions.is_none()) || selects(selector, labels)
}

fn is_from(policy_namespace: &str, rule: &NetworkPolicyPeer, from: &Peer) -> bool {
    let namespace = match &rule.namespace_selector {
        Some(selector) => matches(selector, &from.namespace_labels),
        None => rule.ip_block.is_none() && from.namespace == policy_namespace,
    };
    namespace && rule.pod_selector.as_ref().is_none_or(|selector| matches(selector, &from.labels))
}

/// Whether `from` may open a TCP connection to `port` of `to`, by the semantics of networking.k8s.io/v1.
fn may_reach(manifests: &[Value], from: &Peer, to: &Peer, port: i32) -> bool {
    let policies: Vec<NetworkPolicy> = manifests
        .iter()
        .filter(|m| m["kind"] == "NetworkPolicy")
        .map(|m| serde_json::from_value(m.clone()).unwrap())
        .collect();
    let selecting: Vec<_> = policies
        .iter()
        .filter_map(|policy| policy.spec.as_ref())
        .filter(|spec| spec.pod_selector.as_ref().is_none_or(|selector| matches(selector, &to.labels)))
        .filter(|spec| spec.policy_types.as_ref().is_some_and(|types| types.contains(&"Ingress".to_owned())))
        .collect();
    selecting.is_empty()
        || selecting.iter().flat_map(|spec| spec.ingress.iter().flatten()).any(|rule| {
            let port_open =
                rule.ports.as_ref().is_none_or(|ports| ports.iter().any(|p| p.port == Some(IntOrString::Int(port))));
            let peer_open =
                rule.from.as_ref().is_none_or(|peers| peers.iter().any(|peer| is_from("gateways", peer, from)));
            port_open && peer_open
        })
}

const SERVER: &str = "
---
kind: McpServer
metadata: {name: wiki}
spec: {poolRef: {name: net}, workload: {image: wiki:1, port: 9000}}
";

const EXPORT: &str = "
---
kind: Programmed
metadata: {name: logs}
export: {name: logs, destinations: [{name: lines, platform: {stdout: {}}}]}
";

/// Rows: caller, target, port, expected.
fn assert_matrix(spec: &str, rows: &[(&str, &str, i32, bool)]) {
    let input = Input::parse(&format!("kind: Pool\nmetadata: {{name: net}}\nspec: {spec}\n{SERVER}{EXPORT}"));
    let manifests = manifests(&input);
    let resolve = |who: &str| match who {
        "operator" => peer("operators", &[("app", "ai-gateway-operator")]),
        "fake-operator" => peer("gateways", &[("app", "ai-gateway-operator")]),
        "agent" => peer("agents", &[("app", "agent")]),
        "stranger" => peer("other", &[("app", "stranger")]),
        "neighbour" => peer("gateways", &[("app", "neighbour")]),
        "armor" => pods_of(&manifests, "Deployment", "net-armor"),
        "redis" => pods_of(&manifests, "StatefulSet", "net-redis"),
        "exporter" => pods_of(&manifests, "Deployment", "net-exporter"),
        "wiki" => pods_of(&manifests, "Deployment", "wiki-mcp"),
        other => panic!("no such peer: {other}"),
    };
    for (from, to, port, expected) in rows {
        let reached = may_reach(&manifests, &resolve(from), &resolve(to), *port);
        assert_eq!(reached, *expected, "{from} -> {to}:{port} with {spec}");
    }
}

#[test]
fn by_default_everybody_reaches_mcp_and_nothing_else() {
    assert_matrix(
        "{auth: {anonymous: true}}",
        &[
            ("stranger", "armor", 8080, true),
            ("agent", "armor", 8080, true),
            ("operator", "armor", 9090, true),
            ("stranger", "armor", 9090, false),
            ("fake-operator", "armor", 9090, false),
            ("armor", "redis", 6379, true),
            ("stranger", "redis", 6379, false),
            ("neighbour", "redis", 6379, false),
            ("wiki", "redis", 6379, false),
            ("operator", "redis", 6379, false),
            ("exporter", "redis", 6379, true),
            ("operator", "exporter", 9091, true),
            ("fake-operator", "exporter", 9091, false),
            ("stranger", "exporter", 9091, false),
            ("armor", "exporter", 9091, false),
            ("exporter", "armor", 9090, false),
            ("exporter", "wiki", 9000, false),
            ("armor", "wiki", 9000, true),
            ("neighbour", "wiki", 9000, false),
            ("stranger", "wiki", 9000, false),
            ("armor", "wiki", 9001, false),
        ],
    );
}

#[test]
fn allow_from_limits_the_mcp_port_and_no_other() {
    assert_matrix(
        "{auth: {anonymous: true}, networkPolicy: {allowFrom: [{namespaceSelector: {matchLabels: {team: agents}}}]}}",
        &[
            ("agent", "armor", 8080, true),
            ("stranger", "armor", 8080, false),
            ("neighbour", "armor", 8080, false),
            ("agent", "armor", 9090, false),
            ("operator", "armor", 9090, true),
            ("armor", "redis", 6379, true),
            ("agent", "redis", 6379, false),
            ("agent", "exporter", 9091, false),
        ],
    );
}

#[test]
fn switched_off_there_is_no_policy_at_all() {
    assert_matrix(
        "{auth: {anonymous: true}, networkPolicy: {enabled: false}}",
        &[
            ("stranger", "armor", 9090, true),
            ("stranger", "redis", 6379, true),
            ("stranger", "wiki", 9000, true),
            ("stranger", "exporter", 9091, true),
        ],
    );
}

#[test]
fn a_pool_without_an_exporter_lets_none_into_its_redis() {
    let pool = "kind: Pool\nmetadata: {name: net}\nspec: {auth: {anonymous: true}}\n";
    let manifests = manifests(&Input::parse(pool));
    let exporter = peer(
        "gateways",
        &[
            ("app.kubernetes.io/name", "exporter"),
            ("app.kubernetes.io/component", "exporter"),
            ("app.kubernetes.io/instance", "net"),
        ],
    );
    assert!(!may_reach(&manifests, &exporter, &pods_of(&manifests, "StatefulSet", "net-redis"), 6379));
}
