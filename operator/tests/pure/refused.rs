//! Every fault that validation finds: its condition, its reason, and a message with object, field and remedy.

use operator::child::Claim;
use operator::mcp_server::Fault;
use operator::pool::validate::{Redis, validate};
use operator::pool::{LiveRedis, configuration};

use proptest::prelude::*;
use serde_json::json;

use crate::input::Input;

struct Case {
    input: &'static str,
    /// `Accepted` or `ResolvedRefs`.
    condition: &'static str,
    reason: &'static str,
    says: &'static [&'static str],
}

fn check(fault: &Fault, case: &Case) {
    let condition = match fault {
        Fault::NotAccepted(_) => "Accepted",
        Fault::Unresolved(_) => "ResolvedRefs",
    };
    let problem = fault.problem();
    assert_eq!((condition, problem.reason), (case.condition, case.reason), "{}", problem.message);
    for part in case.says {
        assert!(problem.message.contains(part), "{:?} says {part:?}", problem.message);
    }
    assert!(!problem.message.contains("planted"), "a value leaked: {}", problem.message);
}

#[test]
fn faults_of_a_pool() {
    let cases = [
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, armor: {tls: {secretRef: {name: cert}}}}",
            condition: "ResolvedRefs",
            reason: "SecretNotFound",
            says: &["Secret cert", "spec.armor.tls.secretRef", "create it"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, armor: {tls: {secretRef: {name: cert}}}}\n---\nkind: Secret\nmetadata: {name: cert}\nstringData: {tls.crt: x}",
            condition: "ResolvedRefs",
            reason: "SecretKeyMissing",
            says: &["Secret cert", "tls.key", "add the key"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, audit: {hashKeySecretRef: {name: h, key: k}}}\n---\nkind: Secret\nmetadata: {name: h}\nstringData: {k: ' '}",
            condition: "ResolvedRefs",
            reason: "SecretEmpty",
            says: &["Secret h", "spec.audit.hashKeySecretRef", "fill it in"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, audit: {hashKeySecretRef: {name: h, key: k}}}\n---\nkind: Secret\nmetadata: {name: h}\nstringData: {k: planted}",
            condition: "ResolvedRefs",
            reason: "SecretInvalid",
            says: &["Secret h", "spec.audit.hashKeySecretRef", "shorter than 16 bytes", "openssl rand"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, armor: {tls: {secretRef: {name: cert}}}}\n---\nkind: Secret\nmetadata: {name: cert}\nstringData: {tls.crt: planted, tls.key: planted}",
            condition: "ResolvedRefs",
            reason: "SecretInvalid",
            says: &[
                "Secret cert",
                "spec.armor.tls.secretRef",
                "tls.crt holds no PEM certificate",
                "correct the Secret",
            ],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, redis: {external: {urlSecretRef: {name: r, key: url}, caRef: {name: c}}}}\n---\nkind: Secret\nmetadata: {name: r}\nstringData: {url: 'rediss://planted@r.example.com'}\n---\nkind: ConfigMap\nmetadata: {name: c}\ndata: {ca.crt: planted}",
            condition: "ResolvedRefs",
            reason: "ConfigMapInvalid",
            says: &["ConfigMap c", "ca.crt", "spec.redis.external.caRef", "correct the ConfigMap"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, redis: {external: {urlSecretRef: {name: r, key: url}}}}\n---\nkind: Secret\nmetadata: {name: r}\nstringData: {url: 'http://planted'}",
            condition: "ResolvedRefs",
            reason: "SecretInvalid",
            says: &["Secret r", "url", "redis:// or rediss://"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, redis: {managed: {resources: {limits: {memory: 500Mi}}}}}",
            condition: "Accepted",
            reason: "MemoryTooSmall",
            says: &["spec.redis.managed.resources.limits.memory", "500Mi", "544Mi", "spec.audit.streamMaxBytes"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, audit: {retain: 1d}}",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.audit.retain", "'1d'", "24h"],
        },
        Case {
            input: "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}, redis: {managed: {persistence: {size: 1Gi}}}, audit: {streamMaxBytes: 512Mi}}",
            condition: "Accepted",
            reason: "VolumeTooSmall",
            says: &["spec.redis.managed.persistence.size", "spec.audit.streamMaxBytes"],
        },
    ];
    for case in &cases {
        let input = Input::parse(case.input);
        let pool = &input.pools[0];
        let Err(fault) = validate(pool, &input.dereference(pool)) else {
            panic!("refused with {}: {}", case.reason, case.input)
        };
        check(&fault, case);
    }
}

