//! Every field of both specs, changed on a running pool; at the end it is as if it had been made so.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, eventually};
use serde_json::{Value, json};

use crate::drift::Killer;
use crate::equal::become_equal;
use crate::raw_client::tools;
use crate::{MANAGED, certificates, pool, workload};

/// What an edit leads to.
enum Then {
    /// A field of a child has this value.
    Is(&'static str, &'static str, Value),
    /// A child is gone.
    Gone(&'static str),
    /// `armor.yaml` of the pool has this text.
    Tells(&'static str),
    /// `armor.yaml` of the pool does not have this text any more.
    Forgets(&'static str),
}

use Then::{Forgets, Gone, Is, Tells};

const ARMOR: &str = "deployment/prod-armor";
const SERVER: &str = "deployment/tickets-mcp";
const REDIS: &str = "statefulset/prod-redis";

/// For an edit: the operator may be killed in its middle, and whoever takes over waits for the lease of the dead.
const EDIT: Duration = Duration::from_secs(60);

fn expect(ns: &Namespace, then: &Then) -> Result<()> {
    let config = |text: &str| -> Result<(bool, String)> {
        let map = ns.get("configmap", "prod-armor")?;
        let yaml = map["data"]["armor.yaml"].as_str().unwrap_or_default().to_owned();
        Ok((yaml.contains(text), yaml))
    };
    match then {
        Is(child, pointer, want) => {
            let (kind, name) = child.split_once('/').unwrap_or_default();
            let seen = ns.get(kind, name)?.pointer(pointer).cloned().unwrap_or_default();
            ensure!(seen == *want, "{child} {pointer} is {seen}, not {want}");
        }
        Gone(child) => {
            let seen = ns.kubectl(&["get", child, "--ignore-not-found", "-o", "name"])?;
            ensure!(seen.is_empty(), "{child} is there");
        }
        Tells(text) => {
            let (there, yaml) = config(text)?;
            ensure!(there, "armor.yaml does not say {text:?}:\n{yaml}");
        }
        Forgets(text) => {
            let (there, yaml) = config(text)?;
            ensure!(!there, "armor.yaml says {text:?}:\n{yaml}");
        }
    }
    Ok(())
}

fn edit(ns: &Namespace, object: &str, spec: Value, thens: &[Then]) -> Result<()> {
    let (kind, name) = object.split_once('/').unwrap_or_default();
    ns.patch(kind, name, &json!({"spec": spec}))?;
    for then in thens {
        eventually(&format!("{object} {spec}"), EDIT, || expect(ns, then))?;
    }
    Ok(())
}

/// What the specs of this test point at: the same in both namespaces.
fn provide(ns: &Namespace, (certificate, key): &(PathBuf, PathBuf)) -> Result<()> {
    let (certificate, key) = (certificate.display(), key.display());
    ns.kubectl(&["create", "secret", "tls", "gateway-tls", &format!("--cert={certificate}"), &format!("--key={key}")])?;
    ns.kubectl(&["create", "configmap", "crm-ca", &format!("--from-file=ca.crt={certificate}")])?;
    ns.kubectl(&["create", "secret", "generic", "own-hash", "--from-literal=k=0123456789abcdef0123456789abcdef"])?;
    ns.kubectl(&["create", "secret", "generic", "crm", "--from-literal=token=t-1", "--from-literal=other=t-2"])?;
    ns.kubectl(&["create", "secret", "generic", "redis-elsewhere", "--from-literal=url=redis://nobody.invalid:6379"])?;
    let hash = "63742a3832e4c013e9a1c6bdec0c7543e908d23eed411f2a884d72eee18e47f5";
    ns.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: alice, labels: {{keys: prod}}}}\nstringData: {{hash: \"sha256:{hash}\", user: alice@example.com}}\n"
    ))?;
    Ok(())
}

#[test]
fn every_field_can_be_edited_while_the_operator_is_killed_and_the_end_equals_a_fresh_creation() -> Result<()> {
    let ns = Namespace::new("e2e-fields")?;
    let certificate = certificates::make("edits")?;
    provide(&ns, &certificate)?;
    ns.apply(&(pool("prod") + "---\n" + &pool("second") + &workload("tickets", "prod")))?;
    ns.active("prod", 120)?;
    let killer = Killer::start();
    of_the_gateway(&ns)?;
    of_callers_redis_and_audit(&ns)?;
    of_the_server(&ns)?;
    eprintln!("the operator was killed {} times", killer.stop()?);
    for pool in ["prod", "second"] {
        ns.active(pool, 150)?;
    }
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 90)?;

