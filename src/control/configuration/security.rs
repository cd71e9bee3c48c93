//! How brokers are connected to: TLS and SASL, from `[kafka]` to properties of the client library.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::layers::Layers;
use crate::error::{Error, Result};

const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// The settings of `[kafka]` that say who we are and whom we trust; an empty text means "not set".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Security {
    pub(super) bootstrap_servers: String,
    security_protocol: String,
    ca_file: String,
    certificate_file: String,
    key_file: String,
    key_password: String,
    sasl_mechanism: String,
    sasl_username: String,
    sasl_password: String,
    sasl_password_file: String,
}

impl Security {
    /// The settings as properties, with those of `[kafka.properties]` beside them.
    pub(super) fn properties(&self, layers: &Layers) -> Result<BTreeMap<String, String>> {
        let check = Check { layers };
        let protocol = self.protocol(&check)?;
        let password = check.password(&self.sasl_password, &self.sasl_password_file)?;
        let mechanism = self.mechanism(&check)?;
        let tls = [
            ("ca_file", "ssl.ca.location", &self.ca_file),
            ("certificate_file", "ssl.certificate.location", &self.certificate_file),
            ("key_file", "ssl.key.location", &self.key_file),
            ("key_password", "ssl.key.password", &self.key_password),
        ];
        let sasl = [
            ("sasl_mechanism", "sasl.mechanism", &mechanism),
            ("sasl_username", "sasl.username", &self.sasl_username),
            ("sasl_password", "sasl.password", &password),
        ];
        check.belongs(&protocol, "ssl", tls.iter().map(|(key, _, value)| (*key, value.as_str())))?;
        check.belongs(&protocol, "sasl_", sasl.iter().map(|(key, _, value)| (*key, value.as_str())))?;
        for (key, _, path) in tls.iter().filter(|(key, _, value)| key.ends_with("_file") && !value.is_empty())
        {
            check.pem(key, path)?;
        }
        check.together(("certificate_file", &self.certificate_file), ("key_file", &self.key_file))?;

        let mut properties = layers.kafka_properties.clone();
        let protocol = ("security_protocol", "security.protocol", &protocol);
        for (key, property, value) in std::iter::once(protocol).chain(tls).chain(sasl) {
            if value.is_empty() {
                continue;
            }
            if properties.insert(property.to_owned(), value.clone()).is_some() {
                let message = format!("is set, and the property '{property}' of [kafka.properties] is, too");
                return Err(check.wrong(key, message).hint("set one of them"));
            }
        }
        check.complete(&properties)?;
        Ok(properties)
    }

    fn protocol(&self, check: &Check<'_>) -> Result<String> {
        let protocol = self.security_protocol.trim().to_lowercase();
        if protocol.is_empty() || PROTOCOLS.contains(&protocol.as_str()) {
            return Ok(protocol);
        }
        let message = format!("is not a protocol: '{}'", self.security_protocol);
        Err(check.wrong("security_protocol", message).hint(format!("one of {}", PROTOCOLS.join(", "))))
    }

    fn mechanism(&self, check: &Check<'_>) -> Result<String> {
        let mechanism = self.sasl_mechanism.trim().to_uppercase();
        if mechanism.is_empty() || MECHANISMS.contains(&mechanism.as_str()) {
            return Ok(mechanism);
        }
        let message = format!("is not a mechanism that this build has: '{}'", self.sasl_mechanism);
        Err(check.wrong("sasl_mechanism", message).hint(format!("one of {}", MECHANISMS.join(", "))))
    }
}

struct Check<'a> {
    layers: &'a Layers,
}

