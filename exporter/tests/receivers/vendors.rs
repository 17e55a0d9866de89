//! Platforms that nobody can run: our requests are compared with those of the vendor's own library, sent to a stub, or
//! read by the vendor's own model. Not run against the vendor.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use exporter::address::Policy;
use exporter::destination::{Request, Shaped, datadog, sentinel, splunk};
use exporter::http::Sender;
use exporter::tls;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::events_of_test::cases;
use crate::running::{PATIENCE, node, python, run};
use crate::stub::{Received, response, serve};

/// What a stub received, as far as two clients of one platform must agree on it.
#[derive(Debug, PartialEq)]
struct Seen {
    path_and_query: String,
    authorization: Option<String>,
    content_type: Option<String>,
    /// Decompressed.
    body: String,
}

impl Seen {
    fn of(request: &Received) -> Self {
        let header = |name| request.head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let mut body = String::new();
        match header("content-encoding").as_deref() {
            Some("gzip") => flate2::read::MultiGzDecoder::new(&*request.body).read_to_string(&mut body).unwrap(),
            None => (&*request.body).read_to_string(&mut body).unwrap(),
            other => panic!("{other:?}"),
        };
        Self {
            path_and_query: request.head.uri.path_and_query().unwrap().to_string(),
            authorization: header("authorization"),
            content_type: header("content-type"),
            body,
        }
    }
}

/// A stub that answers each request in the same way, and what it received.
async fn stub(tls: Option<rustls::ServerConfig>, status: u16, body: &'static str) -> (u16, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let address = serve(tls, move |request| {
        kept.lock().unwrap().push(Seen::of(&request));
        response(status, body)
    })
    .await;
    (address.port(), seen)
}

async fn post(settings: &tls::Settings, request: Request) {
    let sender = Sender::new(settings, None, Policy::LOOPBACK_TOO).unwrap();
    assert!(sender.send(request, PATIENCE).await.unwrap().status.is_success());
}

#[tokio::test]
async fn datadogs_model_of_a_log_takes_every_entry_and_keeps_every_value() {
    let spec = serde_json::from_value(json!({"tags": ["env:prod"]})).unwrap();
    let config = datadog::Config::new(spec, Policy::STRICT).unwrap();
    let shaped: Vec<Shaped> = cases(100).iter().map(|case| datadog::shape::shape(&config, &case.routed())).collect();
    let credential = datadog::Credential::new(&"key-of-test".into()).unwrap();
    let request = datadog::request::request(&config, &credential, &shaped);
    let entries: Value = serde_json::from_slice(&request.body).unwrap();
    let read = run(python("vendors.py"), &json!({"do": "datadog", "entries": entries})).await;
    assert_eq!(read, entries);
    // The model is one that can refuse: tags are one text, and the message is a text too.
    for (key, wrong) in [("ddtags", json!(["env:prod"])), ("message", json!({})), ("service", json!(7))] {
        let mut entry = entries[0].clone();
        entry[key] = wrong;
        let read = run(python("vendors.py"), &json!({"do": "datadog", "entries": [entry]})).await;
        assert_eq!(read[0], json!({"refused": "ApiTypeError"}), "{key}");
    }
}

