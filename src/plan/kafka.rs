//! What is read from Kafka, and from where on.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

/// A source with `connector = 'kafka'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSource {
    pub topics: Topics,
    pub startup: StartupMode,
    /// How often topics are looked at for new partitions, and a pattern for new topics; `None`: never.
    pub find_interval: Option<Duration>,
    /// `properties.*`, given to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
}

/// The topics of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// By name, in the order of the option; see [`crate::batch::Origin::partition`].
    Named(Vec<String>),
    /// All whose names match, also those that are created later.
    Pattern(TopicPattern),
}

impl Topics {
    /// The topics that are named.
    pub fn named(&self) -> &[String] {
        match self {
            Topics::Named(names) => names,
            Topics::Pattern(_) => &[],
        }
    }
}

/// A regular expression for the whole name of a topic.
#[derive(Clone, Debug)]
pub struct TopicPattern {
    text: String,
    regex: Regex,
}

impl TopicPattern {
    /// Compiles `text`; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        match Regex::new(&format!("^(?:{text})$")) {
            Ok(regex) => Ok(TopicPattern { text: text.to_owned(), regex }),
            // The last of its lines is the reason, those before show the expression with our brackets.
            Err(regex::Error::Syntax(shown)) => {
                let reason = shown.lines().last().unwrap_or_default();
                Err(reason.strip_prefix("error: ").unwrap_or(reason).to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a topic is one of the pattern's. Dead letters and the topics that brokers and engines keep for
    /// themselves never are: who wants one of them names it.
    pub fn matches(&self, topic: &str) -> bool {
        let internal = topic.starts_with("__") || topic.starts_with("_tidemill_") || topic.ends_with(".dlq");
        !internal && self.regex.is_match(topic)
    }
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicPattern {}

/// `scan.startup.mode`: where reading of the partitions begins that there are at the start. Those that are found
/// later are read from their earliest record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartupMode {
    #[default]
    Earliest,
    /// Behind the last record there is at the start.
    Latest,
    /// From the first record whose timestamp is not before this, in milliseconds since the Unix epoch; without
    /// one as `Latest`.
    Timestamp(i64),
    /// From these offsets, by topic and partition; other partitions from the earliest record.
    Offsets(BTreeMap<(String, u32), u64>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_for_the_whole_name_and_not_for_internal_topics() {
        let pattern = TopicPattern::new(r"org\.metrics\..*|b").expect("an expression");
        for (topic, matches) in [
            ("org.metrics.cpu", true),
            ("org.metrics.", true),
            ("b", true),
            ("org.metrics", false),
            ("orgxmetrics.cpu", false),
            ("my.org.metrics.cpu", false),
            ("bb", false),
            ("org.metrics.cpu.dlq", false),
        ] {
            assert_eq!(pattern.matches(topic), matches, "{topic}");
        }
        let all = TopicPattern::new(".*").expect("an expression");
        let of_all = ["a", "_a", "__consumer_offsets", "_tidemill_progress"].map(|topic| all.matches(topic));
        assert_eq!(of_all, [true, true, false, false]);
        assert_eq!(TopicPattern::new("a(").expect_err("wrong"), "unclosed group");
    }
}
