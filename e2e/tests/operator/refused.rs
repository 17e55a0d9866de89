//! What `kubectl apply` refuses, and with which sentence: one accepted and one refused example for each rule.

use anyhow::{Result, ensure};
use e2e::kubectl_with;

/// Fields of the spec, and the sentence; empty: accepted.
type Row = (&'static str, &'static str);

const POOLS: &[Row] = &[
    ("auth: {anonymous: true}", ""),
    ("{}", "spec.auth is missing"),
    ("auth: {apiKeys: {secretSelector: {matchLabels: {a: b}}}}", ""),
    (
        "auth: {anonymous: true, apiKeys: {secretSelector: {matchLabels: {a: b}}}}",
        "set exactly one of apiKeys and anonymous",
    ),
    ("auth: {}", "set exactly one of apiKeys and anonymous"),
    ("auth: {apiKeys: {secretSelector: {}}}", "would take every Secret"),
    ("auth: {anonymous: true}, redis: {managed: {}}", ""),
    ("auth: {anonymous: true}, redis: {}", "set exactly one of managed and external"),
    (
        "auth: {anonymous: true}, redis: {managed: {}, external: {urlSecretRef: {name: a, key: b}}}",
        "set exactly one of managed and external",
    ),
    ("auth: {anonymous: true}, armor: {hosts: [mcp.example.com, \"a.b:8443\"]}", ""),
    ("auth: {anonymous: true}, armor: {hosts: [\"https://mcp.example.com\"]}", "without https://"),
    ("auth: {anonymous: true}, armor: {podDisruptionBudget: {maxUnavailable: 25%}}", ""),
    ("auth: {anonymous: true}, armor: {podDisruptionBudget: {maxUnavailable: 0}}", "would block every node drain"),
    ("auth: {anonymous: true}, armor: {podDisruptionBudget: {maxUnavailable: 200%}}", "a percentage from 1% to 100%"),
    ("auth: {anonymous: true}, audit: {streamMaxBytes: 1Mi}", ""),
    ("auth: {anonymous: true}, audit: {streamMaxBytes: 1Ki}", "from 1Mi to 64Gi"),
    ("auth: {anonymous: true}, audit: {retain: 168h}", ""),
    ("auth: {anonymous: true}, audit: {retain: 169h}", "from 0s to 168h"),
    ("auth: {anonymous: true}, audit: {retain: 1d}", "from 0s to 168h"),
    ("auth: {anonymous: true}, exporter: {proxy: \"http://proxy.corp.svc:3128\", serviceAccountName: a}", ""),
    ("auth: {anonymous: true}, exporter: {proxy: \"https://proxy.corp.svc:3128\"}", "the URL of an HTTP proxy"),
    ("auth: {anonymous: true}, exporter: {proxy: \"http://u:p@proxy.corp.svc:3128\"}", "without user name and path"),
    ("auth: {anonymous: true}, exporter: {serviceAccountName: a, pod: {serviceAccountName: b}}", "not in both"),
    ("auth: {anonymous: true}, exporter: {replicas: 11}", "less than or equal to 10"),
    ("auth: {anonymous: true}, metrics: {podMonitor: true}", ""),
    ("auth: {anonymous: true}, armor: {resources: {limits: {cpu: 1, memory: 1Gi}}}", ""),
    ("auth: {anonymous: true}, armor: {resources: {limits: {cpu: lots}}}", "spec.armor.resources.limits.cpu"),
    ("auth: {anonymous: true}, armor: {replicas: 101}", "less than or equal to 100"),
    ("auth: {anonymous: true}, armor: {service: {type: ExternalName}}", "Unsupported value: \"ExternalName\""),
    ("auth: {anonymous: true}, armor: {logLevel: loud}", "Unsupported value: \"loud\""),
    ("auth: {anonymous: true}, armor: {replica: 1}", "unknown field \"spec.armor.replica\""),
];

