//! The exporter as its operator meets it: a process with a configuration, secrets, an API and a real Redis. Receivers are
//! doubles that fail on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "another test uses the rest")]
#[path = "../delivery/receiver.rs"]
mod receiver;
mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::redis_server::Server;

use receiver::{Answer, Receiver};
use support::{Exporter, PATIENCE, POOL, TOKEN, add, event, eventually, hook, id, soc, stream};

async fn arrives(receiver: &Receiver, ids: &BTreeSet<String>) {
    eventually("every event arrives", async || receiver.accepted_ids().is_superset(ids)).await;
}

#[tokio::test]
async fn one_destination_that_fails_changes_nothing_for_the_others_and_says_why() {
    let redis = Server::running(&[]);
    let good = Receiver::start(|_, _| Answer::status(200)).await;
    let bad = Receiver::start(|_, _| Answer::status(401)).await;
    let destinations = json!([
        hook("good", &good.url),
        hook("bad", &bad.url),
        {"name": "wrong", "platform": {"webhook": {"url": "https://siem.example.com"}}, "secrets": {"secretRef": "no-such-file"}},
        {"name": "metadata", "platform": {"webhook": {"url": "https://169.254.169.254/"}}, "secrets": {"secretRef": "hook"}},
    ]);
    let exporter = Exporter::start(&redis, "a", soc(destinations)).await;
    exporter.becomes("soc/good", "backlog", json!(0)).await;
    exporter.becomes("soc/bad", "backlog", json!(0)).await;
    let ids = add(&redis, 0..300);
    arrives(&good, &ids).await;
    let told = exporter.becomes("soc/good", "delivered", json!(300)).await;
    assert_eq!(
        (&told["state"], &told["assurance"], &told["dropped"]),
        (&json!("Delivering"), &json!("Accepted"), &json!(0))
    );
    let told = exporter.becomes("soc/bad", "state", json!("AuthRejected")).await;
    assert_eq!(
        (&told["lastErrorCode"], &told["backlog"], &told["delivered"]),
        (&json!("http-401"), &json!(300), &json!(0))
    );
    let told = exporter.destination("soc/wrong").await;
    assert_eq!((&told["state"], &told["field"]), (&json!("Invalid"), &json!("webhook.secretRef")));
    let told = exporter.destination("soc/metadata").await;
    assert_eq!((&told["state"], &told["field"]), (&json!("Invalid"), &json!("webhook.url")));

    // The secret of the one that is refused is rotated: it is heard without a restart, and nothing was lost.
    bad.answer_with(|_, _| Answer::status(200));
    exporter.secret("hook", "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=");
    arrives(&bad, &ids).await;
    assert_eq!(good.events().len(), 300, "the others get nothing twice");

    let metrics = exporter.get("metrics").await;
    for line in [
        "exporter_events_delivered_total{destination=\"soc/good\"} 300",
        "exporter_destination_state{destination=\"soc/wrong\",state=\"Invalid\"} 1",
        "exporter_config_synchronized 1",
        "exporter_redis_up 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn api_is_closed_to_strangers_and_says_what_is_wrong() {
    let redis = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url)]))).await;
    for path in ["v1/destinations", "v1/events"] {
        assert_eq!(exporter.status_of(path, None).await, 401, "{path}");
        assert_eq!(exporter.status_of(path, Some("another token")).await, 401, "{path}");
    }
    assert_eq!(exporter.status_of("v1/events", Some(TOKEN)).await, 405);
    assert_eq!(exporter.status_of("v2", Some(TOKEN)).await, 404);
    for path in ["livez", "readyz", "metrics"] {
        assert_eq!(exporter.status_of(path, None).await, 200, "{path}");
    }
    exporter.becomes("soc/one", "backlog", json!(0)).await;

    // Events of the operator: a retry adds nothing, and what is none is refused as a whole.
    let events = json!([event(1), event(2)]);
    assert_eq!(exporter.post("v1/events", &events).await, (200, json!({"added": 2})));
    assert_eq!(exporter.post("v1/events", &events).await, (200, json!({"added": 0})));
    let (status, answer) = exporter.post("v1/events", &json!([event(3), {"event": "tool_call"}])).await;
    assert_eq!((status, answer), (400, json!({"error": "event 1: is no event of the schema"})));
    let mut foreign = event(4);
    foreign["pool.id"] = "another".into();
    let (status, answer) = exporter.post("v1/events", &json!([foreign])).await;
    assert_eq!((status, answer), (400, json!({"error": "event 0: pool.id is that of another pool"})));
    exporter.becomes("soc/one", "delivered", json!(2)).await;
    assert_eq!(receiver.accepted_ids(), BTreeSet::from([id(1), id(2)]));
}

