//! From a configuration to destinations that can be served.
//!
//! Promises: no I/O; each destination is judged alone, so that one that can not be set up stops no other; equal content has
//! an equal fingerprint, so that a new configuration touches only what it changes. Must never show a secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use daemon::files::Secrets;
use daemon::hash::HashKey;
use daemon::values::FileName;
use secrecy::SecretString;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::address::Policy;
use crate::config::{Destination, Document, Export, From, Replay};
use crate::destination::invalid::Invalid as InvalidField;
use crate::platform::Platform;
use crate::privacy::Privacy;
use crate::registry::{self, Access, Identity, Invalid};
use crate::routing::{Routes, Selection};
use crate::stream::Again;
use crate::tls;
use crate::worker::Delivery;

/// What is wrong where a secret has no file, or an empty one.
const MISSING: &str = "its Secret is missing or empty";

/// What is the same for every destination of the process.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Which addresses may be connected to.
    pub policy: Policy,
    /// Who this Pod is to the clouds.
    pub identity: Identity,
    /// Name of this instance.
    pub instance: String,
}

/// One destination of a configuration.
pub struct Setup {
    /// `EXPORT/DESTINATION`.
    pub id: String,
    /// Name of its SiemExport.
    pub export: String,
    /// Equal for equal content, secrets included.
    pub fingerprint: [u8; 32],
    /// False: its events are skipped.
    pub enabled: bool,
    /// What is to be sent again.
    pub replay: Option<(String, Again)>,
    /// The destination, or why it can not be set up.
    pub ready: Result<Ready, Invalid>,
}

/// A destination that can be served.
#[derive(Clone)]
pub struct Ready {
    /// The platform.
    pub platform: Arc<dyn Platform>,
    /// What it gets.
    pub selection: Arc<Selection>,
    /// The routes of its export.
    pub routes: Arc<Routes>,
    /// What it does not get to see.
    pub privacy: Option<Arc<Privacy>>,
    /// How it is served.
    pub delivery: Delivery,
}

/// The id of a destination, and of its consumer group.
#[must_use]
pub fn id(export: &str, destination: &str) -> String {
    format!("{export}/{destination}")
}

/// The destinations of a configuration. `unchanged` says of an id and a fingerprint that it is served so already; those are
/// left out.
#[must_use]
pub fn all(
    document: &Document,
    secrets: &Secrets,
    environment: &Environment,
    unchanged: impl Fn(&str, &[u8; 32]) -> bool,
) -> Vec<Setup> {
    let mut setups = Vec::new();
    for export in &document.exports {
        let shared = Shared::new(export, secrets);
        for destination in &export.destinations {
            let id = id(&export.name, &destination.name);
            let replay = export.replay.as_ref().filter(|replay| replay.destination == destination.name);
            let fingerprint = fingerprint(document, export, destination, replay, secrets);
            if unchanged(&id, &fingerprint) {
                continue;
            }
            setups.push(Setup {
                id,
                export: export.name.clone(),
                fingerprint,
                enabled: destination.enabled,
                replay: replay.map(|replay| {
                    let again = match replay.from {
                        From::DeadLetter => Again::DeadLetters,
                        From::Time(time) => Again::Since(time),
                    };
                    (replay.id.clone(), again)
                }),
                ready: ready(document, destination, &shared, secrets, environment),
            });
        }
    }
    setups
}

/// What the destinations of an export have in common.
struct Shared {
    routes: Result<Arc<Routes>, InvalidField>,
    privacy: Result<Option<Arc<Privacy>>, InvalidField>,
}

impl Shared {
    fn new(export: &Export, secrets: &Secrets) -> Self {
        let names: Vec<&str> = export.destinations.iter().map(|destination| destination.name.as_str()).collect();
        let routes = Routes::new(export.routes.clone(), export.overrides.clone(), &names).map(Arc::new);
        let privacy = export.privacy.as_ref().map(|privacy| {
            let key = privacy.hash_key_file.as_ref().and_then(|file| secrets.get(file)).and_then(HashKey::new);
            Privacy::new(privacy.hash.clone(), privacy.drop.clone(), key).map(Arc::new)
        });
        Self { routes, privacy: privacy.transpose() }
    }
}

