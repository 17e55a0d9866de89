//! Credentials that are asked for: tokens of Entra ID for Sentinel, sessions of a role for EventBridge. The doubles
//! stand for services that fail on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use exporter::answer::{Code, Outcome, Verdict};
use exporter::platform::Platform;
use exporter::registry::Access;
use futures::future::join_all;
use serde_json::json;
use tokio::sync::watch;

use crate::support::{
    Authority, Received, Response, access, batch, platform, proxy, response, send, serve, serve_when,
};

const DELIVERED: Outcome = Outcome::All(Verdict::Delivered);

fn auth(code: &'static str) -> Outcome {
    Outcome::All(Verdict::Auth { code: Code::fixed(code) })
}

/// Jumps over a time in which nothing happens.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// An authority and an ingestion on this machine, and what they were asked.
struct Azure {
    authority: Authority,
    tokens: Arc<AtomicUsize>,
    login: SocketAddr,
    ingestion: SocketAddr,
}

impl Azure {
    /// `token` answers by the number of the request from 1; `ingest` by the token's.
    async fn start(
        token: impl Fn(usize, &Received) -> Response + Clone + Send + 'static,
        ingest: impl Fn(usize) -> Response + Clone + Send + 'static,
    ) -> Self {
        let authority = Authority::new();
        let tokens = Arc::new(AtomicUsize::new(0));
        let count = tokens.clone();
        let server = || authority.issue("localhost", 2020..2090).server(None);
        let login =
            serve(Some(server()), move |received| token(count.fetch_add(1, Ordering::SeqCst) + 1, &received)).await;
        let ingestion = serve(Some(server()), move |received| {
            let token = received.head.headers["authorization"].to_str().unwrap();
            ingest(token.strip_prefix("Bearer token-").unwrap().parse().unwrap())
        })
        .await;
        Self { authority, tokens, login, ingestion }
    }

    fn sentinel(&self, identity: &str, change: impl FnOnce(&mut Access)) -> Arc<dyn Platform> {
        let block = json!({"sentinel": {
            "endpoint": format!("https://localhost:{}", self.ingestion.port()),
            "ruleId": "dcr-00000000000000000000000000000abc",
            "stream": "Custom-AiGatewayAgentEvent",
            "tenantId": "11111111-2222-3333-4444-555555555555",
            "clientId": "66666666-7777-8888-9999-aaaaaaaaaaaa",
            "identity": identity,
            "authority": format!("https://localhost:{}", self.login.port()),
        }});
        let mut access = access(self.authority.trusted(), &[("clientSecretRef", "hunter2\n")]);
        change(&mut access);
        platform(block, access)
    }

    fn tokens(&self) -> usize {
        self.tokens.load(Ordering::SeqCst)
    }
}

fn token(number: usize) -> Response {
    let body = json!({"token_type": "Bearer", "expires_in": 3_600, "access_token": format!("token-{number}")});
    response(200, body.to_string())
}

#[tokio::test]
async fn token_is_asked_for_once_by_all_and_again_shortly_before_its_end() {
    let azure = Azure::start(|number, _| token(number), |_| response(204, "")).await;
    let sentinel = azure.sentinel("ClientSecret", |_| {});
    let all = join_all((0..16).map(|_| send(&*sentinel, 2))).await;
    assert!(all.iter().all(|outcome| *outcome == DELIVERED), "{all:?}");
    assert_eq!(azure.tokens(), 1);
    pass(Duration::from_secs(3_600 - 310)).await;
    assert_eq!(send(&*sentinel, 1).await, DELIVERED);
    assert_eq!(azure.tokens(), 1);
    pass(Duration::from_secs(10)).await;
    assert_eq!(send(&*sentinel, 1).await, DELIVERED);
    assert_eq!(azure.tokens(), 2);
}

