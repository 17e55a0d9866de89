//! Requests that servers make of callers within a call (sampling, elicitation, roots), in pools of several servers.
//!
//! Promises: the caller's response goes to the server and session that asked, through whichever replica it comes;
//! it can not be sent anywhere else, because the request's id is sealed. Only the id is changed, on both ways.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::context::Context;
use super::forward;
use crate::mcp::envelope::text;
use crate::mcp::{Era, splice};
use crate::session::Session;
use crate::session::seal::Asked;
use crate::stream::hold::Rewrite;
use crate::upstream::Server;
use crate::upstream::exchange::Speech;

/// What the ids begin with.
const MARK: &str = "armor.";

/// Gives a server's requests ids that lead back to it.
#[must_use]
pub fn rewrite(ctx: &Context, server: &Server, session: &Session, speech: &Speech) -> Rewrite {
    let running = ctx.running.clone();
    let session_id = session.ticket.id;
    let server = beginning(server);
    let upstream = speech.session.as_ref().map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    Box::new(move |message| {
        let raw = id_of(message)?;
        let asked = Asked { server, session: upstream.clone(), id: raw.get().as_bytes().to_vec() };
        let sealed = running.sealer.seal_asked(&session_id, &asked)?;
        splice::replace(message, raw, splice::json_string(&format!("{MARK}{sealed}")).as_bytes())
    })
}

/// Takes a caller's response to the server that asked.
pub async fn respond(ctx: &Context, session: &Arc<Session>, id: &RawValue, body: &Bytes) {
    let told = async {
        let sealed = text(Some(id))?;
        let asked = ctx.running.sealer.open_asked(&session.ticket.id, sealed.strip_prefix(MARK)?.as_bytes())?;
        let server = ctx.running.servers.iter().find(|s| beginning(s) == asked.server)?;
        let body = splice::replace(body, id, &asked.id)?;
        let upstream = match asked.session.is_empty() {
            true => None,
            false => Some(HeaderValue::from_bytes(&asked.session).ok()?),
        };
        let revision = session.speech(server).await.ok()?.revision;
        let speech = Speech { era: Era::Legacy, revision, session: upstream };
        forward::respond(ctx, server, &speech, body).await;
        Some(())
    };
    if told.await.is_none() {
        tracing::debug!(request = %ctx.request_id, "response to no known request");
    }
}

fn beginning(server: &Server) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&server.fingerprint[..8]);
    bytes
}

fn id_of(message: &[u8]) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Id<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    serde_json::from_slice::<Id<'_>>(message).ok().map(|wire| wire.id)
}
