//! Raw MCP clients of both eras, byte for byte.

use ::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use super::http::{self, Reply, Streamed};

pub const MODERN: &str = "2026-07-28";
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A client of revision 2025-11-25, with its session.
pub struct Legacy {
    pub url: String,
    pub session: String,
    key: Option<String>,
}

impl Legacy {
    pub async fn connect(url: &str) -> Self {
        Self::connect_as(url, None).await
    }

    /// Connects with an API key.
    pub async fn connect_as(url: &str, key: Option<&str>) -> Self {
        let mut client = Self { url: url.to_owned(), session: String::new(), key: key.map(str::to_owned) };
        let reply = client
            .post(
                json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"elicitation": {}, "sampling": {}},
                    "clientInfo": {"name": "raw-client", "version": "0.1"}
                }})
                .to_string(),
            )
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        client.session = reply.header("mcp-session-id").expect("a session").to_owned();
        client.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        client
    }

    pub fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![ACCEPT, JSON];
        if !self.session.is_empty() {
            headers.push(("mcp-session-id", &self.session));
            headers.push(("mcp-protocol-version", "2025-11-25"));
        }
        if let Some(key) = &self.key {
            headers.push(("x-api-key", key));
        }
        headers
    }

    pub async fn post(&self, body: impl Into<Bytes>) -> Reply {
        http::send(Method::POST, &self.url, &self.headers(), body).await.unwrap()
    }

    pub async fn post_stream(&self, body: impl Into<Bytes>) -> Streamed {
        http::stream(Method::POST, &self.url, &self.headers(), body).await
    }

    pub async fn listen(&self) -> Streamed {
        http::stream(Method::GET, &self.url, &self.headers(), Bytes::new()).await
    }

    pub async fn delete(&self) -> Reply {
        http::send(Method::DELETE, &self.url, &self.headers(), Bytes::new()).await.unwrap()
    }

    /// A request; the whole answer.
    pub async fn ask(&self, method: &str, params: Value) -> Reply {
        self.post(json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()).await
    }

    /// A tool call; the JSON-RPC answer.
    pub async fn call(&self, name: &str, arguments: Value) -> Value {
        let reply = self.ask("tools/call", json!({"name": name, "arguments": arguments})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.message()
    }

    pub async fn tools(&self) -> Vec<String> {
        names(&self.ask("tools/list", json!({})).await.message())
    }
}

/// A client of revision 2026-07-28, which needs no session.
pub struct Modern {
    pub url: String,
}

impl Modern {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    pub fn body(method: &str, mut params: Value) -> String {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "raw-modern", "version": "0.2"},
            "io.modelcontextprotocol/clientCapabilities": {}
        });
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
    }

    pub fn headers<'a>(method: &'a str, name: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
        let mut headers = vec![ACCEPT, JSON, ("mcp-protocol-version", MODERN), ("mcp-method", method)];
        headers.extend(name.map(|name| ("mcp-name", name)));
        headers
    }

    pub async fn ask(&self, method: &str, params: Value) -> Reply {
        let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
        let headers = Self::headers(method, name.as_deref());
        http::send(Method::POST, &self.url, &headers, Self::body(method, params)).await.unwrap()
    }

    pub async fn stream(&self, method: &str, params: Value) -> Streamed {
        http::stream(Method::POST, &self.url, &Self::headers(method, None), Self::body(method, params)).await
    }

    pub async fn call(&self, name: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": name, "arguments": arguments})).await.message()
    }

    pub async fn tools(&self) -> Vec<String> {
        names(&self.ask("tools/list", json!({})).await.message())
    }
}

fn names(message: &Value) -> Vec<String> {
    let tools = message["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools: {message}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}
