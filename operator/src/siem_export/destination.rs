//! From one destination of a SiemExport to what the exporter is told of it. Pure.
//!
//! The fields of a block are those of the exporter's own types, so that it reads what is written here by the same code.

use std::sync::Arc;

use crds::siem_export::{Delivery, Destination};
use daemon::values::{FileName, Span};
use exporter::address::Policy;
use exporter::config;
use exporter::destination::{Block, syslog};
use exporter::routing::{Routes, Selection};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::sharing::{Wanted, is_plain_host, url_in};
use super::validate::{References, invalid};
use crate::certificates::{check_ca, check_pair};
use crate::conditions::Problem;
use crate::mcp_server::{Credential, Fault};
use crate::quantity;
use crate::world::{Source, not_found};

/// The blocks, as they are called in the spec.
const KINDS: [&str; 11] = [
    "splunk",
    "datadog",
    "otlp",
    "syslog",
    "sentinel",
    "eventBridge",
    "sumoLogic",
    "coralogix",
    "elasticsearch",
    "webhook",
    "stdout",
];
/// Longest word of a platform that a severity map may name, in bytes.
const LEVEL_BYTES: usize = 64;

/// What all destinations of an export share.
pub(super) struct Export<'a> {
    /// Name of the SiemExport.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Name of the pool that it is rendered for.
    pub pool: &'a str,
    /// Its routes.
    pub routes: &'a Arc<Routes>,
    /// What its references lead to.
    pub references: &'a References,
}

/// What the exporter is told of a destination, and the values that it needs.
///
/// # Errors
/// The first thing that keeps the destination out.
pub(super) fn destination(
    export: &Export<'_>,
    one: &Destination,
) -> Result<(config::Destination, Vec<Credential>), Fault> {
    let path = format!("spec.destinations[{}]", one.name);
    let (kind, platform) = block(export, one, &path)?;
    let mut hosts = platform
        .hosts(Policy::STRICT)
        .map_err(|wrong| invalid(format!("{path}.{kind}.{} {}", wrong.field, wrong.problem)))?;
    if hosts.iter().any(|host| !is_plain_host(host)) {
        return Err(invalid(format!("{path}.{kind} names a host with characters that no host name has: correct it")));
    }
    // It decides which backend of a shared front gets the request, and whose certificate is taken.
    if let Some(name) = one.tls.as_ref().and_then(|tls| tls.server_name.as_ref()) {
        hosts.push(name.clone());
    }
    // The Pod's identity is not the author's: no Secret that was shared says where it may be sent to.
    if let (Some(block), [host, ..]) = (&one.event_bridge, hosts.as_slice())
        && block.access_key_id_secret_ref.is_none()
        && ![".amazonaws.com", ".amazonaws.com.cn"].iter().any(|ending| host.ends_with(ending))
    {
        return Err(invalid(format!(
            "{path}.eventBridge.endpoint: {host} is no host of AWS, and without accessKeyIdSecretRef the Pod's identity \
             would be sent there: correct it, or name keys"
        )));
    }
    let mut found = config::Destination {
        name: one.name.clone(),
        enabled: one.enabled.unwrap_or(true),
        secrets: Default::default(),
        tls: None,
        events: one.events.clone(),
        min_severity: one.min_severity.map(severity).transpose()?,
        severity_map: one.severity_map.clone(),
        delivery: delivery(one.delivery.as_ref(), &path)?,
        platform,
    };
    levels(&found, &path)?;
    Selection::new(&one.name, found.wanted(), export.routes.clone())
        .map_err(|wrong| invalid(format!("{path}.{}: {}: correct it", wrong.field, wrong.problem)))?;
    let mut credentials = Vec::new();
    for (field, reference) in one.secrets() {
        if !found.platform.secrets().iter().any(|known| known.name == field) {
            return Err(invalid(format!("{path}.{kind}.{field} has no meaning with these settings: remove it")));
        }
        let file = format!("{}.{}.{field}", export.name, one.name);
        let field_path = format!("{path}.{kind}.{field}");
        let wanted = export.wanted(&reference.name, &field_path, &hosts);
        let credential = if matches!(found.platform, Block::SumoLogic(_)) {
            let (credential, host) = url_in(&wanted, &reference.key, file).map_err(Fault::Unresolved)?;
            hosts.push(host);
            credential
        } else {
            wanted.copied(&reference.key, file).map_err(Fault::Unresolved)?
        };
        found.secrets.insert(field.to_owned(), file_name(&credential)?);
        credentials.push(credential);
    }
    if let Some(missing) =
        found.platform.secrets().iter().find(|field| field.required && !found.secrets.contains_key(field.name))
    {
        return Err(invalid(format!("{path}.{kind}.{} is missing: name the key of a Secret", missing.name)));
    }
    found.tls = tls(export, one, &hosts, &mut credentials)?;
    Ok((found, credentials))
}

impl Export<'_> {
    /// A Secret of the namespace that a field names.
    fn wanted<'a>(&'a self, name: &'a str, field: &'a str, hosts: &'a [String]) -> Wanted<'a> {
        Wanted { lookup: self.references.secrets.get(name), namespace: self.namespace, name, field, hosts }
    }
}

