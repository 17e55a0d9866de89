//! Status of a SiemExport: what the exporters say, with hysteresis, sums over pools, and few writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crds::siem_export::{DestinationState, LastTest, SiemExportStatus, TestOutcome};
use crds::status::Condition;
use exporter::api::wire::{self, State};
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator::conditions::Problem;
use operator::exporter::Unavailable;
use operator::siem_export::status::{Facts, PoolFacts, status};
use operator::siem_export::{Tester, test, validate};

use crate::input::Input;

const EXPORT: &str = "kind: SiemExport\nmetadata: {name: soc}\nspec: {poolRef: {name: prod}, test: {id: t1, destinations: [hec, lines]}, destinations: [{name: hec, syslog: {host: s.example.com}}, {name: lines, stdout: {}}, {name: spare, enabled: false, stdout: {}}]}";
const LEFT_OUT: &str = "kind: SiemExport\nmetadata: {name: soc}\nspec: {poolRef: {name: prod}, destinations: [{name: hec, splunk: {url: 'https://hec.example.com', tokenSecretRef: {name: none, key: k}}}, {name: lines, stdout: {}}]}";

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(1_800_000_000 + second).unwrap())
}

fn reported(name: &str, state: State, delivered: u64) -> wire::Destination {
    wire::Destination {
        id: format!("soc/{name}"),
        state,
        assurance: Some("Sent".into()),
        last_delivered_time: (delivered > 0).then(|| at(0).0),
        delivered,
        dropped: 1,
        lost: 2,
        possibly_lost: 3,
        backlog: Some(5),
        dead: 0,
        last_error_code: None,
        field: None,
        replay: None,
    }
}

fn answer(destinations: Vec<wire::Destination>) -> Option<Arc<wire::Destinations>> {
    let exports = vec![wire::Export { name: "soc".into(), unrouted: 7 }];
    Some(Arc::new(wire::Destinations { exports, destinations, ..wire::Destinations::default() }))
}

/// What one exporter says: the state of `hec`; the others are fine.
fn says(state: State) -> Option<Arc<wire::Destinations>> {
    let fine = |name| reported(name, State::Delivering, 10);
    let mut hec = reported("hec", state, 20);
    hec.field = (state == State::Rejected).then(|| "index".into());
    hec.last_error_code = (state != State::Delivering).then(|| "hec-7".into());
    answer(vec![hec, fine("lines"), reported("spare", State::Disabled, 0)])
}

struct Round<'a> {
    yaml: &'a str,
    previous: &'a SiemExportStatus,
    /// For each pool.
    answers: Vec<Option<Arc<wire::Destinations>>>,
    programmed: Option<bool>,
    /// The pool that has no exporter.
    without: &'static str,
    no_pool: Option<Problem>,
    broken_pool: Option<Problem>,
    tests: BTreeMap<String, LastTest>,
    at: i64,
    generation: i64,
}

impl<'a> Round<'a> {
    fn new(previous: &'a SiemExportStatus, state: State, at: i64) -> Self {
        let answers = vec![says(state)];
        Round {
            yaml: EXPORT,
            previous,
            answers,
            programmed: Some(true),
            without: "",
            no_pool: None,
            broken_pool: None,
            tests: BTreeMap::new(),
            at,
            generation: 1,
        }
    }

    fn run(self) -> (SiemExportStatus, Option<Duration>) {
        let input = Input::parse(self.yaml);
        let mut export = input.exports[0].clone();
        export.metadata.generation = Some(self.generation);
        let outcome = validate(&export, "prod", &input.references(&export));
        let names = ["prod", "test"];
        let pools = self.answers.into_iter().zip(names).map(|(answer, name)| PoolFacts {
            name,
            outcome: &outcome,
            answer,
            without_exporter: name == self.without,
            programmed: self.programmed.filter(|_| name != self.without),
        });
        status(&Facts {
            export: &export,
            previous: self.previous,
            now: at(self.at),
            pools: pools.collect(),
            no_pool: self.no_pool,
            broken_pool: self.broken_pool,
            tests: self.tests,
        })
    }
}

