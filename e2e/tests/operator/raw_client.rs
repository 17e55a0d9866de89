//! The tools of a pool, asked for by hand: for what is asked many times a second. That real clients work is shown with them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::Namespace;
use serde_json::{Value, json};

const REVISION: &str = "2026-07-28";

/// Names of the tools that the pool offers, sorted.
pub fn tools(ns: &Namespace, pool: &str, key: Option<&str>) -> Result<Vec<String>> {
    let service = ns.get("service", &format!("{pool}-armor"))?;
    let address = service["spec"]["clusterIP"].as_str().context("a cluster address")?;
    tools_at(&format!("{address}:{}", service["spec"]["ports"][0]["port"]), key)
}

/// The same, from an address and a port.
pub fn tools_at(address: &str, key: Option<&str>) -> Result<Vec<String>> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}).to_string();
    let key = key.map_or(String::new(), |key| format!("authorization: Bearer {key}\r\n"));
    let mut stream = TcpStream::connect_timeout(&address.parse()?, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nhost: pool\r\nconnection: close\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {REVISION}\r\nmcp-method: tools/list\r\n{key}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer:?}"))?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{}", head.lines().next().unwrap_or_default());
    let answer: Value = serde_json::from_str(body).with_context(|| format!("no JSON: {body:?}"))?;
    let list = answer["result"]["tools"].as_array().with_context(|| format!("no tools: {answer}"))?;
    let mut names: Vec<String> = list.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}
