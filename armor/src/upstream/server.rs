//! One configured server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};

use super::client::Client;
use super::fault::{Fault, FaultReason};
use super::handshake::{Handshake, Offered};
use crate::config::schema::{self, ServerAuth};
use crate::config::types::{Prefix, ServerName};
use daemon::files::Secrets;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("ai-gateway-armor/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// A server. Lives as long as its configuration does not change, so that what is known of it survives a
/// change elsewhere.
#[derive(Debug)]
pub struct Server {
    /// Name.
    pub name: ServerName,
    /// What its names begin with.
    pub prefix: Prefix,
    /// Which tools are offered.
    pub tools: schema::Tools,
    /// How long a request may take, and a stream be idle.
    pub timeout: Duration,
    /// Equal for equal configuration and credentials.
    pub fingerprint: [u8; 32],
    /// Without its query, for people.
    pub shown_url: String,
    uri: Uri,
    credentials: Vec<(HeaderName, HeaderValue)>,
    client: Option<Client>,
    /// What keeps it from being asked at all.
    fault: Option<Fault>,
    handshake: watch::Sender<Arc<Handshake>>,
    offered: watch::Sender<Offered>,
    probe_now: Notify,
}

impl Server {
    /// Prepares a server; what is wrong with its credentials is its own fault and nobody else's.
    #[must_use]
    pub fn new(config: &schema::Server, secrets: &Secrets, collision: Option<&ServerName>) -> Self {
        let mut fault = collision.map(|earlier| {
            Fault::new(
                FaultReason::PrefixCollision,
                format!("server '{earlier}' already has the prefix '{}': give this server another one", config.prefix),
            )
        });
        let credentials = keep(credentials(config, secrets), &mut fault).unwrap_or_default();
        let ca = keep(ca_bundle(config, secrets), &mut fault).flatten();
        let client = keep(Client::new(ca), &mut fault);
        let url = config.url.as_url();
        // A URL that was parsed as one is a URI too, but for characters that only URLs know.
        let uri = url
            .as_str()
            .parse::<Uri>()
            .map_err(|_| Fault::new(FaultReason::ConnectFailed, "the url has characters that must be percent-encoded"));
        let uri = keep(uri, &mut fault).unwrap_or_default();
        let mut shown = url.clone();
        shown.set_query(None);
        let handshake = match &fault {
            None => Handshake::pending(),
            Some(fault) => Handshake::failed(fault, None),
        };
        Self {
            name: config.name.clone(),
            prefix: config.prefix.clone(),
            tools: config.tools.clone(),
            timeout: config.timeout.0,
            fingerprint: fingerprint(config, &credentials, ca, collision),
            shown_url: shown.to_string(),
            uri,
            credentials,
            client,
            fault,
            offered: watch::Sender::new(Offered::of(&handshake)),
            handshake: watch::Sender::new(Arc::new(handshake)),
            probe_now: Notify::new(),
        }
    }

    /// Why it is not asked at all.
    #[must_use]
    pub fn config_fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// What is known of it.
    #[must_use]
    pub fn handshake(&self) -> Arc<Handshake> {
        self.handshake.borrow().clone()
    }

    /// Tells when what it offers has changed; most probes find what the one before found.
    #[must_use]
    pub fn offers(&self) -> watch::Receiver<Offered> {
        self.offered.subscribe()
    }

    /// Written by the probe alone.
    pub(super) fn set_handshake(&self, handshake: Handshake) {
        let offered = Offered::of(&handshake);
        self.handshake.send_replace(Arc::new(handshake));
        self.offered.send_if_modified(|before| std::mem::replace(before, offered) != offered);
    }

    /// Wakes the probe.
    pub fn probe_now(&self) {
        self.probe_now.notify_one();
    }

    pub(super) async fn probe_wanted(&self) {
        self.probe_now.notified().await;
    }

    /// What is known of the server, not older than `max_age` if it can be had within `deadline`. A server
    /// that is known to fail is not waited for.
    pub async fn fresh(&self, max_age: Duration, deadline: Duration) -> Arc<Handshake> {
        let mut watch = self.handshake.subscribe();
        let asked = Instant::now();
        {
            let known = watch.borrow_and_update().clone();
            let young = known.probed.is_some_and(|at| at.elapsed() <= max_age);
            if young || known.is_failed() || self.fault.is_some() {
                return known;
            }
        }
        self.probe_now();
        let newer = watch.wait_for(|known| known.probed.is_some_and(|at| at >= asked));
        match tokio::time::timeout(deadline, newer).await {
            Ok(Ok(known)) => known.clone(),
            _ => self.handshake(),
        }
    }

    /// Sends a request of the protocol with the server's credentials, and waits for the head of the answer.
    ///
    /// # Errors
    /// The server's configuration or the transport. A status is not an error here.
    pub async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Response<Incoming>, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Some(client) = &self.client else {
            return Err(Fault::new(FaultReason::TlsFailed, "TLS can not be set up"));
        };
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = self.uri.clone();
        let target = request.headers_mut();
        *target = headers;
        if method == Method::POST {
            target.insert(CONTENT_TYPE, JSON);
            target.insert(ACCEPT, BOTH);
        } else if method == Method::GET {
            target.insert(ACCEPT, STREAM);
        }
        target.insert(USER_AGENT, AGENT);
        for (name, value) in &self.credentials {
            target.insert(name, value.clone());
        }
        *request.method_mut() = method;
        client.send(request, limit).await
    }

    /// The server's own name behind a name that callers use; `None` if it is not one of this server's.
    #[must_use]
    pub fn own_name<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() {
            return Some(name);
        }
        name.strip_prefix(self.prefix.as_ref())?.strip_prefix(Prefix::SEPARATOR)
    }

    /// The name that callers use.
    #[must_use]
    pub fn public_name(&self, own: &str) -> String {
        if self.prefix.is_empty() {
            return own.to_owned();
        }
        format!("{}{}{own}", self.prefix, Prefix::SEPARATOR)
    }
}

