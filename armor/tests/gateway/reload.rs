//! Configuration that changes under a running Armor.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::armor::{ADMIN_TOKEN, Armor, Config};
use crate::harness::double::{self, Step, echo, event, events};
use crate::harness::eventually;
use crate::harness::mcp::Legacy;
use crate::harness::redis::Redis;

async fn revision(armor: &Armor) -> String {
    armor.admin("/config").await["revision"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_serves_at_once_and_a_wrong_one_leaves_the_last_good_one() {
    let redis = Redis::start().await;
    let first = double::legacy(&["a"], echo).await;
    let second = double::legacy(&["b"], echo).await;
    let mut config = Config::new().server("one", &first.url).redis(&redis.url);
    let armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    assert_eq!(client.tools().await, ["one__a"]);
    assert_eq!(armor.metric("armor_config_synchronized").await, 1.0);

    config = config.server("two", &second.url);
    config.yaml["revision"] = "r2".into();
    let started = Instant::now();
    armor.replace(&armor.config_file(), &config.yaml.to_string());
    eventually("the second server's tools", async || (client.tools().await == ["one__a", "two__b"]).then_some(()))
        .await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // What did not change was not probed anew: its probe kept its session.
    assert_eq!(first.seen("initialize").len(), 1);

    let good = config.yaml.to_string();
    for (wrong, expected) in [
        (good.replace("\"r2\"", "\"r3\",\"colour\":1"), "unknown field `colour`"),
        ("revision: [".to_owned(), "armor.yaml:1:"),
        (good.replace("\"one\"", "\"two\""), "is the name of an earlier server too"),
    ] {
        armor.replace(&armor.config_file(), &wrong);
        let state = eventually("refused", async || {
            let state = armor.admin("/config").await;
            state["lastError"].as_str().is_some_and(|e| e.contains(expected)).then_some(state)
        })
        .await;
        assert_eq!(state["synchronized"], false);
        assert_eq!(state["revision"], "r2");
        assert_eq!(armor.metric("armor_config_synchronized").await, 0.0);
        assert_eq!(client.tools().await, ["one__a", "two__b"]);
        assert_eq!(armor.probe("/readyz").await.unwrap().status, 200);
    }
    armor.replace(&armor.config_file(), &good);
    eventually("in sync again", async || armor.admin("/config").await["synchronized"].as_bool().filter(|s| *s)).await;

    let changes = redis.await_events("config_change", 3).await;
    assert_eq!(changes[0]["config.revision"], "r1");
    assert!(changes[0]["config.previous"].is_null());
    assert_eq!(
        (changes[1]["config.revision"].as_str(), changes[1]["config.previous"].as_str()),
        (Some("r2"), Some("r1"))
    );
}

#[tokio::test]
async fn the_kubelets_way_of_swapping_a_volume_is_seen() {
    let server = double::legacy(&["a"], echo).await;
    let config = Config::new().server("one", &server.url);
    let folder = tempfile::tempdir().unwrap();
    // ..2026_1/armor.yaml <- ..data <- armor.yaml, as in a ConfigMap volume.
    let volume = |name: &str, generation: &str, files: &[(String, String)]| {
        let base = folder.path().join(name);
        let data = base.join(generation);
        std::fs::create_dir_all(&data).unwrap();
        for (file, content) in files {
            std::fs::write(data.join(file), content).unwrap();
            let link = base.join(file);
            if !link.exists() {
                symlink(format!("..data/{file}"), link).unwrap();
            }
        }
        let fresh = base.join("..data_tmp");
        symlink(generation, &fresh).unwrap();
        std::fs::rename(fresh, base.join("..data")).unwrap();
    };
    let write = |generation: &str, revision: &str, credentials: &str| {
        let mut yaml = config.yaml.clone();
        yaml["revision"] = revision.into();
        volume("config", generation, &[("armor.yaml".to_owned(), yaml.to_string())]);
        let mut secrets = config.secrets.clone();
        secrets.push(("credentials-revision".to_owned(), credentials.to_owned()));
        volume("secrets", generation, &secrets);
    };
    write("..2026_1", "r1", "c1");
    let port = |part: &str| config.yaml[part]["port"].as_u64().unwrap();
    let armor = Armor::launch_in(folder, port("listener"), port("admin"));
    armor.ready().await;
    let state = armor.admin("/config").await;
    assert_eq!((state["revision"].as_str(), state["credentialsRevision"].as_str()), (Some("r1"), Some("c1")));
    let base = armor.folder.path().to_owned();
    let swap = |name: &str, generation: &str, file: &str, content: &str| {
        let data = base.join(name).join(generation);
        std::fs::create_dir_all(&data).unwrap();
        for entry in std::fs::read_dir(base.join(name).join("..data")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
        }
        std::fs::write(data.join(file), content).unwrap();
        let fresh = base.join(name).join("..data_tmp");
        symlink(generation, &fresh).unwrap();
        std::fs::rename(fresh, base.join(name).join("..data")).unwrap();
    };
    let started = Instant::now();
    let mut yaml = config.yaml.clone();
    yaml["revision"] = "r2".into();
    swap("config", "..2026_2", "armor.yaml", &yaml.to_string());
    eventually("the new configuration", async || (revision(&armor).await == "r2").then_some(())).await;
    swap("secrets", "..2026_2", "credentials-revision", "c2\n");
    eventually("the new credentials", async || {
        (armor.admin("/config").await["credentialsRevision"] == "c2").then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn credentials_are_taken_from_files_and_rotate_without_a_restart() {
    let server = double::Double::start(|request| async move {
        match request.header("authorization") {
            Some("Bearer new-token") => double::manners(&request, &["2025-11-25"], &["a"]).unwrap(),
            _ => double::status(401),
        }
    })
    .await;
    let config = Config::new().secret("crm-token", "old-token\n").server_with(
        "crm",
        &server.url,
        json!({"auth": {"bearer": {"tokenFile": "crm-token"}}}),
    );
    let armor = Armor::start(&config).await;
    assert_eq!(armor.server("crm").await["reason"], "OutboundAuthFailed");
    let started = Instant::now();
    armor.replace(&armor.secret_file("crm-token"), "new-token\n");
    eventually("ready", async || (armor.server("crm").await["state"] == "Ready").then_some(())).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    std::fs::remove_file(armor.secret_file("crm-token")).unwrap();
    eventually("missing", async || (armor.server("crm").await["reason"] == "CredentialMissing").then_some(())).await;
    assert_eq!(armor.admin("/config").await["synchronized"], true);
    for secret in ["old-token", "new-token", ADMIN_TOKEN] {
        assert!(!armor.log().contains(secret));
        assert!(!armor.admin("/config").await.to_string().contains(secret));
        assert!(!armor.admin("/servers").await.to_string().contains(secret));
    }
}

#[tokio::test]
async fn open_streams_live_on_through_a_change() {
    let server = double::legacy(&["a"], |_| async {
        events(vec![
            event(json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"n": 1}})),
            Step::Hang,
        ])
    })
    .await;
    let mut config = Config::new().server("one", &server.url);
    let armor = Armor::start(&config).await;
    let client = Legacy::connect(&armor.url).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__a"}}"#;
    let mut open = client.post_stream(body).await;
    assert!(open.event().await.unwrap().contains("\"n\":1"));
    config.yaml["revision"] = "r2".into();
    config.yaml["servers"] = json!([]);
    armor.replace(&armor.config_file(), &config.yaml.to_string());
    eventually("r2", async || (revision(&armor).await == "r2").then_some(())).await;
    assert!(client.tools().await.is_empty());
    // Only its own idle limit ends it.
    let last = open.event().await.unwrap();
    assert!(last.contains("504"), "{last}");
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_the_old_value_stays() {
    let mut config = Config::new();
    let armor = Armor::start(&config).await;
    let old = config.yaml["listener"]["port"].clone();
    config.yaml["listener"]["port"] = crate::harness::free_port().into();
    config.yaml["revision"] = "r2".into();
    armor.replace(&armor.config_file(), &config.yaml.to_string());
    let state = eventually("told", async || {
        let state = armor.admin("/config").await;
        state["lastError"].is_string().then_some(state)
    })
    .await;
    assert!(state["lastError"].as_str().unwrap().starts_with("listener.port can not be changed"), "{state}");
    assert_eq!(state["synchronized"], false);
    let reply = crate::harness::http::get(&armor.url, &[]).await;
    assert_eq!(reply.status, 405, "still on port {old}");
}

#[tokio::test]
async fn armor_waits_for_its_first_valid_configuration() {
    let server = double::legacy(&["a"], echo).await;
    let good = Config::new().server("one", &server.url);
    let mut bad = Config::new();
    bad.yaml = good.yaml.clone();
    bad.yaml["audit"] = json!({});
    let armor = Armor::launch(&bad);
    eventually("alive", async || armor.probe("/livez").await.filter(|r| r.status == 200)).await;
    let waits = armor.probe("/readyz").await.unwrap();
    assert_eq!((waits.status, waits.text().as_str()), (503, "waiting for a valid configuration\n"));
    assert_eq!(armor.probe("/config").await.unwrap().status, 503);
    eventually("said once", async || armor.log().contains("configuration refused").then_some(())).await;
    armor.replace(&armor.secret_file("hash-key"), &good.secrets[1].1);
    armor.replace(&armor.config_file(), &good.yaml.to_string());
    armor.ready().await;
    let refused = armor.log().matches("configuration refused").count();
    assert_eq!(refused, 1, "told once for each change");
    let client = Legacy::connect(&armor.url).await;
    eventually("tools", async || (client.tools().await == ["one__a"]).then_some(())).await;
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_named_and_taken_when_it_is_free() {
    let config = Config::new();
    let port = config.yaml["listener"]["port"].as_u64().unwrap();
    let taken = std::net::TcpListener::bind(("0.0.0.0", u16::try_from(port).unwrap())).unwrap();
    let armor = Armor::launch(&config);
    let waits = async || armor.probe("/readyz").await.filter(|r| r.text() == "waiting for the listener\n");
    assert_eq!(eventually("readyz names what it waits for", waits).await.status, 503);
    let said = async || armor.log().contains("port not bound").then_some(());
    eventually("the log names the port", said).await;
    assert!(armor.log().contains(&port.to_string()), "{}", armor.log());
    assert_eq!(armor.log().matches("port not bound").count(), 1, "told once");
    drop(taken);
    armor.ready().await;
}
