//! The catalogue: every event that exists, with its class and the keys that it may and must carry.
//!
//! Promises: the schema and the samples are made from this table, and a test compares it with what
//! the types really write. An event joins it together with the code that causes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Class, Severity};

/// The name of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum EventName {
    /// What became of one authenticated `tools/call`, or of refused ones of a stranger.
    ToolCall,
    /// A credential was refused.
    AuthDenied,
    /// A request had nowhere to go.
    RouteNotFound,
    /// The conversation with a server failed.
    UpstreamError,
    /// Another configuration is in force.
    ConfigChange,
    /// Events were lost.
    EventsDropped,
    /// A component of a pool came, became ready, failed, recovered or went.
    ComponentLifecycle,
    /// A component has not as many ready Pods as it should have, or has them again.
    Scaling,
    /// The outcome of bringing an object to its desired state changed.
    ReconciliationComplete,
    /// The one-word summary of a pool changed.
    PoolPhaseChanged,
    /// An object that makes up a pool was created, changed or deleted.
    ResourceChanged,
    /// A destination has taken nothing for a while.
    DestinationFailing,
    /// A destination takes events again.
    DestinationRecovered,
    /// What a destination has not taken fills most of the stream.
    BacklogAtRisk,
    /// Somebody asked whether a destination works.
    TestEvent,
}

/// Keys of events that a call caused.
const CALL_REF: &[&str] =
    &["request.id", "session.id", "user.email", "user.id", "user.issuer", "user.groups", "user.department"];

/// Envelope keys that every event has.
pub(crate) const ENVELOPE_REQUIRED: &[&str] = &[
    "schema_version",
    "event_id",
    "timestamp",
    "class",
    "event",
    "severity",
    "pool.id",
    "component.name",
    "component.version",
    "component.instance",
    "component.seq",
    "message",
];

/// Envelope keys that any event may have.
pub(crate) const ENVELOPE_OPTIONAL: &[&str] =
    &["pool.name", "pool.namespace", "cluster.id", "repeat.count", "repeat.request_ids", "truncated"];

