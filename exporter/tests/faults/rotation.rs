//! A secret that changes while requests are on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use testkit::redis_server::Server;
use tokio::sync::watch;

use crate::group::drained;
use crate::server::{Asked, serve};
use crate::support::{Exporter, SECRET, add, eventually, hook, soc};

const NEW: &str = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";

/// Whether all signatures of a request are of this secret, and there is one.
fn is_signed_by(asked: &Asked, secret: &str) -> bool {
    let header = |name: &str| asked.headers[name].to_str().unwrap();
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    mac.update(&asked.body);
    header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[derive(Default)]
struct Seen {
    /// Of each destination.
    accepted: BTreeMap<String, BTreeSet<String>>,
    old: usize,
    new: usize,
    neither: usize,
    /// Requests that are not answered yet.
    open: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_that_changes_in_mid_flight_loses_nothing_and_is_never_mixed_with_the_old_one() {
    const DESTINATIONS: usize = 8;
    const EVENTS: u64 = 700;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (gate, gate_seen) = watch::channel(true);
    let shared = seen.clone();
    let url = serve(move |asked: Asked| {
        let (shared, mut gate) = (shared.clone(), gate_seen.clone());
        async move {
            shared.lock().unwrap().open += 1;
            let _ = gate.wait_for(|open| *open).await;
            let mut seen = shared.lock().unwrap();
            seen.open -= 1;
            match (is_signed_by(&asked, SECRET), is_signed_by(&asked, NEW)) {
                (true, _) => seen.old += 1,
                (_, true) => seen.new += 1,
                _ => seen.neither += 1,
            }
            let ids = asked.ids();
            seen.accepted.entry(asked.path).or_default().extend(ids);
            (200, String::new())
        }
        .boxed()
    })
    .await;
    let names: Vec<String> = (0..DESTINATIONS).map(|number| format!("d{number}")).collect();
    let destinations: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut destination = hook(name, &format!("{url}/{name}"));
            // Many requests at the same time; and none that is given up.
            destination["delivery"] = json!({"batchEvents": 1, "flushInterval": "10ms", "timeout": "60s"});
            destination
        })
        .collect();
    let groups: Vec<String> = names.iter().map(|name| format!("soc/{name}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let redis = Server::running(&[]);
    let exporter = Exporter::start(&redis, "a", soc(destinations.into())).await;
    drained(&exporter, &groups, 0).await;
    let has_all = async |what: &str, ids: &BTreeSet<String>| {
        eventually(what, async || {
            let seen = seen.lock().unwrap();
            seen.accepted.len() == DESTINATIONS && seen.accepted.values().all(|accepted| accepted.is_superset(ids))
        })
        .await;
    };
    // As many requests at the same time as there may be come by and by.
    let mut ids = add(&redis, 0..EVENTS);
    has_all("the first arrive", &ids).await;

    gate.send_replace(false);
    ids.extend(add(&redis, EVENTS..2 * EVENTS));
    eventually("hundreds are on their way", async || seen.lock().unwrap().open >= 200).await;
    exporter.secret("hook", NEW);
    gate.send_replace(true);
    has_all("every event arrives", &ids).await;
    // Events come one by one until the change is noticed.
    for number in 10_000..20_000 {
        if seen.lock().unwrap().new > 0 {
            break;
        }
        ids.extend(add(&redis, number..number + 1));
        has_all("every event arrives", &ids).await;
    }
    assert!(seen.lock().unwrap().new > 0, "the new secret is not used");
    drained(&exporter, &groups, 0).await;

    let old = {
        let seen = seen.lock().unwrap();
        assert_eq!(seen.neither, 0);
        assert!(seen.old >= EVENTS as usize * DESTINATIONS);
        seen.old
    };
    // From now on for all of them.
    let last = add(&redis, 20_000..20_050);
    has_all("the last arrive", &last).await;
    let seen = seen.lock().unwrap();
    assert_eq!((seen.old, seen.neither), (old, 0));
    for accepted in seen.accepted.values() {
        assert_eq!(*accepted, &ids | &last);
    }
}
