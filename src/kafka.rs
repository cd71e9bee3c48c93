//! What reading from Kafka and writing to it share: telling brokers that refuse us from brokers that are away.
//!
//! A call of the client library that fails for a wrong password only says that there is no connection; the
//! reason comes by a callback. What a person must mend ends the process with that reason; all else is waited for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use crate::error::{Error, Result};

/// What a client's threads have said about its connections.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    refusal: Option<Refusal>,
    trouble: Option<String>,
}

#[derive(Clone, Debug)]
struct Refusal {
    what: &'static str,
    hint: &'static str,
    reason: String,
}

impl Heard {
    /// To be called by the client's error callback.
    pub fn hear(&self, error: &KafkaError, reason: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // That all are down follows from what was said of each.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) || said.trouble.is_none() {
            said.trouble = Some(reason.to_owned());
        }
        if let Some((what, hint)) = error.rdkafka_error_code().and_then(|code| refusal(code, reason)) {
            said.refusal = Some(Refusal { what, hint, reason: reason.to_owned() });
        }
    }

    /// What a person must mend before the brokers let us in.
    pub fn refusal(&self) -> Option<Error> {
        let refusal = self.0.lock().unwrap_or_else(PoisonError::into_inner).refusal.clone()?;
        Some(Error::config(format!("{}: {}", refusal.what, refusal.reason)).hint(refusal.hint))
    }

    /// The last trouble, of whatever kind.
    pub fn trouble(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }
}

/// What a code and the client's words mean, if waiting does not help.
fn refusal(code: RDKafkaErrorCode, reason: &str) -> Option<(&'static str, &'static str)> {
    use RDKafkaErrorCode as Code;
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => Some((
            "Kafka refuses the credentials",
            "look at kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password",
        )),
        Code::SSL if says(&["certificate verify failed", "could not be verified"]) => Some((
            "the certificate of the Kafka broker is not trusted",
            "kafka.ca_file names the PEM file of the authority that has signed it; without it those of the system \
             count. The name in kafka.bootstrap_servers must be one that the certificate is for",
        )),
        Code::SSL
            if says(&[
                "wrong version number",
                "packet length too long",
                "record overflow",
                "http request",
            ]) =>
        {
            Some((
                "the Kafka listener does not speak TLS",
                "look at the port in kafka.bootstrap_servers, and at kafka.security_protocol",
            ))
        }
        // With TLS 1.3 the broker looks at our certificate when the handshake is over, and hangs up.
        Code::SSL | Code::BrokerTransportFailure
            if says(&[
                "certificate required",
                "bad certificate",
                "unknown ca",
                "certificate unknown",
                "certificate expired",
                "certificate revoked",
            ]) =>
        {
            Some((
                "the Kafka broker refuses our certificate",
                "kafka.certificate_file and kafka.key_file name one that an authority of the broker has signed",
            ))
        }
        _ => None,
    }
}

/// The error of a property that the client library does not take. Its value is left out: it may be a secret.
pub fn refused_property(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, description, name, _) => {
            Error::config(format!("the Kafka property '{name}' cannot be set: {description}"))
                .hint("see [kafka.properties] in the settings, and `properties.*` of the source or sink")
        }
        KafkaError::ClientCreation(description) => {
            Error::config(format!("the Kafka client cannot be started: {description}"))
                .hint("see kafka.ca_file, kafka.certificate_file and kafka.key_file, and [kafka.properties]")
        }
        other => Error::config("the Kafka client cannot be started").caused_by(other),
    }
}

/// Tries to reach the brokers with a client of its own, after one that does not tell why it cannot. The error is
/// what a person must mend; no answer in time is none.
pub fn look_for_refusal(config: &ClientConfig, timeout: Duration) -> Result<()> {
    let protocol = config.get("security.protocol").unwrap_or("plaintext");
    if protocol.eq_ignore_ascii_case("plaintext") {
        // Nobody is asked who he is.
        return Ok(());
    }
    let probe: BaseProducer<Probe> =
        config.create_with_context(Probe::default()).map_err(refused_property)?;
    let until = Instant::now() + timeout;
    while Instant::now() < until {
        let answered = probe.client().fetch_metadata(None, Duration::from_millis(500)).is_ok();
        // One call takes in one thing that was said; what is said here are a few lines of a log.
        probe.poll(Duration::from_millis(100));
        match probe.context().heard.refusal() {
            Some(refusal) => return Err(refusal),
            None if answered => break,
            None => {}
        }
    }
    Ok(())
}

#[derive(Default)]
struct Probe {
    heard: Heard,
}

impl ClientContext for Probe {
    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.hear(&error, reason);
    }
}

impl ProducerContext for Probe {
    type DeliveryOpaque = ();

    /// Nothing is sent.
    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_told_from_what_is_waited_for() {
        let says = |code, reason: &str| {
            let heard = Heard::default();
            heard.hear(&KafkaError::Global(code), reason);
            assert_eq!(heard.trouble().as_deref(), Some(reason));
            heard.refusal().map(|error| error.to_string())
        };
        let wrong = says(RDKafkaErrorCode::Authentication, "SASL authentication error").expect("a refusal");
        assert!(
            wrong.contains("SASL authentication error") && wrong.contains("kafka.sasl_password"),
            "{wrong}"
        );
        let ca = "SSL handshake failed: error:0A000086:certificate verify failed: broker certificate could not be verified";
        assert!(says(RDKafkaErrorCode::SSL, ca).expect("a refusal").contains("kafka.ca_file"));
        assert!(says(RDKafkaErrorCode::SSL, "wrong version number").expect("a refusal").contains("TLS"));
        assert_eq!(
            says(RDKafkaErrorCode::SSL, "SSL handshake failed: Disconnected"),
            None,
            "a broker that goes"
        );
        assert_eq!(says(RDKafkaErrorCode::BrokerTransportFailure, "Connection refused"), None);
        let ours =
            "Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42";
        let refused = says(RDKafkaErrorCode::BrokerTransportFailure, ours).expect("a refusal");
        assert!(refused.contains("refuses our certificate"), "{refused}");
    }
}
