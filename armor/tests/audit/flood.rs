//! More events than there is room for.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use armor::audit::{AuthFailure, Refusal, RefusalCause};
use events::{DroppedCause, EventName};

use testkit::redis_server::Server;

use crate::trail::{Trail, announced, expected_ids, of, records, request_ids, settings};

/// A stranger's refused `tools/list`.
fn refusal(number: u32, request_id: &str) -> Refusal<'_> {
    Refusal {
        client_ip: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)),
        cause: RefusalCause::Credential(AuthFailure::UnknownKey),
        method: Some("tools/list"),
        user: None,
        request_id,
        trace_id: None,
        session_id: None,
        user_agent: Some("flood"),
        http_status: 401,
        rpc_code: None,
    }
}

#[tokio::test]
async fn overflow_is_counted_exactly_and_announced_when_redis_is_back() {
    let mut server = Server::new(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 12_345);
    let metrics = trail.audit.metrics().clone();
    assert_eq!(metrics.events_dropped(), 2_345);
    server.start();
    trail.stop().await;

    let records = records(&server);
    assert_eq!(of(&records, EventName::ToolCall).len(), 10_000);
    assert_eq!(announced(&records), 2_345);
    let [loss] = of(&records, EventName::EventsDropped)[..] else { panic!("one announcement is enough") };
    assert_eq!(loss.dropped_cause, Some(DroppedCause::RedisUnavailable));
    assert!(loss.dropped_from <= loss.dropped_to);
    assert!(loss.message.as_str().contains("tool calls"));
    // The oldest fell out, and their numbers are the gap.
    let mut numbers: Vec<u64> = records.iter().map(|r| r.component_seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2_346..=12_346).collect::<Vec<_>>());
    assert_eq!(metrics.events_made(), 12_346);
}

#[tokio::test]
async fn flood_of_refusals_displaces_no_call() {
    let mut server = Server::new(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 100);
    for number in 0..50_000 {
        trail.audit.refuse(&refusal(number, "flood"));
    }
    trail.calls(100, 100);
    server.start();
    trail.stop().await;

    let records = records(&server);
    assert_eq!(request_ids(&records), expected_ids(200));
    // 10,000 strangers are kept apart, the others are one; each refusal is told once or counted as lost.
    let refusals = of(&records, EventName::AuthDenied);
    let told: u64 = refusals.iter().map(|r| r.repeat_count.unwrap_or(1)).sum();
    assert_eq!(told + announced(&records), 50_000);
    assert!(announced(&records) > 0);
    let overflow: Vec<_> = refusals.iter().filter(|r| r.repeat_count.is_some()).collect();
    assert_eq!(overflow.len(), 1);
    assert_eq!(overflow[0].client_ip, None);
    assert_eq!(overflow[0].repeat_count, Some(39_999));
}

#[tokio::test]
async fn flood_beside_a_working_redis_loses_no_call() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    for round in 0..100 {
        for number in 0..500 {
            trail.audit.refuse(&refusal(round * 500 + number, "flood"));
        }
        trail.calls(round as usize * 3, 3);
        tokio::task::yield_now().await;
    }
    trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(300));
}

/// On a machine that is slower than that it takes longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_with_50_000_requests_a_second_for_a_minute_pushes_no_call_out_of_the_stream() {
    const A_SECOND: u32 = 50_000;
    const LASTS: Duration = Duration::from_secs(60);
    const TICK: Duration = Duration::from_millis(2);
    const REFUSALS_PER_CALL: u32 = 100;
    /// For 30,000 calls and 10,000 strangers in each 10 s, also on a machine that takes two minutes; but not
    /// for an event of each request.
    const ROOM: u64 = 128 * 1024 * 1024;
    let server = Server::running(&[]);
    let trail = Trail::start(settings(&server.url(), ROOM));
    let audit = trail.audit.clone();
    let made = Arc::new(AtomicU32::new(0));
    let progress = Arc::clone(&made);
    let stranger = std::thread::spawn(move || {
        let began = Instant::now();
        let ticks = u32::try_from(LASTS.as_millis() / TICK.as_millis()).unwrap();
        for tick in 1..=ticks {
            // Many addresses, which are harder to join than one.
            for _ in 0..A_SECOND / 1_000 * u32::try_from(TICK.as_millis()).unwrap() {
                audit.refuse(&refusal(progress.fetch_add(1, Ordering::Relaxed), "flood"));
            }
            std::thread::sleep((TICK * tick).saturating_sub(began.elapsed()));
        }
        began.elapsed()
    });
    let mut calls = 0;
    let mut pace = tokio::time::interval(TICK);
    loop {
        let is_last = stranger.is_finished();
        // From the first second to the last, and so many however fast the machine is.
        let due = (made.load(Ordering::Relaxed) / REFUSALS_PER_CALL) as usize;
        trail.calls(calls, due - calls);
        calls = due;
        if is_last {
            break;
        }
        pace.tick().await;
    }
    let took = stranger.join().unwrap();
    let made = u64::from(made.load(Ordering::Relaxed));
    println!("{made} refused requests in {took:?}");
    assert_eq!((made, calls), (3_000_000, 30_000));
    trail.stop().await;

    let records = records(&server);
    let there = request_ids(&records);
    assert!(there == expected_ids(calls), "{} events of {calls} calls", there.len());
    let refusals = of(&records, EventName::AuthDenied);
    let told: u64 = refusals.iter().map(|r| r.repeat_count.unwrap_or(1)).sum();
    assert_eq!(told + announced(&records), made, "each refusal is told once or counted as lost");
    // An event for each would have pushed out everything that came before it, several times.
    let smallest = refusals.iter().map(|r| r.to_json().len()).min().unwrap();
    assert!(made * smallest as u64 > 5 * ROOM, "{smallest} bytes");
}