fn condition<'a>(status: &'a SiemExportStatus, type_: &str) -> &'a Condition {
    status.conditions.iter().find(|c| c.type_ == type_).unwrap_or_else(|| panic!("condition {type_}"))
}

fn delivering(status: &SiemExportStatus) -> (&str, &str) {
    let delivering = condition(status, "Delivering");
    (&delivering.status, &delivering.reason)
}

fn all_good() -> SiemExportStatus {
    Round::new(&SiemExportStatus::default(), State::Delivering, 0).run().0
}

#[test]
fn what_the_exporter_says_is_what_is_shown() {
    let status = all_good();
    assert_eq!(delivering(&status), ("True", "Delivering"));
    for type_ in ["Accepted", "ResolvedRefs", "Programmed"] {
        assert_eq!(condition(&status, type_).status, "True", "{type_}");
    }
    let hec = &status.destinations[0];
    assert_eq!((hec.state, hec.delivered, hec.dropped, hec.possibly_lost), (DestinationState::Delivering, 20, 3, 3));
    assert_eq!((hec.backlog, hec.assurance.as_deref(), status.unrouted), (Some(5), Some("Sent"), 7));
    assert_eq!(status.destinations[2].state, DestinationState::Disabled);
    let display = &status.display;
    assert_eq!((display.pool.as_str(), display.destinations, display.delivering.as_str()), ("prod", 3, "2/2"));
    assert_eq!((display.backlog, display.dropped), (15, 9));
}

#[test]
fn each_failure_of_a_new_export_has_its_reason_at_once() {
    for (state, reason, says_) in [
        (State::AuthRejected, "AuthRejected", "spec.destinations[hec]: the platform refuses the credential (hec-7)"),
        (State::Rejected, "Rejected", "the platform refuses every event (hec-7): correct index"),
        (State::Retrying, "Retrying", "is tried again"),
        (State::Invalid, "Invalid", "the exporter can not set it up (hec-7)"),
    ] {
        let (status, _) = Round::new(&SiemExportStatus::default(), state, 0).run();
        assert_eq!(delivering(&status), ("False", reason));
        let message = &condition(&status, "Delivering").message;
        assert!(message.contains(says_), "{message}");
        assert_eq!(status.display.delivering, "1/2");
    }
}

#[test]
fn a_text_that_is_no_code_never_reaches_the_status() {
    let mut hec = reported("hec", State::Rejected, 0);
    hec.last_error_code = Some("<script>planted".into());
    hec.field = Some("planted secret".into());
    let answers = vec![answer(vec![hec, reported("lines", State::Idle, 0), reported("spare", State::Disabled, 0)])];
    let (status, _) = Round { answers, ..Round::new(&SiemExportStatus::default(), State::Idle, 0) }.run();
    assert!(!serde_json::to_string(&status).unwrap().contains("planted"));
}

#[test]
fn nothing_sent_yet_is_unknown_and_not_a_success() {
    let idle = |delivered| {
        let one = |name| reported(name, State::Idle, delivered);
        let answers = vec![answer(vec![one("hec"), one("lines"), reported("spare", State::Disabled, 0)])];
        Round { answers, ..Round::new(&SiemExportStatus::default(), State::Idle, 0) }.run().0
    };
    assert_eq!(delivering(&idle(0)), ("Unknown", "Idle"));
    // A restarted exporter has sent nothing yet either.
    assert_eq!(delivering(&idle(4)), ("True", "Delivering"));
}

#[test]
fn a_blip_shorter_than_30_s_does_not_flip_delivering() {
    let good = all_good();
    let (blip, timer) = Round::new(&good, State::Retrying, 100).run();
    assert_eq!((delivering(&blip), timer), (("True", "Failing"), Some(Duration::from_secs(30))));
    assert_eq!(blip.destinations[0].state, DestinationState::Retrying);
    let (still, timer) = Round::new(&blip, State::AuthRejected, 120).run();
    assert_eq!((delivering(&still), timer), (("True", "Failing"), Some(Duration::from_secs(10))));
    let (down, _) = Round::new(&still, State::AuthRejected, 130).run();
    assert_eq!(delivering(&down), ("False", "AuthRejected"));
    assert_eq!(down.failing_since, None);
    let (healed, _) = Round::new(&blip, State::Delivering, 110).run();
    assert_eq!((delivering(&healed), healed.failing_since.as_ref()), (("True", "Delivering"), None));
}