/// The block, without its references.
fn block(export: &Export<'_>, one: &Destination, path: &str) -> Result<(&'static str, Block), Fault> {
    let unreadable = |error: serde_json::Error| invalid(format!("{path}: {error}"));
    let mut written = match serde_json::to_value(one).map_err(unreadable)? {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let mut blocks = KINDS.iter().filter_map(|kind| Some((*kind, written.remove(*kind)?)));
    let (Some((kind, mut fields)), None) = (blocks.next(), blocks.next()) else {
        return Err(invalid(format!("{path}: set exactly one of {}", KINDS.join(", "))));
    };
    if let Value::Object(fields) = &mut fields {
        for (field, _) in one.secrets() {
            fields.remove(field);
        }
        if kind == "coralogix" {
            fields.entry("application").or_insert_with(|| export.pool.into());
        }
    }
    let tagged = Value::Object(Map::from_iter([(kind.to_owned(), fields)]));
    let block = Block::deserialize(tagged).map_err(|error| invalid(format!("{path}.{kind}: {error}")))?;
    Ok((kind, block))
}

use serde::Deserialize;

fn severity(severity: crds::siem_export::Severity) -> Result<events::Severity, Fault> {
    let word = serde_json::to_value(severity).unwrap_or_default();
    events::Severity::deserialize(word).map_err(|error| invalid(format!("spec.destinations[].minSeverity: {error}")))
}

/// That the words of a severity map can be sent, and that the platform knows them where it knows only some.
fn levels(found: &config::Destination, path: &str) -> Result<(), Fault> {
    for (key, word) in &found.severity_map {
        let field = format!("{path}.severityMap[{key}]");
        if word.is_empty() || word.len() > LEVEL_BYTES || word.chars().any(char::is_control) {
            return Err(invalid(format!("{field}: write a word of 1 to {LEVEL_BYTES} bytes")));
        }
        if matches!(found.platform, Block::Syslog(_)) && syslog::config::level(word).is_none() {
            return Err(invalid(format!(
                "{field}: {word:?} is no severity of syslog: write emergency, alert, critical, error, warning, notice, \
                 informational or debug"
            )));
        }
    }
    Ok(())
}

fn delivery(written: Option<&Delivery>, path: &str) -> Result<config::Delivery, Fault> {
    let Some(written) = written else { return Ok(config::Delivery::default()) };
    let field = |name: &str, wrong: String| invalid(format!("{path}.delivery.{name}: {wrong}"));
    let span = |name: &str, text: &Option<String>| {
        text.clone().map(|text| Span::try_from(text).map_err(|wrong| field(name, wrong))).transpose()
    };
    let number = |name: &str, value: Option<i32>| {
        let refuse = || field(name, "must not be below 0".to_owned());
        value.map(|value| u32::try_from(value).map_err(|_| refuse())).transpose()
    };
    let bytes = |size: &crds::common::Quantity| {
        let bytes = quantity::units(&size.0).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.ok_or_else(|| field("batchBytes", format!("{:?} is no size: write one such as 1Mi", size.0)))
    };
    let delivery = config::Delivery {
        batch_events: number("batchEvents", written.batch_events)?.map(|events| events as usize),
        batch_bytes: written.batch_bytes.as_ref().map(bytes).transpose()?,
        flush_interval: span("flushInterval", &written.flush_interval)?,
        timeout: span("timeout", &written.timeout)?,
        max_retry_interval: span("maxRetryInterval", &written.max_retry_interval)?,
        give_up_after: span("giveUpAfter", &written.give_up_after)?,
        rate_limit: number("rateLimit", written.rate_limit)?,
    };
    delivery.checked().map_err(|wrong| field(wrong.field, wrong.problem))?;
    Ok(delivery)
}

fn tls(
    export: &Export<'_>,
    one: &Destination,
    hosts: &[String],
    credentials: &mut Vec<Credential>,
) -> Result<Option<config::Tls>, Fault> {
    let Some(written) = &one.tls else { return Ok(None) };
    let file = |suffix: &str| format!("{}.{}.tls-{suffix}", export.name, one.name);
    let mut tls = config::Tls { server_name: written.server_name.clone(), ..config::Tls::default() };
    if let Some(ca_ref) = &written.ca_ref {
        let field = format!("spec.destinations[{}].tls.caRef", one.name);
        let credential = ca(export, ca_ref, &field, file("ca")).map_err(Fault::Unresolved)?;
        tls.ca_file = Some(file_name(&credential)?);
        credentials.push(credential);
    }
    if let Some(secret) = &written.client_certificate_ref {
        let field = format!("spec.destinations[{}].tls.clientCertificateRef", one.name);
        let wanted = export.wanted(&secret.name, &field, hosts);
        let certificate = wanted.copied("tls.crt", file("certificate")).map_err(Fault::Unresolved)?;
        let key = wanted.copied("tls.key", file("key")).map_err(Fault::Unresolved)?;
        check_pair(certificate.value.expose_secret(), key.value.expose_secret()).map_err(|wrong| {
            let message = format!("Secret {}, which {field} names: {wrong}: correct the Secret", secret.name);
            Fault::Unresolved(Problem::new("SecretInvalid", message))
        })?;
        tls.client_certificate =
            Some(config::ClientCertificate { certificate_file: file_name(&certificate)?, key_file: file_name(&key)? });
        credentials.extend([certificate, key]);
    }
    Ok(Some(tls))
}

fn ca(export: &Export<'_>, ca_ref: &crds::common::CaRef, field: &str, file: String) -> Result<Credential, Problem> {
    let Some(Some(material)) = export.references.config_maps.get(&ca_ref.name) else {
        return Err(not_found(Source::ConfigMap, &ca_ref.name, field));
    };
    let value = material.require(ca_ref.key(), field)?.clone();
    check_ca(ca_ref, field, value.expose_secret())?;
    Ok(Credential { file, origin: format!("{}/{}", material.version, ca_ref.key()), value })
}

pub(super) fn file_name(credential: &Credential) -> Result<FileName, Fault> {
    FileName::try_from(credential.file.clone()).map_err(invalid)
}
