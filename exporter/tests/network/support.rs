//! Receivers and certificates.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use exporter::address::Policy;
use exporter::answer::{Outcome, Verdict};
use exporter::destination::Shaped;
use exporter::platform::Platform;
use exporter::registry::{self, Access, Identity};
use exporter::tls;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use url::Url;

pub type Body = BoxBody<Bytes, Infallible>;
pub type Response = hyper::Response<Body>;

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A success that breaks off in the middle.
pub fn broken() -> Response {
    let half = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"half")))]);
    let mut broken = Response::new(StreamBody::new(half).boxed());
    broken.headers_mut().insert("content-length", 9.into());
    broken
}

pub fn response(status: u16, body: impl Into<Bytes>) -> Response {
    hyper::Response::builder().status(status).body(full(body)).unwrap()
}

/// A request that a receiver read whole.
#[derive(Debug)]
pub struct Received {
    pub head: hyper::http::request::Parts,
    pub body: Bytes,
}

/// An HTTP/1.1 and HTTP/2 server; it ends with the test's runtime.
pub async fn serve<H>(tls: Option<rustls::ServerConfig>, handle: H) -> SocketAddr
where
    H: Fn(Received) -> Response + Clone + Send + 'static,
{
    serve_when(tls, move |received| std::future::ready(handle(received))).await
}

/// The same, for answers that take their time.
pub async fn serve_when<H, F>(tls: Option<rustls::ServerConfig>, handle: H) -> SocketAddr
where
    H: Fn(Received) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (handle, acceptor) = (handle.clone(), acceptor.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let handle = handle.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(handle(Received { head, body }).await)
                    }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                // A client that turns away is what some tests are about.
                let _ = match acceptor {
                    None => server.serve_connection(TokioIo::new(stream), service).await,
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                        Err(_) => Ok(()),
                    },
                };
            });
        }
    });
    address
}

/// Set up as the exporter does it, on this machine and with these secrets.
pub fn access(tls: tls::Settings, secrets: &[(&str, &str)]) -> Access {
    Access {
        secrets: secrets.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).into())).collect(),
        tls,
        server_name: None,
        policy: Policy::LOOPBACK_TOO,
        proxy: None,
        identity: Identity::default(),
        instance: "prod-exporter-7d9f-abcde".into(),
    }
}

pub fn platform(block: serde_json::Value, access: Access) -> Arc<dyn Platform> {
    registry::platform(serde_json::from_value(block).unwrap(), access).unwrap()
}

/// Events, encoded already; what is in them is not what is tested.
pub fn batch(count: usize) -> Vec<Shaped> {
    let time = events::Moment::new(jiff::Timestamp::UNIX_EPOCH);
    (0..count).map(|_| Shaped { bytes: Bytes::from_static(b"{}"), time, group: "".into(), cut: false }).collect()
}

/// Sends a batch; nothing here takes that long.
pub async fn send(platform: &dyn Platform, count: usize) -> Outcome {
    platform.send(&batch(count), jiff::Timestamp::now(), Duration::from_secs(30)).await
}

pub fn retry(code: &str) -> impl Fn(&Outcome) -> bool {
    move |outcome| matches!(outcome, Outcome::All(Verdict::Retry { code: seen, .. }) if seen.as_str() == code)
}

/// A proxy that records what it is asked for, and connects where `route` says or refuses.
pub async fn proxy(route: impl Fn(&str) -> Option<SocketAddr> + Send + 'static) -> (Url, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (seen, asked) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let authority = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
            let target = route(&authority);
            seen.send(authority).unwrap();
            tokio::spawn(async move {
                let Some(target) = target else {
                    let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
                    return;
                };
                let mut server = TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (url, asked)
}

/// A CA of the test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Certificate and key.
pub struct Issued {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn issue(&self, name: &str, years: std::ops::Range<i32>) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        Issued { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    pub fn trusted(&self) -> tls::Settings {
        tls::Settings { ca: Some(self.0.pem().into_bytes()), client: None }
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

impl Issued {
    /// A server that shows this certificate, and asks for one of `clients`.
    pub fn server(&self, clients: Option<&Authority>) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => builder.with_client_cert_verifier(
                rustls::server::WebPkiClientVerifier::builder_with_provider(authority.roots(), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        builder.with_single_cert(vec![self.certificate.der().clone()], key).unwrap()
    }

    pub fn client(&self) -> tls::ClientCertificate {
        tls::ClientCertificate { chain: self.certificate.pem().into_bytes(), key: self.key.serialize_pem().into() }
    }
}
