//! `Pool`: a private pool of MCP gateways.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{CaRef, PodSettings, Quantity, Resources, SecretKeyRef, SecretRef, yes};
use crate::status::{Component, Condition, Display, McpServerCounts, Versions};

/// A pool of Armor gateways with its Redis.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "aigateway.dev",
    version = "v1alpha1",
    kind = "Pool",
    plural = "pools",
    namespaced,
    cel,
    status = "PoolStatus",
    category = "aigateway",
    doc = "A pool of MCP gateways: Armor, its Redis, and the MCP servers that name the pool.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name is longer than 63 characters: it becomes a label value; choose a shorter name"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]')").message("metadata.name must begin with a letter, because it becomes the name of a Service; choose another name"),
    scale(
        spec_replicas_path = ".spec.armor.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Armor", type_ = "string", json_path = ".status.display.armor", description = "Ready and desired Armor replicas"),
    printcolumn(name = "Servers", type_ = "string", json_path = ".status.display.servers", description = "Healthy and desired MCP servers"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.versions.operator", description = "Version of the operator"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = "1"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.configHash", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.auth)").message("spec.auth is missing: say who may call the pool, with auth.apiKeys, or write auth.anonymous: true to let everybody in"),
)]
pub struct PoolSpec {
    /// True: the operator watches and reports and writes nothing but status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The gateway.
    #[serde(default)]
    pub armor: ArmorSpec,
    /// Who may call. Required; left out, nobody may, and the object is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Where the pool's Redis is. Default: one that the operator runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// The audit trail.
    #[serde(default)]
    pub audit: Audit,
    /// What delivers the audit trail to SIEMs; it runs where a SiemExport selects the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exporter: Option<ExporterSpec>,
    /// How the pool's Pods are monitored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// NetworkPolicies of the pool.
    #[serde(default)]
    pub network_policy: NetworkPolicySettings,
}

/// The gateway's Deployment and Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ArmorSpec {
    /// Image of Armor. Default: the one that was released with the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Number of replicas, 0 to 100. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
    /// Compute resources. Default: requests of 100m CPU and 64Mi, a limit of 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The Service that clients call.
    #[serde(default)]
    pub service: ServiceSettings,
    /// A Secret of type `kubernetes.io/tls`: Armor then serves HTTPS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Accepted Host and Origin values. Empty: any Host, and no browser Origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(h, h.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$'))").message("spec.armor.hosts: write each as a lower-case host name with an optional port, such as mcp.example.com or mcp.example.com:8443, without https://"))]
    pub hosts: Vec<String>,
    /// Kept when nodes are drained. Default with more than one replica: at most one unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<PodDisruptionBudgetSettings>,
    /// Settings of the Pods.
    #[serde(default)]
    pub pod: PodSettings,
    /// How much Armor logs. Default: `info`.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// How many Pods may be away during voluntary disruptions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodDisruptionBudgetSettings {
    /// A number, or a percentage such as `25%`.
    #[x_kube(validation = Rule::new("type(self) == string ? self.matches('^([1-9][0-9]?|100)%$') : self >= 1").message("spec.armor.podDisruptionBudget.maxUnavailable: write a number from 1, or a percentage from 1% to 100%; 0 would block every node drain"))]
    pub max_unavailable: IntOrString,
}

/// Log levels, least first.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The Service in front of Armor.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSettings {
    /// Type of the Service. Default: `ClusterIP`.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// Port of the Service, 1 to 65535. Default: 80, or 443 with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Annotations of the Service, for load balancers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        ServiceSettings { type_: ServiceType::ClusterIp, port: None, annotations: BTreeMap::new() }
    }
}

/// Types of Service that make sense for a gateway.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
    LoadBalancer,
}

impl ServiceType {
    /// The word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceType::ClusterIp => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Certificate and key of the gateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of type `kubernetes.io/tls`.
    pub secret_ref: SecretRef,
}

/// Who may call the pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.anonymous) && self.anonymous) != has(self.apiKeys)").message("spec.auth: set exactly one of apiKeys and anonymous: true"),
)]
pub struct Auth {
    /// True: everybody who reaches the pool may call every tool.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// Callers show a key; each key is a Secret made by `armor api-key create`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
}

/// Where API keys are found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// Secrets of this namespace with these labels. An empty selector would take every Secret and is refused.
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && self.matchLabels.size() > 0) || (has(self.matchExpressions) && self.matchExpressions.size() > 0)").message("spec.auth.apiKeys.secretSelector is empty and would take every Secret of the namespace: name a label"))]
    pub secret_selector: LabelSelector,
}

/// The pool's Redis: one that the operator runs, or an existing one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.external)").message("spec.redis: set exactly one of managed and external; leave spec.redis out for a managed Redis with defaults"),
)]
pub struct Redis {
    /// A Redis that the operator runs for this pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedRedis>,
    /// A Redis or Valkey, 7.0 or later, that exists already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRedis>,
}

/// A Redis that the operator runs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedRedis {
    /// Image of Redis or Valkey. Default: the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Compute resources. Default: requests of 50m CPU, and of memory for a quarter of the audit
    /// stream plus 64Mi; a limit of memory of three times the stream plus 128Mi. A limit must leave room for twice the
    /// stream, which is what Redis may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The volume of the append-only file.
    #[serde(default)]
    pub persistence: Persistence,
    /// Settings of the Pod.
    #[serde(default)]
    pub pod: PodSettings,
}

