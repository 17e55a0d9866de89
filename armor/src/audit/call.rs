//! The drop guard of a call.
//!
//! Promises: one `tool_call`, when the guard is closed or dropped, however the call ends: answered,
//! refused, given up by the caller, or torn down by a panic. Must never cost more than a few
//! allocations on the way of the call: the event is serialized by the writer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use events::{Agent, Body, CallRef, Caller, Cost, ErrorCause, Outcome, Policy, Text, ToolCall};

use super::{Lane, Parameters, Shared, parameters};

/// What is known when a call's principal is.
#[derive(Clone, Debug)]
pub struct CallStart<'a> {
    /// When the call's envelope was read.
    pub started: Instant,
    /// Who calls.
    pub caller: Caller,
    /// By which program.
    pub agent: Agent,
    /// The id that the caller gets back.
    pub request_id: &'a str,
    /// The W3C trace id, where one came in.
    pub trace_id: Option<&'a str>,
    /// The size of the request's body.
    pub request_bytes: u64,
}

/// The open record of one call. It is told how the call goes, and writes the event when it is closed or
/// dropped. Without an outcome the caller is taken to have gone away.
#[must_use = "dropping the guard ends the call"]
pub struct CallGuard {
    shared: Arc<Shared>,
    started: Instant,
    /// Taken once, by `drop`.
    call: Option<Box<ToolCall>>,
    outcome: Option<Outcome>,
}

impl CallGuard {
    pub(super) fn open(shared: Arc<Shared>, start: CallStart<'_>) -> Self {
        let mut call = ToolCall::new(start.caller, Outcome::Success);
        call.agent = start.agent;
        call.method.clone_from(&shared.tools_call);
        call.request_id = Text::new(start.request_id);
        call.trace_id = start.trace_id.and_then(Text::new);
        call.request_bytes = Some(start.request_bytes);
        Self { shared, started: start.started, call: Some(Box::new(call)), outcome: None }
    }

    fn set(&mut self, change: impl FnOnce(&mut ToolCall)) {
        if let Some(call) = &mut self.call {
            change(call);
        }
    }

    /// To which server and tool the call goes; `tool` is the name that the server gave it.
    pub fn route(&mut self, server: &str, tool: &str) {
        self.set(|call| {
            call.server = Text::new(server);
            call.tool = Text::new(tool);
        });
    }

    /// The name that was called, where there is no such tool.
    pub fn tool(&mut self, name: &str) {
        self.set(|call| call.tool = Text::new(name));
    }

    /// The digest of the tool definition that was served.
    pub fn definition_hash(&mut self, digest: &str) {
        self.set(|call| call.definition_hash = Text::new(digest));
    }

    /// The call's arguments as raw JSON. `known` says whether the tool's input schema has a property of
    /// that name; other names are only counted, because a caller could write content into a name.
    pub fn parameters(&mut self, arguments: Option<&[u8]>, known: impl Fn(&str) -> bool) {
        let mode = self.shared.parameters.load_full();
        let Some(arguments) = arguments else { return };
        if matches!(*mode, Parameters::None) {
            return;
        }
        self.set(|call| {
            if let Some((names, unknown)) = parameters::names(arguments, known) {
                call.parameter_fields = names;
                call.parameter_unknown_count = Some(unknown);
            }
            if let Parameters::NamesAndHashes(key) = &*mode {
                call.parameters_hash = parameters::hash(key, arguments).as_deref().and_then(Text::new);
            }
        });
    }

    /// The program that calls, where it is known only later.
    pub fn agent(&mut self, agent: Agent) {
        self.set(|call| call.agent = agent);
    }

    /// What decided about the call.
    pub fn policy(&mut self, policy: Policy) {
        self.set(|call| call.policy = policy);
    }

    /// What the server says that the call cost.
    pub fn cost(&mut self, cost: Cost) {
        self.set(|call| call.cost = cost);
    }

    /// How long the server took.
    pub fn upstream_time(&mut self, duration: Duration) {
        self.set(|call| call.upstream = Some(duration.into()));
    }

    /// The size of the request's body.
    pub fn request_bytes(&mut self, bytes: u64) {
        self.set(|call| call.request_bytes = Some(bytes));
    }

    /// Bytes that were sent to the caller, on top of those before.
    pub fn add_response_bytes(&mut self, bytes: u64) {
        self.set(|call| {
            call.response_bytes = Some(call.response_bytes.unwrap_or(0).saturating_add(bytes));
        });
    }

    /// The HTTP status that the caller got.
    pub fn http_status(&mut self, status: u16) {
        self.set(|call| call.http_status = Some(status));
    }

    /// The JSON-RPC error code that the caller got.
    pub fn rpc_code(&mut self, code: i64) {
        self.set(|call| call.rpc_code = Some(code));
    }

    /// What became of the call. The last one counts.
    pub fn outcome(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// The call, as the operational events that it causes refer to it.
    #[must_use]
    pub fn reference(&self) -> CallRef {
        self.call.as_ref().map_or_else(CallRef::default, |call| CallRef {
            request_id: call.request_id.clone(),
            session_id: call.caller.session_id.clone(),
            user: Some(Arc::clone(&call.caller.user)),
        })
    }

    /// Ends the call; the same as dropping the guard.
    pub fn close(self) {}
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let Some(mut call) = self.call.take() else {
            return;
        };
        call.outcome = match self.outcome {
            Some(outcome) => outcome,
            None if std::thread::panicking() => Outcome::Error(ErrorCause::Internal),
            None => Outcome::Error(ErrorCause::ClientDisconnected),
        };
        call.total = Some(self.started.elapsed().into());
        self.shared.emit(Lane::Call, Body::ToolCall(call), None);
    }
}
