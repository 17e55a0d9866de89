//! What a server's answer is: one that can be passed on, or a fault.
//!
//! Promises: a status that would end the caller's session never passes; an answer that is no JSON-RPC response to
//! the request is a fault, as far as it is read before it is passed on.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::record::Record;
use crate::mcp::Era;
use crate::stream::scan::{Facts, Scan};
use crate::upstream::Fault;
use crate::upstream::exchange::{is_event_stream, is_json};

/// Answers up to this size are read whole before they are passed on, so that one that is no answer becomes
/// an error that the caller can read.
const WHOLE_ANSWER_BYTES: usize = 64 << 10;

/// With this code servers in wide use refuse a session that they do not know, under HTTP 400.
const NO_SUCH_SESSION: i64 = -32000;

/// What came back.
pub enum Judged {
    /// A stream of events.
    Stream(Incoming),
    /// A whole answer.
    Whole(StatusCode, Bytes, Facts),
    /// The beginning of a large answer, and the rest.
    Large(Bytes, Incoming),
}

/// Why nothing came back that can be passed on.
pub enum Refused {
    /// The server does not know the session.
    SessionLost,
    /// It failed.
    Failed(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Judges an answer.
///
/// # Errors
/// [`Refused`]
pub async fn judge(
    response: Response<Incoming>,
    timeout: Duration,
    record: &Record,
    era: Era,
    in_session: bool,
) -> Result<Judged, Refused> {
    let (parts, mut body) = response.into_parts();
    let status = parts.status;
    if matches!(status.as_u16(), 401 | 403 | 407 | 300..=399 | 500..) {
        return Err(Fault::status(status).into());
    }
    if status.is_success() && is_event_stream(&parts.headers) {
        return Ok(Judged::Stream(body));
    }
    let (head, whole) = read_head(&mut body, timeout).await?;
    if status.is_success() && !whole {
        if !is_json(&parts.headers) {
            return Err(no_answer().into());
        }
        return Ok(Judged::Large(head, body));
    }
    let mut scan = Scan::default();
    scan.feed(&head);
    let facts = scan.take();
    let valid = whole && serde_json::from_slice::<serde::de::IgnoredAny>(&head).is_ok();
    let answers = valid && record.is_answer(&facts);
    let unknown_session = match status {
        StatusCode::NOT_FOUND => true,
        StatusCode::BAD_REQUEST => !answers || facts.code == Some(NO_SUCH_SESSION),
        _ => false,
    };
    if in_session && unknown_session {
        return Err(Refused::SessionLost);
    }
    if answers {
        return Ok(Judged::Whole(passed_on(status, era), head, facts));
    }
    if status.is_success() {
        return Err(no_answer().into());
    }
    // A request that could not be read as one has no id to repeat.
    let nameless = facts.id.as_deref().is_none_or(|id| id == b"null");
    if era == Era::Modern && valid && facts.is_response() && facts.has_error && nameless {
        return Ok(Judged::Whole(passed_on(status, era), head, facts));
    }
    Err(Fault::status(status).into())
}

/// The status under which an answer reaches the caller. What is no success is an error of the transport to clients, so
/// that they would not read the answer, and 404 ends their session; 2026-07-28 alone gives 400 and 404 a meaning.
fn passed_on(status: StatusCode, era: Era) -> StatusCode {
    match (era, status) {
        (Era::Modern, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => status,
        _ => StatusCode::OK,
    }
}

fn no_answer() -> Fault {
    Fault::protocol(
        "the server's answer is no JSON-RPC response to the request: check that the url points to an MCP server",
    )
}

/// The body, or its beginning if it is large. The flag: it is whole.
async fn read_head(body: &mut Incoming, timeout: Duration) -> Result<(Bytes, bool), Fault> {
    let mut head: Option<Bytes> = None;
    let mut more = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(timeout, body.frame()).await.map_err(|_| Fault::timeout(timeout))?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|e| Fault::client(&e))?.into_data() else {
            continue;
        };
        // Most answers are one frame, which is not copied.
        match &head {
            None => head = Some(data),
            Some(first) => {
                if more.is_empty() {
                    more.extend_from_slice(first);
                }
                more.extend_from_slice(&data);
            }
        }
        let size = more.len().max(head.as_ref().map_or(0, Bytes::len));
        if size > WHOLE_ANSWER_BYTES {
            let read = if more.is_empty() { head.unwrap_or_default() } else { more.freeze() };
            return Ok((read, false));
        }
    }
    let read = if more.is_empty() { head.unwrap_or_default() } else { more.freeze() };
    Ok((read, true))
}
