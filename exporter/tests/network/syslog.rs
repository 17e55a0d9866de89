//! The syslog transport.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use exporter::address::Policy;
use exporter::cause::{Cause, TlsCause};
use exporter::destination::Shaped;
use exporter::destination::syslog::send::{ASSURANCE, Sender};
use exporter::destination::syslog::{Config, Spec};
use exporter::tls;
use futures::FutureExt as _;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::support::Authority;

const LONG: Duration = Duration::from_secs(30);

fn config(host: &str, port: u16, transport: &str) -> Config {
    let spec = format!(r#"{{"host":"{host}","port":{port},"transport":"{transport}"}}"#);
    Config::new(serde_json::from_str::<Spec>(&spec).unwrap(), Policy::LOOPBACK_TOO).unwrap()
}

fn sender(address: SocketAddr, transport: &str) -> Sender {
    let config = config("127.0.0.1", address.port(), transport);
    Sender::new(&config, &tls::Settings::default(), None, Policy::LOOPBACK_TOO).unwrap()
}

/// Messages, framed already.
fn batch(texts: &[&'static str]) -> Vec<Shaped> {
    let time = events::Moment::new(jiff::Timestamp::UNIX_EPOCH);
    let shaped = |text: &&'static str| Shaped { bytes: Bytes::from(*text), time, group: "".into(), cut: false };
    texts.iter().map(shaped).collect()
}

async fn read(stream: &mut TcpStream, bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).await.unwrap();
    String::from_utf8(buffer).unwrap()
}

/// Ends a connection with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Looks after the connection until its loss is known, and returns the new one. What the kernel has not told yet is
/// known after a few more rounds of the runtime.
async fn until_reconnected(sender: &mut Sender, listener: &TcpListener) -> TcpStream {
    let rounds = async {
        loop {
            sender.check(LONG).await.unwrap();
            if let Some(accepted) = listener.accept().now_or_never() {
                return accepted.unwrap().0;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, rounds).await.unwrap()
}

#[tokio::test]
async fn each_message_is_a_datagram() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut sender = sender(receiver.local_addr().unwrap(), "Udp");
    sender.send(&batch(&["one", "two\nlines", "three"]), LONG).await.unwrap();
    for expected in ["one", "two\nlines", "three"] {
        let mut buffer = [0; 100];
        let length = receiver.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], expected.as_bytes());
    }
}

#[tokio::test]
async fn what_was_written_just_before_a_reset_is_written_again_before_anything_newer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = sender(listener.local_addr().unwrap(), "Tcp");
    sender.send(&batch(&["1 a", "1 b"]), LONG).await.unwrap();
    let (mut first, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut first, 6).await, "1 a1 b");
    reset(first);
    let mut second = until_reconnected(&mut sender, &listener).await;
    sender.send(&batch(&["1 c"]), LONG).await.unwrap();
    assert_eq!(read(&mut second, 9).await, "1 a1 b1 c");
    // And again, for what was written again is as unsure as before.
    drop(second);
    let mut third = until_reconnected(&mut sender, &listener).await;
    assert_eq!(read(&mut third, 9).await, "1 a1 b1 c");
}

#[tokio::test]
async fn what_a_connection_outlived_by_five_seconds_is_not_written_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = sender(listener.local_addr().unwrap(), "Tcp");
    sender.send(&batch(&["1 a"]), LONG).await.unwrap();
    let (mut first, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut first, 3).await, "1 a");
    tokio::time::pause();
    tokio::time::advance(ASSURANCE + Duration::from_millis(1)).await;
    tokio::time::resume();
    sender.send(&batch(&["1 b"]), LONG).await.unwrap();
    assert_eq!(read(&mut first, 3).await, "1 b");
    reset(first);
    let mut second = until_reconnected(&mut sender, &listener).await;
    sender.send(&batch(&["1 c"]), LONG).await.unwrap();
    assert_eq!(read(&mut second, 6).await, "1 b1 c");
}

#[tokio::test]
async fn what_was_written_before_an_idle_connection_broke_is_kept_however_long_that_goes_unnoticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = sender(listener.local_addr().unwrap(), "Tcp");
    sender.send(&batch(&["1 a"]), LONG).await.unwrap();
    let (first, _) = listener.accept().await.unwrap();
    reset(first);
    // The reset reaches the sender's socket through the runtime's rounds; the clock stands far past the five seconds.
    tokio::time::pause();
    for _ in 0..10 {
        tokio::time::advance(ASSURANCE).await;
    }
    tokio::time::resume();
    let mut second = until_reconnected(&mut sender, &listener).await;
    assert_eq!(read(&mut second, 3).await, "1 a");
}

#[tokio::test]
async fn receiver_that_takes_nothing_costs_no_more_than_the_timeout_and_half_a_message_is_not_continued() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = sender(listener.local_addr().unwrap(), "Tcp");
    let large: &'static str = "x".repeat(16 << 20).leak();
    let started = std::time::Instant::now();
    assert_eq!(sender.send(&batch(&[large]), Duration::from_millis(300)).await, Err(Cause::Timeout));
    assert!(started.elapsed() < LONG / 2);
    let (_first, _) = listener.accept().await.unwrap();
    sender.send(&batch(&["1 b"]), LONG).await.unwrap();
    let (mut second, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut second, 3).await, "1 b");
}