impl Check<'_> {
    fn wrong(&self, key: &str, what: impl std::fmt::Display) -> Error {
        let key = format!("kafka.{key}");
        Error::config(format!("{}: {key} {what}", self.layers.origin(&key)))
    }

    /// The password itself, from the setting or from the file that it names.
    fn password(&self, password: &str, file: &str) -> Result<String> {
        match (password.is_empty(), file.is_empty()) {
            (_, true) => Ok(password.to_owned()),
            (false, false) => Err(self
                .wrong("sasl_password_file", "is set, and kafka.sasl_password is, too")
                .hint("set one of them; an empty text unsets the other")),
            (true, false) => {
                let text = self.read("sasl_password_file", file)?;
                match text.trim_end_matches(['\r', '\n']) {
                    "" => Err(self.wrong("sasl_password_file", format!("names '{file}', which is empty"))),
                    password => Ok(password.to_owned()),
                }
            }
        }
    }

    fn read(&self, key: &str, path: &str) -> Result<String> {
        std::fs::read_to_string(Path::new(path)).map_err(|error| {
            self.wrong(key, format!("names '{path}', which cannot be read")).caused_by(error)
        })
    }

    /// A file with certificates or a key as text.
    fn pem(&self, key: &str, path: &str) -> Result<()> {
        if self.read(key, path)?.contains("-----BEGIN ") {
            return Ok(());
        }
        Err(self
            .wrong(key, format!("names '{path}', which is no PEM file"))
            .hint("convert it: openssl x509 -inform der, openssl pkcs12, keytool -exportcert -rfc"))
    }

    /// Settings without a protocol that uses them would be ignored in silence.
    fn belongs<'s>(
        &self,
        protocol: &str,
        part: &str,
        settings: impl Iterator<Item = (&'s str, &'s str)>,
    ) -> Result<()> {
        // Whoever sets the protocol as a property knows the client library.
        let own = self.layers.kafka_properties.get("security.protocol").map(|value| value.to_lowercase());
        if own.as_deref().unwrap_or(protocol).contains(part) {
            return Ok(());
        }
        let with: Vec<&str> = PROTOCOLS.into_iter().filter(|protocol| protocol.contains(part)).collect();
        match settings.into_iter().find(|(_, value)| !value.is_empty()) {
            Some((key, _)) => Err(self
                .wrong(key, "is set, but kafka.security_protocol does not use it")
                .hint(format!("set kafka.security_protocol to {}", with.join(" or ")))),
            None => Ok(()),
        }
    }

    fn together(&self, one: (&str, &str), other: (&str, &str)) -> Result<()> {
        match (one.1.is_empty(), other.1.is_empty()) {
            (false, true) => Err(self.wrong(one.0, format!("is set, but kafka.{} is not", other.0))),
            (true, false) => Err(self.wrong(other.0, format!("is set, but kafka.{} is not", one.0))),
            _ => Ok(()),
        }
    }

    /// Who has to log in must say how and as whom.
    fn complete(&self, properties: &BTreeMap<String, String>) -> Result<()> {
        let protocol =
            properties.get("security.protocol").map_or(String::new(), |value| value.to_lowercase());
        if !protocol.contains("sasl") {
            return Ok(());
        }
        let has = |names: &[&str]| names.iter().any(|name| properties.contains_key(*name));
        if !has(&["sasl.mechanism", "sasl.mechanisms"]) {
            let message = format!("is not set, but the protocol is {protocol}");
            return Err(self
                .wrong("sasl_mechanism", message)
                .hint(format!("one of {}", MECHANISMS.join(", "))));
        }
        let password = "kafka.sasl_password comes from the environment, kafka.sasl_password_file from a file";
        for (key, property) in [("sasl_username", "sasl.username"), ("sasl_password", "sasl.password")] {
            if !has(&[property]) {
                return Err(self
                    .wrong(key, format!("is not set, but the protocol is {protocol}"))
                    .hint(password));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Flag, Inputs, load};
    use super::*;

    fn with(settings: &[(&str, &str)]) -> Result<BTreeMap<String, String>> {
        let flag = |(key, value): &(&str, &str)| Flag {
            name: format!("--set kafka.{key}"),
            key: format!("kafka.{key}"),
            value: (*value).to_owned(),
        };
        let inputs = Inputs { flags: settings.iter().map(flag).collect(), ..Inputs::default() };
        load(&inputs).map(|settings| settings.kafka.properties)
    }

    const SASL: [(&str, &str); 3] =
        [("security_protocol", "SASL_SSL"), ("sasl_mechanism", "scram-sha-512"), ("sasl_username", "u")];

    #[test]
    fn settings_become_properties_and_passwords_can_come_from_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (secret, ca) = (folder.path().join("password"), folder.path().join("ca.pem"));
        std::fs::write(&secret, "hush \n").expect("written");
        std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\n").expect("written");
        let (secret, ca) = (secret.to_str().expect("text"), ca.to_str().expect("text"));
        let made =
            with(&[&SASL[..], &[("sasl_password_file", secret), ("ca_file", ca)]].concat()).expect("good");
        let expected = [
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.password", "hush "),
            ("sasl.username", "u"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", ca),
        ];
        assert_eq!(made, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert!(with(&[]).expect("nothing is set").is_empty());
    }

    #[test]
    fn what_is_missing_or_means_nothing_is_named() {
        let refused = |more: &[(&str, &str)], part: &str| {
            let error = with(more).expect_err(part).to_string();
            assert!(error.contains(part) && !error.contains("hush"), "{error}");
        };
        refused(&[("security_protocol", "tls")], "one of plaintext, ssl, sasl_plaintext, sasl_ssl");
        refused(&[("security_protocol", "sasl_ssl")], "kafka.sasl_mechanism is not set");
        refused(&SASL, "kafka.sasl_password is not set");
        refused(
            &[&SASL[..], &[("sasl_mechanism", "GSSAPI")]].concat(),
            "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
        );
        refused(&[("sasl_password", "hush")], "kafka.security_protocol does not use it");
        refused(&[("ca_file", "ca.pem")], "set kafka.security_protocol to ssl or sasl_ssl");
        refused(
            &[("security_protocol", "ssl"), ("ca_file", "/no/such.pem")],
            "'/no/such.pem', which cannot be read",
        );
        refused(&[("security_protocol", "ssl"), ("ca_file", "Cargo.toml")], "no PEM file");
        let both = [("sasl_password", "hush"), ("sasl_password_file", "x")];
        refused(&[&SASL[..], &both].concat(), "kafka.sasl_password is, too");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.pem");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n").expect("written");
        let path = path.to_str().expect("text");
        refused(&[("security_protocol", "ssl"), ("certificate_file", path)], "kafka.key_file is not");
        let twice = [("security_protocol", "ssl"), ("properties.security.protocol", "SSL")];
        refused(&twice, "the property 'security.protocol' of [kafka.properties] is, too");
    }
}
