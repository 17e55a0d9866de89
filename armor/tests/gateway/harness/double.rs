//! Doubles of MCP servers: for faults, exact bytes and exact times, which real servers do not give.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Pending = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Handler = Arc<dyn Fn(Seen) -> Pending + Send + Sync>;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub http: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn method(&self) -> String {
        self.json()["method"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

/// A server that answers as it is told.
pub struct Double {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// Requests whose answer is not finished.
    pub open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Double {
    pub async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_on(0, handler).await
    }

    pub async fn start_on<F, R>(port: u16, handler: F) -> Self
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::new(AtomicUsize::new(0));
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        let task = tokio::spawn(serve(listener, handler, seen.clone(), open.clone()));
        Self { url, seen, open, task }
    }

    pub fn seen(&self, method: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|s| s.method() == method).cloned().collect()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, handler: Handler, seen: Arc<Mutex<Vec<Seen>>>, open: Arc<AtomicUsize>) {
    // Dropped with this task, so that the connections end with the double.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (handler, seen, open) = (handler.clone(), seen.clone(), open.clone());
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (handler, seen) = (handler.clone(), seen.clone());
                let counted = Counted::new(open.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let request = Seen { http: parts.method, headers: parts.headers, body };
                    seen.lock().unwrap().push(request.clone());
                    let response = handler(request).await;
                    // Counted until the answer is finished or given up.
                    Ok::<_, hyper::Error>(response.map(|body| {
                        body.map_frame(move |frame| {
                            let _ = &counted;
                            frame
                        })
                        .boxed_unsync()
                    }))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn status(status: u16) -> Response<Body> {
    text(status, "text/plain", "")
}

pub fn text(status: u16, kind: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync();
    Response::builder().status(status).header("content-type", kind).body(body).unwrap()
}

pub fn json_text(body: impl Into<Bytes>) -> Response<Body> {
    text(200, "application/json", body)
}

/// A result, as JSON.
pub fn result(request: &Seen, result: Value) -> Response<Body> {
    json_text(json!({"jsonrpc": "2.0", "id": request.json()["id"], "result": result}).to_string())
}

/// One step of a stream.
pub enum Step {
    Send(String),
    /// Until the other side goes away.
    Hang,
    /// The connection breaks off.
    Die,
}

pub fn steps(kind: &str, steps: Vec<Step>) -> Response<Body> {
    let frames = stream::unfold(steps.into_iter(), |mut steps| async move {
        match steps.next()? {
            Step::Send(text) => Some((Ok(Frame::data(Bytes::from(text))), steps)),
            Step::Hang => std::future::pending().await,
            Step::Die => {
                // What was sent before must be on its way.
                tokio::task::yield_now().await;
                Some((Err(std::io::Error::other("dies")), steps))
            }
        }
    });
    Response::builder().header("content-type", kind).body(StreamBody::new(frames).boxed_unsync()).unwrap()
}

pub fn events(list: Vec<Step>) -> Response<Body> {
    steps("text/event-stream", list)
}

pub fn event(message: Value) -> Step {
    Step::Send(format!("event: message\ndata: {message}\n\n"))
}

/// What a well-behaved server says to everything but a call: in which eras, with which tools.
pub fn manners(request: &Seen, eras: &[&str], tools: &[&str]) -> Option<Response<Body>> {
    if request.http == Method::DELETE {
        return Some(status(200));
    }
    if request.http == Method::GET {
        return Some(status(405));
    }
    let modern = request.header("mcp-protocol-version") == Some("2026-07-28");
    let spoken = match modern {
        true => eras.contains(&"2026-07-28"),
        false => eras.iter().any(|era| *era != "2026-07-28"),
    };
    let method = request.method();
    if !spoken {
        return Some(text(400, "text/plain", "Bad Request: not spoken here"));
    }
    let list: Vec<Value> = tools
        .iter()
        .map(|name| {
            json!({"name": name, "x-unknown": [1.50, {"b": 1, "a": 2}],
                "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}})
        })
        .collect();
    let mut answer = match method.as_str() {
        "initialize" => {
            let mut response = result(
                request,
                json!({"protocolVersion": eras[0], "capabilities": {"tools": {}}, "serverInfo": {"name": "double", "version": "0"}}),
            );
            response.headers_mut().insert("mcp-session-id", "session-of-the-double".parse().unwrap());
            return Some(response);
        }
        "server/discover" => json!({"supportedVersions": eras, "capabilities": {"tools": {}},
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "double", "version": "0"}}}),
        "tools/list" => json!({"tools": list}),
        "ping" => json!({}),
        method if method.starts_with("notifications/") => return Some(status(202)),
        _ => return None,
    };
    if modern {
        answer["resultType"] = "complete".into();
        answer["ttlMs"] = 1000.into();
        answer["cacheScope"] = "public".into();
    }
    Some(result(request, answer))
}

/// A legacy double: well-behaved but for calls.
pub async fn legacy<F, R>(tools: &'static [&'static str], call: F) -> Double
where
    F: Fn(Seen) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    of_eras(&["2025-11-25"], tools, call).await
}

/// A double of the given revisions, legacy first: well-behaved but for calls.
pub async fn of_eras<F, R>(eras: &'static [&'static str], tools: &'static [&'static str], call: F) -> Double
where
    F: Fn(Seen) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let call = Arc::new(call);
    Double::start(move |request| {
        let call = call.clone();
        async move {
            match manners(&request, eras, tools) {
                Some(response) => response,
                None => call(request).await,
            }
        }
    })
    .await
}

/// An answer to a call that repeats its arguments.
pub async fn echo(request: Seen) -> Response<Body> {
    let arguments = request.json()["params"]["arguments"].clone();
    result(&request, json!({"content": [{"type": "text", "text": arguments.to_string()}], "resultType": "complete"}))
}
