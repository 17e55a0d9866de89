//! Which server a request is for.
//!
//! Promises: a name that callers use leads to one server and its own name, or to a refusal; what a server does
//! not offer to callers cannot be called either: a list is never the check. Must never change more of a message
//! than the name.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::context::Context;
use super::forward::{self, Outgoing};
use super::list;
use super::record::Record;
use super::reply;
use crate::audit::{ErrorCause, RouteCause};
use crate::mcp::envelope::{Reference, Request, text};
use crate::mcp::jsonrpc::{self, RpcError, code};
use crate::mcp::{Era, splice};
use crate::session::Session;
use crate::upstream::Server;
use crate::upstream::catalogue::ListKind;

/// A request on its way to a server.
pub struct Call<'a> {
    /// Who and when.
    pub ctx: &'a Context,
    /// What.
    pub request: &'a Request<'a>,
    /// The message.
    pub body: &'a Bytes,
    /// How.
    pub era: Era,
    /// Within which session.
    pub session: Option<&'a Arc<Session>>,
}

/// Answers a request of a legacy client.
pub async fn legacy(ctx: &Context, request: &Request<'_>, body: &Bytes, session: &Arc<Session>) -> Response<Body> {
    let record = ctx.record(request, Era::Legacy, Some(session), body.len());
    let call = Call { ctx, request, body, era: Era::Legacy, session: Some(session) };
    call.answer(record).await
}

