//! Transitions of a status, and the events that they mean.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crds::mcp_server::McpServerStatus;
use crds::pool::PoolStatus;
use crds::status::Condition;
use events::{Component, Record, ResourceKind, ResourceOperation, Source, Text};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};
use operator::audit::resource::Change;
use operator::audit::{Changes, Draft, Round, Subject, pool_changes, server_changes};
use operator::child::Written;
use proptest::prelude::*;
use serde_json::Value;

use crate::status::{Seen, healthy, round};

const START: i64 = 1_800_000_000;
const SUBJECT: Subject<'static> = Subject { pool: "pool-uid", uid: "pool-uid", generation: 3 };

fn time(second: i64) -> Time {
    Time(Timestamp::from_second(START + second).unwrap())
}

fn of(now: &Time) -> Round<'_> {
    Round { subject: SUBJECT, name: "prod", children: 12, ..Round::of_nothing(now, Duration::from_millis(48)) }
}

fn source() -> Source {
    let text = |raw| Text::new(raw).unwrap();
    Source {
        pool_id: text("pool-uid"),
        pool_name: Text::new("prod"),
        pool_namespace: Text::new("gateways"),
        cluster_id: Text::new("cluster-uid"),
        component: Component::Operator,
        version: text("0.1.0"),
        instance: text("ai-gateway-operator-7c9d"),
    }
}

fn records(drafts: Vec<Draft>) -> Vec<Record> {
    drafts.into_iter().zip(1..).map(|(draft, seq)| draft.record(&source(), seq)).collect()
}

