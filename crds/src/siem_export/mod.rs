//! `SiemExport`: where the audit events of one pool, or of several, are delivered.

mod block;
mod references;
mod rules;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use block::{
    Coralogix, Datadog, Elasticsearch, EventBridge, Otlp, OtlpProtocol, Sentinel, SentinelCloud, SentinelIdentity,
    Splunk, Stdout, SumoLogic, Syslog, SyslogFormat, SyslogFraming, SyslogTransport, Webhook, WebhookHeader,
};
pub use status::{DestinationState, DestinationStatus, ExportDisplay, LastTest, SiemExportStatus, TestOutcome};

use crate::common::{CaRef, Quantity, SecretKeyRef, SecretRef};
use crate::mcp_server::PoolRef;
use rules::{dns_label, duration, known_destinations, splunk_index};

/// Where audit events go. One that is invalid stops no other, and neither does one of its destinations.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "aigateway.dev",
    version = "v1alpha1",
    kind = "SiemExport",
    plural = "siemexports",
    shortname = "siem",
    namespaced,
    cel,
    status = "SiemExportStatus",
    category = "aigateway",
    doc = "Delivers the audit events of Pools to SIEMs.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name is longer than 63 characters: it becomes a part of names; choose a shorter name"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".status.display.pool"),
    printcolumn(name = "Destinations", type_ = "integer", json_path = ".status.display.destinations"),
    printcolumn(name = "Delivering", type_ = "string", json_path = ".status.display.delivering", description = "Destinations in order and destinations that are enabled"),
    printcolumn(name = "Backlog", type_ = "integer", json_path = ".status.display.backlog", description = "Events that wait, of all destinations"),
    printcolumn(name = "Dropped", type_ = "integer", json_path = ".status.display.dropped", description = "Events that were given up or lost, of all destinations"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Delivering")].reason"#, priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Delivering")].message"#, priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.poolRef) != has(self.poolSelector)").message("spec: set exactly one of poolRef (one Pool by name) and poolSelector (Pools by labels)"),
    validation = known_destinations("routes"),
    validation = known_destinations("overrides"),
    validation = Rule::new("!has(self.test) || self.test.destinations.all(name, self.destinations.exists(d, d.name == name))").message("spec.test.destinations names a destination that is not in spec.destinations: correct the name"),
    validation = Rule::new("!has(self.replay) || self.destinations.exists(d, d.name == self.replay.destination)").message("spec.replay.destination names a destination that is not in spec.destinations: correct the name"),
)]
pub struct SiemExportSpec {
    /// The pool, in the same namespace, whose events are delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<PoolRef>,
    /// Pools of this namespace by labels. Each delivers its own events; an empty selector takes every Pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_selector: Option<LabelSelector>,
    /// Where events go, 1 to 16 destinations.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub destinations: Vec<Destination>,
    /// Which events go to which destinations; every route that matches applies. Default: everything goes everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub routes: Option<Vec<Route>>,
    /// What is different for the events of some MCP servers. Of several for a server the most specific applies, instead of
    /// the routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["server".into()]))]
    pub overrides: Vec<Override>,
    /// What is taken out of the events before any destination sees them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// Sends a test event to some destinations; each new id once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// Sends events again; each new id once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// One destination: exactly one of the blocks.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.splunk), has(self.datadog), has(self.otlp), has(self.syslog), has(self.sentinel), has(self.eventBridge), has(self.sumoLogic), has(self.coralogix), has(self.elasticsearch), has(self.webhook), has(self.stdout)].filter(one, one).size() == 1").message("spec.destinations[]: set exactly one of splunk, datadog, otlp, syslog, sentinel, eventBridge, sumoLogic, coralogix, elasticsearch, webhook and stdout"),
    validation = Rule::new("!has(self.tls) || !(has(self.stdout) || has(self.syslog) && has(self.syslog.transport) && self.syslog.transport != 'Tls')").message("spec.destinations[].tls: this destination is not reached over TLS; remove tls, or set syslog.transport: Tls"),
)]
pub struct Destination {
    /// Name of the destination: a DNS label.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = dns_label("spec.destinations[].name"))]
    pub name: String,
    /// False: nothing is delivered, and what happens meanwhile is not kept for the destination. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Splunk's HTTP Event Collector, and receivers that speak its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splunk: Option<Splunk>,
    /// Datadog's logs intake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<Datadog>,
    /// A server of OpenTelemetry logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
    /// A receiver of RFC 5424 messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<Syslog>,
    /// Microsoft Sentinel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// Amazon EventBridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_bridge: Option<EventBridge>,
    /// An HTTP source of Sumo Logic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sumo_logic: Option<SumoLogic>,
    /// Coralogix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coralogix: Option<Coralogix>,
    /// Elasticsearch or OpenSearch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<Elasticsearch>,
    /// A receiver of signed requests (Standard Webhooks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// JSON lines of the exporter's Pod, for a collector of logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Stdout>,
    /// TLS towards the destination. Certificates are always verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<DestinationTls>,
    /// Globs over names of events, such as `tool_*`; each must match an event that exists. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64)))]
    pub events: Option<Vec<String>>,
    /// Events below this severity are left out. Default: `debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// The platform's word for a level of ours, or for an event, which wins, such as `warn: high`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub severity_map: BTreeMap<String, String>,
    /// How events are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// TLS towards a destination.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DestinationTls {
    /// Certificates that sign the destination's. Default: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// A Secret of type `kubernetes.io/tls` with the certificate that the exporter shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretRef>,
    /// Name that the destination's certificate must have. Default: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')").message("tls.serverName: write a host name such as siem.example.com"))]
    pub server_name: Option<String>,
}

