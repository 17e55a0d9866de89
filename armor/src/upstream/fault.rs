//! Why a conversation with a server failed, in words that status, events and callers share.

use std::error::Error as StdError;

use crate::audit::UpstreamCause;
use crate::mcp::jsonrpc::{RpcError, code};

/// The stable word for it, on the admin port and in conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultReason {
    /// The server refused what Armor showed to it.
    OutboundAuthFailed,
    /// No connection.
    ConnectFailed,
    /// No answer in time.
    Timeout,
    /// No trusted TLS connection.
    TlsFailed,
    /// An HTTP status that is no answer.
    HttpError,
    /// The answer is not valid.
    ProtocolError,
    /// A secret that the server's configuration names is missing.
    CredentialMissing,
    /// An earlier server has the prefix.
    PrefixCollision,
}

impl FaultReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::OutboundAuthFailed,
        Self::ConnectFailed,
        Self::Timeout,
        Self::TlsFailed,
        Self::HttpError,
        Self::ProtocolError,
        Self::CredentialMissing,
        Self::PrefixCollision,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutboundAuthFailed => "OutboundAuthFailed",
            Self::ConnectFailed => "ConnectFailed",
            Self::Timeout => "Timeout",
            Self::TlsFailed => "TlsFailed",
            Self::HttpError => "HttpError",
            Self::ProtocolError => "ProtocolError",
            Self::CredentialMissing => "CredentialMissing",
            Self::PrefixCollision => "PrefixCollision",
        }
    }
}

/// A failure, with a sentence that ends in a remedy.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Which kind.
    pub reason: FaultReason,
    /// Status of the server's answer, if there was one.
    pub status: Option<u16>,
    /// One sentence, without a secret and without text from the server.
    pub message: String,
    /// The answer was larger than is let through.
    pub too_large: bool,
}

impl Fault {
    /// A failure that is no HTTP status.
    #[must_use]
    pub fn new(reason: FaultReason, message: impl Into<String>) -> Self {
        Self { reason, status: None, message: message.into(), too_large: false }
    }

    /// Whether the request was lost on its way, or met a server in trouble.
    #[must_use]
    pub fn says_nothing_of_the_protocol(&self) -> bool {
        matches!(self.reason, FaultReason::ConnectFailed | FaultReason::Timeout | FaultReason::TlsFailed)
            || self.status.is_some_and(|status| status >= 500)
    }

    /// The answer is not valid.
    #[must_use]
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(FaultReason::ProtocolError, message)
    }

    /// No answer in time.
    #[must_use]
    pub fn timeout(limit: std::time::Duration) -> Self {
        Self::new(
            FaultReason::Timeout,
            format!(
                "the server did not answer within {}: see whether it hangs, or raise its timeout",
                humantime_of(limit)
            ),
        )
    }

    /// A status that is no answer.
    #[must_use]
    pub fn status(status: http::StatusCode) -> Self {
        let number = status.as_u16();
        let (reason, message) = match number {
            401 | 403 | 407 => (
                FaultReason::OutboundAuthFailed,
                format!(
                    "the server refused the credentials (HTTP {number}): check the server's auth and the Secret that it names"
                ),
            ),
            300..=399 => (
                FaultReason::HttpError,
                format!(
                    "the server answered with a redirect (HTTP {number}), which is not followed: set the url to where it points"
                ),
            ),
            404 | 405 => (
                FaultReason::HttpError,
                format!(
                    "the server answered HTTP {number}: check that the url has the path of its MCP endpoint, such as /mcp"
                ),
            ),
            _ => (FaultReason::HttpError, format!("the server answered HTTP {number}: see the server's own log")),
        };
        Self { reason, status: Some(number), message, too_large: false }
    }

    /// Classifies what the HTTP client says.
    #[must_use]
    pub fn client(error: &(dyn StdError + 'static)) -> Self {
        let chain = || std::iter::successors(Some(error), |e| inner(*e));
        if let Some(tls) = chain().find_map(|e| e.downcast_ref::<rustls::Error>()) {
            return Self::new(
                FaultReason::TlsFailed,
                format!(
                    "no trusted TLS connection ({}): check that the url's scheme and host fit the server's certificate, and its CA",
                    clean(&tls.to_string())
                ),
            );
        }
        let deepest = chain().last().map(ToString::to_string).unwrap_or_default();
        let connecting = chain().any(|e| {
            e.downcast_ref::<hyper_util::client::legacy::Error>()
                .is_some_and(hyper_util::client::legacy::Error::is_connect)
        });
        if connecting {
            return Self::new(
                FaultReason::ConnectFailed,
                format!(
                    "no connection ({}): check that the server runs and that the url's host and port are right",
                    clean(&deepest)
                ),
            );
        }
        // An answer that is no HTTP, or a connection that broke off.
        let parse = chain().filter_map(|e| e.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse);
        if parse {
            return Self::protocol("the server's answer is no HTTP: check that the url points to an MCP server");
        }
        Self::new(
            FaultReason::ConnectFailed,
            format!("the connection broke off ({}): see the server's own log", clean(&deepest)),
        )
    }

    /// The layer, for events.
    #[must_use]
    pub const fn cause(&self) -> UpstreamCause {
        match self.reason {
            FaultReason::ConnectFailed => UpstreamCause::Connect,
            FaultReason::Timeout => UpstreamCause::Timeout,
            FaultReason::TlsFailed => UpstreamCause::Tls,
            FaultReason::HttpError | FaultReason::OutboundAuthFailed => UpstreamCause::Http,
            FaultReason::ProtocolError | FaultReason::CredentialMissing | FaultReason::PrefixCollision => {
                UpstreamCause::Protocol
            }
        }
    }

    /// What the caller gets, under HTTP 200: another status would end the session of clients in wide use.
    #[must_use]
    pub fn to_rpc(&self, server: &str) -> RpcError {
        let (code, reason) = match self.reason {
            FaultReason::Timeout => (code::GATEWAY_TIMEOUT, "upstream_error"),
            FaultReason::OutboundAuthFailed | FaultReason::CredentialMissing => {
                (code::BAD_GATEWAY, "outbound_auth_failed")
            }
            _ => (code::BAD_GATEWAY, "upstream_error"),
        };
        RpcError::new(code, format!("server '{server}': {}", self.message))
            .with_data(serde_json::json!({ "reason": reason, "server": server, "cause": self.reason.as_str() }))
    }
}

/// The error behind an error. An I/O error names the cause of the error inside it, not that error.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

/// One line of bounded length.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn humantime_of(duration: std::time::Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}