#[tokio::test]
async fn test_event_tells_what_would_become_of_the_others() {
    let redis = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let mut nobody = hook("nobody", "http://127.0.0.1:9/");
    nobody["events"] = json!(["auth_denied"]);
    let exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url), nobody]))).await;
    let test = json!({"id": "2026-11-21-a"});
    let (status, result) = exporter.post("v1/destinations/soc/one/test", &test).await;
    assert_eq!((status, &result["result"], &result["assurance"]), (200, &json!("Delivered"), &json!("Accepted")));
    assert_eq!(receiver.events().len(), 1);
    receiver.answer_with(|_, _| Answer::status(403));
    let (_, result) = exporter.post("v1/destinations/soc/one/test", &test).await;
    assert_eq!((&result["result"], &result["code"]), (&json!("Rejected"), &json!("http-403")));
    // Nobody waits for one that never answers.
    receiver.answer_with(|_, _| Answer::Hang);
    let (_, result) = exporter.post("v1/destinations/soc/one/test", &test).await;
    assert_eq!((&result["result"], &result["code"]), (&json!("Unreachable"), &json!("timeout")));
    let (_, result) = exporter.post("v1/destinations/soc/nobody/test", &test).await;
    assert_eq!((&result["result"], &result["code"]), (&json!("Unreachable"), &json!("connect")));
    assert_eq!(exporter.post("v1/destinations/soc/none/test", &test).await.0, 404);
    assert_eq!(exporter.post("v1/destinations/soc/one/test", &json!({})).await.0, 400);
    // It goes past the queue.
    assert_eq!(redis.command::<u64>(&["XLEN", &stream()]), 0);
}

#[tokio::test]
async fn configuration_that_is_refused_leaves_the_last_good_one_running() {
    let redis = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url)]))).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    exporter.write_configuration("revision: [");
    eventually("it is refused", async || exporter.destinations().await["lastError"].is_string()).await;
    let told = exporter.destinations().await;
    assert_eq!(told["revision"], "r1");
    assert!(told["lastError"].as_str().unwrap().starts_with("exporter.yaml:"), "{told}");
    let ids = add(&redis, 0..10);
    arrives(&receiver, &ids).await;
    exporter.configure("r2", soc(json!([hook("one", &receiver.url)])));
    exporter.runs("r2").await;
    assert!(exporter.destinations().await["lastError"].is_null());
}

#[tokio::test]
async fn invalid_edit_keeps_the_backlog_and_a_disabled_destination_skips() {
    let redis = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url)]))).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    let first = add(&redis, 0..50);
    exporter.becomes("soc/one", "backlog", json!(50)).await;

    let mut broken = hook("one", &receiver.url);
    broken["secrets"] = json!({});
    exporter.configure("r2", soc(json!([broken])));
    exporter.becomes("soc/one", "state", json!("Invalid")).await;
    let second = add(&redis, 50..80);
    receiver.answer_with(|_, _| Answer::status(200));
    exporter.configure("r3", soc(json!([hook("one", &receiver.url)])));
    arrives(&receiver, &(&first | &second)).await;
    exporter.becomes("soc/one", "delivered", json!(80)).await;

    let mut disabled = hook("one", &receiver.url);
    disabled["enabled"] = json!(false);
    exporter.configure("r4", soc(json!([disabled])));
    exporter.becomes("soc/one", "state", json!("Disabled")).await;
    add(&redis, 80..90);
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    exporter.configure("r5", soc(json!([hook("one", &receiver.url)])));
    exporter.becomes("soc/one", "state", json!("Delivering")).await;
    let third = add(&redis, 90..95);
    arrives(&receiver, &third).await;
    assert_eq!(receiver.accepted_ids(), &(&first | &second) | &third, "what was skipped is not sent");
}