/// An event in few words.
fn words(drafts: &[Draft]) -> Vec<String> {
    let said = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    records(drafts.to_vec())
        .iter()
        .map(|record| {
            let json: Value = serde_json::from_slice(&record.to_json()).unwrap();
            let keys = [
                "event",
                "severity",
                "lifecycle.component",
                "lifecycle.transition",
                "scaling.component",
                "scaling.ready",
                "scaling.desired",
                "phase.from",
                "phase.to",
                "phase.reason",
                "reconcile.kind",
                "reconcile.created",
                "reconcile.unchanged",
                "reconcile.error",
                "config.source",
            ];
            keys.iter().filter_map(|key| json.get(*key)).map(said).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// A pool from nothing to ready, through an outage and back: what is seen, and what is told of it.
fn life() -> Vec<(Seen, &'static [&'static str])> {
    let nothing = Seen { armor_ready: 0, redis_ready: 0, ..healthy() };
    vec![
        (
            nothing,
            &[
                "config_change info cluster",
                "component_lifecycle info armor deployed",
                "scaling warn armor 0 2",
                "component_lifecycle info redis deployed",
                "scaling warn redis 0 1",
                "pool_phase_changed info Pending NotReady",
                "reconciliation_complete info Pool 0 12",
            ],
        ),
        (Seen { armor_ready: 1, redis_ready: 0, at: 5, ..healthy() }, &[]),
        (
            Seen { at: 10, ..healthy() },
            &[
                "component_lifecycle info armor ready",
                "scaling info armor 2 2",
                "component_lifecycle info redis ready",
                "scaling info redis 1 1",
                "pool_phase_changed info Pending Active Ready",
            ],
        ),
        (
            Seen { armor_ready: 1, at: 100, ..healthy() },
            &["component_lifecycle warn armor degraded", "scaling warn armor 1 2"],
        ),
        (Seen { armor_ready: 0, at: 110, ..healthy() }, &[]),
        (Seen { armor_ready: 0, at: 131, ..healthy() }, &["pool_phase_changed error Active Error NotReady"]),
        (
            Seen { at: 140, ..healthy() },
            &[
                "component_lifecycle info armor recovered",
                "scaling info armor 2 2",
                "pool_phase_changed info Error Active Ready",
            ],
        ),
    ]
}

/// Every event of a life, and the statuses between which they happened.
fn lived() -> Vec<(PoolStatus, PoolStatus, Time, Vec<Draft>)> {
    let mut previous = PoolStatus::default();
    let mut told = Vec::new();
    for (seen, _) in life() {
        let now = time(seen.at);
        let (status, _) = round(&previous, &seen);
        let changes = pool_changes(&of(&now), &previous, &status);
        told.push((previous, status.clone(), now, changes.drafts));
        previous = status;
    }
    told
}

#[test]
fn each_transition_of_a_pool_is_told_once_and_a_steady_pool_is_silent() {
    let mut previous = PoolStatus::default();
    for (seen, expected) in life() {
        let now = time(seen.at);
        let (status, _) = round(&previous, &seen);
        let told = pool_changes(&of(&now), &previous, &status);
        assert_eq!(words(&told.drafts), expected, "at {} s", seen.at);
        for later in [0, 1, 29] {
            let seen = Seen { at: seen.at + later, ..seen.clone() };
            let (again, _) = round(&status, &seen);
            if again == status {
                let now = time(seen.at);
                assert_eq!(pool_changes(&of(&now), &status, &again), Changes::default(), "{later} s after {}", seen.at);
            }
        }
        previous = status;
    }
}

#[test]
fn events_of_a_life_are_valid_and_as_they_were() {
    let validator = jsonschema::options().should_validate_formats(true).build(&events::schema::schema()).unwrap();
    let mut drafts: Vec<Draft> = lived().into_iter().flat_map(|(_, _, _, drafts)| drafts).collect();
    let meta = object(1, &[("kubectl-client-side-apply", None, 20)]);
    let pool = Change::seen(ResourceKind::Pool, &meta, None, Some(None)).unwrap();
    drafts.insert(0, pool.draft("pool-uid"));
    let now = time(200);
    let failed = Round { untold: true, ..of(&now) };
    let (before, after) = (PoolStatus::default(), PoolStatus { conditions: refusal(201), ..PoolStatus::default() });
    drafts.extend(pool_changes(&failed, &before, &after).drafts);
    let records = records(drafts);
    for record in &records {
        let json: Value = serde_json::from_slice(&record.to_json()).unwrap();
        if let Err(error) = validator.validate(&json) {
            panic!("{error} at {}: {json}", error.instance_path);
        }
    }
    let names: BTreeSet<&str> = records.iter().map(|record| record.event.as_str()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    let ids: BTreeSet<String> = records.iter().map(|record| record.event_id.to_string()).collect();
    assert_eq!(ids.len(), records.len(), "two events share an id");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pure/golden/events.json");
    let told = serde_json::to_string_pretty(&records).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    similar_asserts::assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), told);
}

/// As another process reads the statuses: in whole seconds.
fn stored(status: &PoolStatus) -> PoolStatus {
    serde_json::from_str(&serde_json::to_string(status).unwrap()).unwrap()
}

#[test]
fn a_restarted_operator_gives_every_event_that_a_status_dates_the_same_id() {
    let mut dated = 0;
    for (previous, status, now, drafts) in lived() {
        let (later, fresh) = (time(10_000), Changes { drafts, owed: false });
        let again = pool_changes(&of(&later), &stored(&previous), &stored(&status));
        assert_eq!(words(&again.drafts), words(&fresh.drafts));
        for (first, second) in fresh.drafts.iter().zip(&again.drafts) {
            let is_dated = second.at.timestamp() != later.0;
            assert_eq!(first.id == second.id, is_dated);
            assert_eq!(first.at.timestamp(), Timestamp::from_second(now.0.as_second()).unwrap());
            dated += usize::from(is_dated);
        }
    }
    assert!(dated >= 12, "only {dated} events have a time of their own");
}

#[test]
fn a_component_that_flaps_is_told_each_time_and_never_twice() {
    let (mut status, _) = round(&PoolStatus::default(), &healthy());
    let mut ids = BTreeSet::new();
    for flip in 1..=20 {
        let seen = Seen { armor_ready: if flip % 2 == 0 { 2 } else { 1 }, at: flip, ..healthy() };
        let now = time(flip);
        let (next, _) = round(&status, &seen);
        let told = pool_changes(&of(&now), &status, &next).drafts;
        let transition = if flip % 2 == 0 { "info armor recovered" } else { "warn armor degraded" };
        assert_eq!(words(&told)[0], format!("component_lifecycle {transition}"));
        assert_eq!(told.len(), 2);
        ids.extend(told.iter().map(|draft| draft.id));
        status = next;
    }
    assert_eq!(ids.len(), 40);
}

#[test]
fn a_scaled_component_is_told_with_its_new_number() {
    let (status, _) = round(&PoolStatus::default(), &healthy());
    let scaled = |desired: i32, ready: i32| {
        let mut next = status.clone();
        (next.components[0].desired, next.components[0].ready) = (desired, ready);
        words(&pool_changes(&of(&time(9)), &status, &next).drafts)
    };
    assert_eq!(scaled(3, 2), ["scaling warn armor 2 3"]);
    assert_eq!(scaled(1, 1), ["scaling info armor 1 1"]);
    assert_eq!(scaled(0, 0), ["scaling info armor 0 0"]);
    assert_eq!(scaled(2, 2), [""; 0]);
}

#[test]
fn a_component_that_goes_is_removed_and_one_that_others_run_never_was_deployed() {
    let (status, _) = round(&PoolStatus::default(), &healthy());
    let mut without = status.clone();
    without.components.truncate(1);
    let now = time(9);
    assert_eq!(words(&pool_changes(&of(&now), &status, &without).drafts), ["component_lifecycle info redis removed"]);
    let mut external = status.clone();
    (external.components[1].image, external.components[1].desired, external.components[1].ready) = (None, 0, 0);
    let told = pool_changes(&of(&now), &without, &external).drafts;
    assert_eq!(words(&told), ["component_lifecycle info redis ready"]);
    assert_eq!(pool_changes(&of(&now), &external, &without), Changes::default());
    let told = words(&pool_changes(&of(&now), &status, &external).drafts);
    assert_eq!(told, ["component_lifecycle info redis removed", "scaling info redis 0 0"]);
}

fn condition(type_: &str, status: &str, reason: &str, second: i64) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        observed_generation: Some(3),
        last_transition_time: time(second),
        reason: reason.into(),
        message: "Secret planted-value, which spec.planted names".into(),
    }
}

