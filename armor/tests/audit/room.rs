//! The trail's room in Redis, and the way there.

use std::net::TcpListener;

use events::{DroppedCause, EventName};
use prometheus_client::{encoding::text::encode, registry::Registry};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redis::Value;

use testkit::redis_server::Server;

use crate::trail::{
    AMPLE, STREAM, Trail, announced, eventually, expected_ids, length, newest, of, records, request_ids, settings,
};

#[tokio::test]
async fn stream_is_trimmed_to_about_its_room() {
    const ROOM: u64 = 2 * 1024 * 1024;
    let server = Server::running(&[]);
    let trail = Trail::start(settings(&server.url(), ROOM));
    for round in 0..4 {
        trail.calls(round * 5_000, 5_000);
        let last = (round as u64 + 1) * 5_000;
        eventually("the queue is empty", || newest(&server).is_some_and(|r| r.component_seq == last)).await;
    }
    trail.stop().await;
    let used: u64 = server.command(&["MEMORY", "USAGE", STREAM, "SAMPLES", "0"]);
    assert!((ROOM * 7 / 10..=ROOM * 13 / 10).contains(&used), "{used} bytes");
    let lifetime: i64 = server.command(&["TTL", STREAM]);
    assert!((600_000..=604_800).contains(&lifetime), "{lifetime} s");
}

#[tokio::test]
async fn stream_that_is_full_and_that_nobody_reads_takes_calls_and_leaves_sessions_their_room() {
    const ROOM: u64 = 4 * 1024 * 1024;
    const ROUNDS: usize = 6;
    const CALLS: usize = 5_000;
    let server = Server::running(&["--maxmemory", "32mb", "--maxmemory-policy", "noeviction"]);
    // Every SIEM is down: its group has read some, and goes on no more.
    let () = server.command(&["XGROUP", "CREATE", STREAM, "soc/splunk", "0", "MKSTREAM"]);
    let trail = Trail::start(settings(&server.url(), ROOM));
    let session = "x".repeat(10_000);
    for round in 0..ROUNDS {
        trail.calls(round * CALLS, CALLS);
        let last = ((round + 1) * CALLS) as u64;
        eventually("the queue is empty", || newest(&server).is_some_and(|r| r.component_seq == last)).await;
        let () = server.command(&["SET", &format!("session-{round}"), &session]);
        if round == 0 {
            let read = ["XREADGROUP", "GROUP", "soc/splunk", "a", "COUNT", "1000", "STREAMS", STREAM, ">"];
            let _: Value = server.command(&read);
        }
    }
    let metrics = trail.audit.metrics().clone();
    assert!(metrics.redis_is_up());
    trail.stop().await;
    assert_eq!((metrics.events_made(), metrics.events_dropped()), ((ROUNDS * CALLS) as u64, 0));
    let held = length(&server);
    assert!(held < ROUNDS * CALLS, "{held} events are less than there is room for");
    // What is there is the newest, without a gap.
    let numbers: Vec<u64> = records(&server).iter().map(|r| r.component_seq).collect();
    let first = (ROUNDS * CALLS - held + 1) as u64;
    assert_eq!(numbers, (first..=(ROUNDS * CALLS) as u64).collect::<Vec<_>>());
    for round in 0..ROUNDS {
        let kept: String = server.command(&["GET", &format!("session-{round}")]);
        assert_eq!(kept, session);
    }
}

#[tokio::test]
async fn nothing_is_added_to_a_redis_that_is_nearly_full() {
    const FILLERS: usize = 54;
    let server = Server::running(&["--maxmemory", "64mb", "--maxmemory-policy", "noeviction"]);
    let filler = "x".repeat(1_000_000);
    for number in 0..FILLERS {
        let () = server.command(&["SET", &format!("session-{number}"), &filler]);
    }
    let trail = Trail::to(&server);
    let mut registry = Registry::default();
    trail.audit.metrics().register(&mut registry);
    let full = |registry: &Registry| {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        let line = r#"audit_dropped_total{lane="call",cause="redis_full"} "#;
        let count = text.lines().find_map(|l| l.strip_prefix(line));
        count.map_or(0, |count| count.parse().unwrap())
    };
    // One more each time, until what falls out falls out because Redis is full.
    trail.calls(0, 10_000);
    let mut made = 10_000;
    eventually("the reason for the loss is known", || {
        trail.calls(made, 1);
        made += 1;
        full(&registry) >= 50
    })
    .await;
    let full = full(&registry);
    assert_eq!(length(&server), 0);
    assert!(!trail.audit.metrics().redis_is_up());

    for number in 0..FILLERS {
        let () = server.command(&["DEL", &format!("session-{number}")]);
    }
    trail.stop().await;
    let records = records(&server);
    let losses = of(&records, EventName::EventsDropped);
    let of_cause = |cause| -> u64 {
        let losses = losses.iter().filter(|r| r.dropped_cause == Some(cause));
        losses.filter_map(|r| r.dropped_count).sum()
    };
    assert_eq!(of_cause(DroppedCause::RedisFull), full);
    assert_eq!(announced(&records), made as u64 - 10_000);
    assert_eq!(of(&records, EventName::ToolCall).len(), 10_000);
}

#[tokio::test]
async fn events_that_redis_itself_refuses_wait_and_are_added_once() {
    // Some services forbid INFO; Armor can not know when to stop then.
    let server =
        Server::running(&["--maxmemory", "10mb", "--maxmemory-policy", "noeviction", "--rename-command", "INFO", ""]);
    let () = server.command(&["SETRANGE", "session", "6000000", "x"]);
    let trail = Trail::to(&server);
    trail.calls(0, 8_000);
    eventually("Redis is full", || length(&server) > 0 && !trail.audit.metrics().redis_is_up()).await;
    assert!(length(&server) < 8_000);
    let () = server.command(&["DEL", "session"]);
    eventually("the others are there", || length(&server) >= 8_000).await;
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(8_000));
    assert_eq!((metrics.events_dropped(), metrics.events_readded()), (0, 0));
}

#[tokio::test]
async fn redis_is_reached_by_tls_with_a_private_authority_and_only_with_it() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca_file = file("ca.crt", ca.pem());
    let certificate_file = file("tls.crt", certificate.pem());
    let key_file = file("tls.key", key.serialize_pem());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::running(&[
        "--bind",
        "127.0.0.1",
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate_file,
        "--tls-key-file",
        &key_file,
        "--tls-ca-cert-file",
        &ca_file,
        "--tls-auth-clients",
        "no",
    ]);

    let url = format!("rediss://localhost:{port}");
    let trail = Trail::start(settings(&url, AMPLE));
    trail.calls(0, 10);
    let mut trusting = settings(&url, AMPLE);
    trusting.redis.ca_pem = Some(ca.pem().into_bytes());
    assert!(!trail.audit.metrics().redis_is_up());
    trail.audit.reconfigure(trusting).unwrap();
    eventually("the authority is trusted", || length(&server) == 10).await;
    trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(10));
}
