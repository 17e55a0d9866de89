use super::*;

const GOOD: &str = r#"
revision: "r1"
pool: {id: 11f1-pool, name: prod, namespace: gateways}
listener: {port: 8080}
admin: {port: 9090, tokenFile: admin-token}
auth: {anonymous: true}
redis: {url: "redis://localhost:6379"}
audit: {stream: "audit:{11f1-pool}:events", streamMaxBytes: 1000, parameters: Names}
servers:
- name: crm
  prefix: crm
  url: https://crm.example.com/mcp?key=abc
- name: wiki
  prefix: wiki
  url: https://wiki.example.com/mcp
"#;

fn error_of(text: &str) -> String {
    parse_document(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_good_document_is_accepted() {
    let document = parse_document(GOOD.as_bytes()).unwrap();
    assert_eq!(document.servers.len(), 2);
    assert_eq!(document.servers[0].timeout.0.as_secs(), 30);
    assert!(document.servers[0].tools.offers("anything"));
}

#[test]
fn refusals_name_line_column_path_and_remedy() {
    for (from, to, expected) in [
        (
            "  prefix: wiki\n",
            "  prefix: wiki\n  colour: red\n",
            "armor.yaml:15:3: servers[1].colour: unknown field `colour`",
        ),
        ("listener: {port: 8080}", "listener: {port: 80800}", "armor.yaml:4:18: listener.port: "),
        (
            "listener: {port: 8080}",
            "listener: {port: 9090}",
            "admin.port: 9090 is listener.port too: write another one",
        ),
        ("  prefix: wiki\n", "  prefix: wi__ki\n", "armor.yaml:14:11: servers[1].prefix: 'wi__ki' is not a prefix"),
        ("  prefix: wiki\n", "  prefix: ''\n", "armor.yaml:13:1: servers[1].prefix: 'wiki' has no prefix"),
        ("- name: wiki", "- name: crm", "armor.yaml:13:1: servers[1].name: 'crm' is the name of an earlier server too"),
        (
            "auth: {anonymous: true}",
            "auth: {}",
            "armor.yaml:6:7: auth: auth: set exactly one of 'anonymous: true' and 'apiKeysFile'",
        ),
        ("revision: \"r1\"\n", "", "missing field `revision`"),
        (
            "parameters: Names",
            "parameters: NamesAndHashes",
            "audit: audit: 'parameters: NamesAndHashes' needs 'hashKeyFile'",
        ),
        ("redis://localhost:6379", "redis://:secret@localhost:6379", "a URL with a credential belongs into urlFile"),
        ("pool: {", "pool: [", "armor.yaml:3:"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = error_of(&GOOD.replacen(from, to, 1));
        assert!(error.contains(expected), "{to:?}\n   got: {error}\n  want: {expected}");
    }
}

#[test]
fn a_document_that_is_no_yaml_is_refused() {
    for text in ["", "\u{0}", ": :", "[", "a: b: c", "- 1"] {
        assert!(parse_document(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn the_redacted_text_has_no_url_query() {
    let redacted = redact(GOOD.as_bytes()).to_string();
    assert!(redacted.contains("https://crm.example.com/mcp?(redacted)"), "{redacted}");
    assert!(!redacted.contains("abc"));
}

fn files(auth: &str, secrets: &[(&str, &str)]) -> Files {
    let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let config = GOOD.replace("auth: {anonymous: true}", auth).into_bytes();
    Files::from_parts(config, secrets)
}

#[test]
fn keys_are_read_strictly() {
    let hash = "ab".repeat(32);
    let good = format!("- {{id: k1, hash: 'sha256:{hash}', user: alice@example.com, groups: [a]}}\n");
    let loaded = Loaded::parse(files(
        "auth: {apiKeysFile: api-keys.yaml}",
        &[("api-keys.yaml", &good), ("credentials-revision", "c7\n")],
    ))
    .unwrap();
    assert_eq!(loaded.api_keys.len(), 1);
    assert_eq!(loaded.api_keys[0].hash.0, [0xab; 32]);
    assert_eq!(loaded.credentials_revision.as_deref(), Some("c7"));

    let extra = good.replace("user:", "role: admin, user:");
    for (content, expected) in [
        (extra.as_str(), "api-keys.yaml:1:"),
        ("- {id: k1, hash: 'md5:00', user: a}", "a key hash is 'sha256:' and 64"),
    ] {
        let error = Loaded::parse(files("auth: {apiKeysFile: api-keys.yaml}", &[("api-keys.yaml", content)]))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = Loaded::parse(files("auth: {apiKeysFile: api-keys.yaml}", &[])).err().unwrap();
    assert!(error.to_string().contains("'api-keys.yaml' (auth.apiKeysFile) is missing"));
    let empty = Loaded::parse(files("auth: {apiKeysFile: api-keys.yaml}", &[("api-keys.yaml", "\n")])).unwrap();
    assert!(empty.api_keys.is_empty());
}

#[test]
fn the_digest_tells_files_apart() {
    let digest = |secrets: &[(&str, &str)]| files("auth: {anonymous: true}", secrets).digest();
    assert_eq!(digest(&[("a", "bc")]), digest(&[("a", "bc")]));
    assert_ne!(digest(&[("a", "bc")]), digest(&[("ab", "c")]));
    assert_ne!(digest(&[]), digest(&[("a", "")]));
}