/// How events are sent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Events of one request at most, 1 to 10000; a platform that takes fewer gets fewer. Default: 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub batch_events: Option<i32>,
    /// Size of one request before compression at most, 16Ki to 4Mi; a platform that takes less gets less. Default: 1Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("quantity(string(self)).compareTo(quantity('16Ki')) >= 0 && quantity(string(self)).compareTo(quantity('4Mi')) <= 0").message("delivery.batchBytes: write a size from 16Ki to 4Mi"))]
    pub batch_bytes: Option<Quantity>,
    /// How long the first event of a request waits for others, 10ms to 60s. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = duration("delivery.flushInterval", "10ms", "60s", "1s"))]
    pub flush_interval: Option<String>,
    /// How long one request may take, 1s to 60s. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = duration("delivery.timeout", "1s", "60s", "10s"))]
    pub timeout: Option<String>,
    /// Longest pause between two tries, 1s to 10m. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = duration("delivery.maxRetryInterval", "1s", "10m", "30s"))]
    pub max_retry_interval: Option<String>,
    /// Age from which on an event is not sent again but given up, 1m to 168h. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = duration("delivery.giveUpAfter", "1m", "168h", "24h"))]
    pub give_up_after: Option<String>,
    /// Events in a second at most, of each replica of the exporter, 0 to 100000; 0: as many as the destination takes.
    /// Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub rate_limit: Option<i32>,
}

/// Severities, least first.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// What it matches goes to some destinations.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// What an event must be; all of what is given. Empty: every event.
    #[serde(rename = "match")]
    pub matches: RouteMatch,
    /// Names of destinations.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub to: Vec<String>,
}

/// What an event must be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// Of one of these classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub classes: Option<Vec<EventClass>>,
    /// Globs over names of events; each must match an event that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64)))]
    pub names: Option<Vec<String>>,
    /// Globs over names of MCP servers. An event without a server matches none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    pub servers: Option<Vec<String>>,
    /// Of at least this severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
}

/// Classes of events.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// What became of calls.
    ToolActivity,
    /// What works and what does not.
    Operational,
    /// Who changed what.
    Audit,
}

/// What is different for the events of an MCP server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.enabled) && !self.enabled && has(self.to))").message("spec.overrides[]: enabled: false sends the server's events nowhere, so that to has no meaning: remove one of the two"),
)]
pub struct Override {
    /// Name of an McpServer, or a glob over names.
    #[schemars(length(min = 1, max = 253))]
    pub server: String,
    /// False: the server's events go nowhere. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Names of the destinations that the events go to. Default: as the routes say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub to: Option<Vec<String>>,
    /// Index of the events at Splunk. Default: the destination's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 80))]
    #[x_kube(validation = splunk_index("spec.overrides[].splunkIndex"))]
    pub splunk_index: Option<String>,
}

/// What is taken out of the events before any destination sees them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.hash) || self.hash.size() == 0 || has(self.hashKeySecretRef)").message("spec.privacy.hash needs a key for its hashes: name one in spec.privacy.hashKeySecretRef"),
)]
pub struct Privacy {
    /// Keys that identify somebody, such as `user.email`: their values are replaced by keyed hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub hash: Vec<String>,
    /// Keys that are left out, such as `user.groups`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub drop: Vec<String>,
    /// Key of the hashes, at least 16 bytes; needed with `hash`. The same one for several exports makes their hashes comparable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_key_secret_ref: Option<SecretKeyRef>,
}

/// A test event for some destinations.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    /// Any text; a new one sends one test event to each of the destinations.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._:-]+$')").message("spec.test.id: use letters, digits, '.', '_', ':' and '-', such as 2026-11-21-a"))]
    pub id: String,
    /// Names of destinations.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub destinations: Vec<String>,
}

/// Events that are sent again.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Any text; a new one begins a replay.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._:-]+$')").message("spec.replay.id: use letters, digits, '.', '_', ':' and '-', such as 2026-11-21-a"))]
    pub id: String,
    /// Name of the destination.
    #[schemars(length(min = 1, max = 63))]
    pub destination: String,
    /// `DeadLetter`: what the destination refused. Or an RFC 3339 time: what is in the stream since then.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self == 'DeadLetter' || self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$')").message("spec.replay.from: write DeadLetter, or an RFC 3339 time such as 2026-11-21T08:00:00Z"))]
    pub from: String,
}
