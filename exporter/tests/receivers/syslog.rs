//! rsyslog and syslog-ng: what they make of our messages, and what we make of their refusals.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use exporter::platform::Platform;
use exporter::tls;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::events_of_test::{assert_says, cases, hostile, id, ids};
use crate::reading::oversized;
use crate::running::{Process, delivered, destination, free_port, installed, send, words};
use crate::support::Case;
use crate::{cef, rfc5424};

/// Which program receives.
#[derive(Clone, Copy, Debug)]
enum Program {
    Rsyslog,
    SyslogNg,
}

const BOTH: [Program; 2] = [Program::Rsyslog, Program::SyslogNg];

/// One that runs, and writes each message to a file as a line of JSON.
struct Receiver {
    process: Process,
    port: u16,
}

/// The folders of libraries of the unpacked packages.
fn libraries(root: &std::path::Path) -> String {
    let mut folders = vec![root.join("usr/lib/syslog-ng")];
    for parent in ["usr/lib", "lib"] {
        let found = std::fs::read_dir(root.join(parent)).into_iter().flatten().map(|entry| entry.unwrap().path());
        folders.extend(found.filter(|path| path.to_str().unwrap().ends_with("-linux-gnu")));
    }
    folders.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>().join(":")
}

impl Receiver {
    /// Over TLS, it wants certificates of `authority`.
    async fn start(program: Program, transport: &str, authority: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(authority) = authority {
            authority.write_server(folder.path());
        }
        let port = free_port();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let root = installed("syslog");
        let libraries = libraries(&root);
        let mut command = match program {
            Program::Rsyslog => {
                std::fs::write(at("conf"), rsyslog_conf(&folder, transport, port)).unwrap();
                let mut command = Command::new(root.join("usr/sbin/rsyslogd"));
                let modules = libraries.split(':').map(|path| format!("{path}/rsyslog")).collect::<Vec<_>>().join(":");
                command.args(["-n", "-i", "NONE", "-f", &at("conf"), "-M", &modules]);
                command
            }
            Program::SyslogNg => {
                std::fs::write(at("conf"), syslog_ng_conf(&folder, transport, port)).unwrap();
                let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
                command.args(["-F", "--no-caps", "-f", &at("conf"), "-R", &at("persist"), "-c", &at("ctl")]);
                command.args(["-p", &at("pid"), "--module-path"]).arg(root.join("usr/lib/syslog-ng/3.38"));
                command
            }
        };
        command.env("LD_LIBRARY_PATH", libraries);
        let mut process = Process::start(folder, &mut command);
        process.listens(port, transport == "Udp").await;
        Self { process, port }
    }

    /// A destination that sends here.
    fn destination(&self, settings: tls::Settings, extra: Value) -> Arc<dyn Platform> {
        let mut block = json!({"host": "127.0.0.1", "port": self.port, "enterpriseNumber": 32_473});
        block.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        destination(json!({"syslog": block}), &[], settings)
    }

    /// Everything that was received so far.
    fn messages(&self) -> Vec<Value> {
        self.process.lines("received")
    }

    /// Waits until as many messages are there.
    async fn receives(&mut self, count: usize) -> Vec<Value> {
        self.process
            .until(&format!("{count} messages are received"), async |process| {
                let messages = process.lines("received");
                (messages.len() >= count).then_some(messages)
            })
            .await
    }
}

fn rsyslog_conf(folder: &TempDir, transport: &str, port: u16) -> String {
    let folder = folder.path().display();
    let (global, module, kind) = match transport {
        "Udp" => (String::new(), r#"module(load="imudp")"#, "imudp"),
        "Tcp" => (String::new(), r#"module(load="imtcp")"#, "imtcp"),
        _ => (
            format!(
                r#"global(DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="{folder}/ca.pem"
                    DefaultNetstreamDriverCertFile="{folder}/cert.pem" DefaultNetstreamDriverKeyFile="{folder}/key.pem")"#
            ),
            r#"module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")"#,
            "imtcp",
        ),
    };
    format!(
        r#"global(workDirectory="{folder}")
{global}
{module}
module(load="mmpstrucdata")
template(name="line" type="list" option.jsonf="on") {{
  property(outname="msg" name="msg" format="jsonf")
  property(outname="severity" name="syslogseverity" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="data" name="$!rfc5424-sd" format="jsonf")
}}
ruleset(name="keep") {{
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="{folder}/received" template="line")
}}
input(type="{kind}" port="{port}" address="127.0.0.1" ruleset="keep")
"#
    )
}