#[tokio::test]
async fn dead_letters_and_a_time_are_sent_again_once_for_each_id() {
    let redis = Server::running(&[]);
    let poison: BTreeSet<String> = [3u64, 7].map(id).into();
    let bad = poison.clone();
    let receiver = Receiver::start(move |_, ids| match ids.iter().any(|id| bad.contains(id)) {
        true => Answer::status(400),
        false => Answer::status(200),
    })
    .await;
    let destinations = json!([hook("one", &receiver.url)]);
    let exporter = Exporter::start(&redis, "a", soc(destinations.clone())).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    let before = jiff::Timestamp::now();
    let ids = add(&redis, 0..20);
    exporter.becomes("soc/one", "dead", json!(2)).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    assert_eq!(receiver.accepted_ids(), &ids - &poison);

    // The platform is mended, and its dead letters are asked for.
    receiver.answer_with(|_, _| Answer::status(200));
    let with = |replay: Value| json!([{"name": "soc", "replay": replay, "destinations": destinations.clone()}]);
    exporter.configure("r2", with(json!({"id": "again-1", "destination": "one", "from": "DeadLetter"})));
    exporter.becomes("soc/one", "replay", json!({"id": "again-1", "delivered": 2, "done": true})).await;
    assert_eq!(receiver.accepted_ids(), ids);
    exporter.becomes("soc/one", "dead", json!(0)).await;
    assert_eq!(receiver.events().len(), 20);

    // The same id does nothing more, and a new one sends what the stream still has.
    exporter.configure("r3", with(json!({"id": "again-1", "destination": "one", "from": "DeadLetter"})));
    exporter.runs("r3").await;
    exporter.configure("r4", with(json!({"id": "again-2", "destination": "one", "from": before.to_string()})));
    exporter.becomes("soc/one", "replay", json!({"id": "again-2", "delivered": 20, "done": true})).await;
    assert_eq!(receiver.events().len(), 40);
    let groups: Vec<Value> = redis
        .command::<Vec<std::collections::HashMap<String, redis::Value>>>(&["XINFO", "GROUPS", &stream()])
        .into_iter()
        .map(|group| json!(format!("{:?}", group["name"])))
        .collect();
    assert_eq!(groups.len(), 1, "the replay leaves no group behind: {groups:?}");
}

#[tokio::test]
async fn routes_privacy_and_unrouted_events_are_as_the_configuration_says() {
    let redis = Server::running(&[]);
    let (soc, archive) =
        (Receiver::start(|_, _| Answer::status(200)).await, Receiver::start(|_, _| Answer::status(200)).await);
    let exports = json!([{
        "name": "soc",
        "privacy": {"hash": ["user.email"], "drop": ["user.groups"], "hashKeyFile": "key"},
        "routes": [
            {"match": {"servers": ["crm"]}, "to": ["siem"]},
            {"match": {"minSeverity": "warn"}, "to": ["archive"]},
        ],
        "overrides": [{"server": "sandbox", "enabled": false}],
        "destinations": [hook("siem", &soc.url), hook("archive", &archive.url)],
    }]);
    let exporter = Exporter::start(&redis, "a", json!([])).await;
    exporter.secret("key", "a key of at least sixteen bytes");
    exporter.configure("r2", exports);
    exporter.becomes("soc/siem", "backlog", json!(0)).await;
    exporter.becomes("soc/archive", "backlog", json!(0)).await;
    let with = |number: u64, server: &str, severity: &str| {
        let mut event = event(number);
        event["mcp.server_name"] = server.into();
        event["severity"] = severity.into();
        event
    };
    let events = json!([
        with(1, "crm", "info"),
        with(2, "crm", "warn"),
        with(3, "wiki", "info"),
        with(4, "wiki", "warn"),
        with(5, "sandbox", "warn"),
    ]);
    assert_eq!(exporter.post("v1/events", &events).await.1, json!({"added": 5}));
    eventually("all are routed", async || soc.events().len() == 2 && archive.events().len() == 2).await;
    assert_eq!(soc.accepted_ids(), BTreeSet::from([id(1), id(2)]));
    assert_eq!(archive.accepted_ids(), BTreeSet::from([id(2), id(4)]));
    eventually("one event went nowhere", async || {
        exporter.destinations().await["exports"] == json!([{"name": "soc", "unrouted": 1}])
    })
    .await;
    for body in soc.bodies().into_iter().chain(archive.bodies()) {
        assert!(body.contains("user.email_hash") && !body.contains("alice@example.com"), "{body}");
        assert!(!body.contains("user.groups"), "{body}");
    }
}

