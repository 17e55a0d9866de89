//! EventBridge, as moto has it: with its check of signatures and permissions on, and a rule to a queue that is read back.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use exporter::platform::Platform;
use exporter::tls;
use serde_json::{Value, json};

use crate::events_of_test::{cases, id, ids};
use crate::reading::oversized;
use crate::running::{Process, delivered, destination, free_port, installed, owner, python, run, send, words};

struct Moto {
    #[expect(dead_code, reason = "it runs until it is dropped")]
    process: Process,
    url: String,
    /// The queue, and keys by the name of their user.
    prepared: Value,
}

impl Moto {
    async fn start() -> Self {
        let port = free_port();
        let mut command = Command::new(installed("python/bin/python"));
        // The script of that name does the same, and begins with a path that may be another machine's.
        command.args(["-B", "-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut process = Process::start(tempfile::tempdir().unwrap(), &mut command);
        let url = format!("http://127.0.0.1:{port}");
        let client = owner();
        process.until("moto answers", async |_| client.get(format!("{url}/moto-api/")).send().await.ok()).await;
        let prepared = run(python("event_bridge.py"), &json!({"do": "prepare", "endpoint": url})).await;
        Self { process, url, prepared }
    }

    fn destination(&self, bus: &str, keys: &Value) -> Arc<dyn Platform> {
        let block = json!({"eventBridge": {"region": "eu-central-1", "eventBus": bus, "endpoint": self.url}});
        let text = |name: &str| keys[name].as_str().unwrap();
        let secrets = [("accessKeyIdSecretRef", text("id")), ("secretAccessKeySecretRef", text("secret"))];
        destination(block, &secrets, tls::Settings::default())
    }

    /// Takes what is in the queue: each event as a target of a rule gets it.
    async fn read(&self) -> Vec<Value> {
        let request = json!({
            "do": "read", "endpoint": self.url, "queue": self.prepared["queue"], "keys": self.prepared["owner"],
        });
        run(python("event_bridge.py"), &request).await.as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn signed_events_reach_the_target_of_a_rule_and_wrong_keys_are_told() {
    let moto = Moto::start().await;
    let keys = &moto.prepared["exporter"];
    let mut events = cases(50);
    events.push(oversized());
    let destination = moto.destination("security", keys);
    assert_eq!(destination.limits().events, 10);
    for ten in events.chunks(10) {
        let outcome = send(&*destination, ten).await;
        assert!(delivered(&outcome), "{outcome:?}");
    }
    let received: BTreeMap<String, Value> = moto
        .read()
        .await
        .into_iter()
        .map(|event| (event["detail"]["event_id"].as_str().unwrap().to_owned(), event))
        .collect();
    assert_eq!(received.keys().cloned().collect::<std::collections::BTreeSet<_>>(), ids(&events));
    for case in &events {
        let event = &received[&id(case)];
        assert_eq!((&event["source"], &event["detail-type"]), (&json!("ai-gateway"), &case.value()["event"]));
        assert_eq!(event["time"], json!("2026-11-21T07:13:00Z"));
        crate::events_of_test::assert_says(&event["detail"], case);
    }

    // Eleven are more than a request may have, which is why the limit is ten.
    assert_eq!(words(&send(&*destination, &events[..11]).await), ["split ValidationException"]);

    let mut wrong = keys.clone();
    wrong["secret"] = json!("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let unknown = json!({"id": "AKIAIOSFODNN7EXAMPLE", "secret": wrong["secret"]});
    for (who, keys) in [("wrong", &wrong), ("unknown", &unknown), ("stranger", &moto.prepared["stranger"])] {
        // moto refuses in the XML of other services, so that the status is what tells.
        let outcome = send(&*moto.destination("security", keys), &events[..2]).await;
        assert_eq!(words(&outcome), ["auth http-403"], "{who}");
    }
    let outcome = send(&*moto.destination("no-such-bus", keys), &events[..2]).await;
    assert_eq!(words(&outcome), ["config ResourceNotFoundException eventBus"]);
    assert!(moto.read().await.is_empty());
}
