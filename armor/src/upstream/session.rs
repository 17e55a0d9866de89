//! Sessions with legacy servers: `initialize`, `notifications/initialized`, DELETE.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use serde_json::Value;

use super::exchange::{Speech, ask};
use super::fault::Fault;
use super::server::Server;
use crate::mcp::{Era, headers, legacy_revision};

/// Ending a session is a courtesy to the server; nobody waits for it longer than this.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A session with a server.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The server's id for it; `None` if the server keeps no sessions.
    pub session: Option<HeaderValue>,
    /// The revision that was agreed on.
    pub revision: &'static str,
    /// What the server said of itself.
    pub result: InitializeResult,
}

/// What a server says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    protocol_version: String,
    /// `capabilities`
    #[serde(default)]
    pub capabilities: Value,
    /// `serverInfo`
    #[serde(default)]
    pub server_info: Value,
    /// `instructions`
    #[serde(default)]
    pub instructions: Option<String>,
}

impl Opened {
    /// How to speak in this session.
    #[must_use]
    pub fn speech(&self) -> Speech {
        Speech { era: Era::Legacy, revision: self.revision.to_owned(), session: self.session.clone() }
    }
}

/// Opens a session with the given `params` of `initialize`.
///
/// # Errors
/// Every [`Fault`].
pub async fn open(server: &Server, params: &str, limit: Duration) -> Result<Opened, Fault> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":"armor","method":"initialize","params":{params}}}"#);
    let answer = ask(server, HeaderMap::new(), body.into(), limit).await?;
    let result: InitializeResult = match answer.outcome()? {
        Ok(result) => result,
        Err(error) => {
            return Err(Fault::protocol(format!(
                "the server refused initialize with error {}: see the server's own log",
                error.code
            )));
        }
    };
    let revision = legacy_revision(&result.protocol_version).ok_or_else(|| {
        Fault::protocol(
            "the server answered initialize with a revision of the protocol that is not known: update the server or the gateway",
        )
    })?;
    let opened = Opened { session: answer.headers.get(headers::SESSION_ID).cloned(), revision, result };
    let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let sent = server
        .send(
            Method::POST,
            opened.speech().headers("notifications/initialized"),
            Bytes::from_static(initialized),
            limit,
        )
        .await?;
    if !sent.status().is_success() {
        close(server, &opened.speech()).await;
        return Err(Fault::status(sent.status()));
    }
    Ok(opened)
}

/// Ends a session, if the server keeps one.
pub async fn close(server: &Server, speech: &Speech) {
    if speech.session.is_none() {
        return;
    }
    let ended = server.send(Method::DELETE, speech.headers(""), Bytes::new(), CLOSE_TIMEOUT).await;
    if let Err(fault) = ended {
        tracing::debug!(server = %server.name, %fault, "session not ended");
    }
}
