//! What the Model Context Protocol fixes: revisions, methods, header names, error codes, envelopes.
//!
//! Promises: pure; constants are those of the specification (revisions 2025-11-25 and 2026-07-28). Must
//! never decode arguments or results.

pub mod envelope;
pub mod headers;
pub mod jsonrpc;
pub mod splice;

/// The revision that has no sessions: each request carries its own version and capabilities.
pub const MODERN: &str = "2026-07-28";

/// Revisions with `initialize` and sessions, over Streamable HTTP, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// What a client that names no revision speaks (specification 2025-11-25, Protocol Version Header).
pub const LEGACY_DEFAULT: &str = "2025-03-26";

/// The two ways of speaking the protocol that have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Era {
    /// Up to 2025-11-25: sessions.
    Legacy,
    /// From 2026-07-28: stateless.
    Modern,
}

impl Era {
    /// The newest revision of this era that Armor speaks.
    #[must_use]
    pub const fn newest(self) -> &'static str {
        match self {
            Self::Legacy => LEGACY[0],
            Self::Modern => MODERN,
        }
    }

    /// The word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// The legacy revision that this text names, as a constant.
#[must_use]
pub fn legacy_revision(text: &str) -> Option<&'static str> {
    LEGACY.into_iter().find(|revision| *revision == text)
}

/// Keys of `_meta` that revision 2026-07-28 reserves.
pub mod meta {
    /// Revision of this request.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Name and version of the client.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// What the client can do.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Name and version of the server.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// Which `subscriptions/listen` a notification belongs to.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}
