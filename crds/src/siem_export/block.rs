//! What a destination is told: one block for each platform. The fields are those of the exporter's encoders, and
//! references to Secrets beside them. Defaults are the encoders' own: a field that is absent stays absent.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{splunk_index, url_form, url_fragment, url_scheme, url_user};
use crate::common::SecretKeyRef;

/// Splunk's HTTP Event Collector, and receivers that speak its protocol.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Splunk {
    /// The collector, such as `https://splunk.example.com:8088`. A URL with a path is used as it stands.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("splunk.url"),
        validation = url_scheme("splunk.url"),
        validation = url_user("splunk.url"),
        validation = url_fragment("splunk.url"),
    )]
    pub url: String,
    /// The key that holds the collector's token.
    pub token_secret_ref: SecretKeyRef,
    /// Index of the events, at most 80 characters. Default: the token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 80))]
    #[x_kube(validation = splunk_index("splunk.index"))]
    pub index: Option<String>,
    /// `source` of the events. Default: `ai-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub source: Option<String>,
    /// `sourcetype` of the events. Default: `aigateway:event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub sourcetype: Option<String>,
    /// True: an event counts as delivered when the indexers say that they have it. Splunk Enterprise only. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<bool>,
}

/// Datadog's logs intake.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Datadog {
    /// The key that holds an API key of the organisation.
    pub api_key_secret_ref: SecretKeyRef,
    /// The organisation's site, such as `datadoghq.eu`. Default: `datadoghq.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub site: Option<String>,
    /// Instead of the site's intake: a private link, or a worker that passes logs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("datadog.url"),
        validation = url_scheme("datadog.url"),
        validation = url_user("datadog.url"),
        validation = url_fragment("datadog.url"),
    )]
    pub url: Option<String>,
    /// `ddsource`. Default: `ai-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub source: Option<String>,
    /// `service`. Default: `ai-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub service: Option<String>,
    /// `ddtags`, beside `pool` and `component`, such as `env:prod`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 200)))]
    pub tags: Vec<String>,
}

/// A server of OpenTelemetry logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Otlp {
    /// The server, such as `https://otel.example.com:4318`, or port 4317 for gRPC. Over HTTP, a URL with a path is used as
    /// it stands.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("otlp.url"),
        validation = url_scheme("otlp.url"),
        validation = url_user("otlp.url"),
        validation = url_fragment("otlp.url"),
    )]
    pub url: String,
    /// How events are sent. Default: `Http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<OtlpProtocol>,
    /// Headers of each request. No credentials: they belong in the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub headers: BTreeMap<String, String>,
    /// The key that holds the whole value of the credential's header, such as `Bearer abc`. Default: no credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// The header that carries the credential. Default: `authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub credential_header: Option<String>,
    /// Attributes of the resource, beside `service.namespace` and `service.name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub resource_attributes: BTreeMap<String, String>,
}

/// The two protocols of OTLP that carry protobuf.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// HTTP/protobuf.
    Http,
    /// gRPC.
    Grpc,
}

/// A receiver of RFC 5424 messages. Nothing is acknowledged: delivery is best effort.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.framing) || !has(self.transport) || self.transport != 'Udp'").message("syslog.framing is for Tcp and Tls: over Udp a datagram is a message; remove it"),
)]
pub struct Syslog {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9._-]+|[0-9A-Fa-f:.]+|[[][0-9A-Fa-f:.]+[]])$')").message("syslog.host: write a host name or an address, without scheme and port"))]
    pub host: String,
    /// Port, 1 to 65535. Default: 514, or 6514 for Tls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// How messages travel. Default: `Tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<SyslogTransport>,
    /// How messages of a stream are told apart. Default: `OctetCounting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<SyslogFraming>,
    /// What a message says. Default: `Json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SyslogFormat>,
    /// True: a message begins with a byte order mark. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bom: Option<bool>,
    /// Longest message in bytes, 2048 to 65000. Default: 8000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2048, max = 65000))]
    pub max_bytes: Option<i32>,
    /// Facility, 0 to 23. Default: 13, log audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 23))]
    pub facility: Option<i32>,
    /// APP-NAME. Default: `ai-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 48))]
    pub app_name: Option<String>,
    /// A private enterprise number (IANA) of yours, 1 to 4294967295: messages then have a structured data element
    /// `aiGateway@NUMBER` with the keys that receivers filter by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295i64))]
    pub enterprise_number: Option<i64>,
}

/// How messages travel.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogTransport {
    Udp,
    Tcp,
    Tls,
}

/// How messages of a stream are told apart (RFC 6587 3.4).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogFraming {
    OctetCounting,
    NewLine,
}

/// What a message says.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogFormat {
    Json,
    Cef,
}

