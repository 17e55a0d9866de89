//! From an McpServer and what it points at to what Armor is told of it. Pure.
//!
//! Both controllers come here: the McpServer's for its own status, the Pool's for the configuration that it
//! renders. So the two can not disagree about which servers are in.

use std::collections::{BTreeMap, BTreeSet};

use crds::McpServer;
use crds::mcp_server::{OutboundAuth, SecretHeader};
use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretSlice};

use crate::certificates::check_ca;
use crate::conditions::Problem;
use crate::names::child_name;
use crate::world::{Lookup, Source, not_found};

/// What an McpServer's references lead to.
#[derive(Debug, Default)]
pub struct References {
    /// By Secret name.
    pub secrets: BTreeMap<String, Lookup>,
    /// The ConfigMap of `remote.caRef`.
    pub ca: Option<Lookup>,
}

/// A server as it goes into `armor.yaml`.
#[derive(Debug)]
pub struct Programmed {
    /// Name of the McpServer.
    pub name: String,
    /// Prefix of its tools; empty for none.
    pub prefix: String,
    /// URL of its endpoint.
    pub url: String,
    /// Certificates to trust.
    pub ca: Option<Credential>,
    /// What Armor shows to the server.
    pub auth: Outbound,
    /// Limit of one request.
    pub timeout: String,
    /// Globs of offered tools.
    pub allow: Vec<String>,
    /// Globs of withheld tools.
    pub deny: Vec<String>,
}

/// Credentials towards a server.
#[derive(Debug)]
pub enum Outbound {
    /// None.
    None,
    /// A bearer token.
    Bearer(Credential),
    /// Headers by name.
    Headers(Vec<(String, Credential)>),
}

/// A value that is copied into the pool's credentials.
#[derive(Debug)]
pub struct Credential {
    /// Name of its file in Armor's directory of secrets.
    pub file: String,
    /// Where it comes from: changes whenever the value may have.
    pub origin: String,
    /// The value.
    pub value: SecretSlice<u8>,
}

/// The problem of an McpServer, by the condition that it makes false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `Accepted`.
    NotAccepted(Problem),
    /// `ResolvedRefs`.
    Unresolved(Problem),
}

impl Fault {
    /// The problem itself.
    pub fn problem(&self) -> &Problem {
        match self {
            Fault::NotAccepted(problem) | Fault::Unresolved(problem) => problem,
        }
    }
}

/// The prefix of a server's tools.
pub fn prefix(server: &McpServer) -> String {
    server.spec.prefix.clone().unwrap_or_else(|| server.name_any())
}

/// Servers of one pool whose tools can not be told apart from an earlier server's, with the reason.
///
/// The earlier one stays: by creation time, then by name, so that the outcome does not depend on the order in
/// which a watch shows them.
pub fn collisions(servers: &[&McpServer]) -> BTreeMap<String, Problem> {
    let mut ordered = servers.to_vec();
    ordered.sort_by_key(|server| (server.metadata.creation_timestamp.clone().map(|time| time.0), server.name_any()));
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for server in ordered {
        let (name, prefix) = (server.name_any(), prefix(server));
        let other =
            if prefix.is_empty() || taken.contains_key("") { taken.values().next() } else { taken.get(&prefix) };
        match other {
            Some(other) if prefix.is_empty() || taken.contains_key("") => {
                let message = format!(
                    "spec.prefix: a server without a prefix must be the only one of its pool, and McpServer {other} \
                     is there too: make this McpServer anew with a prefix, or put it into a pool of its own"
                );
                refused.insert(name, Problem::new("PrefixCollision", message));
            }
            Some(other) => {
                let message = format!(
                    "spec.prefix: McpServer {other} of the same pool has the prefix {prefix} already: make this \
                     McpServer anew with another prefix"
                );
                refused.insert(name, Problem::new("PrefixCollision", message));
            }
            None => {
                taken.insert(prefix, name);
            }
        }
    }
    refused
}

