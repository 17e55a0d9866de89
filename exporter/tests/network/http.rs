//! The HTTP sender.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use exporter::address::Policy;
use exporter::cause::{Cause, TlsCause};
use exporter::destination::Request;
use exporter::http::{MAX_ANSWER_BYTES, Reply, Sender};
use exporter::tls;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{Authority, response, serve};

/// Far longer than anything here takes, where the time is not what is tested.
const LONG: Duration = Duration::from_secs(30);

fn request(url: &str) -> Request {
    Request {
        url: url.parse().unwrap(),
        headers: hyper::HeaderMap::new(),
        body: Bytes::from_static(b"[1]"),
        compress: false,
    }
}

fn sender(settings: &tls::Settings) -> Sender {
    Sender::new(settings, None, Policy::LOOPBACK_TOO).unwrap()
}

async fn post(url: &str) -> Result<Reply, Cause> {
    sender(&tls::Settings::default()).send(request(url), LONG).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::best()).read_to_end(&mut out).unwrap();
    out
}

fn gzipped(status: u16, body: &[u8]) -> crate::support::Response {
    let mut response = response(status, gzip(body));
    response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    response
}

#[tokio::test]
async fn body_and_headers_arrive_as_they_were_given() {
    let (seen, mut received) = mpsc::unbounded_channel();
    let address = serve(None, move |request| {
        seen.send(request).unwrap();
        response(202, "{\"ok\":1}")
    })
    .await;
    let mut request = request(&format!("http://{address}/in?a=b"));
    request.headers.insert("x-team", "soc".parse().unwrap());
    let reply = sender(&tls::Settings::default()).send(request, LONG).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (202, &b"{\"ok\":1}"[..]));
    let received = received.recv().await.unwrap();
    assert_eq!(received.head.uri.to_string(), "/in?a=b");
    assert_eq!(received.head.headers["x-team"], "soc");
    assert_eq!(received.head.headers["host"], address.to_string());
    assert!(received.head.headers.get("content-encoding").is_none());
    assert_eq!(&received.body[..], b"[1]");
}

#[tokio::test]
async fn compressed_requests_decompress_to_the_body_whatever_their_size() {
    let (seen, mut received) = mpsc::unbounded_channel();
    let address = serve(None, move |request| {
        seen.send(request).unwrap();
        response(200, "")
    })
    .await;
    let sender = sender(&tls::Settings::default());
    for size in [0usize, 1, 16 << 10, 1 << 20] {
        let body: Vec<u8> = (0..size).map(|i| (i * i % 251) as u8).collect();
        let mut request = request(&format!("http://{address}/"));
        request.compress = true;
        request.body = body.clone().into();
        sender.send(request, LONG).await.unwrap();
        let received = received.recv().await.unwrap();
        assert_eq!(received.head.headers["content-encoding"], "gzip");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&received.body[..]).read_to_end(&mut plain).unwrap();
        assert!(plain == body, "{size} bytes");
    }
}

#[tokio::test]
async fn redirect_is_an_answer_and_its_target_is_never_asked() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let target = serve(None, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        response(200, "")
    })
    .await;
    for status in [301, 302, 303, 307, 308] {
        let address = serve(None, move |_| {
            let mut redirect = response(status, "");
            redirect.headers_mut().insert("location", format!("http://{target}/").parse().unwrap());
            redirect
        })
        .await;
        assert_eq!(post(&format!("http://{address}/")).await.unwrap().status.as_u16(), status);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn compressed_answer_is_read_up_to_the_limit_and_not_beyond() {
    // It grows with the request: a platform may answer for each event.
    let most = MAX_ANSWER_BYTES + request("http://a").body.len() / 2;
    for (size, fits) in [(most, true), (most + 1, false), (10 << 20, false)] {
        let body = vec![b' '; size];
        let address = serve(None, move |_| gzipped(200, &body)).await;
        let reply = post(&format!("http://{address}/")).await;
        match fits {
            true => assert_eq!(reply.unwrap().body.len(), size),
            false => assert_eq!(reply.unwrap_err(), Cause::TooLarge, "{size}"),
        }
    }
}

#[tokio::test]
async fn long_page_with_a_refusal_is_still_that_refusal() {
    let address = serve(None, |_| gzipped(401, &vec![b'x'; 1 << 20])).await;
    let reply = post(&format!("http://{address}/")).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.body.len()), (401, 0));
    let address = serve(None, |_| response(503, vec![b'x'; 1 << 20])).await;
    assert_eq!(post(&format!("http://{address}/")).await.unwrap().status.as_u16(), 503);
}

