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
        let mut outcome = pool::validate::validate(object, &input.dereference(object)).unwrap();
        outcome.pool.exports.extend(input.exports());
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
    for name in ["full", "exporter"] {
        let text = std::fs::read_to_string(folder().join(format!("{name}.input.yaml"))).unwrap();
        assert_eq!(manifests(&Input::parse(&text)), manifests(&Input::parse(&text)));
    }
}

/// What a pool's `exporter.yaml` says.
fn exporter_document(input: &Input) -> Option<exporter::config::Document> {
    let yaml = manifests(input).iter().find_map(|m| m["data"]["exporter.yaml"].as_str().map(str::to_owned))?;
    Some(exporter::config::parse(yaml.as_bytes()).unwrap())
}

#[test]
fn the_exporter_reads_what_is_written_for_it() {
    for name in ["exporter", "exporter-defaults"] {
        let text = std::fs::read_to_string(folder().join(format!("{name}.input.yaml"))).unwrap();
        let input = Input::parse(&text);
        let document = exporter_document(&input).unwrap();
        let exports: Vec<_> = input.exports().into_iter().map(|programmed| programmed.export).collect();
        assert_eq!(document.exports, exports, "{name}");
    }
}

#[test]
fn without_an_export_there_is_no_exporter() {
    let text = std::fs::read_to_string(folder().join("exporter.input.yaml")).unwrap();
    let (pool, _) = text.split_once("\n---\nkind: Programmed").unwrap();
    let rendered = manifests(&Input::parse(pool));
    let left: Vec<&Value> =
        rendered.iter().filter(|m| m["metadata"]["labels"]["app.kubernetes.io/component"] == "exporter").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(rendered.iter().any(|m| m["kind"] == "PodMonitor"), "the one of Armor stays");
}

#[test]
fn a_changed_export_changes_the_revision_and_a_new_credential_that_of_the_credentials() {
    let text = std::fs::read_to_string(folder().join("exporter.input.yaml")).unwrap();
    let revisions = |text: &str| {
        let input = Input::parse(text);
        let mut outcome = pool::validate::validate(&input.pools[0], &input.dereference(&input.pools[0])).unwrap();
        outcome.pool.exports = input.exports();
        (exporter_document(&input).unwrap().revision, pool::exporter_credentials(&outcome.pool).unwrap())
    };
    let first = revisions(&text);
    for (from, to, expected) in [
        ("index: mcp", "index: other", (true, false)),
        ("soc.splunk.tokenSecretRef: planted", "soc.splunk.caRef: planted", (false, true)),
        ("image: exporter-image:7", "image: exporter-image:8", (false, false)),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = revisions(&text.replace(from, to));
        assert_eq!((changed.0 != first.0, changed.1 != first.1), expected, "{to}");
    }
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
    for name in ["exporter", "exporter-defaults"] {
        let text = std::fs::read_to_string(folder().join(format!("{name}.input.yaml"))).unwrap();
        let rendered = serde_json::to_string(&manifests(&Input::parse(&text))).unwrap();
        assert!(text.contains("planted") && !rendered.contains("planted"), "a value of {name} leaked into a manifest");
    }
}
