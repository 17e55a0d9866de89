//! Redis goes away, hangs, and comes back with less.

use std::{fs, time::Duration};

use events::EventName;

use testkit::redis_server::Server;

use crate::trail::{AMPLE, Trail, announced, eventually, expected_ids, length, of, records, request_ids, settings};

#[tokio::test]
async fn calls_during_an_outage_arrive_once_when_redis_is_back() {
    let mut server = Server::running(&["--appendonly", "yes", "--appendfsync", "always"]);
    let trail = Trail::to(&server);
    trail.calls(0, 500);
    eventually("the first calls are in the stream", || length(&server) == 500).await;
    for round in 1..=3 {
        server.kill();
        trail.calls(round * 500, 250);
        eventually("the outage is noticed", || !trail.audit.metrics().redis_is_up()).await;
        trail.calls(round * 500 + 250, 250);
        server.start();
        eventually("the calls of the outage are in the stream", || length(&server) >= (round + 1) * 500).await;
    }
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    let records = records(&server);
    assert_eq!(request_ids(&records), expected_ids(2_000));
    assert_eq!((metrics.events_dropped(), metrics.events_readded()), (0, 0));
}

#[tokio::test]
async fn what_redis_lost_of_the_last_seconds_is_added_again() {
    let mut server = Server::running(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 50);
    eventually("the first calls are in the stream", || length(&server) == 50).await;
    let () = server.command(&["SAVE"]);
    trail.calls(50, 70);
    eventually("all calls are in the stream", || length(&server) == 120).await;
    let before = records(&server);

    // Comes back as of the SAVE.
    server.kill();
    assert!(fs::exists(server.folder().join("dump.rdb")).unwrap());
    server.start();
    eventually("the lost calls are added again", || length(&server) >= 120).await;
    assert_eq!(trail.audit.metrics().events_readded(), 70);
    let ids = |records: &[events::Record]| -> Vec<_> {
        let mut ids: Vec<_> = records.iter().map(|r| r.event_id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&records(&server)), ids(&before));

    // Comes back with nothing.
    server.kill();
    fs::remove_file(server.folder().join("dump.rdb")).unwrap();
    server.start();
    trail.calls(120, 10);
    eventually("everything is there again", || length(&server) >= 130).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(130));
    assert_eq!(metrics.events_dropped(), 0);
}

#[tokio::test]
async fn entries_of_a_frozen_redis_are_looked_for_before_they_are_added_again() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 10);
    eventually("the first calls are in the stream", || length(&server) == 10).await;
    server.signal("STOP");
    // Sent into a socket that nobody reads: when Redis goes on, it finds them there.
    trail.calls(10, 40);
    eventually("the silence is noticed", || !trail.audit.metrics().redis_is_up()).await;
    trail.calls(50, 50);
    server.signal("CONT");
    eventually("all calls are in the stream", || length(&server) >= 100).await;
    trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(100));
}

#[tokio::test]
async fn tail_is_flushed_at_the_end() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 5_000);
    let open = trail.open("call-5000");
    drop(open);
    let took = trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(5_001));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn end_does_not_wait_for_a_redis_that_is_away() {
    let server = Server::new(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 25);
    let metrics = trail.audit.metrics().clone();
    let late = trail.open("call-25");
    let took = trail.stop().await;
    drop(late);
    assert!(took < Duration::from_secs(7), "{took:?}");
    assert_eq!(metrics.events_dropped(), 26);
}

#[tokio::test]
async fn end_waits_for_a_redis_that_comes_back_in_time() {
    let mut server = Server::new(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 25);
    let stopping = tokio::spawn(trail.stop());
    tokio::task::yield_now().await;
    server.start();
    stopping.await.unwrap();
    assert_eq!(request_ids(&records(&server)), expected_ids(25));
}

#[tokio::test]
async fn changed_password_is_used_and_nothing_is_lost_meanwhile() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    trail.calls(0, 10);
    eventually("the first calls are in the stream", || length(&server) == 10).await;
    let () = server.command(&["CONFIG", "SET", "requirepass", "second"]);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let () = redis::cmd("AUTH").arg("second").query(&mut connection).unwrap();
    // The old connection is cut, as by a restart with the new password.
    let () = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).query(&mut connection).unwrap();
    trail.calls(10, 10);
    eventually("the refusal is noticed", || !trail.audit.metrics().redis_is_up()).await;
    let mut changed = settings(&server.url(), AMPLE);
    changed.redis.password = Some("second".into());
    trail.audit.reconfigure(changed).unwrap();
    eventually("the new password is used", || trail.audit.metrics().redis_is_up()).await;
    let () = redis::cmd("CONFIG").arg(&["SET", "requirepass", ""]).query(&mut connection).unwrap();
    trail.calls(20, 10);
    trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(30));
}

#[tokio::test]
async fn key_of_another_type_holds_events_until_it_is_gone() {
    let server = Server::running(&[]);
    let () = server.command(&["SET", crate::trail::STREAM, "in the way"]);
    let trail = Trail::to(&server);
    trail.calls(0, 10_005);
    eventually("the refusal is noticed", || {
        trail.audit.metrics().events_dropped() > 0 && !trail.audit.metrics().redis_is_up()
    })
    .await;
    let () = server.command(&["DEL", crate::trail::STREAM]);
    trail.stop().await;
    let records = records(&server);
    let calls = of(&records, EventName::ToolCall).len() as u64;
    assert_eq!(calls + announced(&records), 10_005);
}
