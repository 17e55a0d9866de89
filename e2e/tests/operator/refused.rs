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

fn judge(kind: &str, name: &str, spec: &str) -> Result<String> {
    let spec = if spec == "{}" { String::new() } else { spec.to_owned() };
    let pool = if kind == "McpServer" { "poolRef: {name: p}, " } else { "" };
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
fn a_prefix_can_not_be_changed() -> Result<()> {
    let ns = e2e::Namespace::new("e2e-prefix")?;
    ns.apply(&crate::remote("crm", "none", "https://a.example.com/mcp"))?;
    let patch = serde_json::json!({"spec": {"prefix": "other"}});
    let said = ns.patch("mcpserver", "crm", &patch).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains("spec.prefix is immutable"), "{said}");
    ns.patch("mcpserver", "crm", &serde_json::json!({"spec": {"timeout": "5s"}}))?;
    Ok(())
}