const SERVERS: &[Row] = &[
    ("remote: {url: \"https://a.example.com/mcp\"}", ""),
    ("prefix: a", "set exactly one of remote"),
    ("remote: {url: \"https://a.example.com\"}, workload: {image: i}", "set exactly one of remote"),
    ("workload: {image: i}", ""),
    ("remote: {url: \"ftp://a.example.com\"}", "write an absolute URL"),
    ("remote: {url: nonsense}", "write an absolute URL"),
    ("remote: {url: \"https://user@a.example.com/mcp\"}", "must not hold a user name"),
    ("remote: {url: \"HTTPS://user:pw@a.example.com/mcp\"}", "must not hold a user name"),
    ("remote: {url: \"https://a.example.com/mcp#x\"}", "must not have a fragment"),
    ("remote: {url: \"http://a.example.com/mcp\"}, auth: {bearer: {secretRef: {name: a, key: b}}}", "over https only"),
    ("remote: {url: \"http://a.b.svc:8080/mcp\"}, auth: {bearer: {secretRef: {name: a, key: b}}}", ""),
    ("remote: {url: \"https://a.example.com\"}, auth: {}", "set exactly one of bearer and headers"),
    (
        "remote: {url: \"https://a.example.com\"}, auth: {headers: [{name: X-Api-Key, secretRef: {name: a, key: b}}]}",
        "",
    ),
    (
        "remote: {url: \"https://a.example.com\"}, auth: {headers: [{name: Host, secretRef: {name: a, key: b}}]}",
        "the gateway itself sets this header",
    ),
    (
        "remote: {url: \"https://a.example.com\"}, auth: {headers: [{name: \"a b\", secretRef: {name: a, key: b}}]}",
        "write a header name",
    ),
    ("remote: {url: \"https://a.example.com\"}, prefix: \"\"", ""),
    ("remote: {url: \"https://a.example.com\"}, prefix: a__b", "without a double underscore"),
    ("remote: {url: \"https://a.example.com\"}, timeout: 500ms", ""),
    ("remote: {url: \"https://a.example.com\"}, timeout: 1h", "from 100ms to 10m"),
    ("workload: {image: i, path: /api/mcp}", ""),
    ("workload: {image: i, path: mcp}", "write an absolute path"),
    ("workload: {image: i, port: 0}", "greater than or equal to 1"),
];