#[test]
fn an_edit_waits_for_the_exporter_and_what_is_wrong_with_it_is_named_at_once() {
    let good = all_good();
    let (on_its_way, timer) =
        Round { programmed: Some(false), generation: 2, ..Round::new(&good, State::Delivering, 100) }.run();
    assert_eq!((delivering(&on_its_way), timer), (("True", "Failing"), Some(Duration::from_secs(30))));
    assert_eq!(condition(&on_its_way, "Programmed").reason, "NotProgrammed");
    let (wrong, _) = Round { generation: 2, ..Round::new(&good, State::Rejected, 101) }.run();
    assert_eq!(delivering(&wrong), ("False", "Rejected"));
}

#[test]
fn an_exporter_that_does_not_answer_is_named_after_the_grace() {
    let good = all_good();
    let silent = |previous, at| {
        Round { answers: vec![None], programmed: Some(false), ..Round::new(previous, State::Idle, at) }.run().0
    };
    let blip = silent(&good, 100);
    assert_eq!(delivering(&blip), ("True", "Failing"));
    let down = silent(&blip, 130);
    assert_eq!(delivering(&down), ("False", "ExporterNotReady"));
    assert_eq!(condition(&down, "Programmed").reason, "ExporterNotReady");
    // Its numbers are the last that are known.
    assert_eq!(down.destinations[0].delivered, 20);
}

#[test]
fn a_restarted_operator_unsays_nothing_before_it_has_looked() {
    for state in [State::Delivering, State::AuthRejected] {
        let before = Round::new(&SiemExportStatus::default(), state, 0).run().0;
        let unseen = Round { answers: vec![None], programmed: None, ..Round::new(&before, state, 500) };
        assert_eq!(unseen.run().0, before);
    }
}

#[test]
fn numbers_alone_are_written_at_most_once_a_minute() {
    let good = all_good();
    let more = |previous, delivered, at| {
        let one = |name, state, delivered| reported(name, state, delivered);
        let all = vec![
            one("hec", State::Delivering, delivered),
            one("lines", State::Delivering, 10),
            one("spare", State::Disabled, 0),
        ];
        Round { answers: vec![answer(all)], ..Round::new(previous, State::Delivering, at) }.run()
    };
    let (soon, timer) = more(&good, 21, 20);
    assert_eq!((&soon, timer), (&good, Some(Duration::from_secs(40))));
    let (later, _) = more(&good, 21, 60);
    assert_eq!((later.destinations[0].delivered, later.updated_time), (21, Some(at(60))));
    let (same, timer) = more(&good, 20, 600);
    assert_eq!((&same, timer), (&good, None), "nothing changed");
    // A state that changed takes the numbers along.
    let (state, _) = Round::new(&good, State::Retrying, 20).run();
    assert_eq!(state.updated_time, Some(at(20)));
}

#[test]
fn a_destination_that_is_left_out_is_named_and_the_others_are_shown() {
    let answers = vec![answer(vec![reported("lines", State::Delivering, 10)])];
    let nothing = SiemExportStatus::default();
    let (status, _) = Round { yaml: LEFT_OUT, answers, ..Round::new(&nothing, State::Idle, 0) }.run();
    assert_eq!(status.destinations[0].state, DestinationState::Invalid);
    assert!(status.destinations[0].message.as_deref().unwrap().contains("Secret none"));
    assert_eq!(status.destinations[1].state, DestinationState::Delivering);
    assert_eq!(condition(&status, "Accepted").status, "True");
    assert_eq!(condition(&status, "ResolvedRefs").reason, "SecretNotFound");
    assert_eq!(condition(&status, "Programmed").status, "True");
    assert_eq!(delivering(&status), ("False", "Invalid"));
    assert_eq!(status.display.delivering, "1/2");
}

