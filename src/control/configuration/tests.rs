use std::collections::BTreeMap;
use std::time::Duration;

use super::layers::{Layers, variable};
use super::*;

fn flag(key: &str, value: &str) -> Flag {
    Flag { name: format!("--set {key}"), key: key.to_string(), value: value.to_string() }
}

fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("own.toml");
    std::fs::write(&path, text).expect("a file");
    (folder, path)
}

fn refused(inputs: &Inputs) -> String {
    load(inputs).expect_err("refused").to_string()
}

#[test]
fn defaults_alone_are_good() {
    let settings = load(&Inputs::default()).expect("settings");
    assert_eq!(settings.epoch_interval, Duration::from_millis(20));
    assert_eq!(settings.flow.max_epochs_computing, 4);
    assert_eq!(settings.flow.max_epochs_in_flight, 64);
    assert_eq!(settings.kafka.bootstrap_servers, None);
    assert_eq!(settings.mongodb.uri, None);
    assert!(settings.http.enabled && settings.http.listen.ip().is_loopback());
    assert!(settings.parameters.is_empty() && settings.kafka.properties.is_empty());
}

#[test]
fn later_layers_win() {
    let (_folder, path) =
        file("epoch_interval = '1s'\n[flow]\nmax_epochs_computing = 1\nmax_epochs_in_flight = 2\n");
    let mut inputs = Inputs { files: vec![path], ..Inputs::default() };
    assert_eq!(load(&inputs).expect("settings").epoch_interval, Duration::from_secs(1));
    inputs.environment = variables(&[
        ("TIDEMILL_EPOCH_INTERVAL", "2s"),
        ("TIDEMILL_FLOW__MAX_EPOCHS_COMPUTING", "3"),
        ("TIDEMILL_HTTP__ENABLED", "false"),
        ("TIDEMILL_LOG", "debug"),
    ]);
    inputs.flags = vec![flag("epoch_interval", "3s")];
    let settings = load(&inputs).expect("settings");
    assert_eq!(settings.epoch_interval, Duration::from_secs(3));
    assert_eq!((settings.flow.max_epochs_computing, settings.flow.max_epochs_in_flight), (3, 2));
    assert!(!settings.http.enabled);
}