/// The rest of a SiemExport's spec after its pool; `S` is a destination that is fine.
const EXPORTS: &[Row] = &[
    ("destinations: [S]", ""),
    ("destinations: []", "should have at least 1 items"),
    ("destinations: [S, S]", "Duplicate value"),
    ("poolSelector: {matchLabels: {a: b}}, destinations: [S]", "set exactly one of poolRef"),
    ("destinations: [{name: s}]", "set exactly one of splunk"),
    ("destinations: [{name: s, stdout: {}, syslog: {host: a}}]", "set exactly one of splunk"),
    ("destinations: [{name: S_1, stdout: {}}]", "write a DNS label"),
    ("destinations: [{name: s, stdout: {file: a}}]", "unknown field \"spec.destinations[0].stdout.file\""),
    ("destinations: [{name: s, stdout: {}, tls: {serverName: a}}]", "is not reached over TLS"),
    ("destinations: [{name: s, syslog: {host: a, transport: Tcp}, tls: {serverName: a}}]", "is not reached over TLS"),
    ("destinations: [{name: s, syslog: {host: a}, tls: {serverName: a}}]", ""),
    ("destinations: [{name: s, syslog: {host: a}, tls: {serverName: \"https://a\"}}]", "tls.serverName"),
    ("destinations: [{name: s, syslog: {host: \"tcp://a:514\"}}]", "syslog.host"),
    ("destinations: [{name: s, syslog: {host: \"[2001:db8::1]\", transport: Udp}}]", ""),
    ("destinations: [{name: s, syslog: {host: a, transport: Udp, framing: NewLine}}]", "a datagram is a message"),
    ("destinations: [{name: s, syslog: {host: a, port: 0}}]", "greater than or equal to 1"),
    ("destinations: [{name: s, syslog: {host: a, maxBytes: 100000}}]", "less than or equal to 65000"),
    ("destinations: [{name: s, syslog: {host: a, transport: Quic}}]", "Unsupported value: \"Quic\""),
    ("destinations: [{name: s, splunk: {url: \"https://a\", tokenSecretRef: R, index: mcp}}]", ""),
    (
        "destinations: [{name: s, splunk: {url: \"https://a\", tokenSecretRef: R, index: _internal}}]",
        "write the name of an index",
    ),
    ("destinations: [{name: s, splunk: {url: \"https://a\"}}]", "tokenSecretRef: Required value"),
    ("destinations: [{name: s, sentinel: {N, clientSecretRef: R}}]", ""),
    ("destinations: [{name: s, sentinel: {N}}]", "name the application's secret"),
    ("destinations: [{name: s, sentinel: {N, identity: WorkloadIdentity}}]", ""),
    (
        "destinations: [{name: s, sentinel: {N, identity: WorkloadIdentity, clientSecretRef: R}}]",
        "leave clientSecretRef out",
    ),
    ("destinations: [{name: s, eventBridge: {region: eu-central-1}}]", ""),
    ("destinations: [{name: s, eventBridge: {region: eu-central-1, accessKeyIdSecretRef: R}}]", "or neither"),
    (
        "destinations: [{name: s, eventBridge: {region: eu-central-1, sessionTokenSecretRef: R}}]",
        "belongs to an access key",
    ),
    (
        "destinations: [{name: s, eventBridge: {region: eu-central-1, accessKeyIdSecretRef: R, secretAccessKeySecretRef: R, sessionTokenSecretRef: R}}]",
        "",
    ),
    (
        "destinations: [{name: s, stdout: {}, delivery: {batchEvents: 1, batchBytes: 16Ki, flushInterval: 10ms, giveUpAfter: 168h, rateLimit: 0}}]",
        "",
    ),
    ("destinations: [{name: s, stdout: {}, delivery: {batchEvents: 0}}]", "greater than or equal to 1"),
    ("destinations: [{name: s, stdout: {}, delivery: {batchBytes: 1Gi}}]", "from 16Ki to 4Mi"),
    ("destinations: [{name: s, stdout: {}, delivery: {flushInterval: 1h}}]", "from 10ms to 60s"),
    ("destinations: [{name: s, stdout: {}, delivery: {timeout: 10}}]", "timeout"),
    ("destinations: [{name: s, stdout: {}, delivery: {timeout: 99999999999h}}]", "from 1s to 60s"),
    ("destinations: [{name: s, stdout: {}, delivery: {maxRetryInterval: 1ms}}]", "from 1s to 10m"),
    ("destinations: [{name: s, stdout: {}, delivery: {giveUpAfter: 169h}}]", "from 1m to 168h"),
    ("destinations: [{name: s, stdout: {}, delivery: {rateLimit: -1}}]", "greater than or equal to 0"),
    ("destinations: [{name: s, stdout: {}, minSeverity: loud}]", "Unsupported value: \"loud\""),
    ("destinations: [S], routes: [{match: {classes: [ToolActivity]}, to: [s]}]", ""),
    ("destinations: [S], routes: [{match: {}, to: [nobody]}]", "spec.routes[].to names a destination"),
    ("destinations: [S], overrides: [{server: a, to: [s], splunkIndex: pci}, {server: b, enabled: false}]", ""),
    ("destinations: [S], overrides: [{server: a, to: [nobody]}]", "spec.overrides[].to names a destination"),
    ("destinations: [S], overrides: [{server: a}, {server: a}]", "Duplicate value"),
    ("destinations: [S], overrides: [{server: a, to: [s], enabled: false}]", "sends the server's events nowhere"),
    ("destinations: [S], overrides: [{server: a, splunkIndex: PCI}]", "write the name of an index"),
    ("destinations: [S], privacy: {hash: [user.email], hashKeySecretRef: R}", ""),
    ("destinations: [S], privacy: {drop: [user.groups]}", ""),
    ("destinations: [S], privacy: {hash: [user.email]}", "spec.privacy.hash needs a key"),
    ("destinations: [S], test: {id: 2026-11-21-a, destinations: [s]}", ""),
    ("destinations: [S], test: {id: a, destinations: [nobody]}", "spec.test.destinations names a destination"),
    ("destinations: [S], test: {id: \"a b\", destinations: [s]}", "spec.test.id"),
    ("destinations: [S], replay: {id: a, destination: s, from: DeadLetter}", ""),
    ("destinations: [S], replay: {id: a, destination: s, from: \"2026-11-21T08:00:00+01:00\"}", ""),
    ("destinations: [S], replay: {id: a, destination: s, from: yesterday}", "write DeadLetter, or an RFC 3339 time"),
    ("destinations: [S], replay: {id: a/b, destination: s, from: DeadLetter}", "spec.replay.id"),
    ("destinations: [S], replay: {id: a, destination: nobody, from: DeadLetter}", "spec.replay.destination names"),
];

