//! Every fault that validation finds: its condition, its reason, and a message with object, field and remedy.

use operator::mcp_server::Fault;
use operator::pool::validate::validate;

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
