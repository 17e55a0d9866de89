//! Refusals of strangers: requests whose principal is not known.
//!
//! Promises: they are joined per client address (IPv6: per /64, which one host may have whole) and
//! cause, so that a stranger cannot write the trail full. Must never carry what the stranger wrote,
//! except into fields that say where a request came from.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use events::{
    AuthDenied, AuthFailure, AuthMethod, Body, CallRef, Caller, Outcome, Reason, Repeat, RouteCause, RouteNotFound,
    Text, ToolCall, User,
};

use super::{
    Lane, Shared,
    joiner::{Joiner, Subject, Verdict},
};

/// A request that was refused before its principal was known, or before it was known to be no call.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Where it came from.
    pub client_ip: IpAddr,
    /// Why it was refused.
    pub cause: RefusalCause,
    /// The JSON-RPC method, where the body was read.
    pub method: Option<&'a str>,
    /// Whose credential was accepted, where it came to that.
    pub user: Option<(&'a Arc<User>, AuthMethod)>,
    /// The id that the caller got back.
    pub request_id: &'a str,
    /// The W3C trace id, where one came in.
    pub trace_id: Option<&'a str>,
    /// The session that the request claimed.
    pub session_id: Option<&'a str>,
    /// What the client calls itself.
    pub user_agent: Option<&'a str>,
    /// What the caller got.
    pub http_status: u16,
    /// The JSON-RPC error that the caller got.
    pub rpc_code: Option<i64>,
}

/// Why a stranger was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCause {
    /// The credential was missing or not accepted.
    Credential(AuthFailure),
    /// The Host header names nothing that the pool serves.
    Host,
    /// The Origin header is not allowed.
    Origin,
    /// The request is not acceptable JSON-RPC, or its headers disagree with its body.
    Envelope,
}

/// Which of the two events that a refusal can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// `tool_call`, which alerts count.
    Call,
    /// `auth_denied` or `route_not_found`, which tell why.
    Operational,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stranger {
    /// The address, for IPv6 the network; absent where strangers are too many to keep apart.
    network: Option<IpAddr>,
    cause: RefusalCause,
    kind: Kind,
}

impl Subject for Stranger {
    fn overflow(&self) -> Self {
        Self { network: None, ..*self }
    }
}

/// The refusals that are being joined.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Joiner<Stranger>>);

impl Refusals {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Joiner<Stranger>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    pub(super) fn refuse(&self, refusal: &Refusal<'_>, now: Instant) {
        let request_id = Text::new(refusal.request_id);
        // Credentials, Host and Origin have events of their own. What cannot be read may have been a
        // call; `bad_request` exists only there.
        let is_call = refusal.method == Some("tools/call");
        let (operational, call) = match refusal.cause {
            RefusalCause::Envelope => (false, is_call || refusal.method.is_none()),
            _ => (true, is_call),
        };
        let kinds = [(Kind::Operational, operational), (Kind::Call, call)];
        for (kind, _) in kinds.into_iter().filter(|(_, wanted)| *wanted) {
            let stranger = Stranger { network: Some(network(refusal.client_ip)), cause: refusal.cause, kind };
            let verdict = self.refusals.with(|joiner| joiner.admit(stranger, request_id.as_ref(), now));
            if verdict == Verdict::Send {
                self.emit(Lane::Refusal, refusal.body(kind, request_id.clone()), None);
            }
        }
    }

    pub(super) fn emit_joined_refusal(&self, stranger: &Stranger, repeat: Repeat) {
        self.emit(Lane::Refusal, stranger.body(), Some(repeat));
    }
}

impl Refusal<'_> {
    /// The event of one refusal, with all that is known of it.
    fn body(&self, kind: Kind, request_id: Option<Text>) -> Body {
        let client_ip = Text::new(&self.client_ip.to_canonical().to_string());
        let session_id = self.session_id.and_then(Text::new);
        if kind == Kind::Operational {
            let call = CallRef { request_id, session_id, user: None };
            return operational(self.cause, client_ip, call);
        }
        let caller = Caller {
            user: self.user.map(|(user, _)| Arc::clone(user)).unwrap_or_default(),
            auth_method: self.user.map(|(_, method)| method),
            client_ip,
            user_agent: self.user_agent.and_then(Text::new),
            session_id,
        };
        let mut call = blocked_call(self.cause, caller);
        call.method = self.method.and_then(Text::new);
        call.request_id = request_id;
        call.trace_id = self.trace_id.and_then(Text::new);
        call.http_status = Some(self.http_status);
        call.rpc_code = self.rpc_code;
        Body::ToolCall(Box::new(call))
    }
}

impl Stranger {
    /// The event of joined refusals, with what they have in common.
    fn body(&self) -> Body {
        let client_ip = self.network.and_then(|ip| Text::new(&ip.to_string()));
        match self.kind {
            Kind::Operational => operational(self.cause, client_ip, CallRef::default()),
            Kind::Call => {
                let caller = Caller { client_ip, ..Caller::default() };
                Body::ToolCall(Box::new(blocked_call(self.cause, caller)))
            }
        }
    }
}

fn operational(cause: RefusalCause, client_ip: Option<Text>, call: CallRef) -> Body {
    match cause {
        RefusalCause::Credential(failure) => Body::AuthDenied(AuthDenied { failure, client_ip, call }),
        // Origin is checked for the reason for which Host is: a browser was sent to the wrong place.
        RefusalCause::Host | RefusalCause::Origin | RefusalCause::Envelope => {
            Body::RouteNotFound(RouteNotFound { cause: RouteCause::HostMismatch, client_ip, call })
        }
    }
}

fn blocked_call(cause: RefusalCause, caller: Caller) -> ToolCall {
    let reason = match cause {
        RefusalCause::Credential(_) => Reason::AuthDenied,
        RefusalCause::Host | RefusalCause::Origin | RefusalCause::Envelope => Reason::BadRequest,
    };
    ToolCall::new(caller, Outcome::Blocked(reason))
}

/// The address itself, or the /64 of an IPv6 address.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_stranger() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