#[tokio::test]
async fn request_to_sentinel_is_the_one_of_microsofts_client() {
    let authority = Authority::new("CA of the stub");
    let (port, seen) = stub(Some(authority.server()), 204, "").await;
    let endpoint = format!("https://127.0.0.1:{port}");
    let (rule, stream) = ("dcr-00000000000000000000000000000abc", "Custom-AiGatewayAgentEvent");
    let spec = serde_json::from_value(json!({
        "endpoint": endpoint, "ruleId": rule, "stream": stream,
        "tenantId": "11111111-2222-3333-4444-555555555555", "clientId": "66666666-7777-8888-9999-aaaaaaaaaaaa",
    }))
    .unwrap();
    let config = sentinel::Config::new(spec, Policy::LOOPBACK_TOO).unwrap();
    let shaped: Vec<Shaped> = cases(50).iter().map(|case| sentinel::shape::shape(&case.routed())).collect();
    let credential = sentinel::Credential::new(&"token-of-test".into()).unwrap();
    post(&authority.trusted(None), sentinel::request::request(&config, &credential, &shaped)).await;

    let rows: Vec<Value> = shaped.iter().map(|shaped| serde_json::from_slice(&shaped.bytes).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let request = json!({
        "do": "sentinel", "endpoint": endpoint, "ca": ca, "token": "token-of-test", "rule": rule, "stream": stream,
        "rows": rows,
    });
    let answer = run(python("vendors.py"), &request).await;

    let seen = seen.lock().unwrap();
    let [ours, theirs] = &seen[..] else { panic!("{} requests", seen.len()) };
    // Azure Monitor takes 1 MB, and drops without a word what the rule's stream does not declare.
    assert!(ours.body.len() <= 1_000_000, "{}", ours.body.len());
    let columns = declared(stream);
    for row in &rows {
        for (name, value) in row.as_object().unwrap() {
            let kind = columns.get(name).unwrap_or_else(|| panic!("the stream declares no column {name}"));
            let fits = match kind.as_str() {
                "string" => value.is_string(),
                "datetime" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                "int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                "long" => value.is_i64(),
                "real" => value.is_number(),
                "boolean" => value.is_boolean(),
                "dynamic" => value.is_object() || value.is_array(),
                other => panic!("no type of a column: {other}"),
            };
            assert!(fits, "{name} is declared as {kind} and is {value}");
        }
    }
    assert_eq!(
        (&ours.path_and_query, &ours.authorization, &ours.content_type),
        (&theirs.path_and_query, &theirs.authorization, &theirs.content_type)
    );
    let read = |seen: &Seen| serde_json::from_str::<Value>(&seen.body).unwrap();
    assert_eq!(read(ours), json!(rows));
    assert_eq!(read(theirs), json!(rows));
    // What a token is asked for.
    let form = sentinel::token::request(&config, &"secret-of-test".to_owned().into()).body;
    let asked = url::form_urlencoded::parse(&form).find(|(name, _)| name == "scope").unwrap().1.into_owned();
    assert_eq!(answer["scopes"], json!([asked]));
}

#[tokio::test]
async fn token_of_sentinel_is_asked_for_as_microsofts_library_asks() {
    let (tenant, client) = ("11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-aaaaaaaaaaaa");
    for identity in ["ClientSecret", "WorkloadIdentity"] {
        let authority = Authority::new("CA of the stub");
        let forms: Arc<Mutex<Vec<BTreeMap<String, String>>>> = Arc::default();
        let kept = forms.clone();
        let address = serve(Some(authority.server()), move |request| {
            let host = request.head.headers["host"].to_str().unwrap().to_owned();
            let base = format!("https://{host}/{tenant}");
            let answer = match request.head.uri.path().ends_with("/openid-configuration") {
                true => json!({
                    "issuer": format!("{base}/v2.0"), "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
                    "token_endpoint": format!("{base}/oauth2/v2.0/token"),
                }),
                false => {
                    assert_eq!(request.head.headers["content-type"], "application/x-www-form-urlencoded");
                    kept.lock().unwrap().push(url::form_urlencoded::parse(&request.body).into_owned().collect());
                    json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "token-of-the-stub"})
                }
            };
            response(200, answer.to_string())
        })
        .await;
        let spec = json!({
            "endpoint": "https://dce-1.westeurope-1.ingest.monitor.azure.com", "ruleId": "dcr-00000000000000000000000000000abc",
            "stream": "Custom-AiGatewayAgentEvent", "tenantId": tenant, "clientId": client, "identity": identity,
        });
        let config = sentinel::Config::new(serde_json::from_value(spec).unwrap(), Policy::STRICT).unwrap();
        let ours = sentinel::token::request(&config, &"proof-of-test".to_owned().into());
        assert_eq!(ours.url.as_str(), format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"));
        let ours: BTreeMap<String, String> = url::form_urlencoded::parse(&ours.body).into_owned().collect();

        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let request = json!({
            "do": "entra", "authority": format!("https://127.0.0.1:{}", address.port()), "ca": ca, "tenant": tenant,
            "client": client, "proof": "proof-of-test", "identity": identity, "scope": ours["scope"],
        });
        assert_eq!(run(python("vendors.py"), &request).await, json!({"token": "token-of-the-stub"}));
        let forms = forms.lock().unwrap();
        let [theirs] = &forms[..] else { panic!("{} requests for a token", forms.len()) };
        let same: BTreeMap<String, String> =
            theirs.clone().into_iter().filter(|(name, _)| ours.contains_key(name)).collect();
        assert_eq!(ours, same, "{identity}: of {theirs:?}");
        // With a secret it asks beside that who it is, which nobody needs.
        let more = theirs.keys().find(|name| !ours.contains_key(*name) && *name != "client_info");
        assert_eq!(more, None, "{identity}");
    }
}