/// A volume for Redis.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Persistence {
    /// False: events that were not delivered are lost when the Redis Pod goes. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Size of the volume. Default: 1Gi. Kubernetes lets nobody change it on a running StatefulSet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// StorageClass of the volume. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// True: the volume stays when the Pool is deleted. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retain: bool,
}

impl Default for Persistence {
    fn default() -> Self {
        Persistence { enabled: true, size: None, storage_class_name: None, retain: false }
    }
}

/// A Redis that exists already.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRedis {
    /// The key holds a whole URL, `redis://` or `rediss://`, with user name and password where needed.
    pub url_secret_ref: SecretKeyRef,
    /// Certificates that sign the server's, for `rediss://`. Default: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
}

/// The audit trail of the pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Room for the audit stream in Redis, 1Mi to 64Gi. Default: 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("quantity(string(self)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self)).compareTo(quantity('64Gi')) <= 0").message("spec.audit.streamMaxBytes: write a size from 1Mi to 64Gi"))]
    pub stream_max_bytes: Option<Quantity>,
    /// What an event says of a call's arguments; their values are never in it. Default: `NamesAndHashes`.
    #[serde(default)]
    pub parameters: AuditParameters,
    /// Key of the keyed hashes. Default: a random one that the operator makes for the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_key_secret_ref: Option<SecretKeyRef>,
    /// How long delivered events stay readable in the stream, 0s to 168h. Default: 1h. It takes no more room than `streamMaxBytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(s|m|h)$') && duration(self) <= duration('168h')").message("spec.audit.retain: write a duration from 0s to 168h, such as 30m or 1h"))]
    pub retain: Option<String>,
}

/// What an audit event says of a call's arguments.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditParameters {
    /// Parameter names that the tool's schema knows, and a keyed hash of all arguments.
    #[default]
    NamesAndHashes,
    /// Parameter names that the tool's schema knows.
    Names,
    /// Nothing.
    None,
}

/// The exporter's Deployment.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.serviceAccountName) && has(self.pod) && has(self.pod.serviceAccountName))").message("spec.exporter: set serviceAccountName here or in spec.exporter.pod, not in both"),
)]
pub struct ExporterSpec {
    /// Image of the exporter. Default: the one that was released with the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Number of replicas, 0 to 10. Default: 1. Each delivers for every destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub replicas: Option<i32>,
    /// Compute resources. Default: requests of 50m CPU and 64Mi, a limit of 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Settings of the Pods.
    #[serde(default)]
    pub pod: PodSettings,
    /// An existing ServiceAccount, for clouds that know Pods by it (IRSA, workload identity). Default: one that the
    /// operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// HTTP proxy for destinations that speak HTTP, such as `http://proxy.corp.svc:3128`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && self.matches('^http://[^/?#@]+/?$')").message("spec.exporter.proxy: write the URL of an HTTP proxy without user name and path, such as http://proxy.corp.svc:3128"))]
    pub proxy: Option<String>,
    /// How much the exporter logs. Default: `info`.
    #[serde(default)]
    pub log_level: LogLevel,
}

impl ExporterSpec {
    /// The ServiceAccount that the user names, in either place.
    pub fn service_account(&self) -> Option<&str> {
        self.service_account_name.as_deref().or(self.pod.service_account_name.as_deref())
    }
}

/// How the pool's Pods are monitored.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// True: a PodMonitor of the Prometheus operator for the gateways, and one for the exporter. Default: false. A
    /// NetworkPolicy of yours must let Prometheus reach ports 9090 and 9091.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pod_monitor: bool,
}

/// NetworkPolicies of the pool. They need a network plugin that enforces them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who may reach the MCP port. Empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allow_from: Vec<NetworkPolicyPeer>,
}

impl Default for NetworkPolicySettings {
    fn default() -> Self {
        NetworkPolicySettings { enabled: true, allow_from: Vec::new() }
    }
}

/// What the operator last saw.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// The generation of the spec that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Reason of the condition that decided the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Message of the condition that decided the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// URL that MCP clients inside the cluster use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Armor replicas that exist; for the scale subresource.
    #[serde(default)]
    pub replicas: i32,
    /// Label selector of the Armor Pods; for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Counts of MCP servers.
    #[serde(default)]
    pub mcp_servers: McpServerCounts,
    /// Health of each component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub components: Vec<Component>,
    /// Columns of `kubectl get pool`.
    #[serde(default)]
    pub display: Display,
    /// What runs where.
    #[serde(default)]
    pub versions: Versions,
    /// Hash of the configuration that Armor should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Accepted, ResolvedRefs, RedisReady, ArmorReady, ExporterReady, ConfigInSync, AuthorizationOpen, Monitored, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A one-word summary of a Pool's conditions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not everything has been ready once yet.
    Pending,
    /// Everything that the pool needs is ready.
    Active,
    /// The spec or a reference is invalid, or a component that was ready is not.
    Error,
}

impl Phase {
    /// The word in `status.phase`.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Active => "Active",
            Phase::Error => "Error",
        }
    }
}
