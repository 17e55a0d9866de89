//! Bad input that only the cluster can judge: a condition with object, field and remedy, the rest goes on, and
//! nothing is tried over and over.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, SYSTEM, eventually, kubectl_json};
use serde_json::{Value, json};

use crate::drift::operator_metrics;
use crate::{pool, remote, with_loose_spec, workload};

/// A double for faults: answers every connection with `answer`, or never. Gives its port.
fn broken_server(answer: Option<&'static str>) -> Result<u16> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    // Ends with the test's process; it has nothing to clean up.
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            match answer {
                Some(answer) => {
                    let mut head = [0u8; 4096];
                    let _ = stream.read(&mut head);
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => held.push(stream),
            }
        }
    });
    Ok(port)
}

fn says(condition: &Value, parts: &[&str]) -> Result<()> {
    let message = condition["message"].as_str().unwrap_or_default();
    for part in parts {
        ensure!(message.contains(part), "{message:?} does not say {part:?}");
    }
    Ok(())
}

#[test]
fn broken_servers_cost_themselves_only_and_say_why() -> Result<()> {
    let ns = Namespace::new("e2e-broken")?;
    let garbage = broken_server(Some(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
    ))?;
    let unauthorized =
        broken_server(Some("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))?;
    let hanging = broken_server(None)?;
    let host = "host.cluster.internal";
    ns.apply(&(pool("prod") + &workload("good", "prod")))?;
    let mut servers = remote("garbage", "prod", &format!("http://{host}:{garbage}/mcp"));
    servers += &remote("locked", "prod", &format!("http://{host}:{unauthorized}/mcp"));
    servers += &(remote("hanging", "prod", &format!("http://{host}:{hanging}/mcp")) + "  timeout: 1s\n");
    servers += &remote("down", "prod", &format!("http://nobody.{}.svc:8080/mcp", ns.name));
    servers += &workload("unpullable", "prod").replace("localhost/example-mcp:dev", "localhost/no-such-image:1");
    servers += &(remote("secretless", "prod", "https://crm.example.com/mcp")
        + "  auth: {bearer: {secretRef: {name: none, key: token}}}\n");
    servers += &remote("poolless", "nowhere", "https://crm.example.com/mcp");
    ns.apply(&servers)?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "good", ("Ready", "True", "Connected"), 60)?;
    for (name, reason) in [
        ("garbage", "ProtocolError"),
        ("locked", "OutboundAuthFailed"),
        ("hanging", "Timeout"),
        ("down", "ConnectFailed"),
    ] {
        ns.condition("mcpserver", name, ("Ready", "False", reason), 60)?;
    }
    let unpullable = ns.condition("mcpserver", "unpullable", ("Ready", "False", "ImagePullFailed"), 60)?;
    says(&unpullable, &["localhost/no-such-image:1"])?;
    let secretless = ns.condition("mcpserver", "secretless", ("ResolvedRefs", "False", "SecretNotFound"), 30)?;
    says(&secretless, &["Secret none", "spec.auth.bearer.secretRef", "create it"])?;
    let poolless = ns.condition("mcpserver", "poolless", ("Accepted", "False", "PoolNotFound"), 30)?;
    says(&poolless, &["Pool nowhere", "spec.poolRef.name", "create it"])?;

    // Each heals by itself once the cause is gone.
    ns.kubectl(&["create", "secret", "generic", "none", "--from-literal=other=x"])?;
    let wrong_key = ns.condition("mcpserver", "secretless", ("ResolvedRefs", "False", "SecretKeyMissing"), 30)?;
    says(&wrong_key, &["Secret none", "key token", "add the key"])?;
    ns.patch("secret", "none", &json!({"stringData": {"token": ""}}))?;
    ns.condition("mcpserver", "secretless", ("ResolvedRefs", "False", "SecretEmpty"), 30)?;
    ns.patch("secret", "none", &json!({"stringData": {"token": "t"}}))?;
    ns.condition("mcpserver", "secretless", ("ResolvedRefs", "True", ""), 30)?;

    ns.active("prod", 30)?;
    let pool = ns.get("pool", "prod")?;
    ensure!(pool["status"]["display"]["servers"] == "1/7", "{}", pool["status"]["display"]);
    ns.condition("mcpserver", "good", ("Ready", "True", "Connected"), 10)?;
    Ok(())
}

#[test]
fn a_taken_name_is_never_taken_over_and_heals_when_it_is_free() -> Result<()> {
    let ns = Namespace::new("e2e-conflict")?;
    ns.kubectl(&["create", "configmap", "prod-armor", "--from-literal=mine=yes"])?;
    let before = ns.get("configmap", "prod-armor")?;
    ns.apply(&pool("prod"))?;
    let conflict = ns.condition("pool", "prod", ("Accepted", "False", "NameConflict"), 60)?;
    says(&conflict, &["ConfigMap", "prod-armor", "delete or rename"])?;
    ensure!(ns.get("configmap", "prod-armor")? == before, "a foreign object was changed");
    ns.kubectl(&["delete", "configmap", "prod-armor"])?;
    ns.active("prod", 120)?;
    Ok(())
}

#[test]
fn a_volume_of_somebody_else_is_never_taken_over() -> Result<()> {
    let ns = Namespace::new("e2e-claim")?;
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data-prod-redis-0}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
    ns.apply(claim)?;
    let uid = ns.get("pvc", "data-prod-redis-0")?["metadata"]["uid"].clone();
    let persistent = pool("prod").replace("persistence: {enabled: false}", "");
    ns.apply(&persistent)?;
    let conflict = ns.condition("pool", "prod", ("Accepted", "False", "NameConflict"), 60)?;
    says(&conflict, &["PersistentVolumeClaim data-prod-redis-0", "delete or rename"])?;
    ensure!(ns.kubectl(&["get", "statefulset", "-o", "name"])?.is_empty(), "a Redis was made on it");
    ns.kubectl(&["delete", "pool", "prod"])?;
    ensure!(ns.get("pvc", "data-prod-redis-0")?["metadata"]["uid"] == uid, "the claim went with the Pool");
    // Without it the pool starts, and its own claim is no obstacle to a later one that keeps it.
    ns.kubectl(&["delete", "pvc", "data-prod-redis-0"])?;
    let retained = pool("prod").replace("persistence: {enabled: false}", "persistence: {retain: true}");
    for _ in 0..2 {
        ns.apply(&retained)?;
        ns.active("prod", 120)?;
        ns.kubectl(&["delete", "pool", "prod", "--wait=true"])?;
        eventually("Redis is gone", Duration::from_secs(60), || {
            ensure!(ns.kubectl(&["get", "statefulsets,pods", "-o", "name"])?.is_empty(), "not yet");
            Ok(())
        })?;
        ns.get("pvc", "data-prod-redis-0")?;
    }
    Ok(())
}