fn refusal(second: i64) -> Vec<Condition> {
    vec![condition("Accepted", "True", "Accepted", 0), condition("ResolvedRefs", "False", "SecretNotFound", second)]
}

fn server(generation: i64, conditions: Vec<Condition>) -> McpServerStatus {
    McpServerStatus { observed_generation: Some(generation), conditions, ..McpServerStatus::default() }
}

#[test]
fn outcome_of_a_reconcile_is_told_when_it_changes() {
    let ok = || vec![condition("Accepted", "True", "Accepted", 0), condition("ResolvedRefs", "True", "Resolved", 0)];
    let other = || vec![condition("Accepted", "False", "NameConflict", 7)];
    let (success, failure) = ("reconciliation_complete info McpServer 0 12", "reconciliation_complete error McpServer");
    let first = McpServerStatus::default();
    let cases: &[(&str, McpServerStatus, McpServerStatus, Option<String>)] = &[
        ("the first", first, server(1, ok()), Some(success.into())),
        ("nothing new", server(1, ok()), server(1, ok()), None),
        ("a new spec", server(1, ok()), server(2, ok()), Some(success.into())),
        ("it begins to fail", server(1, ok()), server(1, refusal(7)), Some(format!("{failure} 0 12 SecretNotFound"))),
        ("it goes on failing", server(1, refusal(7)), server(1, refusal(7)), None),
        ("for another reason", server(1, refusal(7)), server(1, other()), Some(format!("{failure} 0 12 NameConflict"))),
        ("it goes well again", server(1, refusal(7)), server(1, ok()), Some(success.into())),
    ];
    for (name, before, after, expected) in cases {
        let now = time(9);
        let told = server_changes(&of(&now), before, after);
        assert_eq!(words(&told.drafts), expected.iter().cloned().collect::<Vec<_>>(), "{name}");
        // While something is tried again soon there is no outcome, but it is owed.
        let unfinished = server_changes(&Round { unfinished: true, ..of(&now) }, before, after);
        assert_eq!(unfinished, Changes { drafts: vec![], owed: expected.is_some() }, "{name}");
        let untold = server_changes(&Round { untold: true, ..of(&now) }, before, after);
        assert_eq!(untold.drafts.len(), 1, "{name}");
    }
    let now = time(9);
    let mended = Round { written: Written { created: 2, updated: 1, deleted: 1 }, ..of(&now) };
    let told = server_changes(&mended, &server(1, ok()), &server(1, ok()));
    assert_eq!(words(&told.drafts), ["reconciliation_complete info McpServer 2 9"]);
}

