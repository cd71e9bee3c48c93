//! Reads the options of one statement against what is known about them.

use std::collections::BTreeMap;

use crate::compile::ast::{Name, OptionEntry, Options};
use crate::compile::diagnostic::Diagnostic;
use crate::nearest::nearest;

/// What a connector knows besides its options.
pub(super) struct Known<'a> {
    /// `connector 'kafka' as a source`, `a view`: for messages.
    pub what: String,
    /// The options that are read.
    pub options: Vec<&'a str>,
    /// Options of the design that are refused by name, with what to do instead.
    pub later: Vec<(&'a str, &'a str)>,
    /// Whether `properties.*` is given on.
    pub properties: bool,
}

/// A value that is refused by name, with what to do instead.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    name: &'static str,
    planned: bool,
    hint: &'static str,
}

/// A value that is planned.
pub(super) const fn later(name: &'static str, hint: &'static str) -> Refused {
    Refused { name, planned: true, hint }
}

/// A value that is known elsewhere and wrong here.
pub(super) const fn never(name: &'static str, hint: &'static str) -> Refused {
    Refused { name, planned: false, hint }
}

/// Hands out options and collects the mistakes. Reading goes on behind a mistake; the result counts only if
/// [`Reader::finish`] says so.
pub(super) struct Reader<'a> {
    options: &'a Options,
    diagnostics: &'a mut Vec<Diagnostic>,
    failed: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(options: &'a Options, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        Reader { options, diagnostics, failed: false }
    }

    /// Whether everything so far was right.
    pub(super) fn finish<T>(self, value: T) -> Option<T> {
        (!self.failed).then_some(value)
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.failed = true;
        self.diagnostics.push(diagnostic);
    }

    /// Keeps the value, or reports what is wrong with it.
    pub(super) fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.report(diagnostic)).ok()
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'a OptionEntry> {
        self.options.entries.iter().find(|entry| entry.key.value == key)
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Name> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The value, which must be there and not be empty; `example` is one.
    pub(super) fn required(&mut self, key: &str, example: &str) -> Option<&'a Name> {
        match self.value(key) {
            None => {
                self.failed = true;
                let missing = self.missing(key, example);
                self.diagnostics.extend(missing);
                None
            }
            Some(value) if value.value.trim().is_empty() => {
                let error = Diagnostic::new(value.span, format!("option `{key}` is empty"));
                self.report(error.hint(format!("{key} = '{example}'")));
                None
            }
            value => value,
        }
    }

    /// An option that is there under a wrong name is reported for its name only.
    fn missing(&self, key: &str, example: &str) -> Option<Diagnostic> {
        let misspelt = self.options.entries.iter().find(|entry| nearest(&entry.key.value, &[key]).is_some());
        match misspelt {
            // Without the connector the names of the options are not looked at.
            Some(entry) if key == "connector" => {
                let message = format!("unknown option `{}`", entry.key.value);
                Some(Diagnostic::new(entry.key.span, message).hint("did you mean `connector`?"))
            }
            Some(_) => None,
            None => {
                let error = Diagnostic::new(self.options.span, format!("option `{key}` is missing"));
                Some(error.hint(format!("{key} = '{example}'")))
            }
        }
    }

    /// What `read` makes of the value, or the default where the option is not given.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&Name) -> Result<T, Diagnostic>,
    ) -> T {
        match self.value(key).map(read) {
            Some(result) => self.take(result).unwrap_or(default),
            None => default,
        }
    }

    /// One of the allowed values; the first of them where the option is not given.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        allowed: &[(&str, T)],
        refused: &[Refused],
    ) -> Option<T> {
        let Some(value) = self.value(key) else { return allowed.first().map(|(_, first)| *first) };
        if let Some((_, found)) = allowed.iter().find(|(name, _)| *name == value.value) {
            return Some(*found);
        }
        if let Some(refused) = refused.iter().find(|refused| refused.name == value.value) {
            let when = if refused.planned { "is not supported yet" } else { "is not possible here" };
            let error = Diagnostic::new(value.span, format!("{key} = '{}' {when}", refused.name));
            self.report(error.hint(refused.hint));
            return None;
        }
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        let listed = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let error = Diagnostic::new(value.span, format!("unknown value '{}' for `{key}`", value.value));
        self.report(match nearest(&value.value, &names) {
            Some(near) if names.len() > 1 => error.hint(format!("did you mean '{near}'? allowed: {listed}")),
            _ => error.hint(format!("allowed: {listed}")),
        });
        None
    }

    /// `properties.*` without the prefix. Those in `ours` are set by the engine.
    pub(super) fn properties(&mut self, ours: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        for entry in &self.options.entries {
            let Some(name) = entry.key.value.strip_prefix("properties.") else { continue };
            if let Some((_, hint)) = ours.iter().find(|(ours, _)| *ours == name) {
                let message = format!("property `{name}` cannot be set here");
                self.report(Diagnostic::new(entry.key.span, message).hint(*hint));
                continue;
            }
            properties.insert(name.to_owned(), entry.value.value.clone());
        }
        properties
    }

    /// Reports every option that is not known.
    pub(super) fn check_names(&mut self, known: &Known<'_>) {
        for entry in &self.options.entries {
            let key = entry.key.value.as_str();
            let property = key.strip_prefix("properties.").is_some_and(|name| !name.is_empty());
            if known.options.contains(&key) || (known.properties && property) {
                continue;
            }
            self.report(unknown(entry, known));
        }
    }
}