/// Checks everything about one server that does not depend on the others of its pool.
///
/// # Errors
/// The first thing that keeps the server out of the configuration.
pub fn validate(server: &McpServer, references: &References) -> Result<Programmed, Fault> {
    let name = server.name_any();
    let spec = &server.spec;
    let url = match (&spec.remote, &spec.workload) {
        (Some(remote), None) => {
            url::Url::parse(&remote.url).map_err(|error| {
                let message =
                    format!("spec.remote.url is no URL ({error}): write one such as https://crm.example.com/mcp");
                Fault::NotAccepted(Problem::new("InvalidUrl", message))
            })?;
            remote.url.clone()
        }
        (None, Some(workload)) => format!(
            "http://{}.{}.svc:{}{}",
            child_name(&name, "mcp"),
            server.namespace().unwrap_or_default(),
            workload.port.unwrap_or(8080),
            workload.path.as_deref().unwrap_or("/mcp"),
        ),
        _ => {
            let message = "spec: set exactly one of remote and workload";
            return Err(Fault::NotAccepted(Problem::new("InvalidSpec", message)));
        }
    };
    let globs = |list: &Option<Vec<String>>, field: &str| {
        let list = list.clone().unwrap_or_default();
        let empty = list.iter().any(|glob| glob.trim().is_empty());
        if empty {
            let message = format!("spec.tools.{field} has an empty pattern: remove it, or write a tool name or a glob");
            return Err(Fault::NotAccepted(Problem::new("InvalidSpec", message)));
        }
        Ok(list)
    };
    let tools = spec.tools.as_ref();
    let allow = match tools {
        Some(tools) if tools.allow.is_some() => globs(&tools.allow, "allow")?,
        _ => vec!["*".to_owned()],
    };
    let deny = tools.map_or(Ok(Vec::new()), |tools| globs(&tools.deny, "deny"))?;
    Ok(Programmed {
        prefix: prefix(server),
        url,
        ca: ca(server, references).map_err(Fault::Unresolved)?,
        auth: outbound(&name, spec.auth.as_ref(), references).map_err(Fault::Unresolved)?,
        timeout: spec.timeout.clone().unwrap_or_else(|| "30s".to_owned()),
        allow,
        deny,
        name,
    })
}

/// Names of the Secrets that a server points at.
pub fn secret_names(server: &McpServer) -> BTreeSet<String> {
    let auth = server.spec.auth.as_ref();
    let bearer = auth.and_then(|auth| auth.bearer.as_ref()).map(|bearer| bearer.secret_ref.name.clone());
    let headers = auth.and_then(|auth| auth.headers.as_ref()).into_iter().flatten();
    bearer.into_iter().chain(headers.map(|header| header.secret_ref.name.clone())).collect()
}

fn ca(server: &McpServer, references: &References) -> Result<Option<Credential>, Problem> {
    let Some(ca_ref) = server.spec.remote.as_ref().and_then(|remote| remote.ca_ref.as_ref()) else { return Ok(None) };
    let field = "spec.remote.caRef";
    let Some(Some(material)) = &references.ca else {
        return Err(not_found(Source::ConfigMap, &ca_ref.name, field));
    };
    let value = material.require(ca_ref.key(), field)?.clone();
    let file = format!("server-{}-ca.crt", server.name_any());
    check_ca(ca_ref, field, value.expose_secret())?;
    Ok(Some(Credential { file, origin: format!("{}/{}", material.version, ca_ref.key()), value }))
}

fn outbound(name: &str, auth: Option<&OutboundAuth>, references: &References) -> Result<Outbound, Problem> {
    let credential = |reference: &crds::common::SecretKeyRef, field: &str, file: String| {
        let Some(Some(material)) = references.secrets.get(&reference.name) else {
            return Err(not_found(Source::Secret, &reference.name, field));
        };
        let value = material.require(&reference.key, field)?.clone();
        Ok(Credential { file, origin: format!("{}/{}", material.version, reference.key), value })
    };
    match auth {
        Some(OutboundAuth { bearer: Some(bearer), .. }) => {
            let file = format!("server-{name}-bearer");
            Ok(Outbound::Bearer(credential(&bearer.secret_ref, "spec.auth.bearer.secretRef", file)?))
        }
        Some(OutboundAuth { headers: Some(headers), .. }) => {
            let one = |(index, header): (usize, &SecretHeader)| {
                let field = format!("spec.auth.headers[{}].secretRef", header.name);
                let file = format!("server-{name}-header-{index}");
                Ok((header.name.clone(), credential(&header.secret_ref, &field, file)?))
            };
            Ok(Outbound::Headers(headers.iter().enumerate().map(one).collect::<Result<_, Problem>>()?))
        }
        _ => Ok(Outbound::None),
    }
}
