//! `McpServer`: one MCP server behind a pool.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::common::{CaRef, PodSettings, Resources, SecretKeyRef};
use crate::status::Condition;

/// One MCP server, remote or run by the operator.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "aigateway.dev",
    version = "v1alpha1",
    kind = "McpServer",
    plural = "mcpservers",
    shortname = "mcps",
    namespaced,
    cel,
    status = "McpServerStatus",
    category = "aigateway",
    doc = "An MCP server whose tools a Pool offers.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name is longer than 63 characters: it becomes a label value; choose a shorter name"),
    validation = Rule::new("!has(self.spec.workload) || self.metadata.name.matches('^[a-z]')").message("metadata.name must begin with a letter, because it becomes the name of a Service; choose another name"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.poolRef.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.tools.count"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.remote) != has(self.workload)").message("spec: set exactly one of remote (a server that runs elsewhere) and workload (a server that the operator runs)"),
    validation = Rule::new("has(self.prefix) == has(oldSelf.prefix) && (!has(self.prefix) || self.prefix == oldSelf.prefix)").message("spec.prefix is immutable, because agents know tools by it: make a new McpServer with the new prefix and delete this one"),
    validation = Rule::new("!has(self.auth) || !has(self.remote) || self.remote.url.startsWith('https://') || self.remote.url.matches('^http://[a-z0-9-]+\\\\.[a-z0-9-]+\\\\.svc(\\\\.cluster\\\\.local)?(:[0-9]+)?(/.*)?$')").message("spec.remote.url: credentials (spec.auth) are sent over https only, or over http to a host of the form NAME.NAMESPACE.svc"),
)]
pub struct McpServerSpec {
    /// The pool, in the same namespace, that offers the tools.
    pub pool_ref: PoolRef,
    /// Tools are named `<prefix>__<tool>`. Immutable. Default: the object's name. Empty: no prefix, which
    /// works while the server is the only one of its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self == '' || (self.matches('^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$') && !self.contains('__'))").message("spec.prefix: use letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, without a double underscore"))]
    pub prefix: Option<String>,
    /// A server that runs elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// A server that the operator runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Credentials that Armor shows to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<OutboundAuth>,
    /// How long one request may take, 100ms to 10m. Streams: how long they may be idle. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(ms|s|m)$') && duration(self) >= duration('100ms') && duration(self) <= duration('10m')").message("spec.timeout: write a duration from 100ms to 10m, such as 500ms, 30s or 2m"))]
    pub timeout: Option<String>,
    /// Which of the server's tools the pool offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,
}

/// Names the Pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PoolRef {
    /// Name of a Pool in the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// A server that runs elsewhere.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// URL of the server's Streamable HTTP endpoint.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''").message("spec.remote.url: write an absolute URL such as https://crm.example.com/mcp"),
        validation = Rule::new("!self.matches('^[^:]*:/*[^/?#]*@')").message("spec.remote.url must not hold a user name or password: use spec.auth with a Secret"),
        validation = Rule::new("!self.contains('#')").message("spec.remote.url must not have a fragment (#...): remove it"),
    )]
    pub url: String,
    /// Certificates that sign the server's. Default: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
}

/// A server that the operator runs as a Deployment.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Image of the server. It must run as a non-root user with a read-only root file system.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Command; default: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub command: Vec<String>,
    /// Arguments; default: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub env: Vec<EnvVar>,
    /// Environment variables from Secrets and ConfigMaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env_from: Vec<EnvFromSource>,
    /// Port that the server listens on, 1 to 65535. Default: 8080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Path of the Streamable HTTP endpoint. Default: `/mcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^/[A-Za-z0-9._~/%-]*$')").message("spec.workload.path: write an absolute path such as /mcp, without query or fragment"))]
    pub path: Option<String>,
    /// Number of replicas, 0 to 100. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
    /// Compute resources. Default: requests of 50m CPU and 64Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Settings of the Pods.
    #[serde(default)]
    pub pod: PodSettings,
}

/// Credentials for the server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.bearer) != has(self.headers)").message("spec.auth: set exactly one of bearer and headers"),
)]
pub struct OutboundAuth {
    /// `Authorization: Bearer <value>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Bearer>,
    /// Headers with secret values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Option<Vec<SecretHeader>>,
}

/// A bearer token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Bearer {
    /// The key that holds the token.
    pub secret_ref: SecretKeyRef,
}

/// A header with a secret value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretHeader {
    /// Name of the header.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$')").message("spec.auth.headers.name: write a header name such as X-Api-Key"),
        validation = Rule::new("!(self.lowerAscii() in ['host', 'content-length', 'content-type', 'transfer-encoding', 'connection', 'accept', 'mcp-session-id', 'mcp-protocol-version', 'mcp-method', 'mcp-name'])").message("spec.auth.headers.name: the gateway itself sets this header; choose another"),
    )]
    pub name: String,
    /// The key that holds the value.
    pub secret_ref: SecretKeyRef,
}

/// Which tools are offered. `deny` wins.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// Globs over the server's own tool names. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 128)))]
    pub allow: Option<Vec<String>>,
    /// Globs over the server's own tool names. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 128)))]
    pub deny: Option<Vec<String>>,
}

/// What the operator last saw.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// The generation of the spec that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// URL of the pool, for MCP clients inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the server said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerInfo>,
    /// The server's tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsStatus>,
    /// When the state below was seen first. It is not written at every probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    /// Accepted, ResolvedRefs, Programmed, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What a server says of itself in the handshake.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// The server's name.
    pub name: String,
    /// The server's version.
    pub version: String,
    /// Newest protocol revision that the server and Armor share.
    pub protocol_version: String,
}

/// The tools of a server that the pool offers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolsStatus {
    /// How many.
    pub count: i32,
    /// Digest of their definitions.
    pub digest: String,
}
