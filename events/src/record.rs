//! The wire form: one flat object of dotted keys, in the order of the tables of the schema.
//!
//! Promises: absent keys are absent (never null, never empty), and what [`Record::to_json`] writes,
//! [`Record::from_json`] reads back equal. Must never be built by an emitter by hand: it comes from an
//! [`Event`](crate::Event), whose types exclude what does not fit together.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    Action, ActionReason, AuthFailure, AuthMethod, Class, Component, ConfigSource, DroppedCause, EventName,
    LifecycleTransition, Message, Millis, Moment, PoolPhase, ResourceKind, ResourceOperation, RouteCause, Severity,
    Status, Text, TextList, UpstreamCause, Usd, cut::Cut, limits,
};

/// Declares [`Record`] once, so that the wire name, the order, the type and the cutting of a key
/// cannot disagree.
macro_rules! record {
    ($(
        required { $($(#[$rdoc:meta])* $req:ident: $rty:ty = $rkey:literal,)+ }
        optional { $($(#[$odoc:meta])* $opt:ident: $oty:ty = $okey:literal,)+ }
    )+) => {
        /// One event in its flat form. Fields are named as their keys, with `_` for `.`.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub struct Record {
            $(
                $($(#[$rdoc])* #[serde(rename = $rkey)] pub $req: $rty,)+
                $($(#[$odoc])* #[serde(rename = $okey, default, skip_serializing_if = "Option::is_none")]
                  pub $opt: Option<$oty>,)+
            )+
        }

        impl Record {
            /// Every key, in the order in which it is written.
            pub const KEYS: &'static [&'static str] = &[$($($rkey,)+ $($okey,)+)+];

            // One argument per required key: a new one does not compile until every event has it.
            #[allow(clippy::too_many_arguments)]
            pub(crate) fn bare($($($req: $rty,)+)+) -> Self {
                Self { $($($req,)+ $($opt: None,)+)+ }
            }

            /// The keys whose values were cut where they entered.
            pub(crate) fn cut_keys(&self) -> Vec<Cow<'static, str>> {
                let mut keys = Vec::new();
                $(
                    $(if self.$req.was_cut() { keys.push(Cow::Borrowed($rkey)); })+
                    $(if self.$opt.as_ref().is_some_and(Cut::was_cut) {
                        keys.push(Cow::Borrowed($okey));
                    })+
                )+
                keys
            }

            /// Every value that is there, in the order of the tables.
            pub(crate) fn values(&mut self) -> Vec<&mut dyn Cut> {
                let mut values: Vec<&mut dyn Cut> = Vec::with_capacity(Self::KEYS.len());
                $(
                    $(values.push(&mut self.$req);)+
                    $(if let Some(value) = &mut self.$opt { values.push(value); })+
                )+
                values
            }
        }
    };
}

record! {
    required {
        schema_version: Cow<'static, str> = "schema_version",
        /// A ULID. A retry repeats it, so receivers can drop duplicates.
        #[schemars(with = "String", regex(pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"))]
        event_id: Ulid = "event_id",
        /// When it happened.
        timestamp: Moment = "timestamp",
        class: Class = "class",
        event: EventName = "event",
        severity: Severity = "severity",
        pool_id: Text = "pool.id",
    }
    optional {
        pool_name: Text = "pool.name",
        pool_namespace: Text = "pool.namespace",
        cluster_id: Text = "cluster.id",
    }
    required {
        component_name: Component = "component.name",
        component_version: Text = "component.version",
        /// The Pod, or what else tells instances apart.
        component_instance: Text = "component.instance",
        /// Rises by one per instance and event, so gaps show.
        component_seq: u64 = "component.seq",
        /// One sentence from a fixed template, with no identity in it.
        message: Message = "message",
    }
    optional {
        /// How many occurrences a joined event stands for.
        #[schemars(range(min = 1))]
        repeat_count: u64 = "repeat.count",
        repeat_request_ids: TextList<{ limits::REPEAT_REQUEST_IDS }> = "repeat.request_ids",
        /// The keys that were cut.
        #[schemars(length(min = 1))]
        truncated: Vec<Cow<'static, str>> = "truncated",

        user_email: Text = "user.email",
        user_id: Text = "user.id",
        user_issuer: Text = "user.issuer",
        user_groups: TextList<{ limits::GROUPS }> = "user.groups",
        user_department: Text = "user.department",
        client_ip: Text = "client.ip",
        client_user_agent: Text = "client.user_agent",
        auth_method: AuthMethod = "auth.method",
        session_id: Text = "session.id",

        agent_id: Text = "agent.id",
        agent_name: Text = "agent.name",
        agent_version: Text = "agent.version",
        agent_model: Text = "agent.model",

        status: Status = "status",
        action: Action = "action",
        action_reason: ActionReason = "action.reason",
        policy_name: Text = "policy.name",
        policy_rule: Text = "policy.rule",
        /// How many policies were looked at.
        policy_evaluated: u64 = "policy.evaluated",
        policy_evaluation_ms: Millis = "policy.evaluation_ms",

        tool_name: Text = "tool.name",
        mcp_server_name: Text = "mcp.server_name",
        mcp_method: Text = "mcp.method",
        /// Sorted names, only those that the tool's input schema knows.
        tool_parameter_fields: TextList<{ limits::PARAMETER_FIELDS }> = "tool.parameter_fields",
        tool_parameter_unknown_count: u64 = "tool.parameter_unknown_count",
        /// `hmac-sha256:<key id>:<hex>` of the canonical JSON (RFC 8785) of the arguments.
        #[schemars(extend("pattern" = "^hmac-sha256:[0-9a-f]{8}:[0-9a-f]{64}$"))]
        tool_parameters_hash: Text = "tool.parameters_hash",
        /// The digest of the tool definition that was served.
        tool_definition_hash: Text = "tool.definition_hash",
        /// Also returned to the caller in a header.
        request_id: Text = "request.id",
        /// The W3C trace id, where one came in.
        trace_id: Text = "trace.id",
        duration_total_ms: Millis = "duration.total_ms",
        duration_upstream_ms: Millis = "duration.upstream_ms",
        /// What the caller got; on `upstream_error`, what the server answered.
        #[schemars(range(min = 100, max = 999))]
        http_status_code: u16 = "http.status_code",
        rpc_error_code: i64 = "rpc.error_code",

        request_bytes: u64 = "request.bytes",
        response_bytes: u64 = "response.bytes",
        cost_input_tokens: u64 = "cost.input_tokens",
        cost_output_tokens: u64 = "cost.output_tokens",
        cost_usd: Usd = "cost.usd",
        cost_model: Text = "cost.model",

        auth_failure: AuthFailure = "auth.failure",
        route_cause: RouteCause = "route.cause",
        upstream_cause: UpstreamCause = "upstream.cause",
        config_revision: Text = "config.revision",
        config_previous: Text = "config.previous",
        config_hash: Text = "config.hash",
        config_source: ConfigSource = "config.source",
        #[schemars(range(min = 1))]
        dropped_count: u64 = "dropped.count",
        dropped_from: Moment = "dropped.from",
        dropped_to: Moment = "dropped.to",
        dropped_cause: DroppedCause = "dropped.cause",
        lifecycle_component: Component = "lifecycle.component",
        lifecycle_transition: LifecycleTransition = "lifecycle.transition",
        scaling_component: Component = "scaling.component",
        /// Pods that should run.
        scaling_desired: u64 = "scaling.desired",
        /// Pods that are ready.
        scaling_ready: u64 = "scaling.ready",
        reconcile_kind: ResourceKind = "reconcile.kind",
        reconcile_name: Text = "reconcile.name",
        reconcile_created: u64 = "reconcile.created",
        reconcile_updated: u64 = "reconcile.updated",
        reconcile_deleted: u64 = "reconcile.deleted",
        reconcile_unchanged: u64 = "reconcile.unchanged",
        /// The stable reason of a failure.
        reconcile_error: Text = "reconcile.error",
        phase_from: PoolPhase = "phase.from",
        phase_to: PoolPhase = "phase.to",
        phase_reason: Text = "phase.reason",
        resource_kind: ResourceKind = "resource.kind",
        resource_name: Text = "resource.name",
        resource_operation: ResourceOperation = "resource.operation",
        /// The field manager that wrote last, of `metadata.managedFields`.
        actor_manager: Text = "actor.manager",

        /// `SIEMEXPORT/DESTINATION`
        destination_name: Text = "destination.name",
        destination_cause: Text = "destination.cause",
        test_id: Text = "test.id",
    }
}

/// Why bytes are no event of this schema.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Larger than any event may be.
    #[error("an event has at most 16384 bytes, this has {bytes}")]
    TooLarge {
        /// What came.
        bytes: usize,
    },
    /// Not the JSON of an event.
    #[error("not an event: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a schema whose major version this program does not know.
    #[error("unknown schema version {0}")]
    Version(String),
    /// A `tool_call` whose verdict contradicts itself.
    #[error("status, action and action.reason of a tool_call contradict each other")]
    Verdict,
    /// The class does not belong to the event.
    #[error("event {0} does not have class {1}")]
    Class(&'static str, &'static str),
}

impl Record {
    /// The canonical JSON, at most [`limits::EVENT_BYTES`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // A typical tool_call has 1 KB: one allocation instead of five.
        let mut json = Vec::with_capacity(1_536);
        // Writing to memory a struct of strings, numbers that are finite and lists cannot fail.
        if serde_json::to_writer(&mut json, self).is_err() {
            json.clear();
        }
        json
    }

    /// Reads one event and checks what the types of the emitter guarantee. Keys that this version does
    /// not know are ignored: a minor version may add some.
    pub fn from_json(json: &[u8]) -> Result<Self, ReadError> {
        if json.len() > limits::EVENT_BYTES {
            return Err(ReadError::TooLarge { bytes: json.len() });
        }
        // Checked once as a whole, which is faster than string by string; what is not UTF-8 gets its error as before.
        let record: Self = match std::str::from_utf8(json) {
            Ok(text) => serde_json::from_str(text)?,
            Err(_) => serde_json::from_slice(json)?,
        };
        if record.schema_version.split('.').next() != crate::SCHEMA_VERSION.split('.').next() {
            return Err(ReadError::Version(record.schema_version.into_owned()));
        }
        if record.class != record.event.class() {
            return Err(ReadError::Class(record.event.as_str(), record.class.as_str()));
        }
        if record.event == EventName::ToolCall && !record.verdict_is_consistent() {
            return Err(ReadError::Verdict);
        }
        Ok(record)
    }

    fn verdict_is_consistent(&self) -> bool {
        let (Some(status), Some(action)) = (self.status, self.action) else {
            return false;
        };
        match status {
            Status::Success | Status::Error => action == Action::Allowed && self.action_reason.is_none(),
            Status::Blocked => {
                action == Action::Blocked
                    && self.action_reason.is_some_and(|reason| reason != ActionReason::RateLimitExceeded)
            }
            Status::RateLimited => {
                action == Action::Blocked && self.action_reason == Some(ActionReason::RateLimitExceeded)
            }
        }
    }
}
