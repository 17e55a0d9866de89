//! A platform that is down for an hour, of the worker's time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use exporter::address::Policy;
use exporter::destination::{Block, webhook};
use exporter::registry::{Access, Identity, platform};
use exporter::stream::{Keys, Settings, State, Stream};
use exporter::tls;
use exporter::worker::{Choice, Condition, Delivery, Worker};
use jiff::Timestamp;
use serde_json::json;
use testkit::redis_server::Server;
use tokio_util::sync::CancellationToken;

use crate::receiver::{Answer, Receiver};
use crate::support::{POOL, SECRET, event, eventually, id, stream};

const GROUP: &str = "soc/one";

async fn connect(server: &Server) -> Stream {
    let settings = Settings { url: server.url().into(), password: None, ca_pem: None };
    Stream::connect(&settings, Arc::new(Keys::new(POOL))).await.unwrap()
}

/// Adds events that are this old; gives their ids.
fn add(server: &Server, numbers: std::ops::Range<u64>, age: Duration) -> BTreeSet<String> {
    let at = Timestamp::now() - age;
    for number in numbers.clone() {
        let mut event = event(number);
        event["timestamp"] = at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into();
        server.command::<String>(&["XADD", &stream(), "*", "event", &event.to_string()]);
    }
    numbers.map(id).collect()
}

async fn state(server: &Server) -> State {
    connect(server).await.state(GROUP).await.unwrap()
}

#[tokio::test]
async fn platform_that_is_down_for_an_hour_gets_everything_that_is_not_too_old() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let spec: webhook::Spec = serde_json::from_value(json!({"url": receiver.url})).unwrap();
    let access = Access {
        secrets: [("secretRef".to_owned(), SECRET.into())].into(),
        tls: tls::Settings::default(),
        server_name: None,
        policy: Policy::LOOPBACK_TOO,
        proxy: None,
        identity: Identity::default(),
        instance: "a".to_owned(),
    };
    let mut group = connect(&server).await.group(GROUP, "a");
    group.open(Timestamp::now()).await.unwrap();
    // A day passes for the oldest, an hour for the rest.
    let delivery = Delivery { batch_events: 50, flush_interval: Duration::from_millis(20), ..Delivery::default() };
    let worker = Worker::new(
        group,
        platform(Block::Webhook(spec), access).unwrap(),
        Arc::new(|_| Some(Choice::default())),
        delivery,
    );
    let (condition, stop) = (worker.condition(), CancellationToken::new());
    let running = tokio::spawn(worker.run(stop.clone()));
    let expired = add(&server, 0..30, Duration::from_secs(25 * 3_600));
    let mut ids = add(&server, 30..200, Duration::from_secs(3_600));
    eventually("it is down", async || matches!(*condition.borrow(), Condition::Retrying(_))).await;

    // Its retries, its lease and the connections to Redis and to the platform meet every minute of it.
    for minute in 0..60u64 {
        let before = receiver.requests();
        if minute % 6 == 0 {
            ids.extend(add(&server, 200 + minute * 2..210 + minute * 2, Duration::ZERO));
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::resume();
        eventually("it is tried again", async || receiver.requests() > before).await;
    }
    assert_eq!(receiver.accepted_ids(), BTreeSet::new());
    eventually("what is too old is given up", async || state(&server).await.dropped == 30).await;
    receiver.answer_with(|_, _| Answer::status(200));
    // The longest time between two tries.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
    eventually("all is sent", async || state(&server).await.backlog == Some(0)).await;
    let state = state(&server).await;
    assert_eq!((state.delivered, state.dead, state.lost, state.possibly_lost), (ids.len() as u64, 30, 0, 0));
    assert_eq!(receiver.accepted_ids(), ids);
    assert!(receiver.accepted_ids().is_disjoint(&expired));
    stop.cancel();
    running.await.unwrap();
}