    let fresh = Namespace::new("e2e-fields-fresh")?;
    provide(&fresh, &certificate)?;
    for (kind, name) in [("Pool", "prod"), ("Pool", "second"), ("McpServer", "tickets")] {
        let spec = ns.get(kind, name)?["spec"].clone();
        let object =
            json!({"apiVersion": "aigateway.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        fresh.apply(&object.to_string())?;
    }
    for pool in ["prod", "second"] {
        fresh.active(pool, 150)?;
    }
    fresh.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 90)?;
    become_equal(&ns, &fresh)
}

fn of_the_gateway(ns: &Namespace) -> Result<()> {
    let armor = |field: Value, thens: &[Then]| edit(ns, "pool/prod", json!({ "armor": field }), thens);
    let pod = |field: Value, thens: &[Then]| armor(json!({ "pod": field }), thens);
    let spec = |field: &'static str, value: Value| Is(ARMOR, field, value);
    // An endpoint may be a moment late.
    eventually("the pool answers", Duration::from_secs(15), || tools(ns, "prod", None).map(drop))?;
    armor(
        json!({"image": "localhost/armor:next"}),
        &[spec("/spec/template/spec/containers/0/image", json!("localhost/armor:next"))],
    )?;
    // The gateway of before goes on while the new one can not be pulled.
    tools(ns, "prod", None).context("the pool is away while an image can not be pulled")?;
    armor(json!({"image": null}), &[spec("/spec/template/spec/containers/0/image", json!("localhost/armor:dev"))])?;
    armor(json!({"service": {"type": "NodePort"}}), &[Is("service/prod-armor", "/spec/type", json!("NodePort"))])?;
    armor(json!({"service": {"type": null}}), &[Is("service/prod-armor", "/spec/type", json!("ClusterIP"))])?;
    armor(
        json!({"service": {"annotations": {"a": "1", "b": "2"}}}),
        &[Is("service/prod-armor", "/metadata/annotations/b", json!("2"))],
    )?;
    armor(
        json!({"service": {"annotations": {"b": null}}}),
        &[Is("service/prod-armor", "/metadata/annotations/b", Value::Null)],
    )?;
    let port = |number: i32| Is("service/prod-armor", "/spec/ports/0/port", json!(number));
    armor(
        json!({"tls": {"secretRef": {"name": "gateway-tls"}}}),
        &[port(443), Tells("certFile: tls.crt"), Is("secret/prod-armor-credentials", "/type", json!("Opaque"))],
    )?;
    ns.condition("pool", "prod", ("ResolvedRefs", "True", ""), 60)?;
    ensure!(
        ns.get("pool", "prod")?["status"]["endpoint"].as_str().is_some_and(|url| url.starts_with("https://")),
        "https"
    );
    armor(json!({"tls": null}), &[port(80), Forgets("certFile"), Gone("secret/prod-armor-credentials")])?;
    pod(
        json!({"nodeSelector": {"kubernetes.io/os": "linux"}}),
        &[spec("/spec/template/spec/nodeSelector", json!({"kubernetes.io/os": "linux"}))],
    )?;
    let soft = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]}});
    pod(json!({ "affinity": soft }), &[spec("/spec/template/spec/affinity", soft)])?;
    let spread = json!([{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]);
    pod(
        json!({ "topologySpreadConstraints": spread }),
        &[spec("/spec/template/spec/topologySpreadConstraints/0/maxSkew", json!(2))],
    )?;
    pod(
        json!({"topologySpreadConstraints": null}),
        &[spec("/spec/template/spec/topologySpreadConstraints/0/maxSkew", json!(1))],
    )?;
    pod(
        json!({"priorityClassName": "system-cluster-critical"}),
        &[spec("/spec/template/spec/priorityClassName", json!("system-cluster-critical"))],
    )?;
    pod(json!({"priorityClassName": null}), &[spec("/spec/template/spec/priorityClassName", Value::Null)])?;
    pod(
        json!({"annotations": {"x": "1"}, "labels": {"y": "2"}}),
        &[spec("/spec/template/metadata/annotations/x", json!("1"))],
    )?;
    pod(
        json!({"annotations": null, "labels": null}),
        &[
            spec("/spec/template/metadata/annotations/x", Value::Null),
            spec("/spec/template/metadata/labels/y", Value::Null),
        ],
    )?;
    let tolerations = json!([{"key": "k", "operator": "Exists"}]);
    pod(json!({ "tolerations": tolerations }), &[spec("/spec/template/spec/tolerations/0/key", json!("k"))])?;
    let pull = json!([{"name": "pull"}]);
    pod(json!({ "imagePullSecrets": pull }), &[spec("/spec/template/spec/imagePullSecrets", pull)])?;
    pod(
        json!({"serviceAccountName": "default"}),
        &[spec("/spec/template/spec/serviceAccountName", json!("default")), Gone("serviceaccount/prod-armor")],
    )?;
    pod(json!({"serviceAccountName": null}), &[spec("/spec/template/spec/serviceAccountName", json!("prod-armor"))])?;
    armor(
        json!({"replicas": 2, "podDisruptionBudget": {"maxUnavailable": 1}}),
        &[Is("pdb/prod-armor", "/spec/maxUnavailable", json!(1))],
    )?;
    armor(
        json!({"podDisruptionBudget": {"maxUnavailable": "50%"}}),
        &[Is("pdb/prod-armor", "/spec/maxUnavailable", json!("50%"))],
    )?;
    armor(json!({"replicas": 1, "podDisruptionBudget": null}), &[Gone("pdb/prod-armor")])?;
    armor(json!({"hosts": ["mcp.example.com"]}), &[Tells("mcp.example.com")])?;
    armor(json!({"hosts": null}), &[Forgets("mcp.example.com")])?;
    armor(json!({"logLevel": "debug"}), &[Tells("logLevel: debug")])?;
    armor(
        json!({"resources": {"requests": {"cpu": "20m"}}}),
        &[spec("/spec/template/spec/containers/0/resources", json!({"requests": {"cpu": "20m"}}))],
    )
}