impl EventName {
    /// Every event of this version of the schema.
    pub const ALL: &'static [Self] = &[
        Self::ToolCall,
        Self::AuthDenied,
        Self::RouteNotFound,
        Self::UpstreamError,
        Self::ConfigChange,
        Self::EventsDropped,
        Self::ComponentLifecycle,
        Self::Scaling,
        Self::ReconciliationComplete,
        Self::PoolPhaseChanged,
        Self::ResourceChanged,
        Self::DestinationFailing,
        Self::DestinationRecovered,
        Self::BacklogAtRisk,
        Self::TestEvent,
    ];

    /// The name as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToolCall => "tool_call",
            Self::AuthDenied => "auth_denied",
            Self::RouteNotFound => "route_not_found",
            Self::UpstreamError => "upstream_error",
            Self::ConfigChange => "config_change",
            Self::EventsDropped => "events_dropped",
            Self::ComponentLifecycle => "component_lifecycle",
            Self::Scaling => "scaling",
            Self::ReconciliationComplete => "reconciliation_complete",
            Self::PoolPhaseChanged => "pool_phase_changed",
            Self::ResourceChanged => "resource_changed",
            Self::DestinationFailing => "destination_failing",
            Self::DestinationRecovered => "destination_recovered",
            Self::BacklogAtRisk => "backlog_at_risk",
            Self::TestEvent => "test_event",
        }
    }

    /// The class that every event of this name has.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::ToolCall => Class::ToolActivity,
            Self::ResourceChanged => Class::Audit,
            _ => Class::Operational,
        }
    }

    /// The severities that an event of this name may have.
    #[must_use]
    pub const fn severities(self) -> &'static [Severity] {
        match self {
            Self::ToolCall | Self::ComponentLifecycle | Self::Scaling => &[Severity::Info, Severity::Warn],
            Self::ReconciliationComplete => &[Severity::Info, Severity::Error],
            Self::PoolPhaseChanged => &[Severity::Info, Severity::Warn, Severity::Error],
            Self::AuthDenied | Self::RouteNotFound | Self::BacklogAtRisk => &[Severity::Warn],
            Self::UpstreamError | Self::EventsDropped | Self::DestinationFailing => &[Severity::Error],
            Self::ConfigChange | Self::ResourceChanged | Self::DestinationRecovered | Self::TestEvent => {
                &[Severity::Info]
            }
        }
    }

    /// The keys beside the envelope that every event of this name carries.
    #[must_use]
    pub const fn required(self) -> &'static [&'static str] {
        match self {
            Self::ToolCall => &["status", "action"],
            Self::AuthDenied => &["auth.failure"],
            Self::RouteNotFound => &["route.cause"],
            Self::UpstreamError => &["mcp.server_name", "upstream.cause"],
            Self::ConfigChange => &["config.revision", "config.hash", "config.source"],
            Self::EventsDropped => &["dropped.count", "dropped.from", "dropped.to", "dropped.cause"],
            Self::ComponentLifecycle => &["lifecycle.component", "lifecycle.transition"],
            Self::Scaling => &["scaling.component", "scaling.desired", "scaling.ready"],
            Self::ReconciliationComplete => &[
                "reconcile.kind",
                "reconcile.name",
                "reconcile.created",
                "reconcile.updated",
                "reconcile.deleted",
                "reconcile.unchanged",
                "duration.total_ms",
            ],
            Self::PoolPhaseChanged => &["phase.to"],
            Self::ResourceChanged => &["resource.kind", "resource.name", "resource.operation"],
            Self::DestinationFailing => &["destination.name", "destination.cause"],
            Self::DestinationRecovered | Self::BacklogAtRisk => &["destination.name"],
            Self::TestEvent => &["destination.name", "test.id"],
        }
    }

    /// The keys beside the envelope that an event of this name may carry, besides the required ones.
    pub fn optional(self) -> impl Iterator<Item = &'static str> {
        let (own, shared): (&[&str], &[&str]) = match self {
            Self::ToolCall => (TOOL_CALL_OPTIONAL, &[]),
            Self::AuthDenied | Self::RouteNotFound => (&["client.ip"], CALL_REF),
            Self::UpstreamError => (&["http.status_code"], CALL_REF),
            Self::ConfigChange => (&["config.previous"], &[]),
            Self::ReconciliationComplete => (&["reconcile.error"], &[]),
            Self::PoolPhaseChanged => (&["phase.from", "phase.reason"], &[]),
            Self::ResourceChanged => (&["actor.manager"], &[]),
            Self::EventsDropped => (&["destination.name"], &[]),
            Self::ComponentLifecycle
            | Self::Scaling
            | Self::DestinationFailing
            | Self::DestinationRecovered
            | Self::BacklogAtRisk
            | Self::TestEvent => (&[], &[]),
        };
        own.iter().chain(shared).copied()
    }
}

const TOOL_CALL_OPTIONAL: &[&str] = &[
    "user.email",
    "user.id",
    "user.issuer",
    "user.groups",
    "user.department",
    "client.ip",
    "client.user_agent",
    "auth.method",
    "session.id",
    "agent.id",
    "agent.name",
    "agent.version",
    "agent.model",
    "action.reason",
    "policy.name",
    "policy.rule",
    "policy.evaluated",
    "policy.evaluation_ms",
    "tool.name",
    "mcp.server_name",
    "mcp.method",
    "tool.parameter_fields",
    "tool.parameter_unknown_count",
    "tool.parameters_hash",
    "tool.definition_hash",
    "request.id",
    "trace.id",
    "duration.total_ms",
    "duration.upstream_ms",
    "http.status_code",
    "rpc.error_code",
    "request.bytes",
    "response.bytes",
    "cost.input_tokens",
    "cost.output_tokens",
    "cost.usd",
    "cost.model",
];
