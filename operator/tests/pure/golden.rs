//! Golden manifests: `golden/NAME.input.yaml` through the real validate and build gives `golden/NAME.yaml`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p operator --test pure` writes the files anew.

use std::path::PathBuf;

use operator::{mcp_server, pool};
use serde_json::Value;

use crate::input::{Input, settings};

/// Every child of every object of the input, in the order in which they are applied.
pub fn manifests(input: &Input) -> Vec<Value> {
    let settings = settings();
    let mut manifests = Vec::new();
    for object in &input.pools {
        let outcome = pool::validate::validate(object, &input.dereference(object)).unwrap();
        assert_eq!(outcome.refused, Default::default(), "a golden input refuses nothing");
        let configuration = pool::configuration(&outcome.pool, Some("cluster-uid")).unwrap();
        let resources = pool::build(&outcome.pool, &configuration, &settings).unwrap();
        manifests.extend(resources.manifests());
    }
    for server in &input.servers {
        let policies = input.pools.iter().all(|pool| pool.spec.network_policy.enabled);
        manifests
            .extend(mcp_server::build(server, policies, &settings).unwrap().into_iter().flat_map(|r| r.manifests()));
    }
    manifests
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pure/golden")
}

#[test]
fn rendered_manifests_are_the_golden_ones() {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.to_string_lossy().ends_with(".input.yaml"));
    names.sort();
    assert!(names.len() >= 4, "golden inputs are missing");
    for path in names {
        let input = Input::parse(&std::fs::read_to_string(&path).unwrap());
        let documents: Vec<String> = manifests(&input).iter().map(|m| serde_saphyr::to_string(m).unwrap()).collect();
        let rendered = documents.join("---\n");
        let golden = PathBuf::from(path.to_string_lossy().replace(".input.yaml", ".yaml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &rendered).unwrap();
        }
        similar_asserts::assert_eq!(
            std::fs::read_to_string(&golden).unwrap_or_default(),
            rendered,
            "{}",
            path.display()
        );
    }
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    let text = std::fs::read_to_string(folder().join("full.input.yaml")).unwrap();
    assert_eq!(manifests(&Input::parse(&text)), manifests(&Input::parse(&text)));
}

#[test]
fn no_secret_value_is_in_any_manifest_but_the_credentials() {
    let text = std::fs::read_to_string(folder().join("full.input.yaml")).unwrap();
    let rendered = serde_json::to_string(&manifests(&Input::parse(&text))).unwrap();
    let tls_key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUHcQ0V33Iopm9ZvX";
    for planted in ["planted-bearer", "planted-header", "planted-hash-key", tls_key] {
        assert!(text.contains(planted), "{planted} is in the input");
        assert!(!rendered.contains(planted), "{planted} leaked into a manifest");
    }
}
