//! What the exporter is told of SiemExports: golden files, each refusal with its message, and that the exporter reads what is
//! written.

use std::path::PathBuf;

use exporter::config::{self, Document};
use operator::mcp_server::Fault;
use operator::pool::validate::validate;
use operator::siem_export::{self, Programmed};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::input::Input;

/// What the pool of an input is told of its SiemExports.
fn programmed(input: &Input) -> Vec<Programmed> {
    validate(&input.pools[0], &input.dereference(&input.pools[0])).unwrap().pool.exports
}

/// `exporter.yaml` around what is rendered here.
fn document(programmed: &[Programmed]) -> String {
    let frame = json!({
        "revision": "r", "pool": {"id": "u", "name": "prod", "namespace": "gateways"},
        "admin": {"port": 9091, "tokenFile": "admin-token"}, "redis": {"url": "redis://r:6379"},
        "audit": {"streamMaxBytes": 1, "retain": "1h"},
    });
    let mut document: Document = serde_json::from_value(frame).unwrap();
    document.exports = programmed.iter().map(|one| one.export.clone()).collect();
    document.keep = programmed.iter().flat_map(|one| one.keep.clone()).collect();
    serde_saphyr::to_string(&document).unwrap()
}

fn rendered(input: &Input) -> Vec<Value> {
    let one = |one: Programmed| {
        let files = one.credentials.iter().map(|credential| (credential.file.clone(), json!(credential.origin)));
        let files: serde_json::Map<String, Value> = files.collect();
        json!({"export": one.export, "keep": one.keep, "credentials": files})
    };
    programmed(input).into_iter().map(one).collect()
}

#[test]
fn rendered_exports_are_the_golden_ones_and_the_exporter_reads_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pure/golden-exports");
    for name in ["platforms", "left-out"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.input.yaml"))).unwrap();
        let input = Input::parse(&text);
        let documents: Vec<String> = rendered(&input).iter().map(|one| serde_saphyr::to_string(one).unwrap()).collect();
        let (golden, rendered) = (folder.join(format!("{name}.yaml")), documents.join("---\n"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &rendered).unwrap();
        }
        similar_asserts::assert_eq!(std::fs::read_to_string(&golden).unwrap_or_default(), rendered, "{name}");
        assert!(!rendered.contains("planted"), "a value is in the configuration");
        let programmed = programmed(&input);
        let read = config::parse(document(&programmed).as_bytes()).unwrap();
        assert_eq!(read.exports, programmed.iter().map(|one| one.export.clone()).collect::<Vec<_>>());
    }
}

#[test]
fn every_platform_has_a_golden_destination() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pure/golden-exports");
    let input = Input::parse(&std::fs::read_to_string(folder.join("platforms.input.yaml")).unwrap());
    let exports = programmed(&input);
    let told: std::collections::BTreeSet<_> =
        exports[0].export.destinations.iter().map(|one| one.platform.kind()).collect();
    assert_eq!((told.len(), exports[0].keep.len()), (11, 0), "{told:?}");
}

/// A destination of the SiemExport `soc` beside one that is fine.
struct Case {
    /// The destination `bad`, without its name.
    destination: &'static str,
    /// Other objects.
    others: &'static str,
    condition: &'static str,
    reason: &'static str,
    says: &'static [&'static str],
}

const HEC: &str = "splunk: {url: 'https://hec.example.com', tokenSecretRef: {name: s, key: k}}";
const SHARED: &str = "kind: Secret\nmetadata: {name: s, labels: {aigateway.dev/siem-export: 'true'}, annotations: {aigateway.dev/hosts: hec.example.com}}\nstringData: ";

fn check(fault: &Fault, condition: &str, reason: &str, says: &[&str]) {
    let found = match fault {
        Fault::NotAccepted(_) => "Accepted",
        Fault::Unresolved(_) => "ResolvedRefs",
    };
    let problem = fault.problem();
    assert_eq!((found, problem.reason), (condition, reason), "{}", problem.message);
    for part in says {
        assert!(problem.message.contains(part), "{:?} says {part:?}", problem.message);
    }
    assert!(!problem.message.contains("planted"), "a value leaked: {}", problem.message);
}

