//! From a SiemExport and what it points at to what a pool's exporter is told of it. Pure.
//!
//! Both controllers come here: the SiemExport's for its own status, the Pool's for the configuration that it renders. So the
//! two can not disagree about which destinations are in.
//!
//! Promises: each destination is judged alone; one that is left out keeps its place and its backlog in the stream, and so do
//! all of an export that is invalid as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::SiemExport;
use exporter::config;
use exporter::destination::splunk;
use exporter::routing::{OverrideSpec, RouteSpec, Routes};
use kube::ResourceExt;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::destination::{Export, destination, file_name};
use super::sharing::Wanted;
use crate::conditions::Problem;
use crate::mcp_server::{Credential, Fault};
use crate::references::selects as selector_matches;
use crate::room::{Full, Room};
use crate::world::Lookup;

/// What a line of `keep` has besides the id.
const KEEP_BYTES: usize = 8;
/// What the credentials of Redis may take beside those of the SiemExports: a bundle of the public roots has about 220 KiB.
const REDIS_BYTES: usize = 260 << 10;
/// YAML is longer than the JSON that is measured, by indentation and line ends.
const YAML_BY_JSON: usize = 2;

/// What a SiemExport's references lead to, by name.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// Secrets.
    pub secrets: BTreeMap<String, Lookup>,
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, Lookup>,
}

/// A SiemExport as it goes into `exporter.yaml`.
#[derive(Clone, Debug)]
pub struct Programmed {
    /// Name of the SiemExport.
    pub name: String,
    /// The destinations that can be served; may be none.
    pub export: config::Export,
    /// Destinations that can not: their places in the stream stay.
    pub keep: Vec<String>,
    /// What is copied into the credentials of the pool's exporter.
    pub credentials: Vec<Credential>,
}

impl Programmed {
    /// One of which nothing is delivered and everything kept.
    pub fn kept(name: &str, destinations: impl IntoIterator<Item = String>) -> Self {
        let keep = destinations.into_iter().map(|destination| id(name, &destination)).collect();
        let export = config::Export {
            name: name.to_owned(),
            privacy: None,
            routes: None,
            overrides: Vec::new(),
            replay: None,
            destinations: Vec::new(),
        };
        Programmed { name: name.to_owned(), export, keep, credentials: Vec::new() }
    }
}

/// The verdict on a SiemExport.
#[derive(Debug)]
pub struct Outcome {
    /// What the exporter is told.
    pub programmed: Programmed,
    /// What is wrong with the whole: no destination is served.
    pub fault: Option<Fault>,
    /// What is wrong with single destinations, by name; the others are served.
    pub left_out: BTreeMap<String, Fault>,
}

/// How a destination is called in the stream, in the exporter's API and in metrics.
pub fn id(export: &str, destination: &str) -> String {
    format!("{export}/{destination}")
}

/// Whether a SiemExport is for a pool of its namespace.
pub fn selects(export: &SiemExport, pool: &str, labels: &BTreeMap<String, String>) -> bool {
    match (&export.spec.pool_ref, &export.spec.pool_selector) {
        (Some(reference), _) => reference.name == pool,
        (None, Some(selector)) => selector_matches(selector, labels),
        (None, None) => false,
    }
}

pub(super) fn invalid(message: String) -> Fault {
    Fault::NotAccepted(Problem::new("InvalidSpec", message))
}

/// Judges the SiemExports of one pool. Earlier ones go first, so that a newcomer pushes nobody out where the room ends.
pub fn roster<'a>(
    pool: &str,
    exports: impl IntoIterator<Item = (&'a SiemExport, &'a References)>,
) -> BTreeMap<String, Outcome> {
    let mut ordered: Vec<_> = exports.into_iter().collect();
    ordered.sort_by_key(|(one, _)| (one.metadata.creation_timestamp.clone().map(|time| time.0), one.name_any()));
    let mut room = Room::without_credentials(REDIS_BYTES);
    let mut outcomes = BTreeMap::new();
    for (export, references) in ordered {
        let mut outcome = validate(export, pool, references);
        let more: usize = outcome.programmed.credentials.iter().map(Credential::size).sum();
        let kept: usize = outcome.programmed.keep.iter().map(|id| id.len() + KEEP_BYTES).sum();
        let longer =
            kept + serde_json::to_string(&outcome.programmed.export).map_or(0, |json| json.len() * YAML_BY_JSON);
        if let Err(full) = room.take(more, longer) {
            outcome = whole(export, no_room(full));
        }
        outcomes.insert(export.name_any(), outcome);
    }
    outcomes
}

fn no_room(full: Full) -> Fault {
    match full {
        Full::Credentials { kib, most } => Fault::Unresolved(Problem::new(
            "CredentialsTooLarge",
            format!(
                "spec.destinations: with this SiemExport the credentials and certificates that the pool's exporter reads \
                 would have {kib} KiB, and there is room for {most} KiB: trust fewer certificates in tls.caRef, or use \
                 another pool"
            ),
        )),
        Full::Document { kib, most } => Fault::NotAccepted(Problem::new(
            "ConfigurationTooLarge",
            format!(
                "spec: with this SiemExport the configuration of the pool's exporter would have {kib} KiB, and one \
                 ConfigMap takes {most} KiB: write fewer or shorter routes and overrides, or use another pool"
            ),
        )),
    }
}

/// Checks everything about one SiemExport that does not depend on the others of the pool.
pub fn validate(export: &SiemExport, pool: &str, references: &References) -> Outcome {
    judge(export, pool, references).unwrap_or_else(|fault| whole(export, fault))
}

