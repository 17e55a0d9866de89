//! `tool_call`: who, by which agent, under what rule, did what, at what cost.
//!
//! Promises: status, action and reason follow from one [`Outcome`], so they cannot contradict each
//! other. Must never hold an argument's value or a result.

use std::sync::Arc;

use crate::{
    Action, ActionReason, AuthMethod, Message, Millis, Record, Severity, Status, Text, TextList, UpstreamCause, Usd,
    limits,
};

/// The person or service on whose behalf a call is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// `user.email`
    pub email: Option<Text>,
    /// `user.id`
    pub id: Option<Text>,
    /// `user.issuer`: who vouches for the identity.
    pub issuer: Option<Text>,
    /// `user.groups`
    pub groups: TextList<{ limits::GROUPS }>,
    /// `user.department`
    pub department: Option<Text>,
}

/// Where a call comes from and how its principal became known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The principal; shared by all of its calls.
    pub user: Arc<User>,
    /// `client.ip`
    pub client_ip: Option<Text>,
    /// `client.user_agent`
    pub user_agent: Option<Text>,
    /// `auth.method`; absent when there is no principal.
    pub auth_method: Option<AuthMethod>,
    /// `session.id`
    pub session_id: Option<Text>,
}

/// The program that makes the call, as it presents itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// `agent.id`
    pub id: Option<Text>,
    /// `agent.name`
    pub name: Option<Text>,
    /// `agent.version`
    pub version: Option<Text>,
    /// `agent.model`
    pub model: Option<Text>,
}

/// What decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `policy.name`
    pub name: Option<Text>,
    /// `policy.rule`
    pub rule: Option<Text>,
    /// `policy.evaluated`: how many were looked at.
    pub evaluated: Option<u64>,
    /// `policy.evaluation_ms`
    pub evaluation: Option<Millis>,
}

/// What the server says that the call cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// `cost.input_tokens`
    pub input_tokens: Option<u64>,
    /// `cost.output_tokens`
    pub output_tokens: Option<u64>,
    /// `cost.usd`
    pub usd: Option<Usd>,
    /// `cost.model`
    pub model: Option<Text>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tool answered.
    Success,
    /// It was allowed and failed.
    Error(ErrorCause),
    /// A rule refused it.
    Blocked(Reason),
    /// A limit refused it.
    RateLimited,
}

/// Why a call that was allowed failed. Only the message tells it; the codes have keys of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCause {
    /// The caller went away before the answer.
    ClientDisconnected,
    /// The server answered with a JSON-RPC error.
    Rpc,
    /// The tool answered with `isError: true`.
    Tool,
    /// The server or tool does not exist in this pool.
    UnknownTool,
    /// Client and server speak revisions of the protocol that have nothing in common.
    Revision,
    /// The server could not be asked, or did not answer properly.
    Upstream(UpstreamCause),
    /// The answer was larger than the pool allows.
    ResponseTooLarge,
    /// The gateway itself failed.
    Internal,
}

/// Which rule refused a call. A limit is [`Outcome::RateLimited`], so it is not among these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The credential was missing or wrong.
    AuthDenied,
    /// Host, Origin or the envelope was wrong.
    BadRequest,
    /// The caller may not use the tool.
    AuthzDenied,
    /// An interceptor or a changed tool definition.
    InterceptorDenied,
}

impl Outcome {
    /// `status`
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Success => Status::Success,
            Self::Error(_) => Status::Error,
            Self::Blocked(_) => Status::Blocked,
            Self::RateLimited => Status::RateLimited,
        }
    }

    /// `action`
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Success | Self::Error(_) => Action::Allowed,
            Self::Blocked(_) | Self::RateLimited => Action::Blocked,
        }
    }

    /// `action.reason`
    #[must_use]
    pub const fn reason(self) -> Option<ActionReason> {
        match self {
            Self::Success | Self::Error(_) => None,
            Self::Blocked(Reason::AuthDenied) => Some(ActionReason::AuthDenied),
            Self::Blocked(Reason::BadRequest) => Some(ActionReason::BadRequest),
            Self::Blocked(Reason::AuthzDenied) => Some(ActionReason::AuthzDenied),
            Self::Blocked(Reason::InterceptorDenied) => Some(ActionReason::InterceptorDenied),
            Self::RateLimited => Some(ActionReason::RateLimitExceeded),
        }
    }

    pub(crate) const fn severity(self) -> Severity {
        match self {
            Self::Success => Severity::Info,
            _ => Severity::Warn,
        }
    }

    pub(crate) const fn message(self) -> Message {
        Message::template(match self {
            Self::Success => "A tool call succeeded.",
            Self::Error(ErrorCause::ClientDisconnected) => {
                "A tool call was given up: the client disconnected before the answer."
            }
            Self::Error(ErrorCause::Rpc) => "A tool call failed: the server answered with a JSON-RPC error.",
            Self::Error(ErrorCause::Tool) => "A tool call failed: the tool reported an error.",
            Self::Error(ErrorCause::UnknownTool) => "A tool call failed: the pool has no such server or tool.",
            Self::Error(ErrorCause::Revision) => {
                "A tool call failed: client and server speak different protocol revisions."
            }
            Self::Error(ErrorCause::Upstream(UpstreamCause::Connect)) => {
                "A tool call failed: the server could not be reached."
            }
            Self::Error(ErrorCause::Upstream(UpstreamCause::Timeout)) => {
                "A tool call failed: the server did not answer in time."
            }
            Self::Error(ErrorCause::Upstream(UpstreamCause::Tls)) => {
                "A tool call failed: no trusted TLS connection to the server."
            }
            Self::Error(ErrorCause::Upstream(UpstreamCause::Http)) => {
                "A tool call failed: the server answered with an HTTP error."
            }
            Self::Error(ErrorCause::Upstream(UpstreamCause::Protocol)) => {
                "A tool call failed: the server's answer is not valid."
            }
            Self::Error(ErrorCause::ResponseTooLarge) => {
                "A tool call failed: the answer is larger than the pool allows."
            }
            Self::Error(ErrorCause::Internal) => "A tool call failed: the gateway had an internal error.",
            Self::Blocked(Reason::AuthDenied) => "A tool call was blocked: the credential was missing or not accepted.",
            Self::Blocked(Reason::BadRequest) => "A tool call was blocked: the request is not acceptable.",
            Self::Blocked(Reason::AuthzDenied) => "A tool call was blocked: the caller may not use this tool.",
            Self::Blocked(Reason::InterceptorDenied) => "A tool call was blocked: an interceptor refused it.",
            Self::RateLimited => "A tool call was refused: a rate limit was exceeded.",
        })
    }
}