#[test]
fn failure_has_the_time_of_the_condition_that_turned() {
    let (before, after) = (server(1, vec![condition("ResolvedRefs", "True", "Resolved", 0)]), server(1, refusal(7)));
    let told = server_changes(&of(&time(9)), &before, &after).drafts;
    assert_eq!(told[0].at.timestamp(), time(7).0);
}

#[test]
fn no_message_of_a_status_is_in_an_event() {
    let (mut status, _) = round(&PoolStatus::default(), &healthy());
    status.conditions = refusal(3);
    (status.message, status.endpoint) = (Some("planted-value".into()), Some("http://planted-value".into()));
    status.components.iter_mut().for_each(|component| component.image = Some("registry/planted-value".into()));
    let told = records(pool_changes(&of(&time(9)), &PoolStatus::default(), &status).drafts);
    assert!(told.len() >= 7);
    for record in told {
        let json = String::from_utf8(record.to_json()).unwrap();
        assert!(!json.contains("planted"), "{json}");
    }
}

/// An object of this generation, created at second 1; managers with their subresource and time.
fn object(generation: i64, managers: &[(&str, Option<&str>, i64)]) -> ObjectMeta {
    let entry = |(manager, subresource, second): &(&str, Option<&str>, i64)| ManagedFieldsEntry {
        manager: Some((*manager).into()),
        subresource: subresource.map(str::to_owned),
        time: Some(time(*second)),
        ..ManagedFieldsEntry::default()
    };
    ObjectMeta {
        name: Some("crm".into()),
        uid: Some("object-uid".into()),
        generation: Some(generation),
        creation_timestamp: Some(time(1)),
        managed_fields: Some(managers.iter().map(entry).collect()),
        ..ObjectMeta::default()
    }
}

