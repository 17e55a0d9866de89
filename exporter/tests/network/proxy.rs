//! Connections through a proxy.

use std::time::Duration;

use bytes::Bytes;
use exporter::address::Policy;
use exporter::cause::{Cause, TlsCause};
use exporter::connect::{Proxy, Way};
use exporter::destination::Request;
use exporter::http::{Reply, Sender};
use exporter::tls;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use url::Url;

use crate::support::{Authority, proxy, response, serve};

const LONG: Duration = Duration::from_secs(30);

/// In production's policy: the proxies of these tests are on this machine, and are not checked.
async fn post(proxy: &Url, settings: &tls::Settings, name: Option<&str>, url: &str) -> Result<Reply, Cause> {
    let url: Url = url.parse().unwrap();
    let server_name = name.map(|name| tls::ServerName::new(url.host_str().unwrap(), name).unwrap());
    let way = Way { policy: Policy::STRICT, server_name, proxy: Some(Proxy::new(proxy).unwrap()) };
    let request = Request { url, headers: Default::default(), body: Bytes::from_static(b"[1]"), compress: false };
    Sender::by(settings, way).unwrap().send(request, LONG).await
}

#[tokio::test]
async fn name_is_the_proxys_to_resolve_and_tls_goes_through() {
    let authority = Authority::new();
    let server = authority.issue("siem.example.com", 2020..2090).server(None);
    let target = serve(Some(server), |received| response(200, received.body)).await;
    let (proxy, mut asked) = proxy(move |_| Some(target)).await;
    let reply = post(&proxy, &authority.trusted(), None, "https://siem.example.com/in").await.unwrap();
    assert_eq!(&reply.body[..], b"[1]");
    assert_eq!(asked.recv().await.unwrap(), "siem.example.com:443");
    // The proxy can not pass off another server as that one.
    let cause = post(&proxy, &authority.trusted(), None, "https://other.example.com:8088/").await.unwrap_err();
    assert_eq!(cause, Cause::Tls(TlsCause::OtherHost));
    assert_eq!(asked.recv().await.unwrap(), "other.example.com:8088");
}

#[tokio::test]
async fn server_name_is_for_tls_and_the_proxy_is_asked_for_the_host() {
    let authority = Authority::new();
    let server = authority.issue("siem.example.com", 2020..2090).server(None);
    let target =
        serve(Some(server), |received| response(200, received.head.headers["host"].to_str().unwrap().to_owned()));
    let target = target.await;
    let (proxy, mut asked) = proxy(move |_| Some(target)).await;
    let name = Some("siem.example.com");
    for (url, authority_of) in
        [("https://10.1.2.3:8088/", "10.1.2.3:8088"), ("https://[2001:db8::1]/", "[2001:db8::1]:443")]
    {
        let reply = post(&proxy, &authority.trusted(), name, url).await.unwrap();
        assert_eq!(asked.recv().await.unwrap(), authority_of);
        assert_eq!(reply.body, authority_of.strip_suffix(":443").unwrap_or(authority_of));
    }
}

#[tokio::test]
async fn literal_address_that_is_refused_is_not_asked_for() {
    let (proxy, mut asked) = proxy(|_| None).await;
    for host in ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:169.254.169.254]", "2130706433", "[fd00:ec2::254]"] {
        let cause = post(&proxy, &tls::Settings::default(), None, &format!("https://{host}/")).await.unwrap_err();
        assert_eq!(cause, Cause::RefusedAddress, "{host}");
    }
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn service_of_the_cluster_is_reached_without_the_proxy() {
    let (proxy, mut asked) = proxy(|_| None).await;
    for url in ["http://no-such-service.no-such-namespace.svc:4318/", "https://a.b.svc.cluster.local/"] {
        assert_eq!(post(&proxy, &tls::Settings::default(), None, url).await.unwrap_err(), Cause::Resolve);
    }
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn proxy_that_refuses_is_not_there_or_is_none_is_told_apart_from_the_destination() {
    let (refusing, _asked) = proxy(|_| None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let mut none = Vec::new();
    for answer in [&b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..], b"", &[b'x'; 100_000], b"HTTP/1.1 200"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        none.push(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(answer).await;
        });
    }
    for proxy in [&refusing, &gone].into_iter().chain(&none) {
        let cause = post(proxy, &tls::Settings::default(), None, "https://siem.example.com/").await.unwrap_err();
        assert_eq!(cause, Cause::Proxy);
    }
}
