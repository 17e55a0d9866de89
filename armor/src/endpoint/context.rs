//! One request: who, when, under which configuration, by which name in the logs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use events::Text;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use ulid::Ulid;

use crate::audit::{Agent, CallStart, Caller};
use crate::auth::Principal;
use crate::gateway::{Gateway, Running};
use crate::mcp::envelope::{self, Request};
use crate::mcp::{Era, headers};
use crate::session::Session;

use super::record::Record;

/// A request of a principal.
pub struct Context {
    /// The process.
    pub gateway: Arc<Gateway>,
    /// The configuration under which the request is judged from beginning to end.
    pub running: Arc<Running>,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Where from.
    pub peer: IpAddr,
    /// The caller's headers.
    pub headers: HeaderMap,
    /// Names the request.
    pub request_id: Arc<str>,
    /// Where it belongs to.
    pub trace: Option<Trace>,
    /// When its head was read.
    pub started: Instant,
}

/// W3C trace context, level 1: `00-<trace id>-<parent id>-<flags>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub id: String,
    flags: String,
}

impl Trace {
    /// Reads `traceparent`; what is malformed counts as absent, as the recommendation asks.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(headers::TRACEPARENT)?.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let zero = |part: &str| part.bytes().all(|b| b == b'0');
        let valid = hex(version, 2)
            && version != "ff"
            && (version != "00" || parts.next().is_none())
            && hex(id, 32)
            && !zero(id)
            && hex(parent, 16)
            && !zero(parent)
            && hex(flags, 2);
        valid.then(|| Self { id: id.to_owned(), flags: flags.to_owned() })
    }

    /// The header for a server: the same trace, a new parent.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        let parent: u64 = rand::random_range(1..=u64::MAX);
        HeaderValue::from_str(&format!("00-{}-{parent:016x}-{}", self.id, self.flags)).ok()
    }
}

/// A new name for a request.
#[must_use]
pub fn new_request_id() -> Arc<str> {
    Ulid::new().to_string().into()
}

impl Context {
    /// `User-Agent`.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.headers.get(USER_AGENT)?.to_str().ok()
    }

    /// Opens the record of a request. For `tools/call` it holds the drop guard of the audit event.
    #[must_use]
    pub fn record(&self, request: &Request<'_>, era: Era, session: Option<&Session>, bytes: usize) -> Record {
        let guard = (request.method == "tools/call").then(|| {
            let client = client_of(request, session);
            self.running.audit.open_call(CallStart {
                started: self.started,
                caller: Caller {
                    user: self.principal.user.clone(),
                    client_ip: Text::new(&self.peer.to_string()),
                    user_agent: self.user_agent().and_then(Text::new),
                    auth_method: Some(self.principal.method),
                    session_id: session.and_then(|s| Text::new(&s.name())),
                },
                agent: Agent {
                    name: client.as_ref().and_then(|c| Text::new(&c.name)),
                    version: client.as_ref().and_then(|c| Text::new(&c.version)),
                    ..Agent::default()
                },
                request_id: &self.request_id,
                trace_id: self.trace.as_ref().map(|t| t.id.as_str()),
                request_bytes: bytes as u64,
            })
        });
        Record::new(
            self.gateway.clone(),
            self.running.audit.clone(),
            guard,
            &request.method,
            request.id.map(|id| id.get().as_bytes().to_vec()),
            era,
            self.started,
        )
    }
}

/// How the client introduced itself: in this request, or when the session began.
fn client_of(request: &Request<'_>, session: Option<&Session>) -> Option<envelope::Implementation> {
    envelope::implementation(request.params.meta.client_info).or_else(|| session.and_then(Session::client_info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_contexts_are_read_strictly() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (text, valid) in [
            (good, true),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("", false),
        ] {
            let mut map = HeaderMap::new();
            map.insert(headers::TRACEPARENT, HeaderValue::from_static(text));
            assert_eq!(Trace::parse(&map).is_some(), valid, "{text}");
        }
        let mut map = HeaderMap::new();
        map.insert(headers::TRACEPARENT, HeaderValue::from_static(good));
        let onward = Trace::parse(&map).unwrap().header().unwrap();
        assert_ne!(onward, good);
        map.insert(headers::TRACEPARENT, onward);
        assert_eq!(Trace::parse(&map).unwrap().id, "0af7651916cd43dd8448eb211c80319c");
    }
}
