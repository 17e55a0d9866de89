//! The peer: an OpenTelemetry Collector that takes the same records by OTLP, keeps them in a queue on disk, and passes them
//! on by OTLP.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::StreamExt as _;

use crate::exporter::Place;
use crate::sink::{Deliveries, Sink, deliveries};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);
/// What has sent nothing for so long is done.
const QUIET: Duration = Duration::from_secs(3);
/// Requests to it at the same time.
const SENDERS: usize = 4;

/// What it reached.
pub struct Measured {
    /// What came out.
    pub deliveries: Deliveries,
    /// Seconds of CPU.
    pub cpu: f64,
    /// Most memory in MiB.
    pub memory: f64,
}

/// Sends these requests, which are not compressed, through a Collector. It has the core that is measured for itself; whoever
/// sends and receives has the other.
pub async fn measure(place: &Place, binary: &Path, requests: Vec<Vec<u8>>) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let sink = Sink::start().await?;
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let queue = folder.path().join("queue");
    std::fs::create_dir(&queue)?;
    // The level of compression is ours; its default takes more time. A queue that is full makes the sender wait.
    let config = format!(
        r#"
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
extensions: {{file_storage: {{directory: "{queue}"}}}}
exporters:
  otlphttp:
    endpoint: "{url}"
    compression: gzip
    compression_params: {{level: 1}}
    sending_queue: {{enabled: true, storage: file_storage, sizer: requests, queue_size: 10000, block_on_overflow: true}}
service:
  extensions: [file_storage]
  pipelines: {{logs: {{receivers: [otlp], exporters: [otlphttp]}}}}
"#,
        queue = queue.display(),
        url = sink.url("otlp", "collector"),
    );
    let file = folder.path().join("collector.yaml");
    std::fs::write(&file, config)?;
    let config = file.display().to_string();
    let mut process = place.start(binary, &["--config", &config], &[("GOMAXPROCS", "1")])?;
    let begin = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        process.alive()?;
        if begin.elapsed() > START_TIMEOUT {
            bail!("the Collector does not listen after {START_TIMEOUT:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    let before = process.cpu()?;
    let count = requests.len();
    send(port, requests).await?;
    let arrived = sink.arrived();
    let (mut last, mut since, begin) = (0, Instant::now(), Instant::now());
    while last < count || since.elapsed() < QUIET {
        let now = *arrived.borrow();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        process.alive()?;
        if begin.elapsed() > DRAIN_TIMEOUT {
            bail!("the Collector has passed on {last} of {count} requests after {DRAIN_TIMEOUT:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    let (cpu, memory) = (process.cpu()? - before, process.memory()?.most);
    process.kill().await?;
    Ok(Measured { deliveries: deliveries(sink.take())?, cpu, memory })
}

async fn send(port: u16, requests: Vec<Vec<u8>>) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(CALL_TIMEOUT).build()?;
    let url = format!("http://127.0.0.1:{port}/v1/logs");
    let mut answers = futures::stream::iter(requests)
        .map(|body| client.post(&url).header("content-type", "application/x-protobuf").body(body).send())
        .buffer_unordered(SENDERS);
    while let Some(answer) = answers.next().await {
        answer?.error_for_status()?;
    }
    Ok(())
}
