//! One event of each kind, and the files that are generated from them.
#![allow(clippy::unwrap_used, reason = "the texts are constants")]
#![allow(dead_code, reason = "no test needs all of it")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use events::{
    Agent, AuthDenied, AuthFailure, AuthMethod, BacklogAtRisk, Body, CallRef, Caller, Component, ComponentLifecycle,
    ConfigChange, ConfigSource, Cost, DeliveriesDropped, DestinationFailing, DestinationRecovered, Dropped,
    DroppedCause, ErrorCause, Event, EventsDropped, LifecycleTransition, Moment, Outcome, Policy, PoolPhase,
    PoolPhaseChanged, Reason, ReconciliationComplete, Repeat, ResourceChanged, ResourceKind, ResourceOperation,
    RouteCause, RouteNotFound, Scaling, Source, TestEvent, Text, TextList, ToolCall, UpstreamCause, UpstreamError, Usd,
    User, schema,
};

pub fn source() -> Source {
    Source {
        pool_id: text("5f1c3f52-8f2e-4b63-9a75-1de6d2f7a001"),
        pool_name: Text::new("prod"),
        pool_namespace: Text::new("gateways"),
        cluster_id: Text::new("0d5a6a1e-3c9f-4c1e-a6b0-2b7f1c9e8d02"),
        component: Component::Armor,
        version: text("0.1.0"),
        instance: text("prod-armor-6d5f7c9b8-x2x4v"),
    }
}

/// The samples by file name. The one that is named like its event has every key that the event can have.
pub fn events() -> BTreeMap<&'static str, Event> {
    let samples = [
        ("tool_call", call(full_call()), None),
        ("tool_call.minimal", call(ToolCall::new(Caller::default(), Outcome::Success)), None),
        ("tool_call.error", call(failed_call()), None),
        ("tool_call.blocked", call(blocked_call()), None),
        ("tool_call.rate_limited", call(ToolCall { outcome: Outcome::RateLimited, ..failed_call() }), None),
        ("tool_call.joined", call(refused_call()), Some(repeat())),
        (
            "auth_denied",
            Body::AuthDenied(AuthDenied {
                failure: AuthFailure::Expired,
                client_ip: Text::new("192.0.2.10"),
                call: call_ref(),
            }),
            None,
        ),
        (
            "auth_denied.joined",
            Body::AuthDenied(AuthDenied {
                failure: AuthFailure::UnknownKey,
                client_ip: Text::new("2001:db8:1:2::"),
                call: CallRef::default(),
            }),
            Some(repeat()),
        ),
        (
            "route_not_found",
            Body::RouteNotFound(RouteNotFound {
                cause: RouteCause::UnknownTool,
                client_ip: Text::new("192.0.2.10"),
                call: call_ref(),
            }),
            None,
        ),
        (
            "upstream_error",
            Body::UpstreamError(UpstreamError {
                server: text("crm"),
                cause: UpstreamCause::Http,
                http_status: Some(503),
                call: call_ref(),
            }),
            None,
        ),
        (
            "config_change",
            Body::ConfigChange(ConfigChange {
                revision: text("3f2a9c"),
                previous: Text::new("1b7e04"),
                hash: text("sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
                source: ConfigSource::Directory,
            }),
            None,
        ),
        (
            "events_dropped.armor",
            Body::EventsDropped(EventsDropped {
                what: Dropped::Calls,
                count: 1_204,
                from: moment(1_795_245_000_000),
                to: moment(1_795_245_061_500),
                cause: DroppedCause::RedisUnavailable,
            }),
            None,
        ),
        (
            "component_lifecycle",
            Body::ComponentLifecycle(ComponentLifecycle {
                component: Component::Redis,
                transition: LifecycleTransition::Degraded,
            }),
            None,
        ),
        ("scaling", Body::Scaling(Scaling { component: Component::Armor, desired: 3, ready: 2 }), None),
        (
            "reconciliation_complete",
            Body::ReconciliationComplete(ReconciliationComplete { error: Text::new("QuotaExceeded"), ..reconciled() }),
            None,
        ),
        ("reconciliation_complete.success", Body::ReconciliationComplete(reconciled()), None),
        (
            "pool_phase_changed",
            Body::PoolPhaseChanged(PoolPhaseChanged {
                from: Some(PoolPhase::Active),
                to: PoolPhase::Error,
                reason: Text::new("CrashLooping"),
            }),
            None,
        ),
        (
            "resource_changed",
            Body::ResourceChanged(ResourceChanged {
                kind: ResourceKind::McpServer,
                name: text("crm"),
                operation: ResourceOperation::Changed,
                manager: Text::new("kubectl-client-side-apply"),
            }),
            None,
        ),
        (
            "events_dropped",
            Body::DeliveriesDropped(DeliveriesDropped {
                destination: text("soc/splunk"),
                count: 52,
                from: moment(1_795_245_000_000),
                to: moment(1_795_245_061_500),
                cause: DroppedCause::Trimmed,
            }),
            None,
        ),
        (
            "destination_failing",
            Body::DestinationFailing(DestinationFailing { destination: text("soc/splunk"), cause: text("hec-4") }),
            None,
        ),
        (
            "destination_recovered",
            Body::DestinationRecovered(DestinationRecovered { destination: text("soc/splunk") }),
            None,
        ),
        ("backlog_at_risk", Body::BacklogAtRisk(BacklogAtRisk { destination: text("soc/splunk") }), None),
        (
            "test_event",
            Body::TestEvent(TestEvent { destination: text("soc/splunk"), test: text("2026-11-21-a") }),
            None,
        ),
    ];
    let mut seq = 0;
    samples
        .into_iter()
        .map(|(name, body, repeat)| {
            seq += 1;
            let at = moment(1_795_245_180_250);
            let id = ulid::Ulid::from_parts(at.unix_ms(), u128::from(seq));
            (name, Event { id, at, seq, repeat, body })
        })
        .collect()
}