#[test]
fn faults_of_a_destination_leave_the_others_alone() {
    let cases = [
        Case {
            destination: HEC,
            others: "",
            condition: "ResolvedRefs",
            reason: "SecretNotFound",
            says: &["Secret s", "spec.destinations[bad].splunk.tokenSecretRef", "create it"],
        },
        Case {
            destination: HEC,
            others: "kind: Secret\nmetadata: {name: s}\nstringData: {k: planted}",
            condition: "ResolvedRefs",
            reason: "SecretNotShared",
            says: &[
                "Secret s",
                "spec.destinations[bad].splunk.tokenSecretRef",
                "`kubectl -n gateways label secret s aigateway.dev/siem-export=true --overwrite && kubectl -n gateways annotate \
                 secret s 'aigateway.dev/hosts=hec.example.com' --overwrite`",
            ],
        },
        Case {
            destination: HEC,
            others: "kind: Secret\nmetadata: {name: s, labels: {aigateway.dev/siem-export: 'true'}, annotations: {aigateway.dev/hosts: planted.example.com}}\nstringData: {k: v}",
            condition: "ResolvedRefs",
            reason: "SecretNotShared",
            says: &[
                "for hec.example.com",
                "`kubectl -n gateways annotate secret s 'aigateway.dev/hosts=hec.example.com' --overwrite`",
                "with the hosts that the annotation names already",
            ],
        },
        Case {
            destination: HEC,
            others: "kind: Secret\nmetadata: {name: s, annotations: {aigateway.dev/hosts: hec.example.com}}\nstringData: {other: planted}",
            condition: "ResolvedRefs",
            // Not SecretKeyMissing: which keys there are is nobody's business.
            reason: "SecretNotShared",
            says: &["`kubectl -n gateways label secret s aigateway.dev/siem-export=true --overwrite`"],
        },
        Case {
            destination: HEC,
            others: "kind: Secret\nmetadata: {name: s, labels: {aigateway.dev/siem-export: 'yes'}, annotations: {aigateway.dev/hosts: hec.example.com}}\nstringData: {k: planted}",
            condition: "ResolvedRefs",
            reason: "SecretNotShared",
            says: &["aigateway.dev/siem-export=true"],
        },
        Case {
            destination: HEC,
            others: "SHARED{other: planted}",
            condition: "ResolvedRefs",
            reason: "SecretKeyMissing",
            says: &["Secret s", "no key k"],
        },
        Case {
            destination: HEC,
            others: "SHARED{k: ' '}",
            condition: "ResolvedRefs",
            reason: "SecretEmpty",
            says: &["Secret s", "fill it in"],
        },
        Case {
            destination: "sumoLogic: {urlSecretRef: {name: s, key: k}}",
            others: "SHARED{k: 'https://other.example.com/planted'}",
            condition: "ResolvedRefs",
            reason: "SecretNotShared",
            says: &["host of the URL under k", "aigateway.dev/hosts=HOST"],
        },
        Case {
            destination: "sumoLogic: {urlSecretRef: {name: s, key: k}}",
            others: "SHARED{k: 'postgres://planted@db'}",
            condition: "ResolvedRefs",
            reason: "SecretInvalid",
            says: &["Secret s", "under k", "must begin with https://"],
        },
        Case {
            destination: "sentinel: {endpoint: 'https://hec.example.com', ruleId: dcr-0123456789abcdef0123456789abcdef, stream: Custom-A, tenantId: 6b1f0c5e-4a43-4a5f-9d0a-0c7d1a2b3c4d, clientId: 6b1f0c5e-4a43-4a5f-9d0a-0c7d1a2b3c4d, clientSecretRef: {name: s, key: k}}",
            others: "SHARED{k: planted}",
            condition: "ResolvedRefs",
            reason: "SecretNotShared",
            // The secret goes to where tokens are given.
            says: &["hec.example.com, login.microsoftonline.com"],
        },
        Case {
            destination: "webhook: {url: 'https://$(reboot).example.com/', secretRef: {name: s, key: k}}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].webhook", "no host name has"],
        },
        Case {
            destination: "webhook: {url: 'https://169.254.169.254/', secretRef: {name: s, key: k}}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].webhook.url", "metadata address"],
        },
        Case {
            destination: "webhook: {url: 'https://a.example.com/', secretRef: {name: s, key: k}, headers: [{name: Authorization, value: planted}]}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].webhook.headers[].name", "credential"],
        },
        Case {
            destination: "datadog: {site: example.com, apiKeySecretRef: {name: s, key: k}}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].datadog.site", "datadoghq.eu"],
        },
        Case {
            destination: "sentinel: {endpoint: 'https://a.example.com', ruleId: dcr-0123456789abcdef0123456789abcdef, stream: Custom-A, tenantId: 6b1f0c5e-4a43-4a5f-9d0a-0c7d1a2b3c4d, clientId: 6b1f0c5e-4a43-4a5f-9d0a-0c7d1a2b3c4d}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].sentinel.clientSecretRef is missing"],
        },
        Case {
            destination: "stdout: {}, events: ['tool_cal']",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].events", "\"tool_cal\" matches no event"],
        },
        Case {
            destination: "stdout: {}, severityMap: {loud: high}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].severityMap", "neither a level nor an event"],
        },
        Case {
            destination: "syslog: {host: a.example.com}, severityMap: {warn: high}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].severityMap[warn]", "no severity of syslog", "warning"],
        },
        Case {
            destination: "stdout: {}, delivery: {timeout: 1h}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad].delivery.timeout", "from 1s to 1m"],
        },
        Case {
            destination: "stdout: {}, syslog: {host: a}",
            others: "",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.destinations[bad]: set exactly one of splunk"],
        },
        Case {
            destination: "syslog: {host: hec.example.com}, tls: {caRef: {name: none}}",
            others: "",
            condition: "ResolvedRefs",
            reason: "ConfigMapNotFound",
            says: &["ConfigMap none", "spec.destinations[bad].tls.caRef"],
        },
        Case {
            destination: "syslog: {host: hec.example.com}, tls: {clientCertificateRef: {name: s}}",
            others: "kind: Secret\nmetadata: {name: s}\nstringData: {tls.crt: planted, tls.key: planted}",
            condition: "ResolvedRefs",
            reason: "SecretNotShared",
            says: &["spec.destinations[bad].tls.clientCertificateRef", "for hec.example.com"],
        },
        Case {
            destination: "syslog: {host: hec.example.com}, tls: {clientCertificateRef: {name: s}}",
            others: "SHARED{tls.crt: planted, tls.key: planted}",
            condition: "ResolvedRefs",
            reason: "SecretInvalid",
            says: &["Secret s", "tls.crt holds no PEM certificate"],
        },
    ];
    for case in &cases {
        let others = case.others.replace("SHARED", SHARED);
        let input = Input::parse(&format!(
            "kind: SiemExport\nmetadata: {{name: soc}}\nspec: {{poolRef: {{name: p}}, destinations: [{{name: good, stdout: {{}}}}, \
             {{name: bad, {}}}]}}\n---\n{others}",
            case.destination
        ));
        let outcome = siem_export::validate(&input.exports[0], "p", &input.references(&input.exports[0]));
        assert!(outcome.fault.is_none(), "{:?}", outcome.fault);
        let names: Vec<&str> = outcome.programmed.export.destinations.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            (names, &outcome.programmed.keep),
            (vec!["good"], &vec!["soc/bad".to_owned()]),
            "{}",
            case.destination
        );
        assert!(outcome.programmed.credentials.is_empty(), "{}", case.destination);
        check(&outcome.left_out["bad"], case.condition, case.reason, case.says);
    }
}