impl Call<'_> {
    /// Answers it.
    pub async fn answer(&self, record: Record) -> Response<Body> {
        let method = self.request.method.as_ref();
        let only = self.ctx.running.unprefixed();
        if method == "tools/call" {
            return self.tool(record).await;
        }
        if let Some(kind) = ListKind::of_method(method) {
            // One server's list passes as it is, unless tools are held back.
            return match only {
                Some(server) if kind != ListKind::Tools || server.tools.offers_all() => self.pass(server, record).await,
                _ => list::answer(self, kind, record).await,
            };
        }
        if let Some(server) = only {
            return self.pass(server, record).await;
        }
        match (method, self.era) {
            ("prompts/get", _) => self.prompt(record).await,
            ("resources/read", _) => self.resource(record).await,
            ("completion/complete", _) => self.completion(record).await,
            ("ping", Era::Legacy) => self.own_result(record, &json!({})),
            ("logging/setLevel", Era::Legacy) => self.set_level(record).await,
            _ => self.method_not_found(record),
        }
    }

    async fn tool(&self, mut record: Record) -> Response<Body> {
        let Some(piece) = self.request.params.name else {
            return self.invalid(record, "params.name is missing");
        };
        let Some(name) = text(Some(piece)) else {
            return self.invalid(record, "params.name must be a string");
        };
        let Some((server, own)) = self.ctx.running.route(&name) else {
            return self.unknown_tool(record, &name, RouteCause::UnknownServer);
        };
        if !server.tools.offers(own) {
            return self.unknown_tool(record, &name, RouteCause::UnknownTool);
        }
        record.route(server.name.as_ref(), Some(own));
        if let Some(refused) = self.other_era(server) {
            record.refused(ErrorCause::Revision, &refused);
            return self.refuse(record, StatusCode::OK, &refused);
        }
        let handshake = server.handshake();
        let definition = handshake
            .offer(self.era)
            .map(|offer| offer.catalogue.list(ListKind::Tools))
            .and_then(|tools| tools.get(own));
        if let Some(guard) = record.call() {
            if let Some(hash) = definition.and_then(|d| d.hash.as_deref()) {
                guard.definition_hash(hash);
            }
            let arguments = self.request.params.arguments.map(|raw| raw.get().as_bytes());
            guard.parameters(arguments, |name| definition.is_some_and(|d| d.knows(name)));
        }
        self.send(server, Some(piece), &name, own, record).await
    }

    async fn prompt(&self, record: Record) -> Response<Body> {
        let Some(piece) = self.request.params.name else {
            return self.invalid(record, "params.name is missing");
        };
        let name = text(Some(piece)).unwrap_or_default();
        match self.ctx.running.route(&name) {
            Some((server, own)) => self.send(server, Some(piece), &name, own, record).await,
            None => self.invalid(record, "there is no such prompt"),
        }
    }

    async fn resource(&self, record: Record) -> Response<Body> {
        let Some(uri) = text(self.request.params.uri) else {
            return self.invalid(record, "params.uri is missing");
        };
        match self.server_of_resource(&uri) {
            Some(server) => self.send(server, None, &uri, &uri, record).await,
            None => self.no_resource(record),
        }
    }

    async fn completion(&self, record: Record) -> Response<Body> {
        let reference: Option<Reference<'_>> =
            self.request.params.reference.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Some(reference) = reference else {
            return self.invalid(record, "params.ref is missing");
        };
        if let Some(piece) = reference.name {
            let name = text(Some(piece)).unwrap_or_default();
            return match self.ctx.running.route(&name) {
                Some((server, own)) => self.send(server, Some(piece), &name, own, record).await,
                None => self.invalid(record, "there is no such prompt"),
            };
        }
        let uri = text(reference.uri).unwrap_or_default();
        match self.server_of_resource(&uri) {
            Some(server) => self.send(server, None, &uri, &uri, record).await,
            None => self.no_resource(record),
        }
    }

    /// Tells every server that can be told; the answer does not depend on them.
    async fn set_level(&self, record: Record) -> Response<Body> {
        if let Some(session) = self.session {
            let out = Outgoing {
                method: "logging/setLevel",
                body: self.body.clone(),
                name: None,
                era: self.era,
                session: Some(session),
                endless: false,
                unspoken: false,
            };
            let servers: Vec<_> = self
                .ctx
                .running
                .servers
                .iter()
                .filter(|s| s.handshake().legacy.as_ref().is_some_and(|o| o.has("logging")))
                .collect();
            let told = servers.iter().map(|server| forward::notify(self.ctx, server, &out));
            futures::future::join_all(told).await;
        }
        self.own_result(record, &json!({}))
    }

    /// The server that lists a resource; or whose template fits; or the only one that has any.
    fn server_of_resource(&self, uri: &str) -> Option<&Arc<Server>> {
        let offers: Vec<_> = self
            .ctx
            .running
            .servers
            .iter()
            .filter_map(|server| Some((server, server.handshake().offer(self.era)?.clone())))
            .filter(|(_, offer)| offer.has("resources"))
            .collect();
        let lists = |kind: ListKind, fits: &dyn Fn(&str) -> bool| {
            offers
                .iter()
                .find(|(_, offer)| offer.catalogue.list(kind).items.iter().any(|i| fits(&i.id)))
                .map(|(server, _)| *server)
        };
        lists(ListKind::Resources, &|id| id == uri)
            .or_else(|| lists(ListKind::Templates, &|id| id == uri || template_fits(id, uri)))
            .or(match offers.as_slice() {
                [(server, _)] => Some(*server),
                _ => None,
            })
    }

    /// Sends the message with the server's own name in place of the caller's.
    async fn send(
        &self,
        server: &Arc<Server>,
        piece: Option<&RawValue>,
        name: &str,
        own: &str,
        mut record: Record,
    ) -> Response<Body> {
        record.route(server.name.as_ref(), None);
        if let Some(refused) = self.other_era(server) {
            record.refused(ErrorCause::Revision, &refused);
            return self.refuse(record, StatusCode::OK, &refused);
        }
        let body = match piece {
            Some(piece) if name != own => {
                match splice::replace(self.body, piece, splice::json_string(own).as_bytes()) {
                    Some(body) => body,
                    None => return self.invalid(record, "params.name can not be read"),
                }
            }
            _ => self.body.clone(),
        };
        let out = Outgoing {
            method: &self.request.method,
            body,
            name: Some(own),
            era: self.era,
            session: self.session,
            endless: false,
            unspoken: server.handshake().lacks(self.era),
        };
        forward::request(self.ctx, server, &out, record, |_, _| {}).await
    }

    /// Passes the message to the one server as it is.
    pub async fn pass(&self, server: &Arc<Server>, mut record: Record) -> Response<Body> {
        record.route(server.name.as_ref(), None);
        let out = Outgoing {
            method: &self.request.method,
            body: self.body.clone(),
            name: None,
            era: self.era,
            session: self.session,
            endless: self.request.method == "subscriptions/listen",
            unspoken: server.handshake().lacks(self.era),
        };
        forward::request(self.ctx, server, &out, record, |_, _| {}).await
    }

    /// A server that does not speak the caller's revision has no tools for the caller. With one unprefixed
    /// server the two of them find that out.
    fn other_era(&self, server: &Server) -> Option<RpcError> {
        let handshake = server.handshake();
        let lacks = !server.prefix.is_empty() && handshake.lacks(self.era);
        lacks.then(|| {
            RpcError::new(
                code::INVALID_PARAMS,
                format!(
                    "server '{}' does not speak the revision of this client: it speaks {}",
                    server.name,
                    handshake.revisions().join(", ")
                ),
            )
            .with_data(json!({
                "reason": "revision_not_spoken",
                "server": server.name.as_ref(),
                "supported": handshake.revisions(),
            }))
        })
    }

    fn unknown_tool(&self, mut record: Record, name: &str, cause: RouteCause) -> Response<Body> {
        let shown: String = name.chars().take(128).collect();
        let error =
            RpcError::new(code::INVALID_PARAMS, format!("Unknown tool: {shown}")).with_reason("route_not_found");
        record.unknown_tool(name, cause, &error);
        self.refuse(record, StatusCode::OK, &error)
    }

    fn no_resource(&self, mut record: Record) -> Response<Body> {
        // -32002 until 2025-11-25, -32602 from 2026-07-28 on.
        let code = match self.era {
            Era::Legacy => -32002,
            Era::Modern => code::INVALID_PARAMS,
        };
        let error = RpcError::new(code, "Resource not found").with_reason("route_not_found");
        record.refused(ErrorCause::UnknownTool, &error);
        self.refuse(record, StatusCode::OK, &error)
    }

    pub(super) fn invalid(&self, mut record: Record, what: &str) -> Response<Body> {
        let error = RpcError::new(code::INVALID_PARAMS, what);
        record.bad_request(200, &error);
        self.refuse(record, StatusCode::OK, &error)
    }

    fn method_not_found(&self, mut record: Record) -> Response<Body> {
        let error = RpcError::new(code::METHOD_NOT_FOUND, "Method not found");
        record.refused(ErrorCause::Rpc, &error);
        let status = match self.era {
            Era::Legacy => StatusCode::OK,
            Era::Modern => StatusCode::NOT_FOUND,
        };
        self.refuse(record, status, &error)
    }

    fn refuse(&self, mut record: Record, status: StatusCode, error: &RpcError) -> Response<Body> {
        let body = error.to_json(self.request.id);
        record.status(status.as_u16());
        record.response_bytes(body.len());
        reply::json(status, body)
    }

    /// Armor's own answer.
    pub fn own_result(&self, mut record: Record, result: &Value) -> Response<Body> {
        let body = jsonrpc::result(self.request.id, result);
        record.status(200);
        record.succeeded();
        reply::json(StatusCode::OK, body)
    }
}

