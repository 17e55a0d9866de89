//! A running trail, and what it wrote.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use armor::audit::{
    Audit, AuditConfig, AuditSettings, AuthMethod, CallGuard, CallStart, Caller, Outcome, Parameters, User,
};
use events::{EventName, Record, Text};
use redis::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use testkit::redis_server::{PATIENCE, Server};

pub const STREAM: &str = "audit:{pool-uid}:events";
/// More than any test writes.
pub const AMPLE: u64 = 256 * 1024 * 1024;

pub struct Trail {
    pub audit: Audit,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

pub fn settings(url: &str, stream_max_bytes: u64) -> AuditSettings {
    AuditSettings {
        redis: daemon::redis::Settings { url: url.into(), password: None, ca_pem: None },
        stream: STREAM.into(),
        stream_max_bytes,
        parameters: Parameters::Names,
    }
}

impl Trail {
    pub fn start(settings: AuditSettings) -> Self {
        let shutdown = CancellationToken::new();
        let config = AuditConfig {
            pool_id: "pool-uid".into(),
            pool_name: "pool-name".into(),
            pool_namespace: "pool-namespace".into(),
            cluster_id: None,
            version: "1.2.3".into(),
            instance: "instance-name".into(),
            settings,
        };
        let (audit, task) = Audit::start(config, shutdown.clone()).unwrap();
        Self { audit, shutdown, task: tokio::spawn(task) }
    }

    pub fn to(server: &Server) -> Self {
        Self::start(settings(&server.url(), AMPLE))
    }

    pub fn open(&self, request_id: &str) -> CallGuard {
        open(&self.audit, request_id)
    }

    /// Calls that succeed at once, with request ids that count from `first`.
    pub fn calls(&self, first: usize, count: usize) {
        for number in first..first + count {
            let mut call = self.open(&format!("call-{number}"));
            call.route("crm", "create_ticket");
            call.outcome(Outcome::Success);
            call.close();
        }
    }

    /// The same with events of nearly 16 KiB: 2,100 of them are more than Armor holds of what it wrote.
    pub fn long_calls(&self, first: usize, count: usize) {
        let names: Vec<String> = (0..64).map(|number| format!("{number:0240}")).collect();
        let arguments: BTreeMap<&str, u8> = names.iter().map(|name| (name.as_str(), 0)).collect();
        let arguments = serde_json::to_vec(&arguments).unwrap();
        for number in first..first + count {
            let mut call = self.open(&format!("call-{number}"));
            call.parameters(Some(&arguments), |_| true);
            call.outcome(Outcome::Success);
            call.close();
        }
    }

    /// Ends it as Armor ends it, and says how long that took.
    pub async fn stop(self) -> Duration {
        let started = Instant::now();
        self.shutdown.cancel();
        self.task.await.unwrap();
        started.elapsed()
    }
}

pub fn open(audit: &Audit, request_id: &str) -> CallGuard {
    let user = User { id: Text::new("user-id"), ..User::default() };
    audit.open_call(CallStart {
        started: Instant::now(),
        caller: Caller { user: Arc::new(user), auth_method: Some(AuthMethod::ApiKey), ..Caller::default() },
        agent: Default::default(),
        request_id,
        trace_id: None,
        request_bytes: 100,
    })
}

type Fields = Vec<(String, Vec<u8>)>;

/// All that is in the stream, read as the exporter will read it.
pub fn records(server: &Server) -> Vec<Record> {
    read(server, &["XRANGE", STREAM, "-", "+"])
}

/// What was added last.
pub fn newest(server: &Server) -> Option<Record> {
    read(server, &["XREVRANGE", STREAM, "+", "-", "COUNT", "1"]).pop()
}

fn read(server: &Server, command: &[&str]) -> Vec<Record> {
    let entries: Vec<(String, Fields)> = server.command(command);
    entries
        .into_iter()
        .map(|(_, fields)| {
            let [(name, json)] = &fields[..] else { panic!("an entry has other fields than one: {fields:?}") };
            assert_eq!(name, "event");
            Record::from_json(json).unwrap()
        })
        .collect()
}

pub fn length(server: &Server) -> usize {
    match server.command(&["XLEN", STREAM]) {
        Value::Int(length) => usize::try_from(length).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub fn of(records: &[Record], event: EventName) -> Vec<&Record> {
    records.iter().filter(|r| r.event == event).collect()
}

/// The request ids of the `tool_call`s, sorted; one that is there twice is there twice.
pub fn request_ids(records: &[Record]) -> Vec<String> {
    let calls = of(records, EventName::ToolCall);
    let mut ids: Vec<String> = calls.iter().filter_map(|call| Some(call.request_id.as_ref()?.to_string())).collect();
    ids.sort();
    ids
}

pub fn expected_ids(count: usize) -> Vec<String> {
    let mut ids: Vec<String> = (0..count).map(|number| format!("call-{number}")).collect();
    ids.sort();
    ids
}

/// How many events were announced as lost.
pub fn announced(records: &[Record]) -> u64 {
    let announcements = of(records, EventName::EventsDropped);
    announcements.iter().filter_map(|r| r.dropped_count).sum()
}

pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