#[test]
fn faults_of_the_whole_keep_every_destination() {
    let cases: [(&str, &str, &str, &str, &[&str]); 13] = [
        ("routes: [{match: {}, to: [nobody]}]", "", "Accepted", "InvalidSpec", &["spec.routes[].to", "nobody"]),
        (
            "routes: [{match: {names: [x]}, to: [a]}]",
            "",
            "Accepted",
            "InvalidSpec",
            &["spec.routes[].match.names", "\"x\""],
        ),
        ("overrides: [{server: a, to: [nobody]}]", "", "Accepted", "InvalidSpec", &["spec.overrides[].to", "nobody"]),
        ("overrides: [{server: a, splunkIndex: _x}]", "", "Accepted", "InvalidSpec", &["spec.overrides[].splunkIndex"]),
        (
            "replay: {id: r, destination: nobody, from: DeadLetter}",
            "",
            "Accepted",
            "InvalidSpec",
            &["spec.replay.destination"],
        ),
        (
            "replay: {id: r, destination: a, from: now}",
            "",
            "Accepted",
            "InvalidSpec",
            &["spec.replay.from", "DeadLetter"],
        ),
        ("privacy: {drop: [user.shoe_size]}", "", "Accepted", "InvalidSpec", &["spec.privacy.drop", "user.shoe_size"]),
        ("privacy: {drop: [event_id]}", "", "Accepted", "InvalidSpec", &["spec.privacy.drop", "event_id"]),
        ("privacy: {hash: [tool.name]}", "", "Accepted", "InvalidSpec", &["spec.privacy.hash", "tool.name"]),
        ("privacy: {hash: [user.email]}", "", "Accepted", "InvalidSpec", &["spec.privacy.hashKeySecretRef is missing"]),
        (
            "privacy: {hash: [user.email], hashKeySecretRef: {name: s, key: k}}",
            "kind: Secret\nmetadata: {name: s}\nstringData: {k: planted-0123456789}",
            "ResolvedRefs",
            "SecretNotShared",
            &[
                "spec.privacy.hashKeySecretRef",
                "`kubectl -n gateways label secret s aigateway.dev/siem-export=true --overwrite`",
            ],
        ),
        (
            "privacy: {hash: [user.email], hashKeySecretRef: {name: s, key: k}}",
            "kind: Secret\nmetadata: {name: s, labels: {aigateway.dev/siem-export: 'true'}}\nstringData: {k: planted}",
            "ResolvedRefs",
            "SecretInvalid",
            &["shorter than 16 bytes", "openssl rand"],
        ),
        (
            "privacy: {hash: [user.email], hashKeySecretRef: {name: s, key: k}}",
            "kind: Secret\nmetadata: {name: s, labels: {aigateway.dev/siem-export: 'true'}, annotations: {aigateway.dev/hosts: planted.example.com}}\nstringData: {k: planted-0123456789}",
            "ResolvedRefs",
            "SecretNotShared",
            &["spec.privacy.hashKeySecretRef", "as a credential", "Secret of its own"],
        ),
    ];
    for (spec, others, condition, reason, says) in cases {
        let input = Input::parse(&format!(
            "kind: SiemExport\nmetadata: {{name: soc}}\nspec: {{poolRef: {{name: p}}, {spec}, destinations: [{{name: a, stdout: {{}}}}, \
             {{name: b, stdout: {{}}}}]}}\n---\n{others}"
        ));
        let outcome = siem_export::validate(&input.exports[0], "p", &input.references(&input.exports[0]));
        assert!(outcome.programmed.export.destinations.is_empty(), "{spec}");
        assert_eq!(outcome.programmed.keep, ["soc/a", "soc/b"], "{spec}");
        check(outcome.fault.as_ref().unwrap(), condition, reason, says);
    }
}

