//! The HTTP client of one server: pooled, with time limits, with its own CA where it has one.
//!
//! Promises: no redirect is followed; every request has a limit up to the head of its answer. Must never
//! trust a certificate that no root vouches for: there is no "insecure".

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::fault::{Fault, FaultReason};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the 5 s after which common servers (Node, uvicorn) close an idle connection: one that is
/// closed while a call is being written to it would be a failed call.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const POOL_MAX_IDLE: usize = 128;
/// A peer that is gone without a word is noticed on streams, which may be silent for long.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The client.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// A client that trusts the public roots and, where given, those of a PEM bundle.
    ///
    /// # Errors
    /// [`FaultReason::TlsFailed`] if the bundle has no certificate that can be used.
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Self, Fault> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_keepalive(Some(TCP_KEEPALIVE));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(ca_pem)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(TCP_KEEPALIVE)
            .build(https);
        Ok(Self { pool })
    }

    /// Sends, and waits for the head of the answer.
    ///
    /// # Errors
    /// What the transport says; a status is not an error here.
    pub async fn send(&self, request: Request<Full<Bytes>>, limit: Duration) -> Result<Response<Incoming>, Fault> {
        match tokio::time::timeout(limit, self.pool.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Fault::client(&error)),
            Err(_) => Err(Fault::timeout(limit)),
        }
    }
}

fn tls_config(ca_pem: Option<&[u8]>) -> Result<rustls::ClientConfig, Fault> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        let unusable = |what: &str| {
            Fault::new(FaultReason::TlsFailed, format!("the CA bundle {what}: it must hold PEM certificates"))
        };
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| unusable("can not be read"))?;
            roots.add(certificate).map_err(|_| unusable("has a certificate that can not be used"))?;
            added += 1;
        }
        if added == 0 {
            return Err(unusable("holds no certificate"));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Fault::new(FaultReason::TlsFailed, "TLS can not be set up"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
