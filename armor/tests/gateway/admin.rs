//! The admin port and the command line.

use std::process::Command;

use serde_json::json;

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, echo};
use crate::harness::http;
use crate::harness::mcp::Legacy;

#[tokio::test]
async fn only_the_bearer_of_the_token_sees_configuration_and_servers() {
    let server = double::legacy(&["b", "a"], echo).await;
    let url = format!("{}?key=secret", server.url);
    let armor = Armor::start(&Config::new().server("one", &url)).await;
    for path in ["/config", "/servers"] {
        let url = format!("{}{path}", armor.admin);
        for wrong in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", "Bearer ")]] {
            assert_eq!(http::get(&url, wrong).await.status, 401, "{path} {wrong:?}");
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(armor.probe(path).await.unwrap().status, 200, "{path}");
    }
    assert_eq!(armor.probe("/nothing").await.unwrap().status, 404);
    let config = armor.admin("/config").await;
    assert_eq!(config["revision"], "r1");
    assert_eq!(config["synchronized"], true);
    assert!(config["lastError"].is_null() && config["credentialsRevision"].is_null());
    assert_eq!(config["config"]["pool"]["name"], "prod");
    let one = armor.server("one").await;
    assert_eq!(one["server"], json!({"name": "double", "version": "0", "protocolVersion": "2025-11-25"}));
    assert_eq!(one["tools"]["count"], 2);
    assert!(one["tools"]["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(!config.to_string().contains("key=secret") && !one.to_string().contains("key=secret"));
}

#[tokio::test]
async fn figures_have_bounded_labels() {
    let server = double::legacy(&["a"], echo).await;
    let armor = Armor::start(&Config::new().server("one", &server.url)).await;
    let client = Legacy::connect(&armor.url).await;
    client.call("one__a", json!({"text": "argument-value"})).await;
    client.call("made-up-tool", json!({})).await;
    client.ask("made/up-method", json!({})).await;
    let text = armor.probe("/metrics").await.unwrap().text();
    for line in [
        r#"armor_requests_total{method="tools/call",era="legacy",outcome="success"} 1"#,
        r#"armor_requests_total{method="tools/call",era="legacy",outcome="error"} 1"#,
        r#"armor_requests_total{method="other",era="legacy",outcome="error"} 1"#,
        r#"armor_upstream_requests_total{server="one",outcome="ok"} 1"#,
        r#"armor_server_ready{server="one"} 1"#,
        "armor_config_synchronized 1",
        "armor_sessions 1",
        "armor_in_flight 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    for word in ["made-up", "made/up", "argument-value"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn validate_says_line_and_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    let validate = || Command::new(env!("CARGO_BIN_EXE_armor")).args(["validate", "-f"]).arg(&file).output().unwrap();
    std::fs::write(&file, Config::new().yaml.to_string()).unwrap();
    let good = validate();
    assert!(good.status.success());
    assert!(String::from_utf8(good.stdout).unwrap().contains("valid, revision r1, 0 servers"));
    std::fs::write(&file, "revision: r1\npool:\n  id: x\n  colour: red\n").unwrap();
    let bad = validate();
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stderr).unwrap();
    assert!(text.contains("mine.yaml:4:3: pool.colour: unknown field `colour`"), "{text}");
}

#[tokio::test]
async fn a_key_made_on_the_command_line_opens_the_pool() {
    let made = Command::new(env!("CARGO_BIN_EXE_armor"))
        .args(["api-key", "create", "--user", "carol@example.com", "--groups", "a,b"])
        .output()
        .unwrap();
    let manifest = String::from_utf8(made.stdout).unwrap();
    let told = String::from_utf8(made.stderr).unwrap();
    let key = told.trim().rsplit(' ').next().unwrap();
    assert!(key.starts_with("agw_") && key.len() == 47, "{key}");
    assert!(!manifest.contains(key));
    let field = |name: &str| {
        let line = manifest.lines().find_map(|l| l.trim().strip_prefix(name)).unwrap();
        line.trim().trim_matches('"').to_owned()
    };
    let entry = format!("- {{id: carol, hash: '{}', user: {}}}", field("hash:"), field("user:"));
    let server = double::legacy(&["a"], echo).await;
    let mut config = Config::new().server("one", &server.url).secret("api-keys.yaml", &entry);
    config.yaml["auth"] = json!({"apiKeysFile": "api-keys.yaml"});
    let armor = Armor::start(&config).await;
    assert_eq!(Legacy::connect_as(&armor.url, Some(key)).await.tools().await, ["one__a"]);
}