#[test]
fn without_a_pool_it_waits_and_says_so() {
    let good = all_good();
    let none = || Some(Problem::new("PoolNotFound", "spec.poolRef.name: there is no Pool prod"));
    let (gone, _) = Round { answers: vec![], no_pool: none(), ..Round::new(&good, State::Idle, 10) }.run();
    assert_eq!(delivering(&gone), ("False", "PoolNotFound"));
    assert_eq!(condition(&gone, "Accepted").reason, "PoolNotFound");
    assert_eq!(condition(&gone, "Programmed").status, "False");
    let (back, _) = Round::new(&gone, State::Delivering, 20).run();
    assert_eq!(delivering(&back), ("True", "Delivering"));
}

#[test]
fn of_several_pools_numbers_are_sums_and_the_state_is_the_worst() {
    let nothing = SiemExportStatus::default();
    let answers = vec![says(State::Delivering), says(State::AuthRejected)];
    let (status, _) = Round { answers, ..Round::new(&nothing, State::Idle, 0) }.run();
    let hec = &status.destinations[0];
    assert_eq!((hec.state, hec.delivered, hec.backlog), (DestinationState::AuthRejected, 40, Some(10)));
    assert!(hec.message.as_deref().unwrap().starts_with("Pool test: "), "{:?}", hec.message);
    assert_eq!((status.unrouted, delivering(&status)), (14, ("False", "AuthRejected")));
    // A pool that does not answer would make the sums go back.
    let (silent, _) =
        Round { answers: vec![says(State::Delivering), None], ..Round::new(&status, State::Idle, 100) }.run();
    assert_eq!(silent.destinations[0].delivered, 40);
}

#[test]
fn a_pool_that_never_gets_an_exporter_is_named_and_the_others_are_shown() {
    let nothing = SiemExportStatus::default();
    let round = |previous, at| Round {
        answers: vec![says(State::Delivering), None],
        without: "test",
        ..Round::new(previous, State::Idle, at)
    };
    let (status, _) = round(&nothing, 0).run();
    let programmed = condition(&status, "Programmed");
    assert_eq!((programmed.status.as_str(), programmed.reason.as_str()), ("False", "ExporterNotReady"));
    assert!(programmed.message.starts_with("Pool test has no exporter"), "{}", programmed.message);
    assert_eq!(delivering(&status), ("False", "ExporterNotReady"));
    assert_eq!(status.destinations[0].message.as_deref(), Some("Pool test: the pool has no exporter yet"));
    // What the other one counts is counted.
    assert_eq!((status.destinations[0].delivered, status.unrouted), (20, 7));
    // While the other one was not asked yet, nothing is unsaid.
    let (kept, _) = Round { programmed: None, ..round(&all_good(), 10) }.run();
    assert_eq!(delivering(&kept), ("True", "Delivering"));
}

#[test]
fn a_malformed_export_says_that_it_delivers_nothing_and_keeps_what_was_counted() {
    let good = all_good();
    let status = operator::siem_export::status::malformed(Some(2), &good, "spec.privacy: expected a map", at(10));
    for type_ in ["Accepted", "Delivering"] {
        assert_eq!(
            (condition(&status, type_).status.as_str(), condition(&status, type_).reason.as_str()),
            ("False", "Malformed")
        );
    }
    assert_eq!(condition(&status, "Programmed").reason, "NotProgrammed");
    assert_eq!(condition(&status, "ResolvedRefs"), condition(&good, "ResolvedRefs"));
    assert_eq!(status.display.delivering, "0/3");
    for (now, before) in status.destinations.iter().zip(&good.destinations) {
        assert_eq!(now.state, DestinationState::Invalid);
        assert_eq!((now.delivered, &now.last_test), (before.delivered, &before.last_test));
    }
}

#[test]
fn a_malformed_pool_is_named_and_hides_no_other() {
    let broken = Some(Problem::new("PoolMalformed", "Pool bad does not fit its schema"));
    let good = all_good();
    let (status, _) = Round { broken_pool: broken, ..Round::new(&good, State::Delivering, 10) }.run();
    assert_eq!(condition(&status, "ResolvedRefs").reason, "PoolMalformed");
    assert_eq!(condition(&status, "Accepted").status, "True");
    assert_eq!(condition(&status, "Programmed").status, "True");
    assert_eq!(delivering(&status), ("True", "Delivering"));
}

