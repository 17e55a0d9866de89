//! Receivers that mean harm, beside one that does not.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use testkit::redis_server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::group::{arrives, drained};
use crate::receiver::{Answer, Receiver};
use crate::support::{Exporter, add, hook, soc};

/// More than the design's 64 MiB, because it is a debug build; less than one of the large answers.
const MOST_KIB: u64 = 96 << 10;

#[derive(Clone, Copy)]
enum Harm {
    /// Takes the connection, and never says anything.
    Silent,
    /// A byte now and then, without an end.
    Slow,
    /// Somewhere else.
    Redirect,
    /// 100 MB.
    Huge,
    /// 30 MB when it is decompressed.
    Bomb,
}

async fn start(harm: Harm) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = harm.answer(&mut socket).await;
            });
        }
    });
    url
}

impl Harm {
    async fn answer(self, socket: &mut TcpStream) -> std::io::Result<()> {
        let mut request = [0; 4096];
        // The rest of it is of no interest.
        let _some = socket.read(&mut request).await?;
        match self {
            Self::Silent => std::future::pending().await,
            Self::Slow => {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await?;
                loop {
                    socket.write_all(b"x").await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Self::Redirect => {
                let answer = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
                socket.write_all(answer).await
            }
            Self::Huge => {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await?;
                let chunk = vec![b'x'; 100_000];
                for _ in 0..1_000 {
                    socket.write_all(&chunk).await?;
                }
                Ok(())
            }
            Self::Bomb => {
                let bomb = bomb();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
                socket.write_all(head.as_bytes()).await?;
                socket.write_all(&bomb).await
            }
        }
    }
}

/// 30 MB of zeros.
fn bomb() -> Vec<u8> {
    static BOMB: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let make = || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1_000_000];
        for _ in 0..30 {
            encoder.write_all(&zeros).unwrap();
        }
        encoder.finish().unwrap()
    };
    BOMB.get_or_init(make).clone()
}

/// What the process ever held in memory.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_mean_harm_cost_the_others_nothing_and_no_memory() {
    const EVENTS: u64 = 5_000;
    let good = Receiver::start(|_, _| Answer::status(200)).await;
    let harms = [
        ("silent", Harm::Silent, "Retrying"),
        ("slow", Harm::Slow, "Retrying"),
        ("redirect", Harm::Redirect, "Rejected"),
        ("huge", Harm::Huge, "Retrying"),
        ("bomb", Harm::Bomb, "Retrying"),
    ];
    let mut destinations = vec![hook("good", &good.url)];
    // Of a busy machine nothing is to be sent twice.
    destinations[0]["delivery"]["timeout"] = json!("60s");
    for (name, harm, _) in harms {
        destinations.push(hook(name, &start(harm).await));
    }
    let redis = Server::running(&[]);
    let exporter = Exporter::start(&redis, "a", soc(Value::from(destinations))).await;
    for (name, ..) in harms {
        drained(&exporter, &[&format!("soc/{name}")], 0).await;
    }
    drained(&exporter, &["soc/good"], 0).await;
    let ids = add(&redis, 0..EVENTS);
    arrives(&good, &ids).await;
    drained(&exporter, &["soc/good"], 0).await;
    let arrived = good.events();
    assert_eq!(arrived.iter().filter(|id| ids.contains(*id)).count(), ids.len(), "none twice");
    for (name, _, state) in harms {
        let told = exporter.becomes(&format!("soc/{name}"), "state", json!(state)).await;
        assert_eq!(
            (&told["delivered"], &told["dropped"], &told["lost"], &told["possiblyLost"]),
            (&json!(0), &json!(0), &json!(0), &json!(0)),
            "{told}"
        );
        assert!(told["backlog"].as_u64().unwrap() >= EVENTS, "{told}");
    }
    assert_eq!(exporter.destination("soc/redirect").await["lastErrorCode"], json!("http-307"));
    let peak = peak_kib(exporter.process_id());
    assert!(peak < MOST_KIB, "{peak} KiB");
}
