//! Whatever comes in, what goes out is a valid event that fits.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, LazyLock};

use events::{
    Agent, Body, CallRef, Caller, Cost, Event, Message, Moment, Outcome, Reason, Record, Repeat, RouteCause,
    RouteNotFound, Source, Text, TextList, ToolCall, User, limits, schema,
};
use proptest::{collection::vec, option, prelude::*};

mod samples;

/// Strings that hurt: any characters, long ones, ones that JSON must escape.
fn raw() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        1 => "[\"\\\\]{200,600}",
        1 => "\\PC{0,400}",
        1 => "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}a]{0,50}",
        1 => Just("é\"".repeat(300)),
    ]
}

// Boxed, because the state of all texts of an event together is larger than a test's stack.
fn text() -> BoxedStrategy<Option<Text>> {
    option::of(raw()).prop_map(|raw| raw.as_deref().and_then(Text::new)).boxed()
}

prop_compose! {
    fn user()(email in text(), id in text(), issuer in text(), department in text(), groups in vec(raw(), 0..80).boxed()) -> Arc<User> {
        Arc::new(User { email, id, issuer, groups: TextList::new(groups), department })
    }
}

prop_compose! {
    fn caller()(user in user().boxed(), client_ip in text(), user_agent in text(), session_id in text()) -> Caller {
        Caller { user, client_ip, user_agent, auth_method: None, session_id }
    }
}

prop_compose! {
    fn agent()(id in text(), name in text(), version in text(), model in text()) -> Agent {
        Agent { id, name, version, model }
    }
}

prop_compose! {
    fn tool_call()(
        caller in caller().boxed(), agent in agent().boxed(), tool in text(), server in text(), method in text(),
        request_id in text(), trace_id in text(), definition_hash in text(), model in text(),
        fields in vec(raw(), 0..100).boxed(), numbers in any::<[u64; 4]>(), code in any::<i64>(),
    ) -> Body {
        let mut call = ToolCall::new(caller, Outcome::Blocked(Reason::BadRequest));
        call.agent = agent;
        call.tool = tool;
        call.server = server;
        call.method = method;
        call.request_id = request_id;
        call.trace_id = trace_id;
        call.definition_hash = definition_hash;
        call.parameter_fields = TextList::new(fields);
        call.rpc_code = Some(code);
        call.request_bytes = Some(numbers[0]);
        call.response_bytes = Some(numbers[1]);
        call.cost = Cost { input_tokens: Some(numbers[2]), output_tokens: Some(numbers[3]), model, usd: None };
        Body::ToolCall(Box::new(call))
    }
}

prop_compose! {
    fn route_not_found()(user in option::of(user().boxed()), request_id in text(), session_id in text(), client_ip in text()) -> Body {
        let call = CallRef { request_id, session_id, user };
        Body::RouteNotFound(RouteNotFound { cause: RouteCause::UnknownTool, client_ip, call })
    }
}

prop_compose! {
    fn event()(
        body in prop_oneof![tool_call().boxed(), route_not_found().boxed()],
        id in any::<u128>(), seq in any::<u64>(), ms in 0..4_000_000_000_000i64,
        repeat in option::of((any::<u64>(), vec(raw(), 0..30))),
    ) -> Event {
        Event {
            id: id.into(),
            at: Moment::new(jiff::Timestamp::from_millisecond(ms).unwrap()),
            seq,
            repeat: repeat.map(|(count, ids)| Repeat { count, request_ids: TextList::new(ids) }),
            body,
        }
    }
}

