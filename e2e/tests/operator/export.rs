//! SiemExports on a running pool: applied, changed, broken, healed, removed; and that nothing that must stay inside gets out
//! with the events.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, SYSTEM, eventually, kubectl, kubectl_with};
use serde_json::{Value, json};

use crate::lifecycle::call;
use crate::raw_client;
use crate::receiver::{EFFECT, Receiver};
use crate::{pool, with_loose_spec, workload};

/// `whsec_` and the base64 of a text that begins with `planted-`.
const SECRET: &str = "whsec_cGxhbnRlZC13ZWJob29rLXNlY3JldC1vZi10aGUtZXhwb3J0";

/// A Service by whose name a host of the cluster reaches this machine.
fn service(ns: &Namespace) -> Result<()> {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "receiver"},
        "spec": {"type": "ExternalName", "externalName": "host.cluster.internal"}});
    ns.apply(&service.to_string()).map(drop)
}

/// A Secret that is shared with SiemExports for the receiver.
fn shared(ns: &Namespace, name: &str, values: &Value) -> Result<()> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name,
        "labels": {"aigateway.dev/siem-export": "true"},
        "annotations": {"aigateway.dev/hosts": format!("receiver.{}.svc", ns.name)}}, "stringData": values});
    ns.apply(&secret.to_string()).map(drop)
}

fn hook(ns: &Namespace, name: &str, receiver: &Receiver) -> Value {
    json!({
        "name": name,
        "webhook": {
            "url": format!("http://receiver.{}.svc:{}/events", ns.name, receiver.port),
            "secretRef": {"name": "hook", "key": "secret"},
        },
        "delivery": {"flushInterval": "100ms", "maxRetryInterval": "2s"},
    })
}

fn export(name: &str, destinations: &Value) -> String {
    json!({
        "apiVersion": "aigateway.dev/v1alpha1", "kind": "SiemExport", "metadata": {"name": name},
        "spec": {"poolRef": {"name": "prod"}, "destinations": destinations},
    })
    .to_string()
}

/// By the names that a webhook gets, and by those of Splunk.
fn calls_of(events: &[Value], tool: &str) -> usize {
    let is = |event: &&Value| {
        event["event"] == "tool_call" && event["tool.name"] == tool
            || event["signature"] == "tool_call" && event["object"] == tool
    };
    events.iter().filter(is).count()
}

fn destination(ns: &Namespace, export: &str, name: &str) -> Result<Value> {
    let object = ns.get("siemexport", export)?;
    let all = object["status"]["destinations"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["name"] == name).with_context(|| format!("no {name} in {}", object["status"]))
}

fn becomes(ns: &Namespace, export: &str, name: &str, state: &str) -> Result<Value> {
    eventually(&format!("{export}/{name} is {state}"), EFFECT, || {
        let seen = destination(ns, export, name)?;
        ensure!(seen["state"] == state, "{seen}");
        Ok(seen)
    })
}

