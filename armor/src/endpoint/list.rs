//! Lists of several servers as one.
//!
//! Promises: a deadline for each server; one that does not answer costs its own items and never the list; an
//! item passes byte for byte, but for its name. Must never show what a call would refuse.

use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};

use super::dispatch::Call;
use super::pool;
use super::record::Record;
use super::reply;
use crate::mcp::{Era, meta};
use crate::upstream::Server;
use crate::upstream::catalogue::{Item, ListKind};
use crate::upstream::handshake::Offer;

/// Longest that a list waits for one server.
const DEADLINE: Duration = Duration::from_secs(5);
/// A list that was fetched this recently is not fetched again.
const FRESH: Duration = Duration::from_secs(1);

/// Answers a list request.
pub async fn answer(call: &Call<'_>, kind: ListKind, mut record: Record) -> Response<Body> {
    if call.request.params.cursor.is_some() {
        // Lists are given whole, so that no cursor was ever handed out.
        return call.invalid(record, "params.cursor is not one that this gateway gave");
    }
    let servers = &call.ctx.running.servers;
    let asked = servers.iter().map(|server| server.fresh(FRESH, DEADLINE.min(server.timeout)));
    let known = futures::future::join_all(asked).await;
    let mut items = Vec::new();
    let mut ttl_ms: Option<u64> = None;
    for (server, handshake) in servers.iter().zip(&known) {
        // What a failing server offered before it failed can not be called now.
        if handshake.is_failed() {
            continue;
        }
        let Some(offer) = handshake.offer(call.era) else {
            continue;
        };
        if offer.has(kind.capability()) {
            let ttl = offer.catalogue.list(kind).ttl_ms;
            ttl_ms = Some(ttl_ms.map_or(ttl, |least| least.min(ttl)));
        }
        write(kind, server, offer, &mut items);
    }
    let body = compose(call, kind, &items, ttl_ms.unwrap_or(0));
    record.status(200);
    record.response_bytes(body.len());
    record.succeeded();
    reply::json(StatusCode::OK, body)
}

/// Appends a server's items, with a comma between.
fn write(kind: ListKind, server: &Server, offer: &Offer, out: &mut Vec<u8>) {
    let offered = |item: &&Item| kind != ListKind::Tools || server.tools.offers(&item.id);
    for item in offer.catalogue.list(kind).items.iter().filter(offered) {
        if !out.is_empty() {
            out.push(b',');
        }
        match kind {
            ListKind::Tools | ListKind::Prompts => item.write(&server.public_name(&item.id), out),
            // URIs belong to their servers and mean the same everywhere.
            ListKind::Resources | ListKind::Templates => {
                out.extend_from_slice(item.raw().get().as_bytes());
            }
        }
    }
}

fn compose(call: &Call<'_>, kind: ListKind, items: &[u8], ttl_ms: u64) -> Vec<u8> {
    let id = call.request.id.map_or("null", |id| id.get());
    let mut out = Vec::with_capacity(items.len() + 256);
    let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"{}":["#, kind.key());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(items);
    out.push(b']');
    if call.era == Era::Modern {
        // Merged and filtered by who asks, so that nobody may share it.
        let tail = format!(
            r#","resultType":"complete","ttlMs":{ttl_ms},"cacheScope":"private","_meta":{{"{}":{}}}"#,
            meta::SERVER_INFO,
            pool::server_info(call.ctx)
        );
        out.extend_from_slice(tail.as_bytes());
    }
    out.extend_from_slice(b"}}");
    out
}