#[tokio::test]
async fn answer_of_a_hundred_megabytes_is_left_unread() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let address = serve(None, move |_| {
        let counter = counter.clone();
        let chunks = futures::stream::iter((0..1_600).map(move |_| {
            counter.fetch_add(64 << 10, Ordering::SeqCst);
            Ok(Frame::data(Bytes::from_static(&[b'x'; 64 << 10])))
        }));
        hyper::Response::new(StreamBody::new(chunks).boxed())
    })
    .await;
    assert_eq!(post(&format!("http://{address}/")).await.unwrap_err(), Cause::TooLarge);
    // What the two kernels hold is more than what was read, and far less than all.
    assert!(sent.load(Ordering::SeqCst) < 50 << 20, "{}", sent.load(Ordering::SeqCst));
}

#[tokio::test]
async fn bytes_that_are_no_gzip_are_broken() {
    let address = serve(None, |_| {
        let mut garbage = response(200, "not gzip");
        garbage.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        garbage
    })
    .await;
    assert_eq!(post(&format!("http://{address}/")).await.unwrap_err(), Cause::Broken);
}

/// A server that answers each connection with `answer`, byte by byte at `pace`, and then holds it open or closes it.
async fn raw(answer: &'static [u8], pace: Duration, hold: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let mut ticks = tokio::time::interval(pace);
                for byte in answer {
                    ticks.tick().await;
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
                if hold {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn server_that_never_answers_costs_no_more_than_the_timeout() {
    let url = raw(b"", Duration::from_millis(1), true).await;
    let limit = Duration::from_millis(200);
    let started = std::time::Instant::now();
    let cause = sender(&tls::Settings::default()).send(request(&url), limit).await.unwrap_err();
    assert_eq!(cause, Cause::Timeout);
    assert!((limit..LONG / 2).contains(&started.elapsed()));
}

#[tokio::test]
async fn server_that_drips_its_answer_can_not_stretch_the_timeout() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}", "x".repeat(900)).leak().as_bytes();
    let url = raw(answer, Duration::from_millis(5), true).await;
    let started = std::time::Instant::now();
    let cause = sender(&tls::Settings::default()).send(request(&url), Duration::from_millis(500)).await.unwrap_err();
    assert_eq!(cause, Cause::Timeout);
    assert!(started.elapsed() < LONG / 2);
}

#[tokio::test]
async fn answer_that_breaks_off_and_answer_that_is_no_http_are_broken() {
    let pace = Duration::from_micros(1);
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"SSH-2.0-OpenSSH_9.2\r\n"] {
        assert_eq!(post(&raw(answer, pace, false).await).await.unwrap_err(), Cause::Broken);
    }
}

#[tokio::test]
async fn closed_port_is_connect_and_unknown_name_is_resolve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(post(&format!("http://{address}/")).await.unwrap_err(), Cause::Connect);
    assert_eq!(post("https://no-such-host.invalid/").await.unwrap_err(), Cause::Resolve);
}

#[tokio::test]
async fn refused_addresses_see_no_connection_by_name_or_by_literal() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let address = serve(None, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        response(200, "")
    })
    .await;
    let strict = Sender::new(&tls::Settings::default(), None, Policy::STRICT).unwrap();
    let port = address.port();
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"] {
        let cause = strict.send(request(&format!("http://{host}:{port}/")), LONG).await.unwrap_err();
        assert_eq!(cause, Cause::RefusedAddress, "{host}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert!(post(&format!("http://localhost:{port}/")).await.is_ok());
}