#[test]
fn an_export_is_applied_tested_broken_healed_changed_and_removed() -> Result<()> {
    let ns = Namespace::new("e2e-siem")?;
    let receiver = Receiver::start()?;
    service(&ns)?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    ns.kubectl(&["create", "secret", "generic", "hook", &format!("--from-literal=secret={SECRET}")])?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;

    // What kubectl refuses at once.
    let outside = export(
        "soc",
        &json!([{"name": "a", "webhook": {"url": "http://siem.example.com/", "secretRef": {"name": "hook", "key": "secret"}}}]),
    );
    let refused = ns.apply(&outside).expect_err("http to a host outside of the cluster").to_string();
    ensure!(refused.contains("https"), "{refused}");

    // A Secret serves an export only once it is shared, and the message says how.
    ns.apply(&export("soc", &json!([hook(&ns, "hook", &receiver)])))?;
    let problem = ns.condition("siemexport", "soc", ("ResolvedRefs", "False", "SecretNotShared"), 30)?;
    let message = problem["message"].as_str().unwrap_or_default().to_owned();
    let commands: Vec<&str> = message.split('`').filter(|part| part.starts_with("kubectl ")).collect();
    ensure!(!commands.is_empty(), "{message}");
    for command in commands.iter().flat_map(|command| command.split(" && ")) {
        let words: Vec<&str> = command.trim().split(' ').skip(1).map(|word| word.trim_matches('\'')).collect();
        kubectl(&words)?;
    }
    ns.condition("siemexport", "soc", ("ResolvedRefs", "True", ""), 30)?;
    ns.condition("siemexport", "soc", ("Programmed", "True", ""), 90)?;
    ns.active("prod", 90)?;

    // A test event, once for each id.
    ns.patch("siemexport", "soc", &json!({"spec": {"test": {"id": "first", "destinations": ["hook"]}}}))?;
    eventually("the test is reported", EFFECT, || {
        let last = destination(&ns, "soc", "hook")?["lastTest"].clone();
        ensure!(last["id"] == "first" && last["result"] == "Delivered", "{last}");
        Ok(())
    })?;
    receiver.waits_for("the test event", |events| events.iter().any(|event| event["test.id"] == "first"))?;

    // Calls arrive, and so does what the operator did.
    call(&ns, "prod", "tickets__echo", r#"{"text":"planted-argument-of-a-call"}"#, None)?;
    receiver.waits_for("the call", |events| calls_of(events, "echo") == 1)?;
    receiver.waits_for("events of the operator", |events| {
        events.iter().any(|event| event["component.name"] == "operator" && event["event"] == "component_lifecycle")
    })?;
    ns.condition("siemexport", "soc", ("Delivering", "True", ""), 60)?;

    // Refused: held, said, and delivered when it is taken again.
    receiver.answer(401);
    call(&ns, "prod", "tickets__add", r#"{"a":2,"b":3}"#, None)?;
    let seen = becomes(&ns, "soc", "hook", "AuthRejected")?;
    ensure!(seen["lastErrorCode"] == "http-401", "{seen}");
    ns.condition("siemexport", "soc", ("Delivering", "False", "AuthRejected"), 90)?;
    let table = ns.kubectl(&["get", "siem"])?;
    ensure!(table.lines().nth(1).is_some_and(|row| row.contains("0/1")), "{table}");
    // A tool call does not notice.
    call(&ns, "prod", "tickets__echo", r#"{"text":"while the SIEM refuses"}"#, None)?;
    receiver.answer(200);
    receiver.waits_for("what was held", |events| calls_of(events, "add") == 1 && calls_of(events, "echo") == 2)?;
    ns.condition("siemexport", "soc", ("Delivering", "True", ""), 90)?;

    // A second destination and a second export that are wrong cost the good one nothing.
    let wrong = json!({"name": "wrong", "splunk": {"url": "https://splunk.example.com:8088",
        "tokenSecretRef": {"name": "hook", "key": "no-such-key"}}});
    ns.apply(&export("soc", &json!([hook(&ns, "hook", &receiver), wrong])))?;
    becomes(&ns, "soc", "wrong", "Invalid")?;
    let missing = json!([{"name": "dd", "datadog": {"apiKeySecretRef": {"name": "no-such-secret", "key": "k"}}}]);
    ns.apply(&export("broken", &missing))?;
    ns.condition("siemexport", "broken", ("ResolvedRefs", "False", "SecretNotFound"), 30)?;
    call(&ns, "prod", "tickets__echo", r#"{"text":"again"}"#, None)?;
    receiver.waits_for("the third call", |events| calls_of(events, "echo") == 3)?;
    ensure!(destination(&ns, "soc", "hook")?["state"] == "Delivering");

    // Without an export there is no exporter, and the pool is as it was.
    ns.kubectl(&["delete", "siemexport", "soc", "broken"])?;
    eventually("the exporter goes", EFFECT, || {
        let left = ns.list("deployments,services,configmaps", "app.kubernetes.io/component=exporter")?;
        ensure!(left.is_empty(), "{} objects", left.len());
        Ok(())
    })?;
    ns.active("prod", 60)?;
    let events = receiver.events()?;
    let mut ids: Vec<&str> = events.iter().filter_map(|event| event["event_id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == events.len(), "an event came twice though nothing failed after it was taken");
    Ok(())
}

#[test]
fn nothing_that_must_stay_inside_is_in_any_log_metric_status_configuration_or_body() -> Result<()> {
    let ns = Namespace::new("e2e-leaks")?;
    let receiver = Receiver::start()?;
    service(&ns)?;
    let keys = pool("prod").replace("{anonymous: true}", "{apiKeys: {secretSelector: {matchLabels: {keys: prod}}}}");
    ns.apply(&(keys + &workload("tickets", "prod")))?;
    let key = crate::secrets::api_key(&ns, "alice")?;
    shared(&ns, "hook", &json!({"secret": SECRET}))?;
    let hash_key = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hash-key",
        "labels": {"aigateway.dev/siem-export": "true"}}, "stringData": {"hash": "planted-key-of-the-hashes-of-privacy"}});
    ns.apply(&hash_key.to_string())?;
    let mut soc: Value = serde_json::from_str(&export("soc", &json!([hook(&ns, "hook", &receiver)])))?;
    soc["spec"]["privacy"] =
        json!({"hash": ["user.email", "user.id"], "hashKeySecretRef": {"name": "hash-key", "key": "hash"}});
    soc["spec"]["test"] = json!({"id": "first", "destinations": ["hook"]});
    ns.apply(&soc.to_string())?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    ns.condition("siemexport", "soc", ("Programmed", "True", ""), 60)?;

    // Every way to put content into a call: values, names of arguments, names of tools, prompts, keys.
    let content = r#"{"text":"planted-argument-value","planted-argument-name":"x"}"#;
    call(&ns, "prod", "tickets__echo", content, Some(&key))?;
    ensure!(
        call(&ns, "prod", "tickets__echo", content, Some("agw_planted-wrong-key")).is_err(),
        "a wrong key was let in"
    );
    ensure!(call(&ns, "prod", "tickets__none", content, Some(&key)).is_err(), "a tool that does not exist answered");
    let text = json!({"text": "planted-text-of-a-prompt"});
    let prompt = raw_client::prompt(&ns, "prod", "tickets__summarize", &text, Some(&key))?;
    ensure!(prompt.to_string().contains("planted-text-of-a-prompt"), "the prompt was not served: {prompt}");
    receiver.answer(500);
    call(&ns, "prod", "tickets__echo", content, Some(&key))?;
    becomes(&ns, "soc", "hook", "Retrying")?;
    receiver.answer(200);
    receiver.waits_for("everything", |events| {
        calls_of(events, "echo") >= 2 && events.iter().any(|event| event["event"] == "auth_denied")
    })?;

    let mut places = vec![
        ("operator's log".to_owned(), kubectl(&["-n", SYSTEM, "logs", "-l", "app=ai-gateway-operator", "--tail=-1"])?),
        ("Armor's log".to_owned(), ns.kubectl(&["logs", "deployment/prod-armor"])?),
        ("exporter's log".to_owned(), ns.kubectl(&["logs", "deployment/prod-exporter"])?),
        ("Redis's log".to_owned(), ns.kubectl(&["logs", "prod-redis-0"])?),
        ("bodies".to_owned(), receiver.bodies().join("\n")),
    ];
    let kinds = "configmaps,pools,mcpservers,siemexports,deployments,statefulsets,pods,services,events";
    places.push(("objects".to_owned(), ns.kubectl(&["get", kinds, "-o", "yaml"])?));
    let pods = |namespace: &str, selector: &str| -> Result<Vec<String>> {
        let names = kubectl(&["-n", namespace, "get", "pods", "-l", selector, "-o", "name"])?;
        Ok(names.lines().map(|name| name.trim_start_matches("pod/").to_owned()).collect())
    };
    for (namespace, selector, port) in [
        (ns.name.as_str(), "app.kubernetes.io/component=armor", 9090),
        (ns.name.as_str(), "app.kubernetes.io/component=exporter", 9091),
        (SYSTEM, "app=ai-gateway-operator", 8080),
    ] {
        for pod in pods(namespace, selector)? {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics");
            places.push((format!("metrics of {pod}"), kubectl(&["get", "--raw", &path])?));
        }
    }
    // What was planted, and every value of every Secret that there is: the user's, and those that the operator makes.
    let values = "go-template={{range .items}}{{range .data}}{{. | base64decode}}{{\"\\n\"}}{{end}}{{end}}";
    let values = ns.kubectl(&["get", "secrets", "-o", values])?;
    let values: Vec<&str> = values.lines().map(str::trim).filter(|line| line.len() >= 20).collect();
    ensure!(
        values.len() >= 4,
        "Redis's password, two tokens and the user's secrets are not among {} values",
        values.len()
    );
    let tail = key.trim_start_matches("agw_");
    for (place, text) in &places {
        ensure!(!text.trim().is_empty(), "nothing was read of {place}");
        for secret in ["planted-", SECRET, "cGxhbnRlZC", tail].iter().chain(&values) {
            if let Some(at) = text.find(secret) {
                let from = text.floor_char_boundary(at.saturating_sub(200));
                let to = text.floor_char_boundary(at + 100);
                anyhow::bail!("{secret:?} is in {place}: …{}…", &text[from..to]);
            }
        }
    }
    // Privacy took the address away from the bodies and from nowhere else.
    let bodies = receiver.bodies().join("\n");
    ensure!(bodies.contains("user.email_hash") || bodies.contains("user.id_hash"), "no hash is in the bodies");
    ensure!(!bodies.contains("alice@example.com"), "an address that is to be hashed is in the bodies");
    // The check above can fail: the Secret itself holds what is searched for.
    let secret = kubectl_with(
        "",
        &["-n", &ns.name, "get", "secret", "hook", "-o", "go-template={{.data.secret | base64decode}}"],
    )?;
    ensure!(secret.contains("cGxhbnRlZC"), "the secret is not the one that was planted");
    Ok(())
}

/// The exporter's containers: uids of the Pods, and how often each was restarted.
fn exporters(ns: &Namespace) -> Result<Vec<(String, String)>> {
    let pods = ns.list("pods", "app.kubernetes.io/component=exporter")?;
    let container = |pod: &Value| {
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        (pod["metadata"]["uid"].to_string(), restarts.to_string())
    };
    let mut containers: Vec<_> = pods.iter().map(container).collect();
    containers.sort_unstable();
    ensure!(!containers.is_empty(), "no exporter runs");
    Ok(containers)
}

#[test]
fn a_token_is_rotated_without_a_new_pod_and_without_a_loss() -> Result<()> {
    let ns = Namespace::new("e2e-siem-rotation")?;
    let receiver = Receiver::start()?;
    service(&ns)?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    receiver.wants("first-token");
    shared(&ns, "hec", &json!({"token": "first-token"}))?;
    let hec = json!([{
        "name": "hec",
        "splunk": {"url": format!("http://receiver.{}.svc:{}", ns.name, receiver.port),
            "tokenSecretRef": {"name": "hec", "key": "token"}},
        "delivery": {"flushInterval": "100ms", "maxRetryInterval": "2s"},
    }]);
    ns.apply(&export("soc", &hec))?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    ns.condition("siemexport", "soc", ("Programmed", "True", ""), 60)?;
    call(&ns, "prod", "tickets__echo", r#"{"text":"before"}"#, None)?;
    receiver.waits_for("the call before", |events| calls_of(events, "echo") == 1)?;
    let pods = exporters(&ns)?;

    // The platform takes only the new token, before the Secret has it: what happens meanwhile is held.
    receiver.wants("second-token");
    call(&ns, "prod", "tickets__add", r#"{"a":2,"b":3}"#, None)?;
    let refused = becomes(&ns, "soc", "hec", "AuthRejected")?;
    ensure!(refused["lastErrorCode"] == "hec-4", "{refused}");
    ns.patch("secret", "hec", &json!({"stringData": {"token": "second-token"}}))?;
    receiver.waits_for("what was held", |events| calls_of(events, "add") == 1)?;
    call(&ns, "prod", "tickets__echo", r#"{"text":"after"}"#, None)?;
    receiver.waits_for("the call after", |events| calls_of(events, "echo") == 2)?;
    becomes(&ns, "soc", "hec", "Delivering")?;
    ensure!(exporters(&ns)? == pods, "the rotation made new Pods or restarted one");
    Ok(())
}

#[test]
fn an_export_that_does_not_fit_its_schema_keeps_its_backlog_its_tests_and_its_exporter() -> Result<()> {
    let ns = Namespace::new("e2e-siem-malformed")?;
    let receiver = Receiver::start()?;
    service(&ns)?;
    ns.apply(&(pool("prod") + &workload("tickets", "prod")))?;
    shared(&ns, "hook", &json!({"secret": SECRET}))?;
    let mut soc: Value = serde_json::from_str(&export("soc", &json!([hook(&ns, "hook", &receiver)])))?;
    soc["spec"]["test"] = json!({"id": "first", "destinations": ["hook"]});
    ns.apply(&soc.to_string())?;
    let tested = |what: &str| {
        eventually(what, EFFECT, || {
            let last = destination(&ns, "soc", "hook")?["lastTest"].clone();
            ensure!(last["id"] == "first" && last["result"] == "Delivered", "{last}");
            Ok(last)
        })
    };
    let first = tested("the test is reported")?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    let pods = exporters(&ns)?;

    with_loose_spec("siemexports", || {
        eventually("the loose schema is served", Duration::from_secs(30), || {
            ns.patch("siemexport", "soc", &json!({"spec": {"privacy": 7}})).map(drop)
        })?;
        ns.condition("siemexport", "soc", ("Accepted", "False", "Malformed"), 30)?;
        ensure!(ns.get("siemexport", "soc")?["status"]["display"]["delivering"] == "0/1", "it is shown to deliver");
        // An operator that remembers nothing knows no more than the object says.
        kubectl(&["-n", SYSTEM, "rollout", "restart", "deployment/ai-gateway-operator"])?;
        kubectl(&["-n", SYSTEM, "rollout", "status", "deployment/ai-gateway-operator", "--timeout=120s"])?;
        // It reconciles another object of the namespace once it is the one that works.
        ns.patch("pool", "prod", &json!({"spec": {"armor": {"logLevel": "debug"}}}))?;
        ns.active("prod", 120)?;
        ensure!(tested("the result of the test stays")? == first, "the test has another result");
        call(&ns, "prod", "tickets__echo", r#"{"text":"meanwhile"}"#, None)?;
        ensure!(exporters(&ns)? == pods, "the exporter of a pool whose only export is malformed is another one");
        Ok(())
    })?;
    ns.patch("siemexport", "soc", &json!({"spec": {"privacy": null}}))?;
    ns.condition("siemexport", "soc", ("Accepted", "True", ""), 60)?;
    ns.condition("siemexport", "soc", ("Programmed", "True", ""), 60)?;
    receiver.waits_for("what happened meanwhile", |events| calls_of(events, "echo") == 1)?;
    let tests = receiver.events()?.iter().filter(|event| event["test.id"] == "first").count();
    ensure!(tests == 1, "the test was sent {tests} times");
    Ok(())
}

#[test]
fn an_export_by_labels_serves_every_pool_and_names_the_one_without_an_exporter() -> Result<()> {
    let ns = Namespace::new("e2e-siem-labels")?;
    let receiver = Receiver::start()?;
    service(&ns)?;
    let labelled = |name: &str| {
        pool(name).replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, labels: {{team: a}}}}"))
    };
    // One that was paused before it got an exporter, and one with two.
    let paused = labelled("paused").replace("spec:\n", "spec:\n  paused: true\n");
    let twice = labelled("prod") + "  exporter: {replicas: 2}\n";
    ns.apply(&(paused + "---\n" + &twice + &workload("tickets", "prod")))?;
    shared(&ns, "hook", &json!({"secret": SECRET}))?;
    let mut soc: Value = serde_json::from_str(&export("soc", &json!([hook(&ns, "hook", &receiver)])))?;
    soc["spec"]["poolRef"].take();
    soc["spec"]["poolSelector"] = json!({"matchLabels": {"team": "a"}});
    soc["spec"]["test"] = json!({"id": "first", "destinations": ["hook"]});
    ns.apply(&soc.to_string())?;
    ns.active("prod", 120)?;
    ns.condition("mcpserver", "tickets", ("Ready", "True", "Connected"), 60)?;
    let named = |condition: &Value| {
        let message = condition["message"].as_str().unwrap_or_default();
        ensure!(message.contains("Pool paused has no exporter"), "{message}");
        Ok(())
    };
    named(&ns.condition("siemexport", "soc", ("Programmed", "False", "ExporterNotReady"), 60)?)?;
    named(&ns.condition("siemexport", "soc", ("Delivering", "False", "ExporterNotReady"), 60)?)?;

    // The other one delivers, and counts, and was tested.
    call(&ns, "prod", "tickets__echo", r#"{"text":"in prod"}"#, None)?;
    receiver.waits_for("the call", |events| calls_of(events, "echo") == 1)?;
    eventually("the test is reported", EFFECT, || {
        let last = destination(&ns, "soc", "hook")?["lastTest"].clone();
        let says = last["message"].as_str().unwrap_or_default();
        ensure!(last["result"] == "Delivered" && says.contains("paused"), "{last}");
        Ok(())
    })?;

    // It gets one, and the export is in order.
    ns.patch("pool", "paused", &json!({"spec": {"paused": false}}))?;
    ns.condition("siemexport", "soc", ("Programmed", "True", ""), 120)?;
    let seen = becomes(&ns, "soc", "hook", "Delivering")?;
    ensure!(seen["dropped"] == 0 && seen["possiblyLost"] == 0, "{seen}");

    // Without its label it is no longer served, and the other one is as it was.
    ns.kubectl(&["label", "pool", "paused", "team-"])?;
    eventually("its exporter goes", EFFECT, || {
        let left = ns.kubectl(&["get", "deployments", "-o", "name"])?;
        ensure!(!left.contains("paused-exporter") && left.contains("prod-exporter"), "{left}");
        Ok(())
    })?;
    call(&ns, "prod", "tickets__add", r#"{"a":2,"b":3}"#, None)?;
    receiver.waits_for("the call after", |events| calls_of(events, "add") == 1)?;
    let ids = receiver.events()?.iter().filter(|event| event["test.id"] == "first").count();
    ensure!(ids == 1, "the test was sent {ids} times");
    Ok(())
}
