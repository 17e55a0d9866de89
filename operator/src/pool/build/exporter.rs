//! The exporter: its configuration, Secrets, ServiceAccount, Service, Deployment and PodDisruptionBudget.
//!
//! It is there while a SiemExport selects the pool. When the last one goes, it goes at once, and the consumer groups that it
//! had stay in Redis: the stream is bounded by `audit.streamMaxBytes` with and without them, the next exporter of the pool
//! removes those that nothing names, and one for a SiemExport of the same name goes on where the last one was.

use std::collections::BTreeMap;

use daemon::values::{FileName, Span};
use exporter::config::{Admin, Audit, CONFIG_FILE, Document, Pool};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Secret, Service, ServicePort, ServiceSpec, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::parts::{
    account, arguments, copied_files, generated_file, meta, mounts, named_port, pod_name, probe, volumes as both,
};
use super::{network, parts, port, secrets};
use crate::child::{Child, Kind, Prepared};
use crate::mcp_server::Credential;
use crate::names::{child_name, labels, selector};
use crate::pool::validate::{Redis, ValidatedPool};
use crate::settings::Settings;
use crate::workload::{pod_template, resources};

/// Name of the component.
pub(super) const COMPONENT: &str = "exporter";
/// The exporter finishes the requests that are under way, and acknowledges what they delivered.
const GRACE_SECONDS: i64 = 30;
/// Files of the pool's own credentials that the exporter needs too.
const REDIS_FILES: [&str; 2] = ["redis-url", "redis-ca.crt"];

/// What delivers the audit trail.
#[derive(Debug)]
pub struct ExporterResources<S> {
    /// The token of its API, made once.
    pub admin: Child<S>,
    /// Copies of values that users own; absent when there are none.
    pub credentials: Option<Child<S>>,
    /// Its identity; absent when the user names one.
    pub account: Option<Child<S>>,
    /// Lets the operator in, and nobody else; absent when switched off.
    pub network_policy: Option<Child<S>>,
    /// `exporter.yaml`.
    pub config: Child<S>,
    /// The Service of its API.
    pub service: Child<S>,
    /// The exporter.
    pub deployment: Child<S>,
    /// Keeps one during drains; absent for a single one.
    pub disruption_budget: Option<Child<S>>,
}

pub(super) fn resources_of(
    pool: &ValidatedPool,
    document: &Document,
    settings: &Settings,
) -> Result<ExporterResources<Prepared>, serde_json::Error> {
    let replicas = pool.exporter_replicas;
    let budget = (replicas > 1).then(|| parts::disruption_budget(pool, COMPONENT, IntOrString::Int(1)));
    let account = pool.exporter.service_account().is_none().then(|| account(pool, COMPONENT));
    Ok(ExporterResources {
        admin: secrets::admin(pool, "exporter-admin", COMPONENT)?,
        credentials: copies(pool)?,
        account: account.transpose()?,
        network_policy: network::exporter(pool, settings)?,
        config: config_map(pool, document)?,
        service: service(pool)?,
        deployment: deployment(pool, settings)?,
        disruption_budget: budget.transpose()?,
    })
}

/// What the exporter is told; `None` where it has nothing to do. Equal pools give equal documents.
///
/// # Errors
/// When a value can not be written as JSON, which none is.
pub(super) fn document(pool: &ValidatedPool, cluster_id: Option<&str>) -> Result<Option<Document>, serde_json::Error> {
    if pool.exports.is_empty() {
        return Ok(None);
    }
    let file = |name: &str| FileName::try_from(name.to_owned()).map_err(defect);
    let redis = match &pool.redis {
        Redis::Managed { .. } => daemon::redis::Spec {
            url: daemon::redis::Url::Plain(super::config::redis_url(pool)),
            password_file: Some(file("redis-password")?),
            ca_file: None,
        },
        Redis::External { with_ca } => daemon::redis::Spec {
            url: daemon::redis::Url::File(file(REDIS_FILES[0])?),
            password_file: None,
            ca_file: with_ca.then(|| file(REDIS_FILES[1])).transpose()?,
        },
    };
    let mut document = Document {
        revision: String::new(),
        pool: Pool { id: pool.uid.clone(), name: pool.name.clone(), namespace: pool.owner.namespace.clone() },
        cluster_id: cluster_id.map(str::to_owned),
        admin: Admin {
            port: port::EXPORTER.unsigned_abs().try_into().map_err(defect)?,
            token_file: file("admin-token")?,
        },
        log_level: log_level(pool.exporter.log_level),
        redis,
        audit: Audit { stream_max_bytes: pool.stream_max_bytes.unsigned_abs(), retain: Span(pool.retain) },
        proxy: pool.exporter.proxy.clone(),
        exports: pool.exports.iter().map(|programmed| programmed.export.clone()).collect(),
        keep: pool.exports.iter().flat_map(|programmed| programmed.keep.clone()).collect(),
    };
    document.revision = hex::encode(Sha256::digest(serde_json::to_vec(&document)?))[..16].to_owned();
    Ok(Some(document))
}