#[test]
fn a_pool_of_the_longest_name_and_with_a_volume_runs_and_keeps_its_volume() -> Result<()> {
    let ns = Namespace::new("e2e-long")?;
    let name = "p".repeat(63);
    ns.apply(&pool(&name).replace("persistence: {enabled: false}", ""))?;
    ns.active(&name, 120)?;
    ns.patch("pool", &name, &json!({"spec": {"audit": {"streamMaxBytes": "512Mi"}}}))?;
    let small = ns.condition("pool", &name, ("Accepted", "False", "VolumeTooSmall"), 30)?;
    says(&small, &["spec.audit.streamMaxBytes", "1Gi", "StatefulSet"])?;
    ns.patch("pool", &name, &json!({"spec": {"audit": {"streamMaxBytes": "128Mi"}}}))?;
    ns.active(&name, 120)?;
    Ok(())
}

#[test]
fn a_redis_that_no_quota_lets_start_says_where_to_look() -> Result<()> {
    let ns = Namespace::new("e2e-no-pods")?;
    ns.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: tight}\nspec: {hard: {pods: \"0\"}}\n")?;
    eventually("the quota counts", Duration::from_secs(30), || {
        ensure!(ns.get("resourcequota", "tight")?["status"]["used"]["pods"] == "0", "not yet");
        Ok(())
    })?;
    ns.apply(&pool("prod"))?;
    let armor = ns.condition("pool", "prod", ("ArmorReady", "False", "QuotaExceeded"), 60)?;
    says(&armor, &["exceeded quota: tight"])?;
    let redis = ns.condition("pool", "prod", ("RedisReady", "False", "PodsRefused"), 90)?;
    says(&redis, &["kubectl describe statefulset prod-redis", "quota"])?;
    ns.kubectl(&["delete", "resourcequota", "tight"])?;
    ns.active("prod", 180)?;
    Ok(())
}

#[test]
fn a_full_quota_is_named_and_not_asked_over_and_over() -> Result<()> {
    let ns = Namespace::new("e2e-quota")?;
    ns.apply(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: tight}\nspec: {hard: {count/configmaps: \"1\"}}\n",
    )?;
    eventually("the quota counts", Duration::from_secs(30), || {
        let used = ns.get("resourcequota", "tight")?["status"]["used"]["count/configmaps"].clone();
        ensure!(used == "1", "{used}");
        Ok(())
    })?;
    ns.apply(&pool("prod"))?;
    let full = ns.condition("pool", "prod", ("Accepted", "False", "QuotaExceeded"), 60)?;
    says(&full, &["ConfigMap", "prod-armor", "quota", "tight"])?;
    let lease = kubectl_json(&["-n", SYSTEM, "get", "lease", "ai-gateway-operator"])?;
    let leader = lease["spec"]["holderIdentity"].as_str().context("somebody leads")?.to_owned();
    let requests = || -> Result<f64> {
        let metrics = operator_metrics(&leader)?;
        let counted = metrics
            .lines()
            .filter(|line| line.starts_with("ai_gateway_operator_child_requests_total{kind=\"ConfigMap\""));
        Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    };
    // Other tests' namespaces are on their way out and may still cause a request or two.
    let (before, window) = (requests()?, std::time::Instant::now());
    eventually("25 s have been watched", Duration::from_secs(60), || {
        ensure!(window.elapsed() >= Duration::from_secs(25), "not yet");
        Ok(())
    })?;
    let more = requests()? - before;
    ensure!(more <= 2.0, "{more} requests about ConfigMaps in 25 s, with a known cause");
    ns.kubectl(&["delete", "resourcequota", "tight"])?;
    ns.active("prod", 120)?;
    Ok(())
}

#[test]
fn an_object_that_does_not_fit_its_schema_stalls_no_other() -> Result<()> {
    let ns = Namespace::new("e2e-malformed")?;
    with_loose_spec("pools", || {
        eventually("the loose schema is served", Duration::from_secs(30), || {
            ns.apply(&pool("bad").replace("replicas: 1", "replicas: 1, logLevel: 7")).map(drop)
        })?;
        let malformed = ns.condition("pool", "bad", ("Accepted", "False", "Malformed"), 30)?;
        says(&malformed, &["schema", "kubectl edit"])?;
        ns.apply(&pool("good"))?;
        ns.active("good", 120)?;
        ns.kubectl(&["delete", "pool", "bad"])?;
        Ok(())
    })
}