/// The value; or its fault becomes the server's, unless it has one.
fn keep<T>(result: Result<T, Fault>, fault: &mut Option<Fault>) -> Option<T> {
    result.map_err(|error| fault.get_or_insert(error)).ok()
}

fn credential_missing(field: &str, file: &str) -> Fault {
    Fault::new(
        FaultReason::CredentialMissing,
        format!("{field}: the secret '{file}' is missing, empty or not a header value: put the credential there"),
    )
}

fn credentials(config: &schema::Server, secrets: &Secrets) -> Result<Vec<(HeaderName, HeaderValue)>, Fault> {
    let value = |field: &str, file: &daemon::values::FileName, start: &[u8]| {
        let secret = secrets.get(file).ok_or_else(|| credential_missing(field, file.as_ref()))?;
        let mut value =
            HeaderValue::from_bytes(&[start, secret].concat()).map_err(|_| credential_missing(field, file.as_ref()))?;
        // Keeps it out of Debug output and of HTTP/2 header compression.
        value.set_sensitive(true);
        Ok(value)
    };
    match &config.auth {
        None => Ok(Vec::new()),
        Some(ServerAuth::Bearer(file)) => Ok(vec![(AUTHORIZATION, value("auth.bearer", file, b"Bearer ")?)]),
        Some(ServerAuth::Headers(headers)) => headers
            .iter()
            .map(|header| {
                let name = header.name.parse().map_err(|_| credential_missing("auth.headers", &header.name))?;
                Ok((name, value("auth.headers", &header.value_file, b"")?))
            })
            .collect(),
    }
}

fn ca_bundle<'a>(config: &schema::Server, secrets: &'a Secrets) -> Result<Option<&'a [u8]>, Fault> {
    match &config.ca_file {
        None => Ok(None),
        Some(file) => match secrets.get(file) {
            Some(pem) => Ok(Some(pem)),
            None => Err(credential_missing("caFile", file.as_ref())),
        },
    }
}

fn fingerprint(
    config: &schema::Server,
    credentials: &[(HeaderName, HeaderValue)],
    ca: Option<&[u8]>,
    collision: Option<&ServerName>,
) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    // Debug text names every field, so that a new one can not be forgotten here.
    add(format!("{config:?} {collision:?}").as_bytes());
    for (name, value) in credentials {
        add(name.as_ref());
        add(value.as_bytes());
    }
    add(ca.unwrap_or_default());
    hasher.finalize().into()
}