/// One tool call. Only the outcome must be known; the rest is told as far as the call got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Who.
    pub caller: Caller,
    /// By which agent.
    pub agent: Agent,
    /// What became of it.
    pub outcome: Outcome,
    /// Under what rule.
    pub policy: Policy,
    /// `tool.name`: the name that the server gave it.
    pub tool: Option<Text>,
    /// `mcp.server_name`
    pub server: Option<Text>,
    /// `mcp.method`
    pub method: Option<Text>,
    /// `tool.parameter_fields`, sorted.
    pub parameter_fields: TextList<{ limits::PARAMETER_FIELDS }>,
    /// `tool.parameter_unknown_count`
    pub parameter_unknown_count: Option<u64>,
    /// `tool.parameters_hash`
    pub parameters_hash: Option<Text>,
    /// `tool.definition_hash`
    pub definition_hash: Option<Text>,
    /// `request.id`
    pub request_id: Option<Text>,
    /// `trace.id`
    pub trace_id: Option<Text>,
    /// `duration.total_ms`
    pub total: Option<Millis>,
    /// `duration.upstream_ms`
    pub upstream: Option<Millis>,
    /// `http.status_code`
    pub http_status: Option<u16>,
    /// `rpc.error_code`
    pub rpc_code: Option<i64>,
    /// `request.bytes`
    pub request_bytes: Option<u64>,
    /// `response.bytes`
    pub response_bytes: Option<u64>,
    /// What it cost.
    pub cost: Cost,
}

impl ToolCall {
    /// A call of which only its end is known.
    #[must_use]
    pub fn new(caller: Caller, outcome: Outcome) -> Self {
        Self {
            caller,
            agent: Agent::default(),
            outcome,
            policy: Policy::default(),
            tool: None,
            server: None,
            method: None,
            parameter_fields: TextList::default(),
            parameter_unknown_count: None,
            parameters_hash: None,
            definition_hash: None,
            request_id: None,
            trace_id: None,
            total: None,
            upstream: None,
            http_status: None,
            rpc_code: None,
            request_bytes: None,
            response_bytes: None,
            cost: Cost::default(),
        }
    }

    pub(crate) fn fill(self, record: &mut Record) {
        self.caller.user.fill(record);
        record.client_ip = self.caller.client_ip;
        record.client_user_agent = self.caller.user_agent;
        record.auth_method = self.caller.auth_method;
        record.session_id = self.caller.session_id;

        record.agent_id = self.agent.id;
        record.agent_name = self.agent.name;
        record.agent_version = self.agent.version;
        record.agent_model = self.agent.model;

        record.status = Some(self.outcome.status());
        record.action = Some(self.outcome.action());
        record.action_reason = self.outcome.reason();
        record.policy_name = self.policy.name;
        record.policy_rule = self.policy.rule;
        record.policy_evaluated = self.policy.evaluated;
        record.policy_evaluation_ms = self.policy.evaluation;

        record.tool_name = self.tool;
        record.mcp_server_name = self.server;
        record.mcp_method = self.method;
        record.tool_parameter_fields = list(self.parameter_fields);
        record.tool_parameter_unknown_count = self.parameter_unknown_count;
        record.tool_parameters_hash = self.parameters_hash;
        record.tool_definition_hash = self.definition_hash;
        record.request_id = self.request_id;
        record.trace_id = self.trace_id;
        record.duration_total_ms = self.total;
        record.duration_upstream_ms = self.upstream;
        record.http_status_code = self.http_status;
        record.rpc_error_code = self.rpc_code;

        record.request_bytes = self.request_bytes;
        record.response_bytes = self.response_bytes;
        record.cost_input_tokens = self.cost.input_tokens;
        record.cost_output_tokens = self.cost.output_tokens;
        record.cost_usd = self.cost.usd;
        record.cost_model = self.cost.model;
    }
}

impl User {
    pub(crate) fn fill(&self, record: &mut Record) {
        record.user_email.clone_from(&self.email);
        record.user_id.clone_from(&self.id);
        record.user_issuer.clone_from(&self.issuer);
        record.user_groups = list(self.groups.clone());
        record.user_department.clone_from(&self.department);
    }
}

fn list<const MAX: usize>(list: TextList<MAX>) -> Option<TextList<MAX>> {
    (!list.is_empty()).then_some(list)
}
