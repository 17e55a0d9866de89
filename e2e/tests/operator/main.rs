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