#[test]
fn an_export_for_which_there_is_no_room_is_kept_and_the_earlier_ones_stay() {
    let certificate = rcgen::generate_simple_self_signed(["ca.example.com".to_owned()]).unwrap().cert.pem();
    let bundle: String = certificate.repeat((200 << 10) / certificate.len());
    let indented: String = bundle.lines().map(|line| format!("    {line}\n")).collect();
    let mut text = format!(
        "kind: Pool\nmetadata: {{name: p}}\nspec: {{auth: {{anonymous: true}}}}\n---\nkind: ConfigMap\nmetadata: {{name: all}}\ndata:\n  ca.crt: |\n{indented}"
    );
    for (name, day) in [("newest", 9), ("a", 1), ("b", 2), ("c", 3)] {
        text += &format!(
            "\n---\nkind: SiemExport\nmetadata: {{name: {name}, creationTimestamp: '2026-01-0{day}T00:00:00Z'}}\nspec: {{poolRef: {{name: p}}, destinations: [{{name: d, syslog: {{host: s.example.com}}, tls: {{caRef: {{name: all}}}}}}]}}"
        );
    }
    let input = Input::parse(&text);
    let told: Vec<_> = programmed(&input).into_iter().map(|one| (one.name, one.keep)).collect();
    let fine = |name: &str| (name.to_owned(), vec![]);
    assert_eq!(told, [fine("a"), fine("b"), fine("c"), ("newest".to_owned(), vec!["newest/d".to_owned()])]);
    let exports: Vec<_> = input.exports.iter().map(|one| (one, input.references(one))).collect();
    let outcomes = siem_export::roster("p", exports.iter().map(|(one, references)| (*one, references)));
    check(outcomes["newest"].fault.as_ref().unwrap(), "ResolvedRefs", "CredentialsTooLarge", &["tls.caRef"]);
}

