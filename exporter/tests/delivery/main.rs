//! From a real Redis to receivers that fail in every way: what was added is compared with what arrived, by event id.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "another test uses the rest")]
mod receiver;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use exporter::address::Policy;
use exporter::answer::Code;
use exporter::destination::webhook;
use exporter::http::Sender;
use exporter::platform::{Assurance, OverHttp, Platform};
use exporter::stream::{Keys, Settings, State, Stream};
use exporter::tls;
use exporter::worker::{Choice, Condition, Delivery, Router, Worker};
use jiff::Timestamp;
use testkit::redis_server::Server;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use receiver::{Answer, Receiver};

const KEY: &str = "audit:{pool-uid}:events";
const SOC: &str = "security/soc";
const SAMPLE: &str = include_str!("../../../events/samples/tool_call.json");
const PATIENCE: Duration = Duration::from_secs(30);

/// Adds events, each with an id of its own; gives the ids.
fn add(server: &Server, numbers: std::ops::Range<u64>) -> BTreeSet<String> {
    add_changed(server, numbers, |_| {})
}

/// The same with events that differ.
fn add_changed(
    server: &Server,
    numbers: std::ops::Range<u64>,
    change: impl Fn(&mut serde_json::Value),
) -> BTreeSet<String> {
    let mut connection = server.connect();
    let mut ids = BTreeSet::new();
    for chunk in numbers.collect::<Vec<_>>().chunks(500) {
        let mut pipe = redis::pipe();
        for number in chunk {
            let id = ulid::Ulid::from_parts(1_795_233_600_000, u128::from(*number)).to_string();
            let mut event: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
            event["event_id"] = id.clone().into();
            event["timestamp"] = text(Timestamp::now()).into();
            change(&mut event);
            pipe.cmd("XADD").arg(KEY).arg(&["*", "event"]).arg(event.to_string()).ignore();
            ids.insert(id);
        }
        pipe.query::<()>(&mut connection).unwrap();
    }
    ids
}

fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

async fn stream(server: &Server) -> Stream {
    let settings = Settings { url: server.url().into(), password: None, ca_pem: None };
    Stream::connect(&settings, Arc::new(Keys::new("pool-uid"))).await.unwrap()
}

fn webhook(url: &str) -> Arc<dyn Platform> {
    webhook_for_events_of(url, None)
}

/// One that takes no older events.
fn webhook_for_events_of(url: &str, max_give_up_after: Option<Duration>) -> Arc<dyn Platform> {
    let spec: webhook::config::Spec = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
    let policy = Policy::LOOPBACK_TOO;
    let config = webhook::config::Config::new(spec, policy).unwrap();
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned().into();
    let credential = webhook::request::Credential::new(&secret, None).unwrap();
    let tls = tls::Settings::default();
    Arc::new(OverHttp {
        shape: webhook::shape::shape,
        request: move |events: &[_], now| webhook::request::request(&config, &credential, events, now),
        outcome: webhook::answer::outcome,
        limits: webhook::request::LIMITS,
        assurance: Assurance::Accepted,
        max_give_up_after,
        sender: Sender::new(&tls, None, policy).unwrap(),
    })
}

fn everything() -> Arc<Router> {
    Arc::new(|_| Some(Choice::default()))
}

fn quick() -> Delivery {
    Delivery {
        batch_events: 20,
        flush_interval: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        max_retry_interval: Duration::from_secs(1),
        ..Delivery::default()
    }
}

struct Running {
    condition: watch::Receiver<Condition>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(server: &Server, consumer: &str, url: &str, router: Arc<Router>, delivery: Delivery) -> Self {
        let mut group = stream(server).await.group(SOC, consumer);
        group.open(Timestamp::now()).await.unwrap();
        Self::with(Worker::new(group, webhook(url), router, delivery))
    }

    fn with(worker: Worker) -> Self {
        let (condition, stop) = (worker.condition(), CancellationToken::new());
        let task = tokio::spawn(worker.run(stop.clone()));
        Self { condition, stop, task }
    }

