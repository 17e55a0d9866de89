//! From the block of a destination, its secrets and its TLS settings to the [`Platform`] that delivers: one line per
//! destination.
//!
//! Promises: everything is checked here that can be without a network, and what is wrong is told by the field of the
//! SiemExport. Must never read the environment or a file: what they say comes in as [`Access`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::address::Policy;
use crate::answer::{Answer, Outcome};
use crate::connect::{Proxy, Way};
use crate::destination::{Block, Limits, Request, Routed, Shaped, invalid};
use crate::destination::{
    coralogix, datadog, elasticsearch, event_bridge, otlp, sentinel, splunk, sumo_logic, syslog, webhook,
};
use crate::grpc::Caller;
use crate::http::Sender;
use crate::platform::{
    Assurance, EventBridge, Keys, OtlpGrpc, OverHttp, Platform, Proof, Role, Sentinel, Splunk, Stdout, Syslog,
};
use crate::tls;

/// What a destination is reached with.
#[derive(Clone, Debug)]
pub struct Access {
    /// By the block's field that refers to them: `tokenSecretRef`.
    pub secrets: BTreeMap<String, SecretString>,
    /// The `tls` block.
    pub tls: tls::Settings,
    /// `tls.serverName`.
    pub server_name: Option<String>,
    /// Which addresses are allowed.
    pub policy: Policy,
    /// Of the pool; see [`crate::connect`].
    pub proxy: Option<Url>,
    /// Of the Pod.
    pub identity: Identity,
    /// The name of the Pod.
    pub instance: String,
}

