//! Splunk's indexer acknowledgement, against a collector that acknowledges as it is told: a double, because no real one
//! fails on demand. Time is paused: it goes on when nobody has anything to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use exporter::answer::{Code, Outcome, Verdict};
use exporter::destination::splunk::acknowledgement::RESEND_AFTER;
use exporter::platform::{Assurance, Platform};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Authority, Received, Response, access, broken, platform, response, retry, send, serve};

const DELIVERED: Outcome = Outcome::All(Verdict::Delivered);

/// What a collector was asked.
#[derive(Default)]
struct Seen {
    /// Channels of the batches, in their order.
    batches: Vec<String>,
    /// The ids of each poll.
    polls: Vec<Vec<u64>>,
    cookies: Vec<Option<String>>,
}

type Shared = Arc<Mutex<Seen>>;

/// `accept` answers batches, `polled` the polls; both by their number from 0.
async fn collector(
    accept: impl Fn(usize) -> Response + Clone + Send + 'static,
    polled: impl Fn(usize, &[u64]) -> Response + Clone + Send + 'static,
) -> (Arc<dyn Platform>, Shared) {
    let (authority, seen) = (Authority::new(), Shared::default());
    let shared = seen.clone();
    let server = authority.issue("localhost", 2020..2090).server(None);
    let address = serve(Some(server), move |Received { head, body }| {
        let mut seen = shared.lock().unwrap();
        assert_eq!(head.headers["authorization"], "Splunk 00000000-token");
        seen.cookies.push(head.headers.get("cookie").map(|cookie| cookie.to_str().unwrap().to_owned()));
        let channel = head.headers["x-splunk-request-channel"].to_str().unwrap().to_owned();
        if head.uri.path() == "/services/collector/event" {
            seen.batches.push(channel);
            return accept(seen.batches.len() - 1);
        }
        assert_eq!(head.uri.path(), "/services/collector/ack");
        assert_eq!(head.uri.query(), Some(&*format!("channel={channel}")));
        let ids: BTreeMap<String, Vec<u64>> = serde_json::from_slice(&body).unwrap();
        let ids = ids["acks"].clone();
        seen.polls.push(ids.clone());
        polled(seen.polls.len() - 1, &ids)
    })
    .await;
    let url = format!("https://localhost:{}", address.port());
    let access = access(authority.trusted(), &[("tokenSecretRef", "00000000-token")]);
    let splunk = platform(json!({"splunk": {"url": url, "acknowledgement": true}}), access);
    assert_eq!(splunk.assurance(), Assurance::Stored);
    (splunk, seen)
}

fn accepted(id: u64) -> Response {
    response(200, json!({"text": "Success", "code": 0, "ackId": id}).to_string())
}

fn numbered(number: usize) -> Response {
    accepted(u64::try_from(number).unwrap())
}

fn acks(ids: &[u64], indexed: impl Fn(u64) -> bool) -> Response {
    let acks: serde_json::Map<String, Value> = ids.iter().map(|id| (id.to_string(), indexed(*id).into())).collect();
    response(200, json!({ "acks": acks }).to_string())
}

#[tokio::test(start_paused = true)]
async fn batch_is_delivered_when_the_indexers_have_it_and_not_when_the_collector_does() {
    let (splunk, seen) = collector(numbered, |poll, ids| acks(ids, |_| poll >= 5)).await;
    assert_eq!(send(&*splunk, 3).await, DELIVERED);
    assert_eq!(seen.lock().unwrap().polls, vec![vec![0]; 6]);
}