#[test]
fn faults_of_a_server_leave_the_rest_of_the_pool_alone() {
    const POOL: &str = "kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}}\n---\nkind: McpServer\nmetadata: {name: good, creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {poolRef: {name: p}, remote: {url: 'https://good.example.com/mcp'}}\n---\n";
    let cases = [
        Case {
            input: "kind: McpServer\nmetadata: {name: bad, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {poolRef: {name: p}, prefix: good, remote: {url: 'https://x.example.com'}}",
            condition: "Accepted",
            reason: "PrefixCollision",
            says: &["McpServer good", "spec.prefix"],
        },
        Case {
            input: "kind: McpServer\nmetadata: {name: bad, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {poolRef: {name: p}, prefix: '', remote: {url: 'https://x.example.com'}}",
            condition: "Accepted",
            reason: "PrefixCollision",
            says: &["without a prefix", "McpServer good"],
        },
        Case {
            input: "kind: McpServer\nmetadata: {name: bad, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {poolRef: {name: p}, remote: {url: 'https://x.example.com'}, auth: {bearer: {secretRef: {name: none, key: t}}}}",
            condition: "ResolvedRefs",
            reason: "SecretNotFound",
            says: &["Secret none", "spec.auth.bearer.secretRef"],
        },
        Case {
            input: "kind: McpServer\nmetadata: {name: bad, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {poolRef: {name: p}, remote: {url: 'HTTPS://planted:planted@x.example.com'}}",
            condition: "Accepted",
            reason: "InvalidUrl",
            says: &["spec.remote.url", "must not hold a user name", "spec.auth"],
        },
        Case {
            input: "kind: McpServer\nmetadata: {name: bad, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {poolRef: {name: p}, remote: {url: 'https://x.example.com'}, tools: {deny: ['日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日日']}}",
            condition: "Accepted",
            reason: "InvalidSpec",
            says: &["spec.tools.deny", "more than 256 bytes"],
        },
        Case {
            input: "kind: McpServer\nmetadata: {name: bad, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {poolRef: {name: p}, remote: {url: 'https://x.example.com', caRef: {name: none}}}",
            condition: "ResolvedRefs",
            reason: "ConfigMapNotFound",
            says: &["ConfigMap none", "spec.remote.caRef"],
        },
        Case {
            input: "kind: McpServer\nmetadata: {name: bad, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {poolRef: {name: p}, remote: {url: 'https://x.example.com', caRef: {name: ca}}}\n---\nkind: ConfigMap\nmetadata: {name: ca}\ndata: {ca.crt: planted}",
            condition: "ResolvedRefs",
            reason: "ConfigMapInvalid",
            says: &["ConfigMap ca", "ca.crt", "spec.remote.caRef", "correct the ConfigMap"],
        },
    ];
    for case in &cases {
        let input = Input::parse(&format!("{POOL}{}", case.input));
        let pool = &input.pools[0];
        let outcome = validate(pool, &input.dereference(pool)).unwrap();
        let names: Vec<&str> = outcome.pool.servers.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["good"], "{}", case.reason);
        check(&outcome.refused["bad"], case);
    }
}

#[test]
fn a_bad_api_key_is_left_out_and_named() {
    let input = Input::parse(
        "kind: Pool\nmetadata: {name: p}\nspec: {auth: {apiKeys: {secretSelector: {matchLabels: {team: t1}}}}}\n---\nkind: Secret\nmetadata: {name: broken, labels: {team: t1}}\nstringData: {hash: planted, user: u}",
    );
    let outcome = validate(&input.pools[0], &input.dereference(&input.pools[0])).unwrap();
    let problem = outcome.partial.unwrap();
    assert_eq!(problem.reason, "ApiKeyInvalid");
    assert!(problem.message.contains("Secret broken") && problem.message.contains("hash"), "{}", problem.message);
    assert!(!problem.message.contains("planted"));
}

#[test]
fn no_api_key_at_all_lets_nobody_in_and_says_so() {
    let input = Input::parse(
        "kind: Pool\nmetadata: {name: p}\nspec: {auth: {apiKeys: {secretSelector: {matchLabels: {team: t1}}}}}",
    );
    let outcome = validate(&input.pools[0], &input.dereference(&input.pools[0])).unwrap();
    assert_eq!(outcome.partial.unwrap().reason, "NoApiKeys");
}

#[test]
fn a_volume_that_is_there_is_never_asked_to_change() {
    let pool = |redis: &str, stream: &str| {
        format!(
            "kind: Pool\nmetadata: {{name: p}}\nspec: {{auth: {{anonymous: true}}, redis: {{managed: {{persistence: {redis}}}}}, audit: {{streamMaxBytes: {stream}}}}}"
        )
    };
    let volume = |size: &str, class: Option<&str>| Claim { size: size.into(), class: class.map(Into::into) };
    let one = Some(volume("1Gi", Some("fast")));
    for (persistence, stream, live, expected) in [
        ("{}", "256Mi", one.clone(), Ok("1Gi")),
        // What was written for another stream stays.
        ("{}", "128Mi", Some(volume("2Gi", None)), Ok("2Gi")),
        ("{size: 1024Mi, storageClassName: fast}", "256Mi", one.clone(), Ok("1Gi")),
        ("{}", "512Mi", one.clone(), Err(("VolumeTooSmall", "spec.audit.streamMaxBytes"))),
        ("{size: 2Gi}", "256Mi", one.clone(), Err(("ImmutableField", "spec.redis.managed.persistence.size"))),
        ("{storageClassName: slow}", "256Mi", one.clone(), Err(("ImmutableField", "storageClassName"))),
        ("{enabled: false}", "256Mi", one, Err(("ImmutableField", "set it back to true"))),
        ("{}", "256Mi", None, Err(("ImmutableField", "set it to false"))),
        ("{enabled: false}", "256Mi", None, Ok("1Gi")),
    ] {
        let input = Input::parse(&pool(persistence, stream));
        let mut found = input.dereference(&input.pools[0]);
        found.redis = LiveRedis::Runs(live);
        match (validate(&input.pools[0], &found), expected) {
            (Ok(outcome), Ok(size)) => {
                let Redis::Managed { volume, .. } = outcome.pool.redis else { panic!("managed") };
                assert_eq!(volume, size, "{persistence} {stream}");
            }
            (Err(fault), Err((reason, says))) => {
                let problem = fault.problem();
                assert_eq!(problem.reason, reason, "{}", problem.message);
                assert!(problem.message.contains(says), "{}", problem.message);
                assert!(problem.message.contains("StatefulSet p-redis"), "{}", problem.message);
            }
            (got, want) => panic!("{persistence} {stream}: {got:?}, not {want:?}"),
        }
    }
}