/// Whether a URI can come from a template (RFC 6570): its literal parts are there, in order.
#[must_use]
pub fn template_fits(template: &str, uri: &str) -> bool {
    let mut literals = Vec::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        literals.push(literal);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    let [first, middle @ ..] = literals.as_slice() else {
        return template == uri;
    };
    let Some(mut left) = uri.strip_prefix(first) else {
        return false;
    };
    let Some(inner) = left.strip_suffix(rest) else {
        return false;
    };
    left = inner;
    middle.iter().all(|literal| match left.find(literal) {
        Some(at) => {
            left = &left[at + literal.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn templates_and_uris() {
        for (template, uri, fits) in [
            ("test://template/{id}/data", "test://template/123/data", true),
            ("test://template/{id}/data", "test://template/123/other", false),
            ("file:///{path}", "file:///a/b", true),
            ("file:///{path}", "http:///a", false),
            ("db://{a}/{b}", "db://x/y", true),
            ("db://{a}/{b}", "db://x", false),
            ("exact://x", "exact://x", true),
            ("exact://x", "exact://xy", false),
            ("{a}x", "x", true),
            ("x{a}x", "x", false),
            ("broken{", "broken", true),
        ] {
            assert_eq!(template_fits(template, uri), fits, "{template} {uri}");
        }
    }

    proptest! {
        #[test]
        fn an_expansion_fits(
            parts in prop::collection::vec(("[a-z:/]{0,4}", "[a-z0-9]{1,5}"), 1..4), end in "[a-z/]{0,3}"
        ) {
            let template: String = parts.iter().map(|(l, _)| format!("{l}{{v}}")).collect::<String>() + &end;
            let uri: String = parts.iter().map(|(l, v)| format!("{l}{v}")).collect::<String>() + &end;
            prop_assert!(template_fits(&template, &uri));
        }
    }
}