    async fn becomes(&mut self, wanted: &Condition) {
        let seen = tokio::time::timeout(PATIENCE, self.condition.wait_for(|seen| seen == wanted)).await.is_ok();
        assert!(seen, "{:?}, not {wanted:?}", self.condition.borrow());
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// As kill -9 does it: nothing is finished, and the lease ends as if 30 s had passed.
    async fn kill(self, server: &Server, consumer: &str) {
        self.task.abort();
        let _ = self.task.await;
        server.command::<u64>(&["DEL", &Keys::new("pool-uid").lease(SOC, consumer)]);
    }
}

async fn state_when(server: &Server, what: &str, wanted: impl Fn(&State) -> bool) -> State {
    let mut stream = stream(server).await;
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let state = stream.state(SOC).await.unwrap();
        if wanted(&state) {
            return state;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: {state:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn drained(server: &Server) -> State {
    state_when(server, "everything is acknowledged", |state| state.backlog == Some(0)).await
}

#[tokio::test]
async fn every_event_arrives_once_where_nothing_fails() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let mut running = Running::start(&server, "a", &receiver.url, everything(), quick()).await;
    assert_eq!(*running.condition.borrow(), Condition::Idle);
    let ids = add(&server, 0..1_000);
    let state = drained(&server).await;
    running.becomes(&Condition::Delivering).await;
    assert_eq!((state.delivered, state.dropped, state.dead), (1_000, 0, 0));
    assert_eq!(receiver.events().len(), 1_000, "none twice");
    assert_eq!(receiver.ids(), ids);
    assert!(receiver.largest_batch() <= 20);
    running.stop().await;
}

#[tokio::test]
async fn a_batch_that_memory_has_no_room_to_fill_does_not_wait_for_more() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let delivery = Delivery {
        batch_events: 500,
        flush_interval: PATIENCE * 10,
        memory: 64 << 10,
        timeout: Duration::from_millis(500),
        ..Delivery::default()
    };
    let running = Running::start(&server, "a", &receiver.url, everything(), delivery).await;
    add(&server, 0..300);
    // What is left at the end has room for more, and waits.
    state_when(&server, "nearly everything is delivered", |state| state.delivered > 250).await;
    assert!(receiver.largest_batch() <= 64);
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_receiver_that_is_right_once_in_ten_times() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|request, _| match request % 10 {
        0 => Answer::status(200),
        1 => Answer::status(503),
        2 => Answer::status(429).header("retry-after", "0"),
        3 => Answer::Hang,
        4 => Answer::Close,
        5 => Answer::status(408),
        6 => Answer::status(500),
        7 => Answer::Large,
        8 => Answer::status(502),
        _ => Answer::status(504),
    })
    .await;
    let running = Running::start(&server, "a", &receiver.url, everything(), quick()).await;
    let ids = add(&server, 0..100);
    let state = drained(&server).await;
    assert_eq!((state.delivered, state.dropped), (100, 0));
    assert_eq!(receiver.accepted_ids(), ids);
    running.stop().await;
}

#[tokio::test]
async fn replicas_that_are_killed_lose_nothing() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200).after(Duration::from_millis(5))).await;
    let mut ids = BTreeSet::new();
    let steady = Running::start(&server, "steady", &receiver.url, everything(), quick()).await;
    for round in 0..4u64 {
        let victim = format!("victim-{round}");
        let killed = Running::start(&server, &victim, &receiver.url, everything(), quick()).await;
        ids.extend(add(&server, round * 500..(round + 1) * 500));
        state_when(&server, "some are on their way", |state| state.pending > 0 || state.backlog == Some(0)).await;
        killed.kill(&server, &victim).await;
    }
    let state = drained(&server).await;
    assert_eq!((state.delivered, state.lost, state.possibly_lost, state.dropped), (2_000, 0, 0, 0));
    assert_eq!(receiver.accepted_ids(), ids);
    steady.stop().await;
}