fn log_level(level: crds::pool::LogLevel) -> daemon::logging::LogLevel {
    use crds::pool::LogLevel as Spec;
    use daemon::logging::LogLevel;
    match level {
        Spec::Error => LogLevel::Error,
        Spec::Warn => LogLevel::Warn,
        Spec::Info => LogLevel::Info,
        Spec::Debug => LogLevel::Debug,
        Spec::Trace => LogLevel::Trace,
    }
}

fn defect(error: impl ToString) -> serde_json::Error {
    serde_json::Error::io(std::io::Error::other(error.to_string()))
}

fn config_map(pool: &ValidatedPool, document: &Document) -> Result<Child<Prepared>, serde_json::Error> {
    let yaml = serde_saphyr::to_string(document).map_err(defect)?;
    let object = ConfigMap {
        metadata: meta(pool, COMPONENT, COMPONENT),
        data: Some(BTreeMap::from([(CONFIG_FILE.to_owned(), yaml)])),
        ..ConfigMap::default()
    };
    Child::desired(Kind::ConfigMap, &pool.owner, &object)
}

fn credentials(pool: &ValidatedPool) -> impl Iterator<Item = &Credential> {
    let redis = pool.credentials.iter().filter(|credential| REDIS_FILES.contains(&credential.file.as_str()));
    redis.chain(pool.exports.iter().flat_map(|programmed| &programmed.credentials))
}

/// Changes whenever a value that is copied for the exporter may have changed; `None` when nothing is copied.
pub fn exporter_credentials(pool: &ValidatedPool) -> Option<String> {
    let line = |credential: &Credential| format!("{}={}", credential.file, credential.origin);
    let mut lines: Vec<String> = credentials(pool).map(line).collect();
    lines.sort();
    (!lines.is_empty()).then(|| hex::encode(Sha256::digest(lines.join("\n").as_bytes()))[..16].to_owned())
}

fn copies(pool: &ValidatedPool) -> Result<Option<Child<Prepared>>, serde_json::Error> {
    let Some(revision) = exporter_credentials(pool) else { return Ok(None) };
    let value = |credential: &Credential| ByteString(credential.value.expose_secret().to_vec());
    let mut data: BTreeMap<String, ByteString> =
        credentials(pool).map(|credential| (credential.file.clone(), value(credential))).collect();
    data.insert("credentials-revision".into(), ByteString(revision.clone().into_bytes()));
    let object = Secret {
        metadata: meta(pool, "exporter-credentials", COMPONENT),
        type_: Some("Opaque".into()),
        data: Some(data),
        ..Secret::default()
    };
    Child::copied(&pool.owner, &object, revision).map(Some)
}

fn service(pool: &ValidatedPool) -> Result<Child<Prepared>, serde_json::Error> {
    let object = Service {
        metadata: meta(pool, COMPONENT, COMPONENT),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector(COMPONENT, &pool.name)),
            ports: Some(vec![ServicePort {
                name: Some("admin".into()),
                port: port::EXPORTER,
                target_port: Some(IntOrString::String("admin".into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    Child::desired(Kind::Service, &pool.owner, &object)
}

fn deployment(pool: &ValidatedPool, settings: &Settings) -> Result<Child<Prepared>, serde_json::Error> {
    let mut pod = pool.exporter.pod.clone();
    // Clouds that know Pods by their account put a token of their own into them; none of the cluster's is needed.
    pod.service_account_name = pool.exporter.service_account().map(str::to_owned);
    let template = pod_template(
        &labels(COMPONENT, &pool.name, &pool.name),
        &selector(COMPONENT, &pool.name),
        &pod,
        &child_name(&pool.name, COMPONENT),
        container(pool, settings),
        volumes(pool),
        GRACE_SECONDS,
    );
    parts::deployment(pool, COMPONENT, pool.exporter_replicas, template)
}

fn container(pool: &ValidatedPool, settings: &Settings) -> Container {
    let spec = &pool.exporter;
    Container {
        name: COMPONENT.into(),
        image: Some(spec.image.clone().unwrap_or_else(|| settings.exporter_image.clone())),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(arguments(COMPONENT)),
        env: Some(vec![pod_name()]),
        ports: Some(vec![named_port("admin", port::EXPORTER)]),
        resources: Some(resources(
            spec.resources.as_ref(),
            &[("cpu", "50m".into()), ("memory", "64Mi".into())],
            &[("memory", "256Mi".into())],
        )),
        volume_mounts: Some(mounts(COMPONENT)),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        ..Container::default()
    }
}

fn volumes(pool: &ValidatedPool) -> Vec<Volume> {
    let mut sources = vec![generated_file(pool, "exporter-admin", "token", "admin-token")];
    if matches!(pool.redis, Redis::Managed { .. }) {
        sources.push(generated_file(pool, "redis", "password", "redis-password"));
    }
    sources.push(copied_files(pool, "exporter-credentials"));
    both(pool, COMPONENT, sources)
}
