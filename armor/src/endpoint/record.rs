//! What becomes of one request: told once, to the audit trail and to the figures.
//!
//! Promises: however the request ends, its outcome is counted; of a `tools/call` the guard inside makes the
//! one event, also when this is dropped because the caller went away. Must never decide anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::audit::{Audit, CallGuard, CallRef, ErrorCause, Outcome, Reason, RouteCause};
use crate::gateway::Gateway;
use crate::mcp::Era;
use crate::mcp::jsonrpc::RpcError;
use crate::metrics;
use crate::session::store::Awaiting;
use crate::stream::scan::Facts;
use crate::upstream::Fault;

/// The record.
pub struct Record {
    gateway: Arc<Gateway>,
    audit: Audit,
    guard: Option<CallGuard>,
    method: String,
    /// Raw JSON of the request's id; `None`: no answer is awaited.
    id: Option<Vec<u8>>,
    era: Era,
    started: Instant,
    server: Option<String>,
    upstream: Option<Instant>,
    answered: bool,
    counted: bool,
}

impl Record {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        audit: Audit,
        guard: Option<CallGuard>,
        method: &str,
        id: Option<Vec<u8>>,
        era: Era,
        started: Instant,
    ) -> Self {
        gateway.metrics.in_flight.inc();
        Self {
            gateway,
            audit,
            guard,
            method: method.to_owned(),
            id,
            era,
            started,
            server: None,
            upstream: None,
            answered: false,
            counted: false,
        }
    }

    /// Whether the caller has, or will have, no other answer than the one that was told.
    #[must_use]
    pub fn is_concluded(&self) -> bool {
        self.answered || self.id.is_none()
    }

    /// The server that it is for.
    #[must_use]
    pub fn server(&self) -> &str {
        self.server.as_deref().unwrap_or_default()
    }

    /// The raw id.
    #[must_use]
    pub fn id(&self) -> Option<&RawValue> {
        serde_json::from_slice(self.id.as_deref()?).ok()
    }

    /// Whether this is the id of the request.
    #[must_use]
    pub fn is_answer(&self, facts: &Facts) -> bool {
        facts.is_response() && same_id(self.id.as_deref(), facts.id.as_deref())
    }

    /// The server and its own name of the tool were found.
    pub fn route(&mut self, server: &str, tool: Option<&str>) {
        self.server = Some(server.to_owned());
        if let (Some(guard), Some(tool)) = (&mut self.guard, tool) {
            guard.route(server, tool);
        }
    }

    /// The guard of a tool call.
    pub fn call(&mut self) -> Option<&mut CallGuard> {
        self.guard.as_mut()
    }

    fn reference(&self) -> CallRef {
        self.guard.as_ref().map(CallGuard::reference).unwrap_or_default()
    }

    /// The request goes out to the server.
    pub fn sent(&mut self) {
        self.upstream.get_or_insert_with(Instant::now);
    }

    /// The head of the server's answer came in, with this word for the figures.
    pub fn head(&mut self, outcome: &'static str) {
        if let (Some(server), Some(at)) = (&self.server, self.upstream) {
            self.gateway.metrics.upstream(server, outcome, at.elapsed());
        }
    }

    /// What the caller gets.
    pub fn status(&mut self, status: u16) {
        if let Some(guard) = &mut self.guard {
            guard.http_status(status);
        }
    }

    /// There is no such tool, or its server does not speak the caller's revision.
    pub fn unknown_tool(&mut self, name: &str, cause: RouteCause, error: &RpcError) {
        if let Some(guard) = &mut self.guard {
            guard.tool(name);
            self.audit.route_not_found(cause, guard.reference());
        }
        self.refused(ErrorCause::UnknownTool, error);
    }

    /// The request fails, for a reason that is not the server's.
    pub fn refused(&mut self, cause: ErrorCause, error: &RpcError) {
        self.conclude(Outcome::Error(cause), metrics::Outcome::Error);
        self.rpc(error);
    }

    /// The request is not acceptable.
    pub fn bad_request(&mut self, status: u16, error: &RpcError) {
        self.status(status);
        self.conclude(Outcome::Blocked(Reason::BadRequest), metrics::Outcome::Blocked);
        self.rpc(error);
    }

    /// The server could not be asked or did not answer properly.
    pub fn failed(&mut self, fault: &Fault, error: &RpcError) {
        let server = self.server.clone().unwrap_or_default();
        self.audit.upstream_error(&server, fault.cause(), fault.status, self.reference());
        let cause = match fault.too_large {
            true => ErrorCause::ResponseTooLarge,
            false => ErrorCause::Upstream(fault.cause()),
        };
        self.conclude(Outcome::Error(cause), metrics::Outcome::UpstreamError);
        self.rpc(error);
    }

    /// Armor answered by itself.
    pub fn succeeded(&mut self) {
        self.conclude(Outcome::Success, metrics::Outcome::Success);
    }

    /// The server answered.
    pub fn answered(&mut self, facts: &Facts) {
        if let (Some(code), Some(guard)) = (facts.code, &mut self.guard) {
            guard.rpc_code(code);
        }
        if facts.has_error {
            self.conclude(Outcome::Error(ErrorCause::Rpc), metrics::Outcome::Error);
        } else if facts.is_error {
            self.conclude(Outcome::Error(ErrorCause::Tool), metrics::Outcome::Error);
        } else {
            self.succeeded();
        }
    }

    /// How many bytes the caller got.
    pub fn response_bytes(&mut self, bytes: usize) {
        if let Some(guard) = &mut self.guard {
            guard.add_response_bytes(bytes as u64);
        }
    }

    fn rpc(&mut self, error: &RpcError) {
        if let Some(guard) = &mut self.guard {
            guard.rpc_code(error.code);
        }
    }

    fn conclude(&mut self, outcome: Outcome, counted: metrics::Outcome) {
        self.answered = true;
        let upstream = self.upstream.map(|at| at.elapsed());
        if let Some(guard) = &mut self.guard {
            guard.outcome(outcome);
            if let Some(took) = upstream {
                guard.upstream_time(took);
            }
        }
        self.count(counted);
    }

    fn count(&mut self, outcome: metrics::Outcome) {
        if !std::mem::replace(&mut self.counted, true) {
            let took: Duration = self.started.elapsed();
            self.gateway.metrics.request(&self.method, self.era.as_str(), outcome, took);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // Nothing concluded it: the caller went away.
        self.count(metrics::Outcome::Error);
        self.gateway.metrics.in_flight.dec();
    }
}

impl Awaiting for Record {
    fn is_answer(&self, facts: &Facts) -> bool {
        Self::is_answer(self, facts)
    }

    fn answered(&mut self, facts: &Facts) {
        Self::answered(self, facts);
    }
}

/// Ids are equal if they are the same JSON value, however it is spelled.
fn same_id(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    if a == b {
        return true;
    }
    let value = |raw: &[u8]| serde_json::from_slice::<serde_json::Value>(raw).ok();
    value(a).is_some_and(|a| value(b) == Some(a))
}
