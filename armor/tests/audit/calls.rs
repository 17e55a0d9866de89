//! One event per call, however it ends.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use armor::audit::{
    AuditError, AuthFailure, ConfigSource, ErrorCause, Outcome, Parameters, Reason, Refusal, RefusalCause, RouteCause,
    UpstreamCause,
};
use events::{Action, EventName, Severity, Status};
use tokio::task::JoinSet;

use testkit::redis_server::Server;

use crate::trail::{AMPLE, Trail, expected_ids, of, open, records, request_ids, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_that_end_in_every_way_are_ten_thousand_events() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let audit = trail.audit.clone();
        callers.spawn(async move {
            for number in (caller..10_000).step_by(8) {
                let mut call = open(&audit, &format!("call-{number}"));
                match number % 4 {
                    0 => call.outcome(Outcome::Success),
                    1 => call.outcome(Outcome::Blocked(Reason::AuthzDenied)),
                    // The caller goes away while the answer is awaited: the future is dropped.
                    2 => {
                        let answer = async move {
                            std::future::pending::<()>().await;
                            call.close();
                        };
                        let _ = tokio::time::timeout(Duration::ZERO, answer).await;
                        continue;
                    }
                    _ => call.outcome(Outcome::Error(ErrorCause::Tool)),
                }
                if number % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let metrics = trail.audit.metrics().clone();
    trail.stop().await;

    let records = records(&server);
    assert_eq!(metrics.events_dropped(), 0);
    assert_eq!(request_ids(&records), expected_ids(10_000));
    let ids: BTreeSet<_> = records.iter().map(|r| r.event_id).collect();
    assert_eq!(ids.len(), 10_000);
    let mut numbers: Vec<u64> = records.iter().map(|r| r.component_seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=10_000).collect::<Vec<_>>());
    let with = |status| records.iter().filter(|r| r.status == Some(status)).count();
    assert_eq!([Status::Success, Status::Blocked, Status::Error].map(with), [2_500, 2_500, 5_000]);
    let given_up = records.iter().filter(|r| r.message.as_str().contains("client disconnected"));
    assert_eq!(given_up.count(), 2_500);
}

#[tokio::test]
async fn call_is_told_as_far_as_it_got() {
    let server = Server::running(&[]);
    let key = daemon::hash::HashKey::new(b"a key of at least sixteen bytes").unwrap();
    let mut settings = settings(&server.url(), AMPLE);
    settings.parameters = Parameters::NamesAndHashes(key.clone());
    let trail = Trail::start(settings);
    let arguments = br#"{"title": "secret title", "hunter2": 1}"#;
    let mut call = trail.open("call-0");
    call.route("crm", "create_ticket");
    call.parameters(Some(arguments), |name| name == "title");
    call.definition_hash("sha256:0123");
    call.http_status(200);
    call.rpc_code(-32000);
    call.upstream_time(Duration::from_micros(1_500));
    call.add_response_bytes(10);
    call.add_response_bytes(5);
    call.outcome(Outcome::Error(ErrorCause::Rpc));
    assert_eq!(call.reference().request_id.unwrap().as_str(), "call-0");
    drop(call);
    trail.open("call-1").close();
    let panicking = trail.open("call-2");
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _call = panicking;
        panic!("on purpose");
    }));
    assert!(caught.is_err());
    trail.stop().await;

    let records = records(&server);
    let [told, silent, panicked] = &records[..] else { panic!("{} records", records.len()) };
    assert_eq!(told.pool_id.as_str(), "pool-uid");
    assert_eq!(told.pool_namespace.as_ref().unwrap().as_str(), "pool-namespace");
    assert_eq!(told.component_instance.as_str(), "instance-name");
    assert_eq!(told.tool_name.as_ref().unwrap().as_str(), "create_ticket");
    assert_eq!(told.mcp_server_name.as_ref().unwrap().as_str(), "crm");
    assert_eq!(told.mcp_method.as_ref().unwrap().as_str(), "tools/call");
    assert_eq!((told.status, told.action), (Some(Status::Error), Some(Action::Allowed)));
    assert_eq!(told.severity, Severity::Warn);
    assert_eq!(told.rpc_error_code, Some(-32000));
    assert_eq!((told.request_bytes, told.response_bytes), (Some(100), Some(15)));
    assert_eq!(told.duration_upstream_ms, Some(Duration::from_micros(1_500).into()));
    assert!(told.duration_total_ms.is_some());
    assert_eq!(told.tool_parameter_unknown_count, Some(1));
    assert_eq!(
        told.tool_parameters_hash.as_ref().map(ToString::to_string),
        armor::audit::arguments_hash(&key, arguments)
    );
    let json = String::from_utf8(told.to_json()).unwrap();
    assert!(json.contains(r#""tool.parameter_fields":["title"]"#));
    assert!(!json.contains("secret title") && !json.contains("hunter2"));
    assert!(silent.message.as_str().contains("client disconnected"));
    assert!(panicked.message.as_str().contains("internal error"));
}

#[tokio::test]
async fn operational_events_go_at_once_and_their_repeats_are_joined() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    let audit = &trail.audit;
    audit.config_change("rev-2", Some("rev-1"), "sha256:00", ConfigSource::Directory);
    for number in 0..30 {
        let call = trail.open(&format!("call-{number}"));
        audit.upstream_error("crm", UpstreamCause::Timeout, None, call.reference());
        audit.upstream_error("mail", UpstreamCause::Http, Some(503), call.reference());
        audit.route_not_found(RouteCause::UnknownTool, call.reference());
    }
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    for number in 0..5 {
        audit.refuse(&Refusal {
            client_ip: address,
            cause: RefusalCause::Credential(AuthFailure::Missing),
            method: Some(["tools/call", "tools/list"][number % 2]),
            user: None,
            request_id: &format!("refused-{number}"),
            trace_id: None,
            session_id: None,
            user_agent: None,
            http_status: 401,
            rpc_code: None,
        });
    }
    trail.stop().await;

    let records = records(&server);
    let counts = |event| -> Vec<Option<u64>> { of(&records, event).iter().map(|r| r.repeat_count).collect() };
    assert_eq!(counts(EventName::ConfigChange), [None]);
    assert_eq!(counts(EventName::UpstreamError), [None, None, Some(29), Some(29)]);
    assert_eq!(counts(EventName::RouteNotFound), [None, Some(29)]);
    assert_eq!(counts(EventName::AuthDenied), [None, Some(4)]);

    let first = of(&records, EventName::UpstreamError)[1];
    assert_eq!(first.http_status_code, Some(503));
    assert_eq!(first.request_id.as_ref().unwrap().as_str(), "call-0");
    assert_eq!(first.user_id.as_ref().unwrap().as_str(), "user-id");
    let joined = of(&records, EventName::RouteNotFound)[1];
    assert_eq!(joined.request_id, None);
    assert_eq!(joined.user_id.as_ref().unwrap().as_str(), "user-id");
    assert_eq!(joined.repeat_request_ids.as_ref().unwrap().as_slice().len(), 20);

    // Three of the five refused requests were calls: one goes at once, two are joined.
    let calls = of(&records, EventName::ToolCall);
    let refused: Vec<_> = calls.iter().filter(|c| c.status == Some(Status::Blocked)).collect();
    let counts: Vec<_> = refused.iter().map(|c| c.repeat_count).collect();
    assert_eq!(counts, [None, Some(2)]);
    assert_eq!(refused[0].http_status_code, Some(401));
    assert_eq!(refused[1].client_ip.as_ref().unwrap().as_str(), "192.0.2.1");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_and_the_old_ones_stay() {
    let server = Server::running(&[]);
    let trail = Trail::to(&server);
    let mut ca = settings("rediss://127.0.0.1:6379", AMPLE);
    ca.redis.ca_pem = Some(b"no certificate".to_vec());
    assert!(matches!(trail.audit.reconfigure(ca), Err(AuditError::Redis(daemon::redis::Invalid::Ca))));
    let url = settings("http://user:hunter2@127.0.0.1", AMPLE);
    assert!(!format!("{url:?}").contains("hunter2"));
    let error = trail.audit.reconfigure(url).unwrap_err();
    assert!(matches!(error, AuditError::Redis(daemon::redis::Invalid::Url)));
    assert!(!error.to_string().contains("hunter2"));
    trail.calls(0, 10);
    trail.stop().await;
    assert_eq!(request_ids(&records(&server)), expected_ids(10));
}
