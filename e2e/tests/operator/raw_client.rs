//! Requests to a pool by hand: for what is asked many times a second, or by no client that is here. That real clients work is
//! shown with them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::Namespace;
use serde_json::{Value, json};

const REVISION: &str = "2026-07-28";

/// Names of the tools that the pool offers, sorted.
pub fn tools(ns: &Namespace, pool: &str, key: Option<&str>) -> Result<Vec<String>> {
    tools_at(&address(ns, pool)?, key)
}

/// The same, from an address and a port.
pub fn tools_at(address: &str, key: Option<&str>) -> Result<Vec<String>> {
    let result = ask(address, "tools/list", json!({}), key)?;
    let list = result["tools"].as_array().with_context(|| format!("no tools: {result}"))?;
    let mut names: Vec<String> = list.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

/// What a prompt of the pool is with these arguments.
pub fn prompt(ns: &Namespace, pool: &str, name: &str, arguments: &Value, key: Option<&str>) -> Result<Value> {
    ask(&address(ns, pool)?, "prompts/get", json!({"name": name, "arguments": arguments}), key)
}

fn address(ns: &Namespace, pool: &str) -> Result<String> {
    let service = ns.get("service", &format!("{pool}-armor"))?;
    let address = service["spec"]["clusterIP"].as_str().context("a cluster address")?;
    Ok(format!("{address}:{}", service["spec"]["ports"][0]["port"]))
}

fn ask(address: &str, method: &str, mut params: Value, key: Option<&str>) -> Result<Value> {
    let name = params["name"].as_str().map_or(String::new(), |name| format!("mcp-name: {name}\r\n"));
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let key = key.map_or(String::new(), |key| format!("authorization: Bearer {key}\r\n"));
    let mut stream = TcpStream::connect_timeout(&address.parse()?, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nhost: pool\r\nconnection: close\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {REVISION}\r\nmcp-method: {method}\r\n{name}{key}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer:?}"))?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{}", head.lines().next().unwrap_or_default());
    let mut answer: Value = serde_json::from_str(body).with_context(|| format!("no JSON: {body:?}"))?;
    ensure!(answer["result"].is_object(), "no result: {answer}");
    Ok(answer["result"].take())
}
