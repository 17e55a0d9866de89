//! The operational events that a gateway can cause. Alerts count `tool_call`; these tell why.
//!
//! Promises: each type has the keys of its row in the catalogue and no others.

use std::sync::Arc;

use crate::{AuthFailure, ConfigSource, DroppedCause, Message, Moment, Record, RouteCause, Text, UpstreamCause, User};

/// The call that caused an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRef {
    /// `request.id`
    pub request_id: Option<Text>,
    /// `session.id`
    pub session_id: Option<Text>,
    /// `user.*`; absent for strangers.
    pub user: Option<Arc<User>>,
}

impl CallRef {
    fn fill(self, record: &mut Record) {
        record.request_id = self.request_id;
        record.session_id = self.session_id;
        if let Some(user) = self.user {
            user.fill(record);
        }
    }
}

/// `auth_denied`: a credential was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthDenied {
    /// `auth.failure`
    pub failure: AuthFailure,
    /// `client.ip`
    pub client_ip: Option<Text>,
    /// The refused request.
    pub call: CallRef,
}

impl AuthDenied {
    pub(crate) const MESSAGE: Message =
        Message::template("A request was refused: its credential was missing or not accepted.");

    pub(crate) fn fill(self, record: &mut Record) {
        self.call.fill(record);
        record.auth_failure = Some(self.failure);
        record.client_ip = self.client_ip;
    }
}

/// `route_not_found`: a request had nowhere to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteNotFound {
    /// `route.cause`
    pub cause: RouteCause,
    /// `client.ip`
    pub client_ip: Option<Text>,
    /// The request.
    pub call: CallRef,
}

impl RouteNotFound {
    pub(crate) const fn message(&self) -> Message {
        Message::template(match self.cause {
            RouteCause::UnknownServer => "A request named a server that the pool does not have.",
            RouteCause::UnknownTool => "A request named a tool that the pool does not have.",
            RouteCause::HostMismatch => "A request was refused: its Host or Origin is not one that the pool serves.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        self.call.fill(record);
        record.route_cause = Some(self.cause);
        record.client_ip = self.client_ip;
    }
}

/// `upstream_error`: the conversation with a server failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// `mcp.server_name`
    pub server: Text,
    /// `upstream.cause`
    pub cause: UpstreamCause,
    /// `http.status_code` of the server's answer.
    pub http_status: Option<u16>,
    /// The call during which it happened; empty for a probe.
    pub call: CallRef,
}

impl UpstreamError {
    pub(crate) const fn message(&self) -> Message {
        Message::template(match self.cause {
            UpstreamCause::Connect => "A server could not be reached.",
            UpstreamCause::Timeout => "A server did not answer in time.",
            UpstreamCause::Tls => "No trusted TLS connection to a server could be made.",
            UpstreamCause::Http => "A server answered with an HTTP error.",
            UpstreamCause::Protocol => "A server's answer is not valid.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        self.call.fill(record);
        record.mcp_server_name = Some(self.server);
        record.upstream_cause = Some(self.cause);
        record.http_status_code = self.http_status;
    }
}

/// `config_change`: another configuration is in force, or was rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// `config.revision`: the one that is in force now; of the operator, that the gateways should run now.
    pub revision: Text,
    /// `config.previous`: the one before; absent for the first.
    pub previous: Option<Text>,
    /// `config.hash`: a digest of what was read or rendered.
    pub hash: Text,
    /// `config.source`
    pub source: ConfigSource,
}

impl ConfigChange {
    pub(crate) const fn message(&self) -> Message {
        Message::template(match self.source {
            ConfigSource::Directory => "Another configuration is in force.",
            ConfigSource::Cluster => "Another configuration was rendered for the gateways.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.config_revision = Some(self.revision);
        record.config_previous = self.previous;
        record.config_hash = Some(self.hash);
        record.config_source = Some(self.source);
    }
}

/// What kind of events were lost. Only the message tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// `tool_call` of known principals.
    Calls,
    /// Operational events.
    Operational,
    /// Refusals of strangers.
    Refusals,
    /// Of which kind is not known any more.
    Any,
}

/// `events_dropped`: events of this component were lost. The times of what Redis lost are those at which it
/// had taken them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsDropped {
    /// What they were.
    pub what: Dropped,
    /// `dropped.count`: exactly how many, at least 1.
    pub count: u64,
    /// `dropped.from`: the time of the first of them.
    pub from: Moment,
    /// `dropped.to`: the time of the last of them.
    pub to: Moment,
    /// `dropped.cause`
    pub cause: DroppedCause,
}

impl EventsDropped {
    pub(crate) const fn message(&self) -> Message {
        use Dropped::{Any, Calls, Operational, Refusals};
        use DroppedCause::{
            Expired, QueueFull, RedisFull, RedisLost, RedisUnavailable, Rejected, Trimmed, TrimmedPending,
        };
        Message::template(match (self.what, self.cause) {
            (Calls, QueueFull) => "Audit events of tool calls were lost: they came faster than Redis took them.",
            (Calls, RedisUnavailable) => "Audit events of tool calls were lost: Redis took no events for too long.",
            (Calls, RedisFull) => "Audit events of tool calls were lost: they may use no more of Redis's memory.",
            (Operational, QueueFull) => "Operational events were lost: events came faster than Redis took them.",
            (Operational, RedisUnavailable) => "Operational events were lost: Redis took no events for too long.",
            (Operational, RedisFull) => "Operational events were lost: events may use no more of Redis's memory.",
            (Refusals, QueueFull) => "Events of refused requests were lost: events came faster than Redis took them.",
            (Refusals, RedisUnavailable) => "Events of refused requests were lost: Redis took no events for too long.",
            (Refusals, RedisFull) => "Events of refused requests were lost: events may use no more of Redis's memory.",
            (_, RedisLost) => {
                "Audit events were lost: Redis had taken them and came back without them. Some may have been delivered before."
            }
            // Those that are in the stream are the exporter's.
            (Any, _) | (_, Trimmed | TrimmedPending | Rejected | Expired) => "Audit events were lost.",
        })
    }

    pub(crate) fn fill(self, record: &mut Record) {
        record.dropped_count = Some(self.count.max(1));
        record.dropped_from = Some(self.from);
        record.dropped_to = Some(self.to.max(self.from));
        record.dropped_cause = Some(self.cause);
    }
}