#[test]
fn a_status_fits_its_schema() {
    let (status, _) = Round::new(&SiemExportStatus::default(), State::Rejected, 0).run();
    let mut export = Input::parse(EXPORT).exports[0].clone();
    export.status = Some(status.clone());
    let read: crds::SiemExport = serde_json::from_value(serde_json::to_value(&export).unwrap()).unwrap();
    assert_eq!(read.status, Some(status));
}

/// Exporters that answer as they are told, and count.
struct Scripted {
    asked: Mutex<Vec<String>>,
    results: BTreeMap<&'static str, wire::TestOutcome>,
}

impl Tester for Scripted {
    fn test<'a>(
        &'a self,
        pool: &'a str,
        export: &'a str,
        destination: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<wire::TestResult, Unavailable>> {
        self.asked.lock().unwrap().push(format!("{pool} {export}/{destination} {id}"));
        let result = self.results.get(pool).copied();
        let result = result.map(|result| wire::TestResult {
            result,
            assurance: Some("Accepted".into()),
            code: (result != wire::TestOutcome::Delivered).then(|| "hec-4".into()),
            field: None,
            milliseconds: pool.len() as u64,
        });
        Box::pin(std::future::ready(result.ok_or(Unavailable::NoPod)))
    }
}

fn run_tests(exporters: &Scripted, due: &[&str], pools: &[(&str, &str)]) -> (BTreeMap<String, LastTest>, bool) {
    let export = Input::parse(EXPORT).exports.remove(0);
    let run = test::run(&export, due, pools, exporters, || at(5));
    let (done, failed) = futures::executor::block_on(run);
    (done, failed.is_some())
}

#[test]
fn a_test_is_run_once_for_each_id_and_its_result_stays() {
    let export = Input::parse(EXPORT).exports.remove(0);
    let nothing = SiemExportStatus::default();
    assert_eq!(test::due(&export, &nothing), ["hec", "lines"]);
    let results = BTreeMap::from([("uid", wire::TestOutcome::Delivered)]);
    let exporters = Scripted { asked: Mutex::default(), results };
    let (tests, failed) = run_tests(&exporters, &["hec", "lines"], &[("prod", "uid")]);
    assert!(!failed);
    assert_eq!(*exporters.asked.lock().unwrap(), ["uid soc/hec t1", "uid soc/lines t1"]);
    let (status, _) = Round { tests, ..Round::new(&nothing, State::Delivering, 0) }.run();
    let last = status.destinations[0].last_test.as_ref().unwrap();
    assert_eq!((last.id.as_str(), last.result, last.milliseconds), ("t1", TestOutcome::Delivered, 3));
    assert_eq!(last.message, "The platform says that it took the test event.");
    assert!(test::due(&export, &status).is_empty(), "never twice");
    let (kept, _) = Round::new(&status, State::Retrying, 100).run();
    assert_eq!(kept.destinations[0].last_test, status.destinations[0].last_test);
    let mut again = export;
    again.spec.test.as_mut().unwrap().id = "t2".into();
    assert_eq!(test::due(&again, &kept), ["hec", "lines"]);
}

#[test]
fn a_test_in_several_pools_has_the_worst_result_and_none_while_one_does_not_answer() {
    let results = BTreeMap::from([("a", wire::TestOutcome::Delivered), ("b", wire::TestOutcome::Rejected)]);
    let exporters = Scripted { asked: Mutex::default(), results };
    let (tests, _) = run_tests(&exporters, &["hec"], &[("prod", "a"), ("test", "b")]);
    assert_eq!(tests["hec"].result, TestOutcome::Rejected);
    assert_eq!(tests["hec"].message, "Pool test: The platform refused the test event (hec-4).");
    let (tests, failed) = run_tests(&exporters, &["hec"], &[("prod", "a"), ("test", "silent")]);
    assert!(tests.is_empty() && failed);
}