/// The generated files: path from the crate's folder, and content.
pub fn generated() -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = events()
        .into_iter()
        .map(|(name, event)| (format!("samples/{name}.json"), pretty(&event.into_record(&source()))))
        .collect();
    files.insert(format!("schema/{}", schema::file_name()), pretty(&schema::schema()));
    files
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn text(raw: &str) -> Text {
    Text::new(raw).unwrap()
}

fn moment(unix_ms: i64) -> Moment {
    Moment::new(jiff::Timestamp::from_millisecond(unix_ms).unwrap())
}

fn call(call: ToolCall) -> Body {
    Body::ToolCall(Box::new(call))
}

fn reconciled() -> ReconciliationComplete {
    ReconciliationComplete {
        kind: ResourceKind::Pool,
        name: text("prod"),
        created: 2,
        updated: 1,
        deleted: 0,
        unchanged: 11,
        duration: Duration::from_micros(48_250),
        error: None,
    }
}

fn repeat() -> Repeat {
    Repeat { count: 412, request_ids: TextList::new(["01KAJ3F0RQ5V7T5T6R3QWYQ1ZB", "01KAJ3F0RS3J1S7M9N8V2C4X6Z"]) }
}

fn user() -> Arc<User> {
    Arc::new(User {
        email: Text::new("alice@example.com"),
        id: Text::new("00u1a2b3c4"),
        issuer: Text::new("https://id.example.com"),
        groups: TextList::new(["engineering", "oncall"]),
        department: Text::new("Platform"),
    })
}

fn call_ref() -> CallRef {
    CallRef { request_id: Text::new("01KAJ3EZ2M8W0V2B4N6H8K1P3R"), session_id: Text::new("s-7c1f"), user: Some(user()) }
}

fn full_call() -> ToolCall {
    ToolCall {
        caller: Caller {
            user: user(),
            client_ip: Text::new("192.0.2.10"),
            user_agent: Text::new("python-httpx/0.28"),
            auth_method: Some(AuthMethod::ApiKey),
            session_id: Text::new("s-7c1f"),
        },
        agent: Agent {
            id: Text::new("agent-17"),
            name: Text::new("support-bot"),
            version: Text::new("2.4.0"),
            model: Text::new("large-1"),
        },
        outcome: Outcome::Blocked(Reason::InterceptorDenied),
        policy: Policy {
            name: Text::new("no-secrets"),
            rule: Text::new("arguments"),
            evaluated: Some(3),
            evaluation: Some(Duration::from_micros(412).into()),
        },
        tool: Text::new("create_ticket"),
        server: Text::new("crm"),
        method: Text::new("tools/call"),
        parameter_fields: TextList::new(["body", "customer", "title"]),
        parameter_unknown_count: Some(1),
        parameters_hash: Text::new(
            "hmac-sha256:a1b2c3d4:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        ),
        definition_hash: Text::new("sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
        request_id: Text::new("01KAJ3EZ2M8W0V2B4N6H8K1P3R"),
        trace_id: Text::new("4bf92f3577b34da6a3ce929d0e0e4736"),
        total: Some(Duration::from_micros(48_213).into()),
        upstream: Some(Duration::from_micros(46_900).into()),
        http_status: Some(200),
        rpc_code: Some(403),
        request_bytes: Some(512),
        response_bytes: Some(1_834),
        cost: Cost {
            input_tokens: Some(180),
            output_tokens: Some(92),
            usd: Usd::new(0.0042),
            model: Text::new("large-1"),
        },
    }
}

fn failed_call() -> ToolCall {
    ToolCall {
        outcome: Outcome::Error(ErrorCause::ClientDisconnected),
        policy: Policy::default(),
        agent: Agent::default(),
        cost: Cost::default(),
        http_status: None,
        rpc_code: None,
        response_bytes: None,
        ..full_call()
    }
}

fn blocked_call() -> ToolCall {
    ToolCall { outcome: Outcome::Blocked(Reason::AuthzDenied), ..failed_call() }
}

fn refused_call() -> ToolCall {
    let caller = Caller { client_ip: Text::new("192.0.2.10"), ..Caller::default() };
    ToolCall::new(caller, Outcome::Blocked(Reason::AuthDenied))
}
