//! Credentials of users that change while a pool runs: each takes effect without a new Pod, and a bad one costs nothing
//! but itself.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, eventually};
use serde_json::{Value, json};

use crate::lifecycle::{call, trail};
use crate::raw_client::tools;
use crate::secrets::armor_pods;
use crate::{certificates, pool, remote, workload};

/// How long a changed Secret may take to reach a gateway.
const EFFECT: Duration = Duration::from_secs(30);

/// A double that refuses every request and keeps the values of one header, which no real server shows.
fn recorder(header: &'static str) -> Result<(u16, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = seen.clone();
    // Ends with the test's process; it has nothing to clean up.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let Ok(read) = stream.try_clone() else { continue };
            for line in BufReader::new(read).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some((name, value)) = line.split_once(": ")
                    && name.eq_ignore_ascii_case(header)
                {
                    keep.lock().unwrap_or_else(PoisonError::into_inner).push(value.to_owned());
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    Ok((port, seen))
}

fn key_id(event: &Value) -> Result<String> {
    let hash = event["tool.parameters_hash"].as_str().with_context(|| format!("no hash: {event}"))?;
    Ok(hash.split(':').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn every_secret_of_a_user_is_rotated_without_a_new_pod() -> Result<()> {
    let ns = Namespace::new("e2e-rotation")?;
    let first = certificates::make("rotation-1")?;
    let second = certificates::make("rotation-2")?;
    let tls = |(certificate, key): &(std::path::PathBuf, std::path::PathBuf)| -> Result<Value> {
        Ok(
            json!({"stringData": {"tls.crt": std::fs::read_to_string(certificate)?, "tls.key": std::fs::read_to_string(key)?}}),
        )
    };
    for (name, content) in [
        ("gateway-tls", tls(&first)?),
        ("own-hash", json!({"stringData": {"k": "0123456789abcdef0123456789abcdef"}})),
        ("key", json!({"stringData": {"value": "first-key"}})),
    ] {
        ns.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content["stringData"]}).to_string())?;
    }
    ns.kubectl(&["create", "configmap", "ca", &format!("--from-file=ca.crt={}", first.0.display())])?;
    // A Redis of somebody else: the one of another pool.
    ns.apply(&pool("other"))?;
    let password = eventually("a Redis with a password", EFFECT, || {
        let secret = ns.get("secret", "other-redis")?;
        let shown =
            ns.kubectl(&["get", "secret", "other-redis", "-o", "go-template={{.data.password | base64decode}}"])?;
        ensure!(secret["data"]["password"].is_string(), "no password");
        Ok(shown)
    })?;
    let url = |database: u8| {
        let url = format!("redis://:{password}@other-redis.{}.svc:6379/{database}", ns.name);
        json!({"stringData": {"url": url}})
    };
    ns.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis-url"}, "stringData": url(1)["stringData"]}).to_string())?;
    let (port, seen) = recorder("x-api-key")?;
    ns.apply(
        &(pool("prod") + &workload("tickets", "prod") + &remote("trusted", "prod", "https://crm.example.com/mcp")),
    )?;
    ns.patch("mcpserver", "trusted", &json!({"spec": {"remote": {"caRef": {"name": "ca"}}}}))?;
    // Credentials are sent in the clear to hosts of the cluster only, so that the double has a Service.
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "recorder"},
        "spec": {"type": "ExternalName", "externalName": "host.cluster.internal"}});
    ns.apply(&service.to_string())?;
    let guarded = format!("http://recorder.{}.svc:{port}/mcp", ns.name);
    ns.apply(
        &(remote("guarded", "prod", &guarded)
            + "  auth: {headers: [{name: X-Api-Key, secretRef: {name: key, key: value}}]}\n"),
    )?;
    ns.patch(
        "pool",
        "prod",
        &json!({"spec": {
            "armor": {"tls": {"secretRef": {"name": "gateway-tls"}}},
            "audit": {"hashKeySecretRef": {"name": "own-hash", "key": "k"}},
            "redis": {"managed": null, "external": {"urlSecretRef": {"name": "redis-url", "key": "url"}}},
        }}),
    )?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "guarded", ("Ready", "False", "OutboundAuthFailed"), 60)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    let pods = armor_pods(&ns)?;

    let address = ns.get("service", "prod-armor")?["spec"]["clusterIP"].as_str().context("an address")?.to_owned();
    let shows = |path: &std::path::Path| {
        let wanted = std::fs::read_to_string(path)?;
        eventually("the certificate is shown", EFFECT, || {
            let shown = certificates::shown_by(&format!("{address}:443"))?;
            ensure!(shown == wanted, "another one is shown");
            Ok(())
        })
    };
    shows(&first.0)?;
    ns.patch("secret", "gateway-tls", &tls(&second)?)?;
    shows(&second.0)?;

    let saw = |value: &str| {
        eventually(&format!("the server sees {value}"), EFFECT, || {
            let last = seen.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
            ensure!(last.as_deref() == Some(value), "it sees another one");
            Ok(())
        })
    };
    saw("first-key")?;
    ns.patch("secret", "key", &json!({"stringData": {"value": "second-key"}}))?;
    saw("second-key")?;

    let authority = |(certificate, _): &(std::path::PathBuf, std::path::PathBuf)| {
        let wanted = std::fs::read_to_string(certificate)?;
        eventually("the authority reaches the gateway's Secret", EFFECT, || {
            let template = "go-template={{index .data \"server-trusted-ca.crt\" | base64decode}}";
            let copied = ns.kubectl(&["get", "secret", "prod-armor-credentials", "-o", template])?;
            ensure!(copied == wanted, "it has another one");
            Ok(())
        })
    };
    authority(&first)?;
    ns.patch("configmap", "ca", &json!({"data": {"ca.crt": std::fs::read_to_string(&second.0)?}}))?;
    authority(&second)?;

    let unchanged = |pods: &[String]| {
        ensure!(armor_pods(&ns)? == pods, "a rotation made new Pods");
        Ok(())
    };
    unchanged(&pods)?;

    // The trail shows the key of the hashes and the Redis: in the first database, and then in another one. The client
    // does not trust the certificate.
    ns.patch("pool", "prod", &json!({"spec": {"armor": {"tls": null}}}))?;
    ns.active("prod", 120)?;
    let said = |database: u8| -> Result<Value> {
        eventually("a call is in the trail", Duration::from_secs(60), || {
            call(&ns, "prod", "tickets__echo", r#"{"text":"in"}"#, None)?;
            trail(&ns, "prod", "other-redis-0", database)?.pop().context("no call is in the trail yet")
        })
    };
    let before = key_id(&said(1)?)?;
    let pods = eventually("the gateways have rolled", Duration::from_secs(60), || {
        let pods = armor_pods(&ns)?;
        ensure!(pods.len() == 1, "{pods:?}");
        Ok(pods)
    })?;
    ns.patch("secret", "own-hash", &json!({"stringData": {"k": "fedcba9876543210fedcba9876543210"}}))?;
    eventually("the hashes have another key", Duration::from_secs(60), || {
        ensure!(key_id(&said(1)?)? != before, "still the old one");
        Ok(())
    })?;
    ns.patch("secret", "redis-url", &url(2))?;
    said(2)?;
    ns.active("prod", 30)?;
    unchanged(&pods)
}

