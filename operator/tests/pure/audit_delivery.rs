//! The trail with an exporter that fails on demand, and with an API server whose answers get lost.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crds::Pool;
use crds::pool::{Phase, PoolStatus};
use events::{EventName, Record, ResourceKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::client::Body;
use operator::audit::{
    Changes, Draft, Limits, PoolId, Round, Sink, SinkError, Subject, Trail, deliver, pool_changes, resource::Change,
};
use operator::metrics::Metrics;
use operator::status::StatusWriter;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::input::Input;

/// The pool, and what was posted for it.
type Post = (String, Vec<Record>);

/// An exporter that answers as it is told, and keeps what it took.
#[derive(Clone, Default)]
struct Double {
    answers: Arc<Mutex<VecDeque<SinkError>>>,
    posts: Arc<Mutex<Vec<Post>>>,
    taken: Arc<Mutex<Vec<(String, Record)>>>,
}

impl Sink for Double {
    async fn post(&self, pool_uid: &str, events: &[Vec<u8>]) -> Result<u64, SinkError> {
        let records: Vec<Record> = events.iter().map(|event| Record::from_json(event).unwrap()).collect();
        self.posts.lock().unwrap().push((pool_uid.to_owned(), records.clone()));
        if let Some(error) = self.answers.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.taken.lock().unwrap().extend(records.into_iter().map(|record| (pool_uid.to_owned(), record)));
        Ok(events.len() as u64)
    }
}

struct Stage {
    trail: Arc<Trail>,
    sink: Double,
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Stage {
    fn new(answers: &[SinkError]) -> Self {
        let (metrics, sink, stop) = (Metrics::default(), Double::default(), CancellationToken::new());
        sink.answers.lock().unwrap().extend(answers);
        let trail = Arc::new(Trail::new("operator-pod", Some("cluster-uid"), Limits::default(), metrics.clone()));
        let task = tokio::spawn(deliver(trail.clone(), sink.clone(), stop.clone()));
        Stage { trail, sink, metrics, stop, task }
    }

    async fn until(&self, taken: usize) -> Vec<Record> {
        tokio::time::timeout(Duration::from_secs(30), async {
            while self.sink.taken.lock().unwrap().len() < taken {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the events were not delivered in time");
        self.sink.taken.lock().unwrap().iter().map(|(_, record)| record.clone()).collect()
    }

    async fn end(self) -> Vec<Record> {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("the delivery does not end").unwrap();
        self.sink.taken.lock().unwrap().iter().map(|(_, record)| record.clone()).collect()
    }
}

fn pool(name: &str) -> PoolId {
    PoolId { uid: format!("{name}-uid"), namespace: "gateways".into(), name: name.into() }
}

fn meta(name: &str, generation: i64) -> kube::core::ObjectMeta {
    serde_json::from_value(json!({
        "name": name, "uid": format!("{name}-object"), "generation": generation, "creationTimestamp": "2026-11-21T07:13:00Z",
        "annotations": {"token": "planted-value"},
        "managedFields": [{"manager": "kubectl", "time": "2026-11-21T07:13:00Z", "fieldsV1": {"f:spec": {"f:planted-value": {}}}}],
    }))
    .unwrap()
}

fn created(name: &str) -> Change {
    Change::seen(ResourceKind::McpServer, &meta(name, 1), None, Some(None)).unwrap()
}

fn drafts(range: std::ops::Range<usize>) -> Vec<Draft> {
    range.map(|i| created(&format!("s{i}")).draft("prod-uid")).collect()
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_events_in_the_same_order() {
    let stage = Stage::new(&[SinkError::Unavailable]);
    stage.trail.tell(&pool("prod"), drafts(0..150));
    let records = stage.until(150).await;
    assert_eq!(records.iter().map(|record| record.component_seq).collect::<Vec<_>>(), (1..=150).collect::<Vec<u64>>());
    let ids: BTreeSet<_> = records.iter().map(|record| record.event_id).collect();
    assert_eq!(ids.len(), 150);
    {
        let posts = stage.sink.posts.lock().unwrap();
        assert_eq!(posts.iter().map(|(_, records)| records.len()).collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(posts[0], posts[1]);
    }
    let first = &records[0];
    assert_eq!((first.component_name.as_str(), first.component_instance.as_str()), ("operator", "operator-pod"));
    assert_eq!(first.cluster_id.as_ref().unwrap().as_str(), "cluster-uid");
    assert_eq!((first.pool_id.as_str(), first.pool_name.as_ref().unwrap().as_str()), ("prod-uid", "prod"));
    assert!(!String::from_utf8(first.to_json()).unwrap().contains("planted"));
    let text = stage.metrics.render().unwrap();
    assert!(text.contains("ai_gateway_operator_events_total{event=\"resource_changed\"} 150"), "{text}");
    assert!(text.contains("ai_gateway_operator_events_spooled 0"), "{text}");
    stage.end().await;
}

#[tokio::test]
async fn pools_have_numbers_of_their_own() {
    let stage = Stage::new(&[]);
    for name in ["blue", "green", "blue"] {
        stage.trail.tell(&pool(name), vec![created(name).draft(&pool(name).uid)]);
    }
    stage.until(3).await;
    let taken = stage.sink.taken.lock().unwrap().clone();
    let seqs = |uid: &str| taken.iter().filter(|(of, _)| of == uid).map(|(_, r)| r.component_seq).collect::<Vec<_>>();
    assert_eq!((seqs("blue-uid"), seqs("green-uid")), (vec![1, 2], vec![1]));
    assert!(taken.iter().all(|(uid, record)| record.pool_id.as_str() == uid));
    stage.end().await;
}

#[tokio::test]
async fn a_stop_delivers_what_waits_although_its_turn_is_later() {
    let stage = Stage::new(&[SinkError::Absent]);
    stage.trail.tell(&pool("prod"), drafts(0..3));
    tokio::time::timeout(Duration::from_secs(30), async {
        while stage.sink.posts.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(stage.end().await.len(), 3);
}

#[tokio::test]
async fn an_object_that_comes_before_its_pool_is_told_when_the_pool_is_known() {
    let stage = Stage::new(&[]);
    stage.trail.changed("gateways", "prod", None, created("crm"));
    stage.trail.changed("gateways", "other", None, created("never"));
    stage.trail.appeared(&pool("prod"));
    let records = stage.end().await;
    assert_eq!(records.iter().map(|r| r.resource_name.as_ref().unwrap().as_str()).collect::<Vec<_>>(), ["crm"]);
    assert_eq!(records[0].event_id, created("crm").draft("prod-uid").id);
}

#[tokio::test]
async fn objects_of_pools_that_never_come_are_bounded_and_counted() {
    let stage = Stage::new(&[]);
    for i in 0..300 {
        stage.trail.changed("gateways", "nowhere", None, created(&format!("s{i}")));
    }
    let text = stage.metrics.render().unwrap();
    assert!(text.contains("ai_gateway_operator_events_dropped_total{cause=\"no_pool\"} 44"), "{text}");
    stage.end().await;
}

#[tokio::test]
async fn a_failure_that_goes_on_is_told_once_and_so_is_its_end() {
    let stage = Stage::new(&[]);
    let input = Input::parse("kind: Pool\nmetadata: {name: prod}\nspec: {auth: {anonymous: true}}");
    let object = &input.pools[0];
    for _ in 0..2 {
        stage.trail.failed(ResourceKind::Pool, object, &[pool("prod")], "ApiServerUnavailable", Duration::ZERO);
    }
    assert!(!stage.trail.is_untold("pool-prod-uid"), "a blip is no news");
    for _ in 0..5 {
        stage.trail.failed(ResourceKind::Pool, object, &[pool("prod")], "ApiServerUnavailable", Duration::ZERO);
    }
    assert!(stage.trail.is_untold("pool-prod-uid"));
    stage.trail.succeeded("pool-prod-uid");
    assert!(!stage.trail.is_untold("pool-prod-uid"));
    let records = stage.end().await;
    let errors: Vec<_> = records.iter().map(|r| r.reconcile_error.as_ref().unwrap().as_str()).collect();
    assert_eq!(errors, ["ApiServerUnavailable"]);
    assert_eq!(records[0].severity, events::Severity::Error);
}

/// An API server that takes every status; while `lose`, its answers do not arrive.
fn writer(lose: &Arc<AtomicBool>, object: &Pool) -> StatusWriter {
    let (lose, object) = (lose.clone(), object.clone());
    let service = tower::service_fn(move |_: http::Request<Body>| {
        let (lost, object) = (lose.load(Ordering::SeqCst), object.clone());
        async move {
            let status = json!({"kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError", "message": "lost"});
            let (code, body) = if lost { (500, status) } else { (200, serde_json::to_value(&object).unwrap()) };
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            Ok::<_, std::convert::Infallible>(http::Response::builder().status(code).body(body).unwrap())
        }
    });
    StatusWriter::new(kube::Client::new(service, "gateways"), Metrics::default())
}

fn phase_change(previous: &PoolStatus, phase: Phase) -> (PoolStatus, Changes) {
    let now = Time(jiff::Timestamp::now());
    let subject = Subject { pool: "prod-uid", uid: "prod-uid", generation: 1 };
    let round = Round { subject, name: "prod", ..Round::of_nothing(&now, Duration::ZERO) };
    let status = PoolStatus { phase: Some(phase), ..previous.clone() };
    let changes = pool_changes(&round, previous, &status);
    (status, changes)
}

#[tokio::test]
async fn a_change_is_told_once_its_status_is_known_to_be_written() {
    let stage = Stage::new(&[]);
    let input = Input::parse("kind: Pool\nmetadata: {name: prod}\nspec: {auth: {anonymous: true}}");
    let (object, id) = (&input.pools[0], pool("prod"));
    let lose = Arc::new(AtomicBool::new(true));
    let writer = writer(&lose, object);
    let nothing = PoolStatus::default();
    let conclude = |previous: PoolStatus, status, changes| {
        let (trail, writer, id) = (&stage.trail, &writer, &id);
        let told = [(id.clone(), changes)].into();
        async move { trail.conclude(writer, object, "Pool", &previous, status, told).await }
    };

    // The answer is lost, and the status was not written: it is written, and told, later.
    let (pending, changes) = phase_change(&nothing, Phase::Pending);
    assert!(conclude(nothing.clone(), pending.clone(), changes).await.is_err());
    lose.store(false, Ordering::SeqCst);
    let (pending, changes) = phase_change(&nothing, Phase::Pending);
    let expected = changes.drafts[0].id;
    conclude(nothing.clone(), pending.clone(), changes).await.unwrap();
    assert_eq!(stage.until(1).await[0].event_id, expected);

    // The answer is lost, but the status was written: the next reconcile finds it, and nothing else to tell.
    lose.store(true, Ordering::SeqCst);
    let (active, changes) = phase_change(&pending, Phase::Active);
    let expected = changes.drafts[0].id;
    assert!(conclude(pending, active.clone(), changes).await.is_err());
    let (same, changes) = phase_change(&active, Phase::Active);
    assert_eq!(changes, Changes::default());
    conclude(active, same, changes).await.unwrap();
    let records = stage.end().await;
    let phases: Vec<_> = records.iter().map(|record| (record.event, record.phase_to.unwrap().as_str())).collect();
    let name = EventName::PoolPhaseChanged;
    assert_eq!(phases, [(name, "Pending"), (name, "Active")]);
    assert_eq!(records[1].event_id, expected);
}

#[tokio::test]
async fn every_pool_of_an_object_is_told_of_a_write_whose_answer_was_lost() {
    let stage = Stage::new(&[]);
    let input = Input::parse("kind: Pool\nmetadata: {name: prod}\nspec: {auth: {anonymous: true}}");
    let (object, lose) = (&input.pools[0], Arc::new(AtomicBool::new(true)));
    let writer = writer(&lose, object);
    let nothing = PoolStatus::default();
    let (pending, changes) = phase_change(&nothing, Phase::Pending);
    let told = vec![(pool("prod"), changes.clone()), (pool("test"), changes)];
    let conclude = |previous: PoolStatus, told| {
        let (trail, writer, status) = (&stage.trail, &writer, pending.clone());
        async move { trail.conclude(writer, object, "Pool", &previous, status, told).await }
    };
    assert!(conclude(nothing, told).await.is_err());
    conclude(pending.clone(), Vec::new()).await.unwrap();
    stage.until(2).await;
    let told: BTreeSet<String> = stage.sink.taken.lock().unwrap().iter().map(|(pool, _)| pool.clone()).collect();
    assert_eq!(told, BTreeSet::from(["prod-uid".to_owned(), "test-uid".to_owned()]));
    stage.end().await;
}