#[tokio::test]
async fn killed_under_load_it_loses_nothing_and_asked_to_end_it_ends() {
    let redis = Server::running(&["--appendonly", "yes"]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let mut exporter = Exporter::start(&redis, "a", soc(json!([hook("one", &receiver.url)]))).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    let mut ids = BTreeSet::new();
    for round in 0..5 {
        ids.extend(add(&redis, round * 1_000..(round + 1) * 1_000));
        let before = receiver.requests();
        receiver.requests_reach(before + 1).await;
        exporter.kill();
        exporter.run();
        exporter.ready().await;
    }
    arrives(&receiver, &ids).await;
    let told = exporter.becomes("soc/one", "backlog", json!(0)).await;
    assert_eq!((&told["lost"], &told["possiblyLost"], &told["dropped"]), (&json!(0), &json!(0), &json!(0)));
    assert!(exporter.terminate(), "{}", exporter.log());
}

#[tokio::test]
async fn queue_of_a_destination_that_nobody_names_goes_and_one_that_is_kept_stays() {
    let redis = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let both = soc(json!([hook("one", &receiver.url), hook("two", &receiver.url)]));
    let exporter = Exporter::start(&redis, "a", both).await;
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    exporter.becomes("soc/two", "backlog", json!(0)).await;
    // A group of somebody else's is none of ours.
    redis.command::<String>(&["XGROUP", "CREATE", &stream(), "reports", "$"]);
    add(&redis, 0..10);
    exporter.becomes("soc/two", "backlog", json!(10)).await;
    exporter.configure("r2", soc(json!([hook("one", &receiver.url)])));
    let groups = || {
        let groups: Vec<std::collections::HashMap<String, redis::Value>> =
            redis.command(&["XINFO", "GROUPS", &stream()]);
        let name = |group: &std::collections::HashMap<String, redis::Value>| {
            redis::from_redis_value::<String>(group["name"].clone()).unwrap()
        };
        groups.iter().map(name).collect::<BTreeSet<String>>()
    };
    // A minute, in which minutes pass: other replicas may still run the configuration before.
    let end = tokio::time::Instant::now() + 2 * PATIENCE;
    while groups().contains("soc/two") {
        assert!(tokio::time::Instant::now() < end, "{:?}", groups());
        redis.command::<u64>(&["HSET", &exporter::stream::Keys::new(POOL).named(), "soc/two", "1"]);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(groups(), BTreeSet::from(["reports".to_owned(), "soc/one".to_owned()]));
}

#[tokio::test]
async fn user_of_redis_with_the_rights_that_are_documented_can_do_every_step() {
    const DOCUMENT: &str = include_str!("../../../docs/networking.md");
    let line = DOCUMENT.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap().replace("PASSWORD", "secret");
    let redis = Server::running(&[]);
    redis.command::<String>(&line.split_whitespace().collect::<Vec<_>>());
    let poison = id(7);
    let receiver = Receiver::start(move |_, ids| Answer::status(if ids.contains(&poison) { 400 } else { 200 })).await;
    let destinations = json!([hook("one", &receiver.url), hook("two", &receiver.url)]);
    let exporter = Exporter::start(&redis, "a", json!([])).await;
    exporter.secret("redis-url", &format!("{}?user=aigateway&pass=secret", redis.url()));
    eventually("it uses them", async || redis.command::<String>(&["CLIENT", "LIST"]).contains("user=aigateway")).await;
    let with = |replay: &str| json!([{"name": "soc", "replay": {"id": replay, "destination": "one", "from": "DeadLetter"}, "destinations": destinations}]);
    exporter.configure("r2", with("first"));
    exporter.becomes("soc/one", "backlog", json!(0)).await;
    exporter.becomes("soc/two", "backlog", json!(0)).await;
    add(&redis, 0..20);
    exporter.becomes("soc/one", "dead", json!(1)).await;
    exporter.becomes("soc/two", "dead", json!(1)).await;
    assert_eq!(exporter.post("v1/events", &json!([event(100)])).await, (200, json!({"added": 1})));
    exporter.configure("r3", with("second"));
    exporter.becomes("soc/one", "replay", json!({"id": "second", "delivered": 0, "done": true})).await;
    exporter.becomes("soc/one", "delivered", json!(20)).await;
    eventually("it has looked after all of it", async || {
        exporter.get("metrics").await.contains("exporter_redis_up 1\n")
    })
    .await;
    // What every step that Redis refuses is logged with.
    for refusal in ["can't run this command", "can't access", "NOPERM"] {
        assert!(!exporter.log().contains(refusal), "{}", exporter.log());
    }
}
