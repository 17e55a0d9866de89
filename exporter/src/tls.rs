//! TLS of one destination, the same for HTTP and syslog.
//!
//! Promises: TLS 1.2 or later; a certificate is trusted through the public roots or the destination's own CA bundle.
//! There is no switch that turns verification off.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};

/// What a destination's `tls` block says, with the contents that it refers to.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// PEM certificates that are trusted besides the public roots.
    pub ca: Option<Vec<u8>>,
    /// What the server is shown.
    pub client: Option<ClientCertificate>,
}

/// A `kubernetes.io/tls` Secret.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// PEM: the certificate, then those that lead to its CA.
    pub chain: Vec<u8>,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: SecretString,
}

/// `serverName`: the name that the certificate of one host is expected to have, and that is asked for (SNI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// The host that is connected to, as the URL has it.
    pub host: String,
    /// The name.
    pub name: String,
}

/// Why TLS can not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No PEM, or not only certificates.
    #[error("tls.caRef: must hold one or more PEM certificates")]
    Ca,
    /// No certificate, no key, or a key of another certificate.
    #[error("tls.clientCertificateRef: must hold a PEM certificate and its private key")]
    ClientCertificate,
    /// No DNS name.
    #[error("tls.serverName: must be a DNS name")]
    ServerName,
    /// The library has no protocol to offer.
    #[error("TLS can not be set up")]
    Library,
}

impl ServerName {
    /// A name for a host.
    ///
    /// # Errors
    /// [`Invalid::ServerName`] for what is no DNS name.
    pub fn new(host: &str, name: &str) -> Result<Self, Invalid> {
        match rustls_pki_types::ServerName::try_from(name) {
            Ok(rustls_pki_types::ServerName::DnsName(_)) => Ok(Self { host: host.to_owned(), name: name.to_owned() }),
            _ => Err(Invalid::ServerName),
        }
    }
}

impl Settings {
    /// The client's side of TLS; `alpn` is what it offers to speak.
    ///
    /// # Errors
    /// What of the settings can not be used.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, Invalid> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = &self.ca {
            for certificate in certificates(pem).ok_or(Invalid::Ca)? {
                roots.add(certificate).map_err(|_| Invalid::Ca)?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|_| Invalid::Library)?
            .with_root_certificates(roots);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let chain = certificates(&client.chain).ok_or(Invalid::ClientCertificate)?;
                let key = PrivateKeyDer::from_pem_slice(client.key.expose_secret().as_bytes())
                    .map_err(|_| Invalid::ClientCertificate)?;
                builder.with_client_auth_cert(chain, key).map_err(|_| Invalid::ClientCertificate)?
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

/// The certificates of a PEM text; `None` if one can not be read, or there is none.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!list.is_empty()).then_some(list)
}
