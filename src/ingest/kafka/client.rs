//! The client library: its settings, its log, and what its errors mean for us.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{Heard, refused_property};
use crate::plan::KafkaSource;
use crate::settings;

pub(super) type Client = BaseConsumer<Context>;

/// What correctness rests on: offsets are ours, an end is told, uncommitted or damaged records are not read.
const FIXED: [(&str, &str); 6] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
];

/// The older name of a fixed property.
const AUTO_COMMIT: (&str, &str) = ("auto.commit.enable", "false");

/// What can be changed by `properties.*`.
const DEFAULTS: [(&str, &str); 10] = [
    // Tells the ends of the logs, for the lag.
    ("statistics.interval.ms", "1000"),
    // Needed to assign; nothing is ever committed to it.
    ("group.id", "tidemill"),
    ("client.id", "tidemill"),
    ("allow.auto.create.topics", "false"),
    // A deep queue and a short pause when it is full: reading is never the brake.
    ("queued.min.messages", "200000"),
    ("queued.max.messages.kbytes", "65536"),
    ("fetch.queue.backoff.ms", "1"),
    // A broker that is back is noticed soon.
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    // With the sinks away nobody polls for a long time, and that is no failure.
    ("max.poll.interval.ms", "86400000"),
];

/// A broker answers a request for more records at least so often, with nothing if there is nothing: one that has
/// been silent for longer does not answer.
const SILENCE: Duration = Duration::from_secs(3);
/// How long it may wait for records before it answers with nothing, and its default.
const FETCH_WAIT: (&str, u64) = ("fetch.wait.max.ms", 500);

/// How long a client is listened to that could not do what it was asked.
const HEAR: Duration = Duration::from_millis(200);

/// All properties of a source's clients, and the servers they connect to.
pub(super) fn properties(
    source: &KafkaSource,
    settings: &settings::Kafka,
) -> Result<(BTreeMap<String, String>, String)> {
    let mut properties: BTreeMap<String, String> =
        DEFAULTS.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    if let Some(servers) = &settings.bootstrap_servers {
        properties.insert("bootstrap.servers".into(), servers.clone());
    }
    for (name, value) in settings.properties.iter().chain(&source.properties) {
        let fixed = FIXED.iter().chain([&AUTO_COMMIT]).find(|(fixed, _)| fixed == name);
        if let Some((_, needed)) = fixed
            && !value.trim().eq_ignore_ascii_case(needed)
        {
            let message = format!("the Kafka property '{name}' of a source is always '{needed}'");
            return Err(Error::config(message).hint("leave it out: no record would be safe otherwise"));
        }
        properties.insert(name.clone(), value.clone());
    }
    properties.extend(FIXED.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    match properties.get("bootstrap.servers") {
        Some(servers) => Ok((properties.clone(), servers.clone())),
        None => Err(Error::config("no Kafka servers are configured")
            .hint("set `kafka.bootstrap_servers`, for example to \"localhost:9092\"")),
    }
}

/// A client that is not assigned to anything yet. Connects in the background.
pub(super) fn connect(properties: &BTreeMap<String, String>) -> Result<Client> {
    let mut config = ClientConfig::new();
    for (name, value) in properties {
        config.set(name, value);
    }
    let wait_ms = properties.get(FETCH_WAIT.0).and_then(|value| value.trim().parse().ok());
    let silence = SILENCE.max(2 * Duration::from_millis(wait_ms.unwrap_or(FETCH_WAIT.1)));
    let context = Context { silence, ..Context::default() };
    config.create_with_context(context).map_err(refused_property)
}

/// A client that asks and is never assigned to anything. Without a group it ends at once, where a member of one
/// waits 100 ms; and it has nothing to tell each second.
pub(super) fn connect_to_ask(properties: &BTreeMap<String, String>) -> Result<Client> {
    let mut properties = properties.clone();
    properties.retain(|name, _| !["group.id", "statistics.interval.ms"].contains(&name.as_str()));
    connect(&properties)
}

/// Waits until the brokers answer at all. Fails as soon as they refuse us, which a longer call would not tell.
pub(super) fn reach(client: &Client, timeout: Duration) -> Result<()> {
    let until = Instant::now() + timeout;
    loop {
        match client.fetch_metadata(None, Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(error) => {
                let error = failed(client, "reach the brokers", &error);
                if error.kind() != ErrorKind::Away || Instant::now() >= until {
                    return Err(error);
                }
            }
        }
    }
}

/// Listens to the client's threads.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// Why calls fail that only say that there is no connection.
    pub(super) heard: Heard,
    /// Brokers that have said nothing for so long do not answer.
    silence: Duration,
    /// What the client last heard of the partitions, by number, until somebody asks.
    told: Mutex<BTreeMap<i32, Told>>,
    /// Something is wrong with a partition, which the client only writes into its log.
    complained: AtomicBool,
}

/// What the client knows of a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Where its log ends.
    pub end: Option<u64>,
    /// Whether its broker answers.
    pub answers: bool,
}

impl Context {
    /// Whether something was wrong with a partition since it was last [`settled`](Self::settle).
    pub(super) fn has_complained(&self) -> bool {
        self.complained.load(Ordering::Acquire)
    }

    /// It is known what was wrong.
    pub(super) fn settle(&self) {
        self.complained.store(false, Ordering::Release);
    }