/// The columns of a stream and their types, as the rule that users deploy declares them.
fn declared(stream: &str) -> BTreeMap<String, String> {
    let template: Value = serde_json::from_str(include_str!("../../../content/sentinel/azuredeploy.json")).unwrap();
    let resources = template["resources"].as_array().unwrap();
    let columns =
        resources.iter().find_map(|one| one["properties"]["streamDeclarations"][stream]["columns"].as_array());
    let text = |column: &Value, key: &str| column[key].as_str().unwrap().to_owned();
    columns.unwrap().iter().map(|column| (text(column, "name"), text(column, "type"))).collect()
}

#[tokio::test]
async fn envelope_of_a_hec_is_the_one_of_splunks_library() {
    let (port, seen) = stub(None, 200, r#"{"text":"Success","code":0}"#).await;
    let url = format!("http://127.0.0.1:{port}");
    let spec = serde_json::from_value(json!({"url": url, "index": "mcp"})).unwrap();
    let config = splunk::Config::new(spec, Policy::LOOPBACK_TOO).unwrap();
    let credential = splunk::Credential::new(&"11111111-2222-3333-4444-555555555555".into()).unwrap();
    let events = cases(0);
    for case in &events {
        let shaped = splunk::shape::shape(&config, &case.routed());
        let ours: Value = serde_json::from_slice(&shaped.bytes).unwrap();
        post(&tls::Settings::default(), splunk::request::request(&config, &credential, None, &[shaped])).await;
        let metadata = json!({
            "time": ours["time"], "host": ours["host"], "source": ours["source"], "sourcetype": ours["sourcetype"],
            "index": ours["index"],
        });
        let request = json!({
            "url": url, "token": "11111111-2222-3333-4444-555555555555", "metadata": metadata, "event": ours["event"],
        });
        run(node("splunk.cjs"), &request).await;
    }

    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2 * events.len());
    for pair in seen.chunks(2) {
        let [ours, theirs] = pair else { panic!("a pair") };
        assert_eq!(ours.authorization, theirs.authorization);
        // The library names the version of the endpoint, which is the only one that there is.
        assert_eq!(format!("{}/1.0", ours.path_and_query), theirs.path_and_query);
        let read = |seen: &Seen| {
            let mut envelope: Value = serde_json::from_str(&seen.body).unwrap();
            // The library writes the number as a text; a HEC takes both.
            let time = envelope["time"].clone();
            envelope["time"] = json!(time.as_f64().unwrap_or_else(|| time.as_str().unwrap().parse().unwrap()));
            envelope
        };
        assert_eq!(read(ours), read(theirs));
    }
}
