//! Reads a set of YAML documents as the cluster that a reconcile sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Parser;
use crds::{McpServer, Pool, SiemExport};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use operator::mcp_server::{Credential, References};
use operator::pool::{Dereferenced, LiveRedis, references_of};
use operator::settings::{Cli, Command, Settings};
use operator::siem_export::Programmed;
use operator::world::{Lookup, Material, Source};
use serde::Deserialize;
use serde_json::Value;

/// The objects of one namespace.
#[derive(Default)]
pub struct Input {
    pub pools: Vec<Pool>,
    pub servers: Vec<McpServer>,
    pub exports: Vec<SiemExport>,
    secrets: BTreeMap<String, (Arc<Material>, BTreeMap<String, String>)>,
    config_maps: BTreeMap<String, Arc<Material>>,
    programmed: Vec<Export>,
}

/// What a SiemExport comes to: `kind: Programmed`.
#[derive(Deserialize)]
struct Export {
    export: exporter::config::Export,
    #[serde(default)]
    keep: Vec<String>,
    #[serde(default)]
    credentials: BTreeMap<String, String>,
}

impl Input {
    /// Parses documents; each gets the uid `<kind>-<name>-uid`, as if it came from an API server.
    pub fn parse(text: &str) -> Self {
        let mut input = Input::default();
        for document in text.split("\n---\n").filter(|document| document.contains("kind")) {
            let mut value: Value = serde_saphyr::from_str(document).unwrap();
            let (kind, name) =
                (value["kind"].as_str().unwrap().to_owned(), value["metadata"]["name"].as_str().unwrap().to_owned());
            value["metadata"]["namespace"] = "gateways".into();
            value["metadata"]["uid"] = format!("{}-{name}-uid", kind.to_lowercase()).into();
            value["metadata"]["generation"] = 1.into();
            let version = format!("{name}:1");
            match kind.as_str() {
                "Pool" => input.pools.push(serde_json::from_value(value).unwrap()),
                "McpServer" => input.servers.push(serde_json::from_value(value).unwrap()),
                "SiemExport" => input.exports.push(serde_json::from_value(value).unwrap()),
                "Secret" => {
                    let secret = Secret::deserialize(value).unwrap();
                    let data = secret.string_data.clone().unwrap_or_default();
                    let data = data.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
                    let material = Material::new(Source::Secret, &name, &version, data)
                        .with_metadata(secret.labels().clone(), secret.annotations().clone());
                    input.secrets.insert(name, (Arc::new(material), secret.labels().clone()));
                }
                "ConfigMap" => {
                    let data = ConfigMap::deserialize(value).unwrap().data.unwrap_or_default();
                    let data = data.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
                    input
                        .config_maps
                        .insert(name.clone(), Arc::new(Material::new(Source::ConfigMap, &name, &version, data)));
                }
                "Programmed" => input.programmed.push(serde_json::from_value(value).unwrap()),
                other => panic!("no such kind in a golden input: {other}"),
            }
        }
        input
    }

    /// What a SiemExport's references lead to.
    pub fn references(&self, export: &SiemExport) -> operator::siem_export::References {
        let secret = |name: &str| self.secrets.get(name).map(|(material, _)| material.clone());
        let (secrets, config_maps) = (export.spec.secret_names(), export.spec.config_map_names());
        operator::siem_export::References {
            secrets: secrets.into_iter().map(|name| (name.to_owned(), secret(name))).collect(),
            config_maps: config_maps
                .into_iter()
                .map(|name| (name.to_owned(), self.config_maps.get(name).cloned()))
                .collect(),
        }
    }

    /// What the exporter of the pool is told and given.
    pub fn exports(&self) -> Vec<Programmed> {
        let programmed = |one: &Export| Programmed {
            name: one.export.name.clone(),
            export: one.export.clone(),
            keep: one.keep.clone(),
            credentials: one
                .credentials
                .iter()
                .map(|(file, value)| Credential {
                    file: file.clone(),
                    origin: format!("{file}:1"),
                    value: value.clone().into_bytes().into(),
                })
                .collect(),
        };
        self.programmed.iter().map(programmed).collect()
    }

    /// What the pool's references lead to.
    pub fn dereference(&self, pool: &Pool) -> Dereferenced {
        let secret = |name: &str| -> Lookup { self.secrets.get(name).map(|(material, _)| material.clone()) };
        let config_map = |name: &str| -> Lookup { self.config_maps.get(name).cloned() };
        let named = references_of(pool);
        let keys = pool.spec.auth.as_ref().and_then(|auth| auth.api_keys.as_ref());
        let servers = self.servers.iter().filter(|server| server.spec.pool_ref.name == pool.name_any());
        let exports =
            self.exports.iter().filter(|one| operator::siem_export::selects(one, &pool.name_any(), pool.labels()));
        Dereferenced {
            exports: exports.map(|one| (Arc::new(DeserializeGuard(Ok(one.clone()))), self.references(one))).collect(),
            malformed_exports: Vec::new(),
            has_exporter: false,
            redis: LiveRedis::None,
            tls: named.tls.map(secret),
            redis_url: named.redis_url.map(secret),
            redis_ca: named.redis_ca.map(config_map),
            hash_key: named.hash_key.map(secret),
            api_keys: keys
                .map(|keys| {
                    let selected = |labels| operator::references::selects(&keys.secret_selector, labels);
                    self.secrets
                        .values()
                        .filter(|(_, labels)| selected(labels))
                        .map(|(material, _)| material.clone())
                        .collect()
                })
                .unwrap_or_default(),
            servers: servers
                .map(|server| {
                    let names = operator::mcp_server::secret_names(server);
                    let ca = server.spec.remote.as_ref().and_then(|remote| remote.ca_ref.as_ref());
                    let references = References {
                        secrets: names.into_iter().map(|name| (name.clone(), secret(&name))).collect(),
                        ca: ca.map(|ca| config_map(&ca.name)),
                    };
                    (Arc::new(DeserializeGuard(Ok(server.clone()))), references)
                })
                .collect(),
        }
    }
}

/// Settings as a fresh chart gives them, with images that differ from every other name.
pub fn settings() -> Settings {
    let cli = Cli::parse_from([
        "operator",
        "run",
        "--armor-image",
        "armor:test",
        "--exporter-image",
        "exporter:test",
        "--redis-image",
        "redis:test",
        "--namespace",
        "operators",
    ]);
    match cli.command {
        Command::Run(settings) => *settings,
        Command::Crds { .. } => unreachable!("the command line says run"),
    }
}
