//! The parts of a status that every kind has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One aspect of an object's state, as in `metav1.Condition`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about, for example `Ready`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(length(max = 16))]
    pub status: String,
    /// The generation that the condition was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// A stable word for programs.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// A sentence for people: object, field and remedy.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Health of one component of a pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// `armor`, `redis` or `exporter`.
    pub name: String,
    /// Pods that should run.
    pub desired: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Image of the component's container; absent for an external Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `Healthy`, `Progressing` or `Degraded`.
    pub health: String,
    /// Since when `health` has this value.
    pub since: Time,
}

/// A count of the pool's MCP servers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct McpServerCounts {
    /// McpServers that name this pool.
    pub desired: i32,
    /// Of these, the ones that Armor's configuration holds.
    pub deployed: i32,
    /// Of these, the ones whose handshake succeeded.
    pub healthy: i32,
}

/// Strings for `kubectl get`, which can not join two numbers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Display {
    /// Ready and desired Armor replicas, for example `2/2`.
    pub armor: String,
    /// Healthy and desired MCP servers, for example `3/4`.
    pub servers: String,
}

/// What runs where.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Version of the operator that wrote the status.
    pub operator: String,
    /// Version of the API server, as it was when the operator started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
}
