//! Kafka over TLS with a login, and every way to have it set wrong.

#[expect(dead_code, reason = "no topic grows or goes here")]
#[path = "support/broker.rs"]
mod broker;
#[expect(dead_code, reason = "no cluster is started here")]
#[path = "support/process.rs"]
mod process;

use std::fs;
use std::path::Path;
use std::process::Command;

use broker::{Broker, setting};
use process::{Process, check_ledger, tidemill, until};
use tempfile::TempDir;

/// A certificate that has nothing to do with the broker.
const SOMEBODY_ELSE: &str = include_str!("data/somebody_else.pem");

/// A dataflow from a topic to another, in a folder of its own.
struct Scene {
    broker: Broker,
    folder: TempDir,
    from: String,
    to: String,
}

impl Scene {
    fn new() -> Scene {
        let mut broker = Broker::new("security");
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (broker.create("from", 2), broker.name("to"));
        let sql = format!(
            "CREATE SOURCE records (value TEXT NOT NULL) WITH (connector = 'kafka', topic = '{from}');
             CREATE SINK kept FROM records WITH (connector = 'kafka', topic = '{to}');"
        );
        fs::create_dir(folder.path().join("secured")).expect("a folder");
        fs::write(folder.path().join("secured/dataflow.sql"), sql).expect("a file");
        broker.delete_later(&to);
        broker.delete_later(&format!("{from}.dlq"));
        Scene { broker, folder, from, to }
    }

    /// A bounded run with the right settings, over which those of `other` lie; an empty one unsets.
    fn run(&self, other: &[(&str, &str)]) -> Process {
        let mut command = self.command(other);
        Process::spawn(command.arg("--bounded"))
    }

    fn command(&self, other: &[(&str, &str)]) -> Command {
        let mut command = tidemill(&["run", "--no-http", "--print-interval", "0s"]);
        command.arg(self.folder.path().join("secured"));
        command.arg("--state-dir").arg(self.folder.path().join("state"));
        let (bootstrap, password) = (setting("KAFKA_SASL_BOOTSTRAP"), setting("KAFKA_SASL_PASSWORD"));
        let (mechanism, user) = (setting("KAFKA_SASL_MECHANISM"), setting("KAFKA_SASL_USERNAME"));
        let ca = setting("KAFKA_CA");
        let right = [
            ("BOOTSTRAP_SERVERS", bootstrap.as_str()),
            ("SECURITY_PROTOCOL", "sasl_ssl"),
            ("SASL_MECHANISM", &mechanism),
            ("SASL_USERNAME", &user),
            ("SASL_PASSWORD", &password),
            ("CA_FILE", &ca),
        ];
        for (name, value) in right.iter().chain(other) {
            command.env(format!("TIDEMILL_KAFKA__{name}"), value);
        }
        command.env("TIDEMILL_LOG", "debug");
        command
    }

    /// A run with one thing wrong says so and ends, and shows no password.
    fn refused(&self, other: &[(&str, &str)], parts: &[&str]) {
        let mut process = self.run(other);
        let code = process.wait().code();
        let log = process.log();
        assert_eq!(code, Some(1), "{log}");
        for part in parts {
            assert!(log.contains(part), "no '{part}' in\n{log}");
        }
        for (name, value) in other.iter().filter(|(name, _)| name.ends_with("PASSWORD")) {
            assert!(value.is_empty() || !log.contains(value), "{name} is shown:\n{log}");
        }
        assert!(!log.contains(&setting("KAFKA_SASL_PASSWORD")), "a password is shown:\n{log}");
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    }
}

#[test]
fn real_records_go_through_over_tls_with_a_login() {
    let scene = Scene::new();
    scene.broker.produce(&scene.from, 0, (0..500).map(|n| format!("a {n}")), None);
    scene.broker.produce(&scene.from, 1, (0..500).map(|n| format!("b {n}")), None);
    scene.broker.produce(&scene.from, 1, ["\" no JSON".to_owned()], None);
    let file = scene.file("password", &format!("{}\n", setting("KAFKA_SASL_PASSWORD")));
    let mut process = scene.run(&[("SASL_PASSWORD", ""), ("SASL_PASSWORD_FILE", &file)]);
    assert_eq!(process.wait().code(), Some(0), "{}", process.log());
    let line = process.last_line();
    let ledger = line.strip_prefix("ledger ").and_then(|json| serde_json::from_str(json).ok());
    check_ledger(&ledger.unwrap_or_else(|| panic!("no ledger: {}", process.log())));
    let mut kept = scene.broker.consume(&scene.to);
    kept.sort();
    let mut expected: Vec<String> = (0..500).flat_map(|n| [("a", n), ("b", n)]).map(value).collect();
    expected.sort();
    assert_eq!(kept, expected);
    assert_eq!(scene.broker.consume(&format!("{}.dlq", scene.from)).len(), 1);
    assert!(
        !process.log().contains(&setting("KAFKA_SASL_PASSWORD")),
        "a password is shown:\n{}",
        process.log()
    );
}

