//! Events: the published samples, and generated ones whose texts are hostile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::{
    Agent, AuthMethod, Body, Caller, Component, Cost, Event, EventsDropped, Moment, Outcome, Policy, Reason, Record,
    Repeat, RouteCause, RouteNotFound, Source, Text, TextList, ToolCall, User,
};
use exporter::destination::Routed;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

/// An event as it comes out of privacy.
#[derive(Clone, Debug)]
pub struct Case {
    pub record: Record,
    pub canonical: Vec<u8>,
}

impl Case {
    pub fn new(record: Record) -> Self {
        let canonical = record.to_json();
        Self { record, canonical }
    }

    pub fn routed(&self) -> Routed<'_> {
        Routed { record: &self.record, canonical: &self.canonical, level: None, index: None }
    }

    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.canonical).unwrap()
    }

    /// Another key at the end, as privacy writes hashes.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.canonical.pop();
        let pair = format!(",{}:{}}}", serde_json::json!(key), serde_json::json!(value));
        self.canonical.extend_from_slice(pair.as_bytes());
        self
    }
}

/// The published samples with their names, in the order of the names.
pub fn samples() -> Vec<(String, Case)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events/samples");
    let mut samples: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, Case::new(Record::from_json(&std::fs::read(path).unwrap()).unwrap()))
        })
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(samples.len() >= 12);
    samples
}

/// Texts that hurt: quotes, brackets, backslashes, equals signs, pipes, line breaks, control characters, templates,
/// emoji.
pub fn raw() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<String>(),
        3 => "[\"\\\\\\]\\[=|<>%${},;: \n\r\t\u{0}-\u{1f}a-z]{1,40}",
        1 => "[\"\\\\\\]]{200,300}",
        1 => Just("${jndi:ldap://x}".to_owned()),
        1 => Just("]\" user=\"root\"] <14>1 - - - - - -\n<14>1 ".to_owned()),
        1 => Just("😀é".repeat(60)),
        1 => Just("x".repeat(256)),
    ]
}

fn text() -> BoxedStrategy<Option<Text>> {
    option::of(raw()).prop_map(|raw| raw.as_deref().and_then(Text::new)).boxed()
}

prop_compose! {
    fn caller()(texts in vec(text(), 8), groups in vec(raw(), 0..12)) -> Caller {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().flatten();
        Caller {
            user: Arc::new(User {
                email: next(), id: next(), issuer: next(), department: next(), groups: TextList::new(groups),
            }),
            client_ip: next(), user_agent: next(), session_id: next(), auth_method: Some(AuthMethod::Jwt),
        }
    }
}

prop_compose! {
    fn tool_call()(
        caller in caller(), texts in vec(text(), 13), fields in vec(raw(), 0..20), numbers in any::<[u64; 4]>(),
        code in any::<i64>(), micros in 0..1u64 << 40, blocked in any::<bool>(),
    ) -> Body {
        let outcome = if blocked { Outcome::Blocked(Reason::AuthzDenied) } else { Outcome::Success };
        let mut texts = texts.into_iter();
        let mut next = || texts.next().flatten();
        let mut call = ToolCall::new(caller, outcome);
        call.agent = Agent { id: next(), name: next(), version: next(), model: next() };
        call.policy =
            Policy { name: next(), rule: next(), evaluated: Some(numbers[0]), evaluation: None };
        call.tool = next();
        call.server = next();
        call.method = next();
        call.definition_hash = next();
        call.request_id = next();
        call.trace_id = next();
        call.parameter_fields = TextList::new(fields);
        call.rpc_code = Some(code);
        call.total = Some(Duration::from_micros(micros).into());
        call.cost = Cost { input_tokens: Some(numbers[1]), output_tokens: Some(numbers[2]), model: next(), usd: None };
        Body::ToolCall(Box::new(call))
    }
}

fn body() -> impl Strategy<Value = Body> {
    let at = |s: i64| Moment::new(jiff::Timestamp::from_second(s).unwrap());
    prop_oneof![
        4 => tool_call(),
        1 => text().prop_map(|client_ip| Body::RouteNotFound(RouteNotFound {
            cause: RouteCause::UnknownTool, client_ip, call: events::CallRef::default(),
        })),
        1 => (1u64.., 0i64..1 << 32).prop_map(move |(count, s)| Body::EventsDropped(EventsDropped {
            what: events::Dropped::Calls, count, from: at(s), to: at(s + 5), cause: events::DroppedCause::RedisFull,
        })),
    ]
}

prop_compose! {
    fn source()(names in vec(text(), 3), required in vec(raw(), 3)) -> Source {
        let or = |raw: &String, other| Text::new(raw).or(Text::new(other)).unwrap();
        Source {
            pool_id: or(&required[0], "pool"),
            pool_name: names[0].clone(),
            pool_namespace: names[1].clone(),
            cluster_id: names[2].clone(),
            component: Component::Armor,
            version: or(&required[1], "1"),
            instance: or(&required[2], "pod"),
        }
    }
}

prop_compose! {
    /// Any event.
    pub fn case()(
        body in body(), source in source(), id in any::<u128>(), seq in any::<u64>(), ms in 0..4_000_000_000_000i64,
        ids in option::of(vec(raw(), 0..20)), hash in option::of(raw()),
    ) -> Case {
        let event = Event {
            id: id.into(),
            at: Moment::new(jiff::Timestamp::from_millisecond(ms).unwrap()),
            seq,
            repeat: ids.map(|ids| Repeat { count: 3, request_ids: TextList::new(ids) }),
            body,
        };
        let case = Case::new(event.into_record(&source));
        match hash {
            // Privacy may have hashed anything; what it writes is text.
            Some(hash) => case.with("user.email_hash", &hash),
            None => case,
        }
    }
}
