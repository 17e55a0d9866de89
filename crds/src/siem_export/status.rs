//! What is known of a SiemExport. Counters are since a destination's group was made; of several pools, they are sums.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::Condition;

/// What the operator last saw. Numbers alone are written at most once a minute.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SiemExportStatus {
    /// The generation of the spec that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The destinations of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub destinations: Vec<DestinationStatus>,
    /// Events that no route took.
    #[serde(default)]
    pub unrouted: i64,
    /// Columns of `kubectl get siemexport`.
    #[serde(default)]
    pub display: ExportDisplay,
    /// When the numbers were last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_time: Option<Time>,
    /// Since when destinations fail, while `Delivering` still says that they are in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// Accepted, ResolvedRefs, Programmed, Delivering.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One destination.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DestinationStatus {
    /// Name of the destination.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// How it stands; of several pools, the worst.
    pub state: DestinationState,
    /// What is wrong, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub message: Option<String>,
    /// What an acknowledgement of the platform is worth: `Sent`, `Accepted` or `Stored`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assurance: Option<String>,
    /// When the platform last took an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivered_time: Option<Time>,
    /// Events that the platform took.
    #[serde(default)]
    pub delivered: i64,
    /// Events that were refused, were given up for their age, or fell out of the stream before they were read.
    #[serde(default)]
    pub dropped: i64,
    /// Events that may have been lost.
    #[serde(default)]
    pub possibly_lost: i64,
    /// Events that wait; absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
    /// The platform's last refusal, as a code that is documented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_code: Option<String>,
    /// The last test event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_test: Option<LastTest>,
}

/// How it stands with a destination.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DestinationState {
    /// The exporter has not told yet.
    #[default]
    Pending,
    /// Nothing has been sent yet.
    Idle,
    /// The last answer was good.
    Delivering,
    /// The last answer was not, and is tried again.
    Retrying,
    /// The credential is refused; everything is held.
    AuthRejected,
    /// The platform refuses everything, because a setting is wrong; everything is held.
    Rejected,
    /// `enabled` is false.
    Disabled,
    /// It can not be set up; its backlog is held.
    Invalid,
}

/// What became of a test event.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LastTest {
    /// The id that asked for it.
    pub id: String,
    /// What became of it; of several pools, the worst.
    pub result: TestOutcome,
    /// A sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it ended.
    pub time: Time,
    /// How long it took, in milliseconds; of several pools, the longest.
    pub milliseconds: i64,
}

/// What became of a test event.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// The platform took it.
    Delivered,
    /// The platform refused it.
    Rejected,
    /// There was no answer.
    Unreachable,
}

/// Columns of `kubectl get siemexport`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExportDisplay {
    /// Name of the pool, or how many there are.
    pub pool: String,
    /// Number of destinations.
    pub destinations: i32,
    /// Destinations that are in order and destinations that are enabled, for example `1/2`.
    pub delivering: String,
    /// Events that wait, of all destinations.
    pub backlog: i64,
    /// Events that were given up or lost, of all destinations.
    pub dropped: i64,
}