prop_compose! {
    fn source()(names in vec(text(), 4), required in vec(raw(), 3)) -> Source {
        let or = |raw: &String, other| Text::new(raw).or(Text::new(other)).unwrap();
        Source {
            pool_id: or(&required[0], "pool"),
            pool_name: names[0].clone(),
            pool_namespace: names[1].clone(),
            cluster_id: names[2].clone(),
            version: or(&required[1], "1"),
            instance: or(&required[2], "pod"),
            ..samples::source()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_event_is_valid_json_that_fits_and_reads_back_equal(event in event(), source in source()) {
        static VALIDATOR: LazyLock<jsonschema::Validator> =
            LazyLock::new(|| jsonschema::validator_for(&schema::schema()).unwrap());
        let json = event.clone().into_json(&source);
        prop_assert!(json.len() <= limits::EVENT_BYTES, "{} bytes", json.len());
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        if let Err(error) = VALIDATOR.validate(&value) {
            return Err(TestCaseError::fail(error.to_string()));
        }
        let record = Record::from_json(&json).unwrap();
        prop_assert_eq!(record.to_json(), json.clone());
        let text = String::from_utf8(json).unwrap();
        prop_assert!(!text.chars().any(char::is_control));
        for escaped in ["\\u00", "\\n", "\\u202"] {
            // An escaped backslash before the letter is text, not a control character.
            let plain = text.replace("\\\\", "");
            prop_assert!(!plain.contains(escaped));
        }
    }

    #[test]
    fn any_text_is_cut_at_a_character_and_says_so(raw in raw()) {
        let Some(text) = Text::new(&raw) else {
            return Ok(());
        };
        prop_assert!((1..=limits::TEXT_BYTES).contains(&text.as_str().len()));
        let again = Text::new(text.as_str()).unwrap();
        prop_assert_eq!(again.as_str(), text.as_str());
    }
}

/// The worst event that the types allow, with texts that JSON doubles.
fn worst() -> Event {
    let long = || Text::new(&"\"".repeat(1_000));
    let list = || vec!["\"".repeat(1_000); 100];
    let caller = Caller {
        user: Arc::new(User {
            email: long(),
            id: long(),
            issuer: long(),
            groups: TextList::new(list()),
            department: long(),
        }),
        client_ip: long(),
        user_agent: long(),
        auth_method: None,
        session_id: long(),
    };
    let mut call = ToolCall::new(caller, Outcome::RateLimited);
    call.agent = Agent { id: long(), name: long(), version: long(), model: long() };
    call.policy.name = long();
    call.policy.rule = long();
    call.tool = long();
    call.server = long();
    call.method = long();
    call.parameter_fields = TextList::new(list());
    call.request_id = long();
    call.trace_id = long();
    call.definition_hash = long();
    call.cost.model = long();
    Event {
        id: u128::MAX.into(),
        at: Moment::new(jiff::Timestamp::UNIX_EPOCH),
        seq: u64::MAX,
        repeat: Some(Repeat { count: u64::MAX, request_ids: TextList::new(list()) }),
        body: Body::ToolCall(Box::new(call)),
    }
}

fn worst_source() -> Source {
    let long = || Text::new(&"\\".repeat(1_000));
    Source {
        pool_id: long().unwrap(),
        pool_name: long(),
        pool_namespace: long(),
        cluster_id: long(),
        version: long().unwrap(),
        instance: long().unwrap(),
        ..samples::source()
    }
}

#[test]
fn worst_event_fits_and_keeps_its_verdict() {
    let record = worst().into_record(&worst_source());
    assert!(record.to_json().len() <= limits::EVENT_BYTES);
    assert_eq!(record.status, Some(events::Status::RateLimited));
    assert_eq!(record.component_seq, u64::MAX);
    assert!(record.user_email.is_some() && record.tool_name.is_some());
}

#[test]
fn what_is_cut_is_named_in_the_order_of_the_tables_from_the_end() {
    let names = |n: usize| (0..n).map(|i| format!("{i:0>200}"));
    let user = User { groups: TextList::new(names(32)), ..User::default() };
    let caller = Caller { user: Arc::new(user), ..Caller::default() };
    let mut call = ToolCall::new(caller, Outcome::Success);
    call.parameter_fields = TextList::new(names(64));
    call.rpc_code = Some(7);
    let event = Event {
        id: 1.into(),
        at: Moment::new(jiff::Timestamp::UNIX_EPOCH),
        seq: 1,
        repeat: None,
        body: Body::ToolCall(Box::new(call)),
    };
    let record = event.into_record(&samples::source());
    // The parameter names are last in the tables, and cutting them is enough.
    assert_eq!(record.truncated.unwrap(), ["tool.parameter_fields"]);
    let kept = record.tool_parameter_fields.unwrap().as_slice().len();
    assert!((30..64).contains(&kept), "{kept} names kept");
    assert_eq!(record.user_groups.unwrap().as_slice().len(), 32);
    assert_eq!(record.rpc_error_code, Some(7));
}

#[test]
fn message_that_is_too_long_is_not_read() {
    let long = format!("\"{}\"", "x".repeat(limits::MESSAGE_CHARS + 1));
    assert!(serde_json::from_str::<Message>(&long).is_err());
}