fn syslog_ng_conf(folder: &TempDir, transport: &str, port: u16) -> String {
    let folder = folder.path().display();
    let tls = match transport {
        "Tls" => format!(
            r#"tls(key-file("{folder}/key.pem") cert-file("{folder}/cert.pem") ca-file("{folder}/ca.pem")
                 peer-verify(required-trusted))"#
        ),
        _ => String::new(),
    };
    let transport = transport.to_lowercase();
    format!(
        r#"@version: 3.38
options {{ keep-hostname(yes); stats-freq(0); }};
source s {{ syslog(ip(127.0.0.1) port({port}) transport("{transport}") {tls}); }};
destination d {{ file("{folder}/received" flush-lines(1) template("$(format-json --pair msg=$MSG
  --pair severity=$LEVEL_NUM --pair host=$HOST --pair app=$PROGRAM --pair msgid=$MSGID --pair data=$SDATA)\n")); }};
log {{ source(s); destination(d); }};
"#
    )
    .replace("$MSG\n  ", "$MSG ")
}

/// The values of structured data, by `SD-ID.PARAM-NAME`: each program writes them in a way of its own.
fn structured_data(program: Program, message: &Value) -> BTreeMap<String, String> {
    let written = message["data"].as_str().unwrap();
    match program {
        Program::Rsyslog => {
            let elements: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(written).unwrap();
            named(elements)
        }
        Program::SyslogNg => named(rfc5424::parse(format!("<14>1 - - - - - {written} x").as_bytes()).unwrap().data),
    }
}

fn named<P: IntoIterator<Item = (String, String)>>(
    elements: impl IntoIterator<Item = (String, P)>,
) -> BTreeMap<String, String> {
    let pairs = |(id, params): (String, P)| {
        params.into_iter().map(move |(name, value)| (format!("{id}.{name}"), value)).collect::<Vec<_>>()
    };
    elements.into_iter().flat_map(pairs).collect()
}

/// What we meant, read by a strict parser.
fn meant(platform: &dyn Platform, case: &Case, framed: bool) -> rfc5424::Message {
    let shaped = platform.shape(&case.routed());
    let start = if framed { shaped.bytes.iter().position(|byte| *byte == b' ').unwrap() + 1 } else { 0 };
    assert!(shaped.bytes.len() - start <= 8_000);
    rfc5424::parse(&shaped.bytes[start..]).unwrap()
}

/// Half of the time of an attempt goes to a receiver that says nothing after the handshake; the rest must do.
#[tokio::test]
async fn receiver_that_gives_no_tickets_is_written_to_within_a_short_timeout() {
    for program in BOTH {
        let authority = Authority::new("CA of the syslog servers");
        let mut receiver = Receiver::start(program, "Tls", Some(&authority)).await;
        let destination = receiver.destination(authority.trusted(Some(&authority)), json!({}));
        let event = hostile();
        let shaped = [destination.shape(&event.routed())];
        let outcome = destination.send(&shaped, jiff::Timestamp::now(), Duration::from_secs(4)).await;
        assert!(delivered(&outcome), "{program:?} {outcome:?}");
        assert_eq!(received_ids(&receiver.receives(1).await), [id(&event)]);
    }
}

/// Every event arrives once, with every field of its header, its structured data and its text as we wrote them.
async fn arrive(program: Program, transport: &str, format: &str) {
    let authority = Authority::new("CA of the syslog servers");
    let tls = transport == "Tls";
    let mut receiver = Receiver::start(program, transport, tls.then_some(&authority)).await;
    let settings = authority.trusted(tls.then_some(&authority));
    let destination = receiver.destination(settings, json!({"transport": transport, "format": format}));
    let mut cases = cases(80);
    cases.push(oversized_event());
    // The kernel's room for datagrams is no part of the test: so few at once fit.
    let mut messages = Vec::new();
    for (number, chunk) in cases.chunks(10).enumerate() {
        assert_eq!(words(&send(&*destination, chunk).await), ["delivered"]);
        messages = receiver.receives(number * 10 + chunk.len()).await;
    }
    assert_eq!(messages.len(), cases.len());
    for (case, message) in cases.iter().zip(&messages) {
        let meant = meant(&*destination, case, transport != "Udp");
        let text = |key: &str| message[key].as_str().unwrap_or_else(|| panic!("{key} of {message}"));
        // rsyslog rewrites control characters. JSON has none, and CEF can escape no others than line breaks.
        let rewritten = |c: char| if c < ' ' { format!("#{:03o}", u32::from(c)) } else { c.to_string() };
        let meant_text = match program {
            Program::Rsyslog => meant.msg.chars().map(rewritten).collect(),
            Program::SyslogNg => meant.msg,
        };
        assert_eq!(text("msg"), meant_text);
        assert_eq!(text("severity"), meant.severity.to_string());
        assert_eq!((text("host"), text("app"), text("msgid")), (&*meant.hostname, &*meant.app_name, &*meant.msgid));
        assert_eq!(structured_data(program, message), named(meant.data));
        if format == "Json" {
            assert_says(&serde_json::from_str(text("msg")).unwrap(), case);
        } else {
            let read = cef::parse(text("msg")).unwrap();
            let pair = |key: &str| read.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| json!(value));
            assert_eq!(pair("externalId"), Some(json!(id(case))));
            assert_eq!(json!(read.header[4]), case.value()["message"]);
            assert_eq!(pair("suser"), case.value().get("user.email").cloned());
        }
    }
}

/// Larger than a message may be: it is cut to 8,000 bytes and says what is missing, and the receiver gets one message.
fn oversized_event() -> Case {
    let case = oversized();
    assert!(case.canonical.len() > 100_000);
    case
}

#[tokio::test]
async fn rsyslog_reads_every_datagram() {
    arrive(Program::Rsyslog, "Udp", "Json").await;
}

#[tokio::test]
async fn rsyslog_reads_every_message_of_a_stream() {
    arrive(Program::Rsyslog, "Tcp", "Json").await;
}

#[tokio::test]
async fn rsyslog_reads_every_message_over_tls_with_a_client_certificate() {
    arrive(Program::Rsyslog, "Tls", "Json").await;
}

#[tokio::test]
async fn rsyslog_reads_cef() {
    arrive(Program::Rsyslog, "Tcp", "Cef").await;
}

#[tokio::test]
async fn syslog_ng_reads_every_datagram() {
    arrive(Program::SyslogNg, "Udp", "Json").await;
}

#[tokio::test]
async fn syslog_ng_reads_every_message_of_a_stream() {
    arrive(Program::SyslogNg, "Tcp", "Json").await;
}

#[tokio::test]
async fn syslog_ng_reads_every_message_over_tls_with_a_client_certificate() {
    arrive(Program::SyslogNg, "Tls", "Json").await;
}

#[tokio::test]
async fn syslog_ng_reads_cef() {
    arrive(Program::SyslogNg, "Tcp", "Cef").await;
}

#[tokio::test]
async fn receiver_of_another_ca_gets_nothing_and_is_told_from_one_that_is_down() {
    for program in BOTH {
        let (authority, stranger) = (Authority::new("CA of the syslog servers"), Authority::new("CA of a stranger"));
        let mut receiver = Receiver::start(program, "Tls", Some(&authority)).await;
        let events = cases(0);
        let wrong = receiver.destination(stranger.trusted(Some(&authority)), json!({}));
        for _ in 0..3 {
            assert_eq!(words(&send(&*wrong, &events).await), ["retry tls-unknown-ca"], "{program:?}");
        }
        assert!(receiver.messages().is_empty());
        // Nothing was lost: with the right one, all of it arrives.
        let right = receiver.destination(authority.trusted(Some(&authority)), json!({}));
        assert!(delivered(&send(&*right, &events).await));
        assert_eq!(received_ids(&receiver.receives(events.len()).await), ids(&events).into_iter().collect::<Vec<_>>());
    }
}

fn received_ids(messages: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = messages
        .iter()
        .map(|message| {
            let event: Value = serde_json::from_str(message["msg"].as_str().unwrap()).unwrap();
            event["event_id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn client_certificate_that_is_missing_or_of_another_ca_is_the_cause_and_nothing_counts_as_delivered() {
    for program in BOTH {
        let (authority, stranger) = (Authority::new("CA of the syslog servers"), Authority::new("CA of a stranger"));
        let mut receiver = Receiver::start(program, "Tls", Some(&authority)).await;
        let events = [hostile()];
        for client in [None, Some(&stranger)] {
            let refused = receiver.destination(authority.trusted(client), json!({}));
            for _ in 0..3 {
                let outcome = send(&*refused, &events).await;
                assert_eq!(words(&outcome), ["retry tls-client-certificate"], "{program:?} {}", client.is_some());
            }
        }
        assert!(receiver.messages().is_empty());
        let right = receiver.destination(authority.trusted(Some(&authority)), json!({}));
        assert!(delivered(&send(&*right, &events).await));
        assert_eq!(received_ids(&receiver.receives(1).await), [id(&events[0])]);
    }
}