fn whole(export: &SiemExport, fault: Fault) -> Outcome {
    let names = export.spec.destinations.iter().map(|one| one.name.clone());
    Outcome { programmed: Programmed::kept(&export.name_any(), names), fault: Some(fault), left_out: BTreeMap::new() }
}

fn judge(export: &SiemExport, pool: &str, references: &References) -> Result<Outcome, Fault> {
    let (name, namespace) = (export.name_any(), export.namespace().unwrap_or_default());
    let spec = &export.spec;
    let names: Vec<&str> = spec.destinations.iter().map(|one| one.name.as_str()).collect();
    if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
        return Err(invalid("spec.destinations has a name twice: names are unique".into()));
    }
    let mut routes: Option<Vec<RouteSpec>> = spec.routes.as_ref().map(|routes| same("routes", routes)).transpose()?;
    let mut overrides: Vec<OverrideSpec> = same("overrides", &spec.overrides)?;
    for index in overrides.iter().filter_map(|one| one.splunk_index.clone()) {
        splunk::config::index(index, "splunkIndex")
            .map_err(|wrong| invalid(format!("spec.overrides[].splunkIndex {}", wrong.problem)))?;
    }
    let checked = Routes::new(routes.clone(), overrides.clone(), &names)
        .map_err(|wrong| invalid(format!("spec.{}: {}: correct it", wrong.field, wrong.problem)))?;
    let checked = Arc::new(checked);
    let mut programmed = Programmed::kept(&name, []);
    // Nothing is delivered that should have been made unreadable first.
    programmed.export.privacy = privacy(export, &namespace, references, &mut programmed.credentials)?;
    let replay = replay(export)?;
    let shared = Export { name: &name, namespace: &namespace, pool, routes: &checked, references };
    let mut left_out = BTreeMap::new();
    for one in &spec.destinations {
        match destination(&shared, one) {
            Ok((destination, credentials)) => {
                programmed.export.destinations.push(destination);
                programmed.credentials.extend(credentials);
            }
            Err(fault) => {
                programmed.keep.push(id(&name, &one.name));
                left_out.insert(one.name.clone(), fault);
            }
        }
    }
    // The exporter refuses names that it is not told of. What only went to a destination that is left out goes nowhere else.
    let serves = |name: &String| !left_out.contains_key(name);
    routes.iter_mut().flatten().for_each(|route| route.to.retain(serves));
    overrides.iter_mut().filter_map(|one| one.to.as_mut()).for_each(|to| to.retain(serves));
    programmed.export.routes = routes;
    programmed.export.overrides = overrides;
    programmed.export.replay = replay.filter(|replay| serves(&replay.destination));
    Ok(Outcome { programmed, fault: None, left_out })
}

/// The same in the exporter's types, which have the same fields.
fn same<T: DeserializeOwned>(field: &str, written: &impl Serialize) -> Result<T, Fault> {
    let value = serde_json::to_value(written).and_then(serde_json::from_value);
    value.map_err(|error| invalid(format!("spec.{field}: {error}")))
}

fn replay(export: &SiemExport) -> Result<Option<config::Replay>, Fault> {
    let Some(written) = &export.spec.replay else { return Ok(None) };
    if !export.spec.destinations.iter().any(|one| one.name == written.destination) {
        let message = format!("spec.replay.destination: there is no destination {}: correct it", written.destination);
        return Err(invalid(message));
    }
    let from = written.from.parse().map_err(|wrong| invalid(format!("spec.replay.from: {wrong}")))?;
    Ok(Some(config::Replay { id: written.id.clone(), destination: written.destination.clone(), from }))
}

fn privacy(
    export: &SiemExport,
    namespace: &str,
    references: &References,
    credentials: &mut Vec<Credential>,
) -> Result<Option<config::Privacy>, Fault> {
    let Some(written) = &export.spec.privacy else { return Ok(None) };
    exporter::privacy::check(&written.hash, &written.drop)
        .map_err(|wrong| invalid(format!("spec.{}: {}: correct it", wrong.field, wrong.problem)))?;
    if !written.hash.is_empty() && written.hash_key_secret_ref.is_none() {
        let message =
            "spec.privacy.hashKeySecretRef is missing: spec.privacy.hash needs the key of a Secret for its hashes";
        return Err(invalid(message.into()));
    }
    let mut privacy = config::Privacy { hash: written.hash.clone(), drop: written.drop.clone(), hash_key_file: None };
    if let Some(reference) = &written.hash_key_secret_ref {
        let field = "spec.privacy.hashKeySecretRef";
        let lookup = references.secrets.get(&reference.name);
        // The key of the hashes is sent to nobody.
        let wanted = Wanted { lookup, namespace, name: &reference.name, field, hosts: &[] };
        let file = format!("{}.privacy.hashKeySecretRef", export.name_any());
        let credential = wanted.copied_key(&reference.key, file).map_err(Fault::Unresolved)?;
        if credential.value.expose_secret().len() < daemon::hash::KEY_BYTES_MIN {
            let message = format!(
                "Secret {}: the value under {}, which {field} names, is shorter than {} bytes: make it longer, for example \
                 with `openssl rand -hex 32`",
                reference.name,
                reference.key,
                daemon::hash::KEY_BYTES_MIN
            );
            return Err(Fault::Unresolved(Problem::new("SecretInvalid", message)));
        }
        privacy.hash_key_file = Some(file_name(&credential)?);
        credentials.push(credential);
    }
    Ok(Some(privacy))
}