    /// What was heard of the partitions since the last call, by number.
    pub(super) fn take_told(&self) -> BTreeMap<i32, Told> {
        std::mem::take(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What stands in the queue of a partition as an error of its own, not as one of a record, comes here.
        if facility == "ERROR" {
            self.complained.store(true, Ordering::Release);
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            // Failed connections come here again and again; who waits for them says so once.
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.hear(&error, reason);
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }

    /// The client of a source reads one topic.
    fn stats(&self, statistics: Statistics) {
        let silence_us = i64::try_from(self.silence.as_micros()).unwrap_or(i64::MAX);
        let answers = |id: i32| {
            let broker = statistics.brokers.values().find(|broker| broker.nodeid == id);
            broker.is_some_and(|broker| broker.state == "UP" && (0..=silence_us).contains(&broker.rxidle))
        };
        let partitions = statistics.topics.values().flat_map(|topic| &topic.partitions);
        // The client keeps one more, -1, for records that have no partition yet.
        let told = partitions.filter(|(number, _)| **number >= 0).map(|(number, partition)| {
            let end = u64::try_from(partition.ls_offset).ok();
            (*number, Told { end, answers: answers(partition.broker) })
        });
        self.told.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
    }
}

impl ConsumerContext for Context {}

/// The error of a call that has failed as a whole.
pub(super) fn failed(client: &Client, what: &str, error: &KafkaError) -> Error {
    // Lets the client tell of what it has heard; no partition is read with this client.
    let (heard, until) = (&client.context().heard, Instant::now() + HEAR);
    while heard.refusal().is_none() && Instant::now() < until {
        client.poll(HEAR / 10);
    }
    if let Some(refusal) = heard.refusal() {
        return refusal.context(format!("cannot {what}"));
    }
    let error = match error.rdkafka_error_code() {
        Some(code) => classify(code, &format!("cannot {what}")),
        None => Error::away(format!("cannot {what}: {error}")),
    };
    match heard.trouble().filter(|_| error.kind() == ErrorKind::Away) {
        Some(trouble) => Error::away(format!("{error}: {trouble}")),
        None => error,
    }
}

/// The error of a topic that is not the one that was read.
pub(super) fn created_anew(what: &str) -> Error {
    Error::config(format!("{what} was deleted and created anew while it was read"))
        .hint("its offsets mean other records: start again with a new state directory")
}

fn refused(reason: &str) -> Error {
    Error::config(format!("Kafka refuses the credentials: {reason}"))
        .hint("look at kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password")
}

/// What an error means. One that we do not know means waiting, not dropping.
pub(super) fn classify(code: RDKafkaErrorCode, what: &str) -> Error {
    use RDKafkaErrorCode as Code;
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::InvalidTopic => {
            Error::config(format!("{what}: there is no such topic or partition any more ({code})"))
                .hint("create it; if it was deleted and created anew, start with a new state directory")
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Error::config(format!(
            "{what}: what comes next is not there: records were deleted before they were read, or the topic was \
             deleted and created anew ({code})"
        ))
        .hint(
            "raise the topic's retention above the longest outage; a restart begins at what is left. A topic that was \
             created anew has other records: start with a new state directory",
        ),
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
            refused(&code.to_string()).context(what)
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => {
            Error::config(format!("{what}: Kafka does not permit it ({code})"))
                .hint("the user needs READ and DESCRIBE on the topic, and READ on the group")
        }
        // The client goes on behind a batch that it cannot read, so this must end the run.
        Code::BadMessage | Code::InvalidMessage | Code::BadCompression | Code::NotImplemented => {
            Error::config(format!("{what}: a batch of records is damaged or of an unknown kind ({code})"))
                .hint("a compression that this build lacks, or a broken log: see the broker's log")
        }
        Code::Fatal => Error::internal(format!("{what}: {code}")),
        _ => Error::away(format!("{what}: {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{StartupMode, Topics};

    fn with(ours: &[(&str, &str)], theirs: &[(&str, &str)]) -> Result<BTreeMap<String, String>> {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let servers = Some("localhost:9092".to_string());
        let settings = settings::Kafka { bootstrap_servers: servers, properties: map(ours) };
        let (topics, startup) = (Topics::Named(vec!["t".into()]), StartupMode::Earliest);
        let source = KafkaSource { topics, startup, find_interval: None, properties: map(theirs) };
        properties(&source, &settings).map(|(properties, _)| properties)
    }

    #[test]
    fn properties_of_the_source_win_over_the_settings_but_not_over_correctness() {
        let made = with(
            &[("client.id", "a"), ("fetch.min.bytes", "5")],
            &[("client.id", "b"), ("check.crcs", " TRUE ")],
        )
        .expect("accepted");
        assert_eq!((made["client.id"].as_str(), made["fetch.min.bytes"].as_str()), ("b", "5"));
        assert_eq!((made["check.crcs"].as_str(), made["group.id"].as_str()), ("true", "tidemill"));
        for (name, _) in FIXED.iter().chain([&AUTO_COMMIT]) {
            let error = with(&[], &[(name, "other")]).expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(with(&[("isolation.level", "read_uncommitted")], &[]).is_err());
    }

    #[test]
    fn a_wrong_property_is_named_without_its_value() {
        let made = with(&[], &[("no.such.thing", "hunter2")]).expect("not known to be wrong yet");
        let error = connect(&made).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("no.such.thing") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn what_nobody_knows_means_waiting() {
        let kind = |code| classify(code, "x").kind();
        assert_eq!(kind(RDKafkaErrorCode::AllBrokersDown), ErrorKind::Away);
        assert_eq!(kind(RDKafkaErrorCode::Unknown), ErrorKind::Away);
        assert_eq!(kind(RDKafkaErrorCode::AutoOffsetReset), ErrorKind::Config);
    }
}