#[tokio::test]
async fn a_refused_credential_holds_everything_and_is_sent_when_it_is_accepted() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(401)).await;
    let mut running = Running::start(&server, "a", &receiver.url, everything(), quick()).await;
    let ids = add(&server, 0..200);
    running.becomes(&Condition::AuthRejected(Code::number("http", 401))).await;
    let held = state_when(&server, "all are read", |state| state.pending == 200).await;
    assert_eq!((held.delivered, held.dropped, held.dead), (0, 0, 0));
    let asked = receiver.requests();
    assert!(asked <= 2, "{asked} requests with a credential that is refused");
    // Another replica begins with the right one: the entries of the one that ends are its own.
    running.kill(&server, "a").await;
    receiver.answer_with(|_, _| Answer::status(200));
    let other = Running::start(&server, "b", &receiver.url, everything(), quick()).await;
    drained(&server).await;
    assert_eq!(receiver.accepted_ids(), ids);
    other.stop().await;
}

#[tokio::test]
async fn a_poison_event_is_found_buried_and_costs_nobody_else() {
    let server = Server::running(&[]);
    let poison: BTreeSet<String> =
        [7u64, 42, 99].map(|number| ulid::Ulid::from_parts(1_795_233_600_000, u128::from(number)).to_string()).into();
    let bad = poison.clone();
    let receiver = Receiver::start(move |_, ids| match ids.iter().any(|id| bad.contains(id)) {
        true => Answer::status(400),
        false => Answer::status(200),
    })
    .await;
    let running = Running::start(&server, "a", &receiver.url, everything(), quick()).await;
    let ids = add(&server, 0..120);
    let state = drained(&server).await;
    assert_eq!((state.delivered, state.dropped, state.dead), (117, 3, 3));
    assert_eq!(receiver.accepted_ids(), &ids - &poison);
    running.stop().await;
}

#[tokio::test]
async fn a_platform_that_refuses_every_event_is_a_wrong_mapping_and_the_rest_is_held() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(422)).await;
    let mut running = Running::start(&server, "a", &receiver.url, everything(), quick()).await;
    add(&server, 0..100);
    running.becomes(&Condition::Rejected(Code::number("http", 422), "events")).await;
    let state = stream(&server).await.state(SOC).await.unwrap();
    assert!(state.dropped < 20 && state.backlog == Some(100 - state.dropped), "{state:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_wanted_or_not_readable_is_done_with_and_the_rest_is_delivered() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let odd: Arc<Router> = Arc::new(|record| (record.event_id.0 % 2 == 1).then(Choice::default));
    let running = Running::start(&server, "a", &receiver.url, odd, quick()).await;
    add(&server, 0..50);
    server.command::<String>(&["XADD", KEY, "*", "event", "not JSON"]);
    server.command::<String>(&["XADD", KEY, "*", "other", "no event"]);
    let state = drained(&server).await;
    assert_eq!((state.delivered, state.dropped, state.dead), (25, 2, 2));
    assert_eq!(receiver.events().len(), 25);
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_is_too_old_is_not_tried_for_ever() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let delivery = Delivery { give_up_after: Duration::from_secs(1), ..quick() };
    let running = Running::start(&server, "a", &receiver.url, everything(), delivery).await;
    add(&server, 0..10);
    let state = drained(&server).await;
    assert_eq!((state.delivered, state.dropped), (0, 10));
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_is_too_old_for_the_platform_is_not_sent_however_long_it_might_be_tried() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let mut group = stream(&server).await.group(SOC, "a");
    group.open(Timestamp::now()).await.unwrap();
    let platform = webhook_for_events_of(&receiver.url, Some(Duration::from_secs(3)));
    let running = Running::with(Worker::new(group, platform, everything(), quick()));
    // One that was never tried, and one that was until then.
    let hour_ago = text(Timestamp::now() - Duration::from_secs(3_600));
    let old = add_changed(&server, 0..10, |event| event["timestamp"] = hour_ago.clone().into());
    let young = add(&server, 10..20);
    let state = drained(&server).await;
    assert_eq!((state.delivered, state.dropped), (0, 20));
    assert_eq!((receiver.ids().is_disjoint(&old), receiver.ids()), (true, young));
    let dead = Keys::new("pool-uid").dead(SOC);
    let letters: Vec<(String, std::collections::HashMap<String, String>)> =
        server.command(&["XRANGE", &dead, "-", "+"]);
    assert!(letters.iter().all(|(_, fields)| fields["code"] == "too-old"), "{letters:?}");
    receiver.answer_with(|_, _| Answer::status(200));
    let now = add(&server, 20..30);
    state_when(&server, "what is young enough is taken", |state| state.delivered == 10).await;
    assert_eq!(receiver.accepted_ids(), now);
    running.stop().await;
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_back_empty_is_read_on() {
    let mut server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(200)).await;
    let running = Running::start(&server, "a", &receiver.url, everything(), quick()).await;
    let mut ids = add(&server, 0..50);
    drained(&server).await;
    server.kill();
    server.start();
    // The stream is gone with the group; what comes now is read from its beginning.
    ids.extend(add(&server, 50..80));
    state_when(&server, "the group is made again", |state| state.delivered == 30).await;
    assert_eq!(receiver.accepted_ids(), ids);
    running.stop().await;
}