#[tokio::test]
async fn certificate_is_trusted_through_the_bundle_alone_and_each_fault_has_its_cause() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let other_host = authority.issue("siem.example.com", 2020..2090);
    for (certificate, settings, expected) in [
        (authority.issue("localhost", 2020..2090), authority.trusted(), None),
        (authority.issue("localhost", 2020..2021), authority.trusted(), Some(TlsCause::Expired)),
        (authority.issue("localhost", 2080..2090), authority.trusted(), Some(TlsCause::NotYetValid)),
        (other_host, authority.trusted(), Some(TlsCause::OtherHost)),
        (authority.issue("localhost", 2020..2090), stranger.trusted(), Some(TlsCause::UnknownCa)),
        (authority.issue("localhost", 2020..2090), tls::Settings::default(), Some(TlsCause::UnknownCa)),
    ] {
        let address = serve(Some(certificate.server(None)), |_| response(200, "")).await;
        let reply = sender(&settings).send(request(&format!("https://localhost:{}/", address.port())), LONG).await;
        assert_eq!(reply.err(), expected.map(Cause::Tls));
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_the_server_offers_it() {
    let authority = Authority::new();
    let (seen, mut received) = mpsc::unbounded_channel();
    let mut server = authority.issue("localhost", 2020..2090).server(None);
    server.alpn_protocols = vec![b"h2".to_vec()];
    let address = serve(Some(server), move |request| {
        seen.send((request.head.version, request.body)).unwrap();
        response(200, "")
    })
    .await;
    let url = format!("https://localhost:{}/", address.port());
    sender(&authority.trusted()).send(request(&url), LONG).await.unwrap();
    assert_eq!(received.recv().await.unwrap(), (hyper::Version::HTTP_2, Bytes::from_static(b"[1]")));
}

#[tokio::test]
async fn server_that_speaks_no_tls_is_a_failed_handshake() {
    let address = serve(None, |_| response(200, "")).await;
    let cause = post(&format!("https://localhost:{}/", address.port())).await.unwrap_err();
    assert_eq!(cause, Cause::Tls(TlsCause::Handshake));
}

#[tokio::test]
async fn client_certificate_is_shown_and_its_lack_is_told() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.issue("localhost", 2020..2090).server(Some(&clients));
    let address = serve(Some(server), |_| response(200, "")).await;
    let url = format!("https://localhost:{}/", address.port());
    let mut settings = authority.trusted();
    let cause = sender(&settings).send(request(&url), LONG).await.unwrap_err();
    assert_eq!(cause, Cause::Tls(TlsCause::ClientCertificate));
    settings.client = Some(clients.issue("exporter", 2020..2090).client());
    assert!(sender(&settings).send(request(&url), LONG).await.is_ok());
    settings.client = Some(Authority::new().issue("exporter", 2020..2090).client());
    let cause = sender(&settings).send(request(&url), LONG).await.unwrap_err();
    assert_eq!(cause, Cause::Tls(TlsCause::ClientCertificate));
}

#[tokio::test]
async fn server_name_is_what_the_certificate_is_for_while_the_host_header_stays() {
    let authority = Authority::new();
    let (seen, mut received) = mpsc::unbounded_channel();
    let server = authority.issue("siem.example.com", 2020..2090).server(None);
    let address = serve(Some(server), move |request| {
        seen.send(request.head).unwrap();
        response(200, "")
    })
    .await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/in", address.port());
        let named = |name| {
            let server_name = tls::ServerName::new(host, name).unwrap();
            Sender::new(&authority.trusted(), Some(server_name), Policy::LOOPBACK_TOO).unwrap()
        };
        named("siem.example.com").send(request(&url), LONG).await.unwrap();
        let head = received.recv().await.unwrap();
        assert_eq!(head.headers["host"], format!("{host}:{}", address.port()));
        let cause = named("other.example.com").send(request(&url), LONG).await.unwrap_err();
        assert_eq!(cause, Cause::Tls(TlsCause::OtherHost));
        // The name is no way around the check of the address.
        let server_name = tls::ServerName::new(host, "siem.example.com").unwrap();
        let strict = Sender::new(&authority.trusted(), Some(server_name), Policy::STRICT).unwrap();
        assert_eq!(strict.send(request(&url), LONG).await.unwrap_err(), Cause::RefusedAddress);
    }
}

#[test]
fn settings_that_can_not_be_used_name_their_field() {
    let problem = |settings: tls::Settings| {
        Sender::new(&settings, None, Policy::STRICT).err().map(|error| error.to_string()).unwrap_or_default()
    };
    for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let settings = tls::Settings { ca: Some(pem.into()), client: None };
        assert_eq!(problem(settings), "tls.caRef: must hold one or more PEM certificates");
    }
    let authority = Authority::new();
    let mut client = authority.issue("exporter", 2020..2090).client();
    client.key = authority.issue("exporter", 2020..2090).client().key;
    let settings = tls::Settings { ca: None, client: Some(client) };
    assert_eq!(problem(settings), "tls.clientCertificateRef: must hold a PEM certificate and its private key");
    for name in ["10.0.0.1", "", "a b", "https://x"] {
        assert_eq!(tls::ServerName::new("h", name), Err(tls::Invalid::ServerName), "{name}");
    }
}