#[test]
fn a_bad_secret_is_named_and_the_pool_serves_on() -> Result<()> {
    let ns = Namespace::new("e2e-bad-secret")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    let pods = armor_pods(&ns)?;
    let rows = [
        (
            json!({"armor": {"tls": {"secretRef": {"name": "bad"}}}}),
            "spec.armor.tls.secretRef",
            json!({"tls.crt": "no certificate", "tls.key": "no key"}),
            json!({"armor": {"tls": null}}),
        ),
        (
            json!({"audit": {"hashKeySecretRef": {"name": "bad", "key": "k"}}}),
            "spec.audit.hashKeySecretRef",
            json!({"k": "short"}),
            json!({"audit": {"hashKeySecretRef": null}}),
        ),
        (
            json!({"redis": {"managed": null, "external": {"urlSecretRef": {"name": "bad", "key": "k"}}}}),
            "spec.redis.external.urlSecretRef",
            json!({"k": "https://planted-user:planted-password@redis.example.com"}),
            json!({"redis": {"external": null, "managed": {"persistence": {"enabled": false}}}}),
        ),
    ];
    for (spec, field, invalid, back) in rows {
        ns.patch("pool", "prod", &json!({ "spec": spec }))?;
        let refused = |reason: &str| -> Result<()> {
            let condition = ns.condition("pool", "prod", ("ResolvedRefs", "False", reason), 30)?;
            let message = condition["message"].as_str().unwrap_or_default();
            ensure!(message.contains("Secret bad") && message.contains(field), "{message}");
            ensure!(!message.contains("planted"), "the message holds the value: {message}");
            ensure!(ns.get("pool", "prod")?["status"]["phase"] == "Error", "the phase of a bad reference");
            ensure!(tools(&ns, "prod", None)?.len() == 4, "the gateways do not serve on");
            Ok(())
        };
        refused("SecretNotFound")?;
        ns.kubectl(&["create", "secret", "generic", "bad", "--from-literal=another=x"])?;
        refused("SecretKeyMissing")?;
        let keys: Vec<&String> = invalid.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
        let empty: serde_json::Map<String, Value> = keys.iter().map(|key| ((*key).clone(), json!(""))).collect();
        ns.patch("secret", "bad", &json!({ "stringData": empty }))?;
        refused("SecretEmpty")?;
        ns.patch("secret", "bad", &json!({ "stringData": invalid }))?;
        refused("SecretInvalid")?;
        ns.patch("pool", "prod", &json!({ "spec": back }))?;
        ns.active("prod", 60)?;
        ns.kubectl(&["delete", "secret", "bad"])?;
    }
    ensure!(armor_pods(&ns)? == pods, "a bad Secret made new Pods");
    Ok(())
}