#[test]
fn a_claim_of_somebody_else_is_never_used() {
    let input = Input::parse("kind: Pool\nmetadata: {name: p}\nspec: {auth: {anonymous: true}}");
    let mut found = input.dereference(&input.pools[0]);
    found.redis = LiveRedis::ForeignClaim("data-p-redis-0".into());
    let Err(fault) = validate(&input.pools[0], &found) else { panic!("refused") };
    assert_eq!(fault.problem().reason, "NameConflict");
    assert!(fault.problem().message.contains("PersistentVolumeClaim data-p-redis-0"), "{}", fault.problem().message);
}

#[test]
fn servers_that_do_not_fit_are_left_out_and_the_earlier_ones_stay() {
    let certificate = rcgen::generate_simple_self_signed(["ca.example.com".to_owned()]).unwrap().cert.pem();
    let bundle: String = certificate.repeat((250 << 10) / certificate.len());
    let indented: String = bundle.lines().map(|line| format!("    {line}\n")).collect();
    let mut text = format!(
        "kind: Pool\nmetadata: {{name: p}}\nspec: {{auth: {{anonymous: true}}}}\n---\nkind: ConfigMap\nmetadata: {{name: all}}\ndata:\n  ca.crt: |\n{indented}"
    );
    for (name, day) in [("newest", 9), ("a", 1), ("b", 2), ("c", 3)] {
        text += &format!(
            "\n---\nkind: McpServer\nmetadata: {{name: {name}, creationTimestamp: '2026-01-0{day}T00:00:00Z'}}\nspec: {{poolRef: {{name: p}}, remote: {{url: 'https://{name}.example.com/mcp', caRef: {{name: all}}}}}}"
        );
    }
    let input = Input::parse(&text);
    let outcome = validate(&input.pools[0], &input.dereference(&input.pools[0])).unwrap();
    let names: Vec<&str> = outcome.pool.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let problem = outcome.left_out["newest"].problem();
    assert_eq!(problem.reason, "CredentialsTooLarge");
    assert!(problem.message.contains("spec.remote.caRef"), "{}", problem.message);
}

proptest! {
    /// One server that Armor refuses would have it refuse the configuration of the whole pool.
    #[test]
    fn whatever_is_accepted_of_a_server_is_accepted_by_armor(
        scheme in "https?|HTTPS?|ftp|Http", user in "([a-z]{1,3}(:[a-z]{0,2})?@)?", host in "[a-zA-Z0-9.-]{0,12}|\\[::1\\]|münchen",
        rest in "(:[0-9]{0,5})?(/[ -~]{0,20})?", prefix in "([a-z][a-z0-9_-]{0,9}[a-z0-9])?",
        globs in prop::collection::vec("[ -~日é]{0,140}", 0..4), timeout in "[0-9]{1,4}(ms|s|m)",
    ) {
        let spec = json!({"poolRef": {"name": "p"}, "prefix": prefix, "remote": {"url": format!("{scheme}://{user}{host}{rest}")},
            "tools": {"allow": globs, "deny": globs}, "timeout": timeout});
        let server = json!({"kind": "McpServer", "metadata": {"name": "crm"}, "spec": spec});
        let text = format!("kind: Pool\nmetadata: {{name: p}}\nspec: {{auth: {{anonymous: true}}}}\n---\n{server}");
        let input = Input::parse(&text);
        let outcome = validate(&input.pools[0], &input.dereference(&input.pools[0])).unwrap();
        let configuration = configuration(&outcome.pool, None).unwrap();
        let yaml = serde_saphyr::to_string(&configuration.document).unwrap();
        // The schema judges timeouts and prefixes before the operator sees them.
        let judged_by_schema = |error: &str| error.contains("timeout") || error.contains("prefix");
        if let Err(error) = armor::config::load::parse_document(yaml.as_bytes()) {
            prop_assert!(judged_by_schema(&error.to_string()), "{error}\n{yaml}");
        }
    }
}