#[tokio::test(start_paused = true)]
async fn batches_that_wait_share_their_polls() {
    // Even ids at the second poll, odd ones at the fourth.
    let (splunk, seen) = collector(numbered, |poll, ids| acks(ids, |id| poll >= if id % 2 == 0 { 1 } else { 3 })).await;
    let all = join_all((0..32).map(|_| send(&*splunk, 1))).await;
    assert!(all.iter().all(|outcome| *outcome == DELIVERED), "{all:?}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.batches.len(), 32);
    // The first poll may come while batches are still on their way.
    assert!(seen.polls.len() <= 6, "{:?}", seen.polls);
    assert!(seen.polls.iter().any(|ids| ids.len() == 32), "{:?}", seen.polls);
    assert!(seen.batches.iter().all(|channel| *channel == seen.batches[0]));
}

#[tokio::test(start_paused = true)]
async fn batch_that_is_never_acknowledged_is_sent_again() {
    let (splunk, seen) = collector(numbered, |_, ids| acks(ids, |_| false)).await;
    let started = Instant::now();
    assert!(retry("hec-not-indexed")(&send(&*splunk, 1).await));
    assert!(started.elapsed() >= RESEND_AFTER);
    // Less and less often: 1 + 2 + 4 + 8 s, then every 10.
    let polls = seen.lock().unwrap().polls.len();
    assert!((10..=16).contains(&polls), "{polls}");
}

#[tokio::test(start_paused = true)]
async fn lost_connection_begins_a_new_channel_and_what_waits_stays_on_its_own() {
    let lost = |number| match number {
        1 => broken(),
        _ => numbered(number),
    };
    let (splunk, seen) = collector(lost, |poll, ids| acks(ids, |_| poll >= 4)).await;
    let second = async {
        while seen.lock().unwrap().polls.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(retry("broken")(&send(&*splunk, 1).await));
        send(&*splunk, 1).await
    };
    let (first, third) = futures::future::join(send(&*splunk, 1), second).await;
    assert_eq!((first, third), (DELIVERED, DELIVERED));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.batches[0], seen.batches[1]);
    assert_ne!(seen.batches[1], seen.batches[2]);
    // No poll mixes the two.
    assert!(seen.polls.iter().all(|ids| ids == &[0] || ids == &[2]), "{:?}", seen.polls);
}

#[tokio::test(start_paused = true)]
async fn id_that_is_given_twice_acknowledges_neither_batch() {
    // As of two collectors behind one name, or of one that started again.
    let (splunk, seen) =
        collector(|number| accepted(if number < 2 { 0 } else { 7 }), |_, ids| acks(ids, |_| true)).await;
    let both = join_all([send(&*splunk, 1), send(&*splunk, 1)]).await;
    assert!(both.iter().all(retry("hec-ack-id-twice")), "{both:?}");
    assert_eq!(send(&*splunk, 1).await, DELIVERED);
    let seen = seen.lock().unwrap();
    assert_ne!(seen.batches[0], seen.batches[2]);
    assert_eq!(seen.polls, [[7]]);
}

#[tokio::test(start_paused = true)]
async fn cookies_lead_the_conversation_to_the_same_collector() {
    let with_cookie = |number| {
        let mut answer = numbered(number);
        answer.headers_mut().insert("set-cookie", "lb=node-3; Path=/; HttpOnly".parse().unwrap());
        answer
    };
    let (splunk, seen) = collector(with_cookie, |_, ids| acks(ids, |_| true)).await;
    for _ in 0..2 {
        assert_eq!(send(&*splunk, 1).await, DELIVERED);
    }
    let cookie = || Some("lb=node-3".to_owned());
    assert_eq!(seen.lock().unwrap().cookies, [None, cookie(), cookie(), cookie()]);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_whether_they_are_of_the_batch_or_of_a_poll() {
    let config = |code, field| Outcome::All(Verdict::Config { code, field });
    // Acknowledgement is not switched on for the token: no id, or no answer to a poll.
    let (splunk, _) = collector(|_| response(200, r#"{"text":"Success","code":0}"#), |_, _| response(500, "")).await;
    assert_eq!(send(&*splunk, 2).await, config(Code::fixed("hec-no-ack-id"), "acknowledgement"));
    for (status, body, expected) in [
        (400, r#"{"text":"ACK is disabled","code":14}"#, config(Code::number("hec", 14), "acknowledgement")),
        (404, "", config(Code::number("http", 404), "url")),
        (200, "<html>", config(Code::fixed("hec-no-code"), "url")),
        (403, r#"{"text":"Invalid token","code":4}"#, Outcome::All(Verdict::Auth { code: Code::number("hec", 4) })),
    ] {
        let (splunk, seen) = collector(numbered, move |_, _| response(status, body)).await;
        assert_eq!(send(&*splunk, 2).await, expected, "{status}");
        assert_eq!(seen.lock().unwrap().polls.len(), 1);
    }
    let (splunk, seen) =
        collector(|_| response(503, r#"{"text":"Server is busy","code":9}"#), |_, _| response(500, "")).await;
    assert!(retry("hec-9")(&send(&*splunk, 2).await));
    assert!(seen.lock().unwrap().polls.is_empty());
    // A poll that fails for now says nothing.
    let busy = |poll, ids: &[u64]| if poll < 2 { response(503, "") } else { acks(ids, |_| true) };
    let (splunk, _) = collector(numbered, busy).await;
    assert_eq!(send(&*splunk, 2).await, DELIVERED);
}