#[test]
fn change_of_an_object_is_told_once_wherever_the_operator_was() {
    let managers: &[(&str, Option<&str>, i64)] = &[
        ("argocd", None, 4),
        ("kubectl-edit", None, 8),
        ("kube-controller-manager", Some("scale"), 3),
        ("somebody", Some("status"), 99),
        ("ai-gateway-operator", None, 98),
        ("ai-gateway-operator-status", Some("status"), 97),
    ];
    let now = object(3, managers);
    let same = object(3, managers);
    let older = object(2, managers);
    let other = ObjectMeta { uid: Some("predecessor".into()), ..object(2, managers) };
    let leaving = ObjectMeta { deletion_timestamp: Some(time(50)), ..object(4, managers) };
    type Known<'a> = (Option<&'a ObjectMeta>, Option<Option<i64>>);
    type Case<'a> = (&'a str, &'a ObjectMeta, Known<'a>, Option<(ResourceOperation, i64)>);
    let cases: &[Case<'_>] = &[
        ("created", &now, (None, Some(None)), Some((ResourceOperation::Created, 1))),
        ("there before the operator", &now, (None, Some(Some(3))), None),
        ("changed while no operator ran", &now, (None, Some(Some(2))), Some((ResourceOperation::Changed, 8))),
        ("changed", &now, (Some(&older), Some(Some(2))), Some((ResourceOperation::Changed, 8))),
        ("status or labels alone", &now, (Some(&same), Some(Some(2))), None),
        ("made anew under its name", &now, (Some(&other), Some(None)), Some((ResourceOperation::Created, 1))),
        ("on its way out", &leaving, (Some(&now), Some(Some(3))), None),
        ("unreadable", &now, (None, None), None),
    ];
    for (name, meta, (before, observed), expected) in cases {
        let change = Change::seen(ResourceKind::McpServer, meta, *before, *observed);
        let told = change.map(|change| {
            let record = records(vec![change.draft("pool-uid")]).remove(0);
            assert_eq!(record.actor_manager.as_ref().map(Text::as_str), Some("kubectl-edit"), "{name}");
            (record.resource_operation.unwrap(), record.timestamp.timestamp().as_second() - START)
        });
        assert_eq!(told, *expected, "{name}");
    }
    let at = |meta| Change::deleted(ResourceKind::Pool, meta, time(60)).unwrap().draft("p").at.timestamp();
    assert_eq!((at(&leaving), at(&now)), (time(50).0, time(60).0));
}

#[test]
fn who_only_wrote_the_status_or_is_the_operator_is_no_actor() {
    let meta = object(1, &[("ai-gateway-operator", None, 5), ("x", Some("status"), 6)]);
    let change = Change::seen(ResourceKind::Pool, &meta, None, Some(None)).unwrap();
    let record = records(vec![change.draft("pool-uid")]).remove(0);
    assert_eq!(record.actor_manager, None);
}

proptest! {
    #[test]
    fn id_follows_from_what_happened_and_from_nothing_else(
        pool in "[a-f0-9-]{1,36}", uid in "[a-f0-9-]{1,36}", generation in 0..1_000i64, second in 0..4_000_000_000i64,
        nanos in 0..1_000_000_000i32, other in "[a-f0-9-]{1,36}", name in "[a-z]{1,20}",
    ) {
        let draft = |pool: &str, uid: &str, generation: i64, second: i64, nanos: i32, deleted: bool| {
            let meta = ObjectMeta {
                name: Some(name.clone()), uid: Some(uid.to_owned()), generation: Some(generation),
                creation_timestamp: Some(Time(Timestamp::new(second, nanos).unwrap())), ..ObjectMeta::default()
            };
            let at = meta.creation_timestamp.clone().unwrap();
            match deleted {
                true => Change::deleted(ResourceKind::Pool, &meta, at),
                false => Change::seen(ResourceKind::Pool, &meta, None, Some(None)),
            }.unwrap().draft(pool)
        };
        let first = draft(&pool, &uid, generation, second, nanos, false);
        prop_assert_eq!(&first, &draft(&pool, &uid, generation, second, 0, false), "parts of a second count");
        prop_assert_eq!(first.id.timestamp_ms(), u64::try_from(second).unwrap() * 1_000);
        let mut ids = BTreeSet::from([first.id]);
        prop_assert!(ids.insert(draft(&pool, &uid, generation + 1, second, nanos, false).id));
        prop_assert!(ids.insert(draft(&pool, &uid, generation, second + 1, nanos, false).id));
        prop_assert!(ids.insert(draft(&pool, &uid, generation, second, nanos, true).id));
        prop_assert_eq!(ids.insert(draft(&other, &uid, generation, second, nanos, false).id), other != pool);
        prop_assert_eq!(ids.insert(draft(&pool, &format!("{uid}{other}"), generation, second, nanos, false).id), true);
    }
}