/// Microsoft Sentinel, by the Logs Ingestion API.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.identity) && self.identity == 'WorkloadIdentity') != has(self.clientSecretRef)").message("sentinel: name the application's secret in clientSecretRef, or set identity: WorkloadIdentity and leave clientSecretRef out"),
)]
pub struct Sentinel {
    /// Logs ingestion URL of the data collection rule or of a data collection endpoint, without a path.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("sentinel.endpoint"),
        validation = url_scheme("sentinel.endpoint"),
        validation = url_user("sentinel.endpoint"),
        validation = url_fragment("sentinel.endpoint"),
    )]
    pub endpoint: String,
    /// Immutable id of the rule: `dcr-` and 32 hexadecimal digits.
    #[schemars(length(min = 1, max = 64))]
    pub rule_id: String,
    /// Stream that the rule declares, such as `Custom-AIGateway`.
    #[schemars(length(min = 1, max = 128))]
    pub stream: String,
    /// Directory of the application: a GUID.
    #[schemars(length(min = 36, max = 36))]
    pub tenant_id: String,
    /// The application: a GUID.
    #[schemars(length(min = 36, max = 36))]
    pub client_id: String,
    /// How the application proves itself. Default: `ClientSecret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SentinelIdentity>,
    /// The key that holds the application's secret; for `ClientSecret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<SecretKeyRef>,
    /// Which of Microsoft's clouds. Default: `Public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<SentinelCloud>,
    /// Instead of the cloud's `https://login...`: a private authority host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("sentinel.authority"),
        validation = url_scheme("sentinel.authority"),
        validation = url_user("sentinel.authority"),
        validation = url_fragment("sentinel.authority"),
    )]
    pub authority: Option<String>,
}

/// How an application proves itself to Entra ID.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentinelIdentity {
    /// By a secret.
    ClientSecret,
    /// By the token of the exporter's service account.
    WorkloadIdentity,
}

/// Microsoft's clouds.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentinelCloud {
    /// Azure.
    Public,
    /// Azure Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
}

/// Amazon EventBridge. Without keys the exporter uses the web identity of its service account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.accessKeyIdSecretRef) == has(self.secretAccessKeySecretRef)").message("eventBridge: name both accessKeyIdSecretRef and secretAccessKeySecretRef, or neither to use the web identity of the exporter's service account"),
    validation = Rule::new("!has(self.sessionTokenSecretRef) || has(self.accessKeyIdSecretRef)").message("eventBridge.sessionTokenSecretRef belongs to an access key: name accessKeyIdSecretRef and secretAccessKeySecretRef too, or remove it"),
)]
pub struct EventBridge {
    /// Region, such as `eu-central-1`.
    #[schemars(length(min = 1, max = 64))]
    pub region: String,
    /// Name or ARN of the bus. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1600))]
    pub event_bus: Option<String>,
    /// `source` of the events. Default: `ai-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub source: Option<String>,
    /// Where EventBridge is reached by another name, as through a VPC endpoint. Default: the region's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("eventBridge.endpoint"),
        validation = url_scheme("eventBridge.endpoint"),
        validation = url_user("eventBridge.endpoint"),
        validation = url_fragment("eventBridge.endpoint"),
    )]
    pub endpoint: Option<String>,
    /// The key that holds the id of an access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id_secret_ref: Option<SecretKeyRef>,
    /// The key that holds the secret access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_secret_ref: Option<SecretKeyRef>,
    /// The key that holds the session token of temporary keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token_secret_ref: Option<SecretKeyRef>,
}

/// An HTTP source of Sumo Logic. Its URL is its credential.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SumoLogic {
    /// The key that holds the source's URL.
    pub url_secret_ref: SecretKeyRef,
    /// `_sourceCategory`. Default: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub source_category: Option<String>,
    /// `_sourceName`. Default: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub source_name: Option<String>,
    /// `_sourceHost`. Default: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub source_host: Option<String>,
    /// Custom fields, which the account must know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 30))]
    pub fields: BTreeMap<String, String>,
}

/// Coralogix, by its OTLP endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Coralogix {
    /// The team's domain, such as `eu2.coralogix.com`.
    #[schemars(length(min = 1, max = 253))]
    pub domain: String,
    /// The key that holds a Send-Your-Data API key.
    pub secret_ref: SecretKeyRef,
    /// `cx.application.name`. Default: the pool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub application: Option<String>,
    /// `cx.subsystem.name`. Default: the component that an event is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub subsystem: Option<String>,
    /// Instead of `https://ingress.DOMAIN/v1/logs`: a private link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("coralogix.url"),
        validation = url_scheme("coralogix.url"),
        validation = url_user("coralogix.url"),
        validation = url_fragment("coralogix.url"),
    )]
    pub url: Option<String>,
}

/// Elasticsearch or OpenSearch, by `_bulk` into a data stream.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Elasticsearch {
    /// The cluster, such as `https://es.example.com:9200`, with the path of a proxy if there is one.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("elasticsearch.url"),
        validation = url_scheme("elasticsearch.url"),
        validation = url_user("elasticsearch.url"),
        validation = url_fragment("elasticsearch.url"),
    )]
    pub url: String,
    /// The key that holds an API key in its encoded form, or with `username` the password.
    pub secret_ref: SecretKeyRef,
    /// Where events go. Default: `logs-mcp.audit-default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub data_stream: Option<String>,
    /// User of the password in the Secret. Default: the Secret holds an API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub username: Option<String>,
}

/// A receiver of signed requests (Standard Webhooks).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Where to.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = url_form("webhook.url"),
        validation = url_scheme("webhook.url"),
        validation = url_user("webhook.url"),
        validation = url_fragment("webhook.url"),
    )]
    pub url: String,
    /// The key that holds the signing secret, in the form `whsec_...`.
    pub secret_ref: SecretKeyRef,
    /// The key that holds the secret before, while receivers move to the new one: requests are then signed with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret_ref: Option<SecretKeyRef>,
    /// Headers of each request. No credentials: anyone who may read the SiemExport could read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<WebhookHeader>,
}

/// One header.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WebhookHeader {
    /// Name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Value, in visible ASCII.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// JSON lines of the exporter's Pod, for a collector of logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Stdout {}
