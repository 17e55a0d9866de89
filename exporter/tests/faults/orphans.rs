//! Groups that some configurations name and others do not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use exporter::config::parse;
use exporter::monitor::{Monitor, Plan};
use exporter::stream::{Keys, Settings, Stream};
use exporter::voice::Voice;
use jiff::Timestamp;
use serde_json::json;
use testkit::redis_server::Server;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{POOL, eventually, stream};

/// How often a replica looks.
const LOOK: Duration = Duration::from_secs(10);

async fn connect(server: &Server) -> Stream {
    let settings = Settings { url: server.url().into(), password: None, ca_pem: None };
    Stream::connect(&settings, Arc::new(Keys::new(POOL))).await.unwrap()
}

fn groups(server: &Server) -> BTreeSet<String> {
    let groups: Vec<HashMap<String, redis::Value>> = server.command(&["XINFO", "GROUPS", &stream()]);
    groups.iter().map(|group| redis::from_redis_value(group["name"].clone()).unwrap()).collect()
}

fn named(server: &Server) -> BTreeMap<String, i64> {
    server.command(&["HGETALL", &Keys::new(POOL).named()])
}

/// A replica's monitor, with the groups that its configuration names.
struct Replica {
    names: BTreeSet<String>,
    stop: CancellationToken,
    task: JoinHandle<&'static str>,
    _given: (watch::Sender<Option<Stream>>, watch::Sender<Plan>),
}

impl Replica {
    async fn start(server: &Server, instance: &str, names: &[&str]) -> Self {
        let document = json!({
            "revision": "r1",
            "pool": {"id": POOL, "name": "prod", "namespace": "gateways"},
            "admin": {"port": 1, "tokenFile": "admin-token"},
            "redis": {"urlFile": "redis-url"},
            "audit": {"streamMaxBytes": 268_435_456, "retain": "1h"},
        });
        let document = parse(document.to_string().as_bytes()).unwrap();
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let stream = watch::Sender::new(Some(connect(server).await));
        let plan = watch::Sender::new(Plan {
            groups: names.clone(),
            without_replay: Vec::new(),
            max_bytes: document.audit.stream_max_bytes,
            retain: document.audit.retain.0,
        });
        let monitor = Monitor {
            board: Arc::default(),
            gauges: Arc::default(),
            voice: Arc::new(Voice::new(&document, instance).unwrap()),
            stream: stream.subscribe(),
            plan: plan.subscribe(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(monitor.run(stop.clone()));
        Self { names, stop, task, _given: (stream, plan) }
    }
}

/// As if the time between two looks had passed, everywhere: each replica looks once more.
async fn look(server: &Server, replicas: &[&Replica]) {
    for group in named(server).into_keys() {
        let back = format!("-{}", LOOK.as_millis());
        server.command::<i64>(&["HINCRBY", &Keys::new(POOL).named(), &group, &back]);
    }
    let before = named(server);
    tokio::time::pause();
    tokio::time::advance(LOOK).await;
    tokio::time::resume();
    eventually("everybody has looked", async || {
        let now = named(server);
        replicas.iter().flat_map(|replica| &replica.names).all(|name| now.get(name) > before.get(name))
    })
    .await;
}

#[tokio::test]
async fn group_stays_while_any_replica_names_it_and_for_minutes_after_that() {
    let server = Server::running(&[]);
    for name in ["soc/both", "soc/new", "soc/old"] {
        connect(&server).await.group(name, "a").open(Timestamp::now()).await.unwrap();
    }
    let all: BTreeSet<String> = ["soc/both", "soc/new", "soc/old"].map(str::to_owned).into();
    let ahead = Replica::start(&server, "ahead", &["soc/both", "soc/new"]).await;
    let behind = Replica::start(&server, "behind", &["soc/both", "soc/old"]).await;
    eventually("both have looked", async || named(&server).len() == 3).await;
    // Much longer than a configuration takes.
    for _ in 0..60 {
        look(&server, &[&ahead, &behind]).await;
        assert_eq!(groups(&server), all);
    }
    behind.stop.cancel();
    behind.task.await.unwrap();
    // For five minutes another one may come up with the configuration before.
    for _ in 0..31 {
        look(&server, &[&ahead]).await;
        assert_eq!(groups(&server), all);
    }
    for _ in 0..6 {
        look(&server, &[&ahead]).await;
    }
    eventually("nobody names it any more", async || groups(&server).len() == 2).await;
    assert!(!groups(&server).contains("soc/old"));
    ahead.stop.cancel();
    ahead.task.await.unwrap();
}