fn of_callers_redis_and_audit(ns: &Namespace) -> Result<()> {
    let pool = |field: Value, thens: &[Then]| edit(ns, "pool/prod", field, thens);
    pool(json!({"paused": true}), &[])?;
    ns.condition("pool", "prod", ("Accepted", "True", "Paused"), 60)?;
    pool(json!({"armor": {"service": {"port": 8090}}}), &[])?;
    ns.condition("pool", "prod", ("Accepted", "True", "Paused"), 60)?;
    ensure!(ns.get("service", "prod-armor")?["spec"]["ports"][0]["port"] == 80, "a paused pool was changed");
    pool(json!({"paused": null}), &[Is("service/prod-armor", "/spec/ports/0/port", json!(8090))])?;

    let keys = json!({"apiKeys": {"secretSelector": {"matchLabels": {"keys": "prod"}}}, "anonymous": null});
    pool(
        json!({ "auth": keys }),
        &[Tells("apiKeysFile"), Is("secret/prod-armor-credentials", "/type", json!("Opaque"))],
    )?;
    pool(
        json!({"auth": {"apiKeys": null, "anonymous": true}}),
        &[Tells("anonymous: true"), Gone("secret/prod-armor-credentials")],
    )?;

    pool(
        json!({"redis": {"managed": {"pod": {"labels": {"r": "1"}}}}}),
        &[Is(REDIS, "/spec/template/metadata/labels/r", json!("1"))],
    )?;
    let container = "/spec/template/spec/containers/0";
    let resources = json!({"requests": {"cpu": "11m", "memory": "48Mi"}});
    pool(
        json!({"redis": {"managed": {"resources": resources}}}),
        &[Is(REDIS, "/spec/template/spec/containers/0/resources/requests/memory", json!("48Mi"))],
    )?;
    let external = json!({"managed": null, "external": {"urlSecretRef": {"name": "redis-elsewhere", "key": "url"}}});
    pool(
        json!({ "redis": external }),
        &[
            Tells("urlFile: redis-url"),
            Gone(REDIS),
            Gone("secret/prod-redis"),
            Gone("service/prod-redis"),
            Gone("networkpolicy/prod-redis"),
        ],
    )?;
    let managed = json!({"external": null, "managed": {"image": "localhost/redis:dev", "persistence": {"enabled": true, "retain": false, "size": "1Gi"}}});
    pool(
        json!({ "redis": managed }),
        &[
            Tells("passwordFile"),
            Is(REDIS, "/spec/volumeClaimTemplates/0/spec/resources/requests/storage", json!("1Gi")),
        ],
    )?;
    ensure!(
        ns.get("statefulset", "prod-redis")?.pointer(container).is_some_and(|c| c["image"] == "localhost/redis:dev")
    );
    pool(
        json!({"redis": {"managed": {"persistence": {"retain": true}}}}),
        &[Is(REDIS, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted", json!("Retain"))],
    )?;
    pool(
        json!({"redis": {"managed": {"persistence": {"retain": false}}}}),
        &[Is(REDIS, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted", json!("Delete"))],
    )?;

    let own = json!({"hashKeySecretRef": {"name": "own-hash", "key": "k"}});
    pool(
        json!({ "audit": own }),
        &[Gone("secret/prod-armor-hash-key"), Is("secret/prod-armor-credentials", "/type", json!("Opaque"))],
    )?;
    pool(
        json!({"audit": {"hashKeySecretRef": null}}),
        &[Is("secret/prod-armor-hash-key", "/type", json!("Opaque")), Gone("secret/prod-armor-credentials")],
    )?;
    pool(json!({"audit": {"parameters": "None"}}), &[Tells("parameters: None")])?;
    pool(
        json!({"audit": {"parameters": "Names", "streamMaxBytes": "8Mi"}}),
        &[Tells("parameters: Names"), Tells("streamMaxBytes: 8388608")],
    )?;
    pool(
        json!({"networkPolicy": {"enabled": false}}),
        &[Gone("networkpolicy/prod-armor"), Gone("networkpolicy/prod-redis"), Gone("networkpolicy/tickets-mcp")],
    )?;
    let from = json!({"enabled": true, "allowFrom": [{"podSelector": {"matchLabels": {"agent": "yes"}}}]});
    pool(
        json!({ "networkPolicy": from }),
        &[
            Is("networkpolicy/prod-armor", "/spec/ingress/0/from/0/podSelector/matchLabels/agent", json!("yes")),
            Is("networkpolicy/tickets-mcp", "/spec/policyTypes", json!(["Ingress"])),
        ],
    )
}

fn of_the_server(ns: &Namespace) -> Result<()> {
    let server = |field: Value, thens: &[Then]| edit(ns, "mcpserver/tickets", field, thens);
    let work = |field: Value, thens: &[Then]| server(json!({ "workload": field }), thens);
    let is = |pointer: &'static str, value: Value| Is(SERVER, pointer, value);
    work(
        json!({"image": "localhost/example-mcp:next"}),
        &[is("/spec/template/spec/containers/0/image", json!("localhost/example-mcp:next"))],
    )?;
    work(
        json!({"image": "localhost/example-mcp:dev"}),
        &[is("/spec/template/spec/containers/0/image", json!("localhost/example-mcp:dev"))],
    )?;
    let command = json!(["/usr/bin/python3", "-uP", "/app/everything.py"]);
    work(json!({ "command": command }), &[is("/spec/template/spec/containers/0/command", command)])?;
    work(json!({"command": null}), &[is("/spec/template/spec/containers/0/command", Value::Null)])?;
    work(
        json!({"env": [{"name": "A", "value": "1"}], "envFrom": [{"secretRef": {"name": "crm"}}]}),
        &[is("/spec/template/spec/containers/0/envFrom/0/secretRef/name", json!("crm"))],
    )?;
    work(
        json!({"args": ["--name", "renamed", "--port", "8081"], "port": 8081}),
        &[
            is("/spec/template/spec/containers/0/args/1", json!("renamed")),
            Is("service/tickets-mcp", "/spec/ports/0/port", json!(8081)),
            Is("networkpolicy/tickets-mcp", "/spec/ingress/0/ports/0/port", json!(8081)),
            Tells("svc:8081/mcp"),
        ],
    )?;
    work(json!({"path": "/elsewhere"}), &[Tells("svc:8081/elsewhere")])?;
    work(json!({"path": null}), &[Tells("svc:8081/mcp")])?;
    work(json!({"replicas": 2}), &[is("/spec/replicas", json!(2))])?;
    work(
        json!({"replicas": 1, "resources": {"requests": {"cpu": "5m"}}}),
        &[is("/spec/replicas", json!(1)), is("/spec/template/spec/containers/0/resources/requests/cpu", json!("5m"))],
    )?;
    work(
        json!({"pod": {"labels": {"z": "1"}, "serviceAccountName": "default"}}),
        &[is("/spec/template/metadata/labels/z", json!("1")), Gone("serviceaccount/tickets-mcp")],
    )?;
    work(
        json!({"pod": {"serviceAccountName": null}}),
        &[Is("serviceaccount/tickets-mcp", "/automountServiceAccountToken", json!(false))],
    )?;
    let reference = |key: &str| json!({"name": "crm", "key": key});
    server(
        json!({"auth": {"bearer": {"secretRef": reference("token")}}}),
        &[
            Tells("tokenFile: server-tickets-bearer"),
            Is("secret/prod-armor-credentials", "/data/server-tickets-bearer", json!("dC0x")),
        ],
    )?;
    server(
        json!({"auth": {"bearer": {"secretRef": reference("other")}}}),
        &[Is("secret/prod-armor-credentials", "/data/server-tickets-bearer", json!("dC0y"))],
    )?;
    let headers = json!({"bearer": null, "headers": [{"name": "X-Api-Key", "secretRef": reference("token")}]});
    server(
        json!({ "auth": headers }),
        &[Tells("name: X-Api-Key"), Is("secret/prod-armor-credentials", "/data/server-tickets-bearer", Value::Null)],
    )?;
    server(json!({"timeout": "7s"}), &[Tells("timeout: 7s")])?;
    server(json!({"tools": {"allow": ["ec*", "add"], "deny": ["fail"]}}), &[Tells("ec*")])?;

    let remote = json!({"url": "https://crm.example.com/mcp", "caRef": {"name": "crm-ca"}});
    let workload = ns.get("mcpserver", "tickets")?["spec"]["workload"].clone();
    server(
        json!({"workload": null, "remote": remote}),
        &[
            Tells("https://crm.example.com/mcp"),
            Tells("caFile: server-tickets-ca.crt"),
            Gone(SERVER),
            Gone("service/tickets-mcp"),
            Gone("serviceaccount/tickets-mcp"),
            Gone("networkpolicy/tickets-mcp"),
        ],
    )?;
    server(json!({"workload": workload, "remote": null}), &[Tells("svc:8081/mcp"), is("/spec/replicas", json!(1))])?;

    // To another pool and back: it is in one at a time.
    server(
        json!({"poolRef": {"name": "second"}}),
        &[Forgets("tickets"), is("/metadata/labels/aigateway.dev~1pool", json!("second"))],
    )?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 90)?;
    ensure!(tools(ns, "second", None)? == ["tickets__add", "tickets__echo"], "{:?}", tools(ns, "second", None)?);
    ensure!(tools(ns, "prod", None)?.is_empty(), "{:?}", tools(ns, "prod", None)?);
    server(
        json!({"poolRef": {"name": "prod"}}),
        &[Tells("tickets"), is("/metadata/labels/aigateway.dev~1pool", json!("prod"))],
    )
}

#[test]
fn a_client_sees_an_edit_within_seconds_at_every_replica() -> Result<()> {
    let ns = Namespace::new("e2e-seen")?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.patch("pool", "prod", &json!({"spec": {"armor": {"replicas": 2}}}))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    let pods = ns.list("pods", "app.kubernetes.io/component=armor")?;
    let addresses: Vec<String> =
        pods.iter().filter_map(|pod| pod["status"]["podIP"].as_str().map(|ip| format!("{ip}:8080"))).collect();
    ensure!(addresses.len() == 2, "{addresses:?}");
    let all = vec!["tickets__add", "tickets__echo", "tickets__fail", "tickets__slow"];
    let mut slowest = Duration::ZERO;
    for (denied, want) in [(json!(["fail", "slow"]), vec!["tickets__add", "tickets__echo"]), (json!([]), all)] {
        ns.patch("mcpserver", "tickets", &json!({"spec": {"tools": {"deny": denied}}}))?;
        let started = Instant::now();
        for address in &addresses {
            // 5 s on a machine of its own; this one also runs the whole cluster and the tests.
            eventually(&format!("{address} offers {want:?}"), Duration::from_secs(15), || {
                let seen = crate::raw_client::tools_at(address, None)?;
                ensure!(seen == want, "{seen:?}");
                Ok(())
            })?;
        }
        slowest = slowest.max(started.elapsed());
        ns.condition("pool", "prod", ("ConfigInSync", "True", "InSync"), 15)?;
    }
    eprintln!("an edit was seen at every replica after at most {:.1} s", slowest.as_secs_f32());
    ensure!(!ns.list("deployments", MANAGED)?.is_empty(), "the gateways are labelled");
    Ok(())
}
