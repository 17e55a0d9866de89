//! TLS on both sides.

use std::sync::Arc;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::armor::{Armor, Config};
use crate::harness::double::{self, echo};
use crate::harness::eventually;
use crate::harness::mcp::{Legacy, Modern};

/// A CA and a certificate of it for localhost.
struct Identity {
    ca: String,
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { ca: issuer.pem(), certificate: leaf.pem(), key: key.serialize_pem() }
    }

    fn server_config(&self) -> Arc<rustls::ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// A double of a server behind TLS, over HTTP/2 where it is asked for.
async fn behind_tls(identity: &Identity) -> String {
    let acceptor = tokio_rustls::TlsAcceptor::from(identity.server_config());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
    // Ends with the runtime of the test.
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = service_fn(|request: Request<Incoming>| async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let seen = double::Seen { http: parts.method, headers: parts.headers, body };
                    let response = match double::manners(&seen, &["2025-11-25"], &["t"]) {
                        Some(response) => response,
                        None => echo(seen).await,
                    };
                    Ok::<Response<double::Body>, hyper::Error>(response)
                });
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    url
}

#[tokio::test]
async fn a_server_is_trusted_by_its_own_ca_and_not_without() {
    let identity = Identity::new();
    let url = behind_tls(&identity).await;
    let config = Config::new()
        .secret("ca.crt", &identity.ca)
        .secret("other.crt", &Identity::new().ca)
        .secret("no.crt", "not PEM")
        .server_with("trusted", &url, json!({"caFile": "ca.crt"}))
        .server_with("unknown", &url, json!({}))
        .server_with("other", &url, json!({"caFile": "other.crt"}))
        .server_with("unreadable", &url, json!({"caFile": "no.crt"}))
        .server_with("missing", &url, json!({"caFile": "none.crt"}))
        .server_with("misnamed", &url.replace("localhost", "127.0.0.1"), json!({"caFile": "ca.crt"}));
    let armor = Armor::start(&config).await;
    for (name, reason) in [
        ("trusted", "Connected"),
        ("unknown", "TlsFailed"),
        ("other", "TlsFailed"),
        ("unreadable", "TlsFailed"),
        ("missing", "CredentialMissing"),
        ("misnamed", "TlsFailed"),
    ] {
        let server = armor.server(name).await;
        assert_eq!(server["reason"], reason, "{server}");
    }
    let client = Legacy::connect(&armor.url).await;
    let answer = client.call("trusted__t", json!({"text": "over TLS"})).await;
    assert_eq!(answer["result"]["content"][0]["text"], r#"{"text":"over TLS"}"#);
}

#[tokio::test]
async fn callers_come_in_over_tls_and_the_certificate_can_change() {
    let server = double::of_eras(&["2026-07-28"], &["t"], echo).await;
    let first = Identity::new();
    let second = Identity::new();
    let mut config =
        Config::new().server("s", &server.url).secret("tls.crt", &first.certificate).secret("tls.key", &first.key);
    config.yaml["listener"]["tls"] = json!({"certFile": "tls.crt", "keyFile": "tls.key"});
    let armor = Armor::start(&config).await;
    let url = armor.url.replace("http://127.0.0.1", "https://localhost");
    assert_eq!(call_over_tls(&url, &first.ca).await.unwrap(), 200);
    assert!(call_over_tls(&url, &second.ca).await.is_err());

    armor.replace(&armor.secret_file("tls.key"), &second.key);
    eventually("a key that does not fit is refused", async || {
        let state = armor.admin("/config").await;
        state["lastError"].as_str().is_some_and(|e| e.contains("tls.key")).then_some(())
    })
    .await;
    assert_eq!(call_over_tls(&url, &first.ca).await.unwrap(), 200);
    armor.replace(&armor.secret_file("tls.crt"), &second.certificate);
    eventually("the new certificate", async || call_over_tls(&url, &second.ca).await.ok()).await;
    assert!(call_over_tls(&url, &first.ca).await.is_err());
}

async fn call_over_tls(url: &str, ca: &str) -> Result<u16, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_all_versions().build();
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let mut request = Request::post(url);
    for (name, value) in Modern::headers("tools/call", Some("s__t")) {
        request = request.header(name, value);
    }
    let body = Modern::body("tools/call", json!({"name": "s__t", "arguments": {}}));
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = client.request(request).await.map_err(|e| format!("{e:?}"))?;
    // Both sides speak HTTP/2.
    assert_eq!(response.version(), ::http::Version::HTTP_2);
    Ok(response.status().as_u16())
}