#[tokio::test]
async fn refused_token_is_replaced_within_the_attempt_and_once() {
    // The first token is taken once and refused from then on, the second never was.
    let taken = Arc::new(AtomicUsize::new(0));
    let azure = Azure::start(
        |number, _| token(number),
        move |number| match (number, taken.fetch_add(1, Ordering::SeqCst)) {
            (1, 0) | (3.., _) => response(204, ""),
            _ => response(401, r#"{"error":{"code":"InvalidToken","message":"secret text"}}"#),
        },
    )
    .await;
    let sentinel = azure.sentinel("ClientSecret", |_| {});
    assert_eq!(send(&*sentinel, 1).await, DELIVERED);
    assert_eq!(send(&*sentinel, 1).await, auth("http-401"));
    assert_eq!(azure.tokens(), 2);
    assert_eq!(send(&*sentinel, 1).await, DELIVERED);
    assert_eq!(azure.tokens(), 3);
}

#[tokio::test]
async fn refusals_of_the_authority_are_verdicts_on_the_events() {
    for (status, body, expected) in [
        (401, r#"{"error":"invalid_client","error_description":"AADSTS7000215"}"#, auth("invalid_client")),
        (400, r#"{"error":"something_new"}"#, auth("token-http-400")),
        (404, "", Outcome::All(Verdict::Config { code: Code::fixed("token-http-404"), field: "tenantId" })),
        (503, "", Outcome::All(Verdict::Retry { code: Code::fixed("token-http-503"), after: None })),
        (302, "", Outcome::All(Verdict::Config { code: Code::fixed("token-http-302"), field: "authority" })),
        (200, "<html>", Outcome::All(Verdict::Config { code: Code::fixed("token-no-response"), field: "authority" })),
    ] {
        let azure = Azure::start(move |_, _| response(status, body), |_| response(204, "")).await;
        let outcome = send(&*azure.sentinel("ClientSecret", |_| {}), 3).await;
        // Codes that hold a number are not known at compile time, so they are compared by their text.
        assert_eq!(format!("{outcome:?}"), format!("{expected:?}"), "{status} {body}");
    }
}

#[tokio::test]
async fn authority_that_never_answers_costs_one_attempt_and_asks_nobody_twice() {
    let authority = Authority::new();
    let server = authority.issue("localhost", 2020..2090).server(None);
    let (asked, count) = watch::channel(0);
    let login = serve_when(Some(server), move |_| {
        asked.send_modify(|asked| *asked += 1);
        std::future::pending()
    })
    .await;
    let azure = Azure::start(|number, _| token(number), |_| response(204, "")).await;
    let azure = Azure { authority, login, ..azure };
    let sentinel = azure.sentinel("ClientSecret", |_| {});
    let events = batch(1);
    let attempt = || sentinel.send(&events, jiff::Timestamp::now(), Duration::from_secs(1));
    let all = join_all((0..8).map(|_| attempt())).await;
    assert!(all.iter().all(crate::support::retry("timeout")), "{all:?}");
    assert_eq!(*count.borrow(), 1);
}

#[tokio::test]
async fn client_certificate_is_for_the_destination_and_not_for_the_authority() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = |clients| Some(authority.issue("localhost", 2020..2090).server(clients));
    let wants_one = serve(server(Some(&clients)), |_| response(204, "")).await;
    let login = serve(server(None), |_| token(1)).await;
    let certificate = clients.issue("exporter", 2020..2090).client();
    let azure = Azure { ingestion: wants_one, login, tokens: Arc::default(), authority };
    let sentinel = azure.sentinel("ClientSecret", |access| access.tls.client = Some(certificate.clone()));
    assert_eq!(send(&*sentinel, 1).await, DELIVERED);
    let azure = Azure { login: wants_one, ..azure };
    let sentinel = azure.sentinel("ClientSecret", |access| access.tls.client = Some(certificate));
    assert!(crate::support::retry("tls-client-certificate")(&send(&*sentinel, 1).await));
}

#[tokio::test]
async fn client_secret_is_sent_trimmed_and_a_workloads_token_is_read_anew_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let azure = Azure::start(
        |number, received| {
            let form = String::from_utf8(received.body.to_vec()).unwrap();
            match form.contains("client_secret=hunter2&") || form.ends_with("client_secret=hunter2") {
                true => token(number),
                false if form.contains(&format!("client_assertion=assertion-{number}")) => token(number),
                false => response(401, r#"{"error":"invalid_client"}"#),
            }
        },
        |_| response(204, ""),
    )
    .await;
    assert_eq!(send(&*azure.sentinel("ClientSecret", |_| {}), 1).await, DELIVERED);
    let sentinel = azure.sentinel("WorkloadIdentity", |access| access.identity.azure_token_file = Some(file.clone()));
    assert_eq!(send(&*sentinel, 1).await, auth("identity-token-file"));
    for number in 2..4 {
        std::fs::write(&file, format!("assertion-{number}\n")).unwrap();
        assert_eq!(send(&*sentinel, 1).await, DELIVERED);
        pass(Duration::from_secs(3_600)).await;
    }
    assert_eq!(azure.tokens(), 3);
}

/// An STS and an EventBridge behind a proxy, which stands for the two host names.
struct Aws {
    sessions: Arc<AtomicUsize>,
    platform: Arc<dyn Platform>,
}

impl Aws {
    async fn start(
        sts: impl Fn(usize, &Received) -> Response + Clone + Send + 'static,
        put: impl Fn(&Received) -> Response + Clone + Send + 'static,
        secrets: &[(&str, &str)],
        role_token: &std::path::Path,
    ) -> Self {
        let authority = Authority::new();
        let sessions = Arc::new(AtomicUsize::new(0));
        let count = sessions.clone();
        let server = |name| Some(authority.issue(name, 2020..2090).server(None));
        let for_sts = serve(server("sts.eu-central-1.amazonaws.com"), move |received| {
            sts(count.fetch_add(1, Ordering::SeqCst) + 1, &received)
        })
        .await;
        let for_events = serve(server("events.eu-central-1.amazonaws.com"), move |received| put(&received)).await;
        let (proxy, _) = proxy_of(for_sts, for_events).await;
        let mut access = access(authority.trusted(), secrets);
        access.proxy = Some(proxy);
        access.identity.aws_role_arn = Some("arn:aws:iam::123456789012:role/audit".into());
        access.identity.aws_token_file = Some(role_token.to_owned());
        Self { sessions, platform: platform(json!({"eventBridge": {"region": "eu-central-1"}}), access) }
    }

    fn sessions(&self) -> usize {
        self.sessions.load(Ordering::SeqCst)
    }
}

async fn proxy_of(sts: SocketAddr, events: SocketAddr) -> (url::Url, ()) {
    let (url, mut asked) = proxy(move |authority| match authority {
        "sts.eu-central-1.amazonaws.com:443" => Some(sts),
        "events.eu-central-1.amazonaws.com:443" => Some(events),
        _ => None,
    })
    .await;
    tokio::spawn(async move { while asked.recv().await.is_some() {} });
    (url, ())
}

fn session(number: usize) -> Response {
    let expires = jiff::Timestamp::now() + Duration::from_secs(3_600);
    response(
        200,
        format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>ASIA00000000000{number:05}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
             <SessionToken>session-{number}</SessionToken><Expiration>{expires}</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ),
    )
}

fn taken() -> Response {
    response(200, r#"{"FailedEntryCount":0,"Entries":[{"EventId":"1"}]}"#)
}

const TAKEN: [Verdict; 1] = [Verdict::Delivered];

#[tokio::test]
async fn session_of_the_role_signs_until_shortly_before_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "web-identity\n").unwrap();
    let sts = |number: usize, received: &Received| {
        let form = String::from_utf8(received.body.to_vec()).unwrap();
        assert!(form.contains("RoleSessionName=prod-exporter-7d9f-abcde&WebIdentityToken=web-identity"), "{form}");
        session(number)
    };
    let put = |received: &Received| {
        let headers = &received.head.headers;
        let number = headers["x-amz-security-token"].to_str().unwrap().strip_prefix("session-").unwrap();
        let key = format!("Credential=ASIA00000000000{:05}/", number.parse::<usize>().unwrap());
        assert!(headers["authorization"].to_str().unwrap().contains(&key));
        taken()
    };
    let aws = Aws::start(sts, put, &[], &file).await;
    for _ in 0..3 {
        assert_eq!(send(&*aws.platform, 1).await, Outcome::Each(TAKEN.into()));
    }
    assert_eq!(aws.sessions(), 1);
    pass(Duration::from_secs(3_300)).await;
    assert_eq!(send(&*aws.platform, 1).await, Outcome::Each(TAKEN.into()));
    assert_eq!(aws.sessions(), 2);
}