#[tokio::test]
async fn what_is_taken_over_is_read_as_there_is_memory_for_it() {
    const LIMIT: usize = 256 << 10;
    const EVENTS: u64 = 300;
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let mut group = stream(&server).await.group(SOC, "a");
    group.open(Timestamp::now()).await.unwrap();
    // Larger by a key of a later version.
    let ids = add_changed(&server, 0..EVENTS, |event| event["padding"] = "x".repeat(12_000).into());
    // It was read by one of the same name, whose lease has lapsed since.
    assert_eq!(group.read(1_000).await.unwrap().entries.len() as u64, EVENTS);
    server.command::<u64>(&["DEL", &Keys::new("pool-uid").lease(SOC, "a")]);

    let (in_flight, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, highest) = (in_flight.clone(), most.clone());
    // Asked for every event, before it is held.
    let router: Arc<Router> = Arc::new(move |_| {
        highest.fetch_max(seen.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(Choice::default())
    });
    let mut group = stream(&server).await.group(SOC, "a");
    group.open(Timestamp::now()).await.unwrap();
    let share = Arc::new(AtomicUsize::new(LIMIT));
    let delivery = Delivery { timeout: Duration::from_secs(10), ..quick() };
    let worker = Worker::new(group, webhook(&receiver.url), router, delivery).with_memory(share, in_flight.clone());
    let stop = CancellationToken::new();
    let task = tokio::spawn(worker.run(stop.clone()));
    receiver.requests_reach(5).await;
    let held = in_flight.load(Ordering::Relaxed);
    assert!((1..=LIMIT).contains(&held), "{held} bytes are held");
    // What comes meanwhile waits behind it.
    let ids = &ids | &add(&server, EVENTS..EVENTS + 50);
    receiver.answer_with(|_, _| Answer::status(200));
    let state = drained(&server).await;
    assert_eq!((state.delivered, state.dropped, state.possibly_lost), (EVENTS + 50, 0, 0));
    assert_eq!(receiver.accepted_ids(), ids);
    assert_eq!(receiver.events().len() as u64, EVENTS + 50, "none twice");
    let most = most.load(Ordering::Relaxed);
    assert!(most <= LIMIT, "{most} bytes were held");
    stop.cancel();
    task.await.unwrap();
    assert_eq!(in_flight.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn memory_is_bounded_while_the_platform_is_down() {
    let server = Server::running(&[]);
    let receiver = Receiver::start(|_, _| Answer::status(503)).await;
    let delivery = Delivery { memory: 256 << 10, ..quick() };
    let running = Running::start(&server, "a", &receiver.url, everything(), delivery).await;
    let ids = add(&server, 0..2_000);
    state_when(&server, "as much is read as there is room for", |state| state.pending > 50).await;
    receiver.requests_reach(5).await;
    let pending = stream(&server).await.state(SOC).await.unwrap().pending;
    assert!(pending < 256, "{pending} entries are held");
    receiver.answer_with(|_, _| Answer::status(200));
    drained(&server).await;
    assert_eq!(receiver.accepted_ids(), ids);
    running.stop().await;
}
