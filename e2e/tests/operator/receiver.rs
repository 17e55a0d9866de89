//! A double of a webhook and of a Splunk HTTP Event Collector, because no real one refuses on demand; real receivers are in
//! `exporter/tests/receivers`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::eventually;
use flate2::read::GzDecoder;
use serde_json::Value;

/// How long a change of a spec or a Secret may take to reach the exporter and come back as a status.
pub const EFFECT: Duration = Duration::from_secs(60);

/// Answers as it is told and keeps what it accepted.
pub struct Receiver {
    /// Where it listens, on every address of this machine.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    status: u16,
    /// What has to be in the header `authorization`, where that is set.
    token: Option<String>,
    accepted: Vec<String>,
}

impl Receiver {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("0.0.0.0:0")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State { status: 200, token: None, accepted: Vec::new() }));
        let receiver = Self { port, state: state.clone() };
        // Ends with the test's process; it has nothing to clean up.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Ok(receiver)
    }

    /// From now on every request is answered with this status.
    pub fn answer(&self, status: u16) {
        lock(&self.state).status = status;
    }

    /// From now on only this token is let in.
    pub fn wants(&self, token: &str) {
        lock(&self.state).token = Some(token.to_owned());
    }

    pub fn bodies(&self) -> Vec<String> {
        lock(&self.state).accepted.clone()
    }

    /// The events that were accepted.
    pub fn events(&self) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        for body in self.bodies() {
            // A webhook gets one message, a collector one after the other.
            for message in serde_json::Deserializer::from_str(&body).into_iter::<Value>() {
                let mut message = message?;
                let content = if message["data"].is_null() { "event" } else { "data" };
                match message[content].take() {
                    Value::Array(several) => events.extend(several),
                    one => events.push(one),
                }
            }
        }
        Ok(events)
    }

    pub fn waits_for(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Result<()> {
        eventually(what, EFFECT, || {
            let events = self.events()?;
            let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
            ensure!(wanted(&events), "{names:?}");
            Ok(())
        })
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let Ok(mut answer) = stream.try_clone() else { return };
    let mut request = BufReader::new(stream);
    while let Some((head, body)) = read(&mut request) {
        let mut state = lock(state);
        let credential = header(&head, "authorization").unwrap_or_default();
        let is_known = state.token.as_ref().is_none_or(|token| credential.ends_with(token.as_str()));
        let (status, text) = match state.status {
            200 if !is_known => (403, r#"{"text":"Invalid token","code":4}"#),
            200 => (200, r#"{"text":"Success","code":0}"#),
            other => (other, ""),
        };
        if status == 200 {
            state.accepted.push(body);
        }
        drop(state);
        let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        if answer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// The head of a request and its body as text; `None` when the connection has ended.
fn read(request: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if request.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; header(&head, "content-length")?.parse().ok()?];
    request.read_exact(&mut body).ok()?;
    if header(&head, "content-encoding") == Some("gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(body.as_slice()).read_to_end(&mut plain).ok()?;
        body = plain;
    }
    Some((head, String::from_utf8_lossy(&body).into_owned()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