/// URLs of a destination, and the sentence. Another parser than the API server's reads them later, and both must see one host.
const URLS: &[Row] = &[
    ("https://siem.example.com", ""),
    ("https://siem.example.com:8088/services?a=b@c", ""),
    ("https://[2001:db8::1]:8088", ""),
    ("http://hec.siem.svc:8088/x", ""),
    ("http://hec.siem.svc.cluster.local", ""),
    ("http://siem.example.com", "must begin with https://"),
    ("HTTP://siem.example.com", "must begin with https://"),
    ("http://hec.siem.svc.example.com", "must begin with https://"),
    ("http://siem.example.com/.b.svc", "must begin with https://"),
    ("http://siem.example.com?a.b.svc", "must begin with https://"),
    ("ftp://siem.example.com", "write an absolute URL"),
    ("/services/collector", "write an absolute URL"),
    ("https:siem.example.com", "write an absolute URL"),
    ("https:///siem.example.com", "write an absolute URL"),
    ("https://", "write an absolute URL"),
    ("https://siem.example.com\\\\.a.svc", "write an absolute URL"),
    ("https://siem.exa mple.com", "write an absolute URL"),
    ("https://siem.exa\\tmple.com", "write an absolute URL"),
    ("https://münchen.example.com", "write an absolute URL"),
    ("https://user@siem.example.com", "must not hold a user name"),
    ("HTTPS://user:pw@siem.example.com", "must not hold a user name"),
    ("https:\\\\user@siem.example.com", "must not hold a user name"),
    ("https://@siem.example.com", "must not hold a user name"),
    ("https://siem.example.com/#x", "must not have a fragment"),
];

fn judge(kind: &str, name: &str, spec: &str) -> Result<String> {
    let spec = if spec == "{}" { String::new() } else { spec.to_owned() };
    let pool = if kind == "Pool" { "" } else { "poolRef: {name: p}, " };
    let yaml = format!(
        "apiVersion: aigateway.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{pool}{spec}}}\n"
    );
    kubectl_with(&yaml, &["apply", "--dry-run=server", "-n", "default", "-f", "-"])
}

#[test]
fn each_rule_accepts_and_refuses_with_its_sentence() -> Result<()> {
    let pools = POOLS.iter().map(|row| ("Pool", row));
    for (kind, (spec, sentence)) in pools.chain(SERVERS.iter().map(|row| ("McpServer", row))) {
        match judge(kind, "x", spec) {
            Ok(_) => ensure!(sentence.is_empty(), "{kind} {{{spec}}} was accepted"),
            Err(error) => {
                let said = error.to_string();
                ensure!(!sentence.is_empty() && said.contains(sentence), "{kind} {{{spec}}}: {said}");
            }
        }
    }
    for kind in ["Pool", "McpServer"] {
        let name = "n".repeat(64);
        let spec = if kind == "Pool" { "auth: {anonymous: true}" } else { "workload: {image: i}" };
        let said = judge(kind, &name, spec).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains("longer than 63 characters"), "{kind}: {said}");
        judge(kind, &name[..63], spec)?;
        let said = judge(kind, "3scale", spec).err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains("must begin with a letter"), "{kind}: {said}");
    }
    judge("McpServer", "3scale", "remote: {url: \"https://a.example.com/mcp\"}")?;
    Ok(())
}