#[test]
fn a_malformed_export_keeps_the_exporter_that_there_is_and_makes_none() {
    let input = Input::parse("kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}}");
    for (has_exporter, kept) in [(true, vec!["old/splunk"]), (false, vec![])] {
        let mut found = input.dereference(&input.pools[0]);
        found.malformed_exports = vec![Programmed::kept("old", ["splunk".to_owned()])];
        found.has_exporter = has_exporter;
        let exports = operator::pool::validate::validate(&input.pools[0], &found).unwrap().pool.exports;
        let keep: Vec<_> = exports.iter().flat_map(|one| &one.keep).collect();
        assert_eq!(keep, kept, "there is an exporter: {has_exporter}");
    }
}

#[test]
fn an_export_is_for_the_pools_that_it_names_or_selects() {
    let labels = [("team".to_owned(), "a".to_owned())].into();
    for (pool, expected) in [
        ("poolRef: {name: p}", true),
        ("poolRef: {name: other}", false),
        ("poolSelector: {matchLabels: {team: a}}", true),
        ("poolSelector: {matchLabels: {team: b}}", false),
        ("poolSelector: {}", true),
    ] {
        let text = format!(
            "kind: SiemExport\nmetadata: {{name: soc}}\nspec: {{{pool}, destinations: [{{name: a, stdout: {{}}}}]}}"
        );
        assert_eq!(siem_export::selects(&Input::parse(&text).exports[0], "p", &labels), expected, "{pool}");
    }
}

proptest! {
    /// Text of a user's is data to the exporter, whatever it holds: what is accepted is read as what was written.
    #[test]
    fn whatever_is_accepted_is_read_by_the_exporter_as_it_was_written(
        name in "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", destination in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
        index in "\\PC{0,12}", source in "\\PC{0,40}|[ -~\n\t:#'\"{}&*!|>%@`-]{0,40}", header in "\\PC{0,20}|[ -~]{0,20}",
        value in "\\PC{0,30}|[ -~]{0,30}", server in "\\PC{1,20}|[ -~]{1,20}", url in "https://[a-z.:/?=&\\PC]{0,30}",
        level in "\\PC{0,20}",
    ) {
        let ref_ = json!({"name": "s", "key": "k"});
        let spec = json!({
            "poolRef": {"name": "p"},
            "routes": [{"match": {"servers": [server]}, "to": [destination]}],
            "overrides": [{"server": server, "to": [destination]}],
            "destinations": [
                {"name": destination, "splunk": {"url": url, "tokenSecretRef": ref_, "index": index, "source": source}},
                {"name": format!("{destination}-1"), "splunk": {"url": "https://a.example.com", "tokenSecretRef": ref_, "source": source}},
                {"name": format!("{destination}-2"), "otlp": {"url": "https://a.example.com", "headers": {(header.clone()): value},
                    "resourceAttributes": {(value.clone()): source}}},
                {"name": format!("{destination}-3"), "webhook": {"url": "https://a.example.com", "secretRef": ref_,
                    "headers": [{"name": header, "value": value}]}},
                {"name": format!("{destination}-4"), "stdout": {}, "severityMap": {"warn": level}},
                {"name": format!("{destination}-5"), "sumoLogic": {"urlSecretRef": ref_, "fields": {(header.clone()): value}}},
            ],
        });
        let export = json!({"kind": "SiemExport", "metadata": {"name": name}, "spec": spec});
        let secret = json!({"kind": "Secret", "metadata": {"name": "s", "labels": {"aigateway.dev/siem-export": "true"},
            "annotations": {"aigateway.dev/hosts": "a.example.com"}}, "stringData": {"k": "https://a.example.com/v"}});
        let input = Input::parse(&format!(
            "kind: Pool\nmetadata: {{name: p}}\nspec: {{auth: {{anonymous: true}}}}\n---\n{export}\n---\n{secret}"
        ));
        let programmed = programmed(&input);
        let served = &programmed[0].export.destinations;
        prop_assert_eq!(served.len() + programmed[0].keep.len(), 6);
        let yaml = document(&programmed);
        let read = config::parse(yaml.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
        prop_assert_eq!(&read.exports[0], &programmed[0].export, "{}", yaml);
        prop_assert_eq!(&read.keep, &programmed[0].keep);
        let written = &input.exports[0].spec.destinations;
        for one in served {
            let written = written.iter().find(|written| written.name == one.name).unwrap();
            let rendered = serde_json::to_value(&one.platform).unwrap();
            if let Some(splunk) = &written.splunk {
                prop_assert_eq!(rendered["splunk"]["source"].as_str(), splunk.source.as_deref());
                prop_assert_eq!(rendered["splunk"]["index"].as_str(), splunk.index.as_deref());
            }
        }
    }
}
