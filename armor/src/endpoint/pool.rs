//! How the pool as a whole introduces itself: one server to its callers.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::context::Context;
use crate::mcp::Era;
use crate::upstream::Server;

/// What the pool can do: what any of its servers can.
#[must_use]
pub fn capabilities(ctx: &Context, era: Era) -> Value {
    let offers: Vec<_> =
        ctx.running.servers.iter().filter_map(|server| server.handshake().offer(era).cloned()).collect();
    if let (Some(_), [only]) = (ctx.running.unprefixed(), offers.as_slice()) {
        return only.capabilities.clone();
    }
    let any = |name: &str| offers.iter().any(|offer| offer.has(name));
    let mut map = Map::new();
    map.insert("tools".to_owned(), json!({ "listChanged": true }));
    if any("prompts") {
        map.insert("prompts".to_owned(), json!({ "listChanged": true }));
    }
    if any("resources") {
        map.insert("resources".to_owned(), json!({ "listChanged": true }));
    }
    if any("completions") {
        map.insert("completions".to_owned(), json!({}));
    }
    if era == Era::Legacy && any("logging") {
        map.insert("logging".to_owned(), json!({}));
    }
    Value::Object(map)
}

/// How the pool introduces itself.
#[must_use]
pub fn server_info(ctx: &Context) -> Value {
    let pool = &ctx.running.document.pool;
    json!({ "name": pool.name, "version": env!("CARGO_PKG_VERSION") })
}

/// What servers say of how to use them, each under the prefix of its tools.
#[must_use]
pub fn instructions(ctx: &Context, era: Era) -> Option<String> {
    let of = |server: &Arc<Server>| {
        let text = server.handshake().offer(era)?.instructions.clone()?;
        Some(match server.prefix.is_empty() {
            true => text,
            false => format!("Tools named {}*: {text}", server.public_name("")),
        })
    };
    let all: Vec<_> = ctx.running.servers.iter().filter_map(of).collect();
    (!all.is_empty()).then(|| all.join("\n\n"))
}