fn ready(
    document: &Document,
    destination: &Destination,
    shared: &Shared,
    secrets: &Secrets,
    environment: &Environment,
) -> Result<Ready, Invalid> {
    let routes = shared.routes.clone()?;
    let privacy = shared.privacy.clone()?;
    let selection = Arc::new(Selection::new(&destination.name, destination.wanted(), routes.clone())?);
    let delivery = destination.delivery.checked()?;
    let platform =
        registry::platform(destination.platform.clone(), access(document, destination, secrets, environment)?)?;
    Ok(Ready { platform, selection, routes, privacy, delivery })
}

fn access(
    document: &Document,
    destination: &Destination,
    secrets: &Secrets,
    environment: &Environment,
) -> Result<Access, Invalid> {
    let mut values = BTreeMap::new();
    for field in destination.platform.secrets() {
        let Some(file) = destination.secrets.get(field.name) else { continue };
        let name = format!("{}.{}", destination.platform.kind(), field.name);
        values.insert(field.name.to_owned(), text(secrets, file, name)?);
    }
    let spec = destination.tls.clone().unwrap_or_default();
    let pem = |file: &FileName, field: &str| {
        let missing = || Invalid { field: field.to_owned(), problem: MISSING.to_owned() };
        secrets.get(file).map(<[u8]>::to_vec).ok_or_else(missing)
    };
    let client = spec.client_certificate.as_ref().map(|files| {
        Ok::<_, Invalid>(tls::ClientCertificate {
            chain: pem(&files.certificate_file, "tls.clientCertificateRef")?,
            key: text(secrets, &files.key_file, "tls.clientCertificateRef".to_owned())?,
        })
    });
    let proxy = document.proxy.as_deref().map(|text| {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| InvalidField::new("proxy", "must be a URL like http://proxy.example.com:3128"))
    });
    Ok(Access {
        secrets: values,
        tls: tls::Settings {
            ca: spec.ca_file.as_ref().map(|file| pem(file, "tls.caRef")).transpose()?,
            client: client.transpose()?,
        },
        server_name: spec.server_name,
        policy: environment.policy,
        proxy: proxy.transpose()?,
        identity: environment.identity.clone(),
        instance: environment.instance.clone(),
    })
}

fn text(secrets: &Secrets, file: &FileName, field: String) -> Result<SecretString, Invalid> {
    let invalid = |problem: &str| Invalid { field, problem: problem.to_owned() };
    match secrets.get(file).map(std::str::from_utf8) {
        Some(Ok(text)) => Ok(SecretString::from(text)),
        Some(Err(_)) => Err(invalid("must be text (UTF-8)")),
        None => Err(invalid(MISSING)),
    }
}

fn fingerprint(
    document: &Document,
    export: &Export,
    destination: &Destination,
    replay: Option<&Replay>,
    secrets: &Secrets,
) -> [u8; 32] {
    #[derive(Serialize)]
    struct Content<'a> {
        proxy: Option<&'a str>,
        privacy: &'a Option<crate::config::Privacy>,
        routes: &'a Option<Vec<crate::routing::RouteSpec>>,
        overrides: &'a [crate::routing::OverrideSpec],
        replay: Option<&'a Replay>,
        destination: &'a Destination,
    }
    let content = Content {
        proxy: document.proxy.as_deref(),
        privacy: &export.privacy,
        routes: &export.routes,
        overrides: &export.overrides,
        replay,
        destination,
    };
    let mut hasher = Sha256::new();
    // What was read from YAML can be written as JSON.
    hasher.update(serde_json::to_vec(&content).unwrap_or_default());
    let tls = destination.tls.iter().flat_map(|tls| {
        let certificate = tls.client_certificate.iter().flat_map(|both| [&both.certificate_file, &both.key_file]);
        tls.ca_file.iter().chain(certificate)
    });
    let key = export.privacy.iter().filter_map(|privacy| privacy.hash_key_file.as_ref());
    for file in destination.secrets.values().chain(tls).chain(key) {
        let value = secrets.get(file).unwrap_or_default();
        hasher.update((value.len() as u64).to_be_bytes());
        hasher.update(value);
    }
    hasher.finalize().into()
}