#[tokio::test]
async fn session_that_ended_early_is_replaced_within_the_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "web-identity").unwrap();
    let first = Arc::new(AtomicUsize::new(0));
    let put = move |received: &Received| match (
        &received.head.headers["x-amz-security-token"],
        first.fetch_add(1, Ordering::SeqCst),
    ) {
        (token, 1..) if token == "session-1" => response(400, r#"{"__type":"ExpiredTokenException"}"#),
        _ => taken(),
    };
    let aws = Aws::start(|number, _| session(number), put, &[], &file).await;
    for _ in 0..2 {
        assert_eq!(send(&*aws.platform, 1).await, Outcome::Each(TAKEN.into()));
    }
    assert_eq!(aws.sessions(), 2);
}

#[tokio::test]
async fn refusals_of_sts_are_verdicts_and_keys_of_a_secret_need_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let refuse = |_: usize, _: &Received| response(403, "<E><Error><Code>AccessDenied</Code></Error></E>");
    let aws = Aws::start(refuse, |_| taken(), &[], &file).await;
    assert_eq!(send(&*aws.platform, 1).await, auth("identity-token-file"));
    std::fs::write(&file, "web-identity").unwrap();
    assert_eq!(send(&*aws.platform, 1).await, auth("sts-AccessDenied"));
    assert_eq!(aws.sessions(), 1);

    let secrets =
        [("accessKeyIdSecretRef", "AKIA000000000000EXAM\n"), ("secretAccessKeySecretRef", "wJalrXUtnFEMI/K7MDENG\n")];
    let put = |received: &Received| {
        let headers = &received.head.headers;
        assert!(headers.get("x-amz-security-token").is_none());
        assert!(headers["authorization"].to_str().unwrap().contains("Credential=AKIA000000000000EXAM/"));
        taken()
    };
    let aws = Aws::start(refuse, put, &secrets, &file).await;
    assert_eq!(send(&*aws.platform, 1).await, Outcome::Each(TAKEN.into()));
    assert_eq!(aws.sessions(), 0);
}