/// Who the Pod is to the clouds, as their webhooks write it into its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `AWS_ROLE_ARN`.
    pub aws_role_arn: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub aws_token_file: Option<PathBuf>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub azure_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`: a URL.
    pub azure_authority: Option<String>,
}

impl Identity {
    /// From the environment. A variable that is empty is none.
    #[must_use]
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            aws_role_arn: variable("AWS_ROLE_ARN"),
            aws_token_file: variable("AWS_WEB_IDENTITY_TOKEN_FILE").map(Into::into),
            azure_token_file: variable("AZURE_FEDERATED_TOKEN_FILE").map(Into::into),
            azure_authority: variable("AZURE_AUTHORITY_HOST"),
        }
    }
}

/// Why a destination can not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Below the destination: `splunk.tokenSecretRef`, `tls.caRef`. `proxy` is the pool's.
    pub field: String,
    /// What it must be. No value is repeated.
    pub problem: String,
}

impl From<invalid::Invalid> for Invalid {
    fn from(invalid: invalid::Invalid) -> Self {
        Self { field: invalid.field.to_owned(), problem: invalid.problem }
    }
}

/// What is wrong, before it is known where the block is.
enum Fault {
    Block(invalid::Invalid),
    Tls(tls::Invalid),
    Proxy(invalid::Invalid),
}

impl From<invalid::Invalid> for Fault {
    fn from(invalid: invalid::Invalid) -> Self {
        Self::Block(invalid)
    }
}

impl From<tls::Invalid> for Fault {
    fn from(invalid: tls::Invalid) -> Self {
        Self::Tls(invalid)
    }
}

impl Fault {
    fn of(self, kind: &str) -> Invalid {
        match self {
            Self::Block(invalid) => Invalid { field: format!("{kind}.{}", invalid.field), problem: invalid.problem },
            Self::Proxy(invalid) => Invalid { field: invalid.field.to_owned(), problem: invalid.problem },
            Self::Tls(invalid) => {
                let text = invalid.to_string();
                let (field, problem) = text.split_once(": ").unwrap_or(("tls", &text));
                Invalid { field: field.to_owned(), problem: problem.to_owned() }
            }
        }
    }
}

type Built = Result<Arc<dyn Platform>, Fault>;

/// Sets a destination up. No connection is made.
///
/// # Errors
/// The first field that can not be used.
pub fn platform(block: Block, access: Access) -> Result<Arc<dyn Platform>, Invalid> {
    let kind = block.kind();
    let built = match block {
        Block::Splunk(spec) => splunk(spec, &access),
        Block::Datadog(spec) => datadog(spec, &access),
        Block::Otlp(spec) => otlp(spec, &access),
        Block::Syslog(spec) => syslog(spec, &access),
        Block::Sentinel(spec) => sentinel(spec, &access),
        Block::EventBridge(spec) => event_bridge(spec, access),
        Block::SumoLogic(spec) => sumo_logic(spec, &access),
        Block::Coralogix(spec) => coralogix(spec, &access),
        Block::Elasticsearch(spec) => elasticsearch(spec, &access),
        Block::Webhook(spec) => webhook(spec, &access),
        Block::Stdout(_) => Ok(Arc::new(Stdout) as Arc<dyn Platform>),
    };
    built.map_err(|fault| fault.of(kind))
}

impl Access {
    fn secret(&self, field: &'static str) -> Result<&SecretString, invalid::Invalid> {
        self.optional(field).ok_or_else(|| invalid::Invalid::new(field, "must name a key of a Secret that is there"))
    }

    fn optional(&self, field: &str) -> Option<&SecretString> {
        self.secrets.get(field)
    }

    /// The way to a destination's own host, which is the one that `tls.serverName` is about.
    fn way(&self, host: Option<&str>) -> Result<Way, Fault> {
        let named = host.zip(self.server_name.as_deref());
        let server_name = named.map(|(host, name)| tls::ServerName::new(host, name)).transpose()?;
        let proxy = self.proxy.as_ref().map(Proxy::new).transpose().map_err(Fault::Proxy)?;
        Ok(Way { policy: self.policy, server_name, proxy })
    }

    fn sender(&self, host: Option<&str>) -> Result<Sender, Fault> {
        Ok(Sender::by(&self.tls, self.way(host)?)?)
    }

    /// For a host beside the destination's that hands out credentials: it is shown no client certificate.
    fn credentials_sender(&self) -> Result<Sender, Fault> {
        let settings = tls::Settings { ca: self.tls.ca.clone(), client: None };
        Ok(Sender::by(&settings, self.way(None)?)?)
    }
}

/// A platform with one request for a batch.
fn over_http<S, R>(
    shape: S,
    request: R,
    outcome: fn(&Answer<'_>, usize) -> Outcome,
    limits: Limits,
    assurance: Assurance,
    max_give_up_after: Option<Duration>,
    sender: Sender,
) -> Built
where
    S: Fn(&Routed<'_>) -> Shaped + Send + Sync + 'static,
    R: Fn(&[Shaped], Timestamp) -> Request + Send + Sync + 'static,
{
    Ok(Arc::new(OverHttp { shape, request, outcome, limits, assurance, max_give_up_after, sender }))
}

fn splunk(spec: splunk::Spec, access: &Access) -> Built {
    let config = splunk::Config::new(spec, access.policy)?;
    let credential = splunk::Credential::new(access.secret("tokenSecretRef")?)?;
    let sender = access.sender(config.url().host_str())?;
    if config.waits_for_acknowledgement() {
        return Ok(Arc::new(Splunk::new(config, credential, sender)));
    }
    let shaping = config.clone();
    let shape = move |event: &Routed<'_>| splunk::shape::shape(&shaping, event);
    let request = move |events: &[Shaped], _| splunk::request::request(&config, &credential, None, events);
    let limits = splunk::request::LIMITS;
    over_http(shape, request, splunk::answer::outcome, limits, Assurance::Accepted, None, sender)
}

fn datadog(spec: datadog::Spec, access: &Access) -> Built {
    let config = datadog::Config::new(spec, access.policy)?;
    let credential = datadog::Credential::new(access.secret("apiKeySecretRef")?)?;
    let sender = access.sender(config.url().host_str())?;
    let shaping = config.clone();
    let shape = move |event: &Routed<'_>| datadog::shape::shape(&shaping, event);
    let request = move |events: &[Shaped], _| datadog::request::request(&config, &credential, events);
    let (limits, oldest) = (datadog::request::LIMITS, Some(datadog::MAX_GIVE_UP_AFTER));
    over_http(shape, request, datadog::answer::outcome, limits, Assurance::Accepted, oldest, sender)
}

fn otlp(spec: otlp::Spec, access: &Access) -> Built {
    let config = otlp::Config::new(spec, access.policy)?;
    let credential = access.optional("secretRef").map(otlp::Credential::new).transpose()?;
    let way = access.way(config.url().host_str())?;
    if config.protocol() == otlp::Protocol::Grpc {
        return Ok(Arc::new(OtlpGrpc::new(config, credential, Caller::new(&access.tls, way)?)));
    }
    let sender = Sender::by(&access.tls, way)?;
    let request = move |events: &[Shaped], _| otlp::request::request(&config, credential.as_ref(), events);
    let limits = otlp::request::LIMITS;
    over_http(otlp::shape::shape, request, otlp::answer::outcome, limits, Assurance::Accepted, None, sender)
}

fn syslog(spec: syslog::config::Spec, access: &Access) -> Built {
    let config = syslog::config::Config::new(spec, access.policy)?;
    let server_name = access.way(Some(config.host()))?.server_name;
    let sender = syslog::send::Sender::new(&config, &access.tls, server_name.as_ref(), access.policy)?;
    Ok(Arc::new(Syslog::new(config, sender)))
}

fn sentinel(mut spec: sentinel::Spec, access: &Access) -> Built {
    let Identity { azure_token_file, azure_authority, .. } = &access.identity;
    let proof = match spec.identity {
        sentinel::Identity::ClientSecret => Proof::Secret(access.secret("clientSecretRef")?.clone()),
        sentinel::Identity::WorkloadIdentity => {
            // The cloud that the cluster is in, unless the author says that the rule is in another.
            if spec.cloud == sentinel::Cloud::default() {
                spec.authority = spec.authority.or_else(|| azure_authority.clone());
            }
            let problem = "workloadIdentity needs AZURE_FEDERATED_TOKEN_FILE, which Azure Workload Identity sets";
            let file = azure_token_file.clone();
            Proof::File(file.ok_or_else(|| invalid::Invalid::new("identity", problem))?)
        }
    };
    let config = sentinel::Config::new(spec, access.policy)?;
    let ingestion = access.sender(config.url().host_str())?;
    Ok(Arc::new(Sentinel::new(config, proof, access.credentials_sender()?, ingestion)))
}

fn event_bridge(spec: event_bridge::Spec, access: Access) -> Built {
    let region = spec.region.clone();
    let config = event_bridge::Config::new(spec, access.policy)?;
    let sender = access.sender(config.url().host_str())?;
    let keys = if ["accessKeyIdSecretRef", "secretAccessKeySecretRef", "sessionTokenSecretRef"]
        .iter()
        .any(|field| access.secrets.contains_key(*field))
    {
        Keys::Fixed(aws_keys(&access)?)
    } else {
        let sts = access.credentials_sender()?;
        let (Some(arn), Some(file)) = (access.identity.aws_role_arn, access.identity.aws_token_file) else {
            let problem = "must be set: the Pod has no role (AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE)";
            return Err(invalid::Invalid::new("accessKeyIdSecretRef", problem).into());
        };
        Keys::Role(Box::new(Role::new(region, arn, file, session_name(&access.instance), sts)))
    };
    Ok(Arc::new(EventBridge::new(config, keys, sender)))
}

fn aws_keys(access: &Access) -> Result<event_bridge::Credentials, invalid::Invalid> {
    let trimmed = |secret: &SecretString| SecretString::from(secret.expose_secret().trim());
    let id = access.secret("accessKeyIdSecretRef")?;
    let secret = trimmed(access.secret("secretAccessKeySecretRef")?);
    let token = access.optional("sessionTokenSecretRef").map(trimmed);
    event_bridge::Credentials::new(id.expose_secret().trim(), secret, token).map_err(|mut invalid| {
        invalid.field = match invalid.field {
            "accessKeyId" => "accessKeyIdSecretRef",
            "secretAccessKey" => "secretAccessKeySecretRef",
            _ => "sessionTokenSecretRef",
        };
        invalid
    })
}

/// A Pod's name as STS takes it: the end of it tells Pods apart.
fn session_name(instance: &str) -> String {
    const MAX: usize = 64;
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "_=,.@-".contains(*c);
    let name: String = instance.chars().filter(allowed).collect();
    let name = &name[name.len().saturating_sub(MAX)..];
    if name.len() < 2 { "ai-gateway-exporter".to_owned() } else { name.to_owned() }
}

fn sumo_logic(spec: sumo_logic::Spec, access: &Access) -> Built {
    let config = sumo_logic::Config::new(spec)?;
    let credential = sumo_logic::Credential::new(access.secret("urlSecretRef")?, access.policy)?;
    let sender = access.sender(credential.host())?;
    let request = move |events: &[Shaped], _| sumo_logic::request::request(&config, &credential, events);
    let limits = sumo_logic::request::LIMITS;
    over_http(sumo_logic::shape::shape, request, sumo_logic::answer::outcome, limits, Assurance::Sent, None, sender)
}

fn coralogix(spec: coralogix::Spec, access: &Access) -> Built {
    let config = coralogix::Config::new(spec, access.policy)?;
    let credential = coralogix::Credential::new(access.secret("secretRef")?)?;
    let sender = access.sender(config.url().host_str())?;
    let request = move |events: &[Shaped], _| coralogix::request::request(&config, &credential, events);
    let limits = coralogix::request::LIMITS;
    over_http(coralogix::shape::shape, request, coralogix::answer::outcome, limits, Assurance::Accepted, None, sender)
}

fn elasticsearch(spec: elasticsearch::Spec, access: &Access) -> Built {
    let config = elasticsearch::Config::new(spec, access.policy)?;
    let credential = elasticsearch::Credential::new(&config, access.secret("secretRef")?)?;
    let sender = access.sender(config.url().host_str())?;
    let request = move |events: &[Shaped], _| elasticsearch::request::request(&config, &credential, events);
    let (outcome, limits) = (elasticsearch::answer::outcome, elasticsearch::request::LIMITS);
    over_http(elasticsearch::shape::shape, request, outcome, limits, Assurance::Stored, None, sender)
}

fn webhook(spec: webhook::Spec, access: &Access) -> Built {
    let config = webhook::Config::new(spec, access.policy)?;
    let (current, previous) = (access.secret("secretRef")?, access.optional("previousSecretRef"));
    let credential = webhook::Credential::new(current, previous)?;
    let sender = access.sender(config.url().host_str())?;
    let request = move |events: &[Shaped], now| webhook::request::request(&config, &credential, events, now);
    let limits = webhook::request::LIMITS;
    over_http(webhook::shape::shape, request, webhook::answer::outcome, limits, Assurance::Accepted, None, sender)
}