#[test]
fn tables_with_keys_of_the_users_own() {
    let (_folder, path) = file(
        "[kafka.properties]\n'security.protocol' = 'SSL'\nfetch.min.bytes = 5\n[parameters]\nTOPIC = 'a'\nx = '1'\n",
    );
    let inputs = Inputs {
        files: vec![path],
        environment: variables(&[
            ("TIDEMILL_KAFKA__PROPERTIES__SASL_PASSWORD", "hush"),
            ("TIDEMILL_PARAM_TOPIC", "b"),
        ]),
        parameters: variables(&[("x", "2")]),
        ..Inputs::default()
    };
    let settings = load(&inputs).expect("settings");
    let expected =
        variables(&[("fetch.min.bytes", "5"), ("sasl.password", "hush"), ("security.protocol", "SSL")]);
    assert_eq!(settings.kafka.properties, BTreeMap::from_iter(expected));
    assert_eq!(settings.parameters, BTreeMap::from_iter(variables(&[("TOPIC", "b"), ("x", "2")])));
    assert!(!format!("{settings:?}").contains("hush"), "a secret in {settings:?}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    let (_folder, path) = file("[flow]\nmax_epoch_computing = 1\n");
    let message = refused(&Inputs { files: vec![path], ..Inputs::default() });
    assert!(message.contains("own.toml: unknown setting 'flow.max_epoch_computing'"), "{message}");
    assert!(message.contains("did you mean flow.max_epochs_computing?"), "{message}");

    let environment = variables(&[("TIDEMILL_HTTP_LISTEN", "127.0.0.1:1")]);
    let message = refused(&Inputs { environment, ..Inputs::default() });
    assert!(message.contains("unknown setting in the environment: TIDEMILL_HTTP_LISTEN"), "{message}");
    assert!(message.contains("did you mean TIDEMILL_HTTP__LISTEN?"), "{message}");

    let message = refused(&Inputs { flags: vec![flag("nonsense", "1")], ..Inputs::default() });
    assert!(message.contains("unknown setting 'nonsense'"), "{message}");
}

#[test]
fn wrong_values_name_their_place() {
    for (key, value, expected) in [
        ("epoch_interval", "20", "--set epoch_interval: epoch_interval is not a duration: '20'"),
        ("epoch_interval", "0s", "must be more than zero"),
        ("flow.max_epoch_records", "many", "must be a whole number, 0 or more"),
        ("flow.max_epoch_records", "-1", "must be a whole number, 0 or more"),
        ("flow.max_epoch_records", "0", "must be at least 1"),
        ("http.enabled", "yes", "http.enabled must be true or false"),
        ("http.listen", "localhost", "http.listen is not an address: 'localhost'"),
        ("mongodb.database", "", "must not be empty"),
        ("flow", "1", "unknown setting 'flow'"),
    ] {
        let message = refused(&Inputs { flags: vec![flag(key, value)], ..Inputs::default() });
        assert!(message.contains(expected), "{key}: {message}");
    }
    let (_folder, path) = file("state_dir = 5\n");
    let message = refused(&Inputs { files: vec![path], ..Inputs::default() });
    assert!(message.contains("own.toml: state_dir must be a text in quotes"), "{message}");
}

#[test]
fn wrong_toml_is_located_but_not_shown() {
    let (_folder, path) = file("\n[mongodb]\nuri = mongodb://u:hush@h\n");
    let message = refused(&Inputs { files: vec![path], ..Inputs::default() });
    assert!(message.contains("own.toml:3: not valid TOML"), "{message}");
    assert!(!message.contains("hush"), "{message}");
}

#[test]
fn missing_files_are_named() {
    let message = refused(&Inputs { files: vec!["nowhere.toml".into()], ..Inputs::default() });
    assert!(message.contains("cannot read the configuration 'nowhere.toml'"), "{message}");
    let message = refused(&Inputs { flags: vec![flag("mongodb.uri_file", "nowhere")], ..Inputs::default() });
    assert!(message.contains("mongodb.uri_file names 'nowhere', which cannot be read"), "{message}");
}

#[test]
fn secrets_come_from_text_or_file_and_never_show() {
    let (_folder, path) = file("mongodb://user:hush@host/?x=y\n");
    let path = path.to_str().expect("a path in UTF-8");
    let settings = load(&Inputs { flags: vec![flag("mongodb.uri_file", path)], ..Inputs::default() });
    let settings = settings.expect("settings");
    assert_eq!(settings.mongodb.uri.as_ref().map(|uri| uri.expose()), Some("mongodb://user:hush@host/?x=y"));
    assert!(!format!("{settings:?}").contains("hush"));
    assert!(describe(&settings).ends_with("mongodb mongodb://***@host/"), "{}", describe(&settings));

    let both = vec![flag("mongodb.uri_file", path), flag("mongodb.uri", "mongodb://u:hush@h")];
    let message = refused(&Inputs { flags: both, ..Inputs::default() });
    assert!(message.contains("mongodb.uri is, too") && !message.contains("hush"), "{message}");
    let message = refused(&Inputs { flags: vec![flag("mongodb.uri", "u:hush@h")], ..Inputs::default() });
    assert!(message.contains("does not begin with mongodb://") && !message.contains("hush"), "{message}");
}

#[test]
fn uris_are_redacted() {
    for (uri, shown) in [
        ("mongodb://u:p@h:1,i:2/db?authSource=x", "mongodb://***@h:1,i:2/db"),
        ("mongodb://u:a@b/c?d@h:1", "mongodb://***"),
        ("mongodb://u:p@h/?password=a@b", "mongodb://***"),
        ("mongodb+srv://h", "mongodb+srv://h"),
        ("hush", "***"),
    ] {
        assert_eq!(redact_uri(uri), shown);
    }
}

/// `docs/settings.md` has one row per setting: key, default, variable.
#[test]
fn documented_settings_are_the_settings() {
    let text = include_str!("../../../docs/settings.md");
    let documented: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix("| `")?.split(" | ").collect();
            let plain = |cell: &str| cell.trim_matches(['`', ' ', '|']).to_string();
            Some((plain(cells[0]), plain(cells[1]), plain(cells[2])))
        })
        .collect();
    let known: Vec<_> = Layers::defaults(DEFAULTS)
        .expect("defaults")
        .listed()
        .into_iter()
        .map(|(key, value)| (key.clone(), value, variable(&key)))
        .collect();
    let mut sorted = documented.clone();
    sorted.sort();
    assert_eq!(sorted, known);
}

#[test]
fn every_default_says_its_unit() {
    for (number, line) in DEFAULTS.lines().enumerate() {
        let is_setting = !line.starts_with('#') && line.contains(" = ");
        let above = DEFAULTS.lines().nth(number.saturating_sub(1)).unwrap_or_default();
        assert!(!is_setting || above.starts_with("# "), "no comment above line {}: {line}", number + 1);
    }
}
