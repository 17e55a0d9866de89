//! The operator on a real cluster, installed by its chart. Run by `e2e/run.sh`, one test at a time, because some of
//! them stop the operator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod certificates;
mod drift;
mod edits;
mod equal;
mod export;
mod lifecycle;
mod raw_client;
mod receiver;
mod refused;
mod rotation;
mod secrets;

use anyhow::Result;
use e2e::{kubectl, kubectl_with};
use serde_json::json;

/// Kinds of children, as kubectl takes them.
const CHILDREN: &str =
    "serviceaccounts,secrets,configmaps,services,deployments,statefulsets,poddisruptionbudgets,networkpolicies";
/// Selects every child of the operator.
const MANAGED: &str = "app.kubernetes.io/managed-by=ai-gateway-operator";

/// A small pool for everybody, with one gateway and a Redis that keeps nothing.
fn pool(name: &str) -> String {
    format!(
        "apiVersion: aigateway.dev/v1alpha1\nkind: Pool\nmetadata: {{name: {name}}}\nspec:\n  auth: {{anonymous: true}}\n  \
         armor: {{replicas: 1}}\n  redis: {{managed: {{persistence: {{enabled: false}}}}}}\n"
    )
}

/// A server that the operator runs.
fn workload(name: &str, pool: &str) -> String {
    format!(
        "---\napiVersion: aigateway.dev/v1alpha1\nkind: McpServer\nmetadata: {{name: {name}}}\nspec:\n  poolRef: {{name: {pool}}}\n  \
         workload: {{image: \"localhost/example-mcp:dev\", args: [--name, {name}]}}\n"
    )
}

/// A server that runs elsewhere.
fn remote(name: &str, pool: &str, url: &str) -> String {
    format!(
        "---\napiVersion: aigateway.dev/v1alpha1\nkind: McpServer\nmetadata: {{name: {name}}}\nspec:\n  poolRef: {{name: {pool}}}\n  \
         remote: {{url: \"{url}\"}}\n"
    )
}

/// Has something done while the cluster takes every `spec` of a kind, as after a change of its definition.
fn with_loose_spec(plural: &str, test: impl FnOnce() -> Result<()>) -> Result<()> {
    let crd = format!("{plural}.aigateway.dev");
    let loose = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}]);
    kubectl(&["patch", "crd", &crd, "--type=json", "-p", &loose.to_string()])?;
    let tested = test();
    let yaml = std::fs::read_to_string(format!("{}/../crds/yaml/{plural}.yaml", env!("CARGO_MANIFEST_DIR")))?;
    kubectl_with(&yaml, &["apply", "--server-side", "--force-conflicts", "-f", "-"])?;
    tested
}
