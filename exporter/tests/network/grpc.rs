//! OTLP over gRPC, against servers that answer as they are told: doubles, because no collector fails on demand.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use exporter::answer::{Code, Outcome, Verdict};
use exporter::platform::Platform;
use exporter::tls;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Version};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message as _;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{
    Authority, Response, access, batch, full, platform, proxy, response, retry, send, serve, serve_when,
};

const DELIVERED: Outcome = Outcome::All(Verdict::Delivered);

fn config(code: &'static str) -> Outcome {
    Outcome::All(Verdict::Config { code: Code::fixed(code), field: "url" })
}

fn otlp(url: String, settings: tls::Settings) -> Arc<dyn Platform> {
    platform(json!({"otlp": {"url": url, "protocol": "Grpc"}}), access(settings, &[("secretRef", "Bearer k")]))
}

/// Without TLS, which is "prior knowledge".
fn plain(server: SocketAddr) -> Arc<dyn Platform> {
    otlp(format!("http://{server}"), tls::Settings::default())
}

fn framed(compressed: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![compressed];
    out.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    out.extend(message);
    out
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// A body, then trailers.
fn answer(body: impl Into<Bytes>, trailers: &[(&'static str, &str)]) -> Response {
    answer_with(body, headers(trailers))
}

fn answer_with(body: impl Into<Bytes>, trailers: HeaderMap) -> Response {
    let frames = [Frame::data(body.into()), Frame::trailers(trailers)];
    let frames = futures::stream::iter(frames.map(Ok::<_, Infallible>));
    let mut response = Response::new(StreamBody::new(frames).boxed());
    response.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
    response
}

/// Headers and nothing else.
fn trailers_only(headers: HeaderMap) -> Response {
    let mut response = response(200, "");
    *response.headers_mut() = headers;
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

/// `google.rpc.Status` with a `RetryInfo` of so many seconds.
fn retry_info(seconds: u8) -> String {
    let name = b"type.googleapis.com/google.rpc.RetryInfo";
    let mut any = vec![0x0a, u8::try_from(name.len()).unwrap()];
    any.extend(name);
    any.extend([0x12, 4, 0x0a, 2, 0x08, seconds]);
    let mut status = vec![0x08, 8, 0x1a, u8::try_from(any.len()).unwrap()];
    status.extend(any);
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(status)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn partial_success(rejected_log_records: i64) -> Vec<u8> {
    let partial = ExportLogsPartialSuccess { rejected_log_records, ..Default::default() };
    ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}

async fn outcome_of(make: impl Fn() -> Response + Clone + Send + 'static, events: usize) -> Outcome {
    send(&*plain(serve(None, move |_| make()).await), events).await
}

#[tokio::test]
async fn request_is_one_compressed_message_over_http_2_with_tls_and_without() {
    let (seen, mut received) = mpsc::unbounded_channel();
    let handle = move |request| {
        seen.send(request).unwrap();
        answer(framed(0, b""), &[("grpc-status", "0")])
    };
    let authority = Authority::new();
    let mut server = authority.issue("localhost", 2020..2090).server(None);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let secured = serve(Some(server), handle.clone()).await;
    let bare = serve(None, handle).await;
    for platform in [otlp(format!("https://localhost:{}", secured.port()), authority.trusted()), plain(bare)] {
        // Events that are empty records.
        assert_eq!(send(&*platform, 0).await, DELIVERED);
        let received = received.recv().await.unwrap();
        assert_eq!(received.head.version, Version::HTTP_2);
        assert_eq!(received.head.uri.path(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
        let header = |name: &str| received.head.headers[name].to_str().unwrap();
        assert_eq!((header("te"), header("content-type")), ("trailers", "application/grpc"));
        assert_eq!((header("grpc-encoding"), header("grpc-timeout")), ("gzip", "30000m"));
        assert_eq!(header("authorization"), "Bearer k");
        assert_eq!(received.body[0], 1);
        assert_eq!(received.body[1..5], u32::try_from(received.body.len() - 5).unwrap().to_be_bytes());
        let mut message = Vec::new();
        flate2::read::GzDecoder::new(&received.body[5..]).read_to_end(&mut message).unwrap();
        assert_eq!(ExportLogsServiceRequest::decode(&message[..]).unwrap().resource_logs.len(), 1);
    }
}

#[tokio::test]
async fn status_is_read_from_trailers_and_from_headers_alone() {
    let info = retry_info(7);
    let exhausted = [("grpc-status", "8"), ("grpc-status-details-bin", info.as_str())];
    let code = |number| Code::number("grpc", number);
    let again = |number, after| Outcome::All(Verdict::Retry { code: code(number), after });
    for (pairs, events, expected) in [
        (&[("grpc-status", "14"), ("grpc-message", "secret")][..], 2, again(14, None)),
        (&exhausted, 2, again(8, Some(Duration::from_secs(7)))),
        // Without RetryInfo the batch is too large.
        (&[("grpc-status", "8")], 2, Outcome::All(Verdict::Split { code: code(8) })),
        (&[("grpc-status", "8")], 1, Outcome::All(Verdict::Drop { code: code(8) })),
        (&[("grpc-status", "16")], 2, Outcome::All(Verdict::Auth { code: code(16) })),
        (&[("grpc-status", "12")], 2, Outcome::All(Verdict::Config { code: code(12), field: "url" })),
        (&[("grpc-status", "no number")], 1, Outcome::All(Verdict::Drop { code: code(2) })),
    ] {
        let owned = headers(pairs);
        let (trailers, alone) = (owned.clone(), owned);
        assert_eq!(outcome_of(move || answer_with("", trailers.clone()), events).await, expected, "{pairs:?}");
        assert_eq!(outcome_of(move || trailers_only(alone.clone()), events).await, expected, "{pairs:?}");
    }
}

#[tokio::test]
async fn messages_are_read_plain_and_compressed() {
    let ok: &[(&str, &str)] = &[("grpc-status", "0")];
    let partial = partial_success(1);
    let drop = Verdict::Drop { code: Code::fixed("otlp-partial-success") };
    let expected = Outcome::Each(vec![Verdict::Delivered, drop]);
    let (plain, compressed) = (framed(0, &partial), framed(1, &gzip(&partial)));
    assert_eq!(outcome_of(move || answer(plain.clone(), ok), 2).await, expected);
    let gzipped = move |body: Vec<u8>| {
        move || {
            let mut answer = answer(body.clone(), ok);
            answer.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
            answer
        }
    };
    assert_eq!(outcome_of(gzipped(compressed.clone()), 2).await, expected);
    // Compressed, and it is not said how; another length than there is; no gzip.
    for make in [compressed, framed(0, b"")[..4].to_vec(), [framed(0, b"a"), framed(0, b"b")].concat()] {
        assert!(retry("broken")(&outcome_of(move || answer(make.clone(), ok), 2).await));
    }
    assert!(retry("broken")(&outcome_of(gzipped(framed(1, b"no gzip")), 2).await));
    // A small message that becomes a large one.
    let bomb = framed(1, &gzip(&vec![0; 10 << 20]));
    assert!(bomb.len() < 64 << 10);
    assert!(retry("answer-too-large")(&outcome_of(gzipped(bomb), 2).await));
    assert_eq!(outcome_of(move || answer("", ok), 2).await, config("otlp-no-response"));
}

#[tokio::test]
async fn what_is_no_grpc_is_judged_by_its_http_status() {
    assert_eq!(outcome_of(|| response(200, "<html>"), 2).await, config("otlp-no-response"));
    let http = |status| Code::number("http", status);
    for (status, expected) in [
        (401, Verdict::Auth { code: http(401) }),
        (404, Verdict::Config { code: http(404), field: "url" }),
        (503, Verdict::Retry { code: http(503), after: None }),
        (413, Verdict::Split { code: http(413) }),
    ] {
        assert_eq!(outcome_of(move || response(status, "no"), 2).await, Outcome::All(expected));
    }
    // A stream that ends without a status: something on the way lost the end of it.
    let cut = || {
        let mut cut = response(200, framed(0, b""));
        cut.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        cut
    };
    assert!(retry("broken")(&outcome_of(cut, 2).await));
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let target = serve(None, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        answer(framed(0, b""), &[("grpc-status", "0")])
    })
    .await;
    let redirect = move || {
        let mut redirect = response(307, "");
        redirect.headers_mut().insert("location", format!("http://{target}/").parse().unwrap());
        redirect
    };
    let expected = Verdict::Config { code: Code::number("http", 307), field: "url" };
    assert_eq!(outcome_of(redirect, 1).await, Outcome::All(expected));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answer_of_a_hundred_megabytes_is_left_unread() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let large = move || {
        let counter = counter.clone();
        let chunks = (0..1_600).map(move |_| {
            counter.fetch_add(64 << 10, Ordering::SeqCst);
            Ok(Frame::data(Bytes::from_static(&[0; 64 << 10])))
        });
        let mut large = answer("", &[]);
        *large.body_mut() = StreamBody::new(futures::stream::iter(chunks)).boxed();
        large
    };
    assert!(retry("answer-too-large")(&outcome_of(large, 2).await));
    assert!(sent.load(Ordering::SeqCst) < 50 << 20, "{}", sent.load(Ordering::SeqCst));
}

#[tokio::test]
async fn server_that_never_answers_and_one_that_never_ends_time_out() {
    let silent = serve_when(None, |_| std::future::pending()).await;
    let endless = serve(None, |_| {
        let mut endless = answer("", &[]);
        *endless.body_mut() = StreamBody::new(futures::stream::pending()).boxed();
        endless
    })
    .await;
    for server in [silent, endless] {
        let outcome = plain(server).send(&batch(2), jiff::Timestamp::now(), Duration::from_millis(300)).await;
        assert!(retry("timeout")(&outcome), "{outcome:?}");
    }
}

#[tokio::test]
async fn server_without_http_2_and_one_that_is_not_trusted_are_no_delivery() {
    let authority = Authority::new();
    let mut server = authority.issue("localhost", 2020..2090).server(None);
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = serve(Some(server), |_| Response::new(full(""))).await;
    let url = format!("https://localhost:{}", address.port());
    assert!(retry("tls-handshake")(&send(&*otlp(url.clone(), authority.trusted()), 1).await));
    let mut server = authority.issue("localhost", 2020..2090).server(None);
    server.alpn_protocols = vec![b"h2".to_vec()];
    let address = serve(Some(server), |_| Response::new(full(""))).await;
    let url = format!("https://localhost:{}", address.port());
    assert!(retry("tls-unknown-ca")(&send(&*otlp(url, tls::Settings::default()), 1).await));
}

#[tokio::test]
async fn proxy_carries_it_too() {
    let authority = Authority::new();
    let mut server = authority.issue("otlp.example.com", 2020..2090).server(None);
    server.alpn_protocols = vec![b"h2".to_vec()];
    let target = serve(Some(server), |_| answer(framed(0, b""), &[("grpc-status", "0")])).await;
    let (proxy, mut asked) = proxy(move |_| Some(target)).await;
    let mut access = access(authority.trusted(), &[]);
    access.proxy = Some(proxy);
    let block = json!({"otlp": {"url": "https://otlp.example.com:4317", "protocol": "Grpc"}});
    assert_eq!(send(&*platform(block, access), 1).await, DELIVERED);
    assert_eq!(asked.recv().await.unwrap(), "otlp.example.com:4317");
}
