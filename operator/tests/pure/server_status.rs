//! Status of an McpServer: what the gateways say, with hysteresis, and never of another version of the server.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::mcp_server::McpServerStatus;
use crds::status::Condition;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator::armor::{Replica, ServerReport};
use operator::conditions::Problem;
use operator::mcp_server::Fault;
use operator::mcp_server::status::{Facts, status};

use crate::input::Input;

const SERVER: &str = "kind: McpServer\nmetadata: {name: crm}\nspec: {poolRef: {name: prod}, remote: {url: 'https://crm.example.com/mcp'}}";

struct Round<'a> {
    previous: &'a McpServerStatus,
    /// `state` and `reason` of the only gateway's report.
    report: Option<(&'a str, &'a str)>,
    programmed: Option<bool>,
    fault: Option<Fault>,
    at: i64,
}

impl Round<'_> {
    fn run(&self) -> (McpServerStatus, Option<Duration>) {
        self.run_at(Some("http://prod-armor.gateways.svc/mcp"))
    }

    fn run_without_pool(&self) -> McpServerStatus {
        self.run_at(None).0
    }

    fn run_at(&self, endpoint: Option<&str>) -> (McpServerStatus, Option<Duration>) {
        let input = Input::parse(SERVER);
        let replicas = self.report.map(|(state, reason)| {
            let report = ServerReport {
                name: "crm".into(),
                state: state.into(),
                reason: reason.into(),
                message: "crm.example.com answers HTTP 401: check spec.auth".into(),
                server: None,
                tools: None,
            };
            let servers = BTreeMap::from([("crm".to_owned(), report)]);
            BTreeMap::from([("pod".to_owned(), Replica { servers, ..Replica::default() })])
        });
        status(&Facts {
            server: &input.servers[0],
            previous: self.previous,
            now: Time(Timestamp::from_second(1_800_000_000 + self.at).unwrap()),
            fault: self.fault.as_ref(),
            resources: None,
            errors: &[],
            trouble: None,
            replicas: replicas.as_ref(),
            programmed: self.programmed,
            endpoint: endpoint.map(str::to_owned),
        })
    }
}

fn round<'a>(previous: &'a McpServerStatus, report: (&'a str, &'a str), at: i64) -> Round<'a> {
    Round { previous, report: Some(report), programmed: Some(true), fault: None, at }
}

fn condition<'a>(status: &'a McpServerStatus, type_: &str) -> &'a Condition {
    status.conditions.iter().find(|c| c.type_ == type_).unwrap_or_else(|| panic!("condition {type_}"))
}

fn ready(status: &McpServerStatus) -> (&str, &str) {
    let ready = condition(status, "Ready");
    (&ready.status, &ready.reason)
}

#[test]
fn ready_means_that_a_gateway_did_the_handshake() {
    let (connected, _) = round(&McpServerStatus::default(), ("Ready", "Connected"), 0).run();
    assert_eq!(ready(&connected), ("True", "Connected"));
    assert_eq!(condition(&connected, "Programmed").status, "True");
}

#[test]
fn wrong_credentials_of_a_new_server_are_named_at_once() {
    let (refused, _) = round(&McpServerStatus::default(), ("Failed", "OutboundAuthFailed"), 0).run();
    assert_eq!(ready(&refused), ("False", "OutboundAuthFailed"));
    assert!(condition(&refused, "Ready").message.contains("spec.auth"));
}

#[test]
fn a_blip_shorter_than_30_s_does_not_flip_ready() {
    let (connected, _) = round(&McpServerStatus::default(), ("Ready", "Connected"), 0).run();
    let (blip, timer) = round(&connected, ("Failed", "ConnectFailed"), 100).run();
    assert_eq!((ready(&blip), timer), (("True", "Failing"), Some(Duration::from_secs(30))));
    let (still, timer) = round(&blip, ("Failed", "ConnectFailed"), 120).run();
    assert_eq!((ready(&still), timer), (("True", "Failing"), Some(Duration::from_secs(10))));
    let (down, timer) = round(&still, ("Failed", "ConnectFailed"), 130).run();
    assert_eq!((ready(&down), timer), (("False", "ConnectFailed"), None));
    let (healed, _) = round(&blip, ("Ready", "Connected"), 110).run();
    assert_eq!(ready(&healed), ("True", "Connected"));
}

#[test]
fn a_failure_that_changes_its_words_does_not_begin_anew() {
    let (connected, _) = round(&McpServerStatus::default(), ("Ready", "Connected"), 0).run();
    let (mut failing, _) = round(&connected, ("Failed", "HttpError"), 100).run();
    for (reason, at) in [("Timeout", 110), ("ConnectFailed", 120), ("HttpError", 129)] {
        failing = round(&failing, ("Failed", reason), at).run().0;
        assert_eq!(ready(&failing), ("True", "Failing"), "{at}");
    }
    let (down, _) = round(&failing, ("Failed", "Timeout"), 130).run();
    assert_eq!(ready(&down), ("False", "Timeout"));
}

#[test]
fn a_server_whose_pool_is_gone_is_in_nobodys_configuration() {
    let (connected, _) = round(&McpServerStatus::default(), ("Ready", "Connected"), 0).run();
    let fault = Fault::NotAccepted(Problem::new("PoolNotFound", "spec.poolRef.name: there is no Pool prod"));
    let gone = Round { previous: &connected, report: None, programmed: None, fault: Some(fault), at: 10 };
    assert_eq!(condition(&gone.run_without_pool(), "Programmed").status, "False");
}

#[test]
fn a_report_of_another_version_of_the_server_counts_for_nothing() {
    let nothing = McpServerStatus::default();
    let other = Round { programmed: Some(false), ..round(&nothing, ("Ready", "Connected"), 0) };
    let (status, _) = other.run();
    assert_eq!(ready(&status), ("False", "NotProgrammed"));
    assert_eq!(condition(&status, "Programmed").status, "False");
}

#[test]
fn a_restarted_operator_unsays_nothing_before_it_has_looked() {
    let (connected, _) = round(&McpServerStatus::default(), ("Ready", "Connected"), 0).run();
    let unseen = Round { previous: &connected, report: None, programmed: None, fault: None, at: 500 };
    assert_eq!(unseen.run().0, connected);
}

#[test]
fn an_unknown_pool_is_named_although_gateways_were_never_asked() {
    let fault = Fault::NotAccepted(Problem::new("PoolNotFound", "spec.poolRef.name: there is no Pool prod"));
    let lost =
        Round { previous: &McpServerStatus::default(), report: None, programmed: None, fault: Some(fault), at: 0 };
    let (status, _) = lost.run();
    assert_eq!(condition(&status, "Accepted").reason, "PoolNotFound");
    assert_eq!(ready(&status), ("False", "PoolNotFound"));
}