#[tokio::test]
async fn receiver_that_talks_back_is_not_taken_for_one_that_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = sender(listener.local_addr().unwrap(), "Tcp");
    sender.send(&batch(&["1 a"]), LONG).await.unwrap();
    let (mut first, _) = listener.accept().await.unwrap();
    first.write_all(&[b'!'; 4_096]).await.unwrap();
    for _ in 0..20 {
        sender.check(LONG).await.unwrap();
        tokio::task::yield_now().await;
    }
    sender.send(&batch(&["1 b"]), LONG).await.unwrap();
    assert_eq!(read(&mut first, 6).await, "1 a1 b");
}

#[tokio::test]
async fn nobody_there_and_a_refused_address_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for transport in ["Tcp", "Udp", "Tls"] {
        let config = config("localhost", address.port(), transport);
        let mut strict = Sender::new(&config, &tls::Settings::default(), None, Policy::STRICT).unwrap();
        assert_eq!(strict.send(&batch(&["1 a"]), LONG).await, Err(Cause::RefusedAddress), "{transport}");
    }
    drop(listener);
    assert_eq!(sender(address, "Tcp").send(&batch(&["1 a"]), LONG).await, Err(Cause::Connect));
}

/// A TLS receiver that hands out what it reads until the end of each connection; `None` for one that broke.
async fn tls_receiver(
    config: rustls::ServerConfig,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let (seen, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut text = String::new();
                // Without close_notify this is an error, which is how a receiver sees an attack that cuts the end off.
                let end = stream.read_to_string(&mut text).await;
                let _ = seen.send(end.is_ok().then_some(text));
            }
        }
    });
    (address, received)
}

#[tokio::test]
async fn tls_is_checked_like_https_and_ends_with_a_close_notify() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let named = |name| tls::ServerName::new("127.0.0.1", name).unwrap();
    for (certificate, settings, server_name, expected) in [
        (authority.issue("127.0.0.1", 2020..2090), authority.trusted(), None, None),
        (authority.issue("log.example.com", 2020..2090), authority.trusted(), Some(named("log.example.com")), None),
        (authority.issue("127.0.0.1", 2020..2021), authority.trusted(), None, Some(TlsCause::Expired)),
        (
            authority.issue("127.0.0.1", 2020..2090),
            authority.trusted(),
            Some(named("b.example.com")),
            Some(TlsCause::OtherHost),
        ),
        (authority.issue("127.0.0.1", 2020..2090), stranger.trusted(), None, Some(TlsCause::UnknownCa)),
    ] {
        let (address, mut received) = tls_receiver(certificate.server(None)).await;
        let config = config("127.0.0.1", address.port(), "Tls");
        let mut sender = Sender::new(&config, &settings, server_name.as_ref(), Policy::LOOPBACK_TOO).unwrap();
        let sent = sender.send(&batch(&["1 a", "1 b"]), LONG).await;
        assert_eq!(sent.err(), expected.map(Cause::Tls));
        if expected.is_none() {
            sender.close(LONG).await;
            assert_eq!(received.recv().await.unwrap().unwrap(), "1 a1 b");
        }
    }
}

#[tokio::test]
async fn client_certificate_is_shown_to_a_receiver_that_wants_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (address, mut received) = tls_receiver(authority.issue("127.0.0.1", 2020..2090).server(Some(&clients))).await;
    let config = config("127.0.0.1", address.port(), "Tls");
    let mut settings = authority.trusted();
    settings.client = Some(clients.issue("exporter", 2020..2090).client());
    let mut sender = Sender::new(&config, &settings, None, Policy::LOOPBACK_TOO).unwrap();
    sender.send(&batch(&["1 a"]), LONG).await.unwrap();
    sender.close(LONG).await;
    assert_eq!(received.recv().await.unwrap().unwrap(), "1 a");
}

#[tokio::test]
async fn client_certificate_that_is_missing_or_unknown_is_the_cause_before_anything_counts_as_sent() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (address, mut received) = tls_receiver(authority.issue("127.0.0.1", 2020..2090).server(Some(&clients))).await;
    let config = config("127.0.0.1", address.port(), "Tls");
    for client in [None, Some(authority.issue("exporter", 2020..2090).client())] {
        let settings = tls::Settings { client, ..authority.trusted() };
        let mut sender = Sender::new(&config, &settings, None, Policy::LOOPBACK_TOO).unwrap();
        for _ in 0..3 {
            let refused = Err(Cause::Tls(TlsCause::ClientCertificate));
            assert_eq!(sender.send(&batch(&["1 a"]), LONG).await, refused);
        }
    }
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn receiver_that_ends_each_connection_is_given_nothing_newer_until_one_stands() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = sender(listener.local_addr().unwrap(), "Tcp");
    sender.send(&batch(&["1 a"]), LONG).await.unwrap();
    reset(listener.accept().await.unwrap().0);
    let second = until_reconnected(&mut sender, &listener).await;
    reset(second);
    let mut third = until_reconnected(&mut sender, &listener).await;
    assert_eq!(sender.send(&batch(&["1 b"]), LONG).await, Err(Cause::Broken));
    assert_eq!(read(&mut third, 3).await, "1 a");
    // What it was given again has stood for long enough.
    tokio::time::pause();
    tokio::time::advance(ASSURANCE + Duration::from_millis(1)).await;
    tokio::time::resume();
    sender.send(&batch(&["1 c"]), LONG).await.unwrap();
    assert_eq!(read(&mut third, 3).await, "1 c");
}
