//! Blocks, set up.

use std::time::Duration;

use exporter::destination::Block;
use exporter::platform::Assurance;
use exporter::registry::{self, Access, Identity};
use serde_json::{Value, json};

use crate::support::access as with;

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const SECRETS: [(&str, &str); 8] = [
    ("tokenSecretRef", "t"),
    ("apiKeySecretRef", "k"),
    ("clientSecretRef", "s"),
    ("urlSecretRef", "https://collectors.example.com/receiver/v1/http/c"),
    ("secretRef", WHSEC),
    ("previousSecretRef", WHSEC),
    ("accessKeyIdSecretRef", "AKIA000000000000EXAM"),
    ("secretAccessKeySecretRef", "x"),
];

fn blocks() -> [(Value, Assurance); 13] {
    let sentinel = json!({
        "endpoint": "https://mcp.westeurope-1.ingest.monitor.azure.com",
        "ruleId": "dcr-00000000000000000000000000000abc",
        "stream": "Custom-AiGatewayAgentEvent",
        "tenantId": "11111111-2222-3333-4444-555555555555",
        "clientId": "66666666-7777-8888-9999-aaaaaaaaaaaa",
    });
    let url = "https://siem.example.com";
    [
        (json!({"splunk": {"url": url}}), Assurance::Accepted),
        (json!({"splunk": {"url": url, "acknowledgement": true}}), Assurance::Stored),
        (json!({"datadog": {}}), Assurance::Accepted),
        (json!({"otlp": {"url": url}}), Assurance::Accepted),
        (json!({"otlp": {"url": url, "protocol": "Grpc"}}), Assurance::Accepted),
        (json!({"syslog": {"host": "syslog.example.com"}}), Assurance::Sent),
        (json!({"sentinel": sentinel}), Assurance::Accepted),
        (json!({"eventBridge": {"region": "eu-central-1"}}), Assurance::Accepted),
        (json!({"sumoLogic": {}}), Assurance::Sent),
        (json!({"coralogix": {"domain": "coralogix.com", "application": "prod"}}), Assurance::Accepted),
        (json!({"elasticsearch": {"url": url}}), Assurance::Stored),
        (json!({"webhook": {"url": url}}), Assurance::Accepted),
        (json!({"stdout": {}}), Assurance::Sent),
    ]
}

fn problem(block: &Value, access: Access) -> Option<String> {
    let block: Block = serde_json::from_value(block.clone()).unwrap();
    registry::platform(block, access).err().map(|invalid| invalid.to_string())
}

fn access() -> Access {
    with(Default::default(), &SECRETS)
}

fn without(field: &str) -> Access {
    let mut access = access();
    access.secrets.remove(field);
    access
}

#[tokio::test]
async fn every_block_becomes_a_platform_with_its_assurance_and_age() {
    for (block, assurance) in blocks() {
        let platform = crate::support::platform(block.clone(), access());
        assert_eq!(platform.assurance(), assurance, "{block}");
        let oldest = block.get("datadog").map(|_| Duration::from_secs(17 * 3_600));
        assert_eq!(platform.max_give_up_after(), oldest, "{block}");
    }
}

#[tokio::test]
async fn every_required_secret_is_asked_for_by_its_field() {
    for (block, _) in blocks() {
        let typed: Block = serde_json::from_value(block.clone()).unwrap();
        for secret in typed.secrets() {
            let expected = format!("{}.{}: must name a key of a Secret that is there", typed.kind(), secret.name);
            // Half of a pair of keys is none.
            let required = secret.required || secret.name.contains("AccessKey") || secret.name.contains("accessKey");
            assert_eq!(problem(&block, without(secret.name)), required.then_some(expected), "{block}");
        }
    }
}

#[tokio::test]
async fn faults_are_told_by_the_field_below_the_destination() {
    let webhook = json!({"webhook": {"url": "https://hooks.example.com"}});
    assert_eq!(
        problem(&json!({"webhook": {"url": "ftp://a"}}), access()).unwrap().split(':').next(),
        Some("webhook.url")
    );
    let mut bad = access();
    bad.secrets.insert("secretRef".into(), "hunter2".into());
    let rule = "webhook.secretRef: must be whsec_ and the base64 of 24 to 64 random bytes";
    assert_eq!(problem(&webhook, bad).unwrap(), rule);

    let mut bad = access();
    bad.tls.ca = Some(b"no PEM".to_vec());
    assert_eq!(problem(&webhook, bad).unwrap(), "tls.caRef: must hold one or more PEM certificates");
    let mut bad = access();
    bad.server_name = Some("10.0.0.1".into());
    for block in [&webhook, &json!({"syslog": {"host": "syslog.example.com"}})] {
        assert_eq!(problem(block, bad.clone()).unwrap(), "tls.serverName: must be a DNS name");
    }
    let mut bad = access();
    bad.proxy = Some("https://proxy.example.com".parse().unwrap());
    let rule = "proxy: must be http://HOST:PORT, without user, path and query";
    assert_eq!(problem(&webhook, bad).unwrap(), rule);

    let mut bad = access();
    bad.secrets.insert("accessKeyIdSecretRef".into(), "short".into());
    let event_bridge = json!({"eventBridge": {"region": "eu-central-1"}});
    let rule = "eventBridge.accessKeyIdSecretRef: must be 16 to 128 letters and digits";
    assert_eq!(problem(&event_bridge, bad).unwrap(), rule);
}

#[tokio::test]
async fn clouds_identities_come_from_the_pods_environment() {
    let identity = Identity::new(|name| match name {
        "AWS_ROLE_ARN" => Some("arn:aws:iam::123456789012:role/audit".into()),
        "AWS_WEB_IDENTITY_TOKEN_FILE" => Some("/var/run/secrets/eks/token".into()),
        "AZURE_FEDERATED_TOKEN_FILE" => Some("/var/run/secrets/azure/token".into()),
        "AZURE_AUTHORITY_HOST" => Some(String::new()),
        _ => None,
    });
    assert_eq!(identity.azure_authority, None);
    let [.., (mut sentinel, _), (event_bridge, _), _, _, _, _, _] = blocks();
    sentinel["sentinel"]["identity"] = "WorkloadIdentity".into();
    let mut of_pod = with(Default::default(), &[]);
    let azure =
        "sentinel.identity: workloadIdentity needs AZURE_FEDERATED_TOKEN_FILE, which Azure Workload Identity sets";
    assert_eq!(problem(&sentinel, of_pod.clone()).unwrap(), azure);
    let aws = "eventBridge.accessKeyIdSecretRef: must be set: the Pod has no role (AWS_ROLE_ARN and \
               AWS_WEB_IDENTITY_TOKEN_FILE)";
    assert_eq!(problem(&event_bridge, of_pod.clone()).unwrap(), aws);
    of_pod.identity = identity;
    assert_eq!(problem(&sentinel, of_pod.clone()), None);
    assert_eq!(problem(&event_bridge, of_pod.clone()), None);
    of_pod.identity.azure_authority = Some("http://login.example.com".into());
    assert!(problem(&sentinel, of_pod).unwrap().starts_with("sentinel.authority: must begin with https://"));
}
