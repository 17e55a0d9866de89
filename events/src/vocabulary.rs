//! The closed vocabularies of the schema: a value that is not here does not compile.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! vocabulary {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[schemars(inline)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    )+};
}

vocabulary! {
    /// What kind of fact an event is.
    Class {
        ToolActivity = "tool_activity",
        Operational = "operational",
        Audit = "audit",
    }

    /// How much an event matters.
    Severity {
        Debug = "debug",
        Info = "info",
        Warn = "warn",
        Error = "error",
        Critical = "critical",
    }

    /// The part that speaks.
    Component {
        Armor = "armor",
        Operator = "operator",
        Exporter = "exporter",
        Redis = "redis",
        ControlPlane = "control-plane",
    }

    /// How a principal became known.
    AuthMethod {
        Jwt = "jwt",
        ApiKey = "api_key",
        Anonymous = "anonymous",
    }

    /// What became of a tool call.
    Status {
        Success = "success",
        Error = "error",
        Blocked = "blocked",
        RateLimited = "rate_limited",
    }

    /// Whether a rule let the call through.
    Action {
        Allowed = "allowed",
        Blocked = "blocked",
    }

    /// Which kind of rule did not.
    ActionReason {
        AuthzDenied = "authz_denied",
        RateLimitExceeded = "rate_limit_exceeded",
        AuthDenied = "auth_denied",
        InterceptorDenied = "interceptor_denied",
        BadRequest = "bad_request",
    }

    /// Why a credential was refused.
    AuthFailure {
        Missing = "missing",
        /// Present, but not of a form that could be right.
        Malformed = "malformed",
        Expired = "expired",
        BadSignature = "bad_signature",
        WrongAudience = "wrong_audience",
        UnknownKey = "unknown_key",
    }

    /// Why a request had nowhere to go.
    RouteCause {
        UnknownServer = "unknown_server",
        UnknownTool = "unknown_tool",
        /// Host or Origin is not one that the pool serves.
        HostMismatch = "host_mismatch",
    }

    /// In which layer the conversation with a server failed.
    UpstreamCause {
        Connect = "connect",
        Timeout = "timeout",
        Tls = "tls",
        Http = "http",
        Protocol = "protocol",
    }

    /// Where a configuration came from.
    ConfigSource {
        /// A mounted directory.
        Directory = "directory",
        /// The objects of the cluster, which the operator renders.
        Cluster = "cluster",
    }

    /// What became of a component of a pool.
    LifecycleTransition {
        Deployed = "deployed",
        /// For the first time.
        Ready = "ready",
        /// It was ready and is not.
        Degraded = "degraded",
        Recovered = "recovered",
        Removed = "removed",
    }

    /// The one-word summary of a pool, as in its `status.phase`.
    PoolPhase {
        Pending = "Pending",
        Active = "Active",
        /// Nothing has been heard of it for a while.
        Stale = "Stale",
        Error = "Error",
    }

    /// The kinds of objects that make up a pool.
    ResourceKind {
        Pool = "Pool",
        McpServer = "McpServer",
        SiemExport = "SiemExport",
    }

    /// What was done to an object.
    ResourceOperation {
        Created = "created",
        /// Its spec.
        Changed = "changed",
        Deleted = "deleted",
    }

    /// Why events could not be kept.
    DroppedCause {
        /// They came faster than Redis took them.
        QueueFull = "queue_full",
        /// Redis was not reachable, or refused every write, for longer than the queue lasts.
        RedisUnavailable = "redis_unavailable",
        /// The audit trail may use no more of Redis's memory.
        RedisFull = "redis_full",
        /// Redis had acknowledged them and came back without them, from an older copy of its data. Some of them
        /// may have been delivered before.
        RedisLost = "redis_lost",
        /// The stream had no room left, and they were its oldest.
        Trimmed = "trimmed",
        /// The same, after they were read and before the destination had acknowledged them.
        TrimmedPending = "trimmed_pending",
        /// The destination refused them for good.
        Rejected = "rejected",
        /// They were older than `giveUpAfter`.
        Expired = "expired",
    }
}
