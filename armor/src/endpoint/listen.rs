//! Streams that Armor itself writes: a pool of several servers tells its clients that lists have changed.
//!
//! Promises: kept alive every 15 s; ended when the process shuts down; the first message of a modern stream is
//! its acknowledgement, which names what will be told and nothing more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::changes::Changes;
use super::context::Context;
use super::record::Record;
use super::reply;
use crate::gateway::Gateway;
use crate::mcp::envelope::Request;
use crate::mcp::{Era, meta};
use crate::stream::relay::KEEP_ALIVE;
use crate::stream::sse;
use crate::upstream::catalogue::ListKind;

/// Which lists a modern client wants to be told of.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
}

impl Filter {
    const ALL: Self = Self { tools_list_changed: true, prompts_list_changed: true, resources_list_changed: true };

    fn wants(self, kind: ListKind) -> bool {
        match kind {
            ListKind::Tools => self.tools_list_changed,
            ListKind::Prompts => self.prompts_list_changed,
            ListKind::Resources | ListKind::Templates => self.resources_list_changed,
        }
    }

    /// What is told of what was asked: updates of single resources are not.
    fn acknowledged(self) -> Value {
        let mut map = Map::new();
        for (key, wanted) in [
            ("toolsListChanged", self.tools_list_changed),
            ("promptsListChanged", self.prompts_list_changed),
            ("resourcesListChanged", self.resources_list_changed),
        ] {
            if wanted {
                map.insert(key.to_owned(), true.into());
            }
        }
        Value::Object(map)
    }
}

/// The stream of a legacy session.
pub fn legacy(ctx: &Context) -> Response<Body> {
    let changes = Changes::new(ctx.gateway.clone(), &ctx.running, Era::Legacy);
    reply::events(body(ctx.gateway.clone(), changes, Filter::ALL, None, None))
}

/// The answer to `subscriptions/listen`.
pub fn modern(ctx: &Context, request: &Request<'_>, mut record: Record) -> Response<Body> {
    let filter: Filter =
        request.params.notifications.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    record.status(200);
    record.succeeded();
    let id = request.id.map(ToOwned::to_owned);
    let changes = Changes::new(ctx.gateway.clone(), &ctx.running, Era::Modern);
    reply::events(body(ctx.gateway.clone(), changes, filter, id, Some(record)))
}

struct Stream {
    gateway: Arc<Gateway>,
    changes: Changes,
    filter: Filter,
    /// Id of the subscription, of a modern stream.
    id: Option<Box<RawValue>>,
    waiting: VecDeque<Bytes>,
    ended: bool,
    /// Counts the request as in flight as long as the stream is open.
    _record: Option<Record>,
}

fn body(
    gateway: Arc<Gateway>,
    changes: Changes,
    filter: Filter,
    id: Option<Box<RawValue>>,
    record: Option<Record>,
) -> Body {
    let mut state = Stream { gateway, changes, filter, id, waiting: VecDeque::new(), ended: false, _record: record };
    let first = match &state.id {
        Some(_) => state.notification("notifications/subscriptions/acknowledged", Some(filter.acknowledged())),
        // Lets the caller see at once that the stream is open.
        None => Bytes::from_static(b": open\n\n"),
    };
    state.waiting.push_back(first);
    Body::from_stream(stream::unfold(state, |mut state| async move {
        let next = state.next().await?;
        Some((Ok::<_, Infallible>(next), state))
    }))
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let changed = tokio::select! {
                changed = self.changes.next() => changed,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    return Some(Bytes::from_static(b": keep-alive\n\n"));
                }
                () = self.gateway.draining.cancelled() => {
                    self.ended = true;
                    return self.farewell();
                }
            };
            let mut told: Vec<&str> = changed.into_iter().filter(|kind| self.filter.wants(*kind)).map(method).collect();
            // Resources and templates have one notification.
            told.dedup();
            for method in told {
                let event = self.notification(method, None);
                self.waiting.push_back(event);
            }
        }
    }

    fn notification(&self, method: &str, filter: Option<Value>) -> Bytes {
        let mut message = json!({ "jsonrpc": "2.0", "method": method });
        if let Some(id) = &self.id {
            message["params"]["_meta"][meta::SUBSCRIPTION_ID] = json!(id);
            if let Some(filter) = filter {
                message["params"]["notifications"] = filter;
            }
        }
        sse::event(message.to_string().as_bytes()).into()
    }

    /// The answer that ends a subscription in good order.
    fn farewell(&self) -> Option<Bytes> {
        let id = self.id.as_ref()?;
        let result = json!({
            "resultType": "complete",
            "_meta": { meta::SUBSCRIPTION_ID: id },
        });
        let message = crate::mcp::jsonrpc::result(Some(id), &result);
        Some(sse::event(&message).into())
    }
}

const fn method(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => "notifications/tools/list_changed",
        ListKind::Prompts => "notifications/prompts/list_changed",
        ListKind::Resources | ListKind::Templates => "notifications/resources/list_changed",
    }
}