/// Options of other systems, with those that do the same here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("kafka_topic", "topic"),
    ("topics", "topic"),
    ("value_format", "format"),
    ("value.format", "format"),
    ("key_format", "key.format"),
    ("primary_key", "key"),
    ("primary-key", "key"),
    ("key.fields", "key"),
    ("type", "mode"),
    ("sink.delivery-guarantee", "delivery"),
    ("sink.delivery.guarantee", "delivery"),
    ("sink.parallelism", "shards"),
    ("sink.partitions", "partitions"),
    ("replicas", "replication"),
    ("auto.offset.reset", "scan.startup.mode"),
    ("startup.mode", "scan.startup.mode"),
    ("rows-per-second", "rate"),
    ("number-of-rows", "count"),
    ("json.timestamp-format.standard", "timestamp_format"),
    ("table", "collection"),
];

/// Settings that some systems take as options. Here they come from the configuration.
const CONNECTION: &[&str] = &[
    "bootstrap.servers",
    "properties.bootstrap.servers",
    "brokers",
    "uri",
    "url",
    "mongodb.url",
    "hosts",
    "username",
    "user",
    "password",
];

fn unknown(entry: &OptionEntry, known: &Known<'_>) -> Diagnostic {
    let key = entry.key.value.as_str();
    let span = entry.key.span;
    if let Some((_, hint)) = known.later.iter().find(|(later, _)| *later == key) {
        return Diagnostic::new(span, format!("option `{key}` is not supported yet")).hint(*hint);
    }
    if CONNECTION.contains(&key) {
        let error = Diagnostic::new(span, format!("`{key}` is a setting, not an option"));
        return error.hint("connections come from the configuration, so that one file runs everywhere");
    }
    let error = Diagnostic::new(span, format!("unknown option `{key}` of {}", known.what));
    if key == "timestamp" || key == "timestamp_column" {
        return error.hint(
            "event time is declared among the columns: WATERMARK FOR at AS at - INTERVAL '10 seconds'",
        );
    }
    let same = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == key).map(|(_, same)| *same);
    if let Some(same) = same.filter(|same| known.options.contains(same)) {
        return error.hint(format!("the same is `{same}` here"));
    }
    let mut all = known.options.clone();
    all.sort_unstable();
    match nearest(key, &all) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if all.is_empty() => error.hint("there are none yet"),
        None => error.hint(format!("known options: {}", all.join(", "))),
    }
}