#[test]
fn an_export_is_refused_with_the_sentence_of_its_rule() -> Result<()> {
    const SENTINEL: &str = "endpoint: \"https://a\", ruleId: dcr-1, stream: Custom-A, tenantId: 6b1f0c5e-4a43-4a5f-9d0a-0c7d1a2b3c4d, clientId: 6b1f0c5e-4a43-4a5f-9d0a-0c7d1a2b3c4e";
    let mut rows: Vec<(String, &str)> = Vec::new();
    for (spec, sentence) in EXPORTS {
        let spec = spec.replace("[S", "[{name: s, stdout: {}}").replace(", S]", ", {name: s, stdout: {}}]");
        rows.push((spec.replace(": R", ": {name: a, key: b}").replace("{N", &format!("{{{SENTINEL}")), sentence));
    }
    let refs = "secretRef: {name: a, key: b}";
    for (url, sentence) in URLS {
        rows.push((format!("destinations: [{{name: s, webhook: {{url: \"{url}\", {refs}}}}}]"), sentence));
    }
    // Each block has the rules.
    for (block, field) in [
        ("splunk: {tokenSecretRef: {name: a, key: b}, url: U}", "splunk.url"),
        ("datadog: {apiKeySecretRef: {name: a, key: b}, url: U}", "datadog.url"),
        ("otlp: {url: U}", "otlp.url"),
        ("eventBridge: {region: a, endpoint: U}", "eventBridge.endpoint"),
        ("coralogix: {domain: a.b, secretRef: {name: a, key: b}, url: U}", "coralogix.url"),
        ("elasticsearch: {secretRef: {name: a, key: b}, url: U}", "elasticsearch.url"),
        (
            "sentinel: {endpoint: U, ruleId: a, stream: a, tenantId: a, clientId: a, clientSecretRef: {name: a, key: b}}",
            "sentinel.endpoint",
        ),
        (
            "sentinel: {endpoint: \"https://a\", authority: U, ruleId: a, stream: a, tenantId: a, clientId: a, clientSecretRef: {name: a, key: b}}",
            "sentinel.authority",
        ),
    ] {
        for (url, rule) in [
            ("\"http://a.example.com\"", "must begin with https://"),
            ("\"https://u:p@a.example.com\"", "must not hold a user name"),
            ("\"https://a.example.com/#f\"", "must not have a fragment"),
            ("nonsense", "write an absolute URL"),
        ] {
            let spec = format!("destinations: [{{name: s, {}}}]", block.replace(": U", &format!(": {url}")));
            let said = judge("SiemExport", "x", &spec).err().map(|error| error.to_string()).unwrap_or_default();
            ensure!(said.contains(rule) && said.contains(field), "SiemExport {{{spec}}}: {said}");
        }
    }
    for (spec, sentence) in &rows {
        match judge("SiemExport", "x", spec) {
            Ok(_) => ensure!(sentence.is_empty(), "SiemExport {{{spec}}} was accepted"),
            Err(error) => {
                let said = error.to_string();
                ensure!(!sentence.is_empty() && said.contains(sentence), "SiemExport {{{spec}}}: {said}");
            }
        }
    }
    let said = judge("SiemExport", &"n".repeat(64), "destinations: [{name: s, stdout: {}}]");
    ensure!(said.err().is_some_and(|error| error.to_string().contains("longer than 63 characters")), "a long name");
    Ok(())
}

#[test]
fn a_prefix_can_not_be_changed() -> Result<()> {
    let ns = e2e::Namespace::new("e2e-prefix")?;
    ns.apply(&crate::remote("crm", "none", "https://a.example.com/mcp"))?;
    let patch = serde_json::json!({"spec": {"prefix": "other"}});
    let said = ns.patch("mcpserver", "crm", &patch).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("spec.prefix is immutable"), "{said}");
    ns.patch("mcpserver", "crm", &serde_json::json!({"spec": {"timeout": "5s"}}))?;
    Ok(())
}
