//! Receivers of webhooks that verify with the libraries of Standard Webhooks, in Python and in JavaScript.

use std::sync::Arc;
use std::time::Duration;

use exporter::destination::Shaped;
use exporter::platform::Platform;
use exporter::tls;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::events_of_test::cases;
use crate::running::{PATIENCE, Process, destination, node, python, send, words};

const OLD: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const NEW: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Receiver {
    process: Process,
    url: String,
}

impl Receiver {
    /// One in each language, which verifies with this secret.
    async fn both(secret: &str) -> [Self; 2] {
        let start = async |mut command: std::process::Command| {
            let mut process = Process::start(tempfile::tempdir().unwrap(), command.arg(secret));
            let port = process.until("it listens", async |process| process.lines("out").first().cloned()).await;
            Self { process, url: format!("http://127.0.0.1:{port}/hook") }
        };
        [start(python("webhook.py")).await, start(node("webhook.cjs")).await]
    }

    fn destination(&self, current: &str, previous: Option<&str>) -> Arc<dyn Platform> {
        let mut secrets = vec![("secretRef", current)];
        secrets.extend(previous.map(|secret| ("previousSecretRef", secret)));
        destination(json!({"webhook": {"url": self.url}}), &secrets, tls::Settings::default())
    }

    /// Each message that was verified.
    fn verified(&self) -> Vec<Value> {
        self.process.lines("out").split_off(1)
    }
}

#[tokio::test]
async fn libraries_verify_a_batch_and_read_its_events() {
    let cases = cases(100);
    for receiver in Receiver::both(NEW).await {
        let destination = receiver.destination(NEW, None);
        assert_eq!(words(&send(&*destination, &cases).await), ["delivered"]);
        // The same batch again, as after an answer that was lost, has the same id.
        assert_eq!(words(&send(&*destination, &cases).await), ["delivered"]);
        let verified = receiver.verified();
        assert_eq!((verified.len(), &verified[0]), (2, &verified[1]));
        assert_eq!(verified[0]["message"]["type"], "ai_gateway.events");
        let events = verified[0]["message"]["data"].as_array().unwrap();
        assert_eq!(events.len(), cases.len());
        for (event, case) in events.iter().zip(&cases) {
            // Numbers above 2^53 are rounded by JavaScript's own parser, and by no library's choice.
            for (key, value) in case.value().as_object().unwrap() {
                match value.as_f64().filter(|number| number.abs() > 9_007_199_254_740_992.0) {
                    Some(number) => assert_eq!(event[key].as_f64(), Some(number), "{key}"),
                    None => assert_eq!(&event[key], value, "{key}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn during_a_rotation_receivers_of_either_secret_verify() {
    for secret in [OLD, NEW] {
        for receiver in Receiver::both(secret).await {
            let rotating = receiver.destination(NEW, Some(OLD));
            assert_eq!(words(&send(&*rotating, &cases(0)).await), ["delivered"]);
            let before = receiver.destination(OLD, None);
            let expected = if secret == OLD { "delivered" } else { "auth http-401" };
            assert_eq!(words(&send(&*before, &cases(0)).await), [expected]);
            let other = receiver.destination(OTHER, None);
            assert_eq!(words(&send(&*other, &cases(0)).await), ["auth http-401"]);
        }
    }
}

#[tokio::test]
async fn signature_is_of_the_attempt_and_an_old_one_is_refused() {
    for receiver in Receiver::both(NEW).await {
        let destination = receiver.destination(NEW, None);
        let shaped: Vec<Shaped> = cases(0).iter().map(|case| destination.shape(&case.routed())).collect();
        let stale = Timestamp::now() - Duration::from_mins(10);
        assert_eq!(words(&destination.send(&shaped, stale, PATIENCE).await), ["auth http-401"]);
        assert_eq!(words(&destination.send(&shaped, Timestamp::now(), PATIENCE).await), ["delivered"]);
    }
}