fn value((letter, n): (&str, usize)) -> String {
    format!(r#"{{"value":"{letter} {n}"}}"#)
}

#[test]
fn real_a_wrong_login_ends_the_start_with_the_reason() {
    let scene = Scene::new();
    let credentials = "Kafka refuses the credentials";
    scene.refused(&[("SASL_PASSWORD", "opensesame")], &[credentials, "look at kafka.sasl_mechanism"]);
    scene.refused(&[("SASL_USERNAME", "nobody")], &[credentials]);
    scene.refused(&[("SASL_MECHANISM", "PLAIN")], &[credentials, "SCRAM-SHA-512"]);
}

#[test]
fn real_a_broker_that_is_not_trusted_ends_the_start_with_the_reason() {
    let scene = Scene::new();
    let other = scene.file("other.pem", SOMEBODY_ELSE);
    let untrusted = ["is not trusted", "kafka.ca_file names the PEM file"];
    scene.refused(&[("CA_FILE", &other)], &untrusted);
    scene.refused(&[("CA_FILE", "")], &untrusted);
    scene.refused(&[("CA_FILE", "/no/such.pem")], &["/no/such.pem", "cannot be read"]);
}

/// The settings for a listener that lets those in who show a certificate; `key` is that of `certificate`.
fn with_certificate(certificate: &str, key: &str) -> Vec<(&'static str, String)> {
    let file = |name: &str| format!("{}/{name}", setting("KAFKA_CLIENTS"));
    let none = |key| (key, String::new());
    let mut settings = vec![
        ("BOOTSTRAP_SERVERS", setting("KAFKA_MUTUAL_BOOTSTRAP")),
        ("SECURITY_PROTOCOL", "ssl".to_owned()),
        none("SASL_MECHANISM"),
        none("SASL_USERNAME"),
        none("SASL_PASSWORD"),
    ];
    if !certificate.is_empty() {
        settings.extend([("CERTIFICATE_FILE", file(certificate)), ("KEY_FILE", file(key))]);
    }
    settings
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn real_records_go_through_over_tls_with_a_certificate_of_our_own() {
    let scene = Scene::new();
    scene.broker.produce(&scene.from, 0, (0..100).map(|n| format!("a {n}")), None);
    let mut locked = with_certificate("client.pem", "locked.key");
    locked.push(("KEY_PASSWORD", setting("KAFKA_SASL_PASSWORD")));
    for (times, settings) in [with_certificate("client.pem", "client.key"), locked].iter().enumerate() {
        let mut process = scene.run(&borrowed(settings));
        assert_eq!(process.wait().code(), Some(0), "{}", process.log());
        assert!(!process.log().contains(&setting("KAFKA_SASL_PASSWORD")), "{}", process.log());
        assert_eq!(scene.broker.consume(&scene.to).len(), 100 * (times + 1));
    }
}

#[test]
fn real_a_certificate_that_the_broker_does_not_take_ends_the_start_with_the_reason() {
    let scene = Scene::new();
    let refused = ["the Kafka broker refuses our certificate", "kafka.certificate_file and kafka.key_file"];
    scene.refused(&borrowed(&with_certificate("stranger.pem", "stranger.key")), &refused);
    scene.refused(&borrowed(&with_certificate("", "")), &refused);
}

#[test]
fn real_a_key_that_does_not_fit_ends_the_start_with_the_reason() {
    let scene = Scene::new();
    let unusable = ["the Kafka client cannot be started", "kafka.key_file"];
    scene.refused(&borrowed(&with_certificate("client.pem", "stranger.key")), &unusable);
    let mut locked = with_certificate("client.pem", "locked.key");
    locked.push(("KEY_PASSWORD", "opensesame".to_owned()));
    scene.refused(&borrowed(&locked), &unusable);
    locked.pop();
    scene.refused(&borrowed(&locked), &unusable);
}

#[test]
fn real_a_listener_without_tls_is_waited_for_with_the_reason() {
    let scene = Scene::new();
    // It closes the connection without a word, as a broker does that is about to go.
    let process = scene.run(&[("BOOTSTRAP_SERVERS", &scene.broker.bootstrap)]);
    let (log, what) = (|| process.log(), "connecting to a PLAINTEXT broker listener?");
    until("the log says why", log, || {
        process.log().lines().any(|line| line.contains("WARN") && line.contains(what))
    });
}

#[test]
fn real_a_sink_alone_ends_with_the_reason_too() {
    let scene = Scene::new();
    let input = scene.folder.path().join("input");
    fs::create_dir(&input).expect("a folder");
    fs::write(input.join("records.jsonl"), "{\"value\": \"a\"}\n").expect("a file");
    let refused = |other: &[(&str, &str)], part: &str| {
        let mut command = scene.command(other);
        command.arg("--bounded").arg("--input").arg(Path::new(&input));
        let mut process = Process::spawn(&mut command);
        let code = process.wait().code();
        assert_eq!(code, Some(1), "{}", process.log());
        assert!(process.log().contains(part), "no '{part}' in\n{}", process.log());
        assert!(!process.log().contains("opensesame"), "{}", process.log());
    };
    refused(&[("SASL_PASSWORD", "opensesame")], "Kafka refuses the credentials");
    refused(&[("CA_FILE", "")], "is not trusted");
}
