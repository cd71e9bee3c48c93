use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use arrow::datatypes::{DataType, Field};
use serde_json::json;

use super::*;
use crate::control::query;
use crate::control::status::tests::sample;

/// One view with rows `a` and `a/b`; key `elsewhere` is held by process 1, `late` is not there yet.
struct Rows;

impl Lookup for Rows {
    fn views(&self) -> Vec<ViewDescription> {
        let did: FieldRef = Arc::new(Field::new("did", DataType::Utf8, false));
        let speed = Arc::new(Field::new("speed", DataType::Int64, true));
        vec![ViewDescription { name: "latest".into(), columns: vec![did.clone(), speed], key: vec![did] }]
    }

    fn get(&self, view: &str, key: &[Value]) -> Result<Option<String>, LookupError> {
        assert_eq!(view, "latest");
        match key[0].as_str().unwrap_or_default() {
            "late" => Err(LookupError::NotNow("starting".into())),
            "elsewhere" => Err(LookupError::Elsewhere(1)),
            known @ ("a" | "a/b ä") => Ok(Some(json!({"did": known, "speed": 25}).to_string())),
            _ => Ok(None),
        }
    }
}

/// The same, but it holds `elsewhere`.
struct Other;

impl Lookup for Other {
    fn views(&self) -> Vec<ViewDescription> {
        Rows.views()
    }

    fn get(&self, _: &str, _: &[Value]) -> Result<Option<String>, LookupError> {
        Ok(Some("{\"from\":1}".into()))
    }
}

fn serve(lookup: impl Lookup + 'static, peers: Vec<String>) -> (Server, Arc<Telemetry>) {
    let telemetry = Telemetry::new();
    let api = Api { telemetry: Arc::clone(&telemetry), lookup: Arc::new(lookup), peers };
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    (Server::start(any, 0, api).expect("a server"), telemetry)
}

/// Code and body of an answer.
fn fetch(server: &Server, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(server.address()).expect("connected");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default();
    (code, body)
}

#[test]
fn health_readiness_and_metrics() {
    let (server, telemetry) = serve(Rows, Vec::new());
    assert_eq!(fetch(&server, "/healthz"), (200, "ok\n".to_string()));
    let (code, body) = fetch(&server, "/readyz");
    assert_eq!((code, body.as_str()), (503, r#"{"ready":false,"reasons":["starting"]}"#));
    *telemetry.status() = sample();
    assert_eq!(fetch(&server, "/readyz"), (200, r#"{"ready":true,"reasons":[]}"#.to_string()));
    let (code, body) = fetch(&server, "/metrics");
    assert!(code == 200 && body.contains("tidemill_view_rows{view=\"latest\"} 9"), "{body}");
    let (code, body) = fetch(&server, "/v1/status");
    assert!(code == 200 && body.contains("\"phase\":\"running\""), "{body}");
    let (code, body) = fetch(&server, "/nonsense");
    assert!(code == 404 && body.contains("nothing at /nonsense; there are /healthz"), "{body}");
}

#[test]
fn rows_by_key() {
    let (server, telemetry) = serve(Rows, Vec::new());
    *telemetry.status() = sample();
    let (code, body) = fetch(&server, "/v1/views");
    assert_eq!(code, 200);
    assert_eq!(body, r#"[{"name":"latest","key":["did"],"columns":["did","speed"],"rows":9}]"#);
    let row = r#"{"did":"a","speed":25}"#.to_string();
    assert_eq!(fetch(&server, "/v1/views/latest/a"), (200, row.clone()));
    assert_eq!(fetch(&server, "/v1/views/latest/%7B%22did%22%3A%22a%22%7D"), (200, row));
    assert_eq!(fetch(&server, "/v1/views/latest/a%2Fb%20%C3%A4").0, 200);
    let (code, body) = fetch(&server, "/v1/views/latest/nobody");
    assert_eq!((code, body.as_str()), (404, r#"{"error":"view latest has no row with the key nobody"}"#));
    let (code, body) = fetch(&server, "/v1/views/latest");
    assert_eq!((code, body.as_str()), (400, r#"{"error":"view latest: the key is did"}"#));
    let (code, body) = fetch(&server, "/v1/views/lates/a");
    assert_eq!(code, 404);
    assert_eq!(body, r#"{"error":"no view 'lates', did you mean latest?","views":["latest"]}"#);
    let (code, body) = fetch(&server, "/v1/views/latest/late");
    assert_eq!((code, body.as_str()), (503, r#"{"error":"view latest: starting"}"#));
    assert_eq!(fetch(&server, "/v1/views/latest/elsewhere").0, 503, "nobody knows process 1");
    assert_eq!(telemetry.lookups_found.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[test]
fn queries_follow_the_key_to_its_process() {
    let (other, _) = serve(Other, Vec::new());
    let peers = vec!["127.0.0.1:1".to_string(), other.address().to_string()];
    let (server, _) = serve(Rows, peers);
    let address = server.address().to_string();
    assert_eq!(
        query::get(&address, "latest", Some("a/b ä")).expect("a row"),
        r#"{"did":"a/b ä","speed":25}"#
    );
    assert_eq!(query::get(&address, "latest", Some("elsewhere")).expect("a row"), "{\"from\":1}");
    let error = query::get(&address, "latest", Some("nobody")).expect_err("none").to_string();
    assert_eq!(error, "view latest has no row with the key nobody");
    let error = query::get(&address, "nonsense", Some("a")).expect_err("none").to_string();
    assert_eq!(error, "no view 'nonsense'\n  hint: views: latest");
    drop(server);
    let error = query::get(&address, "latest", Some("a")).expect_err("no server").to_string();
    assert!(error.starts_with(&format!("no answer from http://{address}")), "{error}");
}

#[test]
fn addresses_in_use_and_ports_above_the_last_are_refused() {
    let (server, telemetry) = serve(Rows, Vec::new());
    let api = Api { telemetry, lookup: Arc::new(Rows), peers: Vec::new() };
    let error = Server::start(server.address(), 0, api).expect_err("in use").to_string();
    assert!(error.starts_with(&format!("cannot serve HTTP on {}", server.address())), "{error}");
    assert!(of_process("127.0.0.1:65535".parse().expect("an address"), 1).is_err());
}

#[test]
fn every_process_has_an_address() {
    let listen = "127.0.0.1:8410".parse().expect("an address");
    assert_eq!(addresses(listen, &[]), ["127.0.0.1:8410"]);
    let hosts = ["a:2101".to_string(), "[::1]:2102".to_string()];
    assert_eq!(addresses(listen, &hosts), ["a:8410", "[::1]:8411"]);
}
